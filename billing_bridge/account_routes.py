"""Accounts over HTTP as billing sees them: what they are entitled to on each day, and the day they are billed from."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Self

from pydantic import Field, model_validator

from billing_bridge.billing.accounts import AccountBilling, AccountTimeline
from billing_bridge.rating.proration import DaySpan, Stretch
from controller.domain.identity import AccountId
from controller.domain.tariff import TariffVersion
from controller.http.endpoint import Call, Endpoint
from controller.http.models import In, Out

Day = Annotated[date, Field(ge=date(1970, 1, 1), le=date(2199, 12, 31))]
_MOST_DAYS = 1100


class TimelineQuery(In):
    """Days [since_on, until_on), at most three years of them."""

    since_on: Day
    until_on: Day

    @model_validator(mode="after")
    def _some_days(self) -> Self:
        if not timedelta(0) < self.until_on - self.since_on <= timedelta(days=_MOST_DAYS):
            raise ValueError(f"until_on lies 1 to {_MOST_DAYS} days after since_on")
        return self


class StretchOut(Out):
    """Days [first_on, until_on) of one version; `percent` of its fees go on. `fee` is that of a period of `cycle`."""

    first_on: date
    until_on: date
    version_id: str
    offering_name: str
    number: int
    quantity: int
    percent: int
    fee: str
    currency: str
    cycle: str

    @classmethod
    def of(cls, found: Stretch, tariff: TariffVersion) -> StretchOut:
        return cls(
            first_on=found.span.first_on,
            until_on=found.span.until_on,
            version_id=found.version_id,
            offering_name=tariff.offering_name,
            number=tariff.number,
            quantity=found.quantity,
            percent=found.percent,
            fee=f"{tariff.plan.fee:f}",
            currency=tariff.currency,
            cycle=tariff.plan.cycle,
        )


class EntitledOut(Out):
    """A line, or (with `service_id` equal to it) an item; its periods begin on the `anchor_day`."""

    subscription_id: str
    service_id: str
    anchor_day: int
    stretches: list[StretchOut]


class TimelineOut(Out):
    """`anchor_day` is for subscriptions that begin later; 0 is the day on which each begins."""

    since_on: date
    until_on: date
    today: date
    anchor_day: int
    subscriptions: list[EntitledOut]

    @classmethod
    def of(cls, found: AccountTimeline) -> TimelineOut:
        return cls(
            since_on=found.days.first_on,
            until_on=found.days.until_on,
            today=found.today,
            anchor_day=found.anchor_day,
            subscriptions=[
                EntitledOut(
                    subscription_id=entitled.subscription_id,
                    service_id=entitled.service_id,
                    anchor_day=entitled.calendar.newest_anchor,
                    stretches=[StretchOut.of(each, found.tariffs[each.version_id]) for each in entitled.stretches],
                )
                for entitled in found.subscriptions
            ],
        )


class AnchorIn(In):
    """1 … 31 (in shorter months their last day), or 0: each subscription from the day on which it begins."""

    anchor_day: Annotated[int, Field(ge=0, le=31)]
    existing: bool = False
    """Subscriptions that there are follow, from the end of their present periods."""


class ReanchoredOut(Out):
    """Its next period ends early, on the anchor day, and costs its share of a whole one."""

    subscription_id: str
    from_on: date


class AnchorOut(Out):
    account_id: str
    anchor_day: int
    changed: list[ReanchoredOut]


def endpoints(accounts: AccountBilling) -> list[Endpoint]:
    async def timeline(call: Call) -> TimelineOut:
        query = call.query_as(TimelineQuery)
        days = DaySpan(query.since_on, query.until_on)
        return TimelineOut.of(await accounts.timeline(AccountId(call.path["account_id"]), days))

    async def anchor(call: Call) -> AnchorOut:
        account_id = AccountId(call.path["account_id"])
        body = call.body_as(AnchorIn)
        found = await accounts.set_anchor(account_id, body.anchor_day, actor=call.actor, existing=body.existing)
        changed = [ReanchoredOut(subscription_id=i, from_on=day) for i, day in sorted(found.items())]
        return AnchorOut(account_id=account_id, anchor_day=body.anchor_day, changed=changed)

    return [
        Endpoint(
            "GET",
            "/accounts/{account_id}/entitlements",
            scope="billing:read",
            handler=timeline,
            summary="What an account is entitled to on each day, as its charges are made from it",
            query=TimelineQuery,
            returns=TimelineOut,
        ),
        Endpoint(
            "PUT",
            "/accounts/{account_id}/anchor-day",
            scope="billing:write",
            handler=anchor,
            summary="From which day of the month an account is billed: later subscriptions, or all",
            body=AnchorIn,
            returns=AnchorOut,
        ),
    ]
