"""`python -m lab.fleet`: dials, prints the figures, and writes what was acknowledged to a file if asked to.

Users are line00000, line00001 … with one password; the NAS 127.0.1.1, 127.0.1.2 … must be registered with the secret.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from dataclasses import asdict
from pathlib import Path

from lab.fleet.fleet import Fleet
from lab.fleet.network import Faults
from lab.fleet.user import User


def users(count: int, password: str, records: int, seed: int) -> list[User]:
    """In a seeded order, each with an address and a session of its own."""
    made = [
        User(
            username=f"line{number:05}".encode(),
            password=password.encode(),
            session_id=f"{seed & 0xFFFF:04x}{number:08x}".encode(),
            address=(0x64400000 + number).to_bytes(4, "big"),
            records=records,
        )
        for number in range(count)
    ]
    random.Random(seed).shuffle(made)
    return made


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lab.fleet", description=__doc__)
    parser.add_argument("--auth-port", type=int, required=True)
    parser.add_argument("--acct-port", type=int, required=True)
    parser.add_argument("--secret", required=True)
    parser.add_argument("--password", required=True)
    parser.add_argument("--users", type=int, default=1_000)
    parser.add_argument("--nas", type=int, default=4)
    parser.add_argument("--ports", type=int, default=8, help="source ports of each NAS")
    parser.add_argument("--records", type=int, default=2, help="accounting records of each session, Start and Stop too")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between two records of a session")
    parser.add_argument("--loss", type=float, default=0.02)
    parser.add_argument("--duplicate", type=float, default=0.01)
    parser.add_argument("--reorder", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=120.0, help="stop after so long")
    parser.add_argument("--acknowledged", type=Path, help="file for what was acknowledged, as JSON")
    given = parser.parse_args()
    dialling = users(given.users, given.password, given.records, given.seed)
    fleet = Fleet(
        dialling, given.secret.encode(), given.auth_port, given.acct_port, nas=given.nas, ports_per_nas=given.ports,
        faults=Faults(given.loss, given.duplicate, given.reorder), seed=given.seed, pause_s=given.pause,
    )  # fmt: skip
    report = fleet.run(given.seconds)
    print(report.text(), file=sys.stderr)
    json.dump(asdict(report), sys.stdout)
    if given.acknowledged is not None:
        told = {
            user.session_id.decode(): [user.acknowledged, user.upstream_octets] for user in dialling if not user.refused
        }
        given.acknowledged.write_text(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
