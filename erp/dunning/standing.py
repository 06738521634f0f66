"""Reads what the state of accounts follows from, and lets the model say it: many accounts in a handful of queries."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.identity import AccountId
from controller.domain.money import Money
from controller.domain.price import ProductKind
from erp.crm import repository as parties
from erp.crm.model import Customer
from erp.dunning import calendar, repository
from erp.dunning import policy as ladders
from erp.dunning.model import Facts, Pause, Policy, State, state_on
from erp.dunning.policy import DEFAULT_SEGMENT
from erp.dunning.repository import PauseRow


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an account stands on a day, and why."""

    customer: Customer
    segment: str
    facts: Facts
    state: State

    @property
    def account_id(self) -> AccountId:
        return self.customer.account.account_id

    def money(self, minor: int) -> Money:
        return Money(minor, self.customer.account.currency)


def stricter(one: Standing, other: Standing | None, kind: ProductKind) -> Standing:
    """The one that takes more of services of a kind; the first where both take the same."""
    if other is None or other.state.of(kind).measure.rank <= one.state.of(kind).measure.rank:
        return one
    return other


async def standings(conn: AsyncConnection, account_ids: Collection[AccountId], day: date) -> dict[AccountId, Standing]:
    """Of those that exist, on a day of their entity's calendar."""
    ids = set(account_ids)
    customers = await parties.find_customers_of(conn, ids)
    versions = await repository.policies(conn)
    belongs = await repository.segments(conn, ids, day)
    debts = await repository.debts(conn, ids, day)
    taken = await repository.taken(conn, ids)
    disputes = await repository.disputed(conn, ids)
    pauses = await repository.pauses_of(conn, ids)
    seasonal = await repository.seasonal(conn, ids)
    plans = await repository.agreements(conn, ids)
    found = {}
    for account_id, customer in customers.items():
        segment = belongs.get(account_id, DEFAULT_SEGMENT)
        ladder = versions_of(versions, segment, customer.account.currency)
        facts = Facts(
            ladder,
            debts.get(account_id, ()),
            taken.get(account_id, ()),
            disputes.get(account_id, ()),
            [*map(_pause, pauses.get(account_id, ())), *seasonal.get(account_id, ())],
            plans.get(account_id, ()),
        )
        facts = replace(facts, is_working=_calendar(ladder, day))
        found[account_id] = Standing(customer, segment, facts, state_on(day, facts))
    return found


def versions_of(versions: Mapping[tuple[str, str], list[Policy]], segment: str, currency: str) -> list[Policy]:
    """The ladders of a segment: its own, else those of the standard one, else the one that is built in."""
    return versions.get((segment, currency)) or versions.get((DEFAULT_SEGMENT, currency)) or [ladders.default(currency)]


def _calendar(ladder: list[Policy], day: date) -> calendar.Works:
    from_now_on = [p for p in ladder if p.effective_on <= day] or ladder
    newest = max(from_now_on, key=lambda p: p.version)
    return calendar.working(newest.country, newest.subdivision)


def _pause(row: PauseRow) -> Pause:
    return Pause(row.kind, row.first_on, row.until_on, row.lifts, row.reason)
