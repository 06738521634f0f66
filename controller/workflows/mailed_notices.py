"""Mails that tell customers something once: written down, then sent, and never twice without a person.

    written down → waiting ──claim──▸ sending ──accepted──▸ sent
                      ▲                  ├── not now: waiting again, later
                      │                  ├── never, no address, no mail server ─▸ uncertain
                      │                  └── the process died here ─▸ uncertain
                      └───────────── a person decides: send again, or it was told

What is not true any more by the time it would be sent is withdrawn. Who is told what, and whether it still holds, says
whoever inherits; each kind has a table of its own with the columns of `Notice`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Generic, TypeVar

import structlog
from sqlalchemy import Row, Table, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.errors import Conflict, NotFound
from controller.domain.identity import AccountId, new_id
from controller.store import audit
from controller.store.engine import Database
from controller.store.many import insert_rows
from erp.crm.model import Customer
from erp.crm.service import CrmService
from erp.dunning.mail import Mail, Mailer, Never, NotNow, Unclear

log = structlog.get_logger()

WAITING, SENDING, SENT, WITHDRAWN, UNCERTAIN = "waiting", "sending", "sent", "withdrawn", "uncertain"
_CLAIM = timedelta(minutes=5)
_FIRST_WAIT, _LONGEST_WAIT = timedelta(seconds=30), timedelta(hours=1)
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Notice:
    """What is common to all kinds; `words` say what became of it."""

    notice_id: str
    account_id: AccountId
    recipient: str
    title: str
    text: str
    state: str
    tries: int
    words: str | None
    created_at: datetime
    settled_at: datetime | None
    locale: str


N = TypeVar("N", bound=Notice)


class MailedNotices(Generic[N]):
    """`mailer` None leaves every notice to a person. `run` looks every `look_every_s` who is to be told."""

    kind: ClassVar[str]
    """Of its audit records: contract-notice.send …"""
    table: ClassVar[Table]
    actor: ClassVar[str]
    unknown: ClassVar[type[NotFound]]
    settled: ClassVar[type[Conflict]]

    def __init__(
        self,
        database: Database,
        clock: Clock,
        crm: CrmService,
        *,
        mailer: Mailer | None,
        sender: str = "",
        process: str = "",
        look_every_s: float = 3600.0,
        poll_s: float = 5.0,
    ) -> None:
        self._database = database
        self._clock = clock
        self._crm = crm
        self._mailer = mailer
        self._sender = sender
        self._process = process
        self._look_every_s = look_every_s
        self._poll_s = poll_s

    # --- what a kind says

    async def look(self) -> int:
        """Write down who is to be told now; how many."""
        raise NotImplementedError

    async def over(self, conn: AsyncConnection, found: N, now: datetime) -> str | None:
        """Why it is not true any more; None while it is."""
        raise NotImplementedError

    def of_row(self, row: Row[Any]) -> N:
        raise NotImplementedError

    def subject(self, found: N) -> str:
        """Of its audit records."""
        raise NotImplementedError

    # --- what all have in common

    async def run(self) -> None:
        """For ever; a database that is away is logged and tried again."""
        loop, started, look_at_s = asyncio.get_running_loop(), False, 0.0
        while True:
            try:
                if not started:
                    await self.start()
                    started = True
                if loop.time() >= look_at_s:
                    await self.look()
                    look_at_s = loop.time() + self._look_every_s
                await self._abandon(self.table.c.next_at <= self._clock.now())
                if await self.work():
                    continue
            except (SQLAlchemyError, OSError) as error:
                log.warning("notices.stalled", kind=self.kind, error=str(error))
            await asyncio.sleep(self._poll_s)

    async def start(self) -> None:
        """Before anything is sent: what a process of our name was sending when it died is uncertain."""
        await self._abandon(self.table.c.claimed_by == self._process)

    async def work(self) -> bool:
        """Send what is due, once. Whether there was anything."""
        n, now = self.table.c, self._clock.now()
        query = select(self.table).where(n.state == WAITING, n.next_at <= now)
        async with self._database.read() as conn:
            rows = (await conn.execute(query.order_by(n.next_at).limit(_AT_ONCE))).all()
        for row in rows:
            await self._send(self.of_row(row))
        return bool(rows)

    async def page(self, *, state: str | None, account_id: str | None, after: str | None, limit: int) -> Sequence[N]:
        """In order of their ids, which is that of their making."""
        n = self.table.c
        query = select(self.table).order_by(n.notice_id).limit(limit)
        for column, value in ((n.state, state), (n.account_id, account_id)):
            if value is not None:
                query = query.where(column == value)
        if after is not None:
            query = query.where(n.notice_id > after)
        async with self._database.read() as conn:
            return [self.of_row(row) for row in await conn.execute(query)]

    async def decide(self, notice_id: str, *, arrived: bool, actor: str, reason: str) -> N:
        """Of an uncertain one: it was told, or is sent again. Raises `unknown`, `settled`."""
        now = self._clock.now()
        values: dict[str, Any] = {"state": SENT, "settled_at": now, "words": f"told, says {actor}"}
        if not arrived:
            values = {"state": WAITING, "next_at": now, "words": f"again, says {actor}"}
        async with self._database.begin() as conn:
            row = (await conn.execute(self._one(notice_id))).one_or_none()
            if row is None:
                raise self.unknown(f"no {self.kind.replace('-', ' ')} {notice_id}")
            if not await self._put(conn, notice_id, UNCERTAIN, values):
                raise self.settled(f"notice {notice_id} is {row.state}; only an uncertain one is decided")
            await audit.record(
                conn, now=now, actor=actor, action=f"{self.kind}.decide", subject=self.subject(self.of_row(row)),
                before={"state": row.state}, after={"state": values["state"]}, reason=reason,
            )  # fmt: skip
            return self.of_row((await conn.execute(self._one(notice_id))).one())

    async def _write(
        self,
        conn: AsyncConnection,
        customer: Customer,
        title: str,
        text: str,
        locale: str,
        once: Mapping[str, Any],
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """Unless another process did: `once` is what there is one notice of; `more` are columns of its kind alone."""
        now = self._clock.now()
        values = {
            "notice_id": new_id(now), "account_id": customer.account.account_id, "recipient": customer.contact.email,
            "locale": locale[:16], "title": title[:300], "text": text, "state": WAITING, "tries": 0, "next_at": now,
            "created_at": now, **once, **(more or {}),
        }  # fmt: skip
        conflict = f"ON CONFLICT ({', '.join(once)}) DO NOTHING"
        await insert_rows(conn, self.table, list(values), [tuple(values.values())], conflict)

    async def _send(self, found: N) -> None:
        if not await self._claim(found):
            return
        try:
            if self._mailer is None or not found.recipient:
                raise Never("no mail server is set up" if self._mailer is None else "the customer has no address")
            await self._mailer.send(self._mail(found))
        except NotNow as error:
            wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(found.tries, 10))
            await self._settle(found, WAITING, f"not yet: {error}", next_at=self._clock.now() + wait)
        except Never as error:
            await self._settle(found, UNCERTAIN, f"not by mail, tell them otherwise: {error}")
        except Unclear as error:
            await self._settle(found, UNCERTAIN, f"whether it arrived is not known: {error}")
        else:
            await self._settle(found, SENT, f"accepted for {found.recipient}", settled_at=self._clock.now())

    async def _claim(self, found: N) -> bool:
        """Whether it is ours to send; one that is not true any more is withdrawn."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            why = await self.over(conn, found, now)
            if why is not None:
                await self._put(conn, found.notice_id, WAITING, {"state": WITHDRAWN, "settled_at": now, "words": why})
                return False
            values = {"state": SENDING, "claimed_by": self._process, "next_at": now + _CLAIM, "tries": found.tries + 1}
            return await self._put(conn, found.notice_id, WAITING, values)

    async def _settle(self, found: N, state: str, words: str, **values: Any) -> None:
        values |= {"state": state, "words": words[:500], "claimed_by": None}
        async with self._database.begin() as conn:
            if await self._put(conn, found.notice_id, SENDING, values) and state == SENT:
                await audit.record(
                    conn, now=self._clock.now(), actor=self.actor, action=f"{self.kind}.send",
                    subject=self.subject(found), after={"notice_id": found.notice_id, "title": found.title},
                )  # fmt: skip
        log.info("notices.settled", kind=self.kind, notice_id=found.notice_id, state=state)

    async def _abandon(self, which: Any) -> None:
        words = "the program ended while this was being sent: whether it arrived is not known"
        lost = update(self.table).where(self.table.c.state == SENDING, which)
        async with self._database.begin() as conn:
            await conn.execute(lost.values(state=UNCERTAIN, claimed_by=None, words=words))

    async def _put(self, conn: AsyncConnection, notice_id: str, before: str, values: dict[str, Any]) -> bool:
        n = self.table.c
        changed = update(self.table).where(n.notice_id == notice_id, n.state == before)
        return bool((await conn.execute(changed.values(**values))).rowcount)

    def _one(self, notice_id: str) -> Any:
        return select(self.table).where(self.table.c.notice_id == notice_id)

    def _mail(self, found: N) -> Mail:
        domain = self._sender.rpartition("@")[2] or "localhost"
        return Mail(
            f"<{found.notice_id}@{domain}>", self._sender, found.recipient, found.title, found.text,
            self._clock.now(), found.locale.replace("_", "-"),
        )  # fmt: skip
