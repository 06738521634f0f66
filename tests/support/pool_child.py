"""A process that asks for addresses of a pool, all at once, and prints what it got; or is killed when it has them.

    python -m tests.support.pool_child DATABASE_URL POOL_ID FIRST COUNT BEGIN [die]

It prints "ready" and asks as soon as there is a file BEGIN.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from controller.domain.clock import SystemClock
from controller.store.engine import Database
from radius.pools.allocator import Allocator
from radius.pools.lease import Owner


async def main(url: str, pool_id: str, first: int, count: int, begin: Path, dies: bool) -> None:
    database = Database(url)
    allocator = Allocator(database, SystemClock())
    owners = [Owner(f"{n:032x}", f"{n:012x}", "n" * 32, f"{n:032x}") for n in range(first, first + count)]
    print("ready", flush=True)
    while not begin.exists():  # noqa: ASYNC110, ASYNC240 (made by another process)
        await asyncio.sleep(0.001)
    answers = await asyncio.gather(*(allocator.hold(owner, [pool_id]) for owner in owners), return_exceptions=True)
    print(
        json.dumps([answer[pool_id] if isinstance(answer, dict) else [str(answer)] for answer in answers]), flush=True
    )
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)
    await database.close()


if __name__ == "__main__":
    _, url, pool_id, first, count, begin, *dies = sys.argv
    asyncio.run(main(url, pool_id, int(first), int(count), Path(begin), bool(dies)))
