"""Counters and flows become usage in five-minute bins: every octet once, whatever the bins, whatever billing does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from collectors.tables import open_bin
from collectors.usage_bins import BIN, Bins, bin_of
from collectors.usage_feed import UsageFeed
from collectors.usage_journal import UsageJournal
from controller.domain.clock import MovableClock
from controller.domain.errors import HeadendError
from controller.domain.usage import CounterSample, MeasuredOctets
from controller.store.engine import Database

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
PORT = (("device", "d1"), ("if_name", "ge-0/0/1"), ("if_index", "3"))


class Billing:
    """A UsageIntake that can be away."""

    def __init__(self) -> None:
        self.taken: dict[str, MeasuredOctets] = {}
        self.away = False

    async def known(self, kind: str) -> frozenset[str]:
        return frozenset({"d1/ge-0/0/1"})

    async def measured(
        self, source: str, kind: str, octets: Sequence[MeasuredOctets], *, title: str, complete_until: datetime | None
    ) -> None:
        for one in octets:
            assert self.taken.setdefault(f"{source}/{one.key}", one) == one
        if self.away:
            raise HeadendError("the answer was lost")


def sample(at: datetime, octets: int, direction: str, tags: tuple[tuple[str, str], ...] = PORT) -> CounterSample:
    return CounterSample("interface", (*tags, ("direction", direction)), "octets", at, octets)


@given(
    st.lists(
        st.tuples(st.integers(0, 3_000_000), st.integers(0, 2_000_000), st.integers(0, 10**12), st.integers(0, 10**12)),
        max_size=12,
    )
)
def test_every_octet_is_handed_out_once(told: list[tuple[int, int, int, int]]) -> None:
    bins = Bins("x")
    found: list[MeasuredOctets] = []
    for start_ms, length_ms, upstream, downstream in told:
        since = NOW + timedelta(milliseconds=start_ms)
        bins.add("p", since, since + timedelta(milliseconds=length_ms), upstream, downstream)
        found += bins.closed(since)
    found += bins.closed(NOW + timedelta(days=1))
    assert len(bins) == 0
    assert sum(o.upstream_octets for o in found) == sum(t[2] for t in told)
    assert sum(o.downstream_octets for o in found) == sum(t[3] for t in told)
    assert len({o.key for o in found}) == len(found)
    assert all(o.until - o.since > 2 * BIN or bin_of(o.since) + BIN >= o.until for o in found)


def test_what_a_wrong_clock_put_far_ahead_is_told_now_and_no_record_outgrows_an_integer() -> None:
    bins = Bins("life")
    bins.add("a", NOW + timedelta(days=80), NOW + timedelta(days=80, seconds=1), 7, 0)
    for _ in range(5):
        bins.add("b", NOW, NOW + timedelta(seconds=1), 2**60, 2**60)
    assert [record.upstream_octets for record in bins.changed()] == [2**62, 7, 2**60]
    ahead, *rest = [r for r in bins.closed(NOW) if r.identifier == "a"]
    assert (ahead.upstream_octets, rest) == (7, [])
    assert sum(r.upstream_octets for r in bins.closed(NOW + timedelta(hours=1))) == 2**60


async def test_ports_with_a_service_are_told_and_what_billing_lost_is_told_again_with_its_keys() -> None:
    clock, billing = MovableClock(NOW), Billing()
    feed = UsageFeed(billing, clock, "life")
    await feed.hand_over()  # which ports have a service
    uplink = (("device", "d1"), ("if_name", "xe-1"), ("if_index", "9"))
    for n in range(1, 21):
        at = NOW + timedelta(seconds=30 * n)
        feed.counters([sample(at, 100, "in"), sample(at, 900, "out"), sample(at, 5, "in", uplink)], 30)
    clock.advance(timedelta(minutes=11))
    billing.away = True
    with pytest.raises(HeadendError):
        await feed.hand_over()
    billing.away = False
    await feed.hand_over()
    await feed.hand_over()
    first, second = billing.taken.values()
    assert {o.identifier for o in (first, second)} == {"d1/ge-0/0/1"}
    assert (first.since, first.until) == (NOW, NOW + BIN)
    assert [(o.upstream_octets, o.downstream_octets) for o in (first, second)] == [(1000, 9000), (1000, 9000)]


async def test_an_interval_without_polls_stays_whole() -> None:
    clock, billing = MovableClock(NOW), Billing()
    feed = UsageFeed(billing, clock, "life")
    await feed.hand_over()
    feed.counters([sample(NOW, 1, "in")], 30)
    feed.counters([sample(NOW + timedelta(hours=1), 7_000, "in")], 30)
    clock.advance(timedelta(hours=2))
    await feed.hand_over()
    assert [(o.until - o.since, o.upstream_octets) for o in billing.taken.values()] == [
        (timedelta(hours=1), 7_000), (timedelta(seconds=30), 1),
    ]  # fmt: skip


async def test_what_is_still_open_is_told_when_the_program_stops() -> None:
    billing = Billing()
    feed = UsageFeed(billing, MovableClock(NOW), "life")
    await feed.hand_over()
    feed.counters([sample(NOW, 70, "in")], 30)
    await feed.hand_over()
    assert billing.taken == {}
    await feed.stop()
    assert [o.upstream_octets for o in billing.taken.values()] == [70]
    feed.counters([sample(NOW + timedelta(seconds=30), 7, "in")], 30)
    billing.away = True
    await feed.stop()  # and nothing is raised into a program that ends


class Forgetful(UsageJournal):
    """Its process dies after billing took something, and before that is noted."""

    async def told(self, octets: Sequence[MeasuredOctets]) -> None:
        raise OSError("killed")


async def test_what_billing_had_already_taken_is_told_again_after_a_crash_as_the_very_same_records(
    database: Database,
) -> None:
    clock, billing = MovableClock(NOW), Billing()
    feed = UsageFeed(billing, clock, "life", journal=Forgetful(database, "life"))
    feed.onus.bins.add("s1", NOW, NOW + timedelta(seconds=30), 70, 7)
    await feed.keep()
    feed.onus.bins.add("s1", NOW + timedelta(seconds=30), NOW + timedelta(seconds=60), 30, 3)  # not kept any more
    clock.advance(timedelta(minutes=7))
    with pytest.raises(OSError, match="killed"):
        await feed.hand_over()
    clock.advance(timedelta(minutes=6))
    await UsageFeed(billing, clock, "other", journal=UsageJournal(database, "other")).hand_over()
    assert [(o.upstream_octets, o.downstream_octets) for o in billing.taken.values()] == [(100, 10)]
    async with database.read() as conn:
        assert (await conn.execute(select(open_bin))).all() == []
