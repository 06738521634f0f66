import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.app import bus as bus_module
from controller.app.bus import Bus
from controller.domain.clock import MovableClock
from controller.domain.events import InvoiceIssued, OrderHeld
from controller.store import outbox
from controller.store.engine import Database

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def held(n: int) -> OrderHeld:
    return OrderHeld(
        event_id=f"{n:032x}", at=NOW, actor="system:orders", order_id="o", cause="c", step="s", owner_team="noc"
    )  # type: ignore[arg-type]


async def test_a_handler_sees_each_event_once_and_in_order(database: Database) -> None:
    seen: list[str] = []

    async def note(conn: AsyncConnection, event: OrderHeld) -> None:
        seen.append(event.event_id)

    bus = Bus(database, MovableClock(NOW), {"a": {OrderHeld: note}, "b": {InvoiceIssued: note}})
    async with database.begin() as conn:
        await outbox.append(conn, held(1), held(2))
    await bus.drain()
    await bus.drain()
    assert seen == [held(1).event_id, held(2).event_id]


async def test_a_handler_that_fails_leaves_no_effect_and_parks_the_event(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "MAX_ATTEMPTS", 2)
    calls: list[int] = []

    async def refuse_first(conn: AsyncConnection, event: Any) -> None:
        calls.append(1)
        if event.event_id == held(1).event_id:
            await outbox.append(conn, held(99))
            raise RuntimeError("refused")

    bus = Bus(database, MovableClock(NOW), {"a": {OrderHeld: refuse_first}})
    async with database.begin() as conn:
        await outbox.append(conn, held(1), held(2))
    await bus.drain()
    async with database.read() as conn:
        waiting = await outbox.list_parked(conn)
        events = await outbox.recent(conn, 10)
    assert [(row["subscriber"], row["error"]) for row in waiting] == [("a", "RuntimeError: refused")]
    assert [d.event.event_id for d in events] == [held(2).event_id, held(1).event_id]
    assert len(calls) == 3


async def test_a_database_that_is_locked_parks_nothing_and_the_event_is_delivered_later(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "MAX_ATTEMPTS", 2)
    monkeypatch.setattr(bus_module, "POLL_S", 0.01)
    calls: list[int] = []
    delivered = asyncio.Event()

    async def locked_at_first(conn: AsyncConnection, event: Any) -> None:
        calls.append(1)
        match len(calls):
            case 1 | 2 | 3:
                raise OperationalError("UPDATE …", None, Exception("database is locked"))
            case 4:
                raise PoolTimeout("no connection is free")
        delivered.set()

    bus = Bus(database, MovableClock(NOW), {"a": {OrderHeld: locked_at_first}})
    async with database.begin() as conn:
        await outbox.append(conn, held(1))
    running = asyncio.create_task(bus.run())
    async with asyncio.timeout(20):
        await delivered.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    async with database.read() as conn:
        assert await outbox.list_parked(conn) == []
