"""More sessions report than are kept in memory, while their records arrive between two commits."""

from __future__ import annotations

import asyncio
import random

from controller.store.engine import Database
from controller.store.metadata import to_micros
from radius.accounting.settings import AccountingSettings
from tests.support.accounting import NAS, accounting
from tests.support.recorder import NOW, RecorderBench

RECORDS = 5_000
T = int(NOW.timestamp())


async def test_a_session_whose_record_waits_is_not_forgotten_for_others(sqlite_database: Database) -> None:
    bench = RecorderBench(sqlite_database, AccountingSettings(max_sessions_in_memory=10))
    rng, answered = random.Random(1), list[int]()
    bench.start()
    assert bench.task is not None
    for number in range(RECORDS):
        packet = accounting("interim", b"%d" % rng.randrange(60), at=T + number, seconds=number, up=number, down=number)
        bench.recorder.submit(packet, NAS, to_micros(NOW), lambda number=number: answered.append(number))  # type: ignore[misc]
        if number % 20 == 0:
            await asyncio.sleep(0.0007)  # records come while the sessions of earlier ones are being read
    async with asyncio.timeout(20):
        while bench.recorder.depth and not bench.task.done():  # noqa: ASYNC110 (the depth has no event)
            await asyncio.sleep(0.002)
    await bench.stop()
    assert sorted(answered) == list(range(RECORDS))
