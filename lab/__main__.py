"""`python -m lab`: the demo ISP. `python -m lab line`: one line from order to invoice against the running demo."""

from __future__ import annotations

import argparse
import asyncio
import sys

import httpx2

from lab import line
from lab.api import ApiRefused
from lab.demo import Demo
from lab.settings import Unusable, load
from lab.supervisor import ServerFailed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lab", description="A small living ISP around `headend serve`.")
    parser.add_argument("command", nargs="?", choices=("line",), help="order, activate and invoice one line")
    arguments = parser.parse_args()
    status = 2
    try:
        settings = load()
        status = asyncio.run(line.run(settings) if arguments.command == "line" else Demo(settings).run())
    except* (Unusable, ServerFailed, ApiRefused) as refused:
        print(_first(refused), file=sys.stderr)
    except* httpx2.TransportError as silent:
        print(f"The controller does not answer: {_first(silent)}. Is the demo running?", file=sys.stderr)
    return status


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    """The first thing that went wrong; what it took down with it is of no interest to the reader."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


if __name__ == "__main__":
    sys.exit(main())
