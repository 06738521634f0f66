"""A NAS that we did not write: strongSwan logs a user in by PAP, accounts for it, and takes our CoA and Disconnect.

client ── IKEv1, XAuth ──→ charon ── Access-Request, Accounting ──→ us
       ── ESP, 100 kB ──→         ←── CoA, Disconnect ──
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import text

from controller.domain.clock import SystemClock
from controller.domain.ports import Secret
from controller.domain.service import SpeedProfile
from controller.store.engine import Database
from radius.accounting.views import SessionFilter, SessionRepository, SessionView
from radius.room import RadiusRoom
from radius.vendors.mark import read_class
from tests.support import namespaces, strongswan
from tests.support.radius import EPHEMERAL, GOLD, SECRET, SERVICE, recording_room, register
from tests.support.strongswan import Charon, charon

_reason = strongswan.why_not() or namespaces.why_not()
pytestmark = pytest.mark.skipif(_reason is not None, reason=str(_reason))

SILVER = SpeedProfile("silver-50", 50_000_000, 10_000_000)
SESSION_TIMEOUT_S = 7_200


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    """SQLite alone: this test is about what a NAS says and takes."""
    return sqlite_database


@dataclass
class Vpn:
    room: RadiusRoom
    sessions: SessionRepository
    gateway: Charon
    client: Charon

    async def session(self, wanted: Callable[[SessionView], bool]) -> SessionView:
        """The one session, when it is as wanted."""
        async with asyncio.timeout(15):
            while True:
                found = await self.sessions.find(SessionFilter(), before=None, limit=10)
                if found and wanted(found[0]):
                    assert len(found) == 1
                    return found[0]
                await asyncio.sleep(0.05)


@asynccontextmanager
async def vpn(
    database: Database,
    directory: Path,
    at_gateway: str = strongswan.GATEWAY_CONNECTION,
    at_client: str = strongswan.client_connection("anna", "hunter2"),
) -> AsyncIterator[Vpn]:
    """A room with subscriber anna and NAS 127.0.0.1 of vendor strongswan, the gateway and its client."""
    settings = replace(EPHEMERAL, session_timeout_s=SESSION_TIMEOUT_S, coa_first_timeout_s=1.0)
    async with AsyncExitStack() as stack:
        stack.enter_context(namespaces.network_namespace())
        running = await stack.enter_async_context(recording_room(database, directory, settings))
        await register(
            running.room,
            address="127.0.0.1",
            vendor="strongswan",
            coa_port=strongswan.DAE_PORT,
            sign_dynamic_requests=True,
        )
        listener = running.room.listener
        radius = strongswan.gateway_settings(listener.auth_port, listener.acct_port, SECRET.decode())
        gateway = await stack.enter_async_context(charon(directory / "gateway", radius, at_gateway, apart=False))
        client = await stack.enter_async_context(charon(directory / "client", "", at_client, apart=True))
        strongswan.connect(client)
        yield Vpn(running.room, running.sessions, gateway, client)


async def test_a_vpn_user_is_let_in_accounted_for_changed_and_put_out(database: Database, tmp_path: Path) -> None:
    async with vpn(database, tmp_path) as running:
        gateway, client = running.gateway, running.client
        for daemon in (gateway, client):
            loaded = await daemon.control("--load-all", "--file", str(daemon.directory / "swanctl.conf"), "--noprompt")
            assert "successfully loaded 1 connections" in loaded
        dialled = await client.control("--initiate", "--child", "net", "--timeout", "15")
        assert "initiate completed successfully" in dialled, dialled + gateway.log()
        assert running.room.counters.total("accept") == 1

        live = await running.session(lambda session: session.is_live)
        assert (live.username, live.service_id, live.framed_ipv4) == ("anna", SERVICE, "100.64.0.7")
        addresses = json.loads(client.inside("ip", "-j", "addr"))
        assert "100.64.0.7" in {a["local"] for link in addresses for a in link["addr_info"]}, "pools = radius"
        client.inside("ping", "-q", "-c", "50", "-i", "0.002", "-s", "1000", strongswan.INSIDE)

        await _change_is_acknowledged_and_not_believed(running, live)

        ended = await running.room.sessions.disconnect(live.session_key, actor="user:test")
        assert ended.result == "ack", gateway.log()
        stopped = await running.session(lambda session: not session.is_live)
        assert stopped.session_key == live.session_key
        assert not stopped.is_provisional, "it ended with its Stop"
        # 50 packets of 1000 octets each way, each with 28 of IP and ICMP.
        assert 50 * 1028 <= stopped.upstream_octets < 60 * 1100
        assert 50 * 1028 <= stopped.downstream_octets < 60 * 1100
        async with database.read() as conn:
            last_class = (await conn.execute(text("SELECT last_class FROM radius_session"))).scalar_one()
        mark = read_class(bytes(last_class))
        assert mark is not None
        assert mark.profile_name == GOLD.name, "it acknowledged the new Class and sent the old one"


@pytest.mark.parametrize("password", ["hunter2", "hunter3"])
async def test_a_vpn_user_of_ikev2_proves_itself_by_eap_and_both_ends_have_our_keys(
    database: Database, tmp_path: Path, password: str
) -> None:
    at_client = strongswan.client_ikev2("anna", password)
    async with vpn(database, tmp_path, strongswan.GATEWAY_IKEV2, at_client) as running:
        await _given_an_address_of_our_pool(running.room)
        for daemon in (running.gateway, running.client):
            loaded = await daemon.control("--load-all", "--file", str(daemon.directory / "swanctl.conf"), "--noprompt")
            assert "successfully loaded 1 connections" in loaded, loaded
        dialled = await running.client.control("--initiate", "--child", "net", "--timeout", "15")
        counters = running.room.counters
        if password != "hunter2":
            # charon hangs up at our Failure-Request and does not wait for the reject behind it.
            assert "initiate failed" in dialled
            assert "ERROR_AUTHENTICATION_FAILURE" in running.client.log()
            assert counters.total("accept") == 0
            return
        # The last IKE_AUTH messages are signed with the MSK: the gateway's is what our Access-Accept brought it.
        assert "initiate completed successfully" in dialled, dialled + running.gateway.log()
        assert (counters.total("accept"), counters.total("reject")) == (1, 0)
        live = await running.session(lambda session: session.is_live)
        assert (live.username, live.service_id, live.framed_ipv4) == ("anna", SERVICE, "100.64.9.9")
        addresses = json.loads(running.client.inside("ip", "-j", "addr"))
        assert "100.64.9.9" in {a["local"] for link in addresses for a in link["addr_info"]}, "pools = radius"
        await running.room.leases.sweep()
        (pool,) = await running.room.pools.list(after=None, limit=9)
        assert pool.leased == 1, "its Start made the held address a leased one"
        ended = await running.room.sessions.disconnect(live.session_key, actor="user:test")
        assert ended.result == "ack", running.gateway.log()
        await running.session(lambda session: not session.is_live)
        await running.room.leases.sweep()
        (pool,) = await running.room.pools.list(after=None, limit=9)
        assert pool.leased == 0, "and its Stop gave it back"


async def _given_an_address_of_our_pool(room: RadiusRoom) -> None:
    """anna has no address of her own any more: logins get the only one of a pool."""
    await room.pools.create(
        name="vpn", kind="ipv4", ranges=["100.64.9.9-100.64.9.9"], prefix_length=32, hold_s=60, actor="user:test"
    )
    await room.access.put_offering(GOLD.name, {"pool": "vpn"}, actor="user:test")
    await room.subscribers.put_subscriber(
        service_id=SERVICE, username="anna", password=Secret("hunter2"), profile=GOLD, framed_ipv4=None, enabled=True,
        actor="user:test",
    )  # fmt: skip


async def _change_is_acknowledged_and_not_believed(running: Vpn, live: SessionView) -> None:
    """charon takes Session-Timeout from a CoA and nothing else: its ACK to a new plan is no proof of it."""
    changed = await running.room.sessions.change_speed(live.session_key, SILVER)
    assert changed.result == "ack", running.gateway.log()
    assert f"applying {SESSION_TIMEOUT_S}s lifetime to 1 IKE_SA" in running.gateway.log()
    assert await running.room.sessions.observed_rate(live.session_key, SystemClock().now()) is None
