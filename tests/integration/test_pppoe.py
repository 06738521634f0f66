"""A PPPoE BRAS that we did not write logs subscribers in by PAP, CHAP and MS-CHAP and counts real traffic.

pppd ── PPPoE ──→ pppoe-server, pppd, radius.so ── Access-Request, Start, Stop ──→ us
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from controller.store.engine import Database
from radius.accounting.views import SessionFilter
from tests.support import namespaces, pppoe
from tests.support.pppoe import Dial
from tests.support.radius import EPHEMERAL, SECRET, SERVICE, recording_room, register

_reason = pppoe.why_not() or namespaces.why_not()
pytestmark = pytest.mark.skipif(_reason is not None, reason=str(_reason))


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    """SQLite alone: this test is about what a BRAS says."""
    return sqlite_database


async def test_pppoe_subscribers_are_let_in_by_every_method_and_accounted_for_to_the_octet(
    database: Database, tmp_path: Path, on_disk: Path
) -> None:
    dials = [
        Dial("pap", "anna", "hunter2"),
        Dial("pap", "anna", "wrong"),
        Dial("chap", "anna", "hunter2"),
        Dial("mschap", "anna", "hunter2"),
        Dial("mschap-v2", "anna", "hunter2"),
    ]
    with namespaces.network_namespace():
        pppoe.connect()
        async with recording_room(database, tmp_path, replace(EPHEMERAL, host=pppoe.HOST)) as running:
            await register(running.room, address=pppoe.BRAS)
            listener = running.room.listener
            console = await pppoe.dial(on_disk / "bras", listener.auth_port, listener.acct_port, SECRET.decode(), dials)
            counters = running.room.counters
            ended = await running.sessions.find(SessionFilter(), before=None, limit=10)
    said = [line for line in console.splitlines() if line.startswith(("in:", "refused:"))]
    assert said == [f"{'refused' if dial.password == 'wrong' else 'in'}: {dial.method} anna" for dial in dials], console
    assert "inet 100.64.0.7 peer 10.6.0.1" in console, "Framed-IP-Address of the Accept"
    assert (counters.total("accept"), counters.total("reject"), counters.total("response")) == (4, 1, 8)
    assert len(ended) == 4
    for session in ended:
        assert (session.username, session.service_id, session.is_live) == ("anna", SERVICE, False)
        assert (session.end_cause, session.is_provisional) == ("user-request", False)
    # IP packets without their PPP headers, in both directions: pings and their echoes. On a busy machine pppd begins to
    # count when some have passed already, so what the BRAS itself says it counted is what must have arrived.
    counted = re.findall(r"Sent (\d+) bytes, received (\d+) bytes", (on_disk / "bras" / "server.log").read_text())
    for session, (sent, received) in zip(reversed(ended), counted, strict=True):
        assert (session.downstream_octets, session.upstream_octets) == (int(sent), int(received))
        assert session.upstream_octets in range(0, pppoe.OCTETS + 1, pppoe.PACKET_OCTETS)
    assert any(session.upstream_octets for session in ended)
    enabled = "MPPE 128-bit stateless compression enabled"
    assert enabled in (on_disk / "bras" / "server.log").read_text(), "the keys of the Accept, in the BRAS's kernel"
    assert enabled in (on_disk / "bras" / "client.log").read_text(), "and the same ones in the subscriber's"
