"""Once a night every account that is the sum of a subledger is compared with it: added up anew from rows and postings.

Every document posts itself in the transaction of its rows, so the two agree at every commit. That they do is counted
all the same: a row that somebody wrote past the program is told of in the morning, and not when the year is closed.
Receivables are compared at the end of yesterday, which changes no more; all others as they stand in one snapshot, for
what became of their rows has no days. What each look has found is kept: the last that agreed says since when to look.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

import structlog
from prometheus_client import Gauge
from sqlalchemy import Row, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock, local_date
from controller.domain.identity import EntityId
from controller.domain.money import Money
from controller.store.engine import Database
from erp.crm.model import Entity
from erp.crm.service import CrmService
from erp.finance import ledger, subledger
from erp.finance.books import BooksService
from erp.finance.chart import RECEIVABLES
from erp.finance.control_tables import control_check
from erp.finance.subledger import SUBLEDGERS, ByHand, Subledger, posted_on

log = structlog.get_logger()
_apart = Gauge(
    "headend_finance_control_accounts_apart",
    "Accounts of a legal entity and currency that their subledger differs from, at the last look",
)
_A_NIGHT = timedelta(hours=20)
"""What was looked at since is not looked at again by another process, or after a restart."""
_LATER = timedelta(microseconds=1)
RECEIVABLE = "receivables"
_ROWS = {RECEIVABLE: "open items of customers: documents, payments and what they settle"}
_LOOK = {RECEIVABLE: "headend finance ageing, of the days since"}


@dataclass(frozen=True, slots=True)
class Compared:
    """An account of one legal entity and currency, and what it is the sum of. Debits are positive.

    At the end of the day `as_of`, or without one as things stood at `looked_at`. `agreed_at` is the last look that
    found no difference, None where there was none.
    """

    entity_id: EntityId
    name: str
    code: str
    subledger: Money
    by_hand: Money
    ledger: Money
    looked_at: datetime
    as_of: date | None = None
    agreed_at: datetime | None = None

    @property
    def difference(self) -> Money:
        """What the ledger says too much."""
        return self.ledger - self.subledger - self.by_hand


class ControlAccounts:
    """`others` are subledgers of other rooms, `by_hand` what people may book there, each as finance's own."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        crm: CrmService,
        books: BooksService,
        others: Sequence[Subledger] = (),
        by_hand: Sequence[ByHand] = (),
    ) -> None:
        self._database = database
        self._clock = clock
        self._crm = crm
        self._books = books
        self._subledgers = (*SUBLEDGERS, *others)
        self._by_hand: Sequence[ByHand] = (subledger.by_hand, *by_hand)

    async def look(self) -> list[Compared]:
        """Compare everything now, of every legal entity; what was found is kept, and returned."""
        now = self._clock.now()
        found: list[Compared] = []
        for entity in await self._crm.entities():
            found += await self._receivables(entity, now)
            async with self._database.read() as conn:
                found += await self._others(conn, entity, now)
        if found:
            await self._keep(found)
        apart = [each for each in await self.last() if each.difference]
        _apart.set(len(apart))
        for each in apart:
            log.error(
                "finance.control_account_apart", entity_id=each.entity_id, subledger=each.name, account=each.code,
                rows=str(each.subledger), by_hand=str(each.by_hand), ledger=str(each.ledger),
                difference=str(each.difference), as_of=each.as_of and each.as_of.isoformat(), hint=self.hint(each),
            )  # fmt: skip
        return apart

    async def nightly(self) -> list[Compared]:
        """`look`, where nobody did this night; the differences."""
        async with self._database.read() as conn:
            last = await conn.scalar(select(func.max(control_check.c.looked_at)))
        if last is None or self._clock.now() - last >= _A_NIGHT:
            return await self.look()
        apart = [each for each in await self.last() if each.difference]
        _apart.set(len(apart))
        return apart

    async def last(self, entity_id: EntityId | None = None) -> list[Compared]:
        """What the last look has found, of one legal entity or of all."""
        async with self._database.read() as conn:
            at = await conn.scalar(select(func.max(control_check.c.looked_at)))
            if at is None:
                return []
            query = select(control_check).where(control_check.c.looked_at == at)
            if entity_id is not None:
                query = query.where(control_check.c.entity_id == entity_id)
            key = (control_check.c.entity_id, control_check.c.code, control_check.c.name, control_check.c.currency)
            found = [_compared(row) for row in await conn.execute(query.order_by(*key))]
            return [replace(each, agreed_at=await _agreed(conn, each)) for each in found]

    def rows_of(self, name: str) -> str:
        """What a subledger is made of, in words."""
        return next((s.rows for s in self._subledgers if s.name == name), _ROWS.get(name, name))

    def hint(self, found: Compared) -> str:
        """Where to look for a difference; empty where there is none."""
        if not found.difference:
            return ""
        look = next((s.look for s in self._subledgers if s.name == found.name), _LOOK.get(found.name, ""))
        since = (
            "it never agreed" if found.agreed_at is None else f"it agreed last at {found.agreed_at:%Y-%m-%d %H:%M} UTC"
        )
        return f"{since}: compare the postings of account {found.code} since with the rows ({look})"

    async def _keep(self, found: Sequence[Compared]) -> None:
        async with self._database.begin() as conn:
            last = await conn.scalar(select(func.max(control_check.c.looked_at)))
            at = found[0].looked_at if last is None else max(found[0].looked_at, last + _LATER)
            await conn.execute(insert(control_check), [_row(replace(each, looked_at=at)) for each in found])

    async def _receivables(self, entity: Entity, now: datetime) -> list[Compared]:
        day = local_date(now, entity.zone_info) - timedelta(days=1)
        code = (await self._books.chart(entity.entity_id)).code(RECEIVABLES)
        return [
            Compared(
                entity.entity_id, RECEIVABLE, code, aged.total, Money.zero(aged.currency), posted.balance, now, day
            )
            for aged, posted in await self._books.aged_totals(day, entity.entity_id)
        ]

    async def _others(self, conn: AsyncConnection, entity: Entity, now: datetime) -> list[Compared]:
        chart = await ledger.chart(conn, entity.entity_id)
        hand: dict[tuple[str, str], int] = defaultdict(int)
        for sums in self._by_hand:
            for key, minor in (await sums(conn, entity.entity_id)).items():
                hand[key] += minor
        found = []
        codes = {account.role: code for code, account in chart.accounts.items() if account.role}
        for each in self._subledgers:
            code = codes.get(each.role)
            if code is None:
                continue  # a chart of before there was such an account: nothing was posted there
            rows = await each.sums(conn, entity.entity_id, chart)
            if each.posted is not None:
                posted, by_hand = await each.posted(conn, entity.entity_id, chart), {}
            else:
                posted = await posted_on(conn, entity.entity_id, [code])
                by_hand = {currency: minor for (of, currency), minor in hand.items() if of == code}
            for currency in sorted({entity.currency, *rows, *posted, *by_hand}):
                own, hands, all_of_it = (Money(side.get(currency, 0), currency) for side in (rows, by_hand, posted))
                found.append(Compared(entity.entity_id, each.name, code, own, hands, all_of_it, now))
        return found


async def _agreed(conn: AsyncConnection, found: Compared) -> datetime | None:
    """The last look that found no difference."""
    c = control_check.c
    query = select(c.looked_at).where(
        c.entity_id == found.entity_id, c.name == found.name, c.currency == found.ledger.currency,
        c.ledger_minor == c.subledger_minor + c.by_hand_minor,
    )  # fmt: skip
    at: datetime | None = await conn.scalar(query.order_by(c.looked_at.desc()).limit(1))
    return at


def _row(found: Compared) -> dict[str, object]:
    return {
        "entity_id": found.entity_id,
        "looked_at": found.looked_at,
        "name": found.name,
        "currency": found.ledger.currency,
        "code": found.code,
        "as_of": found.as_of,
        "subledger_minor": found.subledger.minor,
        "by_hand_minor": found.by_hand.minor,
        "ledger_minor": found.ledger.minor,
    }


def _compared(row: Row[Any]) -> Compared:
    own, by_hand, posted = (
        Money(minor, row.currency) for minor in (row.subledger_minor, row.by_hand_minor, row.ledger_minor)
    )
    return Compared(EntityId(row.entity_id), row.name, row.code, own, by_hand, posted, row.looked_at, row.as_of)
