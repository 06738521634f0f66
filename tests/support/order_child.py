"""A controller to kill: fulfils the orders of one database on a network that lies in a file.

    python -m tests.support.order_child DATABASE_URL DIRECTORY POINT

It runs until the point, such as "converge+" (after the device was changed, before anything knows it), prints its name
and stops there for ever. With DIRECTORY/place it places one order first. It ends when an order is completed.
"""

from __future__ import annotations

import asyncio
import os
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
        sweeping.cancel()
    await database.close()


if __name__ == "__main__":
    asyncio.run(fulfil(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
