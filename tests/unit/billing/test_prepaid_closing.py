"""A balance is closed once what was used of it is known: what sessions tell late is debited first, and waited for in
bounds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from billing_bridge.prepaid.model import Kind, State
from billing_bridge.prepaid.plans import Plans
from controller.domain.clock import local_date
from controller.domain.credit import FinalAction, NoCredit, Standing
from controller.domain.errors import Conflict
from controller.store.engine import Database
from tests.support.billing_fakes import PriceList, tariff
from tests.support.prepaid import ACCOUNT, MB, NAS, SERVICE, PrepaidWorld, key
from tests.unit.billing.test_prepaid_balance import conserved
from tests.unit.billing.test_prepaid_calls import PLAN, VOICE


@pytest.fixture
async def world(database: Database) -> AsyncIterator[PrepaidWorld]:
    made = PrepaidWorld(database)
    yield made
    await made.log.close()


async def in_session(world: PrepaidWorld, action: FinalAction = FinalAction.DISCONNECT) -> None:
    """10 MB bought; a session that has been heard of at its start alone, ten minutes ago."""
    await world.open(slice_=MB, validity_s=900, action=action)
    await world.top_up(10 * MB)
    await world.prepaid.reserve(SERVICE, "line 1", NAS)
    await world.report("start")
    await world.later(minutes=10)


async def is_closed(world: PrepaidWorld) -> bool:
    found = await world.wallet()
    return found.closed_at is not None


async def test_what_a_session_tells_after_the_closing_is_debited_before_the_balance_is_closed(
    world: PrepaidWorld,
) -> None:
    await in_session(world)
    assert not await world.close(pay_out=True)
    assert world.access.ended == [(key("1"), FinalAction.DISCONNECT)], "so that it tells soon"
    assert world.access.standing[SERVICE] is None
    refused = await world.prepaid.reserve(SERVICE, "line 2", NAS)
    assert refused == NoCredit(FinalAction.DISCONNECT, "the prepaid balance of the service is being closed")
    for ask in (world.top_up(MB, reference="2"), world.open()):
        with pytest.raises(Conflict, match="is being closed"):
            await ask
    await world.counter.catch_up()
    found = await world.prepaid.show(SERVICE)
    assert found.closing is not None
    assert (found.wallet.closed_at, found.closing.until_at - world.clock.now()) == (None, timedelta(minutes=15))
    await world.later(seconds=5)
    await world.report("stop", 3 * MB)
    # 600 of 605 seconds before the closing; what came after it costs nothing.
    assert (await world.amounts(), await is_closed(world)) == ((10 * MB - 3 * MB * 600 // 605, 0, 0), True)
    assert [c.service_id for c in await world.closing.unpaid()] == [SERVICE], "and is then to be paid out"
    await conserved(world)


async def test_an_interim_of_after_the_closing_settles_a_session_that_did_not_end(world: PrepaidWorld) -> None:
    await in_session(world)
    await world.close()
    await world.later(seconds=1)
    await world.report("interim", MB, event_at=world.clock.now() - timedelta(minutes=5, seconds=1))
    assert (await world.amounts(), await is_closed(world)) == ((9 * MB, 0, 0), False), "it is of before"
    await world.later(minutes=4, seconds=59)
    await world.report("interim", 3 * MB)
    # 2 MB within ten minutes, five of which were before the closing.
    assert (await world.amounts(), await is_closed(world)) == ((8 * MB, 0, 0), True)
    await world.report("interim", 50 * MB)
    assert (await world.amounts())[0] == 8 * MB, "what it uses now costs nothing"
    assert (await world.prepaid.show(SERVICE)).closing is None, "nothing is to be paid out"
    await conserved(world)


async def test_who_tells_nothing_is_waited_for_until_its_slice_is_kept_no_longer(world: PrepaidWorld) -> None:
    await in_session(world)
    await world.close()
    await world.later(minutes=5, seconds=-1)
    await world.counter.catch_up()
    assert not await is_closed(world)
    await world.later(seconds=1)
    await world.counter.catch_up()
    assert (await world.amounts(), await is_closed(world)) == ((10 * MB, 0, 0), True)
    await world.report("stop", 5 * MB)
    assert await world.amounts() == (10 * MB, 0, 0)


async def test_a_session_that_always_tells_of_before_is_waited_for_no_longer_than_was_said(world: PrepaidWorld) -> None:
    await in_session(world)
    await world.close()
    began = world.clock.now()
    for n in range(1, 4):
        await world.later(minutes=5)
        await world.report("start" if n == 1 else "interim", MB, session=f"{n}", event_at=began - timedelta(minutes=1))
        assert await is_closed(world) == (n == 3)
    assert [m.kind for m in await world.prepaid.movements(SERVICE, before=None, limit=99)].count(Kind.DEBIT) > 0
    await conserved(world)


async def test_what_the_log_has_when_the_time_is_over_is_counted_before_the_balance_is_closed(
    world: PrepaidWorld,
) -> None:
    await in_session(world)
    await world.close()
    await world.later(minutes=16)
    await world.report("stop", MB, event_at=world.clock.now() - timedelta(minutes=17), count=False)
    await world.closing.settle()
    assert not await is_closed(world), "the log is not debited yet"
    await world.counter.catch_up()
    assert (await world.amounts(), await is_closed(world)) == ((9 * MB, 0, 0), True)


async def test_what_the_log_had_at_the_closing_is_debited_though_nobody_knew_of_its_session(
    world: PrepaidWorld,
) -> None:
    await world.open(slice_=MB)
    await world.top_up(10 * MB)
    await world.report("start", count=False)
    await world.later(minutes=1)
    await world.report("stop", 2 * MB, count=False)
    await world.later(seconds=1)
    assert not await world.close()
    await world.counter.catch_up()
    assert (await world.amounts(), await is_closed(world)) == ((8 * MB, 0, 0), True)


async def test_another_process_goes_on_with_what_a_killed_one_began(database: Database, world: PrepaidWorld) -> None:
    await in_session(world)
    await world.close(pay_out=True)
    await world.later(seconds=1)
    await world.report("stop", 2 * MB, count=False)
    other = PrepaidWorld(database, clock=world.clock)
    try:
        await other.counter.catch_up()
        assert await is_closed(other)
        assert (await other.wallet()).balance < 10 * MB
        assert [c.pay_out for c in await other.closing.unpaid()] == [True]
    finally:
        await other.log.close()


async def test_a_session_without_anything_to_wait_for_is_not_waited_for(world: PrepaidWorld) -> None:
    await in_session(world, FinalAction.GARDEN)
    await world.report("interim", 10 * MB)
    assert world.access.ended == [(key("1"), FinalAction.GARDEN)]
    assert await world.close(pay_out=True), "nothing is left"
    assert world.access.ended[-1] == (key("1"), FinalAction.DISCONNECT), "nobody else would let it out of the garden"


async def test_a_login_whose_session_begins_after_the_closing_is_told_to_end_and_one_of_after_it_is_not(
    world: PrepaidWorld,
) -> None:
    await world.open(slice_=MB)
    await world.top_up(10 * MB)
    world.access.known = {key("1"): "line 1", key("2"): "line 2"}
    await world.prepaid.reserve(SERVICE, "line 1", NAS)
    await world.later(seconds=5)
    assert not await world.close(), "its Start is on its way"
    await world.later(seconds=5)
    await world.report("start", session="2")
    assert (world.access.ended, await is_closed(world)) == ([], False)
    await world.report("start", session="1")
    assert (world.access.ended, await is_closed(world)) == ([(key("1"), FinalAction.DISCONNECT)], True)


async def test_a_call_that_goes_on_is_waited_for_and_debited(world: PrepaidWorld) -> None:
    world.prepaid.plans = Plans(PriceList([replace(tariff(VOICE, "0", tax="0"), plan=PLAN)]))
    await world.open("EUR", version=VOICE)
    await world.top_up(100, 100)
    await world.prepaid.grant_call(SERVICE, "c1", "431", 60)
    assert not await world.close()
    with pytest.raises(Conflict, match="is being closed"):
        await world.prepaid.grant_call(SERVICE, "c1", "431", 90)
    await world.later(seconds=30)
    await world.counter.catch_up()
    assert not await is_closed(world)
    await world.prepaid.end_call(SERVICE, "c1", 60)
    await world.counter.catch_up()
    assert (await world.amounts(), await is_closed(world)) == ((40, 0, 0), True)


async def test_credit_that_expires_while_its_balance_is_being_closed_is_there_to_pay_out(world: PrepaidWorld) -> None:
    """The customer asked for it on the day before."""
    await in_session(world)
    async with world.database.begin() as conn:
        book = await world.prepaid.locked(conn, SERVICE)
        book.wallet.expires_on = local_date(world.clock.now(), ZoneInfo("Europe/Berlin")) + timedelta(days=1)
        await world.prepaid.keep(conn, [book], world.clock.now())
    world.clock.move_to(world.clock.now().replace(hour=22, minute=59))
    await world.report("interim", MB)
    await world.close()
    await world.later(minutes=5)
    await world.report("stop", MB)
    assert (await world.amounts(), await is_closed(world)) == ((9 * MB, 0, 0), True)


async def test_once_closed_it_is_opened_again_with_what_is_left(world: PrepaidWorld) -> None:
    await in_session(world)
    await world.close()
    await world.later(seconds=1)
    await world.report("stop", 0)
    assert await world.close(), "closed it is"
    await world.open(account=ACCOUNT)
    found = await world.prepaid.show(SERVICE)
    assert (found.wallet.closed_at, found.wallet.closing_at, found.wallet.balance) == (None, None, 10 * MB)
    assert world.access.standing[SERVICE] is Standing.OPEN
    assert {s.state for s in found.sessions} <= {State.ENDED}
