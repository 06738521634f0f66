"""A NAS that we did not write: ocserv logs a VPN user in by PAP and accounts for what it carried.

openconnect ── TLS ──→ ocserv ── Access-Request, Accounting Start, Interim, Stop ──→ us
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from controller.store.engine import Database
from radius.accounting.views import SessionFilter, SessionView
from tests.support import namespaces, ocserv
from tests.support.radius import SECRET, SERVICE, RecordingRoom, recording_room, register

_reason = ocserv.why_not() or namespaces.why_not()
pytestmark = pytest.mark.skipif(_reason is not None, reason=str(_reason))


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    """SQLite alone: this test is about what a NAS says and takes."""
    return sqlite_database


@dataclass
class Vpn:
    running: RecordingRoom
    gateway: ocserv.Gateway
    pid: int
    """Of the client's side of the wire."""

    async def session(self, wanted: Callable[[SessionView], bool]) -> SessionView:
        """The one session, when it is as wanted."""
        async with asyncio.timeout(15):
            while True:
                found = await self.running.sessions.find(SessionFilter(), before=None, limit=10)
                if found and wanted(found[0]):
                    assert len(found) == 1
                    return found[0]
                await asyncio.sleep(0.05)

    def ping(self) -> None:
        """50 packets of 1000 octets each way, each with 28 of IP and ICMP."""
        ocserv.inside(self.pid, "ping", "-q", "-c", "50", "-i", "0.002", "-s", "1000", ocserv.INSIDE)


@asynccontextmanager
async def vpn(database: Database, directory: Path, *, told_by_radius: bool) -> AsyncIterator[Vpn]:
    async with AsyncExitStack() as stack:
        stack.enter_context(namespaces.network_namespace())
        running = await stack.enter_async_context(recording_room(database, directory))
        await register(running.room, address="127.0.0.1", vendor="rfc")
        listener = running.room.listener
        ports = {"auth_port": listener.auth_port, "acct_port": listener.acct_port}
        pid = await stack.enter_async_context(ocserv.apart(directory))
        gateway = ocserv.gateway(directory, **ports, secret=SECRET.decode(), told_by_radius=told_by_radius)
        yield Vpn(running, await stack.enter_async_context(gateway), pid)


async def test_a_vpn_user_is_let_in_at_the_address_we_gave_and_accounted_for(
    database: Database, tmp_path: Path
) -> None:
    async with vpn(database, tmp_path, told_by_radius=True) as made:
        counters = made.running.room.counters
        async with ocserv.client(tmp_path, made.pid, made.gateway, "anna", "hunter3") as stranger:
            await stranger.said("Login failed")
        assert (counters.total("accept"), counters.total("reject")) == (0, 1), made.gateway.program.log()

        async with ocserv.client(tmp_path, made.pid, made.gateway, "anna", "hunter2") as client:
            await client.said("Configured as 100.64.0.7")
            await ocserv.reaches_inside(made.pid)
            live = await made.session(lambda session: session.is_live)
            assert (live.username, live.service_id) == ("anna", SERVICE)
            made.ping()
            # ocserv opens no port for dynamic requests: what was asked for is not believed to have happened.
            asked = await made.running.room.sessions.disconnect(live.session_key, actor="user:test")
            assert asked.result == "timeout"
            assert (await made.session(lambda _: True)).is_live
        stopped = await made.session(lambda session: not session.is_live)
        assert stopped.session_key == live.session_key
        assert not stopped.is_provisional, "it ended with its Stop"
        assert 50 * 1028 <= stopped.upstream_octets < 60 * 1100
        assert 50 * 1028 <= stopped.downstream_octets < 60 * 1100


@pytest.mark.long
async def test_an_interim_tells_real_octets(database: Database, tmp_path: Path) -> None:
    """ocserv looks every ten seconds whether one is due."""
    async with (
        vpn(database, tmp_path, told_by_radius=False) as made,
        ocserv.client(tmp_path, made.pid, made.gateway, "anna", "hunter2") as client,
    ):
        await client.said("Configured as")
        await ocserv.reaches_inside(made.pid)
        made.ping()
        told = await made.session(lambda session: session.upstream_octets >= 50 * 1028)
        assert told.is_live, "an Interim told it"
