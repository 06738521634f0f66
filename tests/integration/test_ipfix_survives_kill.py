"""kill -9 of a collector of flows: what it had measured is told to billing by whoever lives, once."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import func, select

from billing_bridge.settings import BillingSettings
from billing_bridge.sources.intake import Intake
from billing_bridge.sources.measured import MeasuredIntake
from billing_bridge.sources.service import SourceService
from billing_bridge.sources.tables import record
from collectors.tables import bin_life, open_bin
from collectors.usage_feed import UsageFeed
from collectors.usage_journal import SILENT, UsageJournal
from controller.domain.clock import MovableClock
from controller.store.engine import Database

ROOT = Path(__file__).resolve().parents[2]
FIELDS = ((8, 4), (12, 4), (1, 4), (152, 8), (153, 8))
"""Source, destination, octets, begin and end in milliseconds."""


def message(sequence: int, *sets: tuple[int, bytes]) -> bytes:
    body = b"".join(struct.pack("!HH", set_id, len(content) + 4) + content for set_id, content in sets)
    now = int(datetime.now(UTC).timestamp())
    return struct.pack("!HHIII", 10, len(body) + 16, now, sequence, 1) + body


def template() -> tuple[int, bytes]:
    return 2, struct.pack("!HH", 256, len(FIELDS)) + b"".join(struct.pack("!HH", *field) for field in FIELDS)


def flow(octets: int) -> bytes:
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    ends = ipaddress.ip_address("198.51.100.9").packed + ipaddress.ip_address("100.64.0.1").packed
    return ends + struct.pack("!IQQ", octets, now_ms - 1000, now_ms)


async def kept(database: Database) -> int:
    async with database.read() as conn:
        return int(await conn.scalar(select(func.sum(open_bin.c.downstream_octets))) or 0)


async def test_flows_of_open_bins_outlive_the_process_that_heard_them(database: Database) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.ipfix_child",
        database.url.render_as_string(hide_password=False),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert child.stdout is not None
        async with asyncio.timeout(60):
            port = int(await child.stdout.readline())
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as exporter:
                exporter.sendto(message(0, template()), ("127.0.0.1", port))
                for n in range(20):
                    exporter.sendto(message(n, (256, flow(1000 + n))), ("127.0.0.1", port))
            while await kept(database) < 20_190:  # nothing announces it  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    finally:
        child.kill()
        await child.wait()
    clock = MovableClock(datetime.now(UTC))
    settings = BillingSettings(zone=ZoneInfo("Europe/Berlin"))
    sources = SourceService(database, clock, settings)
    intake = MeasuredIntake(database, clock, sources, Intake(database, clock, settings))
    feed = UsageFeed(intake, clock, "second", journal=UsageJournal(database, "second"))
    await feed.hand_over()
    assert await kept(database) == 20_190, "whoever was heard of a moment ago lives, perhaps"
    clock.advance(SILENT + timedelta(seconds=1))
    for _ in range(2):
        await feed.hand_over()
        async with database.read() as conn:
            told = (await conn.execute(select(record.c.identifier, record.c.downstream_octets))).all()
            assert await conn.scalar(select(func.count()).select_from(bin_life)) == 0
        assert {row.identifier for row in told} == {"100.64.0.1"}
        assert sum(row.downstream_octets for row in told) == 20_190
        assert await kept(database) == 0
