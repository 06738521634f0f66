"""RADIUS over TLS between two of ours, version 1.0 and 1.1: who is let in, how much is outstanding, what ends it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography import x509

from controller.store.engine import Database
from radius.nas_registry import NasChange
from radius.protocol.codes import (
    ACCESS_ACCEPT,
    ACCESS_REJECT,
    ACCESS_REQUEST,
    ACCOUNTING_REQUEST,
    ACCOUNTING_RESPONSE,
    STATUS_SERVER,
    Attr,
)
from radius.protocol.version11 import ALPN, ALPN_CLASSIC
from radius.radsec.certificates import RadsecCertificates
from radius.radsec.client import TlsUpstream
from radius.radsec.settings import RadsecSettings
from tests.support.pki import DAY, Authority, Issued
from tests.support.radius import EPHEMERAL, RunningRoom, running_room
from tests.support.until import until

LOGIN = [(1, b"anna"), (2, b"hunter2")]
START = [(40, b"\0\0\0\1"), (44, b"session"), (1, b"anna")]


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    """SQLite alone: these tests are about sockets."""
    return sqlite_database


@dataclass
class Pki:
    """A CA, the directory of the server, and directories of clients."""

    root: Path
    authority: Authority

    def directory(self, name: str, issued: Issued, *, crl: bytes = b"", authority: Authority | None = None) -> Path:
        made = self.root / name
        made.mkdir(exist_ok=True)
        issued.write(made, "server")
        (made / "ca.pem").write_bytes((authority or self.authority).pem)
        if crl:
            (made / "crl.pem").write_bytes(crl)
        return made

    def server(self, *, crl: bytes = b"") -> Path:
        names: list[x509.GeneralName] = [x509.DNSName("localhost")]
        return self.directory("server", self.authority.issue("aaa", server=True, alternative=names), crl=crl)

    def client(self, name: str = "bng", *, ends: int = 1) -> Issued:
        return self.authority.issue(name, alternative=[x509.DNSName(f"{name}.example.net")], ends=ends * DAY)


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path, Authority())


@asynccontextmanager
async def serving(
    database: Database, directory: Path, certificates: Path, *, max_connections: int = 100
) -> AsyncIterator[RunningRoom]:
    radsec = RadsecSettings(directory=certificates, port=0, recheck_s=0.05, max_connections=max_connections)
    async with running_room(database, directory, replace(EPHEMERAL, radsec=radsec)) as running:
        nas = (await running.room.nas.list(after=None, limit=1))[0]
        change = NasChange(tls_identity="dns:bng.example.net", require_message_authenticator=True)
        await running.room.nas.change(nas.nas_id, change, actor="test")
        yield running


def client(running: RunningRoom, directory: Path, *versions: str, identity: str = "dns:localhost") -> TlsUpstream:
    radsec = running.room.transports.radsec
    assert radsec is not None
    certificates = RadsecCertificates(directory, versions=versions or (ALPN, ALPN_CLASSIC))
    return TlsUpstream("localhost", radsec.port, certificates, identity, keepalive_s=0.1)


@pytest.mark.parametrize(
    ("versions", "spoken"), [((ALPN_CLASSIC,), "1.0"), ((ALPN, ALPN_CLASSIC), "1.1"), ((ALPN,), "1.1")]
)
async def test_logins_accounting_and_status_over_tls(
    database: Database, pki: Pki, versions: tuple[str, ...], spoken: str
) -> None:
    async with serving(database, pki.root, pki.server()) as running:
        upstream = client(running, pki.directory("client", pki.client()), *versions)
        accepted = await upstream.ask(ACCESS_REQUEST, LOGIN, 5)
        assert accepted.code == ACCESS_ACCEPT
        assert dict(accepted.attributes)[Attr.FRAMED_IP_ADDRESS] == bytes((100, 64, 0, 7))
        rejected = await upstream.ask(ACCESS_REQUEST, [(1, b"anna"), (2, b"wrong")], 5)
        assert rejected.code == ACCESS_REJECT
        assert (await upstream.ask(ACCOUNTING_REQUEST, START, 5)).code == ACCOUNTING_RESPONSE
        assert (await upstream.ask(STATUS_SERVER, [], 5)).code == ACCESS_ACCEPT
        assert (upstream.versions, upstream.open_connections) == ({spoken}, 1)
        assert [packet.get(Attr.ACCT_SESSION_ID) for packet in running.recorder.packets] == [b"session"]
        upstream.close()


async def test_a_trace_shows_what_comes_over_tls_and_why_it_was_refused(database: Database, pki: Pki) -> None:
    async with serving(database, pki.root, pki.server()) as running:
        upstream = client(running, pki.directory("client", pki.client()))
        trace = await running.room.traces.open("anna", seconds=60, packets=10, actor="user:test")
        await upstream.ask(ACCESS_REQUEST, [(1, b"anna"), (2, b"wrong")], 5)
        await upstream.ask(ACCOUNTING_REQUEST, START, 5)
        trace.close()
        shown = [event async for name, event in trace.events() if name == "packet"]
        assert [(event["direction"], event["code"], event["reason"]) for event in shown] == [
            ("in", "Access-Request", ""),
            ("out", "Access-Reject", "wrong password"),
            ("in", "Accounting-Request", "answered when it is stored"),
            ("out", "Accounting-Response", ""),
        ]
        assert running.room.counters.rejects == {("bras", "wrong password"): 1}
        upstream.close()


async def test_rfc9765_a_thousand_requests_are_outstanding_on_one_connection(database: Database, pki: Pki) -> None:
    async with serving(database, pki.root, pki.server()) as running:
        running.recorder.at_once = False
        upstream = client(running, pki.directory("client", pki.client()))
        await upstream.ask(STATUS_SERVER, [], 5)
        records = [[*START[:1], (44, b"%d" % number), (1, b"anna")] for number in range(1_000)]
        asked = [asyncio.create_task(upstream.ask(ACCOUNTING_REQUEST, record, 20)) for record in records]
        await until(lambda: len(running.recorder.packets) == 1_000)
        assert upstream.open_connections == 1
        running.recorder.respond_all()
        assert {reply.code for reply in await asyncio.gather(*asked)} == {ACCOUNTING_RESPONSE}
        upstream.close()


async def test_more_than_256_outstanding_open_further_connections_under_version_1_0(
    database: Database, pki: Pki
) -> None:
    async with serving(database, pki.root, pki.server()) as running:
        running.recorder.at_once = False
        upstream = client(running, pki.directory("client", pki.client()), ALPN_CLASSIC)
        records = [[*START[:1], (44, b"%d" % number), (1, b"anna")] for number in range(300)]
        asked = [asyncio.create_task(upstream.ask(ACCOUNTING_REQUEST, record, 20)) for record in records]
        await until(lambda: len(running.recorder.packets) == 300)
        assert upstream.open_connections == 2
        running.recorder.respond_all()
        assert len(await asyncio.gather(*asked)) == 300
        upstream.close()


async def refused(running: RunningRoom, directory: Path, **options: str) -> Exception:
    upstream = client(running, directory, **options)
    with pytest.raises((OSError, ssl.SSLError)) as caught:
        await upstream.ask(STATUS_SERVER, [], 1)
    upstream.close()
    return caught.value


async def test_a_certificate_that_is_nobodys_is_hung_up_on(database: Database, pki: Pki) -> None:
    async with serving(database, pki.root, pki.server()) as running:
        await refused(running, pki.directory("stranger", pki.client("stranger")))
        assert running.room.counters.total("unknown-nas") == 1


async def test_another_authority_an_expired_and_a_server_certificate_are_refused(database: Database, pki: Pki) -> None:
    async with serving(database, pki.root, pki.server()) as running:
        foreign = Authority("Other CA").issue("bng", alternative=[x509.DNSName("bng.example.net")])
        expired = pki.authority.issue("bng", alternative=[x509.DNSName("bng.example.net")], ends=-DAY / 2, begins=-DAY)
        server = pki.authority.issue("bng", server=True, alternative=[x509.DNSName("bng.example.net")])
        for name, issued in (("foreign", foreign), ("expired", expired), ("server-only", server)):
            await refused(running, pki.directory(name, issued))
        await until(lambda: running.room.counters.total("tls-handshake") == 3)
        radsec = running.room.transports.radsec
        assert radsec is not None
        assert len(radsec) == 0, "none of them has a connection"


async def test_a_revoked_certificate_ends_its_connection_and_gets_no_other(database: Database, pki: Pki) -> None:
    good, directory = pki.client(), pki.server(crl=pki.authority.revocations())
    async with serving(database, pki.root, directory) as running:
        radsec = running.room.transports.radsec
        assert radsec is not None
        upstream = client(running, pki.directory("client", good))
        await upstream.ask(STATUS_SERVER, [], 5)
        assert len(radsec) == 1
        (directory / "crl.pem").write_bytes(pki.authority.revocations(good))
        await until(lambda: not upstream.open_connections)
        await refused(running, pki.directory("client", good))


async def test_files_that_cannot_be_used_leave_the_former_ones_in_force(database: Database, pki: Pki) -> None:
    directory = pki.server()
    async with serving(database, pki.root, directory) as running:
        (directory / "server.pem").write_text("half a file")
        upstream = client(running, pki.directory("client", pki.client()))
        assert (await upstream.ask(STATUS_SERVER, [], 5)).code == ACCESS_ACCEPT
        upstream.close()


async def test_whoever_never_ends_a_handshake_takes_a_place_until_he_goes(database: Database, pki: Pki) -> None:
    async with serving(database, pki.root, pki.server(), max_connections=2) as running:
        assert running.room.transports.radsec is not None
        address = ("localhost", running.room.transports.radsec.port)
        mute = [await asyncio.open_connection(*address) for _ in range(2)]
        reader, writer = await asyncio.open_connection(*address)
        async with asyncio.timeout(10):
            assert await reader.read() == b"", "it is hung up on"
        assert running.room.counters.total("tls-overload") == 1
        for _, other in (*mute, (reader, writer)):
            other.close()
        await until(lambda: running.room.counters.total("tls-handshake") == 2)
        upstream = client(running, pki.directory("client", pki.client()))
        assert (await upstream.ask(ACCESS_REQUEST, LOGIN, 5)).code == ACCESS_ACCEPT
        upstream.close()


async def test_a_nas_that_is_disabled_is_hung_up_on(database: Database, pki: Pki) -> None:
    async with serving(database, pki.root, pki.server()) as running:
        upstream = client(running, pki.directory("client", pki.client()))
        await upstream.ask(STATUS_SERVER, [], 5)
        nas = (await running.room.nas.list(after=None, limit=1))[0]
        await running.room.nas.change(nas.nas_id, NasChange(enabled=False), actor="test")
        await until(lambda: not upstream.open_connections)
        await refused(running, pki.directory("client", pki.client()))
        assert running.room.counters.total("unknown-nas") == 1


async def test_a_client_does_not_believe_a_server_of_another_name(database: Database, pki: Pki) -> None:
    async with serving(database, pki.root, pki.server()) as running:
        error = await refused(running, pki.directory("client", pki.client()), identity="dns:aaa.example.org")
        assert "not dns:aaa.example.org" in str(error)


async def test_a_length_that_cannot_be_ends_the_connection(database: Database, pki: Pki) -> None:
    async with serving(database, pki.root, pki.server()) as running:
        radsec = running.room.transports.radsec
        assert radsec is not None
        context = RadsecCertificates(pki.directory("client", pki.client()), versions=(ALPN_CLASSIC,)).client()
        reader, writer = await asyncio.open_connection(
            "localhost", radsec.port, ssl=context, server_hostname="localhost"
        )
        writer.write(b"\x01\x01\x00\x05" + bytes(40))
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        assert running.room.counters.total("length") == 1


async def test_an_idle_connection_is_asked_for_its_status(database: Database, pki: Pki) -> None:
    async with serving(database, pki.root, pki.server()) as running:
        upstream = client(running, pki.directory("client", pki.client()))
        await upstream.ask(STATUS_SERVER, [], 5)
        await until(lambda: running.room.counters.total("status") >= 3)
        assert upstream.open_connections == 1
        upstream.close()
