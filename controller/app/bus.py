"""Delivers outbox events to their handlers, at least once and in order per subscriber.

A handler runs in the transaction that also moves its subscriber's position, so its effects in the database happen
exactly once. A database that is away, locked or undoing us is waited for, however long: no event is set aside for that.
A handler that keeps failing has its event parked after `MAX_ATTEMPTS`: it is counted, logged, listed by
`outbox.list_parked` until `redeliver` succeeds, and the events behind it go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection
from tenacity import AsyncRetrying, RetryError, retry_if_exception, stop_after_attempt, wait_exponential

from controller.domain.clock import Clock
from controller.domain.errors import Conflict, NotFound
from controller.domain.events import Event
from controller.store import audit, outbox
from controller.store.engine import EVENTS, Database
from controller.store.waking import woken

log = structlog.get_logger()

Handler = Callable[[AsyncConnection, Any], Awaitable[None]]
Subscriptions = Mapping[str, Mapping[type[Event], Handler]]
"""Subscriber → event type → handler. The one instance is `app.wiring.subscriptions`."""

BATCH = 100
MAX_ATTEMPTS = 5
POLL_S = 2.0
"""Another process's events are seen by polling; our own wake the bus at commit."""


class NotParked(NotFound):
    code = "not-parked"


class StillRefused(Conflict):
    code = "still-refused"


_AWAY = (OperationalError, InterfaceError, PoolTimeout)
"""The database is not there, busy, full, or has undone us for another transaction's sake: no fault of the event."""


def _is_the_handlers(error: BaseException) -> bool:
    """Whether trying again at once, and in the end setting the event aside, is the answer. Never to a cancellation."""
    return isinstance(error, Exception) and not isinstance(error, _AWAY)


_delivered = Counter("headend_bus_delivered_total", "Events handled", ["subscriber", "event"])
_parked = Counter("headend_bus_parked_total", "Events set aside after repeated failure", ["subscriber", "event"])
_lag = Gauge("headend_bus_pending", "Events seen waiting in the last look", ["subscriber"])


class Bus:
    """One task per subscriber, started by `run`."""

    def __init__(self, database: Database, clock: Clock, subscriptions: Subscriptions) -> None:
        self._database = database
        self._clock = clock
        self._subscriptions = subscriptions
        self._wakeups = {name: asyncio.Event() for name in subscriptions}
        database.on_commit(EVENTS, self._wake)

    def _wake(self) -> None:
        for event in self._wakeups.values():
            event.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for name in self._subscriptions:
                tasks.create_task(self._follow(name), name=f"bus:{name}")

    async def drain(self) -> None:
        """Deliver everything that is pending now; for tests and clean stops."""
        while any([await self._deliver_batch(name) for name in self._subscriptions]):
            pass

    async def redeliver(self, subscriber: str, position: int, *, actor: str) -> Event:
        """Handle a parked event once more, in the transaction that takes it out of the parked ones.

        Raises NotParked, or StillRefused with what the handler says: then the event stays parked.
        """
        if subscriber not in self._subscriptions:
            raise NotParked(f"nobody is called {subscriber!r}")
        handlers = {kind.name: handler for kind, handler in self._subscriptions[subscriber].items()}
        async with self._database.begin() as conn:
            delivery = await outbox.take_parked(conn, subscriber, position)
            if delivery is None or delivery.event.name not in handlers:
                raise NotParked(f"no event {position} is parked for {subscriber}")
            event = delivery.event
            await audit.record(
                conn,
                now=self._clock.now(),
                actor=actor,
                action="parked-event.redeliver",
                subject=f"parked-event:{subscriber}:{position}",
                after={"name": event.name, "event_id": event.event_id},
            )
            try:
                await handlers[event.name](conn, event)
            except _AWAY:
                raise
            except Exception as error:
                log.error(
                    "bus.redelivery_refused",
                    subscriber=subscriber,
                    event_name=event.name,
                    position=position,
                    exc_info=error,
                )
                raise StillRefused(f"{subscriber} still cannot handle it: {type(error).__name__}: {error}") from error
        _delivered.labels(subscriber, event.name).inc()
        log.info("bus.redelivered", subscriber=subscriber, event_name=event.name, position=position)
        return event

    async def _follow(self, subscriber: str) -> None:
        wakeup = self._wakeups[subscriber]
        while True:
            wakeup.clear()
            try:
                more = await self._deliver_batch(subscriber)
            except (DBAPIError, PoolTimeout) as error:
                log.warning("bus.database_unavailable", subscriber=subscriber, error=str(error))
                more = False
            if not more:
                await woken(wakeup, POLL_S)

    async def _deliver_batch(self, subscriber: str) -> bool:
        """Handle up to BATCH events; True when there was any."""
        handlers = {kind.name: handler for kind, handler in self._subscriptions[subscriber].items()}
        async with self._database.read() as conn:
            deliveries = await outbox.pending(conn, subscriber, list(handlers), BATCH)
        _lag.labels(subscriber).set(len(deliveries))
        for delivery in deliveries:
            await self._deliver(subscriber, handlers[delivery.event.name], delivery)
        return bool(deliveries)

    async def _deliver(self, subscriber: str, handler: Handler, delivery: outbox.Delivery) -> None:
        name = delivery.event.name
        try:
            async for attempt in AsyncRetrying(
                stop=stop_after_attempt(MAX_ATTEMPTS),
                wait=wait_exponential(multiplier=0.1, max=5),
                retry=retry_if_exception(_is_the_handlers),
            ):
                with attempt:
                    async with self._database.begin() as conn:
                        await handler(conn, delivery.event)
                        await outbox.settle(conn, subscriber, delivery.position)
        except RetryError as failure:
            error = failure.last_attempt.exception()
            if isinstance(error, DBAPIError) and error.connection_invalidated:
                raise error from failure
            log.error("bus.parked", subscriber=subscriber, event_name=name, position=delivery.position, exc_info=error)
            async with self._database.begin() as conn:
                await outbox.park(
                    conn,
                    subscriber,
                    delivery.position,
                    error=f"{type(error).__name__}: {error}",
                    attempts=MAX_ATTEMPTS,
                    now=self._clock.now(),
                )
                await outbox.settle(conn, subscriber, delivery.position)
            _parked.labels(subscriber, name).inc()
        else:
            _delivered.labels(subscriber, name).inc()
