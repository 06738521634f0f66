"""CoA through another network (RFC 8559), with a BRAS at its end: from radclient, and from a controller of ours.

home server ── CoA, Operator-NAS-Identifier ──► visited network ── CoA ──► BRAS
     ▲──────────────── accounting, mirrored ───────────┴──────────────────────┘
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from controller.domain.ports import Secret
from controller.domain.service import SpeedProfile
from controller.store.engine import Database
from lab.bras.nas import Bras, BrasSettings
from lab.bras.session import Line, Session
from lab.clock import now
from radius.dynamic.model import State
from radius.dynamic.repository import Asked
from radius.room import RadiusRoom
from tests.support.radclient import MISSING, RADCLIENT, radclient
from tests.support.radius import EPHEMERAL, GOLD, SECRET, SERVICE, RecordingRoom, recording_room

US, USER = "carrier.example", "anna@isp-b.example"
SILVER = SpeedProfile("silver-50", 50_000_000, 10_000_000)
BETWEEN = "the secret between both networks"


@dataclass
class Roaming:
    """anna of isp-b is in at a BRAS of the carrier."""

    home: RecordingRoom
    visited: RadiusRoom
    bras: Bras
    session: Session

    async def key(self) -> str:
        """Her session as the home network knows it, once it does."""
        async with asyncio.timeout(10):
            while not (keys := await self.home.room.sessions.live_sessions(SERVICE)):  # noqa: ASYNC110 - a database tells
                await asyncio.sleep(0.02)
        return keys[0]

    async def until_proved(self) -> None:
        changes = self.home.room.sessions.changes
        async with asyncio.timeout(15):
            while (await changes.page(Asked(), before=None, limit=1))[0].state is not State.PROVED:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


@asynccontextmanager
async def roaming(directory: Path, template: Path) -> AsyncIterator[Roaming]:
    async with AsyncExitStack() as stack:
        for name in ("home", "visited"):
            (directory / name).mkdir()
            shutil.copy(template, directory / name / "headend.db")
        home = await stack.enter_async_context(_room(directory / "home"))
        visited = await stack.enter_async_context(_room(directory / "visited", dynamic_port=0, operator_name=US))
        await _introduce(home.room, visited.room)
        listener = visited.room.listener
        settings = BrasSettings(
            "127.0.0.2", SECRET, ("127.0.0.1", listener.auth_port), ("127.0.0.1", listener.acct_port),
            directory / "bras.json", reports_rate=True,
        )  # fmt: skip
        bras = Bras(settings, [Line(USER, "hunter2", "02:00:00:00:00:01", 1, "ether1")], now)
        bras.bind()
        stack.push_async_callback(bras.close)
        await visited.room.nas.register(
            name="bras-1", address="127.0.0.2", secret=Secret(SECRET.decode()), vendor="mikrotik",
            coa_port=bras.coa_port, actor="user:test",
        )  # fmt: skip
        yield Roaming(home, visited.room, bras, await bras.login(USER, wait_for_start=True))


@asynccontextmanager
async def _room(directory: Path, **changes: object) -> AsyncIterator[RecordingRoom]:
    database = Database(f"sqlite+aiosqlite:///{directory}/headend.db")
    settings = replace(EPHEMERAL, coa_first_timeout_s=0.5, refresh_s=0.1, **changes)
    async with recording_room(database, directory, settings) as running:
        task = asyncio.create_task(running.room.run())
        try:
            yield running
        finally:
            task.cancel()
            await asyncio.wait([task])
            await database.close()


async def _introduce(home: RadiusRoom, visited: RadiusRoom) -> None:
    await home.nas.register(
        name="carrier", address="127.0.0.1", secret=Secret(BETWEEN), vendor="mikrotik",
        coa_port=visited.dynamic.port, actor="user:test",
    )  # fmt: skip
    await home.subscribers.put_subscriber(
        service_id=SERVICE, username=USER, password=Secret("hunter2"), profile=GOLD, framed_ipv4=None, enabled=True,
        actor="user:test",
    )  # fmt: skip
    server = {
        "pool": "isp-b", "transport": "udp", "host": "127.0.0.1", "auth_port": home.listener.auth_port,
        "acct_port": home.listener.acct_port, "tls_identity": "", "priority": 1, "balanced": False,
        "status_checks": False, "require_message_authenticator": False, "enabled": True,
    }  # fmt: skip
    await visited.transports.proxy.put_server("isp-b", server, Secret(BETWEEN), actor="user:test")
    realm = {"pool": "isp-b", "accounting": "mirror", "strips": False, "request_drops": [], "reply_allows": None}
    await visited.transports.proxy.put_realm("isp-b.example", realm, actor="user:test")


async def test_a_home_controller_changes_and_ends_its_users_session_in_another_network(
    tmp_path: Path, sqlite_template: Path
) -> None:
    async with roaming(tmp_path, sqlite_template) as line:
        key, control = await line.key(), line.home.room.sessions
        await line.home.room.visited.write()
        changed = await control.change_speed(key, SILVER)
        assert changed.result == "ack", changed
        assert (line.session.downstream_bps, line.session.upstream_bps) == (50_000_000, 10_000_000)
        await line.bras.interim(line.session)
        await line.until_proved()
        assert (await control.disconnect(key, actor="user:test")).result == "ack"
        await line.until_proved()
        assert line.bras.sessions == {}


@pytest.mark.skipif(RADCLIENT is None, reason=MISSING)
async def test_radclient_as_home_server_is_answered_with_what_the_bras_said(
    tmp_path: Path, sqlite_template: Path
) -> None:
    async with roaming(tmp_path, sqlite_template) as line:
        [nas] = await line.visited.nas.list(after=None, limit=10)
        token = "0x08" + nas.nas_id.encode().hex()

        async def ask(command: str, session_id: str, user: str = USER, operator: str = US, at: float = 0) -> str:
            stamp = int(at or time.time())
            request = (
                f'User-Name = "{user}"\nAcct-Session-Id = "{session_id}"\nEvent-Timestamp = {stamp}\n'
                f"Attr-126 = 0x31{operator.encode().hex()}\nAttr-241 = {token}\nProxy-State = 0x7177\n"
            )
            return await asyncio.to_thread(radclient, line.visited.dynamic.port, command, request, BETWEEN)

        session_id = line.session.acct_session_id
        unknown = await ask("disconnect", "no such session")
        assert "Received Disconnect-NAK" in unknown
        assert "Session-Context-Not-Found" in unknown
        assert "Proxy-State = 0x7177" in unknown
        for refused in (
            await ask("coa", session_id, user="eve@elsewhere.example"),
            await ask("coa", session_id, operator="other.example"),
        ):
            assert "Received CoA-NAK" in refused
            assert "Proxy-Request-Not-Routable" in refused
        assert "No reply" in await ask("disconnect", session_id, at=time.time() - 400)
        assert len(line.bras.sessions) == 1
        assert "Received Disconnect-ACK" in await ask("disconnect", session_id)
        assert line.bras.sessions == {}
