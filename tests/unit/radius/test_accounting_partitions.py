"""The history by months: made ahead, filled, given up in one piece; sessions are found in all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from controller.store.engine import Database
from controller.store.metadata import to_micros
from radius.accounting import partitions
from radius.accounting.settings import AccountingSettings
from radius.protocol.packet import attribute
from tests.support.accounting import accounting
from tests.support.recorder import NOW, RecorderBench

T = int(NOW.timestamp())
DAY = 86_400


@pytest.fixture
async def bench(database: Database) -> AsyncIterator[RecorderBench]:
    made = RecorderBench(database, AccountingSettings(keep_history_days=60))
    yield made
    await made.stop()


async def past(bench: RecorderBench, name: bytes, day: int) -> None:
    """A session of one hour on a day after NOW, which goes to the history."""
    at = T + day * DAY
    prefix = attribute(123, bytes((0, 56)) + bytes.fromhex("20010db800010f00"))
    await bench.send(
        accounting("start", name, at=at, more=prefix), accounting("stop", name, at=at + 3600, seconds=3600, down=1)
    )
    bench.clock.move_to(NOW + timedelta(days=day, hours=6))
    await bench.recorder.sweep()
    await bench.send_nothing()


async def rows(bench: RecorderBench, table: str = "radius_session_history") -> int:
    async with bench.database.read() as conn:
        return int(await conn.scalar(text(f"SELECT count(*) FROM {table}")) or 0)


def test_months_are_counted_over_the_end_of_the_year() -> None:
    assert partitions.month_of(NOW) == datetime(2026, 11, 1, tzinfo=UTC)
    assert partitions.month_of(NOW, 2) == datetime(2027, 1, 1, tzinfo=UTC)
    assert partitions.month_of(datetime(2026, 12, 31, 23, 59, tzinfo=UTC), 1) == datetime(2027, 1, 1, tzinfo=UTC)


async def test_partitions_are_made_ahead_and_once(bench: RecorderBench) -> None:
    await past(bench, b"a", 0)
    if bench.database.is_sqlite:
        assert await bench.log.call(lambda bulk: partitions.make(bulk, NOW)) == []
        return
    found = await bench.log.call(partitions.partitions)
    assert [name[-7:] for name in found] == ["2026_11", "2026_12", "2027_01", "2027_02"]
    assert await rows(bench, found[0]) == 1
    assert await bench.log.call(lambda bulk: partitions.make(bulk, NOW)) == []


async def test_what_waits_in_the_rest_moves_into_its_month(bench: RecorderBench) -> None:
    """A controller that stood still for long: its clock has left the partitions behind."""
    if bench.database.is_sqlite:
        pytest.skip("on SQLite the history is one table")
    await past(bench, b"a", 0)
    async with bench.database.begin() as conn:
        await conn.execute(
            text("UPDATE radius_session_history SET last_seen_us = :at"), {"at": to_micros(NOW) + 200 * DAY * 1_000_000}
        )
    assert await rows(bench, "radius_session_history_rest") == 1
    bench.clock.advance(timedelta(days=190))
    await bench.recorder.sweep()
    assert await rows(bench, "radius_session_history_rest") == 0
    assert await rows(bench) == 1


async def test_old_history_is_given_up_with_its_addresses_and_the_rest_stays(bench: RecorderBench) -> None:
    for n, day in enumerate((0, 20, 50)):
        await past(bench, b"%d" % n, day)
    assert len(await bench.found(b"0")) == 1
    assert await rows(bench, "radius_session_address") == 3
    for n, day in enumerate((125, 126, 127), 3):
        await past(bench, b"%d" % n, day)  # a month goes at a time
    assert [len(await bench.found(b"%d" % n)) for n in range(6)] == [0, 0, 0, 1, 1, 1]
    assert await rows(bench, "radius_session_address") == 3


async def test_a_late_record_finds_its_session_in_an_earlier_month(bench: RecorderBench) -> None:
    await past(bench, b"a", 0)
    bench.clock.move_to(NOW + timedelta(days=40))
    bench.recorder._staging.forget([("a" * 32, b"a")])
    await bench.send(accounting("interim", b"a", at=T + 3000, seconds=3000, down=9))
    (session,) = await bench.found(b"a")
    assert (session.downstream_octets, session.is_live) == (9, False)


async def test_an_id_given_out_again_after_the_look_back_is_another_session(bench: RecorderBench) -> None:
    lasting = RecorderBench(bench.database, AccountingSettings(look_back_days=10), writer="radius-2")
    await past(lasting, b"a", 0)
    await past(lasting, b"a", 20)
    lives = await lasting.found(b"a")
    assert [life.downstream_octets for life in lives] == [1, 1]
    # A record that claims to be of the old one finds it, and the two keep apart.
    await lasting.send(accounting("interim", b"a", at=T + 3000, seconds=3000, down=9))
    await lasting.stop()
    assert [life.downstream_octets for life in await bench.found(b"a")] == [9, 1]
