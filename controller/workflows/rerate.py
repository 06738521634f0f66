"""Rating a month of an offering again, after its price or its data were corrected: over HTTP, shown first, then issued.

POST /reratings   dry_run true   what would be charged and credited, line by line; nothing is written
                  dry_run false  the correction is kept, and a bill run issues the differences as credit and debit
                                 notes; the same again finds nothing left
GET /reratings    what was rated again, by whom and why
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from typing import Annotated, Self

from pydantic import StringConstraints, model_validator

from billing_bridge.billing.rerating import MOST_SHOWN, Applied, Delta, Rerating, Reratings
from controller.domain.identity import OfferingId, OfferingVersionId
from controller.domain.money import Money
from controller.domain.tariff import TariffVersion
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import IdText, In, Instant, MoneyOut, Out
from controller.workflows.bill_run import BillRuns
from erp.catalog.errors import NoVersion
from erp.catalog.service import CatalogService


class RerateIn(In):
    """Periods that began in the month `period` ("2026-05") of whoever had the offering then.

    With `version_id` and `priced_as` those of the one version are priced as the other, its equal in all but amounts.
    """

    offering_id: IdText
    period: Annotated[str, StringConstraints(pattern=r"^(19[7-9]\d|2[01]\d\d)-(0[1-9]|1[0-2])$")]
    version_id: IdText | None = None
    priced_as: IdText | None = None
    reason: Annotated[str, StringConstraints(max_length=200)] = ""
    dry_run: bool = True

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.version_id is None) is not (self.priced_as is None):
            raise ValueError("name both version_id and priced_as, or neither")
        return self

    @property
    def month(self) -> date:
        return date.fromisoformat(f"{self.period}-01")


class DeltaOut(Out):
    """One line of the note that would be issued; net."""

    account_id: str
    subscription_id: str
    description: str
    first_on: date
    until_on: date
    net: MoneyOut

    @classmethod
    def of(cls, found: Delta) -> DeltaOut:
        return cls(
            account_id=found.account_id,
            subscription_id=found.subscription_id,
            description=found.description,
            first_on=found.first_on,
            until_on=found.until_on,
            net=MoneyOut.of(found.net),
        )


class RerateOut(Out):
    """`deltas` are the first thousand of `lines`; `bill_run_id` is the run that issues them, null for a dry run."""

    first_on: date
    until_on: date
    subscriptions: int
    lines: int
    charged: list[MoneyOut]
    credited: list[MoneyOut]
    deltas: list[DeltaOut]
    bill_run_id: str | None

    @classmethod
    def of(cls, found: Rerating, bill_run_id: str | None) -> RerateOut:
        return cls(
            first_on=found.first_on,
            until_on=found.until_on,
            subscriptions=found.subscriptions,
            lines=found.count,
            charged=[MoneyOut.of(Money(minor, currency)) for currency, minor in sorted(found.charged.items())],
            credited=[MoneyOut.of(Money(minor, currency)) for currency, minor in sorted(found.credited.items())],
            deltas=[DeltaOut.of(each) for each in found.deltas[:MOST_SHOWN]],
            bill_run_id=bill_run_id,
        )


class RatedAgainOut(Out):
    """Periods that began on days [first_on, until_on). With `version_id`, those were priced as `priced_as`.

    `subscriptions` are those that no earlier correction had marked to be rated again already.
    """

    sequence: int
    at: Instant
    actor: str
    reason: str
    offering_id: str
    first_on: date
    until_on: date
    version_id: str | None
    priced_as: str | None
    subscriptions: int

    @classmethod
    def of(cls, found: Applied) -> RatedAgainOut:
        return cls(**asdict(found))


def endpoints(catalog: CatalogService, reratings: Reratings, runs: BillRuns) -> list[Endpoint]:
    async def prices(body: RerateIn) -> tuple[TariffVersion, TariffVersion] | None:
        if body.version_id is None or body.priced_as is None:
            return None
        wrong, right = [await catalog.tariff(OfferingVersionId(i)) for i in (body.version_id, body.priced_as)]
        if wrong.offering_id != body.offering_id:
            raise NoVersion(f"the offering has no version {body.version_id}")
        return wrong, right

    async def rerate(call: Call) -> RerateOut:
        body = call.body_as(RerateIn)
        offering_id = (await catalog.offering(OfferingId(body.offering_id))).offering_id
        both = await prices(body)
        found = await reratings.preview(offering_id, body.month, both)
        if body.dry_run:
            return RerateOut.of(found, None)
        await reratings.apply(offering_id, body.month, both, reason=body.reason, actor=call.actor)
        run = await runs.start(as_of=None, account_id=None, actor=call.actor)
        return RerateOut.of(found, run.bill_run_id)

    async def rated_again(call: Call) -> Page:
        query = call.query_as(PageQuery)
        found = await reratings.applied(before=query.last(int), limit=query.rows)
        return Page.of(found, query, lambda done: (done.sequence,), RatedAgainOut.of)

    return [
        Endpoint(
            "GET",
            "/reratings",
            scope="billing:read",
            handler=rated_again,
            summary="What was rated again, newest first: by whom, why, and how many subscriptions",
            query=PageQuery,
            returns=RatedAgainOut,
            paged=True,
        ),
        Endpoint(
            "POST",
            "/reratings",
            scope="billing:write",
            handler=rerate,
            summary="Rate a month of an offering again: show what it changes, or issue it",
            body=RerateIn,
            returns=RerateOut,
        ),
    ]
