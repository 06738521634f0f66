"""The dunning board: who owes, by stage, and what comes next. And who is to be handed over to a collection agency."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from controller.domain.identity import AccountId
from controller.domain.money import Money
from controller.domain.price import ProductKind
from erp.dunning.model import COLLECTIONS
from erp.dunning.service import DunningService
from erp.dunning.standing import Standing

RESTING, OVERDUE = "resting", "overdue"
"""Columns beside the stages: what is left alone for now, and what is late and was told nothing yet."""
_CHUNK = 250
_MOST = 5_000
_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Column:
    """The accounts of a stage: how many, what is claimed of them by currency, and the oldest of them."""

    stage: str
    rung: int
    count: int
    totals: tuple[Money, ...]
    shown: tuple[Standing, ...]


@dataclass(frozen=True, slots=True)
class Board:
    day: date
    columns: Sequence[Column]
    kinds: Mapping[AccountId, Collection[ProductKind]]
    """Of what each account that is shown has."""
    complete: bool
    notices: Mapping[str, int]
    last_run: Any


class BoardService:
    def __init__(self, dunning: DunningService, counts: Any) -> None:
        self._dunning = dunning
        self._counts = counts

    async def board(self) -> Board:
        """Now. At most five thousand accounts are looked at."""
        day, found, complete = await self._owing()
        by_stage = defaultdict(list)
        for standing in found:
            by_stage[_column_of(standing)].append(standing)
        columns = [_column(stage, rung, members) for (rung, stage), members in sorted(by_stage.items())]
        kinds = await self._dunning.kinds([s.account_id for c in columns for s in c.shown if s.state.restricts])
        runs = await self._dunning.runs(1)
        return Board(day, columns, kinds, complete, await self._counts(), runs[0] if runs else None)

    async def to_collect(self) -> list[Standing]:
        """Accounts whose claim is proposed to be handed over, and was not yet."""
        _, found, _ = await self._owing()
        return [s for s in found if COLLECTIONS in s.state.proposes and COLLECTIONS not in s.state.rests]

    async def _owing(self) -> tuple[date, list[Standing], bool]:
        day, after = await self._dunning.today(), ""
        found: list[Standing] = []
        while len(found) < _MOST:
            ids = await self._dunning.owing(day, after=after, limit=_CHUNK)
            if not ids:
                return day, found, True
            found += (await self._dunning.standings(ids, day)).values()
            after = ids[-1]
        return day, found, False


def claims_csv(standings: Sequence[Standing]) -> str:
    """What a collection agency needs: one row for each open invoice."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(
        ("account_id", "customer_id", "name", "address", "email", "phone", "tax_id", "invoice", "due_on", "open",
         "currency")
    )  # fmt: skip
    for found in standings:
        contact = found.customer.contact
        party = (found.account_id, found.customer.customer_id, contact.name, contact.address, contact.email)
        for debt in found.facts.debts:
            if debt.since < found.state.day:
                money = found.money(debt.open_minor)
                row = (*party, contact.phone, contact.tax_id, debt.number, debt.since, money.amount, money.currency)
                writer.writerow([_cell(value) for value in row])
    return out.getvalue()


def _cell(value: object) -> str:
    """As a spreadsheet shows it: a text that it would take for a formula is kept from being one."""
    text = str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t") else text


def _column_of(found: Standing) -> tuple[int, str]:
    state = found.state
    if state.rests or state.claimed_minor <= 0:
        return 1_000, RESTING
    return (state.rung, state.stage) if state.stage else (0, OVERDUE)


def _column(stage: str, rung: int, members: Sequence[Standing]) -> Column:
    sums: dict[str, int] = defaultdict(int)
    for found in members:
        sums[found.customer.account.currency] += found.state.claimed_minor or found.state.overdue_minor
    oldest = sorted(members, key=lambda s: (s.state.oldest_on or s.state.day, s.account_id))
    totals = tuple(Money(minor, currency) for currency, minor in sorted(sums.items()))
    return Column(stage, rung, len(members), totals, tuple(oldest[:_SHOWN]))
