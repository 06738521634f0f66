"""A process that counts usage and is killed in the moment in which a step is reached.

python quota_child.py DATABASE_URL before|after      the commit that puts the step into force
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import SystemClock
from controller.store.engine import Database
from radius.dynamic.model import Wanted
from radius.dynamic.queue import ChangeQueue
from radius.dynamic.reach import Reach
from radius.ports import LiveSession
from radius.quota.counter import QuotaCounter
from radius.quota.evaluation import Evaluation


async def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class DiesAfterwards(ChangeQueue):
    """Killed when it has written, before anything is committed."""

    async def enqueue(self, conn: AsyncConnection, session: LiveSession, wanted: Wanted, *, actor: str) -> None:
        await super().enqueue(conn, session, wanted, actor=actor)
        await die()


async def main(url: str, when: str) -> None:
    database, clock = Database(url), SystemClock()
    kind = DiesAfterwards if when == "before" else ChangeQueue
    queue = kind(database, clock, Reach.__new__(Reach), lambda _session, _nas, _change: None)
    await QuotaCounter(database, clock, Evaluation(queue), die).catch_up()
    sys.exit("nothing was reached")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
