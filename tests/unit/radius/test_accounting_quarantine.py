"""Held octets: stored and acknowledged at once, counted only when somebody says so, and then once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import select

from controller.domain.errors import Conflict, NotFound
from controller.store.audit import audit
from controller.store.engine import Database
from radius.accounting.checks import NasChecks
from radius.accounting.quarantine import COUNTED, DISMISSED, HELD, RETRACTED, QuarantineItem, QuarantineService
from radius.accounting.quarantine_routes import endpoints
from radius.accounting.settings import AccountingSettings
from tests.support.accounting import accounting
from tests.support.api import api_client
from tests.support.recorder import NOW, RecorderBench

T = int(NOW.timestamp())
GIB = 1 << 30
PLAN = {b"anna": (20_000_000, 50_000_000)}


@pytest.fixture
async def bench(database: Database) -> AsyncIterator[RecorderBench]:
    made = RecorderBench(database, AccountingSettings(hold_above_plan=True), rates_of=PLAN.get)
    yield made
    await made.stop()


@pytest.fixture
def quarantine(bench: RecorderBench) -> QuarantineService:
    return QuarantineService(bench.database, bench.clock)


async def logged_downstream(bench: RecorderBench) -> list[tuple[str, int | None]]:
    return [(r.kind, r.downstream_octets) async for r in bench.reader.records_after(0, 100, 100)]


async def one(quarantine: QuarantineService) -> QuarantineItem:
    (item,) = await quarantine.list(state=None, before=None, limit=10)
    return item


async def leap(bench: RecorderBench) -> None:
    """A session whose second report is far beyond its plan."""
    await bench.send(accounting("start", at=T))
    await bench.send(accounting("interim", at=T + 300, seconds=300, up=5, down=1 * GIB))
    await bench.send(accounting("interim", at=T + 600, seconds=600, up=6, down=80 * GIB))


async def test_an_impossible_growth_is_stored_and_acknowledged_but_does_not_count(
    bench: RecorderBench, quarantine: QuarantineService
) -> None:
    await leap(bench)
    await bench.send(accounting("stop", at=T + 900, seconds=900, up=7, down=81 * GIB))
    assert (await bench.one()).downstream_octets == 2 * GIB
    assert await logged_downstream(bench) == [("start", None), *(("interim", GIB),) * 2, ("stop", 2 * GIB)]
    item = await one(quarantine)
    assert (item.state, item.reason, item.downstream_octets, item.upstream_octets) == (
        HELD,
        "impossible-rate",
        79 * GIB,
        0,
    )
    assert item.reported_downstream_octets == 80 * GIB
    # 300 s and the slack, at the plan's 50 Mbit/s and half as much again.
    assert item.downstream_limit_octets == 330 * 75_000_000 // 8
    assert await quarantine.held_octets() == (1, 0, 79 * GIB)
    assert await bench.reader.verify_all() == []


async def test_the_sum_of_what_is_held_may_be_more_than_any_counter(bench: RecorderBench) -> None:
    quarantine = QuarantineService(bench.database, bench.clock)
    most = 2**60 - 1
    await bench.send(*(accounting("stop", b"%d" % n, at=T, seconds=1, up=most, down=most) for n in range(20)))
    items, up, down = await quarantine.held_octets()
    assert (items, up == down, up > 2**64) == (20, True, True)
    await NasChecks(bench.database, bench.clock).all()


async def test_what_is_released_counts_once_and_says_who_and_why(
    bench: RecorderBench, quarantine: QuarantineService
) -> None:
    await leap(bench)
    item = await one(quarantine)
    released = await quarantine.release(item.quarantine_id, why="a file server moved", actor="user:ines")
    assert (released.decided_by, released.why) == ("user:ines", "a file server moved")
    for _ in range(2):
        await bench.recorder.sweep()
        await bench.send_nothing()
    assert (await one(quarantine)).state == COUNTED
    assert (await bench.one()).downstream_octets == 80 * GIB
    await bench.send(accounting("stop", at=T + 900, seconds=900, up=7, down=81 * GIB))
    assert (await bench.one()).downstream_octets == 81 * GIB
    kinds = await logged_downstream(bench)
    assert kinds[-2:] == [("release", 80 * GIB), ("stop", 81 * GIB)]
    (record,) = [r async for r in bench.reader.records_after(3, 4, 1)]
    assert record.packet_sha256.hex() == item.packet_sha256, "the packet that reported it is the evidence"
    assert record.event_at == NOW + timedelta(seconds=600)
    assert await bench.reader.verify_all() == []
    with pytest.raises(Conflict, match="counted already"):
        await quarantine.dismiss(item.quarantine_id, why="no", actor="user:ines")
    async with bench.database.read() as conn:
        entries = (await conn.execute(select(audit.c.actor, audit.c.action, audit.c.reason))).all()
    assert [tuple(entry) for entry in entries] == [("user:ines", "quarantine.release", "a file server moved")]


async def test_what_is_released_after_its_session_went_to_the_history_counts_too(
    bench: RecorderBench, quarantine: QuarantineService
) -> None:
    await leap(bench)
    await bench.send(accounting("stop", at=T + 900, seconds=900, up=7, down=81 * GIB))
    bench.clock.advance(timedelta(hours=3))
    await bench.recorder.sweep()
    await quarantine.release((await one(quarantine)).quarantine_id, why="seen on the port", actor="user:ines")
    other = RecorderBench(bench.database, writer="radius-2")
    await other.send_nothing()
    await other.send_nothing()  # its first turn has ended with a sweep
    await other.stop()
    session = await bench.one()
    assert (session.downstream_octets, session.is_live) == (81 * GIB, False)


async def test_two_workers_count_a_release_once(bench: RecorderBench, quarantine: QuarantineService) -> None:
    await leap(bench)
    await quarantine.release((await one(quarantine)).quarantine_id, why="true", actor="user:ines")
    other = RecorderBench(bench.database, writer="radius-2")
    for worker in (bench, other, bench, other):
        await worker.recorder.sweep()
    for worker in (bench, other):
        await worker.send_nothing()
    await other.stop()
    assert (await bench.one()).downstream_octets == 80 * GIB
    assert [kind for kind, _ in await logged_downstream(bench)].count("release") == 1


async def test_what_is_dismissed_never_counts(bench: RecorderBench, quarantine: QuarantineService) -> None:
    await leap(bench)
    await quarantine.dismiss((await one(quarantine)).quarantine_id, why="firmware 7.2 leaps", actor="user:ines")
    await bench.recorder.sweep()
    await bench.send(accounting("stop", at=T + 900, seconds=900, up=7, down=81 * GIB))
    assert (await bench.one()).downstream_octets == 2 * GIB
    assert (await one(quarantine)).state == DISMISSED
    with pytest.raises(NotFound):
        await quarantine.release("f" * 32, why="?", actor="user:ines")


async def test_a_leap_that_the_counter_takes_back_is_retracted(
    bench: RecorderBench, quarantine: QuarantineService
) -> None:
    await leap(bench)
    await bench.send(accounting("stop", at=T + 900, seconds=900, up=7, down=2 * GIB))
    assert (await bench.one()).downstream_octets == 2 * GIB
    assert (await one(quarantine)).state == RETRACTED
    assert await quarantine.held_octets() == (0, 0, 0)


async def test_a_wrap_is_told_in_the_log_as_what_was_carried(bench: RecorderBench) -> None:
    await bench.send(accounting("start", at=T))
    for n in range(1, 9):
        await bench.send(accounting("interim", at=T + 300 * n, seconds=300 * n, down=n * 1_200_000_000 % 2**32))
    assert (await logged_downstream(bench))[1:] == [("interim", n * 1_200_000_000) for n in range(1, 9)]
    session = await bench.one()
    assert (session.downstream_octets, session.counter_fell) == (9_600_000_000, True)


async def test_another_worker_goes_on_behind_a_wrap(bench: RecorderBench) -> None:
    await bench.send(accounting("start", at=T))
    workers = [bench, RecorderBench(bench.database, writer="radius-2", rates_of=PLAN.get)]
    for n in range(1, 13):
        packet = accounting("interim", at=T + 300 * n, seconds=300 * n, down=n * 1_200_000_000 % 2**32)
        await workers[n % 2].send(packet)
    await workers[1].stop()
    assert (await bench.one()).downstream_octets == 12 * 1_200_000_000


async def test_over_http_a_decision_needs_a_reason_and_a_right(
    bench: RecorderBench, quarantine: QuarantineService
) -> None:
    await leap(bench)
    async with api_client(endpoints(quarantine), scopes={"radius:read", "radius:write"}) as api:
        (item,) = (await api.get("/quarantine")).json()["items"]
        assert (item["downstream_octets"], item["state"], item["reason"]) == (79 * GIB, "held", "impossible-rate")
        release = f"/quarantine/{item['quarantine_id']}/release"
        assert (await api.post(release, json={"why": " "})).status_code == 422
        assert (await api.post(release, json={"why": "seen on the port"})).json()["state"] == "released"
        assert (await api.post(release, json={"why": "once more"})).status_code == 409
        assert (await api.get("/quarantine")).json()["items"] == []
        (item,) = (await api.get("/quarantine", params={"state": "released"})).json()["items"]
        assert item["why"] == "seen on the port"
        assert (await api.get(f"/quarantine/{item['quarantine_id']}")).json() == item
        assert (await api.get("/quarantine/" + "0" * 32)).status_code == 404
        of_session = {"session_key": item["session_key"]}
        assert (await api.get("/quarantine", params=of_session)).json()["items"] == [item]
        assert (await api.get("/quarantine", params={"session_key": "0" * 32})).json()["items"] == []
    async with api_client(endpoints(quarantine), scopes={"radius:read"}) as api:
        assert (await api.post(release, json={"why": "no right"})).status_code == 403


async def test_what_exceeds_the_plan_counts_where_the_site_does_not_say_otherwise(database: Database) -> None:
    bench = RecorderBench(database, rates_of=PLAN.get)
    await leap(bench)
    assert (await bench.one()).downstream_octets == 80 * GIB
    await bench.send(accounting("interim", at=T + 900, seconds=900, up=7, down=100_000 * GIB))
    assert (await bench.one()).downstream_octets == 80 * GIB, "no port of 10 Gbit/s carried that in five minutes"
    await bench.stop()
