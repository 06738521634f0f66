"""Rows of fair use, in and out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, delete, exists, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.allowance import Allowance, Counted, FairUseStep, PeriodKind
from controller.domain.service import SpeedProfile
from controller.store.many import insert_rows, one_of, replacing
from controller.store.usage_log import usage_records
from radius.accounting.session import LIVE
from radius.accounting.tables import sessions as radius_sessions
from radius.dynamic.model import Kind
from radius.dynamic.tables import changes
from radius.quota.growth import CountedSession, Reading
from radius.quota.tables import position, quotas, sessions, steps, top_ups, usage
from radius.tables import subscriber

_FOLLOWER = "quota"
_SESSION = tuple(CountedSession.__dataclass_fields__)
_USAGE = ("service_id", "period_start_us", "upstream_octets", "downstream_octets", "topped_up_octets")
_ADD = (
    "ON CONFLICT (service_id, period_start_us) DO UPDATE SET"
    " upstream_octets = radius_quota_usage.upstream_octets + excluded.upstream_octets,"
    " downstream_octets = radius_quota_usage.downstream_octets + excluded.downstream_octets,"
    " topped_up_octets = radius_quota_usage.topped_up_octets + excluded.topped_up_octets"
)


@dataclass(frozen=True, slots=True)
class QuotaRow:
    service_id: str
    allowance: Allowance
    step: int
    period_end_us: int
    stepped_at: datetime


@dataclass(frozen=True, slots=True)
class Used:
    """What a service used in a period, and was given beyond its allowance."""

    upstream_octets: int = 0
    downstream_octets: int = 0
    topped_up_octets: int = 0


@dataclass(frozen=True, slots=True)
class StepTaken:
    """Step 0 is full speed again; `profile_name` None of another step is a cap. `used_octets` when it was taken."""

    step_id: str
    service_id: str
    step: int
    profile_name: str | None
    period_start_us: int
    limit_octets: int | None
    used_octets: int
    at: datetime

    @property
    def overshoot_octets(self) -> int:
        """How far beyond the limit the service was when that was seen: at most an interim interval at full speed."""
        return 0 if self.limit_octets is None else self.used_octets - self.limit_octets


# --- allowances ---


def allowance_text(allowance: Allowance) -> str:
    return json.dumps(asdict(allowance), sort_keys=True)


def allowance_from(text: str) -> Allowance:
    said = json.loads(text)
    steps = tuple(
        FairUseStep(step["beyond_octets"], None if step["profile"] is None else SpeedProfile(**step["profile"]))
        for step in said["steps"]
    )
    kinds = {"period": PeriodKind(said["period"]), "counted": Counted(said["counted"]), "steps": steps}
    return Allowance(**(said | kinds))


async def lock_quotas(conn: AsyncConnection, service_ids: Iterable[str]) -> list[QuotaRow]:
    """Those that have an allowance, in one order for everybody."""
    query = select(quotas).where(one_of(conn, quotas.c.service_id, sorted(set(service_ids))))
    rows = await conn.execute(query.order_by(quotas.c.service_id).with_for_update())
    return [_quota(row) for row in rows]


async def get_quota(conn: AsyncConnection, service_id: str) -> QuotaRow | None:
    row = (await conn.execute(select(quotas).where(quotas.c.service_id == service_id))).one_or_none()
    return None if row is None else _quota(row)


def _quota(row: Any) -> QuotaRow:
    return QuotaRow(row.service_id, allowance_from(row.allowance), row.step, row.period_end_us, row.stepped_at)


async def put_quota(conn: AsyncConnection, row: QuotaRow, now: datetime) -> None:
    values = (row.service_id, allowance_text(row.allowance), row.step, row.period_end_us, row.stepped_at, now)
    names = ("service_id", "allowance", "step", "period_end_us", "stepped_at", "updated_at")
    await insert_rows(conn, quotas, names, [values], replacing(quotas, names))


async def delete_quota(conn: AsyncConnection, service_id: str) -> None:
    """Usage stays: who gives an allowance up and takes it again has used what was used."""
    await conn.execute(delete(quotas).where(quotas.c.service_id == service_id))
    await conn.execute(delete(sessions).where(sessions.c.service_id == service_id))


async def any_quota(conn: AsyncConnection) -> bool:
    return (await conn.execute(select(quotas.c.service_id).limit(1))).first() is not None


async def over(conn: AsyncConnection, now_us: int, limit: int) -> list[str]:
    """Services whose period has ended."""
    query = select(quotas.c.service_id).where(quotas.c.period_end_us <= now_us).limit(limit)
    return [row.service_id for row in await conn.execute(query)]


async def out_of_step(conn: AsyncConnection, limit: int) -> list[str]:
    """Services whose login was written anew and does not know of the step."""
    query = (
        select(quotas.c.service_id)
        .join(subscriber, and_(subscriber.c.service_id == quotas.c.service_id, subscriber.c.withdrawn.is_(False)))
        .where((quotas.c.step > 0) != subscriber.c.throttle.is_not(None))
        .limit(limit)
    )
    return [row.service_id for row in await conn.execute(query)]


# --- counting ---


async def get_position(conn: AsyncConnection) -> int | None:
    return await conn.scalar(select(position.c.record_id).where(position.c.follower == _FOLLOWER))


async def lock_position(conn: AsyncConnection) -> int | None:
    """Who counts and who gives a first allowance take turns here."""
    query = select(position.c.record_id).where(position.c.follower == _FOLLOWER).with_for_update()
    return await conn.scalar(query)


async def first_position(conn: AsyncConnection, record_id: int) -> None:
    """Have counting begin here, unless it began before."""
    make = pg_insert if conn.dialect.name == "postgresql" else sqlite_insert
    row = make(position).values(follower=_FOLLOWER, record_id=record_id)
    await conn.execute(row.on_conflict_do_nothing())


async def move_position(conn: AsyncConnection, record_id: int) -> None:
    await conn.execute(update(position).where(position.c.follower == _FOLLOWER).values(record_id=record_id))


async def readings(conn: AsyncConnection, after: int, until: int) -> list[Reading]:
    """What the log says of services with an allowance, in the order of the log; nothing of others is read out."""
    r = usage_records.c
    query = (
        select(r.session_key, r.service_id, r.upstream_octets, r.downstream_octets, r.event_us)
        .join(quotas, quotas.c.service_id == r.service_id)
        .where(r.record_id > after, r.record_id <= until, r.session_key != "")
        .order_by(r.record_id)
    )
    return [Reading(*row) for row in await conn.execute(query)]


async def counted_sessions(conn: AsyncConnection, session_keys: Iterable[str]) -> dict[str, CountedSession]:
    columns = [sessions.c[name] for name in _SESSION]
    rows = await conn.execute(select(*columns).where(one_of(conn, sessions.c.session_key, set(session_keys))))
    return {row.session_key: CountedSession(*row) for row in rows}


async def put_sessions(conn: AsyncConnection, counted: Iterable[CountedSession]) -> None:
    rows = [tuple(getattr(one, name) for name in _SESSION) for one in counted]
    await insert_rows(conn, sessions, _SESSION, rows, replacing(sessions, _SESSION))


async def begin_with_what_was(conn: AsyncConnection, service_id: str) -> None:
    """What the service's sessions carried before it had an allowance is no usage of it."""
    s = radius_sessions.c
    known = select(s.session_key, s.service_id, s.upstream_octets, s.downstream_octets, s.last_event_us)
    make = pg_insert if conn.dialect.name == "postgresql" else sqlite_insert
    await conn.execute(
        make(sessions).from_select(list(_SESSION), known.where(s.service_id == service_id)).on_conflict_do_nothing()
    )


