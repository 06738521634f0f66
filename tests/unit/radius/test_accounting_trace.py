"""One trace of ten thousand packets, delivered in every way that a network has, tells of the same sessions."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from controller.store.engine import Database
from radius.accounting.settings import AccountingSettings
from radius.accounting.views import SessionFilter
from tests.support.accounting import OTHER_NAS, accounting
from tests.support.accounting_trace import BEGIN, Delivery, Truth, buffered, lossy, once, shuffled, trace
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


async def test_a_trace_of_which_an_hour_comes_a_day_late_tells_of_the_same_sessions(database: Database) -> None:
    """Sessions were ended as stale meanwhile, and had gone to the history: what comes late opens them again."""
    sweeping = RecorderBench(database, AccountingSettings(sweep_interval_s=0.01))
    said, truth = trace(PACKETS, seed=5)
    await deliver(sweeping, buffered(said, since_s=3_600, until_s=7_200, held_s=25 * 3_600))
    assert await sessions(sweeping) == sorted(truth)
    await sweeping.stop()


async def test_a_session_ended_as_stale_and_gone_to_the_history_comes_back_with_its_late_records(
    bench: RecorderBench,
) -> None:
    await bench.send(accounting("start", at=BEGIN), accounting("interim", at=BEGIN + 300, seconds=300, up=1, down=2))
    (before,) = await bench.found()
    bench.clock.advance(timedelta(hours=24))
    for _ in range(2):
        await bench.recorder.sweep()
        await bench.send_nothing()
    (stale,) = await bench.found()
    assert (stale.is_live, stale.is_provisional, stale.end_cause) == (False, True, "stale")
    async with bench.database.read() as conn:
        assert await conn.scalar(text("SELECT count(*) FROM radius_session_history")) == 1
    day = 25 * 3_600
    await bench.send(accounting("interim", at=BEGIN + day, seconds=day, up=10, down=20))
    (again,) = await bench.found()
    assert (again.is_live, again.ended_at, again.session_key) == (True, None, before.session_key)
    await bench.send(accounting("interim", at=BEGIN + 600, seconds=600, up=3, down=4))  # the buffer follows
    await bench.send(accounting("stop", at=BEGIN + day + 60, seconds=day + 60, up=11, down=21))
    (over,) = await bench.found()
    assert (over.is_live, over.is_provisional, over.upstream_octets, over.downstream_octets) == (False, False, 11, 21)
    async with bench.database.read() as conn:
        assert await conn.scalar(text("SELECT count(*) FROM radius_session_history")) == 0


async def test_buffered_records_of_a_nas_without_clock_count_at_their_own_time(bench: RecorderBench) -> None:
    day = 25 * 3_600
    bench.clock.move_to(datetime.fromtimestamp(BEGIN + day, UTC))
    for kind, second, octets in (("start", 0, None), ("interim", 300, 5), ("stop", 400, 7)):
        late = accounting(
            kind, seconds=second or None, up=octets, down=octets, delay=day - second, identifier=second % 256
        )
        await bench.send(late, nas=OTHER_NAS)
    (session,) = await bench.found()
    assert (session.started_at, session.ended_at) == (
        datetime.fromtimestamp(BEGIN, UTC),
        datetime.fromtimestamp(BEGIN + 400, UTC),
    )
    assert (session.is_live, session.downstream_octets) == (False, 7)
