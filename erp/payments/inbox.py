"""What gateways tell, booked once: the event is stored before it is answered, and handled in a transaction of its own.

The booking and the note that it was done are one commit, so a process that dies between storing and booking leaves an
event that is handled at the next start, and one that dies after it an event that is never handled again. What an event
needs and is not there yet (a refund before its payment) waits for it; what nobody understands is kept and counted.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import datetime

import structlog
from prometheus_client import Counter
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.errors import RuleError
from controller.store import audit
from controller.store.engine import Database
from controller.store.waking import woken
from erp.payments import repository
from erp.payments.booking import CardBooking
from erp.payments.errors import SignatureRefused, UnknownCardPayment, WrongState
from erp.payments.gateways import GatewayRegistry
from erp.payments.repository import FAILED, RECEIVED, Told
from erp.payments.settings import PaymentsSettings
from erp.payments.stripe import events, signature

log = structlog.get_logger()

_webhooks = Counter("headend_payments_webhooks_total", "Webhooks of payment gateways", ["gateway", "outcome"])
_handled = Counter("headend_payments_events_total", "Events of payment gateways", ["gateway", "type", "state"])
AWAY = (OperationalError, InterfaceError, PoolTimeout)
"""The database is not there, busy or full: what was to be done is done later."""
_MAX_ATTEMPTS = 5


class GatewayInbox:
    """`receive` is called for each webhook; `run` handles what was stored, by whichever process."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        registry: GatewayRegistry,
        booking: CardBooking,
        settings: PaymentsSettings,
    ) -> None:
        self._database = database
        self._clock = clock
        self._registry = registry
        self._booking = booking
        self._settings = settings
        self._stored = asyncio.Event()

    async def receive(self, name: str, body: bytes, header: str) -> bool:
        """Store what a gateway tells; whether it is new. Raises NoGateway, SignatureRefused or NotAnEvent."""
        gateway = await self._registry.get(name)
        now = self._clock.now()
        try:
            signature.verify(body, header, self._registry.webhook_secrets(gateway), now)
        except SignatureRefused:
            _webhooks.labels(name, "refused").inc()
            raise
        head, found = events.parse(body)
        async with self._database.begin() as conn:
            _, is_new = await repository.add_event(
                conn, name, head, events.storable(found), hashlib.sha256(body).digest(), now
            )
        _webhooks.labels(name, "stored" if is_new else "repeated").inc()
        self._stored.set()
        return is_new

    async def run(self) -> None:
        """Handle what is stored, until cancelled."""
        while True:
            self._stored.clear()
            try:
                while await self.handle_next():
                    pass
            except AWAY as error:
                log.warning("payments.database_away", error=type(error).__name__)
            await woken(self._stored, self._settings.poll_s)

    async def drain(self) -> int:
        """Handle everything that can be handled now; how many events were. For tests and clean stops."""
        count = 0
        while await self.handle_next():
            count += 1
        return count

    async def handle_next(self) -> bool:
        """Handle the oldest stored event; False where there is none."""
        now = self._clock.now()
        told: Told | None = None
        try:
            async with self._database.begin() as conn:
                told = await repository.next_received(conn)
                if told is None:
                    return False
                state, detail = await self._booking.book(conn, told, events.fact(json.loads(told.body)))
                await repository.set_event(conn, told.event_key, state, detail, now)
        except AWAY:
            raise
        except RuleError as error:
            assert told is not None
            await self._set_aside(told, FAILED, str(error), now)
            return True
        except Exception as error:
            if told is None:
                raise
            # A bug of ours: the others behind it go on, and this one is not lost.
            log.error("payments.event_failed", event=told.provider_id, type=told.type, exc_info=error)
            again = told.attempts + 1 < _MAX_ATTEMPTS
            await self._set_aside(told, RECEIVED if again else FAILED, type(error).__name__, now)
            return True
        _handled.labels(told.gateway, told.type, state).inc()
        return True

    async def retry(self, event_key: int, *, actor: str) -> Told:
        """Handle an event again that failed or waits. Raises UnknownCardPayment for none, WrongState for another."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            found = await self._event(conn, event_key)
            if found.state not in (FAILED, repository.WAITING):
                raise WrongState(f"event {event_key} is {found.state}: it is not handled again")
            await repository.set_event(conn, event_key, RECEIVED, "", None)
            subject = f"payment-event:{event_key}"
            await audit.record(conn, now=now, actor=actor, action="payment-event.retry", subject=subject)
        while await self.handle_next():
            pass
        async with self._database.read() as conn:
            return await self._event(conn, event_key)

    async def events(self, *, state: str | None, before: int | None, limit: int) -> list[Told]:
        """Newest first."""
        async with self._database.read() as conn:
            return await repository.events(conn, state, before, limit)

    async def counts(self) -> list[tuple[str, str, str, int]]:
        """(gateway, type, state, events) of everything that was ever told."""
        async with self._database.read() as conn:
            return await repository.counts(conn)

    async def _event(self, conn: AsyncConnection, event_key: int) -> Told:
        found = await repository.get_event(conn, event_key)
        if found is None:
            raise UnknownCardPayment(f"no event {event_key}")
        return found

    async def _set_aside(self, told: Told, state: str, why: str, now: datetime) -> None:
        _handled.labels(told.gateway, told.type, state).inc()
        async with self._database.begin() as conn:
            await repository.set_event(conn, told.event_key, state, why, now if state == FAILED else None, attempts=1)
