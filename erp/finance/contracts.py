"""Rows of contracts, of what they promise, and of what is earned in which month."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.charge import Charge
from controller.domain.identity import AccountId, EntityId, new_id
from controller.store.many import insert_all
from erp.finance.contract_tables import contract, contract_change, contract_movement, earning, promise, recognition
from erp.finance.recognition import Planned, Promise, Slice, cut, planned_as

_AT_A_TIME = 5000
"""Ids in one statement: SQLite takes 32,766 parameters."""


@dataclass(frozen=True, slots=True)
class Contract:
    """`billed_minor` less `earned_minor` is what it owes in service, or below zero what is owed for it."""

    contract_id: str
    entity_id: EntityId
    account_id: AccountId
    subscription_id: str | None
    reference: str
    currency: str
    price_minor: int
    billed_minor: int
    earned_minor: int


@dataclass(frozen=True, slots=True)
class Change:
    """Version 1 is the signing; `added_minor` is then the price."""

    version: int
    at_on: date
    added_minor: int
    reason: str


@dataclass(frozen=True, slots=True)
class Earning:
    """What is due of a month on an account, of a contract or (None) of the lines of invoices."""

    month: date
    currency: str
    code: str
    minor: int
    contract_id: str | None


async def add_contract(
    conn: AsyncConnection, made: Contract, change: Change, planned: Sequence[Planned], *, at: datetime, actor: str
) -> list[str]:
    """Returns the ids of its promises."""
    row = {
        "contract_id": made.contract_id,
        "entity_id": made.entity_id,
        "account_id": made.account_id,
        "subscription_id": made.subscription_id,
        "reference": made.reference,
        "currency": made.currency,
        "created_at": at,
        "actor": actor,
    }
    await conn.execute(insert(contract).values(row))
    return await add_change(conn, made.contract_id, change, planned, at=at, actor=actor)


async def add_change(
    conn: AsyncConnection, contract_id: str, change: Change, planned: Sequence[Planned], *, at: datetime, actor: str
) -> list[str]:
    """Returns the ids of its promises."""
    row = {
        "contract_id": contract_id,
        "version": change.version,
        "at_on": change.at_on,
        "added_minor": change.added_minor,
        "reason": change.reason,
        "created_at": at,
        "actor": actor,
    }
    await conn.execute(insert(contract_change).values(row))
    ids = [new_id(at) for _ in planned]
    rows = [
        {
            "promise_id": promise_id,
            "contract_id": contract_id,
            "version": change.version,
            "position": position,
            "name": p.promise.name,
            "role": p.promise.role,
            "stand_alone_minor": p.promise.stand_alone_minor,
            "share_minor": p.minor,
            "first_on": p.promise.first_on,
            "until_on": p.promise.until_on,
        }
        for position, (promise_id, p) in enumerate(zip(ids, planned, strict=True), 1)
    ]
    await conn.execute(insert(promise), rows)
    return ids


async def find(conn: AsyncConnection, contract_id: str) -> Contract | None:
    found = await _contracts(conn, contract.c.contract_id == contract_id, None, 1)
    return found[0] if found else None


async def find_reference(conn: AsyncConnection, entity_id: EntityId, reference: str) -> Contract | None:
    wanted = (contract.c.entity_id == entity_id) & (contract.c.reference == reference)
    found = await _contracts(conn, wanted, None, 1)
    return found[0] if found else None


async def find_sold(conn: AsyncConnection, subscription_id: str) -> Contract | None:
    """The contract under which a subscription or item was sold."""
    found = await _contracts(conn, contract.c.subscription_id == subscription_id, None, 1)
    return found[0] if found else None


async def page(conn: AsyncConnection, account_id: str | None, after: str | None, limit: int) -> list[Contract]:
    wanted = contract.c.account_id == account_id if account_id else contract.c.contract_id != ""
    return await _contracts(conn, wanted, after, limit)


async def changes(conn: AsyncConnection, contract_id: str) -> list[Change]:
    query = select(contract_change).where(contract_change.c.contract_id == contract_id)
    return [
        Change(row.version, row.at_on, row.added_minor, row.reason)
        for row in await conn.execute(query.order_by(contract_change.c.version))
    ]


async def planned(conn: AsyncConnection, contract_id: str) -> list[tuple[str, Planned]]:
    """What a contract's plan is today: each promise with its id, cut where a later change ended it."""
    days = {c.version: c.at_on for c in await changes(conn, contract_id)}
    query = select(promise).where(promise.c.contract_id == contract_id)
    found = []
    for row in await conn.execute(query.order_by(promise.c.version, promise.c.position)):
        told = Promise(row.name, row.role, row.stand_alone_minor, row.first_on, row.until_on)
        slices = planned_as(told, row.share_minor).slices
        for version in range(row.version + 1, max(days) + 1):
            slices = cut(slices, days[version])[0]
        if slices:
            found.append((row.promise_id, Planned(told, slices)))
    return found


