"""The usage ledger in the metrics: what was accepted is what became of it; an hour that does not add up is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from prometheus_client import REGISTRY
from sqlalchemy import update

from billing_bridge.settings import BillingSettings
from billing_bridge.sources import ledger
from billing_bridge.sources.service import SourceService
from billing_bridge.sources.tables import usage_hour
from controller.domain.clock import MovableClock
from controller.store.engine import Database

NOW = datetime(2026, 9, 1, 12, 30, tzinfo=UTC)
FATES = (ledger.RATED, ledger.RATED, ledger.UNRATED, ledger.SUSPENSE, ledger.DUPLICATE, ledger.DUPLICATE)


def records(disposition: str) -> float | None:
    labels = {"source": "metered-pbx", "disposition": disposition}
    return REGISTRY.get_sample_value("headend_billing_bridge_usage_ledger_records", labels)


def unbalanced() -> float | None:
    return REGISTRY.get_sample_value("headend_billing_bridge_usage_unbalanced_hours")


async def until(told: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not told():  # nothing announces it  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_metrics_tell_what_became_of_all_that_was_accepted(database: Database) -> None:
    sources = SourceService(database, MovableClock(NOW), BillingSettings(count_every_s=0.01))
    tally = ledger.Tally()
    for hour in range(3):
        for fate in FATES:
            tally.accept("metered-pbx", NOW - timedelta(hours=hour), fate, 60)
    async with database.begin() as conn:
        await tally.write(conn)
    watching = asyncio.create_task(sources.watch())
    try:
        await until(lambda: (records("accepted"), records("rated"), unbalanced()) == (18, 6, 0))
        parts = {name: records(name) for name in ledger.DISPOSITIONS}
        assert parts == {"rated": 6, "unrated": 3, "suspense": 3, "duplicate": 6}
        assert records("accepted") == sum(filter(None, parts.values()))
        async with database.begin() as conn:
            this = usage_hour.c.hour == ledger.hour_of(NOW)
            await conn.execute(update(usage_hour).where(this).values(rated_records=usage_hour.c.rated_records - 1))
        await until(lambda: unbalanced() == 1)
        assert records("rated") == 5
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
