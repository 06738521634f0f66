"""Items over HTTP: what an account has beside its lines."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from controller.domain.identity import AccountId, ItemId, OfferingId, OfferingVersionId, SubscriptionId
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import IdText, In, Instant, Out
from erp.orders.items import Item, ItemRequest, ItemService
from erp.orders.selling import Offer

Quantity = Annotated[int, Field(ge=1, le=1_000_000)]
Day = Annotated[date, Field(ge=date(1970, 1, 1), le=date(2199, 12, 31))]


class ItemIn(In):
    """Name an offering (its version in force is taken) or a version. `reference` is yours: the same is the same item.

    `on` is the first day it is held, today if absent; with `subscription_id` it ends with that line.
    """

    account_id: IdText
    reference: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$")]
    offering_id: IdText | None = None
    version_id: IdText | None = None
    quantity: Quantity = 1
    on: Day | None = None
    subscription_id: IdText | None = None

    @model_validator(mode="after")
    def _one_offer(self) -> Self:
        if (self.offering_id is None) is (self.version_id is None):
            raise ValueError("name either offering_id or version_id")
        return self

    def request(self) -> ItemRequest:
        return ItemRequest(
            account_id=AccountId(self.account_id),
            reference=self.reference,
            offer=_offer(self.offering_id, self.version_id),
            quantity=self.quantity,
            on=self.on,
            subscription_id=SubscriptionId(self.subscription_id) if self.subscription_id else None,
        )


class ItemChangeIn(In):
    """Another version or offering, another quantity, or both, from the day `on`, today if absent."""

    offering_id: IdText | None = None
    version_id: IdText | None = None
    quantity: Quantity | None = None
    on: Day | None = None

    @model_validator(mode="after")
    def _at_most_one_offer(self) -> Self:
        if self.offering_id and self.version_id:
            raise ValueError("name offering_id or version_id, not both")
        return self

    @property
    def offer(self) -> Offer | None:
        return _offer(self.offering_id, self.version_id) if self.offering_id or self.version_id else None


class ItemEndIn(In):
    """`on` is the first day without it, today if absent."""

    on: Day | None = None


class ItemQuery(PageQuery):
    """With `suspended` those alone that are kept from their customers: for who serves them, and missed an event."""

    account_id: IdText | None = None
    suspended: bool = False


class ItemOut(Out):
    """While it is suspended (`suspended_since`), whoever serves it keeps it from its customer."""

    item_id: str
    account_id: str
    reference: str
    subscription_id: str | None
    version_id: str
    quantity: int
    ordered_at: Instant
    held_since: Instant
    ended_at: Instant | None
    suspended_since: Instant | None

    @classmethod
    def of(cls, item: Item, suspended_since: datetime | None) -> ItemOut:
        return cls(suspended_since=suspended_since, **{name: getattr(item, name) for name in _FIELDS})


_FIELDS = [name for name in ItemOut.model_fields if name != "suspended_since"]


def endpoints(items: ItemService) -> list[Endpoint]:
    async def told(item: Item) -> ItemOut:
        return ItemOut.of(item, (await items.suspended([item.item_id])).get(item.item_id))

    async def add(call: Call) -> ItemOut:
        return await told(await items.add(call.body_as(ItemIn).request(), actor=call.actor))

    async def index(call: Call) -> Page:
        query = call.query_as(ItemQuery)
        found = await items.items(query.account_id, query.last(str), query.rows, suspended=query.suspended)
        since = await items.suspended([item.item_id for item in found])
        return Page.of(
            found, query, lambda item: (str(item.item_id),), lambda item: ItemOut.of(item, since.get(item.item_id))
        )

    async def show(call: Call) -> ItemOut:
        return await told(await items.item(ItemId(call.path["item_id"])))

    async def change(call: Call) -> ItemOut:
        body = call.body_as(ItemChangeIn)
        found = await items.change(ItemId(call.path["item_id"]), body.offer, body.quantity, body.on, actor=call.actor)
        return await told(found)

    async def end(call: Call) -> ItemOut:
        return await told(await items.end(ItemId(call.path["item_id"]), call.body_as(ItemEndIn).on, actor=call.actor))

    return [
        Endpoint(
            "POST",
            "/items",
            scope="orders:write",
            handler=add,
            summary="Give an account something that is no line: TV, rental, add-on, discount, a one-off",
            body=ItemIn,
            returns=ItemOut,
            status=201,
        ),
        Endpoint(
            "GET",
            "/items",
            scope="orders:read",
            handler=index,
            summary="What accounts have beside their lines",
            query=ItemQuery,
            returns=ItemOut,
            paged=True,
        ),
        Endpoint("GET", "/items/{item_id}", scope="orders:read", handler=show, summary="One item", returns=ItemOut),
        Endpoint(
            "POST",
            "/items/{item_id}/change",
            scope="orders:write",
            handler=change,
            summary="Another price or quantity from a day on",
            body=ItemChangeIn,
            returns=ItemOut,
        ),
        Endpoint(
            "POST",
            "/items/{item_id}/end",
            scope="orders:write",
            handler=end,
            summary="Not held any more from a day on",
            body=ItemEndIn,
            returns=ItemOut,
        ),
    ]


def _offer(offering_id: str | None, version_id: str | None) -> Offer:
    return Offer(
        OfferingId(offering_id) if offering_id else None, OfferingVersionId(version_id) if version_id else None
    )
