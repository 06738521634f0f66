"""Balances on both databases: never spent twice, debited once whatever is repeated or killed, given back in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import IntegrityError

from billing_bridge import zones
from billing_bridge.billing.tariff_rows import put_tariff
from billing_bridge.errors import NotPrepaid, UnknownPrepaid
from billing_bridge.prepaid.model import OCTETS, SECONDS, Kind
from billing_bridge.prepaid.service import NewTerms
from billing_bridge.prepaid.telling import PrepaidTelling
from billing_bridge.tables import entitlement, subscription
from controller.domain.clock import local_date, start_of_day
from controller.domain.credit import FinalAction, NoCredit, Slice, Standing
from controller.domain.errors import Conflict
from controller.domain.identity import ServiceId
from controller.store.engine import Database
from tests.support.billing_fakes import tariff
from tests.support.prepaid import ACCOUNT, CHEAP, DEAR, MB, NAS, NOW, SERVICE, PrepaidWorld, key


@pytest.fixture
async def world(database: Database) -> AsyncIterator[PrepaidWorld]:
    made = PrepaidWorld(database)
    yield made
    await made.log.close()


async def conserved(world: PrepaidWorld) -> None:
    """What moved is what there is, by every entry and in sum; and what was paid is earned or still worth something."""
    found = await world.wallet()
    moved = list(reversed(await world.prepaid.movements(SERVICE, before=None, limit=1_000)))
    balance = reserved = 0
    for each in moved:
        balance, reserved = balance + each.amount, reserved + each.reserved_change
        assert (each.balance_after, each.reserved_after) == (balance, reserved)
        assert 0 <= reserved <= balance
    assert (found.balance, found.reserved) == (balance, reserved)
    assert found.worth_minor == sum(m.worth_change_minor for m in moved)
    assert found.overshoot == sum(m.overshoot for m in moved)


async def test_fifty_logins_at_once_reserve_ten_slices_of_a_balance_for_ten(
    database: Database, world: PrepaidWorld
) -> None:
    await world.open(slice_=MB)
    await world.top_up(10 * MB)
    other = PrepaidWorld(Database(database.url.render_as_string(hide_password=False)), clock=world.clock)
    try:
        asked = [(world, other)[n % 2].prepaid.reserve(SERVICE, f"line {n}", NAS) for n in range(50)]
        answers = await asyncio.gather(*asked)
    finally:
        await other.log.close()
        await other.database.close()
    granted = [answer for answer in answers if isinstance(answer, Slice)]
    assert granted == [Slice(octets=MB)] * 10
    refused = [answer for answer in answers if isinstance(answer, NoCredit)]
    assert len(refused) == 40
    assert f"{10 * MB} octets are reserved for other sessions" in refused[0].reason
    assert await world.amounts() == (10 * MB, 10 * MB, 0)
    await conserved(world)


async def test_the_last_megabyte_goes_to_one_of_two_sessions_and_use_is_debited_once(world: PrepaidWorld) -> None:
    await world.open(slice_=MB)
    await world.top_up(MB)
    assert await world.prepaid.reserve(SERVICE, "line 1", NAS) == Slice(octets=MB)
    assert isinstance(await world.prepaid.reserve(SERVICE, "line 2", NAS), NoCredit)
    await world.report("start")
    await world.later(seconds=60)
    await world.report("interim", 400_000)
    assert await world.amounts() == (600_000, 600_000, 0)
    await world.report("interim", 400_000)
    await world.report("interim", 300_000)  # late, and told already
    assert await world.amounts() == (600_000, 600_000, 0)
    await world.later(seconds=60)
    await world.report("stop", 500_000)
    assert await world.amounts() == (500_000, 0, 0)
    assert isinstance(await world.prepaid.reserve(SERVICE, "line 2", NAS), Slice)
    await conserved(world)


async def test_a_slice_grows_while_there_is_credit_and_then_the_session_ends(world: PrepaidWorld) -> None:
    await world.open(slice_=MB)
    await world.top_up(2 * MB + MB // 2)
    await world.prepaid.reserve(SERVICE, "line 1", NAS)
    await world.report("start")
    assert world.access.standing[SERVICE] is Standing.OPEN
    reserved = []
    for used in (600_000, 1_400_000, 2_000_000, 2_500_000):
        await world.later(seconds=60)
        await world.report("interim", used)
        reserved.append((await world.amounts())[:2])
    assert reserved == [(1_900_000, MB), (1_100_000, MB), (500_000, 500_000), (0, 0)]
    assert world.access.ended == [(key("1"), FinalAction.DISCONNECT)]
    assert world.access.standing[SERVICE] is Standing.OUT
    await world.later(seconds=60)
    await world.report("stop", 2_700_000)
    assert await world.amounts() == (0, 0, 200_000), "beyond the balance nobody pays, and it is not negative"
    await conserved(world)


async def test_what_one_session_overshoots_is_not_taken_from_the_slice_of_another(world: PrepaidWorld) -> None:
    await world.open(slice_=MB)
    await world.top_up(2 * MB)
    for n in "12":
        await world.prepaid.reserve(SERVICE, f"line {n}", NAS)
        await world.report("start", session=n)
    await world.later(seconds=60)
    await world.report("interim", MB + 700_000, session="1")
    assert (await world.amounts(), (await world.wallet()).owed) == ((MB, MB, 0), 700_000)
    assert world.access.ended == [(key("1"), FinalAction.DISCONNECT)]
    assert world.access.standing[SERVICE] is Standing.OPEN, "the other has its slice"
    await world.report("stop", MB, session="2")
    assert (await world.amounts(), (await world.wallet()).owed) == ((0, 0, 700_000), 0)
    await conserved(world)


@pytest.mark.parametrize(("used", "left", "overshoot"), [(200_000, 100_000, 0), (600_000, 0, 300_000)])
@pytest.mark.parametrize("how", ["stop", "silence", "dials again", "closing"])
async def test_what_one_session_used_beyond_its_slice_is_taken_of_what_another_gives_back(
    world: PrepaidWorld, how: str, used: int, left: int, overshoot: int
) -> None:
    await world.open(slice_=MB)
    await world.top_up(2 * MB, 200)
    for n in "12":
        await world.prepaid.reserve(SERVICE, f"line {n}", NAS)
        await world.report("start", session=n)
    await world.later(seconds=60)
    await world.report("stop", MB + 700_000, session="1")
    await world.report("interim", used, session="2")
    if how == "stop":
        await world.report("stop", used, session="2")
    elif how == "silence":
        await world.later(seconds=900)
        await world.counter.catch_up()
    elif how == "closing":
        await world.close()
        await world.report("interim", used, session="2")
    else:
        assert isinstance(await world.prepaid.reserve(SERVICE, "line 2", NAS), Slice if left else NoCredit)
        await world.later(seconds=61)
        await world.counter.catch_up()
    assert (await world.amounts(), (await world.wallet()).owed) == ((left, 0, overshoot), 0)
    await conserved(world)


async def test_of_what_is_owed_no_more_is_taken_than_is_given_back(world: PrepaidWorld) -> None:
    """A top-up does not pay for what networks let through before."""
    await world.open(slice_=MB)
    await world.top_up(2 * MB)
    for n in "12":
        await world.prepaid.reserve(SERVICE, f"line {n}", NAS)
        await world.report("start", session=n)
    await world.later(seconds=60)
    await world.report("stop", MB + 700_000, session="1")
    await world.report("interim", 900_000, session="2")
    assert (await world.amounts(), (await world.wallet()).owed) == ((100_000, 100_000, 600_000), 100_000)
    await world.top_up(10 * MB, reference="2")
    assert (await world.wallet()).owed == 100_000
    await world.report("stop", 900_000, session="2")
    assert (await world.amounts(), (await world.wallet()).owed) == ((10 * MB, 0, 600_000), 0)
    await conserved(world)


async def test_a_session_that_dies_gives_back_and_its_late_stop_still_counts(world: PrepaidWorld) -> None:
    await world.open(slice_=MB, validity_s=900)
    await world.top_up(MB)
    await world.prepaid.reserve(SERVICE, "line 1", NAS)
    await world.report("start")
    await world.later(seconds=300)
    await world.report("interim", 300_000)
    await world.later(seconds=899)
    await world.counter.catch_up()
    assert await world.amounts() == (700_000, 700_000, 0)
    await world.later(seconds=1)
    await world.counter.catch_up()
    assert await world.amounts() == (700_000, 0, 0)
    await world.report("stop", 350_000)
    assert await world.amounts() == (650_000, 0, 0)
    kinds = [m.kind for m in await world.prepaid.movements(SERVICE, before=None, limit=3)]
    assert kinds == [Kind.DEBIT, Kind.EXPIRY, Kind.DEBIT]
    await conserved(world)


async def test_a_line_that_dials_again_gets_what_it_had_and_a_login_without_a_start_gives_back(
    world: PrepaidWorld,
) -> None:
    await world.open(slice_=MB)
    await world.top_up(MB)
    for _ in range(3):
        assert await world.prepaid.reserve(SERVICE, "line 1", NAS) == Slice(octets=MB)
    await world.report("start")  # of the last of them; and the box is killed
    assert await world.prepaid.reserve(SERVICE, "line 1", NAS) == Slice(octets=MB)
    assert isinstance(await world.prepaid.reserve(SERVICE, "line 2", NAS), NoCredit)
    await world.later(seconds=61)
    assert isinstance(await world.prepaid.reserve(SERVICE, "line 2", NAS), NoCredit), "its reports may wait in the log"
    await world.counter.catch_up()
    assert isinstance(await world.prepaid.reserve(SERVICE, "line 2", NAS), Slice)
    await conserved(world)


async def test_in_the_garden_nothing_costs_and_a_top_up_lets_the_session_go_on(world: PrepaidWorld) -> None:
    await world.open(slice_=MB, action=FinalAction.GARDEN)
    await world.top_up(MB)
    await world.prepaid.reserve(SERVICE, "line 1", NAS)
    await world.report("start")
    await world.later(seconds=60)
    await world.report("interim", MB)
    assert world.access.ended == [(key("1"), FinalAction.GARDEN)]
    assert world.access.standing[SERVICE] is Standing.GARDEN
    refused = await world.prepaid.reserve(SERVICE, "line 2", NAS)
    assert refused == NoCredit(FinalAction.GARDEN, "the prepaid balance is used up")
    await world.later(seconds=60)
    await world.report("interim", 3 * MB)
    assert await world.amounts() == (0, 0, 0)
    await world.later(seconds=30)
    await world.top_up(5 * MB, reference="2")
    assert world.access.resumed == [key("1")]
    assert world.access.standing[SERVICE] is Standing.OPEN
    await world.later(seconds=30)
    # Half of it was carried in the garden yet, before the top-up.
    await world.report("interim", 4 * MB)
    assert await world.amounts() == (4 * MB + 500_000, MB, 0)
    await conserved(world)


async def test_of_a_service_with_credit_the_sessions_that_have_none_are_known(world: PrepaidWorld) -> None:
    await world.open(slice_=MB, action=FinalAction.GARDEN)
    await world.top_up(2 * MB)
    for session in "12":
        await world.prepaid.reserve(SERVICE, f"line {session}", NAS)
        await world.report("start", session=session)
    await world.later(seconds=60)
    await world.report("interim", MB)
    async with world.database.begin() as conn:
        assert world.access.standing[SERVICE] is Standing.OPEN
        assert await world.prepaid.without_credit(conn, SERVICE) == {key("1")}
        assert await world.prepaid.without_credit(conn, "0" * 32) == set()
    await world.close()
    async with world.database.begin() as conn:
        assert await world.prepaid.without_credit(conn, SERVICE) == set()


async def test_money_is_debited_by_the_price_of_the_hour_and_earned_to_the_cent(world: PrepaidWorld) -> None:
    await world.open("EUR", version=CHEAP, slice_=MB)
    await world.top_up(1_000, 840)
    await world.prepaid.reserve(SERVICE, "line 1", NAS)
    await world.report("start")
    await world.later(minutes=10)
    await world.open("EUR", version=DEAR, slice_=MB)  # a price change in the middle of a session
    await world.later(minutes=10)
    await world.report("interim", 2 * MB)
    # 1 MB at 1.00 before the change, 1 MB at 2.00 after it; a slice of 1 MB at 2.00 is reserved.
    assert await world.amounts() == (700, 200, 0)
    await world.later(minutes=10)
    await world.report("stop", 5 * MB + MB // 2)
    assert await world.amounts() == (0, 0, 0)
    async with world.database.begin() as conn:
        (posted,) = await world.prepaid.unposted_in(conn, 10)
        assert (posted.earned_minor, posted.day.isoformat()) == (840, "2026-11-10")
        await world.prepaid.post_in(conn, [posted])
        assert await world.prepaid.unposted_in(conn, 10) == []
    await conserved(world)


async def in_zone(world: PrepaidWorld, zone: str) -> None:
    async with world.database.begin() as conn:
        await zones.put(conn, ACCOUNT, zone, ZoneInfo("Europe/Berlin"))


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Pacific/Apia", "Pacific/Pago_Pago"])
async def test_use_over_midnight_is_of_two_days_and_over_the_end_of_a_month_of_two_periods(
    world: PrepaidWorld, zone: str
) -> None:
    await in_zone(world, zone)
    world.clock.move_to(datetime(2026, 11, 30, 23, 30, tzinfo=ZoneInfo(zone)).astimezone(UTC))
    await world.open("EUR", version=CHEAP, slice_=10 * MB)
    await world.top_up(1_000, 1_000)
    await world.prepaid.reserve(SERVICE, "line 1", NAS)
    await world.report("start")
    await world.later(hours=1)
    await world.report("stop", 4 * MB)
    async with world.database.begin() as conn:
        days = {d.day.isoformat(): d.earned_minor for d in await world.prepaid.unposted_in(conn, 10)}
        rows = await conn.execute(text("SELECT period_on, used, debited FROM billing_bridge_prepaid_used ORDER BY 1"))
        periods = [(str(on), used, debited) for on, used, debited in rows]
    assert days == {"2026-11-30": 200, "2026-12-01": 200}
    assert periods == [("2026-11-01", 2 * MB, 200), ("2026-12-01", 2 * MB, 200)]
    assert (await world.amounts())[0] == 600


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Pacific/Apia", "Pacific/Pago_Pago"])
async def test_credit_is_gone_when_its_last_day_is_over_for_its_account(world: PrepaidWorld, zone: str) -> None:
    await in_zone(world, zone)
    terms = NewTerms(None, MB, 900, FinalAction.DISCONNECT, credit_days=3, notice_days=1)
    await world.prepaid.open(SERVICE, ACCOUNT, OCTETS, "EUR", terms, actor="user:test")
    await world.top_up(10 * MB)
    here = ZoneInfo(zone)
    gone_on = local_date(world.clock.now(), here) + timedelta(days=3)
    assert (await world.wallet()).expires_on == gone_on
    telling = PrepaidTelling(world.clock, world.prepaid)
    for day, told, left in ((gone_on - timedelta(days=1), True, 10 * MB), (gone_on, False, 0)):
        midnight = start_of_day(day, here)
        world.clock.move_to(midnight - timedelta(seconds=1))
        await world.counter.expire()
        assert (await world.wallet()).balance == 10 * MB
        async with world.database.begin() as conn:
            assert not await telling.is_due(conn)
        world.clock.move_to(midnight)
        async with world.database.begin() as conn:
            assert await telling.is_due(conn) == told
            await telling.take_in(conn, 10)
        await world.counter.expire()
        assert (await world.wallet()).balance == left


async def test_seconds_are_reserved_and_debited_like_octets(world: PrepaidWorld) -> None:
    await world.open(SECONDS, slice_=600)
    await world.top_up(1_000)
    assert await world.prepaid.reserve(SERVICE, "line 1", NAS) == Slice(seconds=600)
    await world.report("start", None, seconds=0)
    await world.later(seconds=400)
    await world.report("interim", 10**12, seconds=400)
    assert await world.amounts() == (600, 600, 0)
    await world.later(seconds=100)
    await world.report("stop", None, seconds=500)
    assert await world.amounts() == (500, 0, 0)


async def test_a_top_up_counts_once_and_its_reference_stands_for_one_amount(world: PrepaidWorld) -> None:
    await world.open()
    await asyncio.gather(*(world.top_up(MB, reference="order 7") for _ in range(5)))
    assert (await world.wallet()).balance == MB
    with pytest.raises(Conflict, match="was of 1000000 octets"):
        await world.top_up(2 * MB, reference="order 7")
    with pytest.raises(NotPrepaid, match="positive"):
        await world.top_up(0, reference="order 8")
    with pytest.raises(UnknownPrepaid):
        await world.prepaid.show(ServiceId("9" * 32))


async def test_what_was_used_before_a_service_was_prepaid_costs_nothing(world: PrepaidWorld) -> None:
    await world.report("start", count=False)
    await world.later(hours=1)
    await world.report("interim", 50 * MB, count=False)
    await world.later(minutes=30)
    await world.open(slice_=10 * MB)
    await world.top_up(100 * MB)
    await world.later(minutes=90)
    # Nobody knows how much of it was carried before, so time tells: the balance was opened in the middle of it.
    await world.report("interim", 70 * MB, seconds=3 * 3_600)
    balance, _, _ = await world.amounts()
    assert balance == 65 * MB
    await conserved(world)


@pytest.mark.parametrize("statement", ["SET balance = -1", "SET reserved = balance + 1", "SET reserved = -1"])
async def test_the_database_itself_refuses_a_balance_below_zero_or_reserved_twice(
    world: PrepaidWorld, statement: str
) -> None:
    await world.open()
    await world.top_up(MB)
    with pytest.raises(IntegrityError):
        async with world.database.begin() as conn:
            await conn.execute(text(f"UPDATE billing_bridge_prepaid {statement}"))
    with pytest.raises(IntegrityError, match="only ever added"):
        async with world.database.begin() as conn:
            await conn.execute(text("UPDATE billing_bridge_prepaid_movement SET amount = 0"))


async def test_a_closed_balance_lets_nobody_in_and_opening_it_again_finds_what_was_left(world: PrepaidWorld) -> None:
    await world.open()
    await world.top_up(MB)
    assert await world.close()
    assert world.access.standing[SERVICE] is None
    assert isinstance(await world.prepaid.reserve(SERVICE, "line 1", NAS), NoCredit)
    with pytest.raises(Conflict, match="was closed"):
        await world.top_up(MB, reference="2")
    await world.open()
    assert world.access.standing[SERVICE] is Standing.OPEN
    assert (await world.amounts())[0] == MB
    for _ in range(2):
        with pytest.raises(Conflict, match="stays that, also when it is closed: open it so, or another service"):
            await world.open("EUR", version=CHEAP)
        assert await world.close(reason="another unit is wanted")


async def test_whoever_was_let_into_the_garden_just_before_a_top_up_goes_on_too(world: PrepaidWorld) -> None:
    await world.open(slice_=MB, action=FinalAction.GARDEN)
    assert isinstance(await world.prepaid.reserve(SERVICE, "line 1", NAS), NoCredit)
    await world.top_up(3 * MB)
    assert world.access.resumed == [], "its accounting has not begun"
    await world.later(seconds=1)
    await world.report("start")
    assert world.access.resumed == [key("1")]
    await world.later(minutes=5)
    await world.report("interim", 500_000)
    assert await world.amounts() == (2_500_000, MB, 0)


async def test_what_a_month_includes_is_not_had_anew_with_other_terms(world: PrepaidWorld) -> None:
    await world.open("EUR", version=CHEAP, slice_=MB)
    await world.top_up(1_000)
    await world.prepaid.reserve(SERVICE, "line 1", NAS)
    await world.report("start")
    await world.later(minutes=5)
    await world.report("interim", MB)
    await world.open("EUR", version=CHEAP, slice_=2 * MB, action=FinalAction.GARDEN)
    await world.later(minutes=5)
    await world.report("interim", 2 * MB)
    async with world.database.read() as conn:
        rows = await conn.execute(text("SELECT used, debited FROM billing_bridge_prepaid_used"))
        assert [tuple(row) for row in rows] == [(2 * MB, 200)]
    assert await world.amounts() == (800, 200, 0)


async def test_terms_that_tell_no_price_of_what_is_left_are_refused(world: PrepaidWorld) -> None:
    with pytest.raises(NotPrepaid, match="has the prices of an offering version"):
        await world.open("EUR")
    with pytest.raises(NotPrepaid, match="has the prices of an offering version"):
        await world.open(version=CHEAP)


async def test_a_login_of_a_service_without_a_balance_is_refused(world: PrepaidWorld) -> None:
    answer = await world.prepaid.reserve(SERVICE, "line 1", NAS)
    assert answer == NoCredit(FinalAction.DISCONNECT, f"service {SERVICE} is prepaid and has no balance")


async def test_a_session_that_begins_in_the_garden_takes_nobodys_slice_and_pays_nothing(world: PrepaidWorld) -> None:
    await world.open(slice_=MB, action=FinalAction.GARDEN)
    assert isinstance(await world.prepaid.reserve(SERVICE, "line 1", NAS), NoCredit)
    await world.later(seconds=1)
    await world.top_up(MB)
    await world.prepaid.reserve(SERVICE, "line 2", NAS)
    await world.later(seconds=1)
    world.access.known = {key("1"): "line 1", key("2"): "line 2"}
    await world.report("start", session="1")
    await world.report("interim", 300_000, session="1")
    assert await world.amounts() == (MB, MB, 0)
    await world.report("start", session="2")
    await world.report("interim", 300_000, session="2")
    assert await world.amounts() == (700_000, 700_000, 0)


async def test_logins_whose_sessions_never_began_are_forgotten_even_those_that_hold_nothing(
    world: PrepaidWorld,
) -> None:
    await world.open(slice_=MB, action=FinalAction.GARDEN)
    for _ in range(3):
        assert isinstance(await world.prepaid.reserve(SERVICE, "line 1", NAS), NoCredit)
    assert len((await world.prepaid.show(SERVICE)).sessions) == 3
    await world.later(seconds=61)
    await world.counter.catch_up()
    assert (await world.prepaid.show(SERVICE)).sessions == []


async def test_of_a_line_that_dialled_twice_the_first_record_is_of_the_first_login(world: PrepaidWorld) -> None:
    await world.open(slice_=MB, action=FinalAction.GARDEN)
    world.access.known = {key("1"): "line 1", key("2"): "line 1"}
    assert isinstance(await world.prepaid.reserve(SERVICE, "line 1", NAS), NoCredit)
    await world.later(seconds=1)
    await world.report("start", session="1", count=False)
    await world.report("stop", 50_000, session="1", count=False)
    await world.later(seconds=1)
    await world.top_up(MB)
    await world.prepaid.reserve(SERVICE, "line 1", NAS)
    await world.later(seconds=1)
    await world.report("start", session="2")
    assert await world.amounts() == (MB, MB, 0), "what the first one used in the garden costs nothing"
    await world.report("interim", 300_000, session="2")
    assert await world.amounts() == (700_000, 700_000, 0)


@pytest.mark.parametrize("included", [None, MB])
async def test_a_service_whose_plan_bills_usage_is_not_made_prepaid(world: PrepaidWorld, included: int | None) -> None:
    sold = tariff("7" * 32, "9.90", included=included)
    async with world.database.begin() as conn:
        await put_tariff(conn, sold)
        line = {"subscription_id": "8" * 32, "account_id": ACCOUNT, "service_id": SERVICE}
        days = {"anchor_day": 1, "phase_on": date(2026, 11, 1), "rate_from_on": date(2026, 11, 1)}
        await conn.execute(insert(subscription).values(**line, **days))
        await conn.execute(
            insert(entitlement).values(
                subscription_id="8" * 32, at=NOW, version_id=sold.version_id, quantity=1, event_id="9" * 32,
                event_name="service.activated", order_id="9" * 32,
            )
        )  # fmt: skip
    if included is None:
        await world.open()
        return
    with pytest.raises(NotPrepaid, match=r"bills usage too \(data\)"):
        await world.open()


async def test_what_a_lost_session_used_in_the_garden_costs_nothing_however_late_it_is_told(
    world: PrepaidWorld,
) -> None:
    await world.open(slice_=MB, action=FinalAction.GARDEN)
    await world.top_up(MB)
    await world.prepaid.reserve(SERVICE, "line 1", NAS)
    await world.report("start")
    await world.report("interim", MB)
    assert world.access.ended == [(key("1"), FinalAction.GARDEN)]
    await world.later(minutes=5)
    assert isinstance(await world.prepaid.reserve(SERVICE, "line 1", NAS), NoCredit)
    await world.top_up(5 * MB, reference="2")
    await world.report("stop", 3 * MB)
    assert (await world.amounts())[::2] == (5 * MB, 0)
    await conserved(world)
