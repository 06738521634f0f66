"""A collector of flows to kill: keeps what it measures in the database every fifth of a second.

    python -m tests.support.ipfix_child DATABASE_URL

It prints the port on which it hears exporters of this machine, and runs until it is killed, or its parent is.
"""

from __future__ import annotations

import asyncio
import os
import sys
from zoneinfo import ZoneInfo

from billing_bridge.settings import BillingSettings
from billing_bridge.sources.intake import Intake
from billing_bridge.sources.measured import MeasuredIntake
from billing_bridge.sources.service import SourceService
from collectors.ipfix.collector import IpfixCollector
from collectors.ipfix.flows import networks
from collectors.usage_feed import UsageFeed
from collectors.usage_journal import UsageJournal
from controller.domain.clock import SystemClock
from controller.store.engine import Database


async def collect(url: str) -> None:
    database, clock, parent = Database(url), SystemClock(), os.getppid()
    settings = BillingSettings(zone=ZoneInfo("Europe/Berlin"))
    intake = MeasuredIntake(
        database, clock, SourceService(database, clock, settings), Intake(database, clock, settings)
    )
    feed = UsageFeed(intake, clock, "first", every_s=0.5, journal=UsageJournal(database, "first"), keep_every_s=0.2)
    collector = IpfixCollector(feed.flows, clock, exporters=networks("127.0.0.1/32"), ours=networks("100.64.0.0/10"))
    print(await collector.open("127.0.0.1", 0), flush=True)
    running = asyncio.create_task(feed.run())
    while os.getppid() == parent and not running.done():  # noqa: ASYNC110 (a test that failed leaves nothing behind)
        await asyncio.sleep(0.2)


if __name__ == "__main__":
    asyncio.run(collect(sys.argv[1]))