async def add_earnings(conn: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    await insert_all(conn, earning, rows)


def earning_row(
    entity_id: str, currency: str, code: str, piece: Slice, minor: int, **source: str | None
) -> dict[str, Any]:
    """`source` is line_id, or promise_id and contract_id."""
    return {
        "entity_id": entity_id,
        "currency": currency,
        "code": code,
        "month": piece.month,
        "first_on": piece.first_on,
        "until_on": piece.until_on,
        "amount_minor": minor,
        "line_id": None,
        "promise_id": None,
        "contract_id": None,
        **source,
    }


async def of_subscriptions(conn: AsyncConnection, charges: Iterable[Charge]) -> dict[str, str]:
    """The contract of each subscription that was sold under one, in the currency of what is charged for it.

    Nobody else moves these contracts until the transaction ends.
    """
    currency_of = {c.subscription_id: c.net.currency for c in charges}
    query = select(contract.c.subscription_id, contract.c.contract_id, contract.c.currency)
    query = query.where(contract.c.subscription_id.in_(sorted(currency_of))).order_by(contract.c.contract_id)
    rows = await conn.execute(query.with_for_update(key_share=True))
    return {r.subscription_id: r.contract_id for r in rows if r.currency == currency_of[r.subscription_id]}


async def is_sold(conn: AsyncConnection, subscription_id: str) -> bool:
    """Whether a subscription was sold under a contract."""
    found = await conn.scalar(select(contract.c.contract_id).where(contract.c.subscription_id == subscription_id))
    return found is not None


async def positions(conn: AsyncConnection, contract_ids: Collection[str]) -> dict[str, int]:
    """Billed less earned."""
    wanted, found = sorted(contract_ids), {}
    moved = func.sum(contract_movement.c.billed_minor - contract_movement.c.earned_minor)
    query = select(contract_movement.c.contract_id, moved.label("minor")).group_by(contract_movement.c.contract_id)
    for first in range(0, len(wanted), _AT_A_TIME):
        some = query.where(contract_movement.c.contract_id.in_(wanted[first : first + _AT_A_TIME]))
        found.update({row.contract_id: int(row.minor) for row in await conn.execute(some)})
    return found


async def add_movements(
    conn: AsyncConnection,
    entry_id: str,
    *,
    billed: Mapping[str, int] | None = None,
    earned: Mapping[str, int] | None = None,
) -> None:
    rows = [
        {
            "contract_id": key,
            "entry_id": entry_id,
            "billed_minor": (billed or {}).get(key, 0),
            "earned_minor": (earned or {}).get(key, 0),
        }
        for key in sorted({*(billed or {}), *(earned or {})})
    ]
    if rows:
        await conn.execute(insert(contract_movement), rows)


async def through(conn: AsyncConnection, entity_id: EntityId, month: date) -> date:
    """The month to recognise through: what was recognised once is up to date whenever anything is."""
    last = await _last(conn, entity_id)
    return month if last is None else max(month, last[0])


async def due(conn: AsyncConnection, entity_id: EntityId, month: date) -> list[Earning]:
    """What of `month` and before was not posted yet."""
    last = await _last(conn, entity_id)
    keys = (earning.c.month, earning.c.currency, earning.c.code, earning.c.contract_id)
    query = select(*keys, func.sum(earning.c.amount_minor).label("minor")).group_by(*keys).order_by(*keys)
    query = query.where(earning.c.entity_id == entity_id, earning.c.month <= month)
    if last is not None:
        query = query.where(or_(earning.c.month > last[0], earning.c.earning_id > last[1]))
    rows = await conn.execute(query)
    return [Earning(row.month, row.currency, row.code, int(row.minor), row.contract_id) for row in rows]


async def unearned(conn: AsyncConnection, entity_id: EntityId) -> dict[str, int]:
    """Of lines of documents, what is planned and was not posted yet, by currency."""
    last = await _last(conn, entity_id)
    query = select(earning.c.currency, func.sum(earning.c.amount_minor)).group_by(earning.c.currency)
    query = query.where(earning.c.entity_id == entity_id, earning.c.line_id.is_not(None))
    if last is not None:
        query = query.where(or_(earning.c.month > last[0], earning.c.earning_id > last[1]))
    return {currency: int(minor) for currency, minor in await conn.execute(query)}


async def recognised(conn: AsyncConnection, entity_id: EntityId, month: date, *, at: datetime, actor: str) -> None:
    """Note that everything of `month` (see `through`) and before, that is known, was posted."""
    upto = await conn.scalar(select(func.coalesce(func.max(earning.c.earning_id), 0)))
    made = {"entity_id": entity_id, "month": month, "upto": upto, "at": at, "actor": actor}
    await conn.execute(insert(recognition).values(made))


async def by_month(conn: AsyncConnection, entity_id: EntityId) -> list[tuple[date, str, str, int, int]]:
    """(month, currency, account, planned, of it posted) of every month that something is earned in."""
    last = await _last(conn, entity_id)
    posted = (
        earning.c.earning_id < 0 if last is None else (earning.c.month <= last[0]) & (earning.c.earning_id <= last[1])
    )
    keys = (earning.c.month, earning.c.currency, earning.c.code)
    amount = earning.c.amount_minor
    query = select(*keys, func.sum(amount).label("planned"), func.sum(amount).filter(posted).label("posted"))
    query = query.where(earning.c.entity_id == entity_id).group_by(*keys).order_by(*keys)
    return [
        (row.month, row.currency, row.code, int(row.planned), int(row.posted or 0)) for row in await conn.execute(query)
    ]


async def _last(conn: AsyncConnection, entity_id: EntityId) -> tuple[date, int] | None:
    query = select(recognition.c.month, recognition.c.upto).where(recognition.c.entity_id == entity_id)
    row = (await conn.execute(query.order_by(recognition.c.recognition_id.desc()).limit(1))).one_or_none()
    return (row.month, row.upto) if row else None


async def _contracts(conn: AsyncConnection, wanted: Any, after: str | None, limit: int) -> list[Contract]:
    moved = (
        select(
            contract_movement.c.contract_id,
            func.sum(contract_movement.c.billed_minor).label("billed"),
            func.sum(contract_movement.c.earned_minor).label("earned"),
        )
        .group_by(contract_movement.c.contract_id)
        .subquery()
    )
    price = (
        select(contract_change.c.contract_id, func.sum(contract_change.c.added_minor).label("minor"))
        .group_by(contract_change.c.contract_id)
        .subquery()
    )
    query = (
        select(contract, moved.c.billed, moved.c.earned, price.c.minor.label("price"))
        .outerjoin(moved, moved.c.contract_id == contract.c.contract_id)
        .join(price, price.c.contract_id == contract.c.contract_id)
        .where(wanted)
        .order_by(contract.c.contract_id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(contract.c.contract_id > after)
    return [
        Contract(
            row.contract_id,
            EntityId(row.entity_id),
            AccountId(row.account_id),
            row.subscription_id,
            row.reference,
            row.currency,
            int(row.price),
            int(row.billed or 0),
            int(row.earned or 0),
        )
        for row in await conn.execute(query)
    ]
