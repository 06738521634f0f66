"""`python -m bench.directory URL DATA_DIR`: load the directory from its rows, print what it costs, as JSON."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from pathlib import Path

from controller.store.engine import Database
from controller.store.secrets import load_or_create
from radius.authorization.directory import Directory
from radius.follower import Follower, Registry


def resident_octets() -> int:
    """Resident memory of this process (Linux)."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


async def main(url: str, data_dir: Path) -> None:
    database, directory = Database(url), Directory()
    box = load_or_create(data_dir / "headend.key")
    await database.check()
    gc.collect()
    before, began = resident_octets(), time.perf_counter()
    await Follower(database, box, Registry(), directory).load()
    took = time.perf_counter() - began
    gc.collect()
    grown = resident_octets() - before
    await database.close()
    print(json.dumps({"subscribers": len(directory), "octets": grown, "seconds": took}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
