"""Rows of billing: timelines, copies of prices, and charges with their evidence."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Row, Select, and_, case, func, null, or_, select, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing import pauses
from billing_bridge.billing.charges import as_sold, ends_on_of
from billing_bridge.billing.cycle import Calendar
from billing_bridge.billing.model import (
    BookedInterval,
    DayUsage,
    RatedCharge,
    Subscription,
)
from billing_bridge.rating.due import Charged, DueKey
from billing_bridge.rating.proration import Change, DaySpan
from billing_bridge.sources import booked, ports
from billing_bridge.suspense.model import CHARGED
from billing_bridge.tables import (
    account_terms,
    charge,
    charge_usage,
    entitlement,
    subscription,
    suspense,
    tariff,
    usage_day,
)
from controller.domain.charge import Charge, ChargeKind
from controller.domain.events import ItemHeld, ServiceActivated, ServiceChanged, ServiceTerminated
from controller.domain.identity import (
    AccountId,
    BillRunId,
    ChargeId,
    OfferingId,
    OfferingVersionId,
    ServiceId,
    SubscriptionId,
)
from controller.domain.money import Money
from controller.domain.ports import UsageInterval
from controller.domain.price import Cycle, ProductKind
from controller.domain.price_text import plan_from_json, plan_to_json
from controller.domain.service import SpeedProfile
from controller.domain.tariff import TariffVersion
from controller.store.many import insert_all, insert_rows, one_of

_MONTHLY: frozenset[Cycle] = frozenset({"month"})

Lifecycle = ServiceActivated | ServiceChanged | ServiceTerminated


@dataclass(frozen=True, slots=True)
class Entry:
    """What an event says about a timeline: from `at` on so many pieces of a version, or none."""

    subscription_id: str
    service_id: ServiceId
    account_id: AccountId
    order_id: str
    at: datetime
    event_id: str
    event_name: str
    version_id: OfferingVersionId | None
    quantity: int = 1

    @classmethod
    def of(cls, event: Lifecycle, version_id: OfferingVersionId | None) -> Entry:
        return cls(
            event.subscription_id,
            event.service_id,
            event.account_id,
            event.order_id,
            event.at,
            event.event_id,
            event.name,
            version_id,
        )

    @classmethod
    def of_item(cls, event: ItemHeld) -> Entry:
        """An item is a subscription to something that no device carries: its own service, without usage."""
        item = event.item_id
        return cls(
            item,
            ServiceId(item),
            event.account_id,
            item,
            event.at,
            event.event_id,
            event.name,
            event.version_id,
            event.quantity,
        )


async def put_tariff(conn: AsyncConnection, version: TariffVersion) -> None:
    """Keep a copy of a version; a second copy changes nothing."""
    values = {
        "version_id": version.version_id,
        "offering_id": version.offering_id,
        "offering_name": version.offering_name,
        "number": version.number,
        "effective_on": version.effective_on,
        "currency": version.currency,
        "tax_percent": version.tax_percent,
        "tax_category": version.tax_category,
        "kind": version.kind.value,
        "cycle": version.plan.cycle,
        "plan": plan_to_json(version.plan),
        "names": json.dumps(version.names),
        "profile_name": version.speed.name if version.speed else None,
        "downstream_bps": version.speed.downstream_bps if version.speed else None,
        "upstream_bps": version.speed.upstream_bps if version.speed else None,
    }
    await conn.execute(upsert(conn)(tariff).values(**values).on_conflict_do_nothing())


async def tariffs(conn: AsyncConnection, version_ids: Iterable[str]) -> dict[OfferingVersionId, TariffVersion]:
    rows = await conn.execute(select(tariff).where(tariff.c.version_id.in_(sorted(set(version_ids)))))
    return {OfferingVersionId(row.version_id): _tariff(row) for row in rows}


async def put_subscription(conn: AsyncConnection, event: Entry, anchor_day: int, on: date) -> None:
    """Make the subscription known, or let what it owes be computed again from the day `on`.

    `anchor_day` is for accounts without terms of their own.
    """
    own = await conn.scalar(select(account_terms.c.anchor_day).where(account_terms.c.account_id == event.account_id))
    values = {
        "subscription_id": event.subscription_id,
        "account_id": event.account_id,
        "service_id": event.service_id,
        "anchor_day": anchor_day if own is None else own or on.day,
        "phase_on": on,
        "rate_from_on": on,
    }
    await conn.execute(upsert(conn)(subscription).values(**values).on_conflict_do_nothing())
    await rate_from(conn, event.subscription_id, on)


async def rate_from(conn: AsyncConnection, subscription_id: str, on: date) -> bool:
    """Let what it owes be computed again from the day `on`; False when there is no such subscription.

    Written even when nothing changes: the row's lock keeps a bill run from passing between here and the commit.
    """
    since = subscription.c.rate_from_on
    changed = await conn.execute(
        update(subscription)
        .where(subscription.c.subscription_id == subscription_id)
        .values(rate_from_on=case((since > on, on), else_=since))
    )
    return bool(changed.rowcount)


async def add_entitlement(conn: AsyncConnection, event: Entry) -> None:
    """One entry of the timeline per event, however often the event is delivered."""
    values = {
        "subscription_id": event.subscription_id,
        "at": event.at,
        "version_id": event.version_id,
        "quantity": event.quantity,
        "event_id": event.event_id,
        "event_name": event.event_name,
        "order_id": event.order_id,
    }
    await conn.execute(
        upsert(conn)(entitlement).values(**values).on_conflict_do_nothing(index_elements=[entitlement.c.event_id])
    )


async def lock_subscriptions(
    conn: AsyncConnection, accounts: Sequence[str], day_of: Callable[[datetime], date]
) -> list[Subscription]:
    """The accounts' subscriptions with all that decides what they owe, held until the transaction ends.

    Two bill runs of one account meet at this lock; the second then sees the charges of the first.
    """
    rows = (await conn.execute(_of(accounts).with_for_update())).all()
    if not rows:
        return []
    return await _whole(conn, rows, day_of, None)


async def read_subscriptions(
    conn: AsyncConnection, accounts: Sequence[str], day_of: Callable[[datetime], date], since: date | None
) -> list[Subscription]:
    """The same for who only looks; with usage and charges from `since` on, or (None) as `lock_subscriptions`."""
    rows = (await conn.execute(_of(accounts))).all()
    return await _whole(conn, rows, day_of, since) if rows else []


async def octets_of(conn: AsyncConnection, subscriptions: Sequence[Subscription]) -> int:
    """What the services used on the days that these were read with, added up by the database."""
    days = {(u.service_id, u.day): u for s in subscriptions for u in s.usage}
    since = min((u.day for u in days.values() if u.released_to is None), default=date.max)
    released = sum(u.octets for u in days.values() if u.day < since)
    total = func.sum(usage_day.c.upstream_octets + usage_day.c.downstream_octets)
    query = select(total).where(one_of(conn, usage_day.c.service_id, sorted({service for service, _ in days})))
    return released + int(await conn.scalar(query.where(usage_day.c.day >= since)) or 0)


async def accounts_with(conn: AsyncConnection, offering_id: OfferingId) -> list[AccountId]:
    """Accounts with a subscription that ever had a version of the offering, in order of id."""
    query = (
        select(subscription.c.account_id)
        .join(entitlement, entitlement.c.subscription_id == subscription.c.subscription_id)
        .join(tariff, tariff.c.version_id == entitlement.c.version_id)
        .where(tariff.c.offering_id == offering_id)
        .distinct()
        .order_by(subscription.c.account_id)
    )
    return [AccountId(i) for i in await conn.scalars(query)]


def _of(accounts: Sequence[str]) -> Select[Any]:
    return select(subscription).where(subscription.c.account_id.in_(accounts)).order_by(subscription.c.subscription_id)


async def _whole(
    conn: AsyncConnection, rows: Sequence[Row[Any]], day_of: Callable[[datetime], date], since: date | None
) -> list[Subscription]:
    """With charges and usage since a day, or (None) since the earliest period that must be rated again."""
    ids = [row.subscription_id for row in rows]
    changes = await _changes(conn, ids, day_of)
    paused = await pauses.entries(conn, ids)
    cycles = {i: frozenset(e.cycle for e in found if e.cycle) or _MONTHLY for i, found in changes.items()}
    calendars = {row.subscription_id: Calendar(row.anchor_day, row.phase_on) for row in rows}
    if since is None:
        since = min(calendars[r.subscription_id].earliest(r.rate_from_on, cycles[r.subscription_id]) for r in rows)
    charged = await _charged(conn, ids, since)
    services = [row.service_id for row in rows]
    usage = await _usage(conn, services, since)
    calls = await booked.of_services(conn, services, since)
    measured = await ports.of_services(conn, services, since)
    return [
        Subscription(
            SubscriptionId(row.subscription_id),
            AccountId(row.account_id),
            ServiceId(row.service_id),
            calendars[row.subscription_id],
            row.rate_from_on,
            row.usage_billed_until_on,
            [entry.change for entry in changes[row.subscription_id]],
            max((entry.sequence for entry in changes[row.subscription_id]), default=0),
            charged.get(row.subscription_id, {}),
            usage.get(row.service_id, []),
            cycles[row.subscription_id],
            pauses.in_force(paused.get(row.subscription_id, [])),
            max((entry.sequence for entry in paused.get(row.subscription_id, [])), default=0),
            calls.get(row.service_id, []),
            measured.get(row.service_id, ports.Ports()),
        )
        for row in rows
    ]


async def mark_rated(conn: AsyncConnection, rated: Sequence[tuple[SubscriptionId, date, date]]) -> None:
    """(subscription, rate from, usage billed until) after a run."""
    found: dict[tuple[date, date], list[str]] = {}
    for subscription_id, rate_from_on, billed_until_on in rated:
        found.setdefault((rate_from_on, billed_until_on), []).append(subscription_id)
    for (rate_from_on, billed_until_on), ids in found.items():
        await conn.execute(
            update(subscription)
            .where(one_of(conn, subscription.c.subscription_id, ids))
            .where(
                or_(
                    subscription.c.rate_from_on != rate_from_on,
                    subscription.c.usage_billed_until_on.is_(None),
                    subscription.c.usage_billed_until_on != billed_until_on,
                )
            )
            .values(rate_from_on=rate_from_on, usage_billed_until_on=billed_until_on)
        )


_EVIDENCE = (
    "charge_id",
    "day",
    "service_id",
    "upstream_octets",
    "downstream_octets",
    "intervals",
    "last_interval_id",
    "counted_on",
)


async def add_charges(conn: AsyncConnection, batch: int, rated: Sequence[RatedCharge], now: datetime) -> None:
    """Write charges and their evidence."""
    await insert_all(conn, charge, [_charge_row(r, batch, now) for r in rated])
    evidence = [
        (
            r.charge.charge_id,
            u.day,
            u.service_id,
            u.upstream_octets,
            u.downstream_octets,
            u.intervals,
            u.last_interval_id,
            u.counted_on,
        )
        for r in rated
        for u in r.evidence
    ]
    await insert_rows(conn, charge_usage, _EVIDENCE, evidence)
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
    known = await tariffs(conn, {row.version_id for row in rows})
    return [as_sold(to_charge(row), known[OfferingVersionId(row.version_id)]) for row in rows]


def to_interval(row: Row[Any]) -> BookedInterval:
    return BookedInterval(
        row.interval_id,
        row.day,
        row.adjustment,
        row.grown_since,
        UsageInterval(
            ServiceId(row.service_id),
            row.session_key,
            row.since,
            row.until,
            row.upstream_octets,
            row.downstream_octets,
            tuple(int(i) for i in row.record_ids.split(",")),
        ),
        row.source,
    )


def upsert(conn: AsyncConnection) -> Any:
    """`insert` of the connection's dialect, which knows ON CONFLICT."""
    return pg_insert if conn.dialect.name == "postgresql" else sqlite_insert


