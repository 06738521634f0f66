"""Live updates from whoever knows to whoever watches: bounded, coalesced, never a source of truth.

    stream.publish("noc", {...})                          # never waits, never fails
    async for topic, payload in stream.subscribe("noc"):  # the newest of each topic, not every one

A watcher that is slower than the publisher sees fewer, newer states: per topic only the latest unseen payload is kept.
One that takes nothing for `patience` publications is dropped. `close()` ends every subscription: open streams must not
hold a shutdown.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import TracebackType

MAX_SUBSCRIBERS = 500
PATIENCE = 120


class TooManySubscribers(Exception):
    """The process serves as many watchers as it is built for."""


class Stream:
    """Live updates for pages, inside one process and one event loop: bounded, never a source of truth."""

    def __init__(self, *, max_subscribers: int = MAX_SUBSCRIBERS, patience: int = PATIENCE) -> None:
        self._subscriptions: set[Subscription] = set()
        self._max_subscribers = max_subscribers
        self._patience = patience
        self._watched = asyncio.Event()
        self.closed = False
        self.dropped = 0
        """Watchers dropped for being too slow, since start."""

    def publish(self, topic: str, payload: dict[str, object]) -> None:
        """Hand `payload` to everyone who watches `topic`, replacing what they have not seen yet."""
        for subscription in [s for s in self._subscriptions if topic in s.topics]:
            if not subscription.offer(topic, payload):
                self.dropped += 1
                self._forget(subscription)

    def subscribe(self, *topics: str) -> Subscription:
        """Watch `topics`. Raises TooManySubscribers. Use as a context manager, or end it with `close()`."""
        if len(self._subscriptions) >= self._max_subscribers:
            raise TooManySubscribers
        subscription = Subscription(frozenset(topics), self._patience, self._forget)
        if self.closed:
            subscription.end()
            return subscription
        self._subscriptions.add(subscription)
        self._watched.set()
        return subscription

    def watchers(self, topic: str | None = None) -> int:
        return sum(1 for s in self._subscriptions if topic is None or topic in s.topics)

    async def until_watched(self) -> None:
        """Wait until anybody watches anything: publishers of costly payloads rest meanwhile."""
        await self._watched.wait()

    def close(self) -> None:
        """End every subscription, now and from now on."""
        self.closed = True
        for subscription in list(self._subscriptions):
            subscription.end()
        self._subscriptions.clear()
        self._watched.set()

    def _forget(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)
        if not self._subscriptions and not self.closed:
            self._watched.clear()


class Subscription:
    """What one watcher has not seen yet. Iteration ends when the watcher was dropped or the stream closed."""

    def __init__(self, topics: frozenset[str], patience: int, forget: Callable[[Subscription], None]) -> None:
        self.topics = topics
        self._pending: dict[str, dict[str, object]] = {}
        self._unseen = 0
        self._patience = patience
        self._forget = forget
        self._changed = asyncio.Event()
        self._ended = False

    def offer(self, topic: str, payload: dict[str, object]) -> bool:
        """Keep `payload` for the watcher; False when it has not looked for too long and is ended instead."""
        self._unseen += 1
        if self._unseen > self._patience:
            self.end()
            return False
        self._pending[topic] = payload
        self._changed.set()
        return True

    def end(self) -> None:
        self._ended = True
        self._changed.set()

    def close(self) -> None:
        self.end()
        self._forget(self)

    async def next(self, timeout_s: float | None = None) -> tuple[str, dict[str, object]] | None:
        """The oldest pending topic with its newest payload; None when the subscription ended.

        Raises TimeoutError after `timeout_s` without any.
        """
        while not self._ended:
            if self._pending:
                topic = next(iter(self._pending))
                self._unseen = 0
                return topic, self._pending.pop(topic)
            self._changed.clear()
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        return None

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aiter__(self) -> AsyncIterator[tuple[str, dict[str, object]]]:
        while (update := await self.next()) is not None:
            yield update
