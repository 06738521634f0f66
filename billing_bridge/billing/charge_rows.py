"""Rows of charges: written with their evidence, read for documents, and added up for what is due next."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import Row, delete, not_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing import tariff_rows, usage_rows
from billing_bridge.billing.charges import AsSold, as_sold, ends_on_of, missing_of
from billing_bridge.billing.model import Key, RatedCharge
from billing_bridge.rating.due import Charged, DueKey
from billing_bridge.rating.proration import DaySpan
from billing_bridge.sources import booked
from billing_bridge.sources.tables import charge_calls
from billing_bridge.tables import charge, charge_usage, subscription
from controller.domain.charge import Charge, ChargeKind
from controller.domain.identity import (
    AccountId,
    BillRunId,
    ChargeId,
    OfferingVersionId,
    ServiceId,
    SubscriptionId,
)
from controller.domain.money import Money
from controller.domain.price import ProductKind
from controller.store.many import insert_all, one_of
from controller.store.turns import in_turns

_KEY = (
    charge.c.subscription_id,
    charge.c.period_first_on,
    charge.c.version_id,
    charge.c.kind,
    charge.c.code,
)
_OF_ATTEMPT = {"charge_id", "attempt", "batch", "created_at"}
_EVER = datetime.max.replace(tzinfo=UTC)
_json = json.JSONEncoder(sort_keys=True).encode
"""One encoder for all: `json.dumps` makes one for each charge."""
_UNSOLD: AsSold = {"tax_category": "S", "tax_included": False, "names": (), "product": ProductKind.INTERNET.value}


async def add_charges(conn: AsyncConnection, batch: int, rated: Sequence[RatedCharge], now: datetime) -> None:
    """Write charges and their evidence."""
    await insert_all(conn, charge, [_charge_row(r, batch, now) async for r in in_turns(rated)])
    await usage_rows.add_evidence(conn, rated)
    await booked.add_evidence(conn, [(r.charge.charge_id, day) for r in rated for day in r.calls])


async def charges_of(
    conn: AsyncConnection, bill_run_id: BillRunId, batch: int | None = None, *, accounts: Sequence[str] | None = None
) -> list[Charge]:
    """The charges of a run, of one batch or of some accounts, as the lines of documents stand."""
    query = select(charge).where(charge.c.bill_run_id == bill_run_id)
    if batch is not None:
        query = query.where(charge.c.batch == batch)
    if accounts is not None:
        query = query.where(one_of(conn, charge.c.account_id, accounts))
    query = query.order_by(
        charge.c.account_id, charge.c.period_first_on, charge.c.subscription_id, charge.c.net_minor, charge.c.charge_id
    )
    rows = (await conn.execute(query)).all()
    known = await tariff_rows.tariffs(conn, {row.version_id for row in rows})
    sold = {version_id: as_sold(tariff) for version_id, tariff in known.items()}
    return [to_charge(row, sold[row.version_id]) async for row in in_turns(rows)]


async def ids_of(conn: AsyncConnection, bill_run_id: BillRunId, batch: int) -> dict[Key, set[ChargeId]]:
    """Of each account and currency the charges of one batch of a run."""
    query = select(charge.c.account_id, charge.c.currency, charge.c.charge_id).where(
        charge.c.bill_run_id == bill_run_id, charge.c.batch == batch
    )
    found: dict[Key, set[ChargeId]] = {}
    for account_id, currency, charge_id in await conn.execute(query):
        found.setdefault((AccountId(account_id), currency), set()).add(ChargeId(charge_id))
    return found


async def charged(
    conn: AsyncConnection, subscription_ids: Sequence[str], since: date, without: Collection[str] = ()
) -> dict[str, dict[DueKey, Charged]]:
    """What was charged so far, per subscription and key, of periods that begin on `since` or later.

    `without` are charges that are not counted.
    """
    query = select(charge).where(charge.c.subscription_id.in_(subscription_ids), charge.c.period_first_on >= since)
    if without:
        query = query.where(not_(one_of(conn, charge.c.charge_id, without)))
    rows: dict[str, dict[DueKey, list[Row[Any]]]] = {}
    for row in (await conn.execute(query.order_by(charge.c.attempt))).all():
        key = DueKey(ChargeKind(row.kind), row.period_first_on, OfferingVersionId(row.version_id), row.code)
        rows.setdefault(row.subscription_id, {}).setdefault(key, []).append(row)
    return {i: {key: _sum(charges) for key, charges in by_key.items()} for i, by_key in rows.items()}


async def withdraw(conn: AsyncConnection, rows: Sequence[Row[Any]]) -> None:
    """Delete charges that stand on no document, with their evidence."""
    ids = [row.charge_id for row in rows]
    for table in (charge_usage, charge_calls, charge):
        await conn.execute(delete(table).where(one_of(conn, table.c.charge_id, ids)))


async def rows_of(conn: AsyncConnection, bill_run_id: BillRunId, accounts: Sequence[str]) -> Sequence[Row[Any]]:
    """Charges of a run to some accounts, as they are stored."""
    query = select(charge).where(charge.c.bill_run_id == bill_run_id, one_of(conn, charge.c.account_id, accounts))
    return (await conn.execute(query)).all()


async def to_rate_again(conn: AsyncConnection, bill_run_id: BillRunId) -> list[AccountId]:
    """Accounts that a run charges for subscriptions of which a period that it billed must be rated again since.

    That is a price that was corrected, usage that came late or moved, a timeline that was changed before the period of
    the run. Of cycles of several lengths it may name one too many.
    """
    s = subscription.c
    query = (
        select(charge.c.account_id)
        .join(subscription, s.subscription_id == charge.c.subscription_id)
        .where(charge.c.bill_run_id == bill_run_id, s.rate_from_on < s.usage_billed_until_on)
        .distinct()
        .order_by(charge.c.account_id)
    )
    return [AccountId(i) for i in await conn.scalars(query)]


async def built_upon(conn: AsyncConnection, rows: Sequence[Row[Any]]) -> set[str]:
    """Those of `rows`, which are of one run, that a charge of another run is the difference to."""
    ids = sorted({row.subscription_id for row in rows})
    query = select(charge.c.attempt, *_KEY).where(
        one_of(conn, charge.c.subscription_id, ids), charge.c.bill_run_id != (rows[0].bill_run_id if rows else "")
    )
    later: dict[tuple[Any, ...], int] = {}
    for attempt, *key in await conn.execute(query):
        later[tuple(key)] = max(attempt, later.get(tuple(key), 0))
    return {row.charge_id for row in rows if later.get(_key(row), -1) > row.attempt}


async def same(conn: AsyncConnection, rows: Sequence[Row[Any]], rated: Sequence[RatedCharge]) -> bool:
    """Whether what is stored says what was rated, and names the same evidence."""
    kept = {_said(row._asdict()): row.charge_id for row in rows}
    if len(kept) != len(rated):
        return False
    for_usage: dict[str, RatedCharge] = {}
    async for r in in_turns(rated):
        charge_id = kept.get(_said(_charge_row(r, 0, _EVER)))
        if charge_id is None:
            return False
        if r.charge.kind is ChargeKind.USAGE:
            for_usage[charge_id] = r
    days = await usage_rows.evidence_of_all(conn, for_usage)
    calls = await booked.evidence_of_all(conn, for_usage)
    return all(days.get(i, ()) == r.evidence and calls.get(i, []) == list(r.calls) for i, r in for_usage.items())


def _said(values: dict[str, Any]) -> tuple[Any, ...]:
    """A row without what tells one attempt from another."""
    return tuple(values[name] for name in sorted(values.keys() - _OF_ATTEMPT))


def _key(row: Row[Any]) -> tuple[Any, ...]:
    return tuple(getattr(row, column.name) for column in _KEY)


def _sum(charges: Sequence[Row[Any]]) -> Charged:
    days: set[date] = set()
    for row in charges:
        named = set(DaySpan(row.first_on, row.until_on).each_day())
        days = days | named if row.net_minor > 0 else days - named
    span = DaySpan(min(days), max(days) + timedelta(days=1)) if days else None
    return Charged(
        net_minor=sum(row.net_minor for row in charges),
        octets=sum(row.octets for row in charges),
        days=sum(row.days for row in charges),
        charges=len(charges),
        attempts=1 + max(row.attempt for row in charges),
        span=span,
        given_back=frozenset(span.each_day()) - days if span else frozenset(),
    )


def _charge_row(r: RatedCharge, batch: int, now: datetime) -> dict[str, Any]:
    c = r.charge
    return {
        "charge_id": c.charge_id,
        "bill_run_id": c.bill_run_id,
        "batch": batch,
        "account_id": c.account_id,
        "subscription_id": c.subscription_id,
        "service_id": c.service_id,
        "version_id": c.version_id,
        "kind": c.kind.value,
        "code": r.code,
        "period_first_on": r.period.first_on,
        "period_until_on": r.period.until_on,
        "attempt": r.attempt,
        "first_on": c.first_on,
        "until_on": c.until_on,
        "item": c.item,
        "description": c.description,
        "heading": c.group,
        "quantity": c.quantity,
        "unit": c.unit,
        "unit_price": c.unit_price,
        "net_minor": c.net.minor,
        "currency": c.net.currency,
        "tax_percent": c.tax_percent,
        "octets": r.octets,
        "days": r.days,
        "adjustment": c.adjustment,
        "arithmetic": _json(r.arithmetic),
        "created_at": now,
    }


def to_charge(row: Row[Any], sold: AsSold | None = None) -> Charge:
    """A charge as it is stored, and (`sold`) as its version says that it stands on documents."""
    return Charge(
        charge_id=ChargeId(row.charge_id),
        bill_run_id=BillRunId(row.bill_run_id),
        account_id=AccountId(row.account_id),
        subscription_id=SubscriptionId(row.subscription_id),
        service_id=ServiceId(row.service_id),
        version_id=OfferingVersionId(row.version_id),
        kind=ChargeKind(row.kind),
        first_on=row.first_on,
        until_on=row.until_on,
        description=row.description,
        quantity=row.quantity,
        unit=row.unit,
        unit_price=row.unit_price,
        net=Money(row.net_minor, row.currency),
        tax_percent=row.tax_percent,
        item=row.item,
        group=row.heading,
        adjustment=row.adjustment,
        ends_on=ends_on_of(row.arithmetic),
        missing=missing_of(row.arithmetic),
        **(sold or _UNSOLD),
    )
