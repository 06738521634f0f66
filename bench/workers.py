"""Two processes on one RADIUS port: what a request costs, beside one process alone on the same PostgreSQL.

    core 0       worker 1, PostgreSQL
    last core    the generator, and worker 2: a worker more is a core more, that is what it is for

Both on one core is measured as well, and has no goal: nobody runs it so. There the two push each other's working set
out of the core's caches at every turn of the scheduler, and each has its polls of the database to pay out of half a
core. On a machine with one core there is nothing else to measure.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bench import headend, radload
from bench.postgres import Postgres, binaries
from bench.results import Result, compared

USERS = 20_000
_OUTSTANDING = 1_024
_SOCKETS = 64
"""Source ports of the generator: the kernel spreads by them, and by few of them unevenly."""


def run(seconds: float, rounds: int) -> Sequence[Result]:
    """One, two, one, two …; without PostgreSQL nothing, for two processes need a database that both can open."""
    radload.build()
    if not binaries():
        print("PostgreSQL is not installed: apt-get install postgresql")
        return []
    alone: list[float] = []
    pairs: dict[int, list[float]] = {core: [] for core in sorted({(os.cpu_count() or 1) - 1, 0}, reverse=True)}
    with tempfile.TemporaryDirectory(prefix="headend-bench-", dir="/tmp") as name:
        directory = Path(name)
        directory.chmod(0o755)
        with Postgres(directory / "pg", core=0) as postgres:
            postgres.create("headend")
            site = headend.prepare(directory / "one", postgres.dsn("headend"), USERS).beside("worker-1")
            other = site.beside("worker-2")
            with _started(site) as one:
                for _ in range(rounds):
                    alone.append(_cost(site.auth_port, seconds, {"one": one.pid}))
                    with _started(other) as two:
                        for core, costs in pairs.items():
                            _move(two, core)
                            costs.append(_cost(site.auth_port, seconds, {"one": one.pid, "two": two.pid}))
    scale = f"{rounds} runs of {seconds:g} s, both processes counted"
    results = [
        compared(
            "radius.pap.two-workers" if core else "radius.pap.two-workers-one-core",
            round(statistics.median(costs), 2),
            "µs CPU/request",
            f"a core each, {scale}" if core else f"on one core, {scale}",
            peer="one worker",
            peer_value=round(statistics.median(alone), 2),
            goal="ratio <= 1.1",
            meets=lambda ratio: ratio <= 1.1,
        )
        for core, costs in pairs.items()
    ]
    return [one if one.name == results[0].name else replace(one, goal=None, met=None) for one in results]


def _cost(port: int, seconds: float, cpu_of: dict[str, int]) -> float:
    measured = radload.load(
        "pap", port, seconds=seconds, outstanding=_OUTSTANDING, secret=headend.SECRET, cpu_of=cpu_of, users=USERS,
        sockets=_SOCKETS,
    )  # fmt: skip
    if measured["reject"] or not measured["accept"]:
        raise SystemExit(f"the run is void: {measured}")
    print({name: round(measured[f"{name}_us"], 2) for name in cpu_of})
    return sum(float(measured[f"{name}_us"]) for name in cpu_of)


def _move(process: subprocess.Popen[bytes], core: int) -> None:
    """Every thread of it."""
    subprocess.run(["taskset", "-a", "-p", "-c", str(core), str(process.pid)], check=True, capture_output=True)


@contextlib.contextmanager
def _started(site: headend.Site) -> Iterator[subprocess.Popen[bytes]]:
    process = headend.start(site)
    try:
        yield process
    finally:
        headend.stop(process)