class _Entered(NamedTuple):
    sequence: int
    change: Change
    cycle: Cycle | None


async def _changes(
    conn: AsyncConnection, subscription_ids: Sequence[str], day_of: Callable[[datetime], date]
) -> dict[str, list[_Entered]]:
    query = (
        select(entitlement, tariff.c.cycle)
        .outerjoin(tariff, tariff.c.version_id == entitlement.c.version_id)
        .where(entitlement.c.subscription_id.in_(subscription_ids))
    )
    found: dict[str, list[_Entered]] = {i: [] for i in subscription_ids}
    for row in await conn.execute(query.order_by(entitlement.c.at, entitlement.c.sequence)):
        change = Change(day_of(row.at), row.version_id, row.quantity)
        found[row.subscription_id].append(_Entered(row.sequence, change, row.cycle))
    return found


async def _charged(
    conn: AsyncConnection, subscription_ids: Sequence[str], since: date
) -> dict[str, dict[DueKey, Charged]]:
    """What was charged so far, per subscription and key, of periods that begin on `since` or later."""
    query = select(charge).where(charge.c.subscription_id.in_(subscription_ids), charge.c.period_first_on >= since)
    rows: dict[str, dict[DueKey, list[Row[Any]]]] = {}
    for row in await conn.execute(query.order_by(charge.c.attempt)):
        key = DueKey(ChargeKind(row.kind), row.period_first_on, OfferingVersionId(row.version_id), row.code)
        rows.setdefault(row.subscription_id, {}).setdefault(key, []).append(row)
    return {i: {key: _sum(charges) for key, charges in by_key.items()} for i, by_key in rows.items()}


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
        span=span,
        given_back=frozenset(span.each_day()) - days if span else frozenset(),
    )


