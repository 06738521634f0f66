"""Use cases of fair use: give a service an allowance, top it up, and see what it used."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.allowance import Allowance
from controller.domain.clock import Clock
from controller.domain.errors import NotFound, RuleError
from controller.domain.identity import new_id
from controller.store import audit
from controller.store.engine import Database
from controller.store.metadata import to_micros
from controller.store.usage_reader import UsageLogReader
from radius.quota import repository
from radius.quota.evaluation import Evaluation
from radius.quota.repository import QuotaRow, StepTaken, TopUp, Used
from radius.repository import take_turn

_MOST_OCTETS = 2**60
_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class QuotaState:
    """What a service used in the period that lasts, and what is in force."""

    service_id: str
    allowance: Allowance
    period_start: datetime
    period_end: datetime
    upstream_octets: int
    downstream_octets: int
    counted_octets: int
    topped_up_octets: int
    step: int

    @property
    def limit_octets(self) -> int:
        """What could be used at full speed."""
        return self.allowance.octets + self.topped_up_octets

    @property
    def overshoot_octets(self) -> int:
        return max(0, self.counted_octets - self.limit_octets)


class QuotaService:
    """Each change is one transaction with its audit entry. `changed` is called when a step was put into force."""

    def __init__(
        self, database: Database, clock: Clock, evaluation: Evaluation, changed: Callable[[], Awaitable[None]]
    ) -> None:
        self._database = database
        self._clock = clock
        self._evaluation = evaluation
        self._changed = changed
        self._reader = UsageLogReader(database)

    async def put_allowance(self, service_id: str, allowance: Allowance, *, actor: str) -> QuotaState:
        """Give or replace it. What was used in a period stays used; what came before a first one is not counted."""
        now = self._clock.now()
        if allowance.octets > _MOST_OCTETS or any(step.beyond_octets > _MOST_OCTETS for step in allowance.steps):
            raise RuleError("no more than 1 exabyte can be counted")
        if not _ID.fullmatch(service_id):
            raise NotFound(f"no service {service_id!r}")
        watermark = await self._reader.watermark()
        async with self._database.begin() as conn:
            await repository.first_position(conn, watermark)
            await repository.lock_position(conn)
            if not await repository.any_quota(conn):
                await repository.move_position(conn, watermark)
            before = next(iter(await _locked(conn, service_id)), None)
            if before is None:
                await repository.begin_with_what_was(conn, service_id)
            end_us = to_micros(allowance.period_at(now).end)
            # From full speed anew: the step may be the same, and its speed another.
            await repository.put_quota(conn, QuotaRow(service_id, allowance, 0, end_us, now), now)
            await audit.record(
                conn,
                now=now,
                actor=actor,
                action="quota.allowance",
                subject=f"service:{service_id}",
                before=None if before is None else json.loads(repository.allowance_text(before.allowance)),
                after=json.loads(repository.allowance_text(allowance)),
            )
            stepped = await self._evaluation.evaluate(conn, [service_id], now)
            if before is not None and before.step and not stepped:
                await self._evaluation.lift(conn, service_id, now)
        await self._changed()
        return await self.show(service_id)

    async def withdraw_allowance(self, service_id: str, *, actor: str) -> None:
        """Nothing is counted any more, and the plan's speed holds. Raises NotFound."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            before = next(iter(await _locked(conn, service_id)), None)
            if before is None:
                raise NotFound(f"service {service_id} has no allowance")
            await repository.delete_quota(conn, service_id)
            if before.step:
                await self._evaluation.lift(conn, service_id, now)
            await audit.record(
                conn,
                now=now,
                actor=actor,
                action="quota.withdraw",
                subject=f"service:{service_id}",
                before=json.loads(repository.allowance_text(before.allowance)),
            )
        await self._changed()

    async def top_up(self, service_id: str, octets: int, *, reference: str, actor: str) -> QuotaState:
        """More volume until the period ends; live sessions get their speed back. One `reference` books once.

        Raises NotFound, RuleError.
        """
        if not 0 < octets <= _MOST_OCTETS:
            raise RuleError("a top-up is 1 octet to 1 exabyte")
        now = self._clock.now()
        async with self._database.begin() as conn:
            rows = await _locked(conn, service_id)
            if not rows:
                raise NotFound(f"service {service_id} has no allowance to top up")
            start_us = to_micros(rows[0].allowance.period_at(now).start)
            key = (service_id, start_us)
            topped_up = (await repository.used(conn, [key])).get(key, Used()).topped_up_octets
            if topped_up + octets > _MOST_OCTETS:
                raise RuleError("no period is topped up by more than 1 exabyte")
            made = TopUp(new_id(now), service_id, reference, octets, start_us, actor, now)
            booked = await repository.add_top_up(conn, made)
            if booked:
                await repository.add_usage(conn, {(service_id, start_us): (0, 0, octets)})
                await audit.record(
                    conn,
                    now=now,
                    actor=actor,
                    action="quota.top-up",
                    subject=f"service:{service_id}",
                    after={"octets": octets, "reference": reference},
                )
                await self._evaluation.evaluate(conn, [service_id], now)
        await self._changed()
        return await self.show(service_id)

    async def show(self, service_id: str) -> QuotaState:
        """Raises NotFound."""
        now = self._clock.now()
        async with self._database.read() as conn:
            row = await self._row(conn, service_id)
            period = row.allowance.period_at(now)
            key = (service_id, to_micros(period.start))
            used = (await repository.used(conn, [key])).get(key, Used())
        return QuotaState(
            service_id,
            row.allowance,
            period.start,
            period.end,
            used.upstream_octets,
            used.downstream_octets,
            row.allowance.counted.of(used.upstream_octets, used.downstream_octets),
            used.topped_up_octets,
            row.step,
        )

    async def steps(self, *, service_id: str | None, before: str | None, limit: int) -> list[StepTaken]:
        """Steps that services took, newest first."""
        async with self._database.read() as conn:
            return await repository.list_steps(conn, service_id=service_id, before=before, limit=limit)

    @staticmethod
    async def _row(conn: AsyncConnection, service_id: str) -> QuotaRow:
        row = await repository.get_quota(conn, service_id)
        if row is None:
            raise NotFound(f"service {service_id} has no allowance")
        return row


async def _locked(conn: AsyncConnection, service_id: str) -> list[QuotaRow]:
    """Quota, directory, audit log: everybody who changes several of them takes them in this order."""
    rows = await repository.lock_quotas(conn, [service_id])
    await take_turn(conn)
    return rows
