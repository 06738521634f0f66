"""strongSwan's charon as a NAS: a VPN gateway and a client, each in a network namespace, with ESP in user space."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.namespaces import run

CHARON = Path("/usr/lib/ipsec/charon")
PLUGINS = Path("/usr/lib/ipsec/plugins")
GATEWAY, CLIENT, INSIDE = "10.9.0.1", "10.9.0.2", "10.8.0.1"
DAE_PORT = 3799

# Each charon has one pid file, at a path of its own making: a private /run lets two of them live.
_START = "mount --make-rprivate / && mount -t tmpfs tmpfs /run && exec " + str(CHARON)
_LOADED = (
    "random nonce hmac aes md5 sha1 sha2 gmp kdf kernel-libipsec kernel-netlink socket-default vici attr"
    " eap-radius xauth-generic eap-identity eap-mschapv2 md4 des openssl"
)


def why_not() -> str | None:
    """Which package is missing; None when all are there."""
    for package, file in (
        ("strongswan-charon", CHARON),
        ("strongswan-swanctl", Path("/usr/sbin/swanctl")),
        ("libcharon-extra-plugins", PLUGINS / "libstrongswan-eap-radius.so"),
        ("libcharon-extauth-plugins", PLUGINS / "libstrongswan-xauth-generic.so"),
        ("libstrongswan-standard-plugins", PLUGINS / "libstrongswan-openssl.so"),
    ):
        if not file.exists():
            return f"apt-get install {package}"
    return None if Path("/dev/net/tun").exists() else "the kernel has no /dev/net/tun"


class Charon:
    """One daemon. `control` runs swanctl against it."""

    def __init__(self, directory: Path, process: asyncio.subprocess.Process) -> None:
        self.directory = directory
        self.process = process

    async def control(self, *command: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *("swanctl", *command, "--uri", f"unix://{self.directory}/vici"),
            env=_environment(self.directory),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), 20)
        return output.decode()

    def log(self) -> str:
        return (self.directory / "log").read_text()

    def inside(self, *command: str) -> str:
        """Run a command in the daemon's network namespace."""
        return run("nsenter", "-t", str(self.process.pid), "-n", *command)


@asynccontextmanager
async def charon(directory: Path, eap_radius: str, connection: str, *, apart: bool) -> AsyncIterator[Charon]:
    """A daemon that listens, `connection` not loaded yet; `apart` in a network namespace of its own."""
    _write_configuration(directory, eap_radius, connection)
    with (directory / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *("unshare", "--mount", *(["--net"] if apart else []), "sh", "-c", _START),
            env=_environment(directory),
            stdout=log,
            stderr=log,
        )
    made = Charon(directory, process)
    try:
        async with asyncio.timeout(10):
            while not (directory / "vici").exists():
                assert process.returncode is None, made.log()
                await asyncio.sleep(0.02)
        yield made
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), 10)


def _write_configuration(directory: Path, eap_radius: str, connection: str) -> None:
    directory.mkdir()
    (directory / "strongswan.conf").write_text(
        f"charon {{\n load = {_LOADED}\n filelog {{ stderr {{ default = 1 }} }}\n plugins {{\n"
        f"  vici {{ socket = unix://{directory}/vici }}\n{eap_radius}\n }}\n}}\n"
    )
    (directory / "swanctl.conf").write_text(connection)


def gateway_settings(auth_port: int, acct_port: int, secret: str) -> str:
    return (
        "eap-radius {\n accounting = yes\n accounting_send_class = yes\n station_id_with_port = no\n"
        f" servers {{ headend {{\n address = 127.0.0.1\n secret = {secret}\n auth_port = {auth_port}\n"
        f" acct_port = {acct_port}\n }} }}\n"
        f" dae {{\n enable = yes\n listen = 127.0.0.1\n port = {DAE_PORT}\n secret = {secret}\n }}\n}}"
    )


GATEWAY_CONNECTION = f"""
connections {{ vpn {{ version = 1
  local_addrs = {GATEWAY}
  pools = radius
  encap = yes
  local {{ auth = psk }}
  remote {{ auth = psk }}
  remote-user {{ auth = xauth-radius
    round = 2 }}
  children {{ net {{ local_ts = {INSIDE}/32
    esp_proposals = aes128-sha256 }} }} }} }}
secrets {{ ike-1 {{ secret = "sesame" }} }}
"""


GATEWAY_IKEV2 = f"""
connections {{ vpn {{ version = 2
  local_addrs = {GATEWAY}
  pools = radius
  encap = yes
  local {{ auth = psk
    id = gateway }}
  remote {{ auth = eap-radius
    eap_id = %any }}
  children {{ net {{ local_ts = {INSIDE}/32
    esp_proposals = aes128-sha256 }} }} }} }}
secrets {{ ike-1 {{ id = gateway
    secret = "sesame" }} }}
"""


def client_ikev2(username: str, password: str) -> str:
    """The gateway proves itself by a key that both have, the client by EAP-MSCHAPv2."""
    return f"""
connections {{ vpn {{ version = 2
  local_addrs = {CLIENT}
  remote_addrs = {GATEWAY}
  vips = 0.0.0.0
  encap = yes
  local {{ auth = eap-mschapv2
    eap_id = {username} }}
  remote {{ auth = psk
    id = gateway }}
  children {{ net {{ remote_ts = {INSIDE}/32
    esp_proposals = aes128-sha256 }} }} }} }}
secrets {{ ike-1 {{ id = gateway
    secret = "sesame" }}
  eap-1 {{ id = {username}
    secret = {password} }} }}
"""


def client_connection(username: str, password: str) -> str:
    return f"""
connections {{ vpn {{ version = 1
  local_addrs = {CLIENT}
  remote_addrs = {GATEWAY}
  vips = 0.0.0.0
  encap = yes
  local {{ auth = psk }}
  local-user {{ auth = xauth
    xauth_id = {username}
    round = 2 }}
  remote {{ auth = psk }}
  children {{ net {{ remote_ts = {INSIDE}/32
    esp_proposals = aes128-sha256 }} }} }} }}
secrets {{ ike-1 {{ secret = "sesame" }}
  xauth-1 {{ id = {username}
    secret = {password} }} }}
"""


def connect(client: Charon) -> None:
    """A wire between the gateway, in whose namespace this thread is, and the client."""
    run("ip", "link", "add", "wire0", "type", "veth", "peer", "name", "wire1", "netns", str(client.process.pid))
    for command in (f"addr add {GATEWAY}/24 dev wire0", "link set wire0 up", f"addr add {INSIDE}/32 dev lo"):
        run("ip", *command.split())
    for command in ("link set lo up", f"addr add {CLIENT}/24 dev wire1", "link set wire1 up"):
        client.inside("ip", *command.split())


def _environment(directory: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "STRONGSWAN_CONF": str(directory / "strongswan.conf")}
