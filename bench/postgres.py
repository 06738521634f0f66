"""A PostgreSQL of the benchmark's own, durable as in production, pinned to a core, or to some ("0,1")."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg

from bench.headend import free_port


def binaries() -> Path | None:
    """The newest installed PostgreSQL's programs (Debian keeps one directory per major version)."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return found[-1] if found else None


class Postgres:
    """`with Postgres(directory, core=0) as postgres`: fsync and synchronous_commit on, both sides use it."""

    def __init__(self, directory: Path, *, core: int | str) -> None:
        programs = binaries()
        assert programs is not None, "the caller asks first"
        # PostgreSQL refuses to run as root: it is then started as the package's own user.
        identity: dict[str, Any] = {}
        directory.mkdir()
        if os.geteuid() == 0:
            identity = {"user": "postgres", "group": "postgres", "extra_groups": []}
            shutil.chown(directory, "postgres", "postgres")
            directory.parent.chmod(directory.parent.stat().st_mode | 0o011)  # a temporary directory lets nobody through
        data, self.port = directory / "data", free_port()
        initdb = [
            str(programs / "initdb"),
            "-D",
            str(data),
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
        ]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd="/", **identity)
        settings = ("shared_buffers=256MB", "max_wal_size=2GB", "fsync=on", "synchronous_commit=on")
        command = [
            *("taskset", "-c", str(core), str(programs / "postgres"), "-D", str(data), "-p", str(self.port)),
            *("-k", str(directory), "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=100"),
            *(part for setting in settings for part in ("-c", setting)),
        ]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=(directory / "log").open("wb"), cwd="/", **identity
        )
        self._log = directory / "log"

    @property
    def pid(self) -> int:
        """The postmaster; its children are the backends."""
        return self._process.pid

    def processor_s(self) -> float:
        """Seconds of processor that it has had, with its backends, those that ended too (Linux)."""
        ticks = 0
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except OSError:  # it has ended meanwhile; its parent has its time
                continue
            if int(path.parent.name) == self.pid:
                ticks += sum(int(fields[n]) for n in (11, 12, 13, 14))
            elif int(fields[1]) == self.pid:
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def __enter__(self) -> Postgres:
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.dsn("postgres")).close()
                return self
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"PostgreSQL did not start:\n{self._log.read_text()}") from None
                time.sleep(0.05)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(60)

    def dsn(self, name: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def create(self, name: str) -> None:
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
