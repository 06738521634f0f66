"""Databases for tests: every store and scenario test runs on SQLite and on a PostgreSQL that we start ourselves.

    async def test_something(database: Database) -> None: ...

`database` is parametrised over both; its tables exist. PostgreSQL is skipped, with the reason, where it is missing.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, make_url

from controller.app.schema import metadata
from controller.store.engine import Database
from controller.store.jobs import Jobs
from tests.support import reuse, temporary
from tests.support.ports import free_port


def postgres_binaries() -> Path | None:
    """The newest installed PostgreSQL's bin directory (Debian keeps one per major version)."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


class PostgresServer:
    """A PostgreSQL of our own on a free port of 127.0.0.1, durable settings as in production."""

    def __init__(self, directory: Path, *options: str) -> None:
        binaries = postgres_binaries()
        assert binaries is not None
        # PostgreSQL refuses to run as root: it is then started as the package's own user.
        identity = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        directory.mkdir(parents=True, exist_ok=True)
        if identity:
            shutil.chown(directory, "postgres", "postgres")
        data = directory / "data"
        subprocess.run(
            [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
            **identity,
        )
        self._prepared = False
        self._clean: list[str] = []
        self._uses: dict[str, int] = {}
        self.port = free_port()
        self.process = subprocess.Popen(
            [
                binaries / "postgres", "-D", data, "-p", str(self.port), "-k", str(directory),
                "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200", *options,
            ],
            stdout=subprocess.DEVNULL,
            stderr=(directory / "log").open("wb"),
            cwd="/",
            **identity,
        )  # fmt: skip
        deadline = time.monotonic() + 20
        while True:
            try:
                psycopg.connect(self.dsn("postgres"), autocommit=True).close()
                return
            except psycopg.OperationalError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((directory / "log").read_text()) from None
                time.sleep(0.05)

    def dsn(self, name: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{name}"

    def create(self, name: str, template: str = "template1") -> str:
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def drop(self, name: str) -> None:
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def lend(self) -> str:
        """The name of a database with every table and trigger and no row, to be given back."""
        if not self._prepared:
            _create_tables(self.create(TEMPLATE))
            _create_jobs(self.url(TEMPLATE))
            reuse.prepare(self.dsn(TEMPLATE))
            self._prepared = True
        if self._clean:
            return self._clean.pop()
        name = f"t{uuid.uuid4().hex}"
        self.create(name, TEMPLATE)
        self._uses[name] = 0
        return name

    def give_back(self, name: str) -> None:
        self._uses[name] += 1
        if self._uses[name] < reuse.MOST_USES and reuse.empty(self.dsn(name)):
            self._clean.append(name)
        else:
            self.drop(name)

    def stop(self) -> None:
        """At once, whoever is connected: what a failed test left open would be waited for without end."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    if postgres_binaries() is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    directory = temporary.root() / f"headend-pg-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    server = PostgresServer(directory)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


TEMPLATE = "headend_template"
"""The PostgreSQL database that every test's own is copied from."""


def _create_tables(url: str) -> None:
    engine = create_engine(url)
    metadata.create_all(engine)
    engine.dispose()


def _create_jobs(url: str) -> None:
    """The tables of the jobs library, which makes them itself: on a loop of its own, wherever this is called from."""

    async def create() -> None:
        with tempfile.TemporaryDirectory() as directory:
            jobs = Jobs(make_url(url), Path(directory))
            await jobs.launch()
            await jobs.close()

    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(asyncio.run, create()).result()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "headend.db"
    _create_tables(f"sqlite:///{path}")
    return path


@pytest.fixture
async def sqlite_database(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty SQLite database with every table, for tests that are not about the store."""
    shutil.copy(sqlite_template, tmp_path / "headend.db")
    opened = Database(f"sqlite+aiosqlite:///{tmp_path}/headend.db")
    try:
        yield opened
    finally:
        await opened.close()


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database with every table and trigger, once on SQLite and once on PostgreSQL."""
    server: PostgresServer | None = None
    name = ""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "headend.db")
        url = f"sqlite+aiosqlite:///{tmp_path}/headend.db"
    else:
        server = request.getfixturevalue("postgres")
        name = server.lend()
        url = server.url(name)
    opened = Database(url)
    try:
        yield opened
    finally:
        await opened.close()
        if server is not None:
            server.give_back(name)
