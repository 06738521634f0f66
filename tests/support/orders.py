"""Controllers that are started one after the other, each stopped at a point of an order, to be killed there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def controllers(url: str, directory: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.order_child", url, str(directory)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            # Without it, a failed test would wait for ever: the parent reads until its input ends.
            process.kill()


def started_until(process: subprocess.Popen[str], stop: str, printed: str) -> int:
    """Start a controller that stops at `stop`; its process id, once it has printed `printed`."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{stop}\n")
    process.stdin.flush()
    started = 0
    for line in process.stdout:
        if line.strip().isdecimal():
            started = int(line)
        if line.strip() == printed:
            return started
    raise AssertionError(f"ended before {printed!r}")
