"""What is live and not billed, and billed and not live, by RADIUS, OLTs and stock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from billing_bridge.checks import leak_rows
from billing_bridge.checks.leakage import BILLED_NOT_LIVE, LIVE_NOT_BILLED
from billing_bridge.checks.tables import leak
from controller.domain.money import Money
from controller.store.engine import Database
from controller.workflows.assurance_nights import AssuranceNights
from controller.workflows.routes_assurance import endpoints
from erp.inventory.model import StockState
from erp.inventory.tables import item
from radius.accounting.tables import sessions
from radius.tables import subscriber
from tests.support.api import api_client
from tests.support.assurance import PLAN, Network, network_of
from tests.support.billing_world import BERLIN, berlin


@pytest.fixture
async def network(database: Database, tmp_path: Path) -> AsyncIterator[Network]:
    async with network_of(database, tmp_path) as made:
        yield made


async def test_lines_as_they_should_be_are_on_no_list(network: Network) -> None:
    await network.live_line("erika")
    assert not await network.leakage.look()


async def test_a_user_made_by_hand_appears_at_once_with_the_fee_of_its_speed(network: Network) -> None:
    await network.live_line("erika")
    await network.sells("Fibre 100", "39.90", 100_000_000)
    await network.sells("Fibre 500", "59.90", 500_000_000)
    await network.login("by-hand", "f" * 32, bps=500_000_000)
    network.clock.advance(timedelta(days=10))
    await network.session("erika-2", None, network.clock.now(), live=False)
    found = await network.leaks(LIVE_NOT_BILLED)
    by_hand = found["f" * 32]
    assert by_hand.monthly == Money(5990, "EUR")
    assert by_hand.per_day == Money(197, "EUR")
    assert (by_hand.days, by_hand.lost) == (10, Money(1969, "EUR"))
    assert "Fibre 500" in by_hand.price_from
    unknown = found["session:erika-2"]
    assert unknown.monthly == Money(3000, "EUR"), "the median of what is billed"


async def test_an_onu_made_by_hand_appears_and_one_that_is_sold_does_not(network: Network) -> None:
    line = await network.live_line("erika")
    network.access.services["NOKI00000001"] = line.service_id
    await network.sees("NOKI00000001", "NOKI0000BAD1")
    (leak,) = (await network.leaks(LIVE_NOT_BILLED)).values()
    assert (leak.title, leak.monthly) == ("NOKI0000BAD1", Money(3000, "EUR"))
    assert leak.evidence[0].detail == "at pon-1"
    network.clock.advance(timedelta(days=3))
    assert not await network.leaks(LIVE_NOT_BILLED), "it is not seen any more"


async def test_a_terminated_line_that_still_carries_traffic_appears_with_its_old_fee(network: Network) -> None:
    line = await network.live_line("erika")
    network.clock.advance(timedelta(days=20))
    await network.world.terminate(line)
    network.clock.advance(timedelta(days=5))
    await network.session("erika", line.service_id, network.clock.now())
    (leak,) = (await network.leaks(LIVE_NOT_BILLED)).values()
    assert (leak.monthly, leak.days, leak.account_id) == (Money(3000, "EUR"), 5, line.account_id)
    assert {sight.what for sight in leak.evidence} == {"login", "session"}


async def test_a_device_at_a_customers_without_a_line_appears(network: Network) -> None:
    made = await network.inventory.receive(kind="onu", model="G-010", serial="NOKI00000009", why="new", actor="user:t")
    async with network.database.begin() as conn:
        gone = {"state": StockState.AWAITING_RETURN.value, "service_id": "e" * 32, "holder": "Erika"}
        await conn.execute(update(item).where(item.c.item_id == made.item_id).values(gone))
    (leak,) = (await network.leaks(LIVE_NOT_BILLED)).values()
    assert leak.evidence[0].detail == "G-010, awaiting-return, with Erika"
    assert leak.monthly == Money(0, "EUR"), "nothing is sold as its rent"


async def test_a_billed_line_that_is_refused_or_silent_appears(network: Network) -> None:
    silent, refused = await network.live_line("silent"), await network.world.activate(PLAN)
    await network.login("refused", refused.service_id, enabled=False)
    never = await network.world.activate(PLAN)
    network.clock.advance(timedelta(days=9))
    async with network.database.begin() as conn:
        await conn.execute(update(sessions).values(state="ended"))
    found = await network.leaks(BILLED_NOT_LIVE)
    assert found.keys() == {silent.service_id, refused.service_id, never.service_id}
    assert "its login is refused" in found[refused.service_id].title
    assert "nothing heard since 2026-09-01" in found[silent.service_id].title
    assert found[never.service_id].lost == Money(888, "EUR")
    await network.world.pause(silent, network.clock.now().date(), None)
    assert silent.service_id not in await network.leaks(BILLED_NOT_LIVE), "a pause is no leak"


async def test_the_lists_over_http_and_the_sums_of_a_night(network: Network) -> None:
    await network.login("by-hand", "f" * 32)
    nights = AssuranceNights(network.clock, BERLIN, network.leakage, network.reconciliation)
    assert await nights.once()
    assert not await nights.once()
    async with api_client(endpoints(network.leakage, network.reconciliation), clock=network.clock) as api:
        (leak,) = (await api.get("/leakage")).json()["items"]
        assert leak["evidence"][0]["ref"] == "by-hand"
        assert (await api.get("/leakage?side=billed-not-live")).json()["items"] == []
        await network.login("later", "e" * 32)
        assert len((await api.get("/leakage")).json()["items"]) == 1, "a page does not look"
        network.clock.advance(timedelta(minutes=1))
        looked = (await api.post("/leakage", json={})).json()["days"]
        assert [(d["side"], d["items"]) for d in looked] == [("billed-not-live", 0), ("live-not-billed", 2)]
        first = (await api.get("/leakage?limit=1")).json()
        second = (await api.get("/leakage", params={"limit": 1, "after": first["next"]})).json()
        assert {first["items"][0]["key"], second["items"][0]["key"]} == {"e" * 32, "f" * 32}
        assert second["next"] is None
        async with network.database.begin() as conn:
            await conn.execute(update(subscriber).where(subscriber.c.username == "later").values(withdrawn=True))
        await api.post("/leakage", json={})
        assert len((await api.get("/leakage")).json()["items"]) == 1, "a look leaves nothing of the one before"
        days = (await api.get("/leakage/days")).json()["days"]
        assert [(d["side"], d["items"]) for d in days] == [("billed-not-live", 0), ("live-not-billed", 1)]
        assert (await api.post("/reconciliation", json={})).json() == {"days": []}
        refused = await api.post("/reconciliation", json={"day": "2026-09-01"})
        assert refused.json()["code"] == "day-not-over"


async def test_the_first_reader_looks_where_nobody_ever_did(network: Network) -> None:
    await network.login("by-hand", "f" * 32)
    (found,) = await network.leakage.page(LIVE_NOT_BILLED, 0, 10)
    (looked,) = (await network.leaks(LIVE_NOT_BILLED)).values()
    assert found.leak == looked, "what is kept is what was found"
    assert found.looked_at == network.clock.now()


async def test_a_look_that_a_crash_cut_off_is_never_read_and_goes_with_a_later_one(network: Network) -> None:
    await network.login("by-hand", "f" * 32)
    await network.leakage.note()
    cut_off_at = network.clock.now() + timedelta(minutes=1)
    async with network.database.begin() as conn:
        await leak_rows.add(conn, cut_off_at, [(LIVE_NOT_BILLED, rank, "cut off") for rank in range(1, 2502)])
    (found,) = await network.leakage.page(LIVE_NOT_BILLED, 0, 10)
    assert (found.leak.title, found.looked_at) == ("by-hand", network.clock.now())
    network.clock.advance(timedelta(hours=2))
    await network.leakage.note()
    async with network.database.read() as conn:
        kept = (await conn.execute(select(leak.c.looked_at, leak.c.rank))).all()
    assert [tuple(row) for row in kept] == [(network.clock.now(), 1)], "of the two before nothing is left"


async def test_a_look_by_hand_before_the_night_does_not_spare_the_night(network: Network) -> None:
    await network.leakage.note()
    nights = AssuranceNights(network.clock, BERLIN, network.leakage, network.reconciliation)
    network.clock.move_to(berlin(2026, 9, 2, 1))
    await network.leakage.note()
    network.clock.move_to(berlin(2026, 9, 2, 3))
    assert await nights.once()
    assert await network.leakage.looked_at() == network.clock.now()
