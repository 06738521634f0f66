"""What dunning is asked and answers over HTTP."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from controller.domain.money import Money
from controller.domain.price import ProductKind
from controller.http.endpoint import PageQuery
from controller.http.models import Currency, IdText, In, Instant, MoneyIn, MoneyOut, Out
from erp.dunning.board import Board, Column
from erp.dunning.model import Agreement
from erp.dunning.notice_rows import Notice
from erp.dunning.repository import PauseRow, PlanRow
from erp.dunning.service_answers import ServiceOut
from erp.dunning.standing import Standing
from erp.finance.books_answers import Day

Reason = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
Segment = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]


class StandingOut(Out):
    """Where an account stands at the end of `day`. `claimed` is what is overdue, not contested and in no plan.

    `stage` is the last step in force, "" for none; `measure` is what is taken of internet lines, `measures` what is
    taken by kind of service: on the board and of an account, of the kinds that it has. `rests` says why nothing
    happens, where something keeps it from that. `next_on` is the first day on which `next_step` can be taken as things
    are.
    """

    account_id: str
    customer_id: str
    customer: str
    segment: str
    day: date
    stage: str
    rung: int
    measure: str
    measures: dict[str, str]
    open: MoneyOut
    overdue: MoneyOut
    disputed: MoneyOut
    claimed: MoneyOut
    oldest_on: date | None
    days_over: int
    rests: list[str]
    due_now: list[str]
    next_step: str
    next_on: date | None
    proposes: list[str]

    @classmethod
    def of(cls, found: Standing, kinds: Collection[ProductKind] = tuple(ProductKind)) -> StandingOut:
        state, money = found.state, found.money
        return cls(
            account_id=found.account_id,
            customer_id=found.customer.customer_id,
            customer=found.customer.contact.name,
            segment=found.segment,
            day=state.day,
            stage=state.stage,
            rung=state.rung,
            measure=state.measure.value,
            measures={kind.value: taken.measure.value for kind, taken in state.services.items() if kind in kinds},
            open=MoneyOut.of(money(state.open_minor)),
            overdue=MoneyOut.of(money(state.overdue_minor)),
            disputed=MoneyOut.of(money(state.disputed_minor)),
            claimed=MoneyOut.of(money(state.claimed_minor)),
            oldest_on=state.oldest_on,
            days_over=0 if state.oldest_on is None else (state.day - state.oldest_on).days,
            rests=list(state.rests),
            due_now=[due.step.name for due in state.due],
            next_step=state.next_step,
            next_on=state.next_on,
            proposes=sorted(state.proposes),
        )


class DebtOut(Out):
    """An invoice of which something is open. `since` is its due day, or the day on which a chargeback reopened it."""

    invoice_id: str
    number: str
    since: date
    open: MoneyOut


class StepOut(Out):
    """A step that was taken for an invoice, and what became of its notice ("" where it has none)."""

    step: str
    number: int
    invoice_id: str
    invoice: str
    taken_on: date
    taken_at: Instant
    notice_id: str | None
    notice_state: str
    channel: str
    told_at: Instant | None

    @classmethod
    def of(cls, row: Any) -> StepOut:
        return cls(
            step=row.name,
            number=row.number,
            invoice_id=row.invoice_id,
            invoice=row.invoice,
            taken_on=row.taken_on,
            taken_at=row.taken_at,
            notice_id=row.notice_id,
            notice_state=row.state or "",
            channel=row.channel or "",
            told_at=row.settled_at,
        )


class PauseOut(Out):
    """Days [first_on, until_on) on which no step is taken; `lifts`: nothing is restricted meanwhile."""

    pause_id: str
    account_id: str
    kind: str
    first_on: date
    until_on: date | None
    lifts: bool
    reason: str
    actor: str
    created_at: Instant
    ended_by: str | None
    in_force: bool

    @classmethod
    def of(cls, row: PauseRow, today: date) -> PauseOut:
        return cls(
            pause_id=row.pause_id,
            account_id=row.account_id,
            kind=row.kind,
            first_on=row.first_on,
            until_on=row.until_on,
            lifts=row.lifts,
            reason=row.reason,
            actor=row.actor,
            created_at=row.created_at,
            ended_by=row.ended_by,
            in_force=row.first_on <= today and (row.until_on is None or today < row.until_on),
        )


class InstalmentIn(In):
    due_on: Day
    amount: MoneyIn


class InstalmentOut(Out):
    due_on: date
    amount: MoneyOut


class PlanOut(Out):
    """`kept` says whether what was paid of its invoices keeps up with it."""

    plan_id: str
    invoice_ids: list[str]
    opening: MoneyOut
    made_on: date
    ended_on: date | None
    instalments: list[InstalmentOut]
    kept: bool

    @classmethod
    def of(cls, plan: Agreement, standing: Standing) -> PlanOut:
        open_minor = {debt.invoice_id: debt.open_minor for debt in standing.facts.debts}
        return cls(
            plan_id=plan.plan_id,
            invoice_ids=sorted(plan.invoice_ids),
            opening=MoneyOut.of(standing.money(plan.opening_minor)),
            made_on=plan.made_on,
            ended_on=plan.ended_on,
            instalments=[
                InstalmentOut(due_on=day, amount=MoneyOut.of(standing.money(minor))) for day, minor in plan.instalments
            ],
            kept=plan.holds(standing.state.day, open_minor, standing.facts.is_working),
        )


class AccountOut(StandingOut):
    """With what it follows from, and what was done. `services` are those that the account has now."""

    services: list[ServiceOut]
    debts: list[DebtOut]
    pauses: list[PauseOut]
    plans: list[PlanOut]
    steps: list[StepOut]


class StandingQuery(In):
    """The end of that day, by what was known then; without one, now."""

    day: Day | None = None


class ColumnOut(Out):
    """The accounts of a stage. `count` and `totals` are of all of them, `accounts` the oldest."""

    stage: str
    rung: int
    count: int
    totals: list[MoneyOut]
    accounts: list[StandingOut]

    @classmethod
    def of(cls, column: Column, board: Board) -> ColumnOut:
        return cls(
            stage=column.stage,
            rung=column.rung,
            count=column.count,
            totals=[MoneyOut.of(total) for total in column.totals],
            accounts=[StandingOut.of(found, board.kinds.get(found.account_id, ())) for found in column.shown],
        )


class RunOut(Out):
    """A night: how many accounts were looked at, steps taken, services whose measure changed, accounts that failed."""

    day: date
    accounts: int
    steps: int
    changed: int
    failed: int
    started_at: Instant
    finished_at: Instant | None

    @classmethod
    def of(cls, row: Any) -> RunOut:
        return cls(**{name: getattr(row, name) for name in cls.model_fields})


class RunsOut(Out):
    runs: list[RunOut]


class BoardOut(Out):
    """`complete` is false where more accounts owe than were looked at: then those with the lowest ids are shown."""

    day: date
    columns: list[ColumnOut]
    complete: bool
    notices_waiting: int
    notices_uncertain: int
    last_run: RunOut | None

    @classmethod
    def of(cls, board: Board) -> BoardOut:
        last = board.last_run
        return cls(
            day=board.day,
            columns=[ColumnOut.of(column, board) for column in board.columns],
            complete=board.complete,
            notices_waiting=board.notices.get("waiting", 0) + board.notices.get("sending", 0),
            notices_uncertain=board.notices.get("uncertain", 0),
            last_run=None if last is None else RunOut.of(last),
        )


class HoldIn(In):
    """No step until `until_on` (the first day on which it goes on), or until somebody ends it."""

    until_on: Day | None = None
    lifts: bool = Field(default=False, description="Whether restrictions are lifted meanwhile")
    reason: Reason


class PromiseIn(In):
    """The customer pays by `pays_on`; restrictions are lifted until then, and for the grace after it."""

    pays_on: Day
    amount: MoneyIn | None = None
    reason: Reason


class PlanIn(In):
    """The instalments add up to what is overdue, or open of `invoice_ids`."""

    instalments: Annotated[list[InstalmentIn], Field(min_length=1, max_length=120)]
    invoice_ids: Annotated[tuple[IdText, ...], Field(max_length=500)] = ()
    reason: Reason


class ReasonIn(In):
    reason: Reason


class SegmentIn(In):
    segment: Segment
    since: Day | None = None
    reason: Reason


class PolicyIn(In):
    """`policy` as `erp.dunning.policy` describes it: minimum, calendar, throttle, steps …"""

    segment: Segment
    currency: Currency = "EUR"
    effective_on: Day
    policy: dict[str, Any]


class PolicyOut(Out):
    policy_id: str
    segment: str
    currency: str
    version: int
    effective_on: date
    policy: dict[str, Any]
    actor: str
    created_at: Instant | None


class PoliciesOut(Out):
    """`built_in` is what holds for segments that nobody wrote a ladder for."""

    policies: list[PolicyOut]
    built_in: dict[str, Any]


class NoticeQuery(PageQuery):
    account_id: IdText | None = None
    state: Literal["waiting", "sending", "sent", "withdrawn", "uncertain"] | None = None


class NoticeOut(Out):
    """`words` say what became of it. A letter that was sent was drawn, to be printed: see its pdf."""

    notice_id: str
    account_id: str
    day: date
    text: str
    channel: str
    recipient: str
    locale: str
    state: str
    tries: int
    words: str | None
    created_at: Instant
    settled_at: Instant | None

    @classmethod
    def of(cls, found: Notice) -> NoticeOut:
        return cls(**{name: getattr(found, name) for name in cls.model_fields})


class NoticeWithTextOut(NoticeOut):
    """`subject` and `body` once they were written: when it was sent, from what was open then."""

    subject: str | None
    body: str | None


class DecideIn(In):
    """Whether an uncertain notice arrived; one that did not is sent again."""

    arrived: bool
    reason: Reason


class PlanMadeOut(Out):
    plan_id: str
    account_id: str
    opening: MoneyOut

    @classmethod
    def of(cls, made: PlanRow, currency: str) -> PlanMadeOut:
        return cls(
            plan_id=made.plan_id, account_id=made.account_id, opening=MoneyOut.of(Money(made.opening_minor, currency))
        )