async def forget_sessions(conn: AsyncConnection, before_us: int, limit: int) -> None:
    """Sessions that nothing was heard of since."""
    old = select(sessions.c.session_key).where(sessions.c.event_us < before_us).limit(limit)
    await conn.execute(delete(sessions).where(sessions.c.session_key.in_(old)))


async def add_usage(conn: AsyncConnection, added: dict[tuple[str, int], tuple[int, int, int]]) -> None:
    """(service, beginning of the period) → octets upstream, downstream, topped up."""
    await insert_rows(conn, usage, _USAGE, [(*key, *added[key]) for key in sorted(added)], _ADD)


async def used(conn: AsyncConnection, wanted: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Used]:
    """By (service, beginning of the period); what is absent was not used."""
    rows = await conn.execute(
        select(usage).where(
            one_of(conn, usage.c.service_id, [service_id for service_id, _ in wanted]),
            usage.c.period_start_us.in_(sorted({start for _, start in wanted})),
        )
    )
    return {
        (row.service_id, row.period_start_us): Used(row.upstream_octets, row.downstream_octets, row.topped_up_octets)
        for row in rows
    }


# --- top-ups ---


@dataclass(frozen=True, slots=True)
class TopUp:
    """`reference` is the buyer's: it books once."""

    top_up_id: str
    service_id: str
    reference: str
    octets: int
    period_start_us: int
    actor: str
    at: datetime


async def add_top_up(conn: AsyncConnection, made: TopUp) -> bool:
    """False when its reference was booked before. The quota of its service is locked by the caller."""
    same = select(top_ups.c.top_up_id).where(
        top_ups.c.service_id == made.service_id, top_ups.c.reference == made.reference
    )
    if (await conn.execute(same)).first() is not None:
        return False
    await conn.execute(insert(top_ups).values(**{name: getattr(made, name) for name in TopUp.__dataclass_fields__}))
    return True


# --- steps ---


async def add_step(conn: AsyncConnection, taken: StepTaken) -> None:
    await conn.execute(insert(steps).values(**{name: getattr(taken, name) for name in StepTaken.__dataclass_fields__}))


async def list_steps(
    conn: AsyncConnection, *, service_id: str | None, before: str | None, limit: int
) -> list[StepTaken]:
    """Newest first."""
    query = select(steps).order_by(steps.c.step_id.desc()).limit(limit)
    query = query if service_id is None else query.where(steps.c.service_id == service_id)
    query = query if before is None else query.where(steps.c.step_id < before)
    return [StepTaken(**dict(row._mapping)) for row in await conn.execute(query)]


async def untold(conn: AsyncConnection, lately: datetime, limit: int) -> list[str]:
    """Services with a live session that was asked for nothing since their step: it may have begun in that moment.

    Those at full speed only where they came back to it `lately`.
    """
    s = radius_sessions.c
    of_speed = changes.c.kind != Kind.LIMIT.value
    since = changes.c.requested_at >= quotas.c.stepped_at
    asked = exists().where(changes.c.session_key == s.session_key, since, of_speed)
    query = (
        select(quotas.c.service_id)
        .distinct()
        .join(radius_sessions, and_(s.service_id == quotas.c.service_id, s.state == LIVE))
        .where(or_(quotas.c.step > 0, quotas.c.stepped_at >= lately), ~asked)
        .limit(limit)
    )
    return [row.service_id for row in await conn.execute(query)]


async def asked_since(conn: AsyncConnection, session_keys: Sequence[str], since: datetime) -> set[str]:
    """Of these sessions those that something was asked of since then, but for a limit of prepaid alone."""
    c = changes.c
    query = select(c.session_key).where(c.session_key.in_(session_keys), c.requested_at >= since)
    rows = await conn.execute(query.where(c.kind != Kind.LIMIT.value))
    return {row.session_key for row in rows}
