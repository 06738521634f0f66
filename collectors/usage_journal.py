"""What was measured and billing has not taken yet, kept in the database every few seconds: a crash loses no more.

A bin is written under the key that its record will have, and once more in its last state before it is told. So whoever
finds it after a crash tells billing the very same record again, which billing knows by its key, or tells it first.
The bins of a process that has been silent for `SILENT` are anybody's to tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from collectors.tables import bin_life, open_bin
from controller.domain.usage import MeasuredOctets
from controller.store.engine import Database
from controller.store.many import insert_rows, one_of, replacing

SILENT = timedelta(minutes=5)
"""Longer than a process that lives ever waits between two writes."""

_MOST = 1_000
_LIFE = ("life", "seen_at")
_BIN = ("record_key", "life", "source", "kind", "title", "identifier", "since", "until", "upstream_octets",
        "downstream_octets")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kept:
    """Of a process that is gone: what it measured for one source."""

    source: str
    kind: str
    title: str
    octets: Sequence[MeasuredOctets]


class UsageJournal:
    """`life` is this process's own, as in the keys of its records."""

    def __init__(self, database: Database, life: str) -> None:
        self._database = database
        self._life = life

    async def keep(self, source: str, kind: str, title: str, octets: Sequence[MeasuredOctets], now: datetime) -> None:
        """Write these in the state they are in, and that this process lives."""
        rows = [
            (o.key, self._life, source, kind, title, o.identifier, o.since, o.until, o.upstream_octets,
             o.downstream_octets)
            for o in octets
        ]  # fmt: skip
        async with self._database.begin() as conn:
            await insert_rows(conn, bin_life, _LIFE, [(self._life, now)], replacing(bin_life, _LIFE))
            await insert_rows(conn, open_bin, _BIN, rows, replacing(open_bin, _BIN))

    async def told(self, octets: Sequence[MeasuredOctets]) -> None:
        """Billing has them."""
        async with self._database.begin() as conn:
            await _forget(conn, octets)

    async def left_behind(self, now: datetime) -> list[Kept]:
        """Some of what processes measured that have been silent for long; whose are all told are forgotten."""
        async with self._database.begin() as conn:
            silent = [
                life for life in await conn.scalars(select(bin_life.c.life).where(bin_life.c.seen_at < now - SILENT))
                if life != self._life
            ]  # fmt: skip
            if not silent:
                return []
            query = select(open_bin).where(one_of(conn, open_bin.c.life, silent)).order_by(open_bin.c.record_key)
            rows = (await conn.execute(query.limit(_MOST))).all()
            if not rows:
                await conn.execute(delete(bin_life).where(one_of(conn, bin_life.c.life, silent)))
        found: dict[tuple[str, str, str], list[MeasuredOctets]] = {}
        for row in rows:
            own = found.setdefault((row.source, row.kind, row.title), [])
            own.append(
                MeasuredOctets(
                    row.record_key, row.identifier, row.since, row.until, row.upstream_octets, row.downstream_octets
                )
            )
        return [Kept(*key, octets) for key, octets in found.items()]


async def _forget(conn: AsyncConnection, octets: Sequence[MeasuredOctets]) -> None:
    keys = [o.key for o in octets]
    await conn.execute(delete(open_bin).where(one_of(conn, open_bin.c.record_key, keys)))
