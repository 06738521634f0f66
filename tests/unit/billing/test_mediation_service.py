"""Mediation against the store, on both databases: each record counts once, and what is unknown waits in suspense."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, select

from billing_bridge.billing.repository import lock_subscriptions, mark_rated
from billing_bridge.mediation import repository
from billing_bridge.mediation.service import MediationService
from billing_bridge.reading import BillingReader
from billing_bridge.settings import BillingSettings
from billing_bridge.suspense.model import ALTERED, FORGOTTEN, NO_SERVICE
from billing_bridge.suspense.repository import Item, Wanted, page
from billing_bridge.tables import session, subscription, usage_day, usage_interval
from controller.domain.clock import MovableClock
from controller.domain.identity import SubscriptionId, first_id
from controller.domain.usage import LoggedRecord
from controller.store.engine import USAGE, Database
from tests.support.billing_fakes import UsageLogInMemory, record

BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2026, 9, 30, 20, 0, tzinfo=UTC)  # 22:00 in Berlin, the last evening of September


def service(database: Database, log: UsageLogInMemory, batch: int = 2000) -> MediationService:
    return MediationService(database, MovableClock(START), log, BillingSettings(zone=BERLIN, records_per_batch=batch))


async def waiting(database: Database, reason: str) -> list[Item]:
    async with database.read() as conn:
        return await page(conn, Wanted(reason=reason), 0, 10)


async def days(database: Database) -> dict[tuple[str, date], tuple[int, int]]:
    async with database.read() as conn:
        rows = (await conn.execute(select(usage_day))).all()
        sums = select(
            usage_interval.c.service_id,
            usage_interval.c.day,
            func.sum(usage_interval.c.upstream_octets).label("up"),
            func.sum(usage_interval.c.downstream_octets).label("down"),
            func.count().label("count"),
            func.max(usage_interval.c.interval_id).label("last"),
        ).group_by(usage_interval.c.service_id, usage_interval.c.day)
        for s in await conn.execute(sums):
            (row,) = [r for r in rows if (r.service_id, r.day) == (s.service_id, s.day)]
            assert (row.upstream_octets, row.downstream_octets) == (s.up, s.down)
            assert (row.intervals, row.last_interval_id) == (s.count, s.last)
    return {(r.service_id, r.day): (r.upstream_octets, r.downstream_octets) for r in rows}


async def test_usage_is_booked_by_service_and_local_day(database: Database) -> None:
    log = UsageLogInMemory()
    log.append(
        record("s", START, 0, 0, kind="start"),
        record("s", START + timedelta(hours=4), 400, 4000),  # two hours before midnight, two after
        record("t", START, 7, 70, service="svc-2"),
    )
    mediation = service(database, log)
    await mediation.catch_up(3)
    assert await days(database) == {
        ("svc-1", date(2026, 9, 30)): (200, 2000),
        ("svc-1", date(2026, 10, 1)): (200, 2000),
        ("svc-2", date(2026, 9, 30)): (7, 70),
    }
    assert not await mediation.step()
    assert await mediation.position() == 3


@pytest.mark.parametrize("batch", [1, 3, 100])
async def test_shuffled_repeated_records_are_counted_once_whatever_the_batches(database: Database, batch: int) -> None:
    rows = [record("s", START + timedelta(minutes=n), n * 10, n * 100) for n in range(1, 12)]
    shuffled = [*rows, *rows]
    random.Random(batch).shuffle(shuffled)
    log = UsageLogInMemory()
    log.append(*shuffled)
    await service(database, log, batch).catch_up(len(shuffled))
    booked = (await days(database)).values()
    assert (sum(up for up, _ in booked), sum(down for _, down in booked)) == (110, 1100)


async def test_two_mediators_book_each_record_once(database: Database) -> None:
    log = UsageLogInMemory()
    log.append(*(record(f"s{n}", START, 1, 2) for n in range(40)))
    first, second = service(database, log, 4), service(database, log, 4)
    for _ in range(12):
        await first.step()
        await second.step()
    assert await days(database) == {("svc-1", date(2026, 9, 30)): (40, 80)}


async def test_a_batch_that_failed_leaves_nothing_and_is_repeated(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = UsageLogInMemory()
    log.append(record("s", START, 5, 50), record("t", START, 1, 10, service=None))
    mediation = service(database, log)

    async def dies(*_: object) -> None:
        raise ConnectionError("the machine lost its power")

    with monkeypatch.context() as patch:
        patch.setattr(repository, "move_position", dies)
        with pytest.raises(ConnectionError):
            await mediation.step()
    assert await days(database) == {}
    assert await mediation.position() == 0
    await mediation.catch_up(2)
    assert await days(database) == {("svc-1", date(2026, 9, 30)): (5, 50)}
    assert len(await waiting(database, NO_SERVICE)) == 1


async def test_usage_of_an_unknown_service_waits_in_suspense_with_reason_and_octets(database: Database) -> None:
    log = UsageLogInMemory()
    log.append(record("s", START, 5, 50, service=None))
    await service(database, log).catch_up(1)
    (held,) = await waiting(database, NO_SERVICE)
    assert (held.reason, held.upstream_octets, held.downstream_octets) == ("unknown-service", 5, 50)
    assert (held.record_ids, held.entered_at) == ((1,), START)
    assert await days(database) == {}


async def test_an_altered_record_is_not_charged_but_kept_in_suspense(database: Database) -> None:
    log = UsageLogInMemory()
    log.append(record("s", START, 5, 50), record("s", START + timedelta(minutes=1), 6, 60))
    log.alter(2, downstream_octets=10**12)
    await service(database, log).catch_up(2)
    assert await days(database) == {("svc-1", date(2026, 9, 30)): (5, 50)}
    (held,) = await waiting(database, ALTERED)
    assert held.record_ids == (1, 2)


async def test_usage_of_a_billed_day_is_marked_and_makes_its_period_due_again(database: Database) -> None:
    async with database.begin() as conn:
        await conn.execute(
            subscription.insert().values(
                subscription_id="sub",
                account_id="acc",
                service_id="svc-1",
                anchor_day=1,
                phase_on=date(2026, 9, 1),
                rate_from_on=date(2026, 10, 1),
                usage_billed_until_on=date(2026, 10, 1),
            )
        )
    log = UsageLogInMemory()
    log.append(record("s", START, 5, 50))
    await service(database, log).catch_up(1)
    (booked,) = await BillingReader(database).intervals("svc-1", date(2026, 9, 30), 0, 10)
    assert booked.adjustment
    async with database.read() as conn:
        assert await conn.scalar(select(subscription.c.rate_from_on)) == date(2026, 9, 30)


async def test_gaps_in_the_log_do_not_hold_mediation_up(database: Database) -> None:
    class WithGap(UsageLogInMemory):
        async def watermark(self) -> int:
            return 10  # ids 2 … 10 were drawn by transactions that were rolled back

    log = WithGap()
    log.append(record("s", START, 5, 50))
    mediation = service(database, log)
    await mediation.catch_up(10)
    assert await mediation.position() == 10


async def test_octets_beyond_32_bits_survive(database: Database) -> None:
    log = UsageLogInMemory()
    huge: LoggedRecord = replace(record("s", START, 0, 0), upstream_octets=2**60, downstream_octets=2**61)
    log.append(huge)
    await service(database, log).catch_up(1)
    assert await days(database) == {("svc-1", date(2026, 9, 30)): (2**60, 2**61)}


async def test_usage_and_bill_run_never_miss_each_other(database: Database) -> None:
    """A bill run that has looked, but not committed, holds late usage back; it then finds its day billed."""
    async with database.begin() as conn:
        await conn.execute(
            subscription.insert().values(
                subscription_id="sub",
                account_id="acc",
                service_id="svc-1",
                anchor_day=1,
                phase_on=date(2026, 9, 1),
                rate_from_on=date(2026, 9, 16),
            )
        )
    log = UsageLogInMemory()
    log.append(record("s", START, 5, 50))
    mediation = service(database, log)
    async with database.begin() as conn:
        await lock_subscriptions(conn, ["acc"], lambda at: at.date())
        booking = asyncio.create_task(mediation.step())
        await mark_rated(conn, [(SubscriptionId("sub"), date(2026, 10, 1), date(2026, 10, 1))])
        done, _ = await asyncio.wait({booking}, timeout=0.3)
        assert not done
    await booking
    (booked,) = await BillingReader(database).intervals("svc-1", date(2026, 9, 30), 0, 10)
    assert booked.adjustment
    async with database.read() as conn:
        assert await conn.scalar(select(subscription.c.rate_from_on)) == date(2026, 9, 30)


async def test_the_loop_is_woken_by_a_commit_and_books(database: Database) -> None:
    log = UsageLogInMemory()
    mediation = service(database, log)
    running = asyncio.create_task(mediation.run())
    try:
        log.append(record("s", START, 5, 50))
        database.notify_committed(USAGE)
        async with asyncio.timeout(30):
            while await mediation.position() != 1:  # noqa: ASYNC110 (the position has no event)
                await asyncio.sleep(0.02)
    finally:
        running.cancel()
    assert await days(database) == {("svc-1", date(2026, 9, 30)): (5, 50)}


async def test_catching_up_waits_for_a_log_that_tells_an_older_watermark(database: Database) -> None:
    class Busy(UsageLogInMemory):
        looks = 0

        async def watermark(self) -> int:
            self.looks += 1
            return 0 if self.looks < 3 else len(self.rows)

    log = Busy()
    log.append(record("s", START, 5, 50))
    settings = BillingSettings(zone=BERLIN, poll_s=0.1)
    await MediationService(database, MovableClock(START), log, settings).catch_up(1)
    assert (await days(database), log.looks) == ({("svc-1", date(2026, 9, 30)): (5, 50)}, 3)


KEY = f"{first_id(START):0<32}"
"""A session that began at the start."""


@pytest.mark.parametrize("pruned", [True, False])
async def test_what_a_forgotten_session_says_is_never_added_to_what_it_said(database: Database, pruned: bool) -> None:
    """Whether its row was deleted already does not matter; what it gains from then on counts again."""
    log = UsageLogInMemory()
    log.append(record(KEY, START, 5, 50), record("other", START + timedelta(days=102), 1, 1, service="svc-2"))
    mediation = service(database, log)
    await mediation.catch_up(2)
    if pruned:
        await mediation.forget()
    async with database.read() as conn:
        left = set(await conn.scalars(select(session.c.session_key)))
    assert left == ({"other"} if pruned else {KEY, "other"})
    log.append(record(KEY, START + timedelta(days=102), 7, 60), record(KEY, START + timedelta(days=103), 9, 61))
    await mediation.catch_up(4)
    (held,) = await waiting(database, FORGOTTEN)
    assert (held.upstream_octets, held.downstream_octets, held.record_ids) == (7, 60, (3,))
    booked = await days(database)
    assert sum(up + down for (name, _), (up, down) in booked.items() if name == "svc-1") == 55 + 3


async def test_a_session_of_records_that_still_wait_in_the_log_is_not_forgotten(database: Database) -> None:
    """Mediation stood still for months: the records are old, but none of them is late."""
    log = UsageLogInMemory()
    log.append(*(record(KEY, START + timedelta(days=60 * n), n, 10 * n) for n in range(4)))
    mediation = service(database, log, batch=1)
    while await mediation.step():
        await mediation.forget()
    assert await waiting(database, FORGOTTEN) == []
    assert sum(up + down for up, down in (await days(database)).values()) == 33
