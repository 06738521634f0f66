"""Fair use on both databases: counted exactly once, throttled by CoA and at the next login, topped up, begun anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from controller.domain.allowance import Allowance, FairUseStep, PeriodKind
from controller.domain.errors import NotFound
from controller.domain.identity import ServiceId
from controller.domain.service import SpeedProfile
from controller.store.engine import Database
from radius import repository as logins
from radius.accounting.views import SessionFilter, live_sessions
from radius.dynamic.model import PREPAID, Kind, Limit, State, Wanted
from radius.protocol.codes import ACCESS_REJECT, COA_REQUEST, MIKROTIK, MIKROTIK_RATE_LIMIT, Attr
from radius.vendors.mark import read_class
from radius.vendors.terms import GARDEN_PROFILE
from tests.support.accounting import accounting
from tests.support.quota import T0, QuotaWorld, quota_world
from tests.support.radius import GOLD
from tests.support.recorder import NOW, SERVICE

GB = 10**9
SLOW = SpeedProfile("slow", 2_000_000, 1_000_000)
ALLOWANCE = Allowance(10 * GB, PeriodKind.MONTH, (FairUseStep(0, SLOW),), "Europe/Berlin")
CAP = replace(ALLOWANCE, steps=(FairUseStep(0, SLOW), FairUseStep(5 * GB, None)))


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[QuotaWorld]:
    async with quota_world(database, tmp_path) as made:
        yield made


async def test_a12_a_cap_reached_throttles_by_coa_and_the_next_login_and_is_verified_by_what_is_observed(
    world: QuotaWorld,
) -> None:
    await world.room.quota.put_allowance(SERVICE, ALLOWANCE, actor="user:test")
    await world.account("start")
    await world.account("interim", 9 * GB, at=60)
    assert (await world.used(), world.dac.requests) == (9 * GB, [])
    await world.account("interim", 11 * GB, at=120)
    assert await world.rate_of_login() == b"1M/2M"
    await world.pursue()
    assert world.dac.rates == [b"1M/2M"]
    assert await world.states() == [State.ACKNOWLEDGED]
    (taken,) = await world.room.quota.steps(service_id=SERVICE, before=None, limit=9)
    assert (taken.step, taken.profile_name, taken.overshoot_octets) == (1, "slow", 1 * GB)

    await world.account("interim", 11 * GB + 1000, at=180, profile=SLOW)
    world.clock.advance(timedelta(seconds=30))
    await world.pursue()
    assert (await world.states(), len(world.dac.requests)) == ([State.PROVED], 1)
    assert await world.rate_of_login() == b"1M/2M"


async def test_a_re_login_does_not_reset_the_counter(world: QuotaWorld) -> None:
    await world.room.quota.put_allowance(SERVICE, ALLOWANCE, actor="user:test")
    await world.account("start")
    await world.account("stop", 6 * GB, at=60)
    await world.account("start", at=70, session=b"0002")
    await world.account("interim", 3 * GB, at=130, session=b"0002")
    assert (await world.used(), await world.rate_of_login()) == (9 * GB, b"20M/100M")
    await world.account("stop", 4 * GB, at=190, session=b"0002")
    assert (await world.used(), await world.rate_of_login()) == (10 * GB, b"1M/2M")


async def test_a_process_killed_after_the_cap_has_sent_nothing_and_the_next_one_sends_once(
    world: QuotaWorld, tmp_path: Path
) -> None:
    """Counter, login, change and step are one transaction: nothing of it needs the process that wrote it."""
    await world.room.quota.put_allowance(SERVICE, ALLOWANCE, actor="user:test")
    await world.account("start")
    await world.account("interim", 12 * GB, at=60)
    assert world.dac.requests == []
    another = world.process(tmp_path)
    await another.follower.load()
    assert b"1M/2M" in (await world.login(another)).attributes
    await another.quota_counter.catch_up()
    await another.sessions.changes.work()
    await world.pursue()
    assert world.dac.rates == [b"1M/2M"]


async def test_two_processes_that_count_at_once_count_once(world: QuotaWorld, tmp_path: Path) -> None:
    await world.room.quota.put_allowance(SERVICE, ALLOWANCE, actor="user:test")
    another = world.process(tmp_path)
    for step in range(1, 6):
        at = step * 60
        packet = accounting("interim", at=T0 + at, seconds=at, down=step * GB)
        await world.bench.send(packet, nas=world.nas)
        await asyncio.gather(world.room.quota_counter.catch_up(), another.quota_counter.catch_up())
    assert await world.used() == 5 * GB


async def test_a_top_up_restores_full_speed_in_the_middle_of_a_session_and_books_once(world: QuotaWorld) -> None:
    await world.room.quota.put_allowance(SERVICE, ALLOWANCE, actor="user:test")
    await world.account("start")
    await world.account("interim", 11 * GB, at=60)
    await world.pursue()
    for _ in range(2):
        state = await world.room.quota.top_up(SERVICE, 5 * GB, reference="order 7", actor="user:test")
    assert (state.step, state.topped_up_octets, state.limit_octets) == (0, 5 * GB, 15 * GB)
    await world.pursue()
    assert world.dac.rates == [b"1M/2M", b"20M/100M"]
    assert await world.rate_of_login() == b"20M/100M"
    await world.account("interim", 15 * GB, at=120)
    assert (await world.room.quota.show(SERVICE)).step == 1


async def test_where_nothing_is_left_the_session_ends_and_a_login_is_refused_until_a_top_up(
    world: QuotaWorld,
) -> None:
    await world.room.quota.put_allowance(SERVICE, CAP, actor="user:test")
    await world.account("start")
    await world.account("interim", 15 * GB, at=60)
    await world.pursue()
    assert [packet.code for packet in world.dac.requests] == [40]
    decision = await world.login()
    assert (decision.code, decision.reason) == (
        ACCESS_REJECT,
        "the volume of the period is used up, and nobody topped it up",
    )
    await world.room.quota.top_up(SERVICE, 1 * GB, reference="1", actor="user:test")
    assert await world.rate_of_login() == b"1M/2M"


async def test_the_period_of_the_entity_s_zone_ends_and_full_speed_comes_back_without_a_record(
    world: QuotaWorld,
) -> None:
    """NOW is 1 November 13:00 in Berlin: the month ends on 30 November 23:00 UTC."""
    await world.room.quota.put_allowance(SERVICE, ALLOWANCE, actor="user:test")
    await world.account("start")
    await world.account("interim", 11 * GB, at=60)
    await world.pursue()
    world.clock.move_to(datetime(2026, 11, 30, 22, 59, 59, tzinfo=UTC))
    await world.room.quota_counter.catch_up()
    assert await world.rate_of_login() == b"1M/2M"
    world.clock.advance(timedelta(seconds=1))
    await world.room.quota_counter.catch_up()
    assert await world.rate_of_login() == b"20M/100M"
    await world.pursue()
    assert world.dac.rates[-1] == b"20M/100M"
    state = await world.room.quota.show(SERVICE)
    assert (state.counted_octets, state.step) == (0, 0)
    assert state.period_end == datetime(2026, 12, 31, 23, tzinfo=UTC)


async def test_two_services_with_other_zones_and_periods_each_begin_at_their_own_midnight(world: QuotaWorld) -> None:
    other = "6" * 32
    tokyo = Allowance(GB, PeriodKind.DAY, (FairUseStep(0, SLOW),), "Asia/Tokyo")
    new_york = Allowance(GB, PeriodKind.DAY, (FairUseStep(0, SLOW),), "America/New_York")
    await world.room.quota.put_allowance(SERVICE, tokyo, actor="user:test")
    await world.room.quota.put_allowance(other, new_york, actor="user:test")
    ends = {service: (await world.room.quota.show(service)).period_end for service in (SERVICE, other)}
    assert ends == {
        SERVICE: datetime(2026, 11, 1, 15, tzinfo=UTC),
        # Clocks change on this day in New York: it has 25 hours.
        other: datetime(2026, 11, 2, 5, tzinfo=UTC),
    }
    await world.account("start")
    await world.account("interim", 2 * GB, at=60)
    world.clock.move_to(ends[SERVICE])
    await world.room.quota_counter.catch_up()
    assert (await world.used(), (await world.room.quota.show(other)).period_end) == (0, ends[other])
    # Half of these octets are of the day before.
    before = int((ends[SERVICE] - NOW).total_seconds())
    await world.account("interim", 4 * GB, at=2 * before - 60)
    assert await world.used() == 1 * GB


async def test_what_was_carried_before_the_allowance_is_not_counted(world: QuotaWorld) -> None:
    await world.account("start")
    await world.account("interim", 50 * GB, at=60)
    await world.room.quota.put_allowance(SERVICE, ALLOWANCE, actor="user:test")
    await world.account("interim", 51 * GB, at=120)
    assert await world.used() == 1 * GB


async def test_a_session_that_was_accepted_before_the_step_and_began_after_it_is_found(world: QuotaWorld) -> None:
    await world.room.quota.put_allowance(SERVICE, ALLOWANCE, actor="user:test")
    await world.account("start")
    await world.account("stop", 11 * GB, at=60)
    await world.account("start", at=62, session=b"0002")
    await world.room.quota_counter.look_after()
    await world.pursue()
    assert world.dac.rates == [b"1M/2M"]
    await world.room.quota_counter.look_after()
    await world.pursue()
    assert len(world.dac.requests) == 1, "asked once"
    await world.account("start", at=70, session=b"0003", profile=SLOW)
    await world.room.quota_counter.look_after()
    await world.pursue()
    assert len(world.dac.requests) == 1, "this one was accepted with what is left"


async def test_who_tells_latecomers_waits_for_other_writers_of_the_same_sessions(
    world: QuotaWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.room.quota.put_allowance(SERVICE, ALLOWANCE, actor="user:test")
    await world.account("start")
    await world.account("stop", 11 * GB, at=60)
    await world.account("start", at=62, session=b"0002")
    told: list[str] = []
    enqueue = world.room.sessions.changes.enqueue

    async def take_turn(_conn: object) -> None:
        told.append("turn")

    async def noted(*given: Any, **named: Any) -> None:
        told.append("change")
        await enqueue(*given, **named)

    monkeypatch.setattr(logins, "take_turn", take_turn)
    monkeypatch.setattr(world.room.sessions.changes, "enqueue", noted)
    await world.room.quota_counter.look_after()
    assert told == ["turn", "change"]


async def test_a_limit_of_prepaid_does_not_hide_a_session_that_nobody_told_of_the_step(world: QuotaWorld) -> None:
    await world.room.quota.put_allowance(SERVICE, ALLOWANCE, actor="user:test")
    await world.account("start")
    await world.account("stop", 11 * GB, at=60)
    await world.account("start", at=62, session=b"0002")
    async with world.database.begin() as conn:
        (session,) = await live_sessions(conn, SERVICE)
        limit = Wanted(Kind.LIMIT, limit=Limit(2 * GB, None, GB))
        await world.room.sessions.changes.enqueue(conn, session, limit, actor=PREPAID)
    await world.pursue()
    await world.room.quota_counter.look_after()
    await world.pursue()
    assert world.dac.rates == [None, b"1M/2M"]


async def test_a_login_that_is_written_anew_stays_throttled(world: QuotaWorld) -> None:
    await world.room.quota.put_allowance(SERVICE, ALLOWANCE, actor="user:test")
    await world.account("start")
    await world.account("interim", 11 * GB, at=60)
    await world.put_login()
    assert await world.rate_of_login() == b"1M/2M"
    await world.room.subscribers.withdraw_subscriber(service_id=ServiceId(SERVICE), actor="user:test")
    await world.put_login()
    await world.room.quota_counter.look_after()
    assert await world.rate_of_login() == b"1M/2M"


async def test_without_an_allowance_nothing_is_counted_and_the_plan_s_speed_is_back(world: QuotaWorld) -> None:
    await world.room.quota.put_allowance(SERVICE, ALLOWANCE, actor="user:test")
    await world.account("start")
    await world.account("interim", 11 * GB, at=60)
    await world.pursue()
    await world.room.quota.withdraw_allowance(SERVICE, actor="user:test")
    await world.pursue()
    assert world.dac.rates == [b"1M/2M", b"20M/100M"]
    assert await world.rate_of_login() == b"20M/100M"
    with pytest.raises(NotFound):
        await world.room.quota.show(SERVICE)
    with pytest.raises(NotFound, match="no allowance to top up"):
        await world.room.quota.top_up(SERVICE, GB, reference="1", actor="user:test")


async def test_another_speed_of_the_same_step_reaches_the_session(world: QuotaWorld) -> None:
    await world.room.quota.put_allowance(SERVICE, ALLOWANCE, actor="user:test")
    await world.account("start")
    await world.account("interim", 11 * GB, at=60)
    await world.pursue()
    slower = replace(ALLOWANCE, steps=(FairUseStep(0, SpeedProfile("slower", 1_000_000, 500_000)),))
    await world.room.quota.put_allowance(SERVICE, slower, actor="user:test")
    await world.pursue()
    assert world.dac.rates[-1] == b"500k/1M"
    await world.room.quota.put_allowance(SERVICE, replace(slower, octets=20 * GB), actor="user:test")
    await world.pursue()
    assert world.dac.rates[-1] == b"20M/100M"


async def test_a_plan_change_does_not_free_a_throttled_session(world: QuotaWorld) -> None:
    await world.room.quota.put_allowance(SERVICE, ALLOWANCE, actor="user:test")
    await world.account("start")
    await world.account("interim", 11 * GB, at=60)
    (session,) = await world.bench.sessions.find(SessionFilter(is_live=True), before=None, limit=2)
    outcome = await world.room.sessions.change_speed(session.session_key, GOLD)
    assert (outcome.result, "fair use has throttled" in outcome.detail) == ("nak", True)
    control = world.room.sessions
    assert (await control.live_sessions(SERVICE), await control.sessions_on_plan(SERVICE)) == (
        [session.session_key],
        [],
    )
    await world.room.quota.top_up(SERVICE, 20 * GB, reference="order 1", actor="user:test")
    assert await control.sessions_on_plan(SERVICE) == [session.session_key]


async def test_a_session_without_prepaid_credit_stays_in_the_garden_whatever_fair_use_does(world: QuotaWorld) -> None:
    """The service has credit for its other session: its login is open, and only this session is walled."""
    await world.room.quota.put_allowance(SERVICE, CAP, actor="user:test")
    await world.account("start")
    await world.account("start", session=b"0002")
    rows = await world.bench.sessions.find(SessionFilter(is_live=True), before=None, limit=3)
    (walled,) = [row.session_key for row in rows if row.acct_session_id == b"0002"]

    async def without_credit(_conn: object, service_id: str) -> set[str]:
        return {walled} if service_id == SERVICE else set()

    changes = world.room.sessions.changes
    changes.without_credit = without_credit
    async with world.database.begin() as conn:
        (session,) = [s for s in await live_sessions(conn, SERVICE) if s.session_key == walled]
        await changes.enqueue(conn, session, Wanted(Kind.SUSPEND), actor=PREPAID)
    await world.account("interim", 11 * GB, at=60)
    await world.pursue()
    await world.room.quota_counter.look_after()
    await world.pursue()
    told = {packet.get(Attr.ACCT_SESSION_ID): packet for packet in world.dac.requests}
    assert len(world.dac.requests) == 2
    assert read_class(told[b"0002"].get(Attr.CLASS)).profile_name == GARDEN_PROFILE  # type: ignore[union-attr]
    assert told[b"0001"].vendor(MIKROTIK, MIKROTIK_RATE_LIMIT) == b"1M/2M"

    await world.account("interim", 11 * GB, at=90, profile=SLOW)
    await world.account("interim", 6 * GB, at=90, session=b"0002", profile=SpeedProfile(GARDEN_PROFILE, 1, 1))
    await world.pursue()
    ended = {packet.get(Attr.ACCT_SESSION_ID) for packet in world.dac.requests[2:] if packet.code != COA_REQUEST}
    assert ended == {b"0001", b"0002"}, "nothing is left of the volume either"


async def test_records_of_others_are_not_read_out_of_the_database(world: QuotaWorld) -> None:
    await world.account("start")
    async with world.database.read() as conn:
        assert await conn.scalar(text("SELECT count(*) FROM radius_quota_position")) == 0
    await world.room.quota.put_allowance("7" * 32, ALLOWANCE, actor="user:test")
    await world.account("interim", 11 * GB, at=60)
    async with world.database.read() as conn:
        assert await conn.scalar(text("SELECT count(*) FROM radius_quota_session")) == 0
        assert await conn.scalar(text("SELECT count(*) FROM radius_quota_usage")) == 0
