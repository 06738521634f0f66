"""Rows of mandates and collections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.identity import AccountId, InvoiceId, PaymentId
from controller.domain.money import Money
from erp.payments.tables import collection, collection_item, mandate, transfer_file

ACTIVE, ENDING, ENDED = "active", "ending", "ended"
"""Of mandates: by one that is `ending`, the next file collects for the last time."""
FINAL = "FNAL"
"""The sequence of what is collected for the last time."""
WAITING, PAID, REJECTED, RETURNED, DROPPED = "waiting", "paid", "rejected", "returned", "dropped"


@dataclass(frozen=True, slots=True)
class Mandate:
    """A debtor's permission. `collected` counts what was collected by it and not refused before it was settled."""

    mandate_id: str
    account_id: AccountId
    reference: str
    scheme: str
    recurrent: bool
    signed_on: date
    iban: str
    bic: str
    debtor: str
    state: str
    collected: int
    last_on: date | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Collection:
    """A direct debit file; `state` is made, sent or dropped."""

    collection_id: str
    bank_account_id: str
    message_id: str
    form: str
    collect_on: date
    items: int
    total: Money
    state: str
    made_at: datetime
    sent_at: datetime | None
    content: str


@dataclass(frozen=True, slots=True)
class Item:
    item_id: str
    collection_id: str
    mandate_id: str
    sequence: str
    invoice_id: InvoiceId
    account_id: AccountId
    amount_minor: int
    state: str
    payment_id: PaymentId | None
    reason: str


async def add_mandate(conn: AsyncConnection, made: Mandate, actor: str) -> None:
    await conn.execute(
        insert(mandate).values(
            mandate_id=made.mandate_id,
            account_id=made.account_id,
            reference=made.reference,
            scheme=made.scheme,
            recurrent=int(made.recurrent),
            signed_on=made.signed_on,
            iban=made.iban,
            bic=made.bic,
            debtor=made.debtor,
            state=made.state,
            collected=made.collected,
            last_on=made.last_on,
            created_at=made.created_at,
            actor=actor,
        )
    )


async def mandates(
    conn: AsyncConnection,
    *,
    mandate_id: str | None = None,
    reference: str | None = None,
    account_id: str | None = None,
    state: str | None = None,
    after: str | None = None,
    limit: int = 1_000_000,
) -> list[Mandate]:
    """In order of making."""
    query = select(mandate).order_by(mandate.c.mandate_id).limit(limit)
    given = (
        (mandate.c.mandate_id, mandate_id),
        (mandate.c.reference, reference),
        (mandate.c.account_id, account_id),
        (mandate.c.state, state),
    )
    for column, value in given:
        if value is not None:
            query = query.where(column == value)
    if after is not None:
        query = query.where(mandate.c.mandate_id > after)
    return [
        Mandate(
            row.mandate_id,
            AccountId(row.account_id),
            row.reference,
            row.scheme,
            bool(row.recurrent),
            row.signed_on,
            row.iban,
            row.bic,
            row.debtor,
            row.state,
            row.collected,
            row.last_on,
            row.created_at,
        )
        for row in await conn.execute(query)
    ]


async def change_mandate(
    conn: AsyncConnection, mandate_id: str, *, state: str | None = None, collected: int = 0, last_on: date | None = None
) -> None:
    """`collected` is added."""
    values: dict[str, Any] = {"collected": mandate.c.collected + collected}
    if state is not None:
        values["state"] = state
    if last_on is not None:
        values["last_on"] = last_on
    await conn.execute(update(mandate).where(mandate.c.mandate_id == mandate_id).values(values))


async def add_collection(conn: AsyncConnection, values: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> None:
    await conn.execute(insert(collection).values(values))
    await conn.execute(insert(collection_item), items)


async def collections(
    conn: AsyncConnection,
    *,
    collection_id: str | None = None,
    message_id: str | None = None,
    before: str | None = None,
    limit: int = 100,
) -> list[Collection]:
    """Newest first."""
    query = select(collection).order_by(collection.c.collection_id.desc()).limit(limit)
    if collection_id is not None:
        query = query.where(collection.c.collection_id == collection_id)
    if message_id is not None:
        query = query.where(collection.c.message_id == message_id)
    if before is not None:
        query = query.where(collection.c.collection_id < before)
    return [
        Collection(
            row.collection_id,
            row.bank_account_id,
            row.message_id,
            row.form,
            row.collect_on,
            row.items,
            Money(row.total_minor, row.currency),
            row.state,
            row.made_at,
            row.sent_at,
            row.content,
        )
        for row in await conn.execute(query)
    ]


async def set_collection(conn: AsyncConnection, collection_id: str, state: str, sent_at: datetime | None) -> None:
    wanted = collection.c.collection_id == collection_id
    await conn.execute(update(collection).where(wanted).values(state=state, sent_at=sent_at))


async def items(
    conn: AsyncConnection,
    *,
    collection_id: str | None = None,
    item_id: str | None = None,
    state: str | None = None,
    limit: int = 1_000_000,
) -> list[Item]:
    """In order of their ids."""
    query = select(collection_item).order_by(collection_item.c.item_id).limit(limit)
    given = (
        (collection_item.c.collection_id, collection_id),
        (collection_item.c.item_id, item_id),
        (collection_item.c.state, state),
    )
    for column, value in given:
        if value is not None:
            query = query.where(column == value)
    return [_item(row) for row in await conn.execute(query)]


async def closing_mandates(conn: AsyncConnection) -> set[str]:
    """Mandates whose last collection waits in a file."""
    wanted = (collection_item.c.sequence == FINAL) & (collection_item.c.state == WAITING)
    return set(await conn.scalars(select(collection_item.c.mandate_id).where(wanted)))


async def waiting_invoices(conn: AsyncConnection) -> set[str]:
    """Invoices that stand in a file and are not paid yet."""
    return set(await conn.scalars(select(collection_item.c.invoice_id).where(collection_item.c.state == WAITING)))


async def set_item(
    conn: AsyncConnection,
    item_id: str,
    state: str,
    now: datetime,
    *,
    payment_id: str | None = None,
    reason: str = "",
) -> None:
    values: dict[str, Any] = {"state": state, "changed_at": now, "reason": reason[:40]}
    if payment_id is not None:
        values["payment_id"] = payment_id
    await conn.execute(update(collection_item).where(collection_item.c.item_id == item_id).values(values))


async def add_transfer_file(conn: AsyncConnection, values: Mapping[str, Any]) -> None:
    await conn.execute(insert(transfer_file).values(values))


async def transfer_files(
    conn: AsyncConnection, *, file_id: str | None = None, message_id: str | None = None, limit: int = 100
) -> Sequence[Row[Any]]:
    """Newest first."""
    query = select(transfer_file).order_by(transfer_file.c.file_id.desc()).limit(limit)
    if file_id is not None:
        query = query.where(transfer_file.c.file_id == file_id)
    if message_id is not None:
        query = query.where(transfer_file.c.message_id == message_id)
    return (await conn.execute(query)).all()


def _item(row: Row[Any]) -> Item:
    return Item(
        row.item_id,
        row.collection_id,
        row.mandate_id,
        row.sequence,
        InvoiceId(row.invoice_id),
        AccountId(row.account_id),
        row.amount_minor,
        row.state,
        None if row.payment_id is None else PaymentId(row.payment_id),
        row.reason,
    )
