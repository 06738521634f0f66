"""Revenue over time: contracts with several promises, their plans, and what is posted of them month by month.

A contract is what IFRS 15 and ASC 606 call one: its price is allocated to its promises, billing and earning move its
position, and a change re-plans what was not earned yet. Recognition posts everything due of the months that are over,
once; what becomes due of a closed month is booked on the first open day and names the month it regards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock, local_date
from controller.domain.identity import AccountId, EntityId, new_id
from controller.domain.money import Money
from controller.store import audit
from controller.store.engine import Database
from erp.crm.service import CrmService
from erp.finance import contracts, ledger
from erp.finance.chart import CONTRACT_ASSETS, DEFERRED, Chart
from erp.finance.contracts import Change, Contract, Earning, earning_row
from erp.finance.deferral import move
from erp.finance.errors import ContractMismatch, EntryRefused, UnknownContract
from erp.finance.journal import Entry, Posting, without_zeros
from erp.finance.recognition import Planned, Promise, cut, earned, modify, next_month, plan

_T = TypeVar("_T")
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Month:
    """Of one month and account: what is planned, and what of it was posted."""

    month: date
    code: str
    planned: Money
    posted: Money


ENDED = "ended"
"""Reason of the change that ends a contract."""


@dataclass(frozen=True, slots=True)
class Signing:
    """A contract to be recorded. What is billed for `subscription_id` (or an item) is billed on it."""

    account_id: AccountId
    reference: str
    price: Money
    signed_on: date
    promises: tuple[Promise, ...]
    subscription_id: str | None


class RevenueService:
    def __init__(self, database: Database, clock: Clock, crm: CrmService) -> None:
        self._database = database
        self._clock = clock
        self._crm = crm

    async def sign(
        self,
        *,
        account_id: AccountId,
        reference: str,
        price: Money,
        signed_on: date,
        promises: Sequence[Promise],
        subscription_id: str | None,
        actor: str,
    ) -> Contract:
        """Record a contract and plan it; the same reference again is the same contract.

        Raises NoAccount, NoSuchAccount for a role that no revenue account has, ContractMismatch, EntryRefused.
        """
        wanted = Signing(account_id, reference, price, signed_on, tuple(promises), subscription_id)
        async with self._database.begin() as conn:
            return await self.sign_in(conn, wanted, actor=actor)

    async def sign_in(self, conn: AsyncConnection, wanted: Signing, *, actor: str) -> Contract:
        """The same in the caller's transaction."""
        now, price, subscription_id = self._clock.now(), wanted.price, wanted.subscription_id
        planned = _refusing(lambda: plan(price.minor, wanted.promises))
        entity_id = (await self._crm.customer_of_in(conn, wanted.account_id)).entity_id
        await ledger.lock_books(conn)
        known = await contracts.find_reference(conn, entity_id, wanted.reference)
        if known is not None:
            first = (await contracts.changes(conn, known.contract_id))[0]
            said = (known.account_id, known.subscription_id, known.currency, first.added_minor, first.at_on)
            if said != (wanted.account_id, subscription_id, price.currency, price.minor, wanted.signed_on):
                raise ContractMismatch(f"contract {wanted.reference} is of another account, subscription, price or day")
            return known
        if subscription_id and await contracts.is_sold(conn, subscription_id):
            raise ContractMismatch(f"subscription {subscription_id} was sold under a contract already")
        chart = await ledger.ensure_chart(conn, entity_id)
        made = Contract(
            new_id(now), entity_id, wanted.account_id, subscription_id, wanted.reference, price.currency, 0, 0, 0
        )
        change = Change(1, wanted.signed_on, price.minor, "signed")
        ids = await contracts.add_contract(conn, made, change, planned, at=now, actor=actor)
        await contracts.add_earnings(conn, _rows(made, chart, ids, planned))
        await _audit(conn, made, change, "contract.sign", actor, now)
        return await _contract(conn, made.contract_id)

    def planned(self, price: Money, promises: Sequence[Promise]) -> list[Planned]:
        """What `sign` would plan. Raises EntryRefused."""
        return _refusing(lambda: plan(price.minor, promises))

    async def modify(
        self,
        contract_id: str,
        *,
        at: date,
        added: Money,
        promises: Sequence[Promise],
        reason: str,
        actor: str,
        version: int | None = None,
    ) -> Contract:
        """End the plan on a day; what was not earned by then, and `added`, is spread over what remains.

        `version` is the change that the caller has seen last: the same asked for twice is done once. Raises
        UnknownContract, ContractMismatch for another currency or version, EntryRefused for what cannot be planned.
        """
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            found = await _contract(conn, contract_id, added.currency)
            last = (await contracts.changes(conn, contract_id))[-1].version
            if version not in (None, last):
                raise ContractMismatch(f"contract {found.reference} was changed meanwhile: look at change {last} first")
            return await self._modify(conn, found, at, added.minor, promises, reason, actor)

    async def modified(
        self, contract_id: str, *, at: date, added: Money, promises: Sequence[Promise]
    ) -> tuple[Contract, list[Planned]]:
        """The plan as `modify` would leave it. Writes nothing; raises what `modify` does."""
        async with self._database.read() as conn:
            found = await _contract(conn, contract_id, added.currency)
            _require_after(await contracts.changes(conn, contract_id), at)
            current = [p for _, p in await contracts.planned(conn, contract_id)]
        kept, anew = _refusing(lambda: modify(current, at, added.minor, promises))
        return found, [*kept, *anew]

    async def end_in(self, conn: AsyncConnection, subscription_id: str, at: date, *, actor: str) -> Contract | None:
        """What was sold as one is over: nothing of its plan is earned on `at` or later. None without a contract.

        What was billed and not earned, or earned and not billed, stays its position until a last change settles it.
        """
        await ledger.lock_books(conn)
        found = await contracts.find_sold(conn, subscription_id)
        if found is None or (await contracts.changes(conn, found.contract_id))[-1].reason == ENDED:
            return found
        current = [p for _, p in await contracts.planned(conn, found.contract_id)]
        unearned = sum(p.minor for p in current) - sum(earned(p.slices, at) for p in current)
        nothing = [Promise(ENDED, "revenue-recurring", 1, at)]
        return await self._modify(conn, found, at, -unearned, nothing, ENDED, actor)

    async def _modify(
        self,
        conn: AsyncConnection,
        found: Contract,
        at: date,
        added: int,
        promises: Sequence[Promise],
        reason: str,
        actor: str,
    ) -> Contract:
        """The caller holds the lock of the books."""
        now = self._clock.now()
        before = await contracts.changes(conn, found.contract_id)
        _require_after(before, at)
        current = await contracts.planned(conn, found.contract_id)
        _, planned = _refusing(lambda: modify([p for _, p in current], at, added, promises))
        chart = await ledger.ensure_chart(conn, found.entity_id)
        change = Change(before[-1].version + 1, at, added, reason)
        ids = await contracts.add_change(conn, found.contract_id, change, planned, at=now, actor=actor)
        await contracts.add_earnings(conn, _taken_back(found, chart, current, at) + _rows(found, chart, ids, planned))
        await _audit(conn, found, change, "contract.modify", actor, now)
        return await _contract(conn, found.contract_id)

    async def contract(self, contract_id: str) -> tuple[Contract, list[Change], list[Planned]]:
        """With its changes and its plan as it is now. Raises UnknownContract."""
        async with self._database.read() as conn:
            found = await _contract(conn, contract_id)
            planned = [p for _, p in await contracts.planned(conn, contract_id)]
            return found, await contracts.changes(conn, contract_id), planned

    async def contracts(self, *, account_id: str | None, after: str | None, limit: int) -> list[Contract]:
        async with self._database.read() as conn:
            return await contracts.page(conn, account_id, after, limit)

    async def months(self, entity_id: EntityId | None = None) -> list[Month]:
        """What is earned in which month, by account and currency."""
        entity = await self._crm.entity(entity_id)
        async with self._database.read() as conn:
            found = await contracts.by_month(conn, entity.entity_id)
        return [
            Month(month, code, Money(planned, currency), Money(posted, currency))
            for month, currency, code, planned, posted in found
        ]

    async def recognise(self, month: date, *, actor: str, entity_id: EntityId | None = None) -> list[Entry]:
        """Post what is due of a month and of those before it; the entries that were made. Raises EntryRefused."""
        entity = await self._crm.entity(entity_id)
        now = self._clock.now()
        if next_month(month) > local_date(now, entity.zone_info):
            raise EntryRefused(f"{month:%Y-%m} is not over: what is earned in it is posted when it is")
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            return await recognise(conn, entity.entity_id, month, at=now, actor=actor)


