"""A recorder on a database, with its clock and what tests ask of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text

from controller.domain.clock import MovableClock
from controller.store.engine import Database
from controller.store.metadata import to_micros
from controller.store.usage_log import UsageLog
from controller.store.usage_reader import UsageLogReader
from radius.accounting.recorder import AccountingRecorder, RatesOf
from radius.accounting.settings import AccountingSettings
from radius.accounting.staging import InterimOf, PrefixesOf
from radius.accounting.views import SessionFilter, SessionRepository, SessionView
from radius.protocol.codes import Attr
from radius.protocol.nas import Nas
from radius.protocol.packet import Packet
from tests.support.accounting import NAS

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
SERVICE = "5" * 32


class RecorderBench:
    """A recorder on a database, its clock, and what a test asks of it."""

    def __init__(
        self,
        database: Database,
        settings: AccountingSettings | None = None,
        writer: str = "radius-1",
        rates_of: RatesOf = lambda _username: None,
        interim_of: InterimOf = lambda _username: None,
        prefixes_of: PrefixesOf = lambda _username: b"",
    ) -> None:
        self.database = database
        self.clock = MovableClock(NOW)
        self.log = UsageLog(database, writer)
        self.recorder = AccountingRecorder(
            database,
            self.clock,
            self.log,
            {b"anna": SERVICE}.get,
            settings or AccountingSettings(),
            rates_of,
            interim_of,
            prefixes_of,
        )
        self.sessions = SessionRepository(database)
        self.reader = UsageLogReader(database)
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.task = asyncio.create_task(self.recorder.run())

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait([self.task])
            if not self.task.cancelled():
                self.task.result()
        await self.log.close()

    async def send(self, *packets: Packet, nas: Nas = NAS) -> None:
        """Submit all, and wait until each was answered. The clock moves with the events: none comes from the future."""
        if self.task is None:
            self.start()
        answered: list[asyncio.Future[None]] = []
        for packet in packets:
            self._move_to(packet.integer(Attr.EVENT_TIMESTAMP))
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            answered.append(future)
            self.recorder.submit(packet, nas, to_micros(self.clock.now()), lambda f=future: f.set_result(None))  # type: ignore[misc]
        async with asyncio.timeout(20):
            assert self.task is not None
            gathered = asyncio.gather(*answered)
            await asyncio.wait([gathered, self.task], return_when=asyncio.FIRST_COMPLETED)
            if self.task.done():
                self.task.result()
            await gathered

    async def send_nothing(self) -> None:
        """Let the recorder commit what it found by itself, such as sessions that fell silent."""
        if self.task is None:
            self.start()
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.recorder.prove(lambda: answered.set_result(None))
        await asyncio.wait_for(answered, 20)

    def _move_to(self, stamp: int | None) -> None:
        at = NOW if stamp is None else datetime.fromtimestamp(stamp, UTC)
        if at > self.clock.now():
            self.clock.move_to(at)

    async def found(self, session: bytes = b"0001") -> list[SessionView]:
        """All lives of an Acct-Session-Id, oldest first."""
        rows = await self.sessions.find(SessionFilter(acct_session_ids=[session]), before=None, limit=100)
        return sorted(rows, key=lambda row: row.started_at)

    async def one(self, session: bytes = b"0001") -> SessionView:
        (row,) = await self.found(session)
        return row

    async def logged(self) -> int:
        async with self.database.read() as conn:
            return int(await conn.scalar(text("SELECT count(*) FROM store_usage_record")) or 0)


def row_of(known: Nas) -> dict[str, Any]:
    """A NAS as the registry's table has it, without a secret."""
    switches = (
        "require_message_authenticator", "sign_dynamic_requests", "class_proves_speed", "disconnect_when_refused",
        "swaps_octets", "adds_ipv6_octets",
    )  # fmt: skip
    plain = {
        "name": known.nas_id, "address": known.nas_id, "secret": b"", "vendor": "rfc", "coa_port": 3799,
        "interim_interval_s": 300, "port_speed_bps": 10**10, "enabled": True, "revision": 1,
    }  # fmt: skip
    return plain | dict.fromkeys(switches, False) | {"nas_id": known.nas_id, "created_at": NOW, "updated_at": NOW}
