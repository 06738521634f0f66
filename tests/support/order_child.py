"""A controller to kill: fulfils the orders of one database on a network that lies in a file.

    python -m tests.support.order_child DATABASE_URL DIRECTORY

Each line on standard input names a point, such as "converge+" (after the device was changed, before anything knows it),
and starts one controller as a fork, so that it need not be imported anew. It prints its process id, runs until the
point, prints its name and stops there for ever. With DIRECTORY/place it places one order first. When an order is
completed it prints "completed" and ends.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from controller.store.engine import Database
from tests.support.isp import ACTOR, open_isp


async def fulfil(url: str, directory: Path, stop: str) -> None:
    database, parent = Database(url), os.getppid()

    async def at(where: str) -> None:
        if where == stop:
            print(where, flush=True)
            while os.getppid() == parent:  # noqa: ASYNC110 (a test that failed leaves nothing behind)
                await asyncio.sleep(0.2)

    async with open_isp(database, directory, at) as isp:
        if (directory / "place").exists():
            (directory / "place").unlink()
            await isp.placement.place(await isp.add_request(), actor=ACTOR)
            await at("placed")
        sweeping = asyncio.create_task(isp.fulfilment.run())
        (order,) = await isp.orders.orders(limit=2)
        await isp.until(order.order_id, lambda story: not story.order.is_open)
        print("completed", flush=True)
        sweeping.cancel()
    await database.close()


def main(url: str, directory: Path) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            print(os.getpid(), flush=True)
            asyncio.run(fulfil(url, directory, line.strip()))
            os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
