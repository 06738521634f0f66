"""hostapd as a wired 802.1X switch port and wpa_supplicant on the other end of its cable, both in this namespace."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.daemon import Daemon, daemon
from tests.support.eapol import network
from tests.support.namespaces import run

PORT, DEVICE = "port1", "eth7"
DAE_PORT = 3799


def why_not() -> str | None:
    """Which package is missing; None when both are there."""
    if shutil.which("hostapd") is None or shutil.which("wpa_supplicant") is None:
        return "apt-get install hostapd wpasupplicant"
    return None


@asynccontextmanager
async def switch(directory: Path, *, auth_port: int, acct_port: int, secret: str) -> AsyncIterator[Daemon]:
    """hostapd on PORT of a cable whose other end is DEVICE; it takes Disconnect-Requests from 127.0.0.1."""
    run("ip", "link", "add", PORT, "type", "veth", "peer", "name", DEVICE)
    for link in (PORT, DEVICE):
        run("ip", "link", "set", link, "up")
    settings = {
        "interface": PORT,
        "driver": "wired",
        "ieee8021x": 1,
        "use_pae_group_addr": 1,
        "nas_identifier": "switch-1",
        "own_ip_addr": "127.0.0.1",
        "auth_server_addr": "127.0.0.1",
        "auth_server_port": auth_port,
        "auth_server_shared_secret": secret,
        "acct_server_addr": "127.0.0.1",
        "acct_server_port": acct_port,
        "acct_server_shared_secret": secret,
        "radius_das_port": DAE_PORT,
        "radius_das_client": f"127.0.0.1 {secret}",
        "radius_das_require_message_authenticator": 1,
    }
    path = directory / "hostapd.conf"
    path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    async with daemon(directory / "hostapd.log", "hostapd", "-d", str(path)) as started:
        await started.said("AP-ENABLED")
        yield started


@asynccontextmanager
async def device(directory: Path, eap: str, identity: str, **fields: str | int) -> AsyncIterator[Daemon]:
    """wpa_supplicant on DEVICE; fields are those of its network block."""
    path = directory / "supplicant.conf"
    path.write_text("ap_scan=0\n" + network(eap, identity, **fields))
    command = ("wpa_supplicant", "-d", "-Dwired", f"-i{DEVICE}", f"-c{path}")
    async with daemon(directory / "supplicant.log", *command) as started:
        yield started
