"""Two years of bills that are paid late, in part, twice, charged back and disputed, on a moving clock.

Bills come from bill runs, over a leap day and both changes of the clock. A ledger of another hand, a list of what came
when, says what each account owes at the end of every day, what of it is contested and what is claimed; the
ageing of a past day stays what it was, and the books balance whenever they are looked at.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from heapq import heappop, heappush
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import insert

from billing_bridge.tables import account_terms
from controller.domain.identity import AccountId, InvoiceId, OfferingVersionId, PaymentId
from controller.domain.money import Money
from controller.store.engine import Database
from erp.dunning.disputes import DisputeRequest, DisputeService
from erp.dunning.service import DunningService
from erp.finance.chart import BANK
from erp.finance.control import ControlAccounts
from erp.finance.model import Wanted
from erp.finance.settlement import MoneyBack, MoneyIn
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BERLIN, BillingWorld, berlin

A, B = (OfferingVersionId(c * 32) for c in "ab")
PRICES = [tariff(A, "30.00"), tariff(B, "61.37", name="Fibre 250")]
DUE_DAYS = 14
ANNA = "user:anna"
SHORT = date(2027, 9, 1)


@dataclass
class Owed:
    """One invoice as the other hand has it: what came in for it, and on which days part of it was contested."""

    name: str
    total: int
    due_on: date
    came: list[tuple[date, int]] = field(default_factory=list)
    contested: list[tuple[date, date, int]] = field(default_factory=list)
    reopened_on: date = date.min

    def left(self, day: date) -> int:
        return self.total - sum(minor for on, minor in self.came if on <= day)

    def disputed(self, day: date) -> int:
        wanted = sum(minor for since, until, minor in self.contested if since <= day < until)
        return min(wanted, self.left(day))


@dataclass
class Book:
    """The other hand's ledger of an account."""

    events: list[tuple[date, int]] = field(default_factory=list)
    invoices: list[Owed] = field(default_factory=list)

    def balance(self, day: date) -> int:
        return sum(minor for on, minor in self.events if on <= day)

    def disputed(self, day: date) -> int:
        return sum(owed.disputed(day) for owed in self.invoices)

    def claimed(self, day: date) -> int:
        return sum(
            owed.left(day) - owed.disputed(day)
            for owed in self.invoices
            if owed.due_on < day and owed.reopened_on < day
        )


