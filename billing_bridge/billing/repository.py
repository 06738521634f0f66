"""Rows of billing: timelines, copies of prices, and charges with their evidence."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Row, Select, case, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing import charge_rows, pauses, usage_rows
from billing_bridge.billing.cycle import Calendar
from billing_bridge.billing.model import BookedInterval, Subscription
from billing_bridge.rating.proration import Change
from billing_bridge.sources import booked, ports
from billing_bridge.tables import (
    account_terms,
    anchor_change,
    charge,
    entitlement,
    subscription,
    tariff,
)
from billing_bridge.zones import zones_of
from controller.domain.clock import local_date
from controller.domain.events import ItemHeld, ServiceActivated, ServiceChanged, ServiceTerminated
from controller.domain.identity import (
    AccountId,
    OfferingId,
    OfferingVersionId,
    ServiceId,
    SubscriptionId,
)
from controller.domain.price import CYCLE_MONTHS, Cycle
from controller.domain.usage import UsageInterval
from controller.store.many import insert_all, one_of

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


@dataclass(frozen=True, slots=True)
class AsFound:
    """What a run had found that is gone over again: (rate from, usage billed until) by subscription.

    `without` are charges that are not looked at.
    """

    marks: Mapping[str, tuple[date, date | None]] = field(default_factory=dict)
    without: Collection[str] = ()

    def mark(self, row: Row[Any]) -> tuple[date, date | None]:
        return self.marks.get(row.subscription_id) or _mark(row)


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
    conn: AsyncConnection, accounts: Sequence[str], zone: ZoneInfo, found: AsFound | None = None
) -> list[Subscription]:
    """The accounts' subscriptions with all that decides what they owe, held until the transaction ends.

    `zone` is that of accounts which have none of their own.
    Two bill runs of one account meet at this lock; the second then sees the charges of the first.
    """
    rows = (await conn.execute(_of(accounts).with_for_update())).all()
    if not rows:
        return []
    return await _whole(conn, rows, zone, None, found or AsFound())


async def lock_marks(conn: AsyncConnection, accounts: Sequence[str]) -> dict[SubscriptionId, tuple[date, date | None]]:
    """(rate from, usage billed until) of the accounts' subscriptions, which are held until the transaction ends."""
    rows = await conn.execute(_of(accounts).with_for_update())
    return {SubscriptionId(r.subscription_id): _mark(r) for r in rows}


def _mark(row: Row[Any]) -> tuple[date, date | None]:
    return row.rate_from_on, row.usage_billed_until_on


async def read_subscriptions(
    conn: AsyncConnection,
    accounts: Sequence[str],
    zone: ZoneInfo,
    since: date | None,
    *,
    charged: bool = True,
) -> list[Subscription]:
    """The same for who only looks; with usage and charges from `since` on, or (None) as `lock_subscriptions`.

    Who sums up charges in another way leaves out what was `charged`: of a whole site it is the most that there is.
    """
    rows = (await conn.execute(_of(accounts))).all()
    return await _whole(conn, rows, zone, since, AsFound(), charged=charged) if rows else []


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
    conn: AsyncConnection,
    rows: Sequence[Row[Any]],
    zone: ZoneInfo,
    since: date | None,
    found: AsFound,
    *,
    charged: bool = True,
) -> list[Subscription]:
    """With charges and usage since a day, or (None) since the earliest period that must be rated again."""
    ids = [row.subscription_id for row in rows]
    zones = await zones_of(conn, (row.account_id for row in rows), zone)
    changes = await _changes(conn, {row.subscription_id: zones.of(row.account_id) for row in rows})
    paused = await pauses.entries(conn, ids)
    cycles = {i: frozenset(e.cycle for e in found if e.cycle) or _MONTHLY for i, found in changes.items()}
    anchors = await _anchors(conn, ids)
    calendars = {
        row.subscription_id: Calendar(row.anchor_day, row.phase_on, anchors.get(row.subscription_id, ()))
        for row in rows
    }
    rate_from = {r.subscription_id: min(found.mark(r)[0], r.rate_from_on) for r in rows}
    if since is None:
        since = min(calendars[i].earliest(rate_from[i], cycles[i]) for i in ids)
    charges = await charge_rows.charged(conn, ids, since, found.without) if charged else {}
    services = [row.service_id for row in rows]
    usage = await usage_rows.of_services(conn, services, since)
    calls = await booked.of_services(conn, services, since)
    measured = await ports.of_services(conn, services, since)
    return [
        Subscription(
            SubscriptionId(row.subscription_id),
            AccountId(row.account_id),
            ServiceId(row.service_id),
            zones.of(row.account_id),
            calendars[row.subscription_id],
            rate_from[row.subscription_id],
            found.mark(row)[1],
            [entry.change for entry in changes[row.subscription_id]],
            max((entry.sequence for entry in changes[row.subscription_id]), default=0),
            charges.get(row.subscription_id, {}),
            usage[row.service_id].days if row.service_id in usage else [],
            cycles[row.subscription_id],
            pauses.in_force(paused.get(row.subscription_id, [])),
            max((entry.sequence for entry in paused.get(row.subscription_id, [])), default=0),
            calls.get(row.service_id, []),
            measured.get(row.service_id, ports.Ports()),
            usage[row.service_id].octets if row.service_id in usage else 0,
        )
        for row in rows
    ]


