"""Placing an order: what was asked becomes an order, a subscription and reserved stock in one transaction, or nothing.

An Idempotency-Key makes the same request safe to repeat: same key and body is the same order, another body is refused.
A password that must reach RADIUS later is kept sealed until it did.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.events import ServiceOrdered
from controller.domain.identity import (
    AccountId,
    OrderId,
    ServiceId,
    SubscriptionId,
    new_id,
)
from controller.domain.ports import Secret
from controller.domain.service import Attachment, DesiredService, OnuAttachment, SpeedProfile
from controller.domain.tariff import TariffVersion
from controller.store import audit, outbox
from controller.store.engine import Database
from controller.store.secrets import SecretBox
from erp.catalog.service import CatalogService
from erp.crm.model import Customer
from erp.crm.service import CrmService
from erp.inventory.model import onu_serial
from erp.inventory.service import InventoryService
from erp.orders import repository
from erp.orders.errors import (
    KeyReused,
    NoSubscription,
    NotAllowed,
    NothingToChange,
    OrderOpen,
    UsernameTaken,
)
from erp.orders.model import (
    Action,
    Order,
    OrderState,
    Subscription,
    SubscriptionState,
    desired_service,
)
from erp.orders.selling import Offer as Offer  # part of a request
from erp.orders.selling import sold

# Without the letters and digits that people mistake for each other on the telephone.
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


@dataclass(frozen=True, slots=True)
class AddRequest:
    account_id: AccountId
    offer: Offer
    attachments: tuple[Attachment, ...] = ()
    username: str | None = None
    password: Secret | None = None
    framed_ipv4: str | None = None


@dataclass(frozen=True, slots=True)
class ModifyRequest:
    subscription_id: SubscriptionId
    offer: Offer


@dataclass(frozen=True, slots=True)
class DeleteRequest:
    subscription_id: SubscriptionId


Request = AddRequest | ModifyRequest | DeleteRequest


@dataclass(frozen=True, slots=True)
class Repeat:
    """An Idempotency-Key with the text of the body it came with."""

    key: str
    body: str


@dataclass(frozen=True, slots=True)
class Placed:
    """`password` is there only in the answer to the request that made the order; `repeated` when it existed."""

    order: Order
    subscription: Subscription
    password: Secret | None
    repeated: bool


@dataclass(frozen=True, slots=True)
class Preview:
    """What an order would be, nothing written. `tariff_before` is None for a new line, `tariff` for an ended one."""

    action: Action
    desired: DesiredService
    tariff_before: TariffVersion | None
    tariff: TariffVersion | None


@dataclass(frozen=True, slots=True)
class _Draft:
    """An order that passed the rules, not yet written."""

    action: Action
    subscription: Subscription
    customer: Customer
    tariff_before: TariffVersion | None
    tariff: TariffVersion
    profile: SpeedProfile
    """That of `tariff`: what has none is refused here, since an order of it would wait for ever."""


RefuseTariff = Callable[[AsyncConnection, ServiceId, TariffVersion], Awaitable[None]]
"""Raises a RuleError for prices with which this service, which exists, cannot be sold."""


class OrderPlacement:
    """Takes orders. What happens to them afterwards is `OrderService`'s and the fulfilment workflow's."""

    refuse_tariff: RefuseTariff | None = None
    """How else services are paid is not known to orders."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        box: SecretBox,
        *,
        crm: CrmService,
        catalog: CatalogService,
        inventory: InventoryService,
    ) -> None:
        self._database = database
        self._clock = clock
        self._box = box
        self._crm = crm
        self._catalog = catalog
        self._inventory = inventory

    async def place(self, request: Request, *, actor: str, repeat: Repeat | None = None) -> Placed:
        """Accept an order. Raises NoLine for what has no speed, and the errors of orders, catalog, inventory and crm;
        then nothing was written."""
        now = self._clock.now()
        order_id = OrderId(new_id(now))
        try:
            async with self._database.begin() as conn:
                if repeat is not None and not await self._claim(conn, repeat, order_id, actor, now):
                    return await self._repeated(conn, repeat, actor)
                draft = await self._draft(conn, request, now)
                return await self._write(conn, draft, request, order_id, actor, now)
        except IntegrityError as error:  # somebody else placed the same between our look and our write
            raise OrderOpen("another order for the same subscription or username was placed just now") from error

    async def preview(self, request: Request) -> Preview:
        """What `place` would do, by the same rules, except that stock is not looked at."""
        async with self._database.read() as conn:
            draft = await self._draft(conn, request, self._clock.now())
        ends = draft.action is Action.DELETE
        return Preview(
            draft.action,
            desired_service(draft.subscription, draft.profile, present=not ends),
            draft.tariff_before,
            None if ends else draft.tariff,
        )

    async def _claim(self, conn: AsyncConnection, repeat: Repeat, order_id: OrderId, actor: str, now: datetime) -> bool:
        sealed = self._box.seal(Secret(_digest(repeat.body)), _context(actor, repeat.key))
        return await repository.claim_key(conn, actor=actor, key=repeat.key, body=sealed, order_id=order_id, now=now)

    async def _repeated(self, conn: AsyncConnection, repeat: Repeat, actor: str) -> Placed:
        known = await repository.find_key(conn, actor, repeat.key)
        assert known is not None
        sealed, order_id = known
        body = self._box.open(sealed, _context(actor, repeat.key)).reveal()
        if not hmac.compare_digest(body, _digest(repeat.body)):
            raise KeyReused(f"Idempotency-Key {repeat.key} was used for another order; send a new key")
        order = await repository.find_order(conn, order_id)
        assert order is not None
        subscription = await repository.find_subscription(conn, order.subscription_id)
        assert subscription is not None
        return Placed(order, subscription, None, repeated=True)

    async def _draft(self, conn: AsyncConnection, request: Request, now: datetime) -> _Draft:
        if isinstance(request, AddRequest):
            return await self._draft_add(conn, request, now)
        subscription = await repository.find_subscription(conn, request.subscription_id)
        if subscription is None:
            raise NoSubscription(f"no subscription {request.subscription_id}")
        if subscription.state is not SubscriptionState.ACTIVE:
            raise NotAllowed(f"subscription {subscription.subscription_id} is {subscription.state.value}, not active")
        busy = await repository.open_order_of(conn, subscription.subscription_id)
        if busy is not None:
            raise OrderOpen(f"order {busy} of this subscription is not finished yet")
        customer = await self._crm.customer_of_in(conn, subscription.account_id)
        before = await self._catalog.tariff_in(conn, subscription.version_id)
        if isinstance(request, DeleteRequest):
            return _Draft(Action.DELETE, subscription, customer, before, before, before.profile)
        tariff = await sold(conn, self._catalog, request.offer, customer, now)
        if tariff.version_id == before.version_id:
            raise NothingToChange(f"the subscription has version {tariff.number} of {tariff.offering_name} already")
        if self.refuse_tariff is not None:
            await self.refuse_tariff(conn, subscription.service_id, tariff)
        return _Draft(Action.MODIFY, subscription, customer, before, tariff, tariff.profile)

    async def _draft_add(self, conn: AsyncConnection, request: AddRequest, now: datetime) -> _Draft:
        customer = await self._crm.customer_of_in(conn, request.account_id)
        tariff = await sold(conn, self._catalog, request.offer, customer, now)
        username = request.username or "line-" + _random(10)
        if await repository.username_exists(conn, username):
            raise UsernameTaken(f"username {username} belongs to another subscription")
        subscription = Subscription(
            subscription_id=SubscriptionId(new_id(now)),
            account_id=request.account_id,
            service_id=ServiceId(new_id(now)),
            version_id=tariff.version_id,
            state=SubscriptionState.RESERVED,
            username=username,
            framed_ipv4=request.framed_ipv4,
            attachments=tuple(map(_canonical, request.attachments)),
            ordered_at=now,
        )
        return _Draft(Action.ADD, subscription, customer, None, tariff, tariff.profile)

    async def _write(
        self,
        conn: AsyncConnection,
        draft: _Draft,
        request: Request,
        order_id: OrderId,
        actor: str,
        now: datetime,
    ) -> Placed:
        subscription, before = draft.subscription, draft.tariff_before
        order = Order(
            order_id=order_id,
            action=draft.action,
            state=OrderState.ACKNOWLEDGED,
            account_id=subscription.account_id,
            subscription_id=subscription.subscription_id,
            service_id=subscription.service_id,
            version_id=draft.tariff.version_id,
            from_version_id=before.version_id if before else None,
            attempt=1,
            requested_by=actor,
            created_at=now,
            changed_at=now,
        )
        password = None
        if isinstance(request, AddRequest):
            await repository.add_subscription(conn, subscription)
            await self._reserve(conn, draft, order, actor, now)
        await repository.add_order(conn, order)
        if isinstance(request, AddRequest):
            password = request.password or Secret(_random(16))
            await repository.put_secret(conn, order_id, self._box.seal(password, f"order:{order_id}"))
        await self._catalog.mark_used_in(conn, order.version_id, now)
        await self._tell(conn, order, subscription, actor, now)
        return Placed(order, subscription, password, repeated=False)

    async def _reserve(self, conn: AsyncConnection, draft: _Draft, order: Order, actor: str, now: datetime) -> None:
        for attachment in draft.subscription.attachments:
            if isinstance(attachment, OnuAttachment):
                await self._inventory.reserve_onu_in(
                    conn,
                    attachment.onu_serial,
                    order_id=order.order_id,
                    service_id=order.service_id,
                    holder=draft.customer.contact.name,
                    actor=actor,
                    now=now,
                )

    async def _tell(
        self, conn: AsyncConnection, order: Order, subscription: Subscription, actor: str, now: datetime
    ) -> None:
        await audit.record(
            conn,
            now=now,
            actor=actor,
            action=f"order.{order.action.value}",
            subject=f"order:{order.order_id}",
            before={"version_id": order.from_version_id} if order.from_version_id else None,
            after={
                "subscription_id": order.subscription_id,
                "version_id": order.version_id,
                "username": subscription.username,
            },
        )
        await outbox.append(
            conn,
            ServiceOrdered(
                event_id=new_id(now),
                at=now,
                actor=actor,
                order_id=order.order_id,
                subscription_id=order.subscription_id,
                service_id=order.service_id,
                account_id=order.account_id,
                version_id=order.version_id,
                action=order.action.value,
            ),
        )


def _canonical(attachment: Attachment) -> Attachment:
    """As it is kept, its serial in the form of ITU-T G.984.3. Raises BadSerial."""
    if isinstance(attachment, OnuAttachment):
        return replace(attachment, onu_serial=onu_serial(attachment.onu_serial))
    return attachment


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


def _context(actor: str, key: str) -> str:
    return f"idempotency:{actor}:{key}"
