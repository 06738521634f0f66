"""The group commit: answered only when stored, stored once, and summed right in whatever order records come."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import insert, text

from controller.domain.identity import NasId
from controller.store.engine import Database
from controller.store.metadata import to_micros
from radius.accounting.counters import RecorderCollector
from radius.accounting.settings import AccountingSettings
from radius.accounting.views import SessionFilter, SessionView
from radius.protocol.codes import ACCOUNTING_REQUEST, Attr
from radius.protocol.packet import Packet, attribute, encode, integer_attribute, vendor_attribute
from radius.tables import nas as nas_table
from radius.tables import nas_member
from radius.vendors.mark import class_value
from tests.support.accounting import NAS, OTHER_NAS, accounting
from tests.support.recorder import NOW, SERVICE, row_of
from tests.support.recorder import RecorderBench as Bench

T = int(NOW.timestamp())


@pytest.fixture
async def bench(database: Database) -> AsyncIterator[Bench]:
    made = Bench(database)
    yield made
    await made.stop()


def trace(sessions: int, interims: int) -> list[Packet]:
    """Sessions of a NAS that knows the time, with ever growing totals."""
    packets = []
    for n in range(sessions):
        name, began = f"s{n:04}".encode(), T + n
        packets.append(accounting("start", name, at=began))
        for k in range(1, interims + 1):
            grown = {"at": began + 300 * k, "seconds": 300 * k, "up": 1000 * k + n, "down": (5 << 30) * k + n}
            packets.append(accounting("stop" if k == interims else "interim", name, **grown))
    return packets


async def sums(bench: Bench) -> list[tuple[bytes, int, int, int, str, datetime, datetime | None]]:
    rows = await bench.sessions.find(SessionFilter(), before=None, limit=10_000)
    return sorted(
        (r.acct_session_id, r.life, r.upstream_octets, r.downstream_octets, r.username, r.started_at, r.ended_at)
        for r in rows
    )


async def test_rfc2866_4_1_nothing_is_answered_before_it_is_stored(bench: Bench) -> None:
    answered: list[int] = []
    bench.recorder.submit(accounting("start", at=T), NAS, to_micros(NOW), lambda: answered.append(1))
    await asyncio.sleep(0)
    assert answered == []
    await bench.send(accounting("interim", at=T + 300, seconds=300, up=10, down=20))
    assert answered == [1]
    assert await bench.logged() == 2


async def test_a_session_is_seen_live_and_then_ended(bench: Bench) -> None:
    await bench.send(accounting("start", at=T))
    assert (await bench.one()).is_live
    await bench.send(accounting("interim", at=T + 300, seconds=300, up=10, down=20))
    await bench.send(accounting("stop", at=T + 400, seconds=400, up=15, down=5 << 32))
    session = await bench.one()
    assert not session.is_live
    assert (session.upstream_octets, session.downstream_octets) == (15, 5 << 32)
    assert session.started_at == NOW
    assert session.ended_at == NOW + timedelta(seconds=400)
    assert session.service_id == SERVICE
    assert await bench.reader.verify_all() == []


async def test_the_same_trace_twice_and_shuffled_gives_the_same_sums(bench: Bench) -> None:
    packets = trace(60, 5)
    await bench.send(*packets)
    expected = await sums(bench)
    assert len(expected) == 60
    assert expected[3][2:4] == (5003, (25 << 30) + 3)
    random.Random(4).shuffle(packets)
    await bench.send(*packets)
    assert await sums(bench) == expected


async def test_a_shuffled_trace_gives_the_sums_of_the_ordered_one(bench: Bench, database: Database) -> None:
    packets = trace(60, 5)
    random.Random(7).shuffle(packets)
    for start in range(0, len(packets), 37):
        await bench.send(*packets[start : start + 37])
    found = await sums(bench)
    assert [row[0] for row in found] == [f"s{n:04}".encode() for n in range(60)]
    for n, row in enumerate(found):
        began = NOW + timedelta(seconds=n)
        assert row[1:] == (1, 5000 + n, (25 << 30) + n, "anna", began, began + timedelta(seconds=1500))


async def test_a_retransmission_is_answered_and_stored_once_even_after_a_restart(bench: Bench) -> None:
    packet = accounting("start", at=T)
    await bench.send(packet, packet)
    again = Bench(bench.database)
    await again.send(packet, accounting("on", None, at=T + 1), accounting("on", None, at=T + 1))
    await again.stop()
    assert again.recorder.counters.duplicates == 2
    assert await bench.logged() == 2


async def test_a_session_whose_service_reports_seldom_is_not_taken_for_dead(database: Database) -> None:
    bench = Bench(database, interim_of=lambda login: 3_600 if login == b"anna" else None)
    await bench.send(accounting("start", b"a", at=T), accounting("start", b"b", at=T, user=b"berta"))
    bench.clock.advance(timedelta(seconds=3 * NAS.interim_interval_s + 1))
    await bench.recorder.sweep()
    await bench.send(accounting("start", b"c", at=T))
    found = await bench.sessions.find(SessionFilter(is_live=True), before=None, limit=9)
    assert {row.acct_session_id for row in found} == {b"a", b"c"}
    (live, _) = await bench.sessions.live_sessions_of(SERVICE)
    assert live.interim_s == 3_600
    await bench.stop()


async def test_rfc2867_3_1_what_tells_of_a_tunnel_is_stored_answered_and_no_session(bench: Bench) -> None:
    octets = integer_attribute(Attr.ACCT_STATUS_TYPE, 12) + attribute(Attr.ACCT_SESSION_ID, b"1")
    told = Packet.decode(encode(ACCOUNTING_REQUEST, 0, bytes(16), octets))
    await bench.send(accounting("start", at=T), told)
    assert (await bench.one()).is_live
    assert await bench.logged() == 2
    await bench.send(told)
    assert (await bench.logged(), bench.recorder.counters.duplicates) == (2, 1), "a repetition is answered, not stored"


async def test_rfc2866_5_2_a_repetition_with_another_delay_adds_nothing(bench: Bench) -> None:
    await bench.send(accounting("start"))
    bench.clock.advance(timedelta(seconds=300))
    await bench.send(accounting("interim", seconds=300, up=10, down=20))
    bench.clock.advance(timedelta(seconds=5))
    await bench.send(accounting("interim", seconds=300, up=10, down=20, delay=5), accounting("start", delay=305))
    session = await bench.one()
    assert (session.upstream_octets, session.downstream_octets, session.started_at) == (10, 20, NOW)


async def test_usage_stamped_with_tomorrow_counts_today_and_the_nas_is_named(bench: Bench) -> None:
    await bench.send(accounting("start"))
    tomorrow = accounting("interim", at=T + 23 * 3600, up=10, down=20, delay=5)
    answered = asyncio.Event()
    bench.recorder.submit(tomorrow, NAS, to_micros(NOW), answered.set)
    await asyncio.wait_for(answered.wait(), 10)
    assert (await bench.one()).last_event_at == NOW, "the Start came later than arrival − delay"
    assert [r.event_at async for r in bench.reader.records_after(0, 10, 10)] == [NOW, NOW - timedelta(seconds=5)]
    assert bench.recorder.counters.stamped_ahead == {NAS.name: 1}
    registry = CollectorRegistry()
    registry.register(RecorderCollector(bench.recorder.counters, lambda: 0, lambda: 0))
    assert 'headend_radius_accounting_stamped_ahead_total{nas="bras"} 1.0' in generate_latest(registry).decode()


async def test_an_interim_later_than_its_stop_only_raises_the_ended_session(bench: Bench) -> None:
    await bench.send(accounting("start", at=T), accounting("stop", at=T + 600, seconds=600, up=100, down=100))
    await bench.send(accounting("interim", at=T + 590, seconds=590, up=90, down=120))
    session = await bench.one()
    assert not session.is_live
    assert (session.upstream_octets, session.downstream_octets) == (100, 120)
    assert session.ended_at == NOW + timedelta(seconds=600)


async def test_an_id_used_again_is_a_new_session(bench: Bench) -> None:
    await bench.send(accounting("start", at=T), accounting("stop", at=T + 600, seconds=600, up=100, down=1000))
    await bench.send(accounting("start", at=T + 700), accounting("interim", at=T + 1000, seconds=300, up=5, down=7))
    first, second = await bench.found()
    assert (first.life, first.downstream_octets, first.is_live) == (1, 1000, False)
    assert (second.life, second.downstream_octets, second.is_live) == (2, 7, True)


async def test_ids_are_octets_and_belong_to_their_nas(bench: Bench) -> None:
    long, similar = bytes(range(253)), bytes(range(252)) + b"x"
    await bench.send(accounting("start", long, at=T), accounting("start", similar, at=T), accounting("start", at=T))
    await bench.send(accounting("start", at=T), nas=OTHER_NAS)
    assert len(await bench.found(long)) == 1
    assert len(await bench.found(similar)) == 1
    assert {row.nas_id for row in await bench.found()} == {NAS.nas_id, OTHER_NAS.nas_id}


async def test_a_user_nobody_knows_is_stored_without_service(bench: Bench) -> None:
    await bench.send(accounting("start", at=T, user=b"nobody\x00\xff"))
    session = await bench.one()
    assert session.service_id is None
    assert session.username == "nobody\ufffd\ufffd"
    assert [r.service_id async for r in bench.reader.records_after(0, 10, 10)] == [None]


async def test_class_names_the_service_of_a_user_nobody_knows(bench: Bench) -> None:
    mark = attribute(Attr.CLASS, class_value("7" * 32, "fibre-100"))
    await bench.send(accounting("start", at=T, user=b"nobody", more=mark))
    assert (await bench.one()).service_id == "7" * 32


async def test_class_and_rate_of_the_newest_record_are_the_evidence_of_speed(bench: Bench) -> None:
    def said(profile: str, rate: str) -> bytes:
        return attribute(Attr.CLASS, class_value(SERVICE, profile)) + vendor_attribute(14988, 8, rate.encode())

    await bench.send(accounting("start", at=T, more=said("f100", "20M/100M")))
    bench.clock.advance(timedelta(seconds=300))
    await bench.send(accounting("interim", at=T + 300, seconds=300, up=1, down=1, more=said("f300", "50M/300M")))
    await bench.send(accounting("interim", at=T + 100, seconds=100, up=1, down=1, more=said("f100", "20M/100M")))
    (live,) = await bench.sessions.live_sessions_of(SERVICE)
    assert live.last_class == class_value(SERVICE, "f300")
    assert live.last_rate == "50M/300M"
    assert live.evidence_at == NOW + timedelta(seconds=300)
    assert await bench.sessions.live_session(live.session_key) == live


async def test_accounting_on_makes_sessions_suspect_and_ends_the_silent_ones(bench: Bench) -> None:
    await bench.send(*(accounting("start", name, at=T) for name in (b"a", b"b")))
    await bench.send(accounting("on", None, at=T + 10))
    assert (await bench.one(b"a")).is_suspect
    await bench.send(accounting("interim", b"b", at=T + 20, seconds=20, up=1, down=1))
    bench.clock.advance(timedelta(seconds=90))
    await bench.recorder.sweep()
    await bench.send(accounting("start", b"c", at=T + 90))
    gone, back = await bench.one(b"a"), await bench.one(b"b")
    assert (gone.is_live, gone.end_cause, gone.is_provisional) == (False, "nas-restart", True)
    assert (back.is_live, back.is_suspect) == (True, False)


async def test_a_silent_session_ends_when_last_heard_of_and_later_evidence_opens_it_again(bench: Bench) -> None:
    await bench.send(accounting("start", at=T))
    bench.clock.advance(timedelta(seconds=3 * NAS.interim_interval_s + 1))
    await bench.recorder.sweep()
    await bench.send(accounting("start", b"other", at=T))
    session = await bench.one()
    assert (session.is_live, session.end_cause, session.ended_at) == (False, "stale", NOW)
    await bench.send(accounting("interim", at=T + 905, seconds=905, up=1, down=2))
    session = await bench.one()
    assert (session.is_live, session.ended_at, session.downstream_octets) == (True, None, 2)


async def test_how_long_a_session_may_be_silent_is_told_of_each_nas(bench: Bench) -> None:
    patient, mute, box = (replace(NAS, nas_id=NasId(letter * 32)) for letter in "abc")
    async with bench.database.begin() as conn:
        for known, missed in ((patient, 10), (mute, 0)):
            await conn.execute(insert(nas_table).values(**row_of(known), missed_interims=missed))
        # One box of a network that is registered as a NAS.
        member = {"nas_id": box.nas_id, "network_id": mute.nas_id, "address": "192.0.2.9", "names": b""}
        await conn.execute(insert(nas_member).values(**member, first_seen_at=NOW))
    for known in (NAS, patient, mute, box):
        await bench.send(accounting("start", known.nas_id[:4].encode(), at=T), nas=known)

    async def live(after_intervals: int) -> list[str]:
        bench.clock.move_to(NOW + timedelta(seconds=after_intervals * NAS.interim_interval_s + 1))
        await bench.recorder.sweep()
        await bench.send_nothing()
        found = await bench.sessions.find(SessionFilter(is_live=True), before=None, limit=9)
        return sorted(session.nas_id[:1] for session in found)

    assert await live(3) == ["a", "b", "c"]
    assert await live(9) == ["a", "b", "c"]
    assert await live(10) == ["b", "c"]


async def test_a_session_of_the_past_leaves_the_hot_table_and_a_late_record_still_finds_it(bench: Bench) -> None:
    await bench.send(accounting("start", at=T), accounting("stop", at=T + 60, seconds=60, up=1, down=2))
    await bench.send(accounting("start", b"live", at=T))
    bench.clock.advance(timedelta(hours=2))
    await bench.send(accounting("interim", b"live", at=T + 7200, seconds=7200, up=1, down=2))
    await bench.recorder.sweep()
    async with bench.database.read() as conn:
        assert (await conn.execute(text("SELECT count(*) FROM radius_session"))).scalar() == 1
        assert (await conn.execute(text("SELECT count(*) FROM radius_session_history"))).scalar() == 1
    assert (await bench.one()).downstream_octets == 2
    await bench.send(accounting("interim", at=T + 50, seconds=50, up=1, down=9))
    session = await bench.one()
    assert (session.downstream_octets, session.is_live) == (9, False)


async def test_any_worker_goes_on_with_a_session_that_another_began(bench: Bench) -> None:
    other = Bench(bench.database, writer="radius-2")
    await bench.send(accounting("start", at=T))
    await other.send(accounting("interim", at=T + 300, seconds=300, up=10, down=20))
    await bench.send(accounting("interim", at=T + 600, seconds=600, up=15, down=25))
    await asyncio.gather(
        *(
            worker.send(*(accounting("interim", at=T + n, seconds=n, up=n, down=n) for n in range(first, 1400, 2)))
            for worker, first in ((bench, 700), (other, 701))
        )
    )
    await other.stop()
    session = await bench.one()
    assert (session.upstream_octets, session.downstream_octets) == (1399, 1399)
    assert await bench.logged() == 703
    assert await bench.reader.verify_all() == []


async def test_workers_that_open_the_same_session_at_once_make_one(bench: Bench) -> None:
    other = Bench(bench.database, writer="radius-2")
    names = [f"n{n}".encode() for n in range(50)]
    await asyncio.gather(
        bench.send(*(accounting("start", name, at=T) for name in names)),
        other.send(*(accounting("interim", name, at=T + 300, seconds=300, up=1, down=1) for name in names[::-1])),
    )
    await other.stop()
    for name in names:
        assert (await bench.one(name)).downstream_octets == 1


async def test_memory_of_sessions_is_bounded_and_made_again_from_the_tables(database: Database) -> None:
    bench = Bench(database, AccountingSettings(max_sessions_in_memory=10))
    names = [b"%d" % n for n in range(40)]
    for name in names:
        await bench.send(accounting("start", name, at=T))
    assert bench.recorder.sessions_in_memory <= 10
    await bench.send(*(accounting("interim", name, at=T + 300, seconds=300, up=1, down=1) for name in names))
    for name in names:
        assert (await bench.one(name)).upstream_octets == 1
    await bench.stop()


def pages(items: Iterable[SessionView]) -> list[str]:
    return [row.session_key for row in items]


async def test_sessions_are_listed_newest_first_page_by_page(bench: Bench) -> None:
    await bench.send(*trace(5, 1), *(accounting("start", f"l{n}".encode(), at=T + n) for n in range(5)))
    everything = await bench.sessions.find(SessionFilter(), before=None, limit=100)
    seen: list[str] = []
    before = None
    while True:
        page = await bench.sessions.find(SessionFilter(), before=before, limit=3)
        if not page:
            break
        seen += pages(page)
        before = page[-1].session_key
    assert seen == pages(everything)
    assert len(seen) == len(set(seen)) == 10
    live = await bench.sessions.find(SessionFilter(is_live=True, username="anna"), before=None, limit=100)
    assert {row.acct_session_id for row in live} == {f"l{n}".encode() for n in range(5)}
    assert await bench.sessions.count_live() == 5
