"""Stock: receiving, and what orders do with it. Methods that take `conn` run in the order's own transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.identity import OrderId, ServiceId, new_id
from controller.store import audit
from controller.store.engine import Database
from erp.inventory import repository
from erp.inventory.errors import NoItem, NotAvailable, SerialTaken
from erp.inventory.model import WAREHOUSE, StockItem, StockMove, StockState, canonical_serial, onu_serial


class InventoryService:
    """One place per serial, whoever asks and however many at once: the database decides."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def receive(
        self, *, kind: str, model: str, serial: str, place: str = WAREHOUSE, why: str, actor: str
    ) -> StockItem:
        """Take an item into stock, new or returned. Raises BadSerial, and SerialTaken naming who has it."""
        now = self._clock.now()
        serial = canonical_serial(kind, serial)
        made = StockItem(new_id(now), serial, kind, model, StockState.IN_STOCK, place, place, None, None, now, now)
        async with self._database.begin() as conn:
            if await repository.add(conn, made):
                await _note(conn, made, "", actor=actor, why=why)
            else:
                made = await _receive_again(conn, made, actor=actor, why=why)
            await audit.record(
                conn,
                now=now,
                actor=actor,
                action="stock.receive",
                subject=f"stock:{made.item_id}",
                after={"serial": serial, "place": place},
                reason=why,
            )
        return made

    async def item(self, item_id: str) -> tuple[StockItem, Sequence[StockMove]]:
        """An item with its history. Raises NoItem."""
        async with self._database.read() as conn:
            found = await repository.by_id(conn, item_id)
            if found is None:
                raise NoItem(f"no stock item {item_id}")
            return found, await repository.moves(conn, item_id)

    async def items(
        self, *, serial: str | None, state: str | None, after: str | None, limit: int
    ) -> Sequence[StockItem]:
        async with self._database.read() as conn:
            return await repository.list_items(conn, serial=serial, state=state, after=after, limit=limit)

    async def reserve_onu_in(
        self,
        conn: AsyncConnection,
        serial: str,
        *,
        order_id: OrderId,
        service_id: ServiceId,
        holder: str,
        actor: str,
        now: datetime,
    ) -> None:
        """Reserve the ONU for an order; of any number at once one succeeds.

        Raises BadSerial, NoItem, and NotAvailable naming who has it.
        """
        serial = onu_serial(serial)
        found = await repository.by_serial(conn, serial)
        if found is None:
            raise NoItem(f"no ONU with serial {serial} was received into stock")
        free = replace(found, state=StockState.IN_STOCK)
        reserved = replace(
            free, state=StockState.RESERVED, holder=holder, order_id=order_id, service_id=service_id, moved_at=now
        )
        if not await _move(conn, free, reserved, actor=actor, why=f"reserved for order {order_id}"):
            current = await repository.by_serial(conn, serial) or found
            raise NotAvailable(f"ONU {serial} is {current.state.value}: {current.holder} has it")

    async def install_in(self, conn: AsyncConnection, order_id: OrderId, *, actor: str, now: datetime) -> int:
        """What the order reserved is now at the customer's. A second call finds nothing to do and returns 0."""
        return await _move_all(
            conn,
            await repository.of_order(conn, order_id),
            StockState.RESERVED,
            lambda found: replace(found, state=StockState.INSTALLED, place=f"service/{found.service_id}", moved_at=now),
            actor=actor,
            why=f"installed by order {order_id}",
        )

    async def release_in(self, conn: AsyncConnection, order_id: OrderId, *, actor: str, now: datetime) -> int:
        """What the order reserved is free again."""
        return await _move_all(
            conn,
            await repository.of_order(conn, order_id),
            StockState.RESERVED,
            lambda found: _into_stock(found, found.place, now),
            actor=actor,
            why=f"released by order {order_id}",
        )

    async def await_return_in(
        self, conn: AsyncConnection, service_id: ServiceId, *, order_id: OrderId, actor: str, now: datetime
    ) -> int:
        """The service has ended: what was installed for it stays with its holder until it is received again."""
        return await _move_all(
            conn,
            await repository.of_service(conn, service_id),
            StockState.INSTALLED,
            lambda found: replace(found, state=StockState.AWAITING_RETURN, moved_at=now),
            actor=actor,
            why=f"service ended by order {order_id}",
        )


async def _receive_again(conn: AsyncConnection, wanted: StockItem, *, actor: str, why: str) -> StockItem:
    """Only a returned item may be received again."""
    found = await repository.by_serial(conn, wanted.serial)
    assert found is not None
    stocked = _into_stock(found, wanted.place, wanted.moved_at)
    returned = replace(found, state=StockState.AWAITING_RETURN)
    if not await _move(conn, returned, stocked, actor=actor, why=why):
        raise SerialTaken(
            f"serial {found.serial} was received before and is {found.state.value}: {found.holder} has it"
        )
    return stocked


def _into_stock(found: StockItem, place: str, now: datetime) -> StockItem:
    return replace(
        found, state=StockState.IN_STOCK, place=place, holder=place, order_id=None, service_id=None, moved_at=now
    )


async def _move_all(
    conn: AsyncConnection,
    items: Iterable[StockItem],
    expected: StockState,
    moved: Callable[[StockItem], StockItem],
    *,
    actor: str,
    why: str,
) -> int:
    """Move those that are in `expected`; how many moved."""
    ready = [found for found in items if found.state is expected]
    return sum([await _move(conn, found, moved(found), actor=actor, why=why) for found in ready])


async def _move(conn: AsyncConnection, before: StockItem, after: StockItem, *, actor: str, why: str) -> bool:
    """One move with its history; False when the item is not as `before` says any more."""
    moved = await repository.change(conn, before, after)
    if moved:
        await _note(conn, after, before.place, actor=actor, why=why)
    return moved


async def _note(conn: AsyncConnection, after: StockItem, from_place: str, *, actor: str, why: str) -> None:
    note = StockMove(after.moved_at, actor, from_place, after.place, after.state, why)
    await repository.add_move(conn, after.item_id, note)
