"""A controller to kill: fulfils the orders of one database on a network that lies in a file.

    python -m tests.support.order_child DATABASE_URL DIRECTORY

With "place" in DIRECTORY/place it places one order first. It stops for ever at the point that DIRECTORY/stop names,
such as "converge+" (after the device was changed, before anything knows it), and prints the point's name. When an order
is completed it prints "completed" and ends.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from controller.store.engine import Database
from tests.support.isp import ACTOR, open_isp


async def main(url: str, directory: Path) -> None:
    database = Database(url)
    stop = (directory / "stop").read_text()

    async def at(where: str) -> None:
        if where == stop:
            print(where, flush=True)
            await asyncio.Event().wait()

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


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
