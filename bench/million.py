"""A million subscribers: how long a server takes until it answers, and how much memory it has by then."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench import headend
from bench.results import Result

SUBSCRIBERS = 1_000_000
MOST_OCTETS = 2**30
MOST_S = 30


def run(_seconds: float, _rounds: int) -> Sequence[Result]:
    """One start of `headend serve` over SQLite; the whole process is counted, not the directory alone."""
    with tempfile.TemporaryDirectory(prefix="headend-bench-", dir="/tmp") as name:
        site = headend.prepare(Path(name) / "million", "", SUBSCRIBERS)
        began = time.perf_counter()
        process = headend.start(site)
        took = time.perf_counter() - began
        octets, busy_s = _resident(process.pid), _processor_s(process.pid)
        headend.stop(process)
    scale = f"{SUBSCRIBERS:,} subscribers, {busy_s:.1f} s CPU"
    return [
        Result("million.memory", round(octets / 1e6, 1), "MB", scale, goal="<= 1073.7", met=octets <= MOST_OCTETS),
        Result("million.ready", round(took, 2), "s", scale, goal=f"<= {MOST_S}", met=took <= MOST_S),
    ]


def _processor_s(pid: int) -> float:
    """Seconds of processor that a process has had, its threads together (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> int:
    """Resident octets of a process (Linux)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
