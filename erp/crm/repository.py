"""Rows of customers as frozen values."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, Select, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.identity import AccountId, CustomerId, EntityId
from controller.store.many import one_of
from erp.crm.model import Account, Contact, Customer, Entity
from erp.crm.tables import account, customer, entity


async def add_entity(conn: AsyncConnection, made: Entity, now: datetime) -> None:
    await conn.execute(
        insert(entity).values(
            entity_id=made.entity_id,
            name=made.name,
            zone=made.zone,
            currency=made.currency,
            locale=made.locale,
            address=made.address,
            tax_id=made.tax_id,
            country=made.country,
            iban=made.iban,
            created_at=now,
        )
    )


async def find_entity(conn: AsyncConnection, entity_id: EntityId | None) -> Entity | None:
    """The entity, or with None the one that was created first."""
    query = select(entity).order_by(entity.c.created_at, entity.c.entity_id).limit(1)
    if entity_id is not None:
        query = query.where(entity.c.entity_id == entity_id)
    row = (await conn.execute(query)).one_or_none()
    return None if row is None else _entity(row)


async def after_all_entities(conn: AsyncConnection, now: datetime) -> datetime:
    """`now`, or a moment later: which entity is the first is told by when they were made."""
    last = await conn.scalar(select(func.max(entity.c.created_at)))
    return now if last is None else max(now, last + timedelta(microseconds=1))


async def find_entity_named(conn: AsyncConnection, name: str) -> Entity | None:
    row = (await conn.execute(select(entity).where(entity.c.name == name))).one_or_none()
    return None if row is None else _entity(row)


async def change_entity(conn: AsyncConnection, made: Entity) -> None:
    """What stands on its papers from now on."""
    papers = {"locale": made.locale, "address": made.address, "tax_id": made.tax_id}
    values = papers | {"country": made.country, "iban": made.iban}
    await conn.execute(update(entity).where(entity.c.entity_id == made.entity_id).values(values))


async def entities(conn: AsyncConnection) -> list[Entity]:
    rows = await conn.execute(select(entity).order_by(entity.c.created_at, entity.c.entity_id))
    return [_entity(row) for row in rows]


async def add_customer(conn: AsyncConnection, made: Customer) -> None:
    """The customer and its billing account."""
    contact = made.contact
    await conn.execute(
        insert(customer).values(
            customer_id=made.customer_id,
            entity_id=made.entity_id,
            name=contact.name,
            email=contact.email,
            phone=contact.phone,
            address=contact.address,
            language=contact.language,
            tax_id=contact.tax_id,
            created_at=made.created_at,
        )
    )
    await conn.execute(
        insert(account).values(
            account_id=made.account.account_id,
            customer_id=made.customer_id,
            currency=made.account.currency,
            zone=made.account.zone,
            created_at=made.created_at,
        )
    )


async def find_customer(conn: AsyncConnection, customer_id: CustomerId) -> Customer | None:
    row = (await conn.execute(_customers().where(customer.c.customer_id == customer_id))).one_or_none()
    return None if row is None else _customer(row)


async def find_customer_of(conn: AsyncConnection, account_id: AccountId) -> Customer | None:
    row = (await conn.execute(_customers().where(account.c.account_id == account_id))).one_or_none()
    return None if row is None else _customer(row)


async def find_customers_of(conn: AsyncConnection, account_ids: Collection[AccountId]) -> dict[AccountId, Customer]:
    rows = await conn.execute(_customers().where(one_of(conn, account.c.account_id, sorted(account_ids))))
    return {found.account.account_id: found for found in map(_customer, rows)}


async def lock_accounts(conn: AsyncConnection, account_ids: Collection[AccountId]) -> None:
    """These are the caller's alone until the transaction ends, among all who ask for them so."""
    query = select(account.c.account_id).where(one_of(conn, account.c.account_id, sorted(account_ids)))
    await conn.execute(query.order_by(account.c.account_id).with_for_update(key_share=True))


async def list_customers(
    conn: AsyncConnection, after: str | None, limit: int, *, wanted: str = "", account_ids: Collection[str] = ()
) -> Sequence[Customer]:
    """In order of creation: ids sort by time. `wanted` is part of a name, an e-mail or an address, in any case."""
    query = _customers().order_by(customer.c.customer_id).limit(limit)
    if wanted:
        columns = (customer.c.name, customer.c.email, customer.c.address)
        query = query.where(or_(*(column.icontains(wanted, autoescape=True) for column in columns)))
    if account_ids:
        query = query.where(account.c.account_id.in_(account_ids))
    if after is not None:
        query = query.where(customer.c.customer_id > after)
    return [_customer(row) for row in await conn.execute(query)]


def _customers() -> Select[Any]:
    return select(customer, account.c.account_id, account.c.currency, account.c.zone).join(
        account, account.c.customer_id == customer.c.customer_id
    )


def _entity(row: Row[Any]) -> Entity:
    return Entity(
        row.entity_id, row.name, row.zone, row.currency, row.locale, row.address, row.tax_id, row.country, row.iban
    )


def _customer(row: Row[Any]) -> Customer:
    return Customer(
        customer_id=row.customer_id,
        entity_id=row.entity_id,
        account=Account(row.account_id, row.customer_id, row.entity_id, row.currency, row.zone),
        contact=Contact(row.name, row.email, row.phone, row.address, row.language, row.tax_id),
        created_at=row.created_at,
    )
