"""Contracts and revenue over time over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from controller.domain.errors import RuleError
from controller.domain.identity import AccountId
from controller.domain.money import Money
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import IdText, In, MoneyIn, MoneyOut, Name, Out
from erp.finance.books_answers import Day, EntityIn, EntityQuery, EntryOut, Month, month_of
from erp.finance.contracts import Change, Contract
from erp.finance.recognition import Planned, Promise
from erp.finance.revenue import RevenueService

_Reason = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]


class PromiseIn(In):
    """Something distinct that is promised. Without `until_on` it is delivered at once, on `first_on`."""

    name: Name
    kind: Literal["recurring", "usage", "one-off", "equipment"]
    stand_alone: MoneyIn
    first_on: Day
    until_on: Day | None = None


class ContractIn(In):
    """A contract. What is billed for `subscription_id` from now on is billed on it."""

    account_id: IdText
    subscription_id: IdText | None = None
    reference: Annotated[str, StringConstraints(min_length=1, max_length=60, strip_whitespace=True)]
    price: MoneyIn
    signed_on: Day
    promises: Annotated[list[PromiseIn], Field(min_length=1, max_length=50)]


class ChangeIn(In):
    """A change on a day: `added` to the price (or less), and all that remains to be delivered.

    `version` is the last change that the caller knows: asked for twice, it is done once, and refused then.
    """

    at_on: Day
    added: MoneyIn
    promises: Annotated[list[PromiseIn], Field(min_length=1, max_length=50)]
    reason: _Reason
    version: Annotated[int, Field(ge=1)] | None = None


class RecognitionIn(EntityIn):
    month: Month


class ContractQuery(PageQuery):
    account_id: IdText | None = None


class ContractOut(Out):
    """`position` is billed less earned: a liability above zero, an asset below."""

    contract_id: str
    account_id: str
    subscription_id: str | None
    reference: str
    price: MoneyOut
    billed: MoneyOut
    earned: MoneyOut
    position: MoneyOut

    @classmethod
    def of(cls, found: Contract) -> ContractOut:
        def money(minor: int) -> MoneyOut:
            return MoneyOut.of(Money(minor, found.currency))

        return cls(
            contract_id=found.contract_id,
            account_id=found.account_id,
            subscription_id=found.subscription_id,
            reference=found.reference,
            price=money(found.price_minor),
            billed=money(found.billed_minor),
            earned=money(found.earned_minor),
            position=money(found.billed_minor - found.earned_minor),
        )


class SliceOut(Out):
    first_on: date
    until_on: date
    amount: MoneyOut


class PlannedOut(Out):
    """A promise, its share of the price and when that is earned. Days are [first_on, until_on).

    `until_on` null: delivered at once. `slices` end earlier where a later change has ended it.
    """

    name: str
    role: str
    first_on: date
    until_on: date | None
    stand_alone: MoneyOut
    share: MoneyOut
    slices: list[SliceOut]

    @classmethod
    def of(cls, found: Planned, currency: str) -> PlannedOut:
        def money(minor: int) -> MoneyOut:
            return MoneyOut.of(Money(minor, currency))

        return cls(
            name=found.promise.name,
            role=found.promise.role,
            first_on=found.promise.first_on,
            until_on=found.promise.until_on,
            stand_alone=money(found.promise.stand_alone_minor),
            share=money(found.minor),
            slices=[SliceOut(first_on=s.first_on, until_on=s.until_on, amount=money(s.minor)) for s in found.slices],
        )


class ChangeOut(Out):
    version: int
    at_on: date
    added: MoneyOut
    reason: str

    @classmethod
    def of(cls, found: Change, currency: str) -> ChangeOut:
        added = MoneyOut.of(Money(found.added_minor, currency))
        return cls(version=found.version, at_on=found.at_on, added=added, reason=found.reason)


class PlanOut(Out):
    """What would be planned."""

    plan: list[PlannedOut]

    @classmethod
    def of(cls, planned: Sequence[Planned], currency: str) -> PlanOut:
        return cls(plan=[PlannedOut.of(p, currency) for p in planned])


class ContractWithPlanOut(ContractOut):
    changes: list[ChangeOut]
    plan: list[PlannedOut]


class RevenueMonthOut(Out):
    """What is earned in a month on an account, and what of it was posted by now."""

    month: str
    code: str
    planned: MoneyOut
    posted: MoneyOut


class RevenueMonthsOut(Out):
    months: list[RevenueMonthOut]


class RecognisedOut(Out):
    entries: list[EntryOut]


def endpoints(revenue: RevenueService) -> list[Endpoint]:
    return [*_signing(revenue), *_looking(revenue), *_changing(revenue), *_months(revenue)]


def _signing(revenue: RevenueService) -> list[Endpoint]:
    async def sign(call: Call) -> ContractWithPlanOut:
        body = call.body_as(ContractIn)
        price = body.price.money()
        made = await revenue.sign(
            account_id=AccountId(body.account_id),
            reference=body.reference,
            price=price,
            signed_on=body.signed_on,
            promises=_promises(body.promises, price.currency),
            subscription_id=body.subscription_id,
            actor=call.actor,
        )
        return await _shown(revenue, made.contract_id)

    async def try_signing(call: Call) -> PlanOut:
        body = call.body_as(ContractIn)
        price = body.price.money()
        return PlanOut.of(revenue.planned(price, _promises(body.promises, price.currency)), price.currency)

    return [
        Endpoint(
            "POST",
            "/revenue-contracts",
            scope="finance:write",
            handler=sign,
            summary="Record a contract: its price is allocated to its promises and scheduled",
            body=ContractIn,
            returns=ContractWithPlanOut,
            status=201,
        ),
        Endpoint(
            "POST",
            "/revenue-contracts/dry-run",
            scope="finance:read",
            handler=try_signing,
            summary="How the price of a contract would be allocated and scheduled; nothing is written",
            body=ContractIn,
            returns=PlanOut,
        ),
    ]


def _looking(revenue: RevenueService) -> list[Endpoint]:
    async def contracts(call: Call) -> Page:
        query = call.query_as(ContractQuery)
        found = await revenue.contracts(account_id=query.account_id, after=query.last(str), limit=query.rows)
        return Page.of(found, query, lambda c: (c.contract_id,), ContractOut.of)

    async def contract(call: Call) -> ContractWithPlanOut:
        return await _shown(revenue, call.path["contract_id"])

    return [
        Endpoint(
            "GET",
            "/revenue-contracts",
            scope="finance:read",
            handler=contracts,
            summary="Contracts with what was billed and earned",
            query=ContractQuery,
            returns=ContractOut,
            paged=True,
        ),
        Endpoint(
            "GET",
            "/revenue-contracts/{contract_id}",
            scope="finance:read",
            handler=contract,
            summary="One contract with its changes and its plan",
            returns=ContractWithPlanOut,
        ),
    ]


def _changing(revenue: RevenueService) -> list[Endpoint]:
    async def modify(call: Call) -> ContractWithPlanOut:
        body = call.body_as(ChangeIn)
        added = body.added.money()
        made = await revenue.modify(
            call.path["contract_id"],
            at=body.at_on,
            added=added,
            promises=_promises(body.promises, added.currency),
            reason=body.reason,
            actor=call.actor,
            version=body.version,
        )
        return await _shown(revenue, made.contract_id)

    async def try_changing(call: Call) -> PlanOut:
        body = call.body_as(ChangeIn)
        added = body.added.money()
        promises = _promises(body.promises, added.currency)
        contract_id = call.path["contract_id"]
        found, planned = await revenue.modified(contract_id, at=body.at_on, added=added, promises=promises)
        return PlanOut.of(planned, found.currency)

    return [
        Endpoint(
            "POST",
            "/revenue-contracts/{contract_id}/changes",
            scope="finance:write",
            handler=modify,
            summary="Change a contract on a day: what was not earned by then is planned anew",
            body=ChangeIn,
            returns=ContractWithPlanOut,
            status=201,
        ),
        Endpoint(
            "POST",
            "/revenue-contracts/{contract_id}/changes/dry-run",
            scope="finance:read",
            handler=try_changing,
            summary="The plan of a contract as a change would leave it; nothing is written",
            body=ChangeIn,
            returns=PlanOut,
        ),
    ]


def _months(revenue: RevenueService) -> list[Endpoint]:
    async def months(call: Call) -> RevenueMonthsOut:
        found = await revenue.months(call.query_as(EntityQuery).entity)
        return RevenueMonthsOut(
            months=[
                RevenueMonthOut(
                    month=f"{m.month:%Y-%m}", code=m.code, planned=MoneyOut.of(m.planned), posted=MoneyOut.of(m.posted)
                )
                for m in found
            ]
        )

    async def recognise(call: Call) -> RecognisedOut:
        body = call.body_as(RecognitionIn)
        made = await revenue.recognise(month_of(body.month)[0], actor=call.actor, entity_id=body.entity)
        return RecognisedOut(entries=[EntryOut.of(e) for e in made])

    return [
        Endpoint(
            "GET",
            "/revenue-months",
            scope="finance:read",
            handler=months,
            summary="Deferred revenue: what is earned in which month, and what of it was posted",
            query=EntityQuery,
            returns=RevenueMonthsOut,
        ),
        Endpoint(
            "POST",
            "/revenue-recognitions",
            scope="finance:write",
            handler=recognise,
            summary="Post what was earned until the end of a month; again it posts what came since",
            body=RecognitionIn,
            returns=RecognisedOut,
            status=201,
        ),
    ]


async def _shown(revenue: RevenueService, contract_id: str) -> ContractWithPlanOut:
    found, changes, planned = await revenue.contract(contract_id)
    return ContractWithPlanOut(
        **ContractOut.of(found).model_dump(),
        changes=[ChangeOut.of(c, found.currency) for c in changes],
        plan=[PlannedOut.of(p, found.currency) for p in planned],
    )


def _promises(bodies: Sequence[PromiseIn], currency: str) -> list[Promise]:
    """Raises RuleError for another currency than the contract's, or days that are none."""
    found = []
    for body in bodies:
        price = body.stand_alone.money()
        if price.currency != currency:
            raise RuleError(
                f"{body.name}: its price is in {price.currency}, the contract in {currency}", code="currency"
            )
        if body.until_on is not None and body.until_on <= body.first_on:
            raise RuleError(f"{body.name}: it ends before it begins", code="span")
        found.append(Promise(body.name, f"revenue-{body.kind}", price.minor, body.first_on, body.until_on))
    return found
