"""A million subscribers: how long a server takes until it answers, and how much memory it has by then."""

from __future__ import annotations

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
        octets = _resident(process.pid)
        headend.stop(process)
    scale = f"{SUBSCRIBERS:,} subscribers"
    return [
        Result("million.memory", round(octets / 1e6, 1), "MB", scale, goal="<= 1073.7", met=octets <= MOST_OCTETS),
        Result("million.ready", round(took, 2), "s", scale, goal=f"<= {MOST_S}", met=took <= MOST_S),
    ]


def _resident(pid: int) -> int:
    """Resident octets of a process (Linux)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
