import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError

from controller.domain.clock import MovableClock
from controller.domain.identity import OrderId, ServiceId
from controller.store.engine import Database
from erp.inventory import tables
from erp.inventory.errors import BadSerial, NoItem, NotAvailable, SerialTaken
from erp.inventory.model import StockState, onu_serial
from erp.inventory.service import InventoryService

NOW = datetime(2026, 9, 1, 8, tzinfo=UTC)
SERIAL = "NOKI1234ABCD"


def inventory_on(database: Database) -> InventoryService:
    return InventoryService(database, MovableClock(NOW))


async def receive(inventory: InventoryService, serial: str = SERIAL) -> str:
    item = await inventory.receive(kind="onu", model="G-010G", serial=serial, why="delivery 7", actor="user:t")
    return item.item_id


async def reserve(database: Database, inventory: InventoryService, order: str, holder: str) -> None:
    async with database.begin() as conn:
        await inventory.reserve_onu_in(
            conn,
            SERIAL,
            order_id=OrderId(order),
            service_id=ServiceId("s" + order),
            holder=holder,
            actor="user:t",
            now=NOW,
        )


async def test_of_twenty_concurrent_reservations_one_succeeds(database: Database) -> None:
    inventory = inventory_on(database)
    item_id = await receive(inventory)
    results = await asyncio.gather(
        *(reserve(database, inventory, str(n), f"customer {n}") for n in range(20)), return_exceptions=True
    )
    assert results.count(None) == 1
    refusals = [result for result in results if result is not None]
    assert all(isinstance(refusal, NotAvailable) for refusal in refusals), refusals
    item, moves = await inventory.item(item_id)
    winner = results.index(None)
    assert (item.state, item.order_id, item.holder) == (StockState.RESERVED, str(winner), f"customer {winner}")
    assert {str(refusal) for refusal in refusals} == {f"ONU {SERIAL} is reserved: customer {winner} has it"}
    assert [move.state for move in moves] == [StockState.IN_STOCK, StockState.RESERVED]


async def test_a_serial_received_twice_is_refused_with_the_holders_name(database: Database) -> None:
    inventory = inventory_on(database)
    await receive(inventory)
    with pytest.raises(SerialTaken, match="warehouse/main has it"):
        await receive(inventory)
    await reserve(database, inventory, "1", "Anna Muster")
    async with database.begin() as conn:
        assert await inventory.install_in(conn, OrderId("1"), actor="user:t", now=NOW) == 1
    with pytest.raises(SerialTaken, match="installed: Anna Muster has it"):
        await receive(inventory, "noki-1234-abcd")


async def test_of_twenty_concurrent_receipts_of_one_serial_one_succeeds(database: Database) -> None:
    inventory = inventory_on(database)
    results = await asyncio.gather(*(receive(inventory) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(result, str) for result in results) == 1
    assert sum(isinstance(result, SerialTaken) for result in results) == 19


async def test_an_item_moves_from_stock_to_customer_and_back_with_every_move_kept(database: Database) -> None:
    inventory = inventory_on(database)
    item_id = await receive(inventory)
    await reserve(database, inventory, "1", "Anna Muster")
    async with database.begin() as conn:
        assert await inventory.install_in(conn, OrderId("1"), actor="user:t", now=NOW) == 1
        assert await inventory.install_in(conn, OrderId("1"), actor="user:t", now=NOW) == 0
        assert await inventory.release_in(conn, OrderId("1"), actor="user:t", now=NOW) == 0
    async with database.begin() as conn:
        ended = await inventory.await_return_in(conn, ServiceId("s1"), order_id=OrderId("2"), actor="user:t", now=NOW)
    assert ended == 1
    assert await receive(inventory) == item_id
    item, moves = await inventory.item(item_id)
    assert (item.state, item.place, item.holder, item.service_id) == (
        StockState.IN_STOCK,
        "warehouse/main",
        "warehouse/main",
        None,
    )
    assert [(move.from_place, move.to_place, move.state.value) for move in moves] == [
        ("", "warehouse/main", "in-stock"),
        ("warehouse/main", "warehouse/main", "reserved"),
        ("warehouse/main", "service/s1", "installed"),
        ("service/s1", "service/s1", "awaiting-return"),
        ("service/s1", "warehouse/main", "in-stock"),
    ]
    assert all(move.actor == "user:t" and move.why for move in moves)


async def test_a_released_item_may_be_reserved_again(database: Database) -> None:
    inventory = inventory_on(database)
    await receive(inventory)
    await reserve(database, inventory, "1", "Anna")
    async with database.begin() as conn:
        assert await inventory.release_in(conn, OrderId("1"), actor="user:t", now=NOW) == 1
    await reserve(database, inventory, "2", "Bert")


async def test_what_was_never_received_cannot_be_reserved(database: Database) -> None:
    with pytest.raises(NoItem, match=SERIAL):
        await reserve(database, inventory_on(database), "1", "Anna")


async def test_the_database_refuses_to_rewrite_the_history(database: Database) -> None:
    await receive(inventory_on(database))
    for statement in (update(tables.move).values(why="other"), delete(tables.move)):
        with pytest.raises(IntegrityError, match="never changed"):
            async with database.begin() as conn:
                await conn.execute(statement)


@pytest.mark.parametrize(
    ("label", "serial"),
    [
        ("NOKI1234ABCD", "NOKI1234ABCD"),
        ("noki 1234-abcd", "NOKI1234ABCD"),
        ("4E4F4B491234ABCD", "NOKI1234ABCD"),
        ("48575443 00FF00FF", "HWTC00FF00FF"),
    ],
)
def test_an_onu_serial_is_vendor_letters_and_hexadecimal_digits(label: str, serial: str) -> None:
    assert onu_serial(label) == serial


@given(st.text(max_size=20))
def test_any_text_is_an_onu_serial_or_refused(text: str) -> None:
    try:
        serial = onu_serial(text)
    except BadSerial:
        return
    assert onu_serial(serial) == serial
    assert serial[:4].isalpha()
    assert int(serial[4:], 16) >= 0


@pytest.mark.parametrize("text", ["", "NOKI1234ABC", "NOKI1234ABCG", "N0KI1234ABCD", "00010203ABCDEF01"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(BadSerial):
        onu_serial(text)