class Years:
    """The world, the other hand's ledgers, and what will happen at which instant."""

    def __init__(self, world: BillingWorld) -> None:
        self.world = world
        self.control = ControlAccounts(world.database, world.clock, world.crm, world.books)
        self.dunning = DunningService(world.database, world.clock, world.crm)
        corrections = world.finance.corrections
        self.disputes = DisputeService(world.database, world.clock, self.dunning, world.finance, corrections)
        self.books: dict[AccountId, Book] = {}
        self.printed: dict[tuple[AccountId, date], int] = {}
        self.seen = {"chargeback": 0, "upheld": 0, "rejected": 0, "partial": 0, "overpaid": 0}
        self._ahead: list[tuple[datetime, int, Callable[[], Awaitable[None]]]] = []
        self._order = count()
        self._invoiced: set[InvoiceId] = set()

    @property
    def today(self) -> date:
        return self.world.clock.now().astimezone(BERLIN).date()

    def at(self, instant: datetime, act: Callable[[], Awaitable[None]]) -> None:
        heappush(self._ahead, (instant, next(self._order), act))

    def later(self, days: int, act: Callable[[], Awaitable[None]]) -> None:
        on = self.today + timedelta(days=days)
        self.at(datetime.combine(on, time(11), tzinfo=BERLIN), act)

    async def begin(self, version: OfferingVersionId, anchor: int) -> AccountId:
        account = await self.world.customer()
        now = self.world.clock.now()
        async with self.world.database.begin() as conn:
            await conn.execute(insert(account_terms).values(account_id=account, anchor_day=anchor, changed_at=now))
        await self.world.activate(version, account)
        self.books[account] = Book()
        return account

    def look(self) -> None:
        """Both hands shall be compared at the end of this day, on which something odd has happened."""
        self.at(datetime.combine(self.today, time(23, 30), tzinfo=BERLIN), self.compare)

    async def live(self, until: datetime) -> None:
        """What lies ahead, in the order of time; every morning the accounts are compared with the other hand's."""
        while self._ahead and self._ahead[0][0] <= until:
            instant, _, act = heappop(self._ahead)
            self.world.clock.move_to(instant)
            await act()

    async def bill(self) -> None:
        run = await self.world.bill()
        for made in await self.world.finance.invoices(Wanted(bill_run_id=run), limit=100):
            assert made.invoice_id not in self._invoiced
            self._invoiced.add(made.invoice_id)
            await self._invoice(made.account_id, made.invoice_id, made.total.minor)

    async def _invoice(self, account: AccountId, invoice_id: InvoiceId, total: int) -> None:
        book = self.books[account]
        spare = -min(0, book.balance(self.today))
        book.events.append((self.today, total))
        owed = Owed(invoice_id, total, self.today + timedelta(days=DUE_DAYS))
        if spare:  # what was paid too much settles the next invoice at once
            owed.came.append((self.today, min(spare, total)))
        book.invoices.append(owed)
        self._habits(account, owed, len(book.invoices))

    def _habits(self, account: AccountId, owed: Owed, n: int) -> None:
        """What its customer does about the n-th invoice."""
        if n % 6 == 0:
            self.later(10, lambda: self.pay(account, owed))
        elif n % 6 == 1:
            self.later(20, lambda: self.pay(account, owed, back_after=25))
        elif n % 6 == 2:
            self.later(3, lambda: self.dispute(account, owed, 1000, upheld=True))
            self.later(31, lambda: self.pay(account, owed))
        elif n % 6 == 3:
            self.later(5, lambda: self.dispute(account, owed, None, upheld=False))
            self.later(50, lambda: self.pay(account, owed))
        elif n % 6 == 4:
            self.later(12, lambda: self.pay(account, owed, part=500))
            self.later(40, lambda: self.pay(account, owed))
            self.seen["partial"] += 1
        else:
            self.later(9, lambda: self.pay(account, owed, more=700))
            self.seen["overpaid"] += 1

    async def pay(self, account: AccountId, owed: Owed, *, part: int = 0, more: int = 0, back_after: int = 0) -> None:
        book, minor = self.books[account], part or owed.left(self.today)
        assert minor > 0
        amount = Money(minor + more, "EUR")
        apply = [(InvoiceId(owed.name), Money(minor, "EUR"))]
        came = MoneyIn(
            account, amount, "bank-transfer", f"{owed.name}/{len(owed.came)}/{self.today}", None, BANK, apply
        )
        async with self.world.database.begin() as conn:
            made, _ = await self.world.finance.settlement.receive_in(conn, came, actor=ANNA)
            again, is_new = await self.world.finance.settlement.receive_in(conn, came, actor=ANNA)
        assert (again.payment_id, is_new) == (made.payment_id, False), "the bank tells it twice"
        owed.came.append((self.today, minor))
        book.events.append((self.today, -amount.minor))
        if back_after:
            self.later(back_after, lambda: self.charge_back(account, owed, made.payment_id, minor))

    async def charge_back(self, account: AccountId, owed: Owed, payment_id: PaymentId, minor: int) -> None:
        back = MoneyBack(payment_id, Money(minor, "EUR"), "chargeback", f"cb-{payment_id}", BANK, "not mine")
        async with self.world.database.begin() as conn:
            for _ in range(2):  # told twice, booked once
                await self.world.finance.settlement.reverse_in(conn, back, actor=ANNA)
        owed.came.append((self.today, -minor))
        owed.reopened_on = self.today
        self.books[account].events.append((self.today, minor))
        self.seen["chargeback"] += 1
        self.look()
        self.later(15, lambda: self.pay(account, owed))

    async def dispute(self, account: AccountId, owed: Owed, minor: int | None, *, upheld: bool) -> None:
        amount = None if minor is None else Money(minor, "EUR")
        request = DisputeRequest(InvoiceId(owed.name), None, amount, "it was down")
        made = await self.disputes.open(request, {}, actor=ANNA)
        place = len(owed.contested)
        owed.contested.append((self.today, date.max, made.amount.minor))
        self.look()

        async def decide() -> None:
            since, _, contested = owed.contested[place]
            if upheld:
                ended = await self.disputes.uphold(made.dispute_id, resolution="so it was", actor=ANNA)
                assert ended.credit_note_id is not None
                assert (await self.world.finance.invoice(ended.credit_note_id)).total.minor == -contested
                owed.came.append((self.today, contested))
                self.books[account].events.append((self.today, -contested))
            else:
                ended = await self.disputes.reject(made.dispute_id, days=7, resolution="it was up", actor=ANNA)
            assert ended.until_on is not None
            owed.contested[place] = (since, ended.until_on, contested)
            self.seen["upheld" if upheld else "rejected"] += 1
            self.look()

        self.later(24, decide)

    async def compare(self) -> None:
        """Both hands, at this instant."""
        day = self.today
        ageing = {a.account_id: a for a in await self.world.books.ageing(day, limit=100)}
        for account, book in self.books.items():
            owed = ageing[account].total.minor if account in ageing else 0
            assert owed == book.balance(day), (day, account)
            self.printed[account, day] = owed
            state = (await self.dunning.standing(account)).state
            assert state.disputed_minor == book.disputed(day), (day, account)
            assert state.claimed_minor == book.claimed(day), (day, account)
        for aged, receivables in await self.world.books.aged_totals(day):
            assert aged.total == receivables.balance
        assert sum(b.balance.minor for b in await self.world.books.trial_balance()) == 0
        assert await self.control.look() == []


