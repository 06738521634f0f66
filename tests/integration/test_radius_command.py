"""`headend radius …` as an operator runs it, against a controller's RADIUS port and API."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.requests import Request
from typer.testing import CliRunner

from controller.app.nas_cli import nas_app
from controller.app.radius_cli import radius_app
from controller.app.server import Health, HttpServer, build_app
from controller.domain.clock import SystemClock
from controller.http.dispatch import unauthorized
from controller.http.endpoint import Principal
from controller.store.engine import Database
from radius import routes as nas_routes
from radius import session_speed_routes, trace_routes
from radius.accounting import routes as session_routes
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import (
    ACCOUNTING_REQUEST,
    COA_ACK,
    COA_REQUEST,
    DISCONNECT_ACK,
    DISCONNECT_NAK,
    Attr,
)
from radius.protocol.packet import Packet, attribute, integer_attribute
from tests.support.radius import SECRET, RecordingRoom, recording_room, register

SHARED = SharedSecret(SECRET)
TOKEN = "let-me-in"


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    """SQLite alone: these tests are about the command."""
    return sqlite_database


async def authenticator(request: Request) -> Principal | None:
    if request.headers.get("authorization") != f"Bearer {TOKEN}":
        raise unauthorized("unknown token")
    return Principal("token:test", frozenset({"radius:*"}))


class Bras(asyncio.DatagramProtocol):
    """Accounts for one session, and does what CoA and Disconnect ask, unless it is told to refuse."""

    def __init__(self, running: RecordingRoom) -> None:
        self._acct = ("127.0.0.1", running.room.listener.acct_port)
        self._number = 0
        self.refuses = False

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self._transport = transport
        self.port: int = transport.get_extra_info("sockname")[1]

    def account(self, status: int, more: bytes = b"") -> None:
        self._number += 1
        body = attribute(Attr.USER_NAME, b"anna") + attribute(Attr.ACCT_SESSION_ID, b"8000001")
        body += integer_attribute(Attr.ACCT_STATUS_TYPE, status) + attribute(Attr.FRAMED_IP_ADDRESS, b"\x64\x40\0\7")
        body += integer_attribute(Attr.ACCT_SESSION_TIME, self._number)
        self._transport.sendto(SHARED.request(ACCOUNTING_REQUEST, self._number, body + more, signed=False), self._acct)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        packet = Packet.decode(data)
        if packet.code == COA_REQUEST:
            self._answer(COA_ACK, packet, addr)
            rate = packet.get(Attr.VENDOR_SPECIFIC)
            assert rate is not None, "MikroTik is told a Mikrotik-Rate-Limit"
            self.account(3, attribute(Attr.CLASS, packet.get(Attr.CLASS) or b"") + attribute(26, rate))
        elif packet.code == 40 and self.refuses:
            self._answer(DISCONNECT_NAK, packet, addr, integer_attribute(Attr.ERROR_CAUSE, 503))
        elif packet.code == 40:
            self._answer(DISCONNECT_ACK, packet, addr)
            self.account(2, integer_attribute(Attr.ACCT_TERMINATE_CAUSE, 6))

    def _answer(self, code: int, packet: Packet, addr: tuple[str, int], body: bytes = b"") -> None:
        self._transport.sendto(SHARED.response(code, packet, body, signed=False), addr)


@dataclass
class Desk:
    """A controller, a BRAS with anna's session, and the command."""

    running: RecordingRoom
    bras: Bras
    url: str

    def environment(self) -> dict[str, str]:
        return os.environ | {
            "HEADEND_URL": self.url,
            "HEADEND_TOKEN": TOKEN,
            "HEADEND_RADIUS_SECRET": SECRET.decode(),
            "HEADEND_PASSWORD": "hunter2",
        }

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """In a process of its own."""
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "controller.app.cli", "radius", *arguments,
            env=self.environment(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def run(self, *arguments: str, **changed: str) -> tuple[int, str, str]:
        """Exit status, output, errors."""
        environment = self.environment() | changed
        done = await asyncio.to_thread(CliRunner().invoke, radius_app, list(arguments), env=environment)
        return done.exit_code, done.stdout, done.stderr

    async def try_login(self, *arguments: str, **changed: str) -> tuple[int, str, str]:
        return await self.run("test", "--port", str(self.running.room.listener.auth_port), *arguments, **changed)

    async def session(self) -> str:
        """The key of anna's live session."""
        async with asyncio.timeout(10):
            while True:
                _, out, _ = await self.run("sessions", "--username", "anna")
                if "no session" not in out:
                    return out.split()[0]


@asynccontextmanager
async def desk(database: Database, directory: Path) -> AsyncIterator[Desk]:
    async with recording_room(database, directory) as running:
        loop = asyncio.get_running_loop()
        transport, bras = await loop.create_datagram_endpoint(lambda: Bras(running), local_addr=("127.0.0.1", 0))
        await register(running.room, address="127.0.0.1", vendor="mikrotik", coa_port=bras.port)

        async def health() -> Health:
            return Health(True, {})

        app = build_app(
            endpoints=[
                *nas_routes.endpoints(running.room.nas, running.room.sessions),
                *session_routes.endpoints(running.sessions),
                *session_speed_routes.endpoints(running.room.speeds),
                *trace_routes.endpoints(running.room.traces),
            ],
            pages=[],
            authenticator=authenticator,
            clock=SystemClock(),
            health=health,
        )
        http = HttpServer(app, host="127.0.0.1", port=0)
        serving = asyncio.create_task(http.run())
        try:
            yield Desk(running, bras, http.url)
        finally:
            running.room.traces.close()
            serving.cancel()
            await asyncio.wait([serving])
            transport.close()


async def test_the_registry_of_nas_is_read_and_changed_with_every_switch(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:

        async def nas(*arguments: str, **changed: str) -> tuple[int, str, str]:
            environment = at.environment() | changed
            done = await asyncio.to_thread(CliRunner().invoke, nas_app, list(arguments), env=environment)
            return done.exit_code, done.stdout, done.stderr

        status, out, err = await nas(
            "add", "bng-2", "198.51.100.0/24", "vendor=huawei", "adds_ipv6_octets=true", "coa_port=3800",
            "line_logins=circuit,mac", "reply_attributes=Framed-MTU=1492;Idle-Timeout=60", HEADEND_NAS_SECRET="s3cret",
        )  # fmt: skip
        assert (status, err) == (0, ""), out + err
        assert "s3cret" not in out
        status, out, _ = await nas(
            "set", "bng-2", "disconnect_when_refused=true", "line_logins=", "tls_identity=dns:x.example"
        )
        assert status == 0
        status, out, _ = await nas("show", "bng-2")
        said = dict(line.split(None, 1) for line in out.splitlines())
        assert (said["disconnect_when_refused"], said["line_logins"]) == ("true", "[]")
        assert said["tls_identity"] == "dns:x.example"
        assert '{"name": "Framed-MTU", "value": "1492"}' in out
        _, out, _ = await nas("list")
        assert "disconnect_when_refused adds_ipv6_octets" in next(line for line in out.splitlines() if "bng-2" in line)
        for arguments, problem in (
            (("set", "bng-2", "no_such_switch=true"), "no_such_switch"),
            (("set", "bng-3", "coa_port=1"), "no NAS is named 'bng-3'; known: bng-2, bras"),
            (("set", "bng-2"), "what is to be changed?"),
            (("set", "bng-2", "coa_port"), "'coa_port' is not SETTING=VALUE"),
        ):
            status, out, err = await nas(*arguments)
            assert (status, out) == (2, "")
            assert problem in err


async def test_a_login_is_tried_by_every_method_and_shown_by_name(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        for method, proof in (("pap", "User-Password"), ("chap", "CHAP-Password"), ("mschapv2", "MS-CHAP2-Response")):
            status, out, err = await at.try_login("anna", "--method", method, "--attribute", "NAS-Port-Id=ether1")
            assert (status, err) == (0, ""), out + err
            assert f"    {proof} = ***" in out
            assert "    NAS-Port-Id = ether1" in out
            assert "Access-Accept after " in out
            assert "    Framed-IP-Address = 100.64.0.7" in out
            assert "hunter2" not in out
        assert "the server proved that it knows the password" in out


async def test_a_wrong_password_a_wrong_secret_and_an_unknown_attribute_are_told_apart(
    database: Database, tmp_path: Path
) -> None:
    async with desk(database, tmp_path) as at:
        status, out, _ = await at.try_login("anna", "--password", "guess")
        assert (status, "Access-Reject" in out) == (1, True)
        status, out, _ = await at.try_login("anna", "--timeout", "0.2", HEADEND_RADIUS_SECRET="wrong")
        assert (status, "no answer that verifies" in out) == (2, True)
        status, _, err = await at.try_login("anna", "--attribute", "Framed-Adress=1.2.3.4")
        assert (status, "no dictionary knows 'Framed-Adress'" in err) == (2, True)


async def test_a_trace_in_another_window_says_why_a_login_was_refused(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        tracing = await at.start("trace", "anna", "--packets", "2")
        assert tracing.stdout is not None
        assert (await asyncio.wait_for(tracing.stdout.readline(), 20)).startswith(b"Watching anna")
        await at.try_login("anna", "--password", "guess", "--attribute", "NAS-Port-Id=\x1b[2J\nAccess-Accept")
        out, err = await asyncio.wait_for(tracing.communicate(), 20)
        assert (tracing.returncode, err) == (0, b"")
        text = out.decode()
        assert "─► Access-Request" in text
        assert "◄─ Access-Reject" in text
        assert "reject: wrong password" in text
        assert "    NAS-Port-Id = \\x1b[2J\\nAccess-Accept\n" in text, "nobody else writes on the operator's terminal"
        assert text.endswith("2 datagrams: the number of packets is reached.\n")
        assert "guess" not in text


async def test_a_session_is_listed_changed_and_ended_with_the_evidence(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        at.bras.account(1)
        key = await at.session()
        _, out, _ = await at.run("sessions", "--nas", "bras", "--ip", "100.64.0.7")
        assert out.startswith(key)
        _, out, _ = await at.run("sessions", "--ip", "100.64.0.8")
        assert out == "no session\n"
        status, out, err = await at.run("coa", "anna", "--down", "50M", "--up", "10M", "--profile", "silver-50")
        assert (status, err) == (0, ""), out + err
        assert "CoA-Request for anna: ACK" in out
        assert "Evidence: profile silver-50, down 50000000 bit/s, up 10000000 bit/s" in out
        at.bras.refuses = True
        status, out, _ = await at.run("disconnect", key)
        assert (status, "NAK, Error-Cause 503" in out) == (1, True)
        at.bras.refuses = False
        status, out, err = await at.run("disconnect", "anna", "--reason", "moved house")
        assert (status, err) == (0, ""), out + err
        assert "Evidence: its accounting ended at " in out
        status, _, err = await at.run("disconnect", "anna")
        assert (status, err) == (2, "headend: no live session of 'anna'\n")


async def test_without_an_address_or_with_a_wrong_token_one_line_says_so(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        status, _, err = await at.run("sessions", HEADEND_TOKEN="wrong")
        assert (status, len(err.splitlines())) == (2, 1)
        status, _, err = await at.run("sessions", HEADEND_URL="", HEADEND_TOKEN="", HEADEND_DATA_DIR=str(tmp_path))
        assert (status, "Set HEADEND_URL and HEADEND_TOKEN" in err) == (2, True)