async def _anchors(conn: AsyncConnection, subscription_ids: Sequence[str]) -> dict[str, tuple[tuple[date, int], ...]]:
    """Of subscriptions whose anchor was changed, in the order in which that was said."""
    query = select(anchor_change).where(one_of(conn, anchor_change.c.subscription_id, subscription_ids))
    found: dict[str, tuple[tuple[date, int], ...]] = {}
    for row in await conn.execute(query.order_by(anchor_change.c.sequence)):
        found[row.subscription_id] = (*found.get(row.subscription_id, ()), (row.said_on, row.anchor_day))
    return found


async def change_anchor(
    conn: AsyncConnection, known: Sequence[Subscription], anchor_day: int, today: date, *, actor: str, now: datetime
) -> dict[SubscriptionId, date]:
    """Let these be billed from another day; returns from which day on that shows. They are held.

    Said today, or in the last period that something was charged for: what was charged keeps its period.
    """
    ids = [s.subscription_id for s in known]
    charged = select(charge.c.subscription_id, func.max(charge.c.period_first_on)).where(
        one_of(conn, charge.c.subscription_id, ids)
    )
    last = {row[0]: row[1] for row in await conn.execute(charged.group_by(charge.c.subscription_id))}
    found: dict[SubscriptionId, date] = {}
    rows = []
    for s in known:
        cycles = s.cycles & CYCLE_MONTHS.keys()
        if s.calendar.newest_anchor == anchor_day or not cycles:
            continue
        said_on = max(today, s.calendar.phase_on, last.get(s.subscription_id, today))
        rows.append(
            {
                "subscription_id": s.subscription_id,
                "said_on": said_on,
                "anchor_day": anchor_day,
                "actor": actor,
                "at": now,
            }
        )
        found[s.subscription_id] = min(s.calendar.period(said_on, cycle).until_on for cycle in cycles)
    await insert_all(conn, anchor_change, rows)
    return found


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


async def _changes(conn: AsyncConnection, zone_of: Mapping[str, ZoneInfo]) -> dict[str, list[_Entered]]:
    """By subscription, on the days of its zone."""
    query = (
        select(entitlement, tariff.c.cycle)
        .outerjoin(tariff, tariff.c.version_id == entitlement.c.version_id)
        .where(entitlement.c.subscription_id.in_(list(zone_of)))
    )
    found: dict[str, list[_Entered]] = {i: [] for i in zone_of}
    for row in await conn.execute(query.order_by(entitlement.c.at, entitlement.c.sequence)):
        change = Change(local_date(row.at, zone_of[row.subscription_id]), row.version_id, row.quantity)
        found[row.subscription_id].append(_Entered(row.sequence, change, row.cycle))
    return found
