"""Closes balances: what sessions have used and not told yet is waited for, and only then nothing is debited any more.

    begin    nothing is reserved any more, logins ask for nothing, sessions are told to end; the end of the log is noted
    wait     until the log is debited so far, and every session that was granted something has told what it used before,
             has ended or has been silent for as long as its slice is kept; at most for that long
    close    what was reserved is given back; whoever keeps the money then pays out what is left, if that was asked for

Each is a transaction, and the row that says where it stands goes with it: a killed process leaves it to any other.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from prometheus_client import Gauge
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.prepaid import closing_rows, log_rows, repository
from billing_bridge.prepaid.book import Book
from billing_bridge.prepaid.model import Closing, Wallet
from billing_bridge.prepaid.service import PrepaidService
from controller.domain.clock import Clock
from controller.domain.errors import NotFound
from controller.domain.identity import ServiceId
from controller.store import audit
from controller.store.engine import Database

_AT_ONCE = 200
_OVERDUE = Gauge(
    "headend_prepaid_closings_unpaid", "Closed prepaid balances whose rest is not paid out yet, when last looked at."
)


class PrepaidClosing:
    """`settle` is called by the follower of the usage log, whenever it has debited all that there is."""

    def __init__(self, database: Database, clock: Clock, prepaid: PrepaidService) -> None:
        self._database = database
        self._clock = clock
        self._prepaid = prepaid

    async def begin_in(
        self, conn: AsyncConnection, service_id: ServiceId, *, pay_out: bool, actor: str, reason: str
    ) -> bool:
        """Close a balance, as soon as what its sessions have used is known; whether it is closed now, or was before.

        Begun once; asked for again with `pay_out` what is left will be paid out. Raises UnknownPrepaid. The caller
        calls PrepaidService.follow after its transaction.
        """
        now, book = self._clock.now(), await self._prepaid.locked(conn, service_id)
        begun = await closing_rows.get(conn, service_id)
        if book.wallet.closed_at is not None:
            return True
        if begun is not None:
            if pay_out and not begun.pay_out:
                await closing_rows.put(conn, replace(begun, pay_out=True, actor=actor))
                await self._audit(conn, book, "prepaid.closing", now, actor, reason, pay_out=True)
            return False
        until_at = book.begin_closing(now)
        made = Closing(service_id, await log_rows.newest(conn), until_at, False, pay_out, actor)
        closed = await self._is_counted(conn, book, made, now)
        if closed:
            book.close(now)
        else:
            await closing_rows.put(conn, made)
        await self._prepaid.keep(conn, [book], now)
        await self._prepaid.let_everybody_in(conn, service_id)
        await self._audit(conn, book, f"prepaid.clos{'e' if closed else 'ing'}", now, actor, reason, pay_out=pay_out)
        return closed

    async def end_in(self, conn: AsyncConnection, service_id: ServiceId, *, actor: str) -> bool:
        """As `begin_in`, because the service has ended: what is left is paid out. False, too, where it has none."""
        try:
            return await self.begin_in(conn, service_id, pay_out=True, actor=actor, reason="the service has ended")
        except NotFound:
            return False

    async def settle(self) -> None:
        """Close the balances of which nothing is waited for any more, or for too long."""
        now, after = self._clock.now(), ""
        while ready := await self._ready(now, after):
            after = ready[-1]
            for service_id in ready:
                async with self._database.begin() as conn:
                    book = (await self._prepaid.locked_all(conn, [service_id])).get(service_id)
                    begun = await closing_rows.get(conn, service_id)
                    if book is not None and begun is not None and book.wallet.closing_at is not None:
                        await self._close(conn, book, begun, now)

    async def _ready(self, now: datetime, after: str) -> list[ServiceId]:
        async with self._database.read() as conn:
            position = await log_rows.get_position(conn)
            return [] if position is None else await closing_rows.ready(conn, position, now, after, _AT_ONCE)

    async def unpaid(self, after: str = "") -> list[Closing]:
        """Closed balances whose rest is to be paid out, some at a time; `after` is the service of the last one seen."""
        async with self._database.read() as conn:
            if not after:
                _OVERDUE.set(await closing_rows.count_unpaid(conn))
            return await closing_rows.unpaid(conn, after, _AT_ONCE)

    async def pay_out_in(self, conn: AsyncConnection, service_id: ServiceId, *, actor: str) -> Wallet | None:
        """Take what is left of a closed balance, for the caller to give back what it was worth: the wallet as it was.
        None where nothing is left, or it is not closed."""
        book = (await self._prepaid.locked_all(conn, [service_id])).get(service_id)
        if book is None or book.wallet.closed_at is None:
            return None
        await closing_rows.remove(conn, service_id)
        if not book.wallet.balance:
            return None
        before, now = replace(book.wallet), self._clock.now()
        book.pay_out(now, actor=actor)
        await repository.store(conn, [book])
        await audit.record(
            conn,
            now=now,
            actor=actor,
            action="prepaid.pay-out",
            subject=f"service:{service_id}",
            before={"balance": before.balance, "unit": before.unit, "worth": str(before.worth)},
            after={"balance": 0},
        )
        return before

    async def _close(self, conn: AsyncConnection, book: Book, begun: Closing, now: datetime) -> None:
        """If nothing is waited for any more."""
        if now >= begun.until_at and not begun.is_over:
            # Who has not told by now is waited for no longer; what the log has by now is counted all the same.
            begun = replace(begun, is_over=True, record_id=await log_rows.newest(conn))
            await closing_rows.put(conn, begun)
        if not await self._is_counted(conn, book, begun, now):
            return
        book.close(now)
        await self._prepaid.keep(conn, [book], now)
        if not begun.pay_out or not book.wallet.balance:
            await closing_rows.remove(conn, begun.service_id)
        await self._audit(conn, book, "prepaid.close", now, begun.actor, None, waited_in_vain=begun.is_over)

    @staticmethod
    async def _is_counted(conn: AsyncConnection, book: Book, begun: Closing, now: datetime) -> bool:
        position = await log_rows.get_position(conn)
        if position is None or position < begun.record_id:
            return False
        return begun.is_over or not book.is_awaited(now)

    async def _audit(
        self,
        conn: AsyncConnection,
        book: Book,
        action: str,
        now: datetime,
        actor: str,
        reason: str | None,
        **after: bool,
    ) -> None:
        before = {"balance": book.wallet.balance, "unit": book.wallet.unit}
        subject = f"service:{book.wallet.service_id}"
        await audit.record(
            conn, now=now, actor=actor, action=action, subject=subject, before=before, after=after, reason=reason
        )
