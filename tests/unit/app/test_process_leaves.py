"""A process that has closed everything ends, whatever a library's threads still wait for."""

from __future__ import annotations

import subprocess
import sys

STUCK = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from controller.app import process

process._LEAVING_S = 0.2
process._run = lambda settings: {status}
ThreadPoolExecutor(1).submit(threading.Event().wait)
sys.exit(process.serve(None))
"""


def test_a_thread_that_waits_for_ever_does_not_keep_the_process() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", STUCK.format(status=3)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, "left-behind" in ended.stdout + ended.stderr) == (3, True), ended
