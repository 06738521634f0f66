"""A process that debits a prepaid balance from the usage log and is killed at the commit that does it.

python prepaid_child.py DATABASE_URL before|after
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.prepaid.book import Book
from billing_bridge.prepaid.closing import PrepaidClosing
from billing_bridge.prepaid.counter import PrepaidCounter
from billing_bridge.prepaid.service import PrepaidService
from billing_bridge.settings import BillingSettings
from controller.domain.clock import SystemClock
from controller.store.engine import Database
from controller.store.usage_reader import UsageLogReader
from tests.support.billing_fakes import PriceList
from tests.support.prepaid import FakeAccess


class DiesBefore(PrepaidService):
    """Killed when it has written, before anything is committed."""

    async def keep(self, conn: AsyncConnection, books: Sequence[Book], now: datetime) -> bool:
        said = await super().keep(conn, books, now)
        if any(book.movements for book in books):
            os.kill(os.getpid(), signal.SIGKILL)
        return said


class DiesAfter(PrepaidCounter):
    """Killed when it has committed, before it does anything else."""

    async def step(self) -> bool:
        await super().step()
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("it was killed")


async def main(url: str, when: str) -> None:
    database, clock = Database(url), SystemClock()
    reader = UsageLogReader(database)
    service = DiesBefore if when == "before" else PrepaidService
    counter = PrepaidCounter if when == "before" else DiesAfter
    prepaid = service(database, clock, reader, PriceList([]), FakeAccess(), BillingSettings())
    closing = PrepaidClosing(database, clock, prepaid)
    await counter(database, clock, reader, prepaid, closing).catch_up()
    sys.exit("nothing was debited")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
