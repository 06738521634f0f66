"""Rows of notices: what waits to be told, what was told, and what is uncertain since the program died while telling it.

waiting ──claim──▸ sending ──accepted──▸ sent
   ▲  │               ├── not now: waiting again, later
   │  │               ├── never by this mail: waiting, as a letter
   │  └─ nothing is claimed any more ─▸ withdrawn
   └──────────────── a person decides ── uncertain ◂── the process died here
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Select, delete, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.identity import AccountId, new_id
from controller.store.engine import tell
from erp.crm.model import Customer
from erp.dunning.tables import notice, step

EMAIL, LETTER = "email", "letter"
WAITING, SENDING, SENT, WITHDRAWN, UNCERTAIN = "waiting", "sending", "sent", "withdrawn", "uncertain"
NOTICES = "notices"
"""A commit that has something to be told."""
CLAIM = timedelta(minutes=5)
"""Longer than any mail server takes; whoever claimed a notice and did not settle it by then is dead."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A letter or an e-mail about the steps of a day. `words` say what became of it."""

    notice_id: str
    account_id: AccountId
    day: date
    text: str
    channel: str
    recipient: str
    locale: str
    state: str
    tries: int
    next_at: datetime
    created_at: datetime
    claimed_by: str | None = None
    words: str | None = None
    settled_at: datetime | None = None
    settled_on: date | None = None

    @classmethod
    def fresh(cls, customer: Customer, text: str, day: date, now: datetime, locale: str) -> Notice:
        """By e-mail to whoever has an address for it, else by letter."""
        contact = customer.contact
        return cls(
            notice_id=new_id(now),
            account_id=customer.account.account_id,
            day=day,
            text=text,
            channel=EMAIL if contact.email else LETTER,
            recipient=contact.email or contact.name,
            locale=locale[:16],
            state=WAITING,
            tries=0,
            next_at=now,
            created_at=now,
        )


_COLUMNS = [notice.c[name] for name in Notice.__slots__]


async def add(conn: AsyncConnection, made: Notice) -> None:
    tell(conn, NOTICES)
    await conn.execute(insert(notice).values({name: getattr(made, name) for name in Notice.__slots__}))


async def exists(conn: AsyncConnection, account_id: str, day: date) -> bool:
    query = select(notice.c.notice_id).where(notice.c.account_id == account_id, notice.c.day == day)
    return await conn.scalar(query) is not None


async def get(conn: AsyncConnection, notice_id: str) -> Notice | None:
    row = (await conn.execute(_notices().where(notice.c.notice_id == notice_id))).one_or_none()
    return None if row is None else _notice(row)


async def due(conn: AsyncConnection, now: datetime, limit: int) -> list[Notice]:
    """What is to be told now, oldest first."""
    query = _notices().where(notice.c.state == WAITING, notice.c.next_at <= now)
    return [
        _notice(row) for row in await conn.execute(query.order_by(notice.c.next_at, notice.c.notice_id).limit(limit))
    ]


async def claim(conn: AsyncConnection, found: Notice, content: str, sha256: bytes, process: str, now: datetime) -> bool:
    """Take a notice that waits, with what it is going to say; False when somebody else did."""
    values = {
        "state": SENDING, "claimed_by": process, "next_at": now + CLAIM, "tries": found.tries + 1,
        "content": content, "content_sha256": sha256,
    }  # fmt: skip
    taken = update(notice).where(notice.c.notice_id == found.notice_id, notice.c.state == WAITING)
    return bool((await conn.execute(taken.values(**values))).rowcount)


async def change_channel(conn: AsyncConnection, found: Notice, channel: str, words: str) -> Notice:
    """Of a notice that waits."""
    changed = update(notice).where(notice.c.notice_id == found.notice_id, notice.c.state == WAITING)
    await conn.execute(changed.values(channel=channel, words=words))
    return replace(found, channel=channel)


async def put(conn: AsyncConnection, notice_id: str, state: str, **values: Any) -> bool:
    """From `sending` to what became of it; False when it was not being sent any more."""
    values |= {"state": state, "claimed_by": None}
    changed = update(notice).where(notice.c.notice_id == notice_id, notice.c.state == SENDING)
    return bool((await conn.execute(changed.values(**values))).rowcount)


async def give_up(conn: AsyncConnection, notice_id: str, words: str) -> None:
    """It cannot be told as things are, and a person must look."""
    changed = update(notice).where(notice.c.notice_id == notice_id, notice.c.state.in_((WAITING, SENDING)))
    await conn.execute(changed.values(state=UNCERTAIN, claimed_by=None, words=words))


async def decide(conn: AsyncConnection, notice_id: str, state: str, **values: Any) -> bool:
    """A person says what became of an uncertain one."""
    changed = update(notice).where(notice.c.notice_id == notice_id, notice.c.state == UNCERTAIN)
    return bool((await conn.execute(changed.values(state=state, **values))).rowcount)


async def withdraw(conn: AsyncConnection, notice_id: str, words: str, now: datetime, today: date) -> None:
    """It is not sent, and its steps were never taken."""
    await conn.execute(delete(step).where(step.c.notice_id == notice_id))
    values = {"state": WITHDRAWN, "words": words, "settled_at": now, "settled_on": today, "claimed_by": None}
    await conn.execute(update(notice).where(notice.c.notice_id == notice_id).values(**values))


async def abandon(conn: AsyncConnection, now: datetime, process: str | None = None) -> list[str]:
    """Notices whose process died while sending them: those of `process`, which has just started, or too old ones."""
    lost = (notice.c.claimed_by == process) if process is not None else (notice.c.next_at <= now)
    words = "the program ended while this was being sent: whether it arrived is not known"
    changed = (
        update(notice)
        .where(notice.c.state == SENDING, lost)
        .values(state=UNCERTAIN, claimed_by=None, words=words)
        .returning(notice.c.notice_id)
    )
    return list(await conn.scalars(changed))


async def steps_of(conn: AsyncConnection, notice_id: str) -> Sequence[Any]:
    return (await conn.execute(select(step).where(step.c.notice_id == notice_id).order_by(step.c.step_id))).all()


async def page(
    conn: AsyncConnection, *, account_id: str | None, state: str | None, after: str | None, limit: int
) -> list[Notice]:
    """Newest first; ids sort by time."""
    query = _notices().order_by(notice.c.notice_id.desc()).limit(limit)
    if account_id is not None:
        query = query.where(notice.c.account_id == account_id)
    if state is not None:
        query = query.where(notice.c.state == state)
    if after is not None:
        query = query.where(tuple_(notice.c.notice_id) < tuple_(after))
    return [_notice(row) for row in await conn.execute(query)]


async def counts(conn: AsyncConnection) -> dict[str, int]:
    """How many are in each state that somebody may have to look at."""
    query = select(notice.c.state, func.count()).where(notice.c.state.in_((WAITING, SENDING, UNCERTAIN)))
    return {state: int(count) for state, count in await conn.execute(query.group_by(notice.c.state))}


async def written(conn: AsyncConnection, notice_id: str) -> tuple[str | None, bytes | None, bytes | None]:
    """(content, its digest, the PDF of a letter)."""
    query = select(notice.c.content, notice.c.content_sha256, notice.c.pdf).where(notice.c.notice_id == notice_id)
    row = (await conn.execute(query)).one()
    return row.content, row.content_sha256, row.pdf


def _notices() -> Select[Any]:
    return select(*_COLUMNS)


def _notice(row: Any) -> Notice:
    return Notice(**row._mapping)
