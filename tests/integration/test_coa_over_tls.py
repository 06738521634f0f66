"""CoA down the TLS connection of a NAS, with a program that nobody here wrote at its other end: FreeRADIUS.

radclient ── UDP ──► FreeRADIUS ══ TLS, it connects ══► we          ◄── CoA-Request, Disconnect-Request
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from controller.domain.ports import CoaOutcome
from controller.store.engine import Database
from radius.nas_registry import NasChange
from radius.protocol.codes import COA_REQUEST, DISCONNECT_REQUEST, Attr
from radius.protocol.packet import attribute
from radius.radsec.settings import RadsecSettings
from tests.support import freeradius
from tests.support.pki import Authority
from tests.support.radclient import MISSING, RADCLIENT, radclient
from tests.support.radius import EPHEMERAL, SECRET, running_room

pytestmark = [
    pytest.mark.skipif(freeradius.FREERADIUS is None, reason=freeradius.MISSING),
    pytest.mark.skipif(RADCLIENT is None, reason=MISSING),
]

LOGIN = 'User-Name = "anna"\nUser-Password = "hunter2"\n'


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    """SQLite alone: these tests are about sockets."""
    return sqlite_database


async def test_freeradius_takes_coa_and_disconnect_down_the_connection_that_it_opened(
    database: Database, tmp_path: Path
) -> None:
    authority, both = Authority(), [x509.OID_SERVER_AUTH, x509.OID_CLIENT_AUTH]
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
        names: list[x509.GeneralName] = [x509.DNSName(f"{name}.example.net")]
        authority.issue(name, alternative=names, usage=both).write(tmp_path / name, "server")
        (tmp_path / name / "ca.pem").write_bytes(authority.pem)
    settings = replace(EPHEMERAL, radsec=RadsecSettings(directory=tmp_path / "ours", port=0), coa_tls_timeout_s=5)
    async with running_room(database, tmp_path, settings) as running:
        radsec, [nas] = running.room.transports.radsec, await running.room.nas.list(after=None, limit=2)
        assert radsec is not None
        await running.room.nas.change(nas.nas_id, NasChange(tls_identity="dns:theirs.example.net"), actor="test")
        async with freeradius.over_tls(tmp_path / "theirs", radsec.port, client_secret=SECRET.decode()) as theirs:
            answer = await asyncio.to_thread(radclient, theirs.auth_port, "auth", LOGIN, SECRET.decode())
            assert "Access-Accept" in answer, theirs.log[-3000:]
            known, ask = running.room.registry.by_id[nas.nas_id], running.room.coa.send
            for code in (COA_REQUEST, DISCONNECT_REQUEST):
                outcome = await ask(known, code, attribute(Attr.ACCT_SESSION_ID, b"s-1"))
                assert outcome == CoaOutcome("ack"), theirs.log[-3000:]
            refused = await ask(known, COA_REQUEST, attribute(Attr.ACCT_SESSION_ID, b"unknown"))
            assert (refused.result, refused.error_cause) == ("nak", 503), theirs.log[-3000:]
            for name in ("CoA-Request", "Disconnect-Request"):
                _, _, shown = theirs.log.partition(f"Received {name}")
                assert 'Acct-Session-Id = "s-1"' in shown[:400], theirs.log[-3000:]
                assert "Event-Timestamp" in shown[:400]
