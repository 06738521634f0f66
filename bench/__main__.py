"""`python -m bench [--only radius] [--seconds 4] [--rounds 3]`: run the parts, print the table, write latest.json.

A goal that was missed is said in the table and in the file; the exit status tells only whether everything could be run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from bench import billing, checks, million, radius, rating, workers
from bench.results import Result, table, write

PARTS: dict[str, Callable[[float, int], Sequence[Result]]] = {
    "radius": radius.run,
    "million": million.run,
    "workers": workers.run,
    "rating": rating.run,
    "billing": billing.run,
    "checks": checks.run,
}
"""Name of a part → what runs it with (seconds per run, rounds)."""
ALONE: dict[str, Callable[[float, int], Sequence[Result]]] = {"records": rating.hundred_million}
"""Parts that take a quarter of an hour: run where they are asked for by name."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", choices=sorted(PARTS | ALONE), help="run this part alone")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one run")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved runs of each side; medians are printed")
    chosen = parser.parse_args()
    results: list[Result] = []
    for name, run in (PARTS | ALONE).items():
        if chosen.only == name or (chosen.only is None and name in PARTS):
            results += run(chosen.seconds, chosen.rounds)
            # After each part: a later one that cannot be run takes nothing with it.
            written = write(results)
    print(table(results))
    print(f"\nwritten: {written}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
