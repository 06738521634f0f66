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
    try:
        settings = load()
        if arguments.command == "line":
            return asyncio.run(line.run(settings))
        return asyncio.run(Demo(settings).run())
    except (Unusable, ServerFailed, ApiRefused) as error:
        print(error, file=sys.stderr)
    except httpx2.TransportError as error:
        print(f"The controller does not answer ({error}). Is the demo running? `make run` starts it.", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
