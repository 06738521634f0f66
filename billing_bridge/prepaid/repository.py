"""Rows of prepaid services, in and out. Whoever changes a balance holds its row: reservations take turns there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import delete, insert, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.prepaid.book import Book
from billing_bridge.prepaid.model import (
    SECONDS,
    Kind,
    Movement,
    PrepaidCall,
    Segment,
    Session,
    State,
    Terms,
    Used,
    Wallet,
)
from billing_bridge.prepaid.tables import (
    GRANTED,
    HELD,
    LOW,
    UNPOSTED,
    call,
    day,
    movement,
    session,
    terms,
    used,
    wallet,
)
from billing_bridge.tables import entitlement, subscription, tariff
from billing_bridge.zones import Today, Zones
from controller.domain.credit import FinalAction, Standing
from controller.domain.identity import OfferingVersionId
from controller.domain.price import PricePlan
from controller.domain.price_text import plan_from_json
from controller.domain.tariff import TariffVersion
from controller.store.many import insert_rows, one_of, replacing

_PAYING_LOCK = 0x4845_4201
"""With a service, the pair of keys of an advisory lock: who decides how the service is paid takes turns there."""
_WALLET = tuple(f.name for f in fields(Wallet))
SESSION = tuple(f.name for f in fields(Session))
_MOVEMENT = tuple(f.name for f in fields(Movement) if f.name != "sequence")
_CALL = tuple(f.name for f in fields(PrepaidCall))
_USED = ("service_id", "terms", "period_on", "used", "debited")
_DAY = ("service_id", "day", "debited", "earned_minor", "lapsed_minor")
_ADD_TO_DAY = "ON CONFLICT (service_id, day) DO UPDATE SET " + ", ".join(
    f"{name} = {day.name}.{name} + excluded.{name}" for name in _DAY[2:]
)


@dataclass(frozen=True, slots=True)
class TermsRow:
    """Terms as they are stored: with the id of their tariff."""

    sequence: int
    service_id: str
    since: datetime
    version_id: OfferingVersionId | None
    slice: int
    validity_s: int
    action: FinalAction
    actor: str
    credit_days: int | None = None
    notice_days: int | None = None
    low_below: int | None = None

    def with_tariff(self, found: TariffVersion | None) -> Terms:
        return Terms(
            self.sequence, self.since, found, self.slice, timedelta(seconds=self.validity_s), self.action,
            self.credit_days, self.notice_days, self.low_below,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class UsedDay:
    """What was earned of a balance on a local day, by use and by expiry, and is not in the books yet."""

    service_id: str
    account_id: str
    day: date
    currency: str
    earned_minor: int
    lapsed_minor: int


# --- wallets ---


async def take_turn(conn: AsyncConnection, service_id: str) -> None:
    """Wait for whoever else decides how this service is paid: what is read after this holds until the end.

    An order and an opening write rows of different rooms, so neither would meet the other at a row; SQLite has one
    writer in any case.
    """
    if conn.dialect.name == "postgresql":
        of_service = int.from_bytes(sha256(service_id.encode()).digest()[:4], signed=True)
        lock = text("SELECT pg_advisory_xact_lock(CAST(:what AS integer), CAST(:of AS integer))")
        await conn.execute(lock, {"what": _PAYING_LOCK, "of": of_service})


async def lock(conn: AsyncConnection, service_ids: Iterable[str]) -> dict[str, Wallet]:
    """Those that exist, in one order for everybody; nobody else changes them while this transaction lasts."""
    query = select(wallet).where(one_of(conn, wallet.c.service_id, sorted(set(service_ids))))
    rows = await conn.execute(query.order_by(wallet.c.service_id).with_for_update())
    return {row.service_id: _wallet(row) for row in rows}


async def get(conn: AsyncConnection, service_id: str) -> Wallet | None:
    row = (await conn.execute(select(wallet).where(wallet.c.service_id == service_id))).one_or_none()
    return None if row is None else _wallet(row)


async def page(conn: AsyncConnection, *, account_id: str | None, after: str | None, limit: int) -> list[Wallet]:
    """By service."""
    query = select(wallet).order_by(wallet.c.service_id).limit(limit)
    query = query if account_id is None else query.where(wallet.c.account_id == account_id)
    query = query if after is None else query.where(wallet.c.service_id > after)
    return [_wallet(row) for row in await conn.execute(query)]


async def add(conn: AsyncConnection, made: Wallet) -> bool:
    """False when the service has one already: two that open it at once are one."""
    make = pg_insert if conn.dialect.name == "postgresql" else sqlite_insert
    row = make(wallet).values(
        **{name: getattr(made, name) for name in _WALLET},
    )
    return bool((await conn.execute(row.on_conflict_do_nothing())).rowcount)


async def put(conn: AsyncConnection, changed: Wallet) -> None:
    values = {name: getattr(changed, name) for name in _WALLET if name != "service_id"}
    await conn.execute(update(wallet).where(wallet.c.service_id == changed.service_id).values(**values))


async def any_open(conn: AsyncConnection) -> bool:
    return (await conn.execute(select(wallet.c.service_id).limit(1))).first() is not None


def _wallet(row: Any) -> Wallet:
    found = Wallet(**{name: getattr(row, name) for name in _WALLET})
    found.standing = Standing(found.standing)
    return found


async def plan_of(conn: AsyncConnection, service_id: str) -> PricePlan | None:
    """What the service is sold with, as bills know it; None where nothing is."""
    query = (
        select(tariff.c.plan)
        .select_from(subscription.join(entitlement, entitlement.c.subscription_id == subscription.c.subscription_id))
        .outerjoin(tariff, tariff.c.version_id == entitlement.c.version_id)
        .where(subscription.c.service_id == service_id)
        .order_by(entitlement.c.sequence.desc())
        .limit(1)
    )
    found = await conn.scalar(query)
    return None if found is None else plan_from_json(found)


# --- terms ---


async def add_terms(conn: AsyncConnection, made: TermsRow) -> None:
    values = {f.name: getattr(made, f.name) for f in fields(TermsRow) if f.name != "sequence"}
    await conn.execute(insert(terms).values(**values))


async def terms_of(conn: AsyncConnection, service_ids: Iterable[str]) -> dict[str, list[TermsRow]]:
    """Of each service, in order of time."""
    query = select(terms).where(one_of(conn, terms.c.service_id, service_ids)).order_by(terms.c.sequence)
    found: dict[str, list[TermsRow]] = defaultdict(list)
    for row in await conn.execute(query):
        made = TermsRow(**dict(row._mapping))
        found[row.service_id].append(TermsRow(**(dict(row._mapping) | {"action": FinalAction(made.action)})))
    return dict(found)


# --- books ---


async def books(
    conn: AsyncConnection,
    wallets: Mapping[str, Wallet],
    priced: Mapping[str, Sequence[Terms]],
    since_on: date,
    session_keys: Iterable[str] = (),
    *,
    zones: Zones,
    rounding: str,
) -> dict[str, Book]:
    """Of wallets that the caller has locked, with the sessions that have not ended, and those of `session_keys`."""
    ids, keys = list(wallets), sorted(set(session_keys))
    sessions: dict[str, list[Session]] = defaultdict(list)
    wanted = session.c.state != State.ENDED.value
    if keys:
        wanted = or_(wanted, one_of(conn, session.c.session_key, keys))
    for row in await conn.execute(select(session).where(one_of(conn, session.c.service_id, ids), wanted)):
        found = Session(**{name: getattr(row, name) for name in SESSION})
        found.state = State(found.state)
        sessions[row.service_id].append(found)
    segments: dict[str, dict[Segment, Used]] = defaultdict(dict)
    for row in await conn.execute(select(used).where(one_of(conn, used.c.service_id, ids))):
        segments[row.service_id][Segment(row.terms, row.period_on)] = Used(row.used, row.debited)
    telephony = [i for i in ids if any(t.calls for t in priced[i])]
    calls = await _calls(conn, telephony, since_on) if telephony else {}
    return {
        i: Book(
            found,
            priced[i],
            segments[i],
            sessions[i],
            calls.get(i, ()),
            zone=zones.of(found.account_id),
            rounding=rounding,
        )
        for i, found in wallets.items()
    }


async def _calls(conn: AsyncConnection, service_ids: Sequence[str], since_on: date) -> dict[str, list[PrepaidCall]]:
    """Those that go on, and those of the periods from `since_on` on."""
    query = select(call).where(
        one_of(conn, call.c.service_id, service_ids), or_(call.c.period_on >= since_on, call.c.granted_s > 0)
    )
    found: dict[str, list[PrepaidCall]] = defaultdict(list)
    for row in await conn.execute(query):
        found[row.service_id].append(PrepaidCall(**dict(row._mapping)))
    return dict(found)


async def store(conn: AsyncConnection, changed: Iterable[Book]) -> None:
    """Everything that came of them."""
    books = list(changed)
    for book in books:
        await put(conn, book.wallet)
    sessions = [
        tuple(getattr(s, name) for name in SESSION)
        for book in books
        for s in sorted(book.sessions.values(), key=lambda s: s.reservation_id)
    ]
    await insert_rows(conn, session, SESSION, sessions, replacing(session, SESSION))
    segments = [
        (book.wallet.service_id, at.terms, at.period_on, said.used, said.debited)
        for book in books
        for at, said in book.used.items()
    ]
    await insert_rows(conn, used, _USED, segments, replacing(used, _USED))
    calls = [tuple(getattr(c, name) for name in _CALL) for book in books for c in book.telephony.calls.values()]
    await insert_rows(conn, call, _CALL, calls, replacing(call, _CALL))
    days = [
        (book.wallet.service_id, at, said.debited, said.earned_minor, said.lapsed_minor)
        for book in books
        for at, said in sorted(book.days.items())
    ]
    await insert_rows(conn, day, _DAY, days, _ADD_TO_DAY)
    moved = [tuple(getattr(m, name) for name in _MOVEMENT) for book in books for m in book.movements]
    await insert_rows(conn, movement, _MOVEMENT, moved)


async def moved(conn: AsyncConnection, service_id: str, key: str) -> Movement | None:
    """What this key moved, if it did."""
    query = select(movement).where(movement.c.service_id == service_id, movement.c.key == key)
    row = (await conn.execute(query)).one_or_none()
    return None if row is None else _movement(row)


async def movements(conn: AsyncConnection, service_id: str, *, before: int | None, limit: int) -> list[Movement]:
    """Newest first."""
    query = select(movement).where(movement.c.service_id == service_id)
    query = query if before is None else query.where(movement.c.sequence < before)
    return [_movement(row) for row in await conn.execute(query.order_by(movement.c.sequence.desc()).limit(limit))]


def _movement(row: Any) -> Movement:
    values = dict(row._mapping)
    return Movement(**(values | {"kind": Kind(values["kind"])}))


async def sessions_of(conn: AsyncConnection, service_id: str) -> list[Session]:
    """Slices of sessions that have not ended."""
    query = select(session).where(session.c.service_id == service_id, session.c.state != State.ENDED.value)
    return [
        Session(**({name: getattr(row, name) for name in SESSION} | {"state": State(row.state)}))
        for row in await conn.execute(query.order_by(session.c.reservation_id))
    ]


async def told_limit(conn: AsyncConnection, session_key: str) -> int | None:
    """Of a session that pays for its time, in seconds."""
    query = (
        select(session.c.nas_limit)
        .join(wallet, wallet.c.service_id == session.c.service_id)
        .where(session.c.session_key == session_key, session.c.nas_limit > 0, wallet.c.unit == SECONDS)
        .where(wallet.c.closed_at.is_(None), wallet.c.closing_at.is_(None))
    )
    return await conn.scalar(query)


async def any_unposted(conn: AsyncConnection) -> bool:
    query = select(day.c.day).where(text(UNPOSTED)).limit(1)
    return (await conn.execute(query)).first() is not None


async def unposted(conn: AsyncConnection, limit: int) -> list[UsedDay]:
    """Days of which more was earned than posted; nobody else posts them while this transaction lasts."""
    query = (
        select(day, wallet.c.account_id, wallet.c.currency)
        .join(wallet, wallet.c.service_id == day.c.service_id)
        .where(text(UNPOSTED))
        .order_by(day.c.service_id, day.c.day)
        .limit(limit)
        .with_for_update(of=day)
    )
    return [
        UsedDay(
            row.service_id, row.account_id, row.day, row.currency, row.earned_minor - row.posted_minor,
            row.lapsed_minor - row.lapsed_posted_minor,
        )
        for row in await conn.execute(query)
    ]  # fmt: skip


async def post(conn: AsyncConnection, days: Iterable[UsedDay]) -> None:
    """They stand in the books now."""
    for posted in days:
        mine = (day.c.service_id == posted.service_id, day.c.day == posted.day)
        amounts = {
            "posted_minor": day.c.posted_minor + posted.earned_minor,
            "lapsed_posted_minor": day.c.lapsed_posted_minor + posted.lapsed_minor,
        }
        await conn.execute(update(day).where(*mine).values(amounts))


async def lapsing(conn: AsyncConnection, today: Today, limit: int) -> list[str]:
    """Services whose credit is kept no longer."""
    w = wallet.c
    query = (
        select(w.service_id)
        .where(today.has_come(w.expires_on, w.account_id), w.closed_at.is_(None), w.closing_at.is_(None))
        .order_by(w.service_id)
    )
    return list(await conn.scalars(query.limit(limit)))


async def to_tell(conn: AsyncConnection, today: Today, limit: int) -> list[str]:
    """Services whose customers are to be told that credit is going to expire, or that there is little left of it."""
    w = wallet.c
    in_use = (w.closed_at.is_(None), w.closing_at.is_(None))
    found: set[str] = set()
    for due in (today.has_come(w.notice_on, w.account_id), text(LOW)):
        found |= set(await conn.scalars(select(w.service_id).where(due, *in_use).order_by(w.service_id).limit(limit)))
    return sorted(found)


async def expired(conn: AsyncConnection, now: datetime, limit: int) -> list[str]:
    """Services with a slice, of a session or a call, whose validity is over."""
    silent = select(session.c.service_id).where(session.c.expires_at <= now, text(f"({HELD})"))
    lost = select(call.c.service_id).where(call.c.expires_at <= now, text(GRANTED))
    found = {row.service_id for query in (silent, lost) for row in await conn.execute(query.limit(limit))}
    return sorted(found)


async def forget_sessions(conn: AsyncConnection, heard_before: datetime) -> None:
    """Those that nothing was heard of for so long that a record changes nothing about them."""
    await conn.execute(delete(session).where(session.c.heard_at < heard_before, session.c.open == 0))
