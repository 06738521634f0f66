"""Stock items over HTTP."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import In, Instant, Out, ShortText
from erp.inventory.model import WAREHOUSE, StockItem, StockMove
from erp.inventory.service import InventoryService


class StockItemIn(In):
    """An item received. An ONU's serial is four letters of vendor and eight hexadecimal digits (ITU-T G.984.3)."""

    kind: Literal["onu", "router", "stb"] = "onu"
    serial: Annotated[str, StringConstraints(min_length=1, max_length=40)]
    model: Annotated[str, StringConstraints(max_length=120)] = ""
    place: Annotated[str, StringConstraints(pattern=r"^(warehouse|van)/[A-Za-z0-9._-]{1,60}$")] = WAREHOUSE
    why: ShortText = "received"


class StockItemQuery(PageQuery):
    serial: Annotated[str, StringConstraints(max_length=64)] | None = None
    state: Literal["in-stock", "reserved", "installed", "awaiting-return"] | None = None


class StockMoveOut(Out):
    at: Instant
    actor: str
    from_place: str
    to_place: str
    state: str
    why: str


class StockItemOut(Out):
    item_id: str
    kind: str
    serial: str
    model: str
    state: str
    place: str
    holder: str
    order_id: str | None
    service_id: str | None
    received_at: Instant
    moved_at: Instant

    @classmethod
    def of(cls, item: StockItem) -> StockItemOut:
        return cls(
            item_id=item.item_id,
            kind=item.kind,
            serial=item.serial,
            model=item.model,
            state=item.state.value,
            place=item.place,
            holder=item.holder,
            order_id=item.order_id,
            service_id=item.service_id,
            received_at=item.received_at,
            moved_at=item.moved_at,
        )


class StockItemHistoryOut(Out):
    item: StockItemOut
    moves: list[StockMoveOut]


def _move(move: StockMove) -> StockMoveOut:
    return StockMoveOut(
        at=move.at,
        actor=move.actor,
        from_place=move.from_place,
        to_place=move.to_place,
        state=move.state.value,
        why=move.why,
    )


def endpoints(inventory: InventoryService) -> list[Endpoint]:
    async def receive(call: Call) -> StockItemOut:
        body = call.body_as(StockItemIn)
        item = await inventory.receive(
            kind=body.kind, model=body.model, serial=body.serial, place=body.place, why=body.why, actor=call.actor
        )
        return StockItemOut.of(item)

    async def index(call: Call) -> Page:
        query = call.query_as(StockItemQuery)
        after = query.last(str)
        found = await inventory.items(serial=query.serial, state=query.state, after=after, limit=query.rows)
        return Page.of(found, query, lambda item: (item.item_id,), StockItemOut.of)

    async def show(call: Call) -> StockItemHistoryOut:
        item, moves = await inventory.item(call.path["item_id"])
        return StockItemHistoryOut(item=StockItemOut.of(item), moves=[_move(move) for move in moves])

    return [
        Endpoint(
            "POST",
            "/stock-items",
            scope="inventory:write",
            handler=receive,
            summary="Receive an item into stock",
            body=StockItemIn,
            returns=StockItemOut,
            status=201,
        ),
        Endpoint(
            "GET",
            "/stock-items",
            scope="inventory:read",
            handler=index,
            summary="Stock items",
            query=StockItemQuery,
            returns=StockItemOut,
            paged=True,
        ),
        Endpoint(
            "GET",
            "/stock-items/{item_id}",
            scope="inventory:read",
            handler=show,
            summary="One item with every move it made",
            returns=StockItemHistoryOut,
        ),
    ]
