"""Starts `headend serve` again and again without importing it anew: a test kills it more often than there is time.

    python zygote.py

Each line on standard input starts one controller in a process of its own (a fork, made before any thread or socket of
the program exists); its process id is printed, and its end reaped. The settings come from the environment.
"""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    from controller.app import process, settings

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    for _line in sys.stdin:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os._exit(process.serve(settings.load()))
        print(child, flush=True)


if __name__ == "__main__":
    main()