async def recognise(
    conn: AsyncConnection, entity_id: EntityId, month: date, *, at: datetime, actor: str
) -> list[Entry]:
    """The same within the caller's transaction, who holds the lock of the books. One entry for each month due."""
    month = await contracts.through(conn, entity_id, month.replace(day=1))
    waiting = await contracts.due(conn, entity_id, month)
    if not waiting:
        return []
    chart = await ledger.ensure_chart(conn, entity_id)
    closed = await ledger.closed_until(conn, entity_id)
    positions = await contracts.positions(conn, {e.contract_id for e in waiting if e.contract_id})
    entries = []
    for due in sorted({e.month for e in waiting}):
        members = [e for e in waiting if e.month == due]
        postings = _postings(members, chart, positions)
        last = next_month(due) - _DAY
        booked_on = last if closed is None or last >= closed else closed
        entry = Entry(
            new_id(at),
            entity_id,
            at,
            booked_on,
            f"Revenue earned in {due:%Y-%m}",
            f"recognition:{new_id(at)}",
            postings,
            due if booked_on != last else None,
        )
        if postings:
            await ledger.post(conn, [entry])
            await contracts.add_movements(conn, entry.entry_id, earned=_by_contract(members))
            entries.append(entry)
    await contracts.recognised(conn, entity_id, month, at=at, actor=actor)
    await audit.record(
        conn,
        now=at,
        actor=actor,
        action="revenue.recognise",
        subject=f"books:{entity_id}",
        after={"month": f"{month:%Y-%m}", "entries": [e.entry_id for e in entries]},
    )
    return entries


