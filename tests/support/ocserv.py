"""ocserv as a NAS: a VPN gateway whose logins and accounting are RADIUS (radcli), and openconnect as its client."""

from __future__ import annotations

import base64
import hashlib
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.daemon import Daemon, daemon
from tests.support.namespaces import run
from tests.support.pki import Authority, Issued
from tests.support.until import until

GATEWAY, CLIENT, INSIDE = "10.9.0.1", "10.9.0.2", "10.8.0.1"
PORT = 443
_DICTIONARY = Path("/etc/radcli/dictionary")

_UP = """#!/bin/sh
[ "$reason" = connect ] || exit 0
ip link set "$TUNDEV" up
ip addr add "$INTERNAL_IP4_ADDRESS/32" dev "$TUNDEV"
ip route add INSIDE/32 dev "$TUNDEV"
"""


def why_not() -> str | None:
    """Which package is missing; None when all are there."""
    if shutil.which("ocserv") is None or not _DICTIONARY.exists():
        return "apt-get install ocserv"
    if shutil.which("openconnect") is None:
        return "apt-get install openconnect"
    return None if Path("/dev/net/tun").exists() else "the kernel has no /dev/net/tun"


@dataclass
class Gateway:
    """ocserv, and what a client needs to know it by."""

    program: Daemon
    pin: str


@asynccontextmanager
async def gateway(
    directory: Path, *, auth_port: int, acct_port: int, secret: str, told_by_radius: bool = True
) -> AsyncIterator[Gateway]:
    """ocserv in this network namespace, at GATEWAY once there is a wire; INSIDE is what a client may reach.

    `told_by_radius`: address and interval are those of the Access-Accept; else its own, with an Interim every second.
    """
    issued = Authority().issue("vpn.example.net", server=True)
    issued.write(directory, "vpn")
    (directory / "servers").write_text(f"127.0.0.1 {secret}\n")
    (directory / "radiusclient.conf").write_text(
        f"nas-identifier ocserv-1\nauthserver 127.0.0.1:{auth_port}\nacctserver 127.0.0.1:{acct_port}\n"
        f"servers {directory}/servers\ndictionary {_DICTIONARY}\nradius_timeout 5\nradius_retries 2\nbindaddr *\n"
    )
    told = "true" if told_by_radius else "false"
    settings = {
        "auth": f'"radius[config={directory}/radiusclient.conf,groupconfig={told}]"',
        "acct": f'"radius[config={directory}/radiusclient.conf]"',
        "stats-report-time": 1,
        "listen-host": GATEWAY,
        "tcp-port": PORT,
        "run-as-user": "root",
        "run-as-group": "root",
        "socket-file": f"{directory}/ocserv.socket",
        "pid-file": f"{directory}/ocserv.pid",
        "isolate-workers": "false",
        "server-cert": f"{directory}/vpn.pem",
        "server-key": f"{directory}/vpn.key",
        "device": "vpns",
        "ipv4-network": "100.64.0.0/24",
        "route": f"{INSIDE}/32",
    }
    path = directory / "ocserv.conf"
    path.write_text("".join(f"{key} = {value}\n" for key, value in settings.items()))
    command = ("ocserv", "--foreground", "--debug", "2", "--config", str(path))
    async with daemon(directory / "ocserv.log", *command) as program:
        await program.said("listening (TCP)")
        yield Gateway(program, _pin(issued))


@asynccontextmanager
async def apart(directory: Path) -> AsyncIterator[int]:
    """A network namespace with a wire to this one; the id of the process that holds it."""
    async with daemon(directory / "apart.log", "unshare", "--net", "sh", "-c", "echo apart; exec sleep 60") as holder:
        pid = holder.process.pid
        await holder.said("apart")
        run("ip", "link", "add", "wire0", "type", "veth", "peer", "name", "wire1", "netns", str(pid))
        for command in (f"addr add {GATEWAY}/24 dev wire0", "link set wire0 up", f"addr add {INSIDE}/32 dev lo"):
            run("ip", *command.split())
        for command in ("link set lo up", f"addr add {CLIENT}/24 dev wire1", "link set wire1 up"):
            inside(pid, "ip", *command.split())
        yield pid


def inside(pid: int, *command: str) -> str:
    """Run a command in the namespace that a process holds."""
    return run("nsenter", "-t", str(pid), "-n", *command)


@asynccontextmanager
async def client(directory: Path, pid: int, server: Gateway, username: str, password: str) -> AsyncIterator[Daemon]:
    """openconnect in the namespace of `pid`."""
    script = directory / "up.sh"
    script.write_text(_UP.replace("INSIDE", INSIDE))
    script.chmod(0o755)
    options = ("--non-inter", "--passwd-on-stdin", f"--user={username}", f"--servercert=pin-sha256:{server.pin}")
    command = ("openconnect", *options, "--no-dtls", f"--script={script}", f"https://{GATEWAY}:{PORT}")
    path = directory / f"openconnect-{password}.log"
    async with daemon(path, "nsenter", "-t", str(pid), "-n", *command, stdin=f"{password}\n".encode()) as program:
        yield program


def _pin(issued: Issued) -> str:
    """What openconnect knows a server by: SHA-256 of its public key (RFC 7469)."""
    public = issued.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(public).digest()).decode()


async def reaches_inside(pid: int) -> None:
    """Until the tunnel carries a packet."""
    await until(lambda: f"{INSIDE} dev" in inside(pid, "ip", "route"), 10)
