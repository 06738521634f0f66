"""What a customer is bound to: the contract of a line or an item, counted from its first day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from controller.domain.clock import Clock, local_date
from controller.domain.identity import AccountId, ItemId, OfferingVersionId, SubscriptionId
from controller.domain.price import Contract
from controller.domain.tariff import TariffVersion
from controller.store.engine import Database
from erp.catalog.service import CatalogService
from erp.crm.service import CrmService
from erp.orders import repository
from erp.orders.contract import Bound, Fee, bound, early_termination
from erp.orders.errors import NoContract, NoSubscription
from erp.orders.items import ItemService
from erp.orders.model import SubscriptionState


@dataclass(frozen=True, slots=True)
class Standing:
    """A contract as of the day `on`, and what leaving on it would cost."""

    tariff: TariffVersion
    on: date
    bound: Bound
    fee: Fee


class ContractService:
    def __init__(
        self, database: Database, clock: Clock, *, crm: CrmService, catalog: CatalogService, items: ItemService
    ) -> None:
        self._database = database
        self._clock = clock
        self._crm = crm
        self._catalog = catalog
        self._items = items

    async def of_subscription(self, subscription_id: SubscriptionId, on: date | None) -> Standing:
        """Raises NoSubscription, NoContract."""
        async with self._database.read() as conn:
            found = await repository.find_subscription(conn, subscription_id)
        if found is None:
            raise NoSubscription(f"no subscription {subscription_id}")
        if found.activated_at is None:
            raise NoContract(f"subscription {subscription_id} has not begun: its contract begins with the service")
        return await self._standing(found.account_id, found.version_id, found.activated_at, on)

    async def of_item(self, item_id: ItemId, on: date | None) -> Standing:
        """Raises NoItem, NoContract."""
        found = await self._items.item(item_id)
        return await self._standing(found.account_id, found.version_id, found.held_since, on)

    async def of_account(self, account_id: AccountId, limit: int) -> dict[str, Standing]:
        """By subscription or item, of the first `limit` of each: what is held today and binds. Raises NoAccount."""
        customer = await self._crm.customer_of(account_id)
        async with self._database.read() as conn:
            lines = await repository.list_subscriptions(
                conn, account_id=account_id, service_id=None, after=None, limit=limit
            )
        begun = [
            (str(row.subscription_id), row.version_id, row.activated_at)
            for row in lines
            if row.state is SubscriptionState.ACTIVE and row.activated_at is not None
        ]
        begun += [
            (str(row.item_id), row.version_id, row.held_since)
            for row in await self._items.items(account_id, None, limit)
            if row.ended_at is None
        ]
        zone, found = customer.account.zone_info, {}
        for key, version_id, at in begun:
            tariff = await self._catalog.tariff(version_id)
            if tariff.plan.contract is not None:
                found[key] = self._on(tariff, tariff.plan.contract, at, None, zone)
        return found

    async def _standing(
        self, account_id: AccountId, version_id: OfferingVersionId, begun_at: datetime, on: date | None
    ) -> Standing:
        tariff = await self._catalog.tariff(version_id)
        if tariff.plan.contract is None:
            raise NoContract(f"version {tariff.number} of {tariff.offering_name} binds nobody")
        zone = (await self._crm.customer_of(account_id)).account.zone_info
        return self._on(tariff, tariff.plan.contract, begun_at, on, zone)

    def _on(
        self, tariff: TariffVersion, contract: Contract, begun_at: datetime, on: date | None, zone: ZoneInfo
    ) -> Standing:
        begun_on = local_date(begun_at, zone)
        day = on or local_date(self._clock.now(), zone)
        return Standing(tariff, day, bound(contract, begun_on, day), early_termination(tariff, begun_on, day))
