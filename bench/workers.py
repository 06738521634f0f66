"""Two processes on one RADIUS port: what a request costs, beside one process alone (same PostgreSQL, same core)."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import headend, radload
from bench.postgres import Postgres, binaries
from bench.results import Result, compared

USERS = 20_000
_OUTSTANDING = 1_024
"""Enough for the generator to use several source ports: the kernel spreads by them."""


def run(seconds: float, rounds: int) -> Sequence[Result]:
    """One, two, one, two …; without PostgreSQL nothing, for two processes need a database that both can open."""
    radload.build()
    if not binaries():
        print("PostgreSQL is not installed: apt-get install postgresql")
        return []
    alone, pair = [], []
    with tempfile.TemporaryDirectory(prefix="headend-bench-", dir="/tmp") as name:
        directory = Path(name)
        directory.chmod(0o755)
        with Postgres(directory / "pg", core=0) as postgres:
            postgres.create("headend")
            site = headend.prepare(directory / "one", postgres.dsn("headend"), USERS).beside("worker-1")
            other = site.beside("worker-2")
            for _ in range(rounds):
                with _started(site) as one:
                    alone.append(_cost(site.auth_port, seconds, {"one": one.pid}))
                    with _started(other) as two:
                        pair.append(_cost(site.auth_port, seconds, {"one": one.pid, "two": two.pid}))
    return [
        compared(
            "radius.pap.two-workers",
            round(statistics.median(pair), 2),
            "µs CPU/request",
            f"{rounds} runs of {seconds:g} s, both processes counted",
            peer="one worker",
            peer_value=round(statistics.median(alone), 2),
            goal="ratio <= 1.1",
            meets=lambda ratio: ratio <= 1.1,
        )
    ]


def _cost(port: int, seconds: float, cpu_of: dict[str, int]) -> float:
    measured = radload.load(
        "pap", port, seconds=seconds, outstanding=_OUTSTANDING, secret=headend.SECRET, cpu_of=cpu_of, users=USERS
    )
    if measured["reject"] or not measured["accept"]:
        raise SystemExit(f"the run is void: {measured}")
    print({name: round(measured[f"{name}_us"], 2) for name in cpu_of})
    return sum(float(measured[f"{name}_us"]) for name in cpu_of)


@contextlib.contextmanager
def _started(site: headend.Site) -> Iterator[subprocess.Popen[bytes]]:
    process = headend.start(site)
    try:
        yield process
    finally:
        headend.stop(process)