def _postings(members: Sequence[Earning], chart: Chart, positions: dict[str, int]) -> tuple[Posting, ...]:
    """Revenue by account, against deferred revenue; a contract that is billed less than earned is an asset."""
    found: list[Posting] = []
    for currency in sorted({e.currency for e in members}):
        mine = [e for e in members if e.currency == currency]
        owed, asset = sum(e.minor for e in mine if e.contract_id is None), 0
        for contract_id, minor in _by_contract(mine).items():
            moved = move(positions.get(contract_id, 0), -minor)
            positions[contract_id] = positions.get(contract_id, 0) - minor
            owed, asset = owed + moved[0], asset + moved[1]
        found.append(Posting(chart.code(DEFERRED), Money(owed, currency)))
        found.append(Posting(chart.code(CONTRACT_ASSETS), Money(asset, currency)))
        found += [
            Posting(code, Money(-sum(e.minor for e in mine if e.code == code), currency))
            for code in sorted({e.code for e in mine})
        ]
    return without_zeros(found)


def _by_contract(members: Sequence[Earning]) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for earning in members:
        if earning.contract_id is not None:
            found[earning.contract_id] = found.get(earning.contract_id, 0) + earning.minor
    return found


def _rows(made: Contract, chart: Chart, ids: Sequence[str], planned: Sequence[Planned]) -> list[dict[str, object]]:
    return [
        earning_row(
            made.entity_id,
            made.currency,
            chart.code(p.promise.role),
            piece,
            piece.minor,
            promise_id=promise_id,
            contract_id=made.contract_id,
        )
        for promise_id, p in zip(ids, planned, strict=True)
        for piece in p.slices
        if piece.minor
    ]


def _taken_back(
    found: Contract, chart: Chart, current: Sequence[tuple[str, Planned]], at: date
) -> list[dict[str, object]]:
    """What the plan had for the day of the change and later, with its sign turned."""
    return [
        earning_row(
            found.entity_id,
            found.currency,
            chart.code(p.promise.role),
            piece,
            -piece.minor,
            promise_id=promise_id,
            contract_id=found.contract_id,
        )
        for promise_id, p in current
        for piece in cut(p.slices, at)[1]
        if piece.minor
    ]


async def _contract(conn: AsyncConnection, contract_id: str, currency: str | None = None) -> Contract:
    """Raises UnknownContract, and ContractMismatch where it is not in `currency`."""
    found = await contracts.find(conn, contract_id)
    if found is None:
        raise UnknownContract(f"no contract {contract_id}")
    if currency not in (None, found.currency):
        raise ContractMismatch(f"contract {found.reference} is in {found.currency}")
    return found


def _require_after(changes: Sequence[Change], at: date) -> None:
    if at < changes[-1].at_on:
        raise EntryRefused(f"the contract was changed on {changes[-1].at_on} already: this would be before it")


def _refusing(work: Callable[[], _T]) -> _T:
    """What cannot be planned is refused in the planner's words."""
    try:
        return work()
    except ValueError as error:
        raise EntryRefused(str(error), code="contract-plan") from None


async def _audit(
    conn: AsyncConnection, found: Contract, change: Change, action: str, actor: str, now: datetime
) -> None:
    await audit.record(
        conn,
        now=now,
        actor=actor,
        action=action,
        subject=f"contract:{found.contract_id}",
        after={
            "reference": found.reference,
            "version": change.version,
            "at": change.at_on,
            "added_minor": change.added_minor,
            "currency": found.currency,
        },
        reason=change.reason,
    )
