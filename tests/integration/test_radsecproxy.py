"""RADIUS over TLS with a program that nobody here wrote: radsecproxy as our client, and as our server.

    radclient ─ UDP ─ radsecproxy ─ TLS ─ we                    (we are the home server)
    radclient ─ UDP ─ we ─ TLS ─ radsecproxy ─ UDP ─ a server   (we are the proxy)

Version 1.1 has no counterpart yet: it is shown between two of ours in tests/unit/radius/test_radsec.py.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from controller.store.engine import Database
from radius.nas_registry import NasChange
from radius.radsec.settings import RadsecSettings
from tests.support.pki import Authority
from tests.support.ports import free_port
from tests.support.radclient import RADCLIENT, radclient
from tests.support.radius import EPHEMERAL, RunningRoom, running_room
from tests.support.radius_peer import RadiusPeer
from tests.support.until import until

RADSECPROXY = shutil.which("radsecproxy")
pytestmark = pytest.mark.skipif(
    RADSECPROXY is None or RADCLIENT is None, reason="apt-get install radsecproxy freeradius-utils"
)

LOGIN = 'User-Name = "anna"\nUser-Password = "{}"\n'
START = 'User-Name = "{}"\nAcct-Status-Type = Start\nAcct-Session-Id = "s-{}"\n'
TLS = """
LogLevel 2
tls default {{
  CACertificateFile {directory}/ca.pem
  CertificateFile {directory}/server.pem
  CertificateKeyFile {directory}/server.key
}}
"""


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    """SQLite alone: these tests are about sockets."""
    return sqlite_database


class Site:
    """Certificates for us and for radsecproxy, of one CA."""

    def __init__(self, root: Path) -> None:
        self.authority = Authority()
        self.ours, self.theirs = root / "ours", root / "theirs"
        for directory, name in ((self.ours, "headend"), (self.theirs, "proxy")):
            directory.mkdir()
            names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.DNSName(f"{name}.example.net")]
            both = [x509.OID_SERVER_AUTH, x509.OID_CLIENT_AUTH]
            self.authority.issue(name, alternative=names, usage=both).write(directory, "server")
            (directory / "ca.pem").write_bytes(self.authority.pem)

    def settings(self) -> RadsecSettings:
        return RadsecSettings(directory=self.ours, port=0)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@asynccontextmanager
async def radsecproxy(site: Site, configuration: str) -> AsyncIterator[Path]:
    """Runs it; the log's path is given."""
    assert RADSECPROXY is not None
    path, log = site.theirs / "radsecproxy.conf", site.theirs / "radsecproxy.log"
    path.write_text(TLS.format(directory=site.theirs) + configuration)
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(RADSECPROXY, "-f", "-c", str(path), stderr=output)
    try:
        await until(lambda: "listening" in log.read_text(), 10)
        yield log
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def free_tcp_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def ask(port: int, command: str, request: str) -> str:
    return await asyncio.to_thread(radclient, port, command, request, "testing123")


@asynccontextmanager
async def serving(database: Database, directory: Path, site: Site, identity: str) -> AsyncIterator[RunningRoom]:
    async with running_room(database, directory, replace(EPHEMERAL, radsec=site.settings())) as running:
        [nas] = await running.room.nas.list(after=None, limit=2)
        await running.room.nas.change(nas.nas_id, NasChange(tls_identity=identity), actor="test")
        yield running


def as_our_client(listen: int, port: int) -> str:
    return f"""
ListenUDP 127.0.0.1:{listen}
client nas {{
 host 127.0.0.1
 type udp
 secret testing123
}}
server headend {{
 host localhost
 port {port}
 type tls
 secret radsec
 statusServer on
}}
realm * {{
 server headend
 accountingServer headend
}}
"""


async def test_radsecproxy_is_our_client(database: Database, tmp_path: Path, site: Site) -> None:
    async with serving(database, tmp_path, site, "dns:proxy.example.net") as running:
        radsec, port = running.room.transports.radsec, free_port()
        assert radsec is not None
        async with radsecproxy(site, as_our_client(port, radsec.port)) as log:
            await until(lambda: len(radsec) == 1)
            accepted = await ask(port, "auth", LOGIN.format("hunter2"))
            assert "Access-Accept" in accepted, accepted + log.read_text()
            assert "Framed-IP-Address = 100.64.0.7" in accepted
            assert "Access-Reject" in await ask(port, "auth", LOGIN.format("wrong"))
            assert "Accounting-Response" in await ask(port, "acct", START.format("anna", 1))
        assert len(running.recorder.packets) == 1


async def test_radsecproxy_with_a_certificate_that_is_nobodys_gets_nothing(
    database: Database, tmp_path: Path, site: Site
) -> None:
    async with serving(database, tmp_path, site, "dns:someone-else.example.net") as running:
        radsec, port = running.room.transports.radsec, free_port()
        assert radsec is not None
        async with radsecproxy(site, as_our_client(port, radsec.port)):
            await until(lambda: running.room.counters.total("unknown-nas") >= 1)
            assert "Access-Accept" not in await ask(port, "auth", LOGIN.format("hunter2"))


async def test_we_are_radsecproxys_client(database: Database, tmp_path: Path, site: Site) -> None:
    peer = await RadiusPeer(
        b"behind-the-proxy", {"bob@isp-b.example": "sesame"}, {"Framed-IP-Address": "192.0.2.7"}
    ).start()
    port = free_tcp_port()
    configuration = f"""
ListenTLS 127.0.0.1:{port}
client headend {{
 host 127.0.0.1
 type tls
 secret radsec
 certificateNameCheck off
 matchCertificateAttribute SubjectAltName:DNS:/^headend\\.example\\.net$/
}}
server home {{
 host 127.0.0.1
 port {peer.address[1]}
 type udp
 secret behind-the-proxy
}}
realm isp-b.example {{
 server home
 accountingServer home
}}
"""
    async with (
        radsecproxy(site, configuration),
        serving(database, tmp_path, site, "dns:nobody.example.net") as running,
    ):
        proxy = running.room.transports.proxy
        server = {
            "pool": "isp-b", "transport": "tls", "host": "localhost", "auth_port": port, "acct_port": port,
            "tls_identity": "dns:proxy.example.net", "priority": 1, "balanced": False, "status_checks": True,
            "require_message_authenticator": False, "enabled": True,
        }  # fmt: skip
        await proxy.put_server("radsecproxy", server, None, actor="test")
        realm = {"pool": "isp-b", "accounting": "mirror", "strips": False, "request_drops": [], "reply_allows": None}
        await proxy.put_realm("isp-b.example", realm, actor="test")
        task = asyncio.create_task(running.room.run())
        try:
            login = LOGIN.replace("anna", "bob@isp-b.example")
            answer = await ask(running.room.listener.auth_port, "auth", login.format("sesame"))
            assert "Access-Accept" in answer, answer
            assert "Framed-IP-Address = 192.0.2.7" in answer
            assert "Access-Reject" in await ask(running.room.listener.auth_port, "auth", login.format("wrong"))
            start = START.format("bob@isp-b.example", 1)
            assert "Accounting-Response" in await ask(running.room.listener.acct_port, "acct", start)
            await peer.until(lambda: len(peer.accounting) == 1)
        finally:
            task.cancel()
            await asyncio.wait([task])
            peer.stop()
