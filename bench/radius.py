"""RADIUS: PAP, MS-CHAP version 2, durable accounting, the directory; interleaved with FreeRADIUS (theirs, ours, …).

Servers and PostgreSQL run on core 0, the generator on core 1. CPU is what the kernel charged the server's threads (and
PostgreSQL's processes) between the beginning and the end of a run, divided by the requests answered in it.
"""

from __future__ import annotations

import contextlib
import json
import operator
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench import freeradius, headend, radload
from bench.postgres import Postgres, binaries
from bench.results import Result, compared

USERS = 100_000
LOGINS = {"pap": ("radius.pap", 0.75), "mschap": ("radius.mschapv2", 0.85)}
"""Method of the generator → name of the figure, and at most how much of FreeRADIUS's processor it may cost."""
OUTSTANDING = 256
"""Accounting records that wait for their answers at any time."""
ACCOUNTING_SHARE = 0.125
"""At most this part of FreeRADIUS's processor for a durable record on PostgreSQL, which is counted on both sides."""
ACCOUNTING_P99_US = 25_000
Run = dict[str, Any]


def run(seconds: float, rounds: int) -> Sequence[Result]:
    """Everything of this part. Without FreeRADIUS or PostgreSQL the figures that need them are left out or open."""
    radload.build()
    absent = freeradius.missing()
    if absent:
        print(absent)
    with tempfile.TemporaryDirectory(prefix="headend-bench-", dir="/tmp") as name:
        directory = Path(name)
        directory.chmod(0o755)
        results = [*_logins_and_sqlite(directory, seconds, rounds, absent is None)]
        if not binaries():
            print("PostgreSQL is not installed: apt-get install postgresql")
            return results
        with Postgres(directory / "pg", core=0) as postgres:
            results += _postgresql(directory, postgres, seconds, rounds, absent is None)
    return results


def _logins_and_sqlite(directory: Path, seconds: float, rounds: int, with_peer: bool) -> Iterator[Result]:
    site = headend.prepare(directory / "sqlite", "", USERS)
    yield from _directory(site)
    ours: dict[str, list[Run]] = {method: [] for method in LOGINS}
    theirs: dict[str, list[Run]] = {method: [] for method in LOGINS}
    rate: list[Run] = []
    with contextlib.ExitStack() as stack:
        peers = {method: _start_freeradius_files(stack, directory, method) for method in LOGINS} if with_peer else {}
        server = stack.enter_context(_headend(site))
        for number in range(rounds):
            for method in LOGINS:
                if with_peer:
                    process, port = peers[method]
                    theirs[method].append(_login(method, port, process.pid, seconds))
                ours[method].append(_login(method, site.auth_port, server.pid, seconds))
            rate.append(_acct(site.acct_port, {"server": server.pid}, seconds, number + 1))
    scale = f"{USERS:,} subscribers, {rounds} runs of {seconds:g} s"
    for method, (name, goal) in LOGINS.items():
        yield compared(
            name,
            _median(ours[method], "server_us"),
            "µs CPU/request",
            scale,
            peer=f"{freeradius.version()} files" if with_peer else "FreeRADIUS files",
            peer_value=_median(theirs[method], "server_us") if with_peer else None,
            goal=f"ratio <= {goal}",
            meets=partial(operator.ge, goal),
        )
        yield Result(f"{name}.rate", _median(ours[method], "rps"), "requests/s", scale)
        yield Result(f"{name}.p99", _median(ours[method], "p99"), "µs", scale)
    value = _median(rate, "rps")
    cost = f"{scale}, {_median(rate, 'server_us'):.1f} µs CPU/record"
    yield Result("radius.acct.sqlite", value, "records/s", cost, goal=">= 25000", met=value >= 25_000)