async def _usage(conn: AsyncConnection, service_ids: Sequence[str], since: date) -> Mapping[str, list[DayUsage]]:
    """Days that count on `since` or later: on themselves, or on the day to which they were released."""
    own = select(usage_day, null().label("counted_on")).where(
        usage_day.c.service_id.in_(service_ids), usage_day.c.day >= since
    )
    released = (
        select(usage_day, suspense.c.counted_on)
        .join(suspense, and_(suspense.c.service_id == usage_day.c.service_id, suspense.c.day == usage_day.c.day))
        .where(suspense.c.service_id.in_(service_ids), suspense.c.state == CHARGED, suspense.c.counted_on >= since)
    )
    days: dict[tuple[str, date], DayUsage] = {}
    for query in (own, released):
        for row in await conn.execute(query):
            days[row.service_id, row.day] = to_day_usage(row, row.counted_on)
    found: dict[str, list[DayUsage]] = {}
    for (service_id, _), used in sorted(days.items()):
        found.setdefault(service_id, []).append(used)
    return found


def to_day_usage(row: Row[Any], released_to: date | None = None) -> DayUsage:
    return DayUsage(
        ServiceId(row.service_id),
        row.day,
        row.upstream_octets,
        row.downstream_octets,
        row.intervals,
        row.last_interval_id,
        released_to,
    )


def _tariff(row: Row[Any]) -> TariffVersion:
    speed = None
    if row.profile_name is not None:
        speed = SpeedProfile(row.profile_name, row.downstream_bps, row.upstream_bps)
    return TariffVersion(
        version_id=OfferingVersionId(row.version_id),
        offering_id=OfferingId(row.offering_id),
        offering_name=row.offering_name,
        number=row.number,
        effective_on=row.effective_on,
        currency=row.currency,
        tax_percent=row.tax_percent,
        tax_category=row.tax_category,
        kind=ProductKind(row.kind),
        plan=plan_from_json(row.plan),
        names=tuple((language, name) for language, name in json.loads(row.names)),
        speed=speed,
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
        "arithmetic": json.dumps(r.arithmetic, sort_keys=True),
        "created_at": now,
    }


def to_charge(row: Row[Any]) -> Charge:
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
    )
