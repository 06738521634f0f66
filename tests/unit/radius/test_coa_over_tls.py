"""CoA and Disconnect over TLS: down the connection of a NAS, from another process, and from home servers (RFC 8559)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.domain.clock import SystemClock
from controller.domain.errors import PeerError, RuleError
from controller.domain.ports import CoaOutcome
from controller.store.engine import Database
from radius.coa import CoaClient
from radius.dynamic.relay import Relay
from radius.nas_registry import NasChange
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import (
    ACCESS_ACCEPT,
    COA_ACK,
    COA_NAK,
    COA_REQUEST,
    DISCONNECT_ACK,
    DISCONNECT_REQUEST,
    STATUS_SERVER,
    Attr,
)
from radius.protocol.nas import Nas
from radius.protocol.packet import Packet, attribute, integer_attribute
from radius.protocol.server import Deferred
from radius.protocol.version11 import ALPN, ALPN_CLASSIC
from radius.radsec.certificates import RadsecCertificates
from radius.radsec.client import TlsUpstream
from radius.radsec.reverse import Reverse
from radius.radsec.settings import RadsecSettings
from tests.support.pki import Authority
from tests.support.radius import EPHEMERAL, RunningRoom, running_room
from tests.support.until import until

SESSION = attribute(Attr.ACCT_SESSION_ID, b"session-1")
NAMES = ("bng", "aaa", "isp-b")


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    """SQLite alone: these tests are about sockets."""
    return sqlite_database


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """A directory for each of NAMES, of one CA."""
    authority, usage = Authority(), [x509.OID_SERVER_AUTH, x509.OID_CLIENT_AUTH]
    for name in NAMES:
        directory = tmp_path / name
        directory.mkdir()
        names: list[x509.GeneralName] = [x509.DNSName(f"{name}.example.net"), x509.DNSName("localhost")]
        authority.issue(name, alternative=names, usage=usage).write(directory, "server")
        (directory / "ca.pem").write_bytes(authority.pem)
    return tmp_path


@dataclass
class Asked:
    """The far end of a connection: answers what it is asked, or stays silent."""

    code: int | None = COA_ACK
    cause: int | None = None
    requests: list[Packet] = field(default_factory=list)

    def __call__(self, frame: bytes, source: tuple[str, int], secret: SharedSecret, send: object) -> bool:
        packet = Packet.decode(frame)
        secret.check_request_authenticator(packet)
        self.requests.append(packet)
        if self.code is not None:
            body = b"" if self.cause is None else integer_attribute(Attr.ERROR_CAUSE, self.cause)
            assert callable(send)
            send(secret.response(self.code, packet, body, signed=False))
        return True


@asynccontextmanager
async def serving(
    database: Database, root: Path, *, operator_name: str = "", versions: tuple[str, ...] = (ALPN, ALPN_CLASSIC)
) -> AsyncIterator[RunningRoom]:
    radsec = RadsecSettings(directory=root / "aaa", port=0, recheck_s=0.05, versions=versions)
    tuned = replace(EPHEMERAL, radsec=radsec, coa_tls_timeout_s=0.5, operator_name=operator_name)
    async with running_room(database, root, tuned) as running:
        nas = (await running.room.nas.list(after=None, limit=1))[0]
        await running.room.nas.change(nas.nas_id, NasChange(tls_identity="dns:bng.example.net"), actor="test")
        yield running


def connect(running: RunningRoom, directory: Path, asked: Asked | None, *versions: str) -> TlsUpstream:
    radsec = running.room.transports.radsec
    assert radsec is not None
    known = RadsecCertificates(directory, versions=versions or (ALPN, ALPN_CLASSIC))
    return TlsUpstream("localhost", radsec.port, known, "dns:aaa.example.net", dynamic=asked)


def bras(running: RunningRoom) -> Nas:
    return next(iter(running.room.registry.by_id.values()))


@pytest.mark.parametrize("version", [ALPN_CLASSIC, ALPN])
@pytest.mark.parametrize(
    ("request_code", "answer", "cause", "outcome"),
    [
        (COA_REQUEST, COA_ACK, None, CoaOutcome("ack")),
        (COA_REQUEST, COA_NAK, 503, CoaOutcome("nak", 503, "Session Context Not Found")),
        (DISCONNECT_REQUEST, DISCONNECT_ACK, None, CoaOutcome("ack")),
    ],
)
async def test_a_nas_is_asked_down_the_connection_that_it_opened(
    database: Database, certificates: Path, version: str, request_code: int, answer: int, cause: int | None,
    outcome: CoaOutcome,
) -> None:  # fmt: skip
    async with serving(database, certificates) as running:
        asked = Asked(answer, cause)
        upstream = connect(running, certificates / "bng", asked, version)
        await upstream.ask(STATUS_SERVER, [], 5)
        assert await running.room.coa.send(bras(running), request_code, SESSION) == outcome
        [packet] = asked.requests
        assert packet.code == request_code
        assert packet.get(Attr.ACCT_SESSION_ID) == b"session-1"
        assert packet.integer(Attr.EVENT_TIMESTAMP) is not None
        assert (await upstream.ask(STATUS_SERVER, [], 5)).code == ACCESS_ACCEPT, "both directions share the connection"
        assert upstream.open_connections == 1
        upstream.close()


@pytest.mark.parametrize("version", [ALPN_CLASSIC, ALPN])
async def test_a_nas_that_takes_no_coa_says_406_and_its_connection_lives_on(
    database: Database, certificates: Path, version: str
) -> None:
    async with serving(database, certificates) as running:
        upstream = connect(running, certificates / "bng", None, version)
        await upstream.ask(STATUS_SERVER, [], 5)
        outcome = await running.room.coa.send(bras(running), COA_REQUEST, SESSION)
        assert (outcome.result, outcome.error_cause) == ("nak", 406)
        assert upstream.open_connections == 1
        upstream.close()


async def test_silence_is_a_timeout_and_so_is_a_connection_that_ends(database: Database, certificates: Path) -> None:
    async with serving(database, certificates) as running:
        asked = Asked(code=None)
        upstream = connect(running, certificates / "bng", asked)
        await upstream.ask(STATUS_SERVER, [], 5)
        silent = await running.room.coa.send(bras(running), COA_REQUEST, SESSION)
        assert (silent.result, "no answer over its TLS" in silent.detail) == ("timeout", True)
        sending = asyncio.create_task(running.room.coa.send(bras(running), COA_REQUEST, SESSION))
        await until(lambda: len(asked.requests) == 2)
        upstream.close()
        assert await sending == CoaOutcome("timeout", detail="its TLS connection ended before the answer")


async def test_without_a_connection_anywhere_it_is_said_soon_and_nothing_is_left(
    database: Database, certificates: Path
) -> None:
    async with serving(database, certificates) as running:
        relay = Relay(database, SystemClock(), dict, timeout_s=0.2, poll_s=0.01)
        assert await relay.send(bras(running), COA_REQUEST, SESSION) == CoaOutcome(
            "timeout", detail="the NAS has no RADIUS/TLS connection to us"
        )
        assert await relay.waiting() == 0


async def test_another_process_asks_over_the_connection_that_this_one_has(
    database: Database, certificates: Path
) -> None:
    async with serving(database, certificates) as running:
        asked = Asked(COA_NAK, 404)
        upstream = connect(running, certificates / "bng", asked)
        await upstream.ask(STATUS_SERVER, [], 5)
        serving_others = asyncio.create_task(running.room.relay.run())
        elsewhere = CoaClient(running.room.settings, SystemClock())
        elsewhere.over_tls = Relay(database, SystemClock(), dict, timeout_s=5, poll_s=0.02).send
        nas = bras(running)
        outcomes = await asyncio.gather(*(elsewhere.send(nas, COA_REQUEST, SESSION) for _ in range(5)))
        assert outcomes == [CoaOutcome("nak", 404, "Invalid Request")] * 5
        assert len(asked.requests) == 5, "each was asked once"
        serving_others.cancel()
        await asyncio.wait([serving_others])
        assert await running.room.relay.waiting() == 0
        upstream.close()


async def test_coa_over_says_where_a_nas_is_asked_and_tls_needs_an_identity(
    database: Database, certificates: Path
) -> None:
    async with serving(database, certificates) as running:
        assert bras(running).is_asked_over_tls, "by default where its certificate is known"
        nas_id = bras(running).nas_id
        await running.room.nas.change(nas_id, NasChange(coa_over="udp"), actor="test")
        assert not bras(running).is_asked_over_tls
        with pytest.raises(RuleError, match="needs a tls_identity"):
            await running.room.nas.change(nas_id, NasChange(coa_over="tls", tls_identity=""), actor="test")


@settings(deadline=None)
@given(st.binary(max_size=40), st.booleans(), st.sampled_from([COA_ACK, COA_NAK, DISCONNECT_ACK]))
def test_no_octets_that_come_down_a_connection_raise_anything_but_a_peer_error(
    body: bytes, is_11: bool, code: int
) -> None:
    async def ask() -> CoaOutcome:
        sent: list[bytes] = []
        reverse = Reverse(sent.append, is_11=is_11)
        asking = asyncio.create_task(reverse.ask(COA_REQUEST, SESSION, sent_at=SystemClock().now(), timeout_s=5))
        await asyncio.sleep(0)
        frame = bytes((code, sent[0][1], 0, 20 + len(body))) + sent[0][4:20] + body
        with contextlib.suppress(PeerError):
            reverse.answer(frame)
        reverse.lost()
        return await asking

    outcome = asyncio.run(ask())
    assert outcome.result == "timeout" or (is_11 and code in (COA_ACK, COA_NAK)), "believed unsigned under 1.1 alone"


# --- home servers (RFC 8559)


async def home_server(running: RunningRoom, port: int) -> None:
    server = {
        "pool": "isp-b", "transport": "tls", "host": "localhost", "auth_port": port, "acct_port": port,
        "tls_identity": "dns:isp-b.example.net", "priority": 1, "balanced": False, "status_checks": False,
        "require_message_authenticator": False, "enabled": True,
    }  # fmt: skip
    await running.room.transports.proxy.put_server("isp-b", server, None, actor="test")
    realm = {"pool": "isp-b", "accounting": "local", "strips": False, "request_drops": [], "reply_allows": None}
    await running.room.transports.proxy.put_realm("isp-b.example", realm, actor="test")


def request() -> Packet:
    """A login of bob."""
    body = attribute(1, b"bob@isp-b.example") + attribute(3, bytes(17)) + attribute(60, bytes(16))
    return Packet.decode(SharedSecret(b"testing123").access_request(1, bytes(16), body))


def of_home_server(running: RunningRoom, username: bytes = b"bob@isp-b.example") -> list[tuple[int, bytes]]:
    stamp = int(SystemClock().now().timestamp()).to_bytes(4, "big")
    token = b"\x08" + str(bras(running).nas_id).encode()
    return [(1, username), (44, b"session-1"), (55, stamp), (126, b"1carrier.example"), (241, token)]


@pytest.mark.parametrize("version", [ALPN_CLASSIC, ALPN])
async def test_a_home_server_asks_over_a_tls_connection_of_its_own(
    database: Database, certificates: Path, version: str
) -> None:
    async with serving(database, certificates, operator_name="carrier.example") as running:
        asked = Asked(COA_ACK)
        nas = connect(running, certificates / "bng", asked)
        await nas.ask(STATUS_SERVER, [], 5)
        await home_server(running, 1)
        home = connect(running, certificates / "isp-b", None, version)
        assert (await home.ask(COA_REQUEST, of_home_server(running), 5)).code == COA_ACK
        assert [one.get(Attr.ACCT_SESSION_ID) for one in asked.requests] == [b"session-1"]
        stranger = await home.ask(COA_REQUEST, of_home_server(running, b"eve@isp-c.example"), 5)
        assert (stranger.code, dict(stranger.attributes)[101]) == (COA_NAK, (502).to_bytes(4, "big"))
        assert len(asked.requests) == 1
        nas.close()
        home.close()


async def test_a_home_server_asks_down_the_connection_that_we_opened_to_it(
    database: Database, certificates: Path
) -> None:
    async with serving(database, certificates, operator_name="carrier.example") as running:
        asked, answered = Asked(COA_ACK), asyncio.get_running_loop().create_future()
        nas = connect(running, certificates / "bng", asked)
        await nas.ask(STATUS_SERVER, [], 5)
        context = RadsecCertificates(certificates / "isp-b", versions=(ALPN_CLASSIC,)).server()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(20)
            body = b"".join(attribute(kind, value) for kind, value in of_home_server(running))
            writer.write(SharedSecret(b"radsec").request(COA_REQUEST, 9, body, signed=False))
            head = await reader.read(4096)
            while head[0] != COA_ACK:
                head = await reader.read(4096)
            answered.set_result(head)
            writer.close()

        server = await asyncio.start_server(serve, "localhost", 0, ssl=context)
        await home_server(running, server.sockets[0].getsockname()[1])
        answer = running.room.transports.decide(request(), bras(running))
        assert isinstance(answer, Deferred)
        login = asyncio.create_task(answer.decide())
        reply = await asyncio.wait_for(answered, 5)
        assert (reply[0], reply[1]) == (COA_ACK, 9)
        assert len(asked.requests) == 1
        login.cancel()
        await asyncio.wait([login])
        server.close()
        nas.close()


async def test_a_nas_that_asks_for_coa_is_told_that_it_may_not(database: Database, certificates: Path) -> None:
    async with serving(database, certificates, operator_name="carrier.example") as running:
        nas = connect(running, certificates / "bng", None)
        refused = await nas.ask(COA_REQUEST, of_home_server(running), 5)
        assert (refused.code, dict(refused.attributes)[101]) == (COA_NAK, (406).to_bytes(4, "big"))
        nas.close()


# --- RFC 6613 §2.6.4 and RFC 9765 on the wire


async def raw(running: RunningRoom, certificates: Path, version: str, *frames: bytes) -> bytes:
    """What comes back until the connection is closed, or for a moment."""
    radsec = running.room.transports.radsec
    assert radsec is not None
    context = RadsecCertificates(certificates / "bng", versions=(version,)).client()
    reader, writer = await asyncio.open_connection("localhost", radsec.port, ssl=context, server_hostname="localhost")
    for frame in frames:
        writer.write(frame)
    found = b""
    try:
        while octets := await asyncio.wait_for(reader.read(4096), 5):
            found += octets
    finally:
        writer.close()
    return found


async def test_rfc6613_2_6_4_what_does_not_verify_ends_the_connection(database: Database, certificates: Path) -> None:
    async with serving(database, certificates) as running:
        forged = SharedSecret(b"another").request(4, 1, integer_attribute(40, 1) + SESSION, signed=False)
        assert await raw(running, certificates, ALPN_CLASSIC, forged) == b""
        assert running.room.counters.total("authenticator") >= 1


async def test_rfc9765_4_2_2_a_token_that_is_outstanding_twice_ends_the_connection(
    database: Database, certificates: Path
) -> None:
    async with serving(database, certificates) as running:
        running.recorder.at_once = False
        record = integer_attribute(40, 1) + SESSION
        frame = bytes((4, 0, 0, 20 + len(record))) + b"same" + bytes(12) + record
        assert await raw(running, certificates, ALPN, frame, frame) == b""
        assert running.room.counters.total("token") == 1


async def test_rfc9765_6_1_what_cannot_be_worked_on_is_said_with_its_token_and_cause(
    database: Database, certificates: Path
) -> None:
    async with serving(database, certificates) as running:
        running.recorder.refusals = 1
        upstream = connect(running, certificates / "bng", None, ALPN)
        refused = await upstream.ask(4, [(40, b"\0\0\0\1"), (44, b"session"), (1, b"anna")], 5)
        assert (refused.code, dict(refused.attributes)[101]) == (52, (506).to_bytes(4, "big"))
        too_long = await upstream.ask(1, [(1, b"anna"), (2, b"x" * 200)], 5)
        assert (too_long.code, dict(too_long.attributes)[101]) == (52, (407).to_bytes(4, "big"))
        assert (await upstream.ask(1, [(1, b"anna"), (2, b"hunter2")], 5)).code == ACCESS_ACCEPT
        upstream.close()


async def test_rfc9765_3_3_a_server_that_requires_1_1_says_so_and_hangs_up(
    database: Database, certificates: Path
) -> None:
    async with serving(database, certificates, versions=(ALPN,)) as running:
        told = Packet.decode(await raw(running, certificates, ALPN_CLASSIC))
        assert (told.code, told.data[4:8], told.integer(Attr.ERROR_CAUSE)) == (52, bytes(4), 406)
        modern = connect(running, certificates / "bng", None)
        assert (await modern.ask(STATUS_SERVER, [], 5)).code == ACCESS_ACCEPT
        modern.close()


async def test_rfc9765_3_3_a_client_that_requires_1_1_uses_nothing_else(database: Database, certificates: Path) -> None:
    async with serving(database, certificates, versions=(ALPN_CLASSIC,)) as running:
        upstream = connect(running, certificates / "bng", None, ALPN)
        with pytest.raises(OSError, match=r"only radius/1\.1 is spoken here"):
            await upstream.ask(STATUS_SERVER, [], 5)
        upstream.close()


async def test_a_used_token_never_gets_the_answer_to_another_request(database: Database, certificates: Path) -> None:
    def login(password: bytes) -> bytes:
        body = attribute(1, b"anna") + attribute(2, password)
        return bytes((1, 0, 0, 20 + len(body))) + b"same" + bytes(12) + body

    async with serving(database, certificates) as running:
        radsec = running.room.transports.radsec
        assert radsec is not None
        context = RadsecCertificates(certificates / "bng", versions=(ALPN,)).client()
        reader, writer = await asyncio.open_connection(
            "localhost", radsec.port, ssl=context, server_hostname="localhost"
        )
        codes = []
        for password in (b"hunter2", b"wrong!!", b"hunter2"):
            writer.write(login(password))
            codes.append((await asyncio.wait_for(reader.read(4096), 5))[0])
        writer.close()
        assert codes == [2, 3, 2]
