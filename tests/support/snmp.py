"""A real net-snmp agent for tests, v2c and v3, on a free port of 127.0.0.1."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ports import free_port

_CONFIG = """
rocommunity public 127.0.0.1
createUser reader SHA authentication-key AES privacy-key-1
createUser reader256 SHA-256 authentication-key AES privacy-key-1
rouser reader priv
rouser reader256 priv
"""


class SnmpDaemon:
    def __init__(self, directory: Path) -> None:
        self.port = free_port()
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


class DamagingRelay(asyncio.DatagramProtocol):
    """Stands before an agent and damages half of its answers: bits flipped, octets changed, the end cut off."""

    def __init__(self, agent_port: int, seed: int) -> None:
        self._agent = ("127.0.0.1", agent_port)
        self._random = random.Random(seed)
        self._tasks: set[asyncio.Task[None]] = set()
        self._upstream: list[asyncio.DatagramTransport] = []

    async def start(self) -> int:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        port: int = self._transport.get_extra_info("sockname")[1]
        return port

    def stop(self) -> None:
        for transport in (self._transport, *self._upstream):
            transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        task = asyncio.create_task(self._forward(data, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, data: bytes, client: tuple[str, int]) -> None:
        relay = self

        class Answers(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
                relay._transport.sendto(relay._damaged(data), client)

        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Answers, remote_addr=self._agent)
        self._upstream.append(transport)
        transport.sendto(data)

    def _damaged(self, data: bytes) -> bytes:
        found, draw = bytearray(data), self._random
        if draw.random() < 0.5:
            for _ in range(draw.randint(1, 3)):
                place = draw.randrange(len(found))
                found[place] = draw.choice((found[place] ^ 1 << draw.randrange(8), draw.randrange(256)))
            if draw.random() < 0.3:
                del found[draw.randrange(1, len(found)) :]
        return bytes(found)


@pytest.fixture(scope="session")
def snmpd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SnmpDaemon]:
    if shutil.which("/usr/sbin/snmpd") is None:
        pytest.skip("snmpd is not installed: apt-get install snmpd")
    daemon = SnmpDaemon(tmp_path_factory.mktemp("snmpd"))
    try:
        yield daemon
    finally:
        daemon.stop()
