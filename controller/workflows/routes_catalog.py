"""Trying a price before it is launched: the catalogue checks it, billing tells what it would have come to."""

from __future__ import annotations

from datetime import date

from billing_bridge.billing.trial import Effect, PriceTrials, Trial
from controller.domain.identity import OfferingId
from controller.domain.money import Money
from controller.http.endpoint import Call, Endpoint
from controller.http.models import MoneyOut, Out
from erp.catalog.routes import VersionIn
from erp.catalog.service import CatalogService


class EffectOut(Out):
    """One subscription in its last closed period."""

    subscription_id: str
    account_id: str
    first_on: date
    until_on: date
    before: MoneyOut
    after: MoneyOut
    difference: MoneyOut

    @classmethod
    def of(cls, effect: Effect, currency: str) -> EffectOut:
        return cls(
            subscription_id=effect.subscription_id,
            account_id=effect.account_id,
            first_on=effect.first_on,
            until_on=effect.until_on,
            before=MoneyOut.of(Money(effect.before_minor, currency)),
            after=MoneyOut.of(Money(effect.after_minor, currency)),
            difference=MoneyOut.of(Money(effect.difference_minor, currency)),
        )


class CodeOut(Out):
    """What one price of the plan came to, net, over all subscriptions."""

    code: str
    before: MoneyOut
    after: MoneyOut


class TrialOut(Out):
    """Net amounts of the last closed period of every subscription of the offering; `most` are the greatest changes."""

    subscriptions: int
    dearer: int
    cheaper: int
    same: int
    before: MoneyOut
    after: MoneyOut
    difference: MoneyOut
    prices: list[CodeOut]
    most: list[EffectOut]

    @classmethod
    def of(cls, trial: Trial) -> TrialOut:
        def money(minor: int) -> MoneyOut:
            return MoneyOut.of(Money(minor, trial.currency))

        codes = dict.fromkeys([*trial.before_by_code, *trial.after_by_code])
        return cls(
            subscriptions=trial.subscriptions,
            dearer=trial.dearer,
            cheaper=trial.cheaper,
            same=trial.same,
            before=money(trial.before_minor),
            after=money(trial.after_minor),
            difference=money(trial.after_minor - trial.before_minor),
            prices=[
                CodeOut(
                    code=code,
                    before=money(trial.before_by_code.get(code, 0)),
                    after=money(trial.after_by_code.get(code, 0)),
                )
                for code in codes
            ],
            most=[EffectOut.of(effect, trial.currency) for effect in trial.most],
        )


def endpoints(catalog: CatalogService, trials: PriceTrials) -> list[Endpoint]:
    async def try_out(call: Call) -> TrialOut:
        draft = await catalog.draft(OfferingId(call.path["offering_id"]), call.body_as(VersionIn).terms())
        return TrialOut.of(await trials.run(draft))

    return [
        Endpoint(
            "POST",
            "/offerings/{offering_id}/price-trial",
            scope="catalog:read",
            handler=try_out,
            summary="What a version would have come to on last month's usage; nothing is written",
            body=VersionIn,
            returns=TrialOut,
        )
    ]
