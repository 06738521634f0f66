"""A NAS that we did not write: hostapd opens a switch port by 802.1X, accounts for it, and closes it at our Disconnect.

wpa_supplicant ── EAPOL ──→ hostapd ── Access-Request with EAP-Message, Accounting ──→ us
                                    ←── Disconnect-Request by Acct-Session-Id ──
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from controller.store.engine import Database
from radius.accounting.views import SessionFilter, SessionRepository, SessionView
from tests.support import hostapd, namespaces
from tests.support.pki import Authority, eap_directory
from tests.support.radius import EPHEMERAL, SECRET, SERVICE, recording_room, register

_reason = hostapd.why_not() or namespaces.why_not()
pytestmark = pytest.mark.skipif(_reason is not None, reason=str(_reason))


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    """SQLite alone: this test is about what a NAS says and takes."""
    return sqlite_database


async def _session(sessions: SessionRepository, wanted: Callable[[SessionView], bool]) -> SessionView:
    """The first session that is as wanted."""
    async with asyncio.timeout(15):
        while True:
            for session in await sessions.find(SessionFilter(), before=None, limit=10):
                if wanted(session):
                    return session
            await asyncio.sleep(0.05)


async def test_a_port_is_opened_accounted_under_the_name_inside_and_closed(database: Database, tmp_path: Path) -> None:
    eap = eap_directory(tmp_path / "eap", Authority())
    async with AsyncExitStack() as stack:
        stack.enter_context(namespaces.network_namespace())
        settings = replace(EPHEMERAL, eap_dir=eap, coa_first_timeout_s=1.0)
        running = await stack.enter_async_context(recording_room(database, tmp_path, settings))
        await register(
            running.room, address="127.0.0.1", vendor="rfc", coa_port=hostapd.DAE_PORT, sign_dynamic_requests=True
        )
        listener = running.room.listener
        ports = {"auth_port": listener.auth_port, "acct_port": listener.acct_port}
        switch = await stack.enter_async_context(hostapd.switch(tmp_path, **ports, secret=SECRET.decode()))
        device = await stack.enter_async_context(
            hostapd.device(
                tmp_path,
                "PEAP",
                "anna",
                anonymous_identity="anonymous@example.net",
                password="hunter2",
                phase2="auth=MSCHAPV2",
                ca_cert=str(eap / "ca.pem"),
            )
        )
        await device.said("CTRL-EVENT-EAP-SUCCESS")
        live = await _session(running.sessions, lambda session: session.is_live)
        assert (live.username, live.service_id) == ("anna", SERVICE), "not anonymous@example.net"

        ended = await running.room.sessions.disconnect(live.session_key, actor="user:test")
        assert ended.result == "ack", switch.log()
        stopped = await _session(
            running.sessions, lambda session: session.session_key == live.session_key and not session.is_live
        )
        assert not stopped.is_provisional, "it ended with its Stop"
