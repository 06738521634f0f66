"""A real net-snmp agent for tests, v2c and v3, on a free port of 127.0.0.1."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_CONFIG = """
rocommunity public 127.0.0.1
createUser reader SHA authentication-key AES privacy-key-1
createUser reader256 SHA-256 authentication-key AES privacy-key-1
rouser reader priv
rouser reader256 priv
"""


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class SnmpDaemon:
    def __init__(self, directory: Path) -> None:
        self.port = free_udp_port()
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "snmpd.conf").write_text(_CONFIG)
        self.log = directory / "log"
        self.process = subprocess.Popen(
            [
                "/usr/sbin/snmpd", "-f", "-C", "-c", str(directory / "snmpd.conf"), "-Lf", str(self.log),
                "-I", "-smux", f"udp:127.0.0.1:{self.port}",
            ],
            env=os.environ | {"SNMP_PERSISTENT_DIR": str(directory / "var"), "MIBS": ""},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 20
        while "NET-SNMP version" not in (self.log.read_text() if self.log.exists() else ""):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(self.log.read_text() if self.log.exists() else "snmpd did not start")
            time.sleep(0.05)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture(scope="session")
def snmpd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SnmpDaemon]:
    if shutil.which("/usr/sbin/snmpd") is None:
        pytest.skip("snmpd is not installed: apt-get install snmpd")
    daemon = SnmpDaemon(tmp_path_factory.mktemp("snmpd"))
    try:
        yield daemon
    finally:
        daemon.stop()
