"""Customers and their billing accounts, one use case per method and transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.events import CustomerCreated
from controller.domain.identity import AccountId, CustomerId, EntityId, new_id
from controller.store import audit, outbox
from controller.store.engine import Database
from erp.crm import repository
from erp.crm.errors import FixedZone, NoAccount, NoCustomer, NoEntity, OtherZone
from erp.crm.model import Account, Contact, Customer, Entity, require_zone


class CrmService:
    """What other parts of the ERP ask about parties. Methods that take `conn` join the caller's transaction."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def ensure_entity(
        self, *, name: str, zone: str, currency: str, locale: str, address: str, tax_id: str
    ) -> Entity:
        """The default legal entity, made at the first start; later settings do not change it.

        Raises OtherZone: usage and fees would be of other days than documents, dunning and the ledger.
        """
        now = self._clock.now()
        async with self._database.begin() as conn:
            existing = await repository.find_entity(conn, None)
            if existing is not None and existing.zone != zone:
                raise OtherZone(
                    f"the days of {existing.name} are counted in {existing.zone} since its first start, and"
                    f" HEADEND_ENTITY_ZONE says {zone}: set it to {existing.zone}"
                )
            if existing is not None:
                return existing
            made = Entity(EntityId(new_id(now)), name, zone, currency, locale, address, tax_id)
            await repository.add_entity(conn, made, now)
            await audit.record(
                conn,
                now=now,
                actor="system:crm",
                action="entity.create",
                subject=f"entity:{made.entity_id}",
                after={"name": name, "zone": zone, "currency": currency, "locale": locale},
            )
        return made

    async def entity(self, entity_id: EntityId | None = None) -> Entity:
        """A legal entity, by default the first. Raises NoEntity."""
        async with self._database.read() as conn:
            return await self._entity(conn, entity_id)

    async def entities(self) -> list[Entity]:
        """Every legal entity, the first one first."""
        async with self._database.read() as conn:
            return await repository.entities(conn)

    async def create_customer(
        self,
        contact: Contact,
        *,
        actor: str,
        entity_id: EntityId | None = None,
        currency: str | None = None,
        zone: str | None = None,
    ) -> Customer:
        """A customer of the entity, with one billing account.

        That is in `currency`, and its days are counted in `zone`, an IANA name: by default the entity's. Neither
        changes later. Raises NoZone.
        """
        if zone is not None:
            require_zone(zone)
        now = self._clock.now()
        async with self._database.begin() as conn:
            entity = await self._entity(conn, entity_id)
            customer_id, account_id = CustomerId(new_id(now)), AccountId(new_id(now))
            account = Account(
                account_id, customer_id, entity.entity_id, currency or entity.currency, zone or entity.zone
            )
            made = Customer(customer_id, entity.entity_id, account, contact, now)
            await repository.add_customer(conn, made)
            await audit.record(
                conn,
                now=now,
                actor=actor,
                action="customer.create",
                subject=f"customer:{customer_id}",
                after={
                    "name": contact.name,
                    "account_id": account_id,
                    "currency": account.currency,
                    "zone": account.zone,
                },
            )
            await outbox.append(
                conn,
                CustomerCreated(
                    event_id=new_id(now),
                    at=now,
                    actor=actor,
                    customer_id=customer_id,
                    account_id=account_id,
                    display_name=contact.name,
                    currency=account.currency,
                    zone=account.zone,
                ),
            )
        return made

    async def require_zone(self, account_id: AccountId, zone: str) -> Customer:
        """Whose days are counted in `zone`, as they always were. Raises NoAccount, NoZone and FixedZone."""
        require_zone(zone)
        found = await self.customer_of(account_id)
        if found.account.zone != zone:
            raise FixedZone(
                f"the days of account {account_id} are counted in {found.account.zone} since it was opened, and stay"
                f" so: a day would be billed twice or not at all. Open another account in {zone}, and sell there what"
                " this one has from now on"
            )
        return found

    async def customer(self, customer_id: CustomerId) -> Customer:
        """Raises NoCustomer."""
        async with self._database.read() as conn:
            found = await repository.find_customer(conn, customer_id)
        if found is None:
            raise NoCustomer(f"no customer {customer_id}")
        return found

    async def customers(
        self, after: str | None, limit: int, *, wanted: str = "", account_ids: Collection[str] = ()
    ) -> Sequence[Customer]:
        """In order of creation; with `wanted` in name, e-mail or address, and of these accounts only."""
        async with self._database.read() as conn:
            return await repository.list_customers(conn, after, limit, wanted=wanted, account_ids=account_ids)

    async def customer_of(self, account_id: AccountId) -> Customer:
        """The customer a billing account belongs to, for the head of an invoice. Raises NoAccount."""
        async with self._database.read() as conn:
            return await self.customer_of_in(conn, account_id)

    async def require_in(self, conn: AsyncConnection, account_id: AccountId) -> None:
        """Raises NoAccount."""
        await self.customer_of_in(conn, account_id)

    async def customer_of_in(self, conn: AsyncConnection, account_id: AccountId) -> Customer:
        found = await repository.find_customer_of(conn, account_id)
        if found is None:
            raise NoAccount(f"no billing account {account_id}")
        return found

    async def customers_of_in(
        self, conn: AsyncConnection, account_ids: Collection[AccountId]
    ) -> dict[AccountId, Customer]:
        """Of each account its customer, in the caller's transaction. Raises NoAccount when one is unknown."""
        found = await repository.find_customers_of(conn, account_ids)
        lacking = sorted(set(account_ids) - found.keys())
        if lacking:
            raise NoAccount(f"no billing account {lacking[0]}")
        return found

    async def lock_accounts_in(self, conn: AsyncConnection, account_ids: Collection[AccountId]) -> None:
        """These are the caller's alone until his transaction ends, among all who ask for them so."""
        await repository.lock_accounts(conn, account_ids)

    async def _entity(self, conn: AsyncConnection, entity_id: EntityId | None) -> Entity:
        found = await repository.find_entity(conn, entity_id)
        if found is None:
            raise NoEntity("no legal entity exists" if entity_id is None else f"no legal entity {entity_id}")
        return found
