from datetime import UTC, datetime

import pytest
from sqlalchemy.exc import IntegrityError

from controller.domain.events import InvoiceIssued, OrderHeld
from controller.store import outbox
from controller.store.engine import Database

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def held(n: int) -> OrderHeld:
    return OrderHeld(
        event_id=f"{n:032x}", at=NOW, actor="system:orders", order_id="o", cause="c", step="s", owner_team="noc"
    )  # type: ignore[arg-type]


async def test_events_come_back_in_order_until_settled(database: Database) -> None:
    async with database.begin() as conn:
        await outbox.append(conn, held(1), held(2))
    async with database.read() as conn:
        first, second = await outbox.pending(conn, "s", ["order.held"], 10)
    assert (first.event, second.event) == (held(1), held(2))
    async with database.begin() as conn:
        await outbox.settle(conn, "s", first.position)
    async with database.read() as conn:
        assert [d.position for d in await outbox.pending(conn, "s", ["order.held"], 10)] == [second.position]
        assert await outbox.pending(conn, "s", ["invoice.issued"], 10) == []


async def test_an_event_stands_in_the_outbox_once(database: Database) -> None:
    with pytest.raises(IntegrityError):
        async with database.begin() as conn:
            await outbox.append(conn, held(1), held(1))


async def test_a_fact_rolled_back_leaves_no_event(database: Database) -> None:
    with pytest.raises(RuntimeError):
        async with database.begin() as conn:
            await outbox.append(conn, held(1))
            raise RuntimeError
    async with database.read() as conn:
        assert await outbox.pending(conn, "s", ["order.held"], 10) == []


def test_decode_undoes_encode() -> None:
    event = InvoiceIssued(
        event_id="e", at=NOW, actor="a", invoice_id="i", number="1", account_id="x", total_minor=5, currency="EUR"
    )  # type: ignore[arg-type]
    assert outbox.decode(event.name, outbox.encode(event)) == event
