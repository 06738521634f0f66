"""`headend serve` as the measured side: a data directory with subscribers, a process on free ports, log and metrics."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from controller.app.migration import migrate
from controller.domain.clock import SystemClock
from controller.domain.identity import NasId, new_id
from controller.domain.ports import Secret
from controller.store.engine import Database
from controller.store.secrets import load_or_create
from radius import repository
from radius.repository import NasRow

SECRET = "testing123"


@dataclass(frozen=True, slots=True)
class Site:
    """Where one server's data lies and on which ports it serves."""

    data_dir: Path
    database_url: str
    http_port: int
    auth_port: int
    acct_port: int
    worker: str = ""
    """Name of this one of several processes on the same ports; empty for the only one."""

    def beside(self, worker: str) -> Site:
        """Another process on the same RADIUS ports and database, with a data directory and a page of its own."""
        directory = self.data_dir.parent / f"{self.data_dir.name}-{worker}"
        directory.mkdir(mode=0o700)
        shutil.copy2(self.data_dir / "headend.key", directory / "headend.key")
        return replace(self, data_dir=directory, http_port=free_port(), worker=worker)

    @property
    def environment(self) -> dict[str, str]:
        shared = {"HEADEND_EXECUTOR_ID": self.worker, "HEADEND_SHARE_RADIUS_PORTS": "true"} if self.worker else {}
        return (
            os.environ
            | shared
            | {
                "HEADEND_DATA_DIR": str(self.data_dir),
                "HEADEND_DATABASE_URL": self.database_url,
                "HEADEND_HTTP_PORT": str(self.http_port),
                "HEADEND_AUTH_PORT": str(self.auth_port),
                "HEADEND_ACCT_PORT": str(self.acct_port),
            }
        )


def free_port() -> int:
    """A port that is free for TCP and UDP on 127.0.0.1."""
    while True:
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port: int = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def prepare(data_dir: Path, database_url: str, subscribers: int) -> Site:
    """A fresh site: schema, one MikroTik NAS at 127.0.0.1, and user000000 / pw000000 …"""
    data_dir.mkdir(parents=True, mode=0o700)
    url = database_url.replace("postgresql://", "postgresql+psycopg://", 1)
    url = url or f"sqlite+aiosqlite:///{data_dir}/headend.db"
    migrate(url, datetime.now(UTC))
    asyncio.run(_fill(url, data_dir, subscribers))
    return Site(data_dir, database_url, free_port(), free_port(), free_port())


async def _fill(url: str, data_dir: Path, subscribers: int) -> None:
    box, now = load_or_create(data_dir / "headend.key"), SystemClock().now()
    nas_id = NasId(new_id(now))
    nas = NasRow(nas_id, "bench", "127.0.0.1", "mikrotik", 3799, 300, False, True, now, now)
    base = int(ipaddress.ip_address("100.64.0.0"))
    database = Database(url)
    async with database.begin() as conn:
        await repository.insert_nas(conn, nas, box.seal(Secret(SECRET), repository.nas_context(nas_id)))
        for start in range(0, subscribers, 10_000):
            rows = []
            for number in range(start, min(start + 10_000, subscribers)):
                service_id = f"{number:032x}"
                rows.append(
                    {
                        "username": f"user{number:06d}",
                        "service_id": service_id,
                        "password": repository.seal_password(box, Secret(f"pw{number:06d}"), service_id),
                        "profile_name": "gold-100",
                        "downstream_bps": 100_000_000,
                        "upstream_bps": 100_000_000,
                        "framed_ipv4": str(ipaddress.ip_address(base + number)),
                        "enabled": True,
                        "withdrawn": False,
                        "updated_at": now,
                    }
                )
            await repository.insert_subscribers(conn, rows)
    await database.close()


def start(site: Site, core: int = 0) -> subprocess.Popen[bytes]:
    """Start the server on one core and wait until /healthz says it is ready."""
    process = subprocess.Popen(
        ["taskset", "-c", str(core), sys.executable, "-c", "from controller.app.cli import main; main()", "serve"],
        env=site.environment,
        stdout=(site.data_dir / "log").open("ab"),
        stderr=subprocess.STDOUT,
    )
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{site.http_port}/healthz", timeout=2) as answer:
                if answer.status == 200:
                    return process
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass  # not listening yet
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise SystemExit(f"headend serve did not start:\n{(site.data_dir / 'log').read_text()[-4000:]}")
        time.sleep(0.1)


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
