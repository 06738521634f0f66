"""One trace of ten thousand packets, delivered in every way that a network has, tells of the same sessions."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta

import pytest

from controller.store.engine import Database
from radius.accounting.repository import SessionFilter
from tests.support.accounting_trace import Delivery, Truth, lossy, once, shuffled, trace
from tests.support.recorder import RecorderBench

PACKETS = 10_000
_CHUNK = 500


@pytest.fixture
async def bench(database: Database) -> AsyncIterator[RecorderBench]:
    made = RecorderBench(database)
    yield made
    await made.stop()


async def deliver(bench: RecorderBench, deliveries: Iterable[Delivery]) -> None:
    """Submit each at its arrival, and wait for all answers now and then, so that many commits are made."""
    waiting: list[Delivery] = []
    for delivery in deliveries:
        waiting.append(delivery)
        if len(waiting) == _CHUNK:
            await _submit(bench, waiting)
            waiting = []
    await _submit(bench, waiting)


async def _submit(bench: RecorderBench, deliveries: list[Delivery]) -> None:
    if bench.task is None:
        bench.start()
    left, done = len(deliveries), asyncio.Event()

    def answered() -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    for delivery in deliveries:
        at = datetime.fromtimestamp(delivery.arrived_s, UTC)
        if at > bench.clock.now():
            bench.clock.move_to(at)
        bench.recorder.submit(delivery.packet, delivery.said.nas, delivery.arrived_s * 1_000_000, answered)
    if deliveries:
        await asyncio.wait_for(done.wait(), 60)


async def sessions(bench: RecorderBench) -> list[Truth]:
    """Every session, after those that fell silent were ended."""
    bench.clock.advance(timedelta(hours=1))
    for _ in range(3):  # what is silent is found, written with the next commit, and found no more
        await bench.recorder.sweep()
        await bench.send_nothing()
    rows = await bench.sessions.find(SessionFilter(), before=None, limit=10_000)
    return sorted(
        (
            r.nas_id,
            r.acct_session_id,
            int(r.started_at.timestamp()),
            0 if r.ended_at is None else int(r.ended_at.timestamp()),
            r.upstream_octets,
            r.downstream_octets,
        )
        for r in rows
    )


async def test_a_trace_delivered_once_tells_of_the_sessions_as_they_were(bench: RecorderBench) -> None:
    said, truth = trace(PACKETS, seed=1)
    assert len(said) > 9_000
    assert max(session[5] for session in truth) > 3 << 32, "gigawords are part of it"
    await deliver(bench, once(said))
    assert await sessions(bench) == sorted(truth)


async def test_a_trace_delivered_twice_tells_of_the_same_sessions(bench: RecorderBench) -> None:
    said, truth = trace(PACKETS, seed=2)
    await deliver(bench, once(said))
    await deliver(bench, once(said))
    assert await sessions(bench) == sorted(truth)


async def test_a_trace_in_any_order_tells_of_the_same_sessions(bench: RecorderBench) -> None:
    said, truth = trace(PACKETS, seed=3)
    await deliver(bench, shuffled(said, random.Random(33)))
    assert await sessions(bench) == sorted(truth)


async def test_a_trace_with_a_fifth_lost_and_sent_again_tells_of_the_same_sessions(bench: RecorderBench) -> None:
    said, truth = trace(PACKETS, seed=4)
    await deliver(bench, lossy(said, random.Random(44), 0.2))
    assert await sessions(bench) == sorted(truth)
