"""Bills that wait over HTTP: the queue, who looks at what, release and approval, and the limits of the site."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from billing_bridge.checks.case import Finding, Record
from billing_bridge.checks.queue import SiteLimits, Waiter, Wanted
from billing_bridge.checks.service import ChecksService, as_written
from controller.domain.errors import RuleError
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import IdText, In, Instant, MoneyOut, Out

Reason = Annotated[str, StringConstraints(min_length=3, max_length=300, strip_whitespace=True)]
Person = Annotated[str, StringConstraints(min_length=1, max_length=128, strip_whitespace=True)]
Amount = Annotated[Decimal, Field(ge=0, le=10**12, decimal_places=4)]
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)


class ExceptionQuery(PageQuery):
    """`state` all is every bill that ever waited: with `gone` it is the report of all that was let go, and by whom."""

    state: Literal["held", "released", "gone", "all"] = "held"
    assigned_to: Person | None = None
    account_id: IdText | None = None
    bill_run_id: IdText | None = None
    check: Annotated[str, StringConstraints(pattern="^[a-z-]{1,40}$")] | None = None


class RecordOut(Out):
    """Something that contributes: `what` is charge, usage-day, interval or billed-before, `ref` its id."""

    what: str
    ref: str
    detail: str

    @classmethod
    def of(cls, found: Record) -> RecordOut:
        return cls(what=found.what, ref=found.ref, detail=found.detail)


class FindingOut(Out):
    """`by` is rule, history or contract. [`expected_low`, `expected_high`] is the expected range; null has no bound."""

    check: str
    by: str
    text: str
    expected_low: MoneyOut | None
    expected_high: MoneyOut | None
    actual: MoneyOut
    at_stake: MoneyOut
    subscription_id: str
    service_id: str
    records: list[RecordOut]

    @classmethod
    def of(cls, found: Finding) -> FindingOut:
        return cls(
            check=found.check,
            by=found.by.value,
            text=found.text,
            expected_low=None if found.low is None else MoneyOut.of(found.low),
            expected_high=None if found.high is None else MoneyOut.of(found.high),
            actual=MoneyOut.of(found.actual),
            at_stake=MoneyOut.of(found.at_stake),
            subscription_id=found.subscription_id,
            service_id=found.service_id,
            records=[RecordOut.of(record) for record in found.records],
        )


class ExceptionOut(Out):
    """A bill that waits (`held`, or `released` by one person and waiting for a second), or has `gone`.

    `net` is what the bill comes to, `at_stake` what it may be wrong by.
    """

    exception_id: str
    bill_run_id: str
    account_id: str
    state: str
    net: MoneyOut
    at_stake: MoneyOut
    checks: list[str]
    findings: list[FindingOut]
    found_at: Instant
    created_by: str
    assigned_to: str | None
    released_by: str | None
    released_at: Instant | None
    release_reason: str | None
    approved_by: str | None
    approved_at: Instant | None
    approval_reason: str | None

    @classmethod
    def of(cls, found: Waiter) -> ExceptionOut:
        return cls(
            exception_id=found.exception_id,
            bill_run_id=found.bill_run_id,
            account_id=found.account_id,
            state=found.state,
            net=MoneyOut.of(found.net),
            at_stake=MoneyOut.of(found.at_stake),
            checks=list(found.checks),
            findings=[FindingOut.of(finding) for finding in found.findings],
            found_at=found.found_at,
            created_by=found.created_by,
            assigned_to=found.assigned_to,
            released_by=found.released_by,
            released_at=found.released_at,
            release_reason=found.release_reason,
            approved_by=found.approved_by,
            approved_at=found.approved_at,
            approval_reason=found.approval_reason,
        )


class ExceptionTotalOut(Out):
    """Bills that wait with a finding of one check; a bill with several findings counts for each of them."""

    state: str
    check: str
    bills: int
    at_stake: MoneyOut


class ExceptionTotalsOut(Out):
    totals: list[ExceptionTotalOut]


class AssignIn(In):
    """Null gives it back to all."""

    to: Person | None


class DecisionIn(In):
    """`reason` goes into the audit log."""

    reason: Reason


class LimitsIn(In):
    """Major units of the currency. Bills with more than `four_eyes` at stake are let go by two people.

    `usage` is the least deviation from what history expects that holds a bill, `other` that of every other check.
    `reason` goes into the audit log.
    """

    four_eyes: Amount
    usage: Amount
    other: Amount
    reason: Annotated[str, StringConstraints(max_length=300, strip_whitespace=True)] = ""


class LimitsOut(Out):
    """`changed_by` is empty where the defaults hold."""

    currency: str
    four_eyes: str
    usage: str
    other: str
    changed_by: str
    changed_at: Instant | None

    @classmethod
    def of(cls, found: SiteLimits) -> LimitsOut:
        return cls(
            currency=found.currency,
            four_eyes=as_written(found.four_eyes),
            usage=as_written(found.usage),
            other=as_written(found.other),
            changed_by=found.changed_by,
            changed_at=found.changed_at,
        )


class LimitsList(Out):
    limits: list[LimitsOut]


class LimitsBeforeOut(Out):
    four_eyes: str
    usage: str
    other: str


class LimitsChangeOut(Out):
    """From what to what. `before` the first change stood the defaults (null where that was not written down)."""

    at: Instant
    actor: str
    before: LimitsBeforeOut | None
    after: LimitsBeforeOut
    reason: str

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> LimitsChangeOut:
        return cls(
            at=entry["at"],
            actor=entry["actor"],
            before=None if entry["before"] is None else LimitsBeforeOut.model_validate_json(entry["before"]),
            after=LimitsBeforeOut.model_validate_json(entry["after"]),
            reason=entry["reason"] or "",
        )


class LimitsWithChangesOut(LimitsOut):
    """`changes` of the audit log, newest first."""

    changes: list[LimitsChangeOut]


_ONE = "/exceptions/{exception_id}"


def endpoints(checks: ChecksService, currency: str) -> list[Endpoint]:
    """`currency` is that of the site: its limits are told even where they are the defaults."""
    return [*_queue(checks), *_deciding(checks), *_limits(checks, currency)]


def _queue(checks: ChecksService) -> list[Endpoint]:
    async def index(call: Call) -> Page:
        query = call.query_as(ExceptionQuery)
        wanted = Wanted(
            None if query.state == "all" else query.state,
            query.assigned_to,
            query.account_id,
            query.bill_run_id,
            query.check,
        )
        found = await checks.page(wanted, query.last(str) or "", query.rows)
        return Page.of(found, query, lambda w: (w.exception_id,), ExceptionOut.of)

    async def totals(_call: Call) -> ExceptionTotalsOut:
        return ExceptionTotalsOut(
            totals=[
                ExceptionTotalOut(state=state, check=check, bills=bills, at_stake=MoneyOut.of(stake))
                for state, check, bills, stake in await checks.totals()
            ]
        )

    async def show(call: Call) -> ExceptionOut:
        return ExceptionOut.of(await checks.exception(call.path["exception_id"]))

    return [
        Endpoint(
            "GET", "/exceptions", scope="billing:read", handler=index,
            summary="Bills that wait, or waited, for a person", query=ExceptionQuery, returns=ExceptionOut, paged=True,
        ),
        Endpoint(
            "GET", "/exceptions/totals", scope="billing:read", handler=totals,
            summary="How many bills wait for which check, and what is at stake", returns=ExceptionTotalsOut,
        ),
        Endpoint(
            "GET", _ONE, scope="billing:read", handler=show,
            summary="A bill that waits, with every finding and its records", returns=ExceptionOut,
        ),
    ]  # fmt: skip


def _deciding(checks: ChecksService) -> list[Endpoint]:
    async def assign(call: Call) -> ExceptionOut:
        to = call.body_as(AssignIn).to
        return ExceptionOut.of(await checks.assign(call.path["exception_id"], to=to, actor=call.actor))

    async def release(call: Call) -> ExceptionOut:
        reason = call.body_as(DecisionIn).reason
        return ExceptionOut.of(await checks.release(call.path["exception_id"], actor=call.actor, reason=reason))

    async def approve(call: Call) -> ExceptionOut:
        reason = call.body_as(DecisionIn).reason
        return ExceptionOut.of(await checks.approve(call.path["exception_id"], actor=call.actor, reason=reason))

    async def refuse(call: Call) -> ExceptionOut:
        reason = call.body_as(DecisionIn).reason
        return ExceptionOut.of(await checks.refuse(call.path["exception_id"], actor=call.actor, reason=reason))

    return [
        Endpoint(
            "POST", f"{_ONE}/assign", scope="billing:write", handler=assign,
            summary="Say who looks at a bill that waits", body=AssignIn, returns=ExceptionOut,
        ),
        Endpoint(
            "POST", f"{_ONE}/release", scope="billing:write", handler=release,
            summary="Let a bill go; above the limit, ask another person to", body=DecisionIn, returns=ExceptionOut,
        ),
        Endpoint(
            "POST", f"{_ONE}/approve", scope="billing:write", handler=approve,
            summary="Let go a bill that another person has released", body=DecisionIn, returns=ExceptionOut,
        ),
        Endpoint(
            "POST", f"{_ONE}/refuse", scope="billing:write", handler=refuse,
            summary="Send a released bill back to the queue", body=DecisionIn, returns=ExceptionOut,
        ),
    ]  # fmt: skip


def _limits(checks: ChecksService, currency: str) -> list[Endpoint]:
    async def limits(_call: Call) -> LimitsList:
        return LimitsList(limits=[LimitsOut.of(found) for found in await checks.site_limits(currency)])

    async def show_limits(call: Call) -> LimitsWithChangesOut:
        found, changes = await checks.limits_of(_currency(call))
        told = [LimitsChangeOut.of(entry) for entry in changes]
        return LimitsWithChangesOut(**LimitsOut.of(found).model_dump(), changes=told)

    async def put_limits(call: Call) -> LimitsOut:
        body = call.body_as(LimitsIn)
        made = SiteLimits(_currency(call), body.four_eyes, body.usage, body.other)
        return LimitsOut.of(await checks.put_limits(made, actor=call.actor, reason=body.reason or None))

    return [
        Endpoint(
            "GET", "/check-limits", scope="billing:read", handler=limits,
            summary="Limits of the checks of bills, by currency", returns=LimitsList,
        ),
        Endpoint(
            "GET", "/check-limits/{currency}", scope="billing:read", handler=show_limits,
            summary="Limits of the checks of bills in a currency, and who changed them", returns=LimitsWithChangesOut,
        ),
        Endpoint(
            "PUT", "/check-limits/{currency}", scope="admin:write", handler=put_limits,
            summary="Set the limits of the checks of bills in a currency", body=LimitsIn, returns=LimitsOut,
        ),
    ]  # fmt: skip


def _currency(call: Call) -> str:
    """Raises RuleError: what is no code of a currency would be kept, and hold for nothing."""
    found = call.path["currency"]
    if not _CURRENCY.fullmatch(found):
        raise RuleError(f"{found!r} is no ISO 4217 code such as EUR", code="currency")
    return found