def _postgresql(directory: Path, postgres: Postgres, seconds: float, rounds: int, with_peer: bool) -> Iterator[Result]:
    postgres.create("headend")
    site = headend.prepare(directory / "postgresql", postgres.dsn("headend"), USERS)
    ours, theirs = [], []
    with contextlib.ExitStack() as stack:
        peer = _start_freeradius_sql(stack, directory, postgres) if with_peer else None
        server = stack.enter_context(_headend(site))
        for number in range(rounds):
            if peer is not None:
                theirs.append(_acct(peer[1], {"server": peer[0].pid, "pg": postgres.pid}, seconds, number + 1))
            ours.append(_acct(site.acct_port, {"server": server.pid, "pg": postgres.pid}, seconds, number + 1))
    scale = f"{rounds} runs of {seconds:g} s, server and PostgreSQL counted"
    yield compared(
        "radius.acct.postgresql",
        _both(ours),
        "µs CPU/record",
        scale,
        peer=f"{freeradius.version()} radacct" if with_peer else "FreeRADIUS radacct",
        peer_value=_both(theirs) if theirs else None,
        goal=f"ratio <= {ACCOUNTING_SHARE}",
        meets=partial(operator.ge, ACCOUNTING_SHARE),
    )
    yield Result("radius.acct.postgresql.rate", _median(ours, "rps"), "records/s", scale)
    value = _median(ours, "p99")
    yield Result(
        "radius.acct.postgresql.p99", value, "µs", f"{scale}, {OUTSTANDING} outstanding",
        peer=f"{freeradius.version()} radacct" if theirs else None,
        peer_value=_median(theirs, "p99") if theirs else None,
        goal=f"<= {ACCOUNTING_P99_US}", met=value <= ACCOUNTING_P99_US,
    )  # fmt: skip


def _directory(site: headend.Site) -> Iterator[Result]:
    url = f"sqlite+aiosqlite:///{site.data_dir}/headend.db"
    command = [sys.executable, "-m", "bench.directory", url, str(site.data_dir)]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    measured = json.loads(output.splitlines()[-1])
    scale = f"{measured['subscribers']:,} subscribers"
    yield Result("radius.directory.memory", round(measured["octets"] / 1e6, 1), "MB", scale)
    yield Result("radius.directory.load", round(measured["seconds"], 2), "s", scale)


def _login(method: str, port: int, pid: int, seconds: float) -> Run:
    measured = radload.load(
        method, port, seconds=seconds, outstanding=64, secret=headend.SECRET, cpu_of={"server": pid}, users=USERS
    )
    if measured["reject"] or not measured["accept"]:
        raise SystemExit(f"the run is void: {measured['reject']} logins were rejected: {measured}")
    return measured


def _acct(port: int, cpu_of: dict[str, int], seconds: float, tag: int) -> Run:
    return radload.load(
        "acct",
        port,
        seconds=seconds,
        outstanding=OUTSTANDING,
        secret=headend.SECRET,
        cpu_of=cpu_of,
        tag=tag,
        users=USERS,
    )


def _median(runs: Sequence[Run], key: str) -> float:
    return round(float(statistics.median(run[key] for run in runs)), 2)


def _both(runs: Sequence[Run]) -> float:
    return round(float(statistics.median(run["server_us"] + run["pg_us"] for run in runs)), 2)


@contextlib.contextmanager
def _headend(site: headend.Site) -> Iterator[subprocess.Popen[bytes]]:
    process = headend.start(site)
    try:
        yield process
    finally:
        headend.stop(process)


def _start_freeradius_files(
    stack: contextlib.ExitStack, directory: Path, method: str
) -> tuple[subprocess.Popen[bytes], int]:
    ports, own = freeradius.Ports(headend.free_port(), headend.free_port()), directory / f"files-{method}"
    freeradius.write_files(own, ports, USERS, ms_chap=method == "mschap")
    return _started(stack, own, ports.auth), ports.auth


def _start_freeradius_sql(
    stack: contextlib.ExitStack, directory: Path, postgres: Postgres
) -> tuple[subprocess.Popen[bytes], int]:
    ports = freeradius.Ports(headend.free_port(), headend.free_port())
    postgres.create("radius")
    freeradius.create_schema(postgres.dsn("radius"))
    freeradius.write_sql(directory / "sql", ports, postgres.port, "radius")
    return _started(stack, directory / "sql", ports.auth), ports.acct


def _started(stack: contextlib.ExitStack, directory: Path, auth_port: int) -> subprocess.Popen[bytes]:
    """Start it on core 0 and wait until its port is bound."""
    process = freeradius.start(directory)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    os.sched_setaffinity(process.pid, {0})
    deadline = time.monotonic() + 60
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", auth_port))
            except OSError:
                return process
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"FreeRADIUS did not start:\n{(directory / 'log' / 'stdout').read_text()[-4000:]}")
        time.sleep(0.1)
