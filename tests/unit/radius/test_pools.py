"""Addresses out of pools, on both databases: given at once to many, kept by sessions, never twice and never lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.errors import Conflict
from controller.store.engine import Database
from radius.accounting.settings import AccountingSettings
from radius.accounting.whois import Whois
from radius.authorization.directory import Directory
from radius.follower import Follower, Registry
from radius.pools import lease as rules
from radius.pools import repository
from radius.pools.allocator import Allocator, Exhausted
from radius.pools.keeper import LeaseKeeper
from radius.pools.lease import Lease, Owner
from radius.pools.service import PoolService, PoolState
from radius.protocol.codes import Attr
from radius.protocol.packet import attribute
from tests.support.accounting import NAS, accounting
from tests.support.radius import secret_box
from tests.support.recorder import NOW, SERVICE, RecorderBench

T0 = int(NOW.timestamp())
MAC = attribute(Attr.CALLING_STATION_ID, b"02-00-00-00-00-01")
ANNA = Owner(SERVICE, "020000000001", str(NAS.nas_id), "1" * 32)


def owner(number: int) -> Owner:
    return Owner(f"{number:032x}", f"{number:012x}", str(NAS.nas_id), f"{number:032x}")


class PoolWorld:
    """A pool service, an allocator, and a recorder whose sessions the leases follow."""

    def __init__(self, database: Database, tmp_path: object) -> None:
        self.bench = RecorderBench(database, AccountingSettings(sweep_interval_s=0.05))
        self.database, self.clock = database, self.bench.clock
        self.directory = Directory()
        box = secret_box(tmp_path)  # type: ignore[arg-type]
        follower = Follower(database, box, Registry(), self.directory)
        self.service = PoolService(database, self.clock, follower, made_at_once=128)
        self.allocator = Allocator(database, self.clock)
        self.keeper = LeaseKeeper(database, self.clock, lambda: self.directory.has_pools)
        self.bench.recorder.on_turned = self.keeper.turned
        self.pool_id = ""

    async def create(self, ranges: str = "192.0.2.0/25", kind: str = "ipv4", length: int = 32) -> PoolState:
        made = await self.service.create(
            name="homes", kind=kind, ranges=[ranges], prefix_length=length, hold_s=60, actor="user:test"
        )
        self.pool_id = self.pool_id or made.pool.pool_id
        return made

    async def hold(self, who: Owner = ANNA) -> str:
        return (await self.allocator.hold(who, [self.pool_id]))[self.pool_id]

    async def account(self, kind: str, address: str, session: bytes = b"0001", at: int = 0) -> None:
        more = MAC + attribute(Attr.FRAMED_IP_ADDRESS, bytes(map(int, address.split("."))))
        await self.bench.send(accounting(kind, session, at=T0 + at, more=more))
        await self.keeper.follow()

    async def lease(self, address: str) -> Lease:
        async with self.database.begin() as conn:
            found = await repository.lock_address(conn, self.pool_id, address)
        assert found is not None
        return found

    async def states(self) -> Counter[str]:
        return Counter(lease.state for lease in await self._leases())

    async def _leases(self) -> list[Lease]:
        return await self.service.leases(self.pool_id, state=None, service_id=None, after=None, limit=1_000)


@pytest.fixture
async def world(database: Database, tmp_path: object) -> AsyncIterator[PoolWorld]:
    async with opened(database, tmp_path) as made:
        yield made


@asynccontextmanager
async def opened(database: Database, tmp_path: object) -> AsyncIterator[PoolWorld]:
    made = PoolWorld(database, tmp_path)
    try:
        yield made
    finally:
        await made.bench.stop()


async def test_a8_200_logins_at_once_from_a_25_get_126_addresses_and_the_rest_a_reason_in_words(
    world: PoolWorld,
) -> None:
    await world.create()
    other = Database(world.database.url.render_as_string(hide_password=False))
    try:
        workers = [world.allocator, Allocator(other, world.clock)]
        answers = await asyncio.gather(
            *(workers[n % 2].hold(owner(n + 1), [world.pool_id]) for n in range(200)), return_exceptions=True
        )
    finally:
        await other.close()
    given = [answer[world.pool_id] for answer in answers if isinstance(answer, dict)]
    refused = [answer for answer in answers if not isinstance(answer, dict)]
    assert (len(given), len(set(given)), len(refused)) == (126, 126, 74)
    assert {f"192.0.2.{n}" for n in range(1, 127)} == set(given)
    for answer in refused:
        assert isinstance(answer, Exhausted)
        assert "pool 'homes' is exhausted: of 126 addresses 0 are leased and 126 held" in str(answer)
    assert sum(worker.transactions for worker in workers) < 40, "many are decided in one transaction"


async def test_a_crowd_before_an_exhausted_pool_is_refused_in_few_transactions(
    world: PoolWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.create("192.0.2.1-192.0.2.2")
    counted: list[str | None] = []
    usage = repository.usage

    async def counting(conn: AsyncConnection, pool_id: str | None = None) -> dict[tuple[str, str], int]:
        counted.append(pool_id)
        return await usage(conn, pool_id)

    monkeypatch.setattr(repository, "usage", counting)
    crowd = [world.allocator.hold(owner(n), [world.pool_id]) for n in range(500)]
    answers = await asyncio.gather(*crowd, return_exceptions=True)
    assert sum(isinstance(answer, Exhausted) for answer in answers) == 498
    assert len(counted) <= 3, "the pool is counted for a turn of logins, not for each"


async def test_a_login_that_two_processes_decide_at_once_is_given_one_address(world: PoolWorld) -> None:
    """A NAS that repeats its Access-Request from another port, or sends it to both servers, meets two processes."""
    await world.create()
    other = Allocator(world.database, world.clock)
    for turn in range(8):
        owners = [owner(100 * turn + n) for n in range(10)]
        both = [asyncio.gather(*(one.hold(who, [world.pool_id]) for who in owners)) for one in (world.allocator, other)]
        first, second = await asyncio.gather(*both)
        assert first == second
    assert (await world.states())["held"] == 80


async def test_the_same_subscriber_gets_the_last_address_back_while_it_is_free(world: PoolWorld) -> None:
    await world.create()
    mine = await world.hold()
    await world.account("start", mine)
    await world.account("stop", mine, at=10)
    assert (await world.lease(mine)).state == rules.FREE
    others = set(await asyncio.gather(*(world.hold(owner(n)) for n in range(1, 126))))
    assert mine not in others, "those that were free longest are given first"
    assert await world.hold() == mine
    assert await world.states() == {rules.HELD: 126}


async def test_a_hold_becomes_a_lease_with_the_start_and_is_free_with_the_stop(world: PoolWorld) -> None:
    await world.create()
    address = await world.hold()
    assert (await world.lease(address)).state == rules.HELD
    await world.account("start", address)
    lease = await world.lease(address)
    assert (lease.state, lease.session_key) == (rules.LEASED, (await world.bench.one()).session_key)
    world.clock.advance(timedelta(hours=5))
    await world.keeper.sweep()
    assert (await world.lease(address)).state == rules.LEASED, "sessions hold, not the clock"
    await world.account("stop", address, at=5 * 3600)
    assert (await world.lease(address)).state == rules.FREE


async def test_t23_a_leased_prefix_is_found_by_whois_though_accounting_never_names_it(world: PoolWorld) -> None:
    await world.create("2001:db8:4000::/48", "delegated", 56)
    prefix = await world.hold()
    for kind, at in (("start", 0), ("stop", 60)):
        await world.bench.send(accounting(kind, at=T0 + at, more=MAC))
        await world.keeper.follow()
    whois = Whois(world.database, world.clock, world.bench.reader)
    held = {}
    for at in (-1, 0, 59, 60):
        asked = datetime.fromtimestamp(T0 + at, UTC)
        found = await whois.ask(prefix.replace("/56", "7"), None, asked, actor="user:test")
        held[at] = [(holder.username, holder.kind, len(holder.evidence)) for holder in found]
    mine = [("anna", "delegated-prefix", 2)]
    assert held == {-1: [], 0: mine, 59: mine, 60: []}


async def test_dialling_again_before_the_stop_gets_the_same_address_and_the_late_stop_does_not_free_it(
    world: PoolWorld,
) -> None:
    await world.create()
    address = await world.hold()
    await world.account("start", address)
    world.clock.advance(timedelta(seconds=100))
    assert await world.hold(replace(ANNA, grant_id="2" * 32)) == address
    await world.account("start", address, b"0002", at=101)
    await world.account("stop", address, b"0001", at=102)
    lease = await world.lease(address)
    assert (lease.state, lease.session_key) == (rules.LEASED, (await world.bench.one(b"0002")).session_key)
    await world.account("stop", address, b"0002", at=103)
    assert (await world.lease(address)).state == rules.FREE


async def test_a_restarted_nas_frees_what_its_sessions_had_once_they_are_seen_to_be_gone(world: PoolWorld) -> None:
    await world.create()
    address = await world.hold()
    await world.account("start", address)
    await world.bench.send(accounting("on", None, at=T0 + 50))
    world.clock.advance(timedelta(seconds=120))
    await world.bench.recorder.sweep()
    await world.bench.send_nothing()
    await world.keeper.sweep()
    assert (await world.bench.one()).end_cause == "nas-restart"
    assert (await world.lease(address)).state == rules.FREE


async def test_a_session_that_was_thought_dead_and_is_not_has_its_address_again(world: PoolWorld) -> None:
    await world.create()
    address = await world.hold()
    await world.account("start", address)
    world.clock.advance(timedelta(seconds=3 * 300 + 1))
    await world.bench.recorder.sweep()
    await world.bench.send_nothing()
    await world.keeper.sweep()
    assert (await world.lease(address)).state == rules.FREE
    await world.account("interim", address, at=3 * 300 + 10)
    assert (await world.lease(address)).state == rules.LEASED


async def test_an_accept_that_nobody_used_costs_the_pool_its_hold_time_only(world: PoolWorld) -> None:
    await world.create("192.0.2.1-192.0.2.1")
    assert await world.hold(owner(1)) == "192.0.2.1"
    with pytest.raises(Exhausted, match="0 are leased and 1 held"):
        await world.hold(owner(2))
    world.clock.advance(timedelta(seconds=61))
    assert await world.hold(owner(2)) == "192.0.2.1"


async def test_what_a_killed_process_was_not_told_of_is_found_in_the_tables(world: PoolWorld) -> None:
    """The Start was stored and the process died: nobody was told, and the hold ran out."""
    await world.create("192.0.2.1-192.0.2.1")
    world.bench.recorder.on_turned = None
    await world.hold()
    await world.account("start", "192.0.2.1")
    world.clock.advance(timedelta(seconds=100))
    with pytest.raises(Exhausted):
        await world.hold(owner(2))
    await world.keeper.sweep()
    assert (await world.lease("192.0.2.1")).state == rules.LEASED
    assert ("homes", "ipv4", rules.LEASED, 1) in world.keeper.usage
    await world.account("stop", "192.0.2.1", at=101)
    await world.keeper.sweep()
    assert await world.hold(owner(2)) == "192.0.2.1"


async def test_retransmissions_under_another_identifier_do_not_use_the_pool_up(world: PoolWorld) -> None:
    await world.create()
    answers = await asyncio.gather(*(world.hold(replace(ANNA, grant_id=f"{n:032x}")) for n in range(20)))
    assert len(set(answers)) == 1


async def fix(world: PoolWorld, address: str) -> None:
    """Give it to a subscriber for good."""
    async with world.database.begin() as conn:
        await conn.execute(
            text(
                "INSERT INTO radius_subscriber (username, service_id, password, profile_name, downstream_bps,"
                " upstream_bps, framed_ipv4, enabled, withdrawn, revision, updated_at)"
                f" VALUES ('fixed', '{'9' * 32}', '', 'gold', 1, 1, '{address}', true, false, 1, 0)"
            )
        )


async def test_what_a_subscriber_has_for_good_is_given_to_nobody(world: PoolWorld) -> None:
    await world.create("192.0.2.1-192.0.2.2")
    await fix(world, "192.0.2.1")
    assert await world.hold(owner(1)) == "192.0.2.2"
    with pytest.raises(Exhausted):
        await world.hold(owner(2))


async def test_nobody_comes_back_to_an_address_that_was_given_away_for_good(world: PoolWorld) -> None:
    await world.create()
    mine = await world.hold()
    await world.account("start", mine)
    await world.account("stop", mine, at=10)
    await fix(world, mine)
    assert await world.hold() != mine


async def test_a_login_gets_all_it_wants_or_nothing(world: PoolWorld) -> None:
    await world.create()
    prefixes = await world.create("2001:db8::/56", "delegated", 56)
    wanted = [world.pool_id, prefixes.pool.pool_id]
    both = await world.allocator.hold(owner(1), wanted)
    assert both == {wanted[0]: "192.0.2.1", wanted[1]: "2001:db8::/56"}
    with pytest.raises(Exhausted, match="of 1 addresses"):
        await world.allocator.hold(owner(2), wanted)
    assert await world.states() == {rules.HELD: 1, rules.FREE: 125}


async def test_addresses_of_a_great_pool_get_rows_when_they_are_needed(world: PoolWorld) -> None:
    await world.create("2001:db8::/48", "delegated", 56)
    async with world.database.begin() as conn:
        await conn.execute(text("UPDATE radius_pool_lease SET state = 'leased'"))
    assert await world.hold(owner(1)) == "2001:db8:0:8000::/56"
    state = await world.service.show(world.pool_id)
    assert (state.size, state.held, state.leased) == (256, 1, 128)


async def test_an_address_that_another_service_uses_is_told_of(world: PoolWorld) -> None:
    await world.create()
    address = await world.hold(owner(7))
    await world.account("start", address)
    await world.keeper.sweep()
    assert world.keeper.strangers == 1


async def test_a_pool_in_use_is_not_withdrawn_and_an_address_is_in_one_pool(world: PoolWorld) -> None:
    await world.create()
    with pytest.raises(Conflict, match="a pool 'homes' of kind ipv4"):
        await world.create("198.51.100.0/24")
    with pytest.raises(Conflict, match="belongs to pool 'homes'"):
        await world.service.create(
            name="more", kind="ipv4", ranges=["192.0.2.64/28"], prefix_length=32, hold_s=60, actor="user:test"
        )
    address = await world.hold()
    with pytest.raises(Conflict, match="1 addresses of pool 'homes' are in use"):
        await world.service.withdraw(world.pool_id, actor="user:test")
    await world.service.free(world.pool_id, address, actor="user:test", reason="the line was moved")
    await world.service.withdraw(world.pool_id, actor="user:test")
    assert not world.directory.has_pools
    with pytest.raises(Exhausted, match="withdrawn"):
        await world.hold()


async def test_a_range_is_added_to_a_full_pool(world: PoolWorld) -> None:
    await world.create("192.0.2.1-192.0.2.1")
    await world.hold(owner(1))
    with pytest.raises(Exhausted):
        await world.hold(owner(2))
    await world.service.change(world.pool_id, more_ranges=["198.51.100.1-198.51.100.1"], actor="user:test")
    assert await world.hold(owner(2)) == "198.51.100.1"