@pytest.fixture
async def years(database: Database, tmp_path: Path) -> AsyncIterator[Years]:
    made = BillingWorld(database, tmp_path, PRICES, berlin(2027, 1, 31, 9), checked=True)
    await made.entity()
    await made.launch()
    try:
        yield Years(made)
    finally:
        await made.close()


async def lived(years: Years, until: date) -> None:
    """Three accounts; bills on the 2nd and 17th of each month, compared each tenth day and on the days that are odd."""
    accounts = [await years.begin(A, 31), await years.begin(A, 29), await years.begin(B, 30)]
    assert len(set(accounts)) == 3
    day = date(2027, 2, 1)
    odd = {date(2027, 3, 28), date(2027, 10, 31), date(2028, 2, 29), date(2028, 3, 26), date(2028, 10, 29)}
    while day <= until:
        if day.day in (2, 17):
            years.at(datetime.combine(day, time(6), tzinfo=BERLIN), years.bill)
        if day.day % 10 == 5 or day in odd:
            years.at(datetime.combine(day, time(23), tzinfo=BERLIN), years.compare)
        day += timedelta(days=1)
    await years.live(datetime.combine(until, time(23, 59), tzinfo=BERLIN))
    for (account, on), owed in years.printed.items():
        ageing = {a.account_id: a.total.minor for a in await years.world.books.ageing(on, limit=100)}
        assert ageing.get(account, 0) == owed, f"the ageing of {on} is another one today"


async def test_seven_months_of_money_are_what_another_hand_books(years: Years) -> None:
    await lived(years, SHORT)
    assert all(years.seen.values()), years.seen


@pytest.mark.long
async def test_two_years_of_money_are_what_another_hand_books(years: Years) -> None:
    await lived(years, date(2029, 3, 1))
    assert all(n >= 6 for n in years.seen.values()), years.seen
