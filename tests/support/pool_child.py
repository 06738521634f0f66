"""A process that asks for addresses of a pool, all at once, and prints what it got; or is killed when it has them.

python pool_child.py DATABASE_URL POOL_ID FIRST COUNT [die]
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys

from controller.domain.clock import SystemClock
from controller.store.engine import Database
from radius.pools.allocator import Allocator
from radius.pools.lease import Owner


async def main(url: str, pool_id: str, first: int, count: int, dies: bool) -> None:
    database = Database(url)
    allocator = Allocator(database, SystemClock())
    owners = [Owner(f"{n:032x}", f"{n:012x}", "n" * 32, f"{n:032x}") for n in range(first, first + count)]
    sys.stdin.readline()
    answers = await asyncio.gather(*(allocator.hold(owner, [pool_id]) for owner in owners), return_exceptions=True)
    print(
        json.dumps([answer[pool_id] if isinstance(answer, dict) else [str(answer)] for answer in answers]), flush=True
    )
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)
    await database.close()


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), len(sys.argv) > 5))
