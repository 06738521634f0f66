"""A price is tried on last month's usage by the function that bills, and nothing is written."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy import func, insert, select

from billing_bridge import tables
from billing_bridge.billing.service import BillingService
from billing_bridge.billing.trial import PriceTrials
from billing_bridge.settings import BillingSettings
from controller.domain.clock import MovableClock
from controller.domain.events import ServiceActivated
from controller.domain.identity import AccountId, OfferingVersionId, OrderId, ServiceId, SubscriptionId, new_id
from controller.domain.price import Band, Flat, Free, Overage, PricePlan
from controller.domain.tariff import TariffVersion
from controller.domain.units import GB
from controller.store.engine import Database
from tests.support.billing_fakes import PriceList, tariff
from tests.support.plans import plan_of

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 10, 5, 10, tzinfo=UTC)
OLD = tariff("old" * 10, "30.00", included=100 * GB)
OTHER = replace(tariff("oth" * 10, "10.00"), offering_id="another")
WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


async def subscribe(
    database: Database, billing: BillingService, version: TariffVersion, on: datetime, name: str
) -> str:
    event = ServiceActivated(
        event_id=new_id(on),
        at=on,
        actor="test",
        order_id=OrderId(new_id(on)),
        subscription_id=SubscriptionId(f"sub-{name}"),
        service_id=ServiceId(f"svc-{name}"),
        account_id=AccountId(f"acc-{name}"),
        version_id=OfferingVersionId(version.version_id),
    )
    async with database.begin() as conn:
        await billing.on_service_activated(conn, event)
    return event.service_id


async def use(database: Database, service_id: str, number: int, since: datetime, octets: int) -> None:
    """One booked interval of an hour, the sum of its day."""
    day = since.astimezone(BERLIN).date()
    common = {"service_id": service_id, "day": day, "upstream_octets": 0, "downstream_octets": octets}
    interval = {"session_key": "s", "grown_since": since, "since": since, "until": since + timedelta(hours=1)}
    async with database.begin() as conn:
        await conn.execute(
            insert(tables.usage_interval).values(
                **common, **interval, interval_id=number, record_ids=str(number), adjustment=False
            )
        )
        await conn.execute(insert(tables.usage_day).values(**common, intervals=1, last_interval_id=number))


async def world(database: Database) -> PriceTrials:
    settings = BillingSettings(zone=BERLIN, accounts_per_batch=2)
    clock = MovableClock(NOW)
    billing = BillingService(database, clock, PriceList([OLD, OTHER]), settings)
    august, mid = datetime(2026, 8, 1, tzinfo=UTC), datetime(2026, 9, 16, 8, tzinfo=UTC)
    heavy = await subscribe(database, billing, OLD, august, "heavy")
    await subscribe(database, billing, OLD, mid, "half")
    await subscribe(database, billing, OLD, NOW - timedelta(hours=1), "new")
    await subscribe(database, billing, OTHER, august, "other")
    await use(database, heavy, 1, datetime(2026, 9, 3, 21, tzinfo=UTC), 150 * GB)  # 23:00 in Berlin
    await use(database, heavy, 2, datetime(2026, 9, 4, 10, tzinfo=UTC), 50 * GB)
    await use(database, heavy, 3, datetime(2026, 10, 4, 10, tzinfo=UTC), 900 * GB)  # not last month's
    return PriceTrials(database, clock, settings)


async def test_a_price_is_tried_on_the_days_and_the_usage_of_last_month(database: Database) -> None:
    trials = await world(database)
    draft = replace(OLD, version_id=OfferingVersionId("d"), number=2, plan=plan_of("36.00", included=200 * GB))
    found = await trials.run(draft)
    # heavy: 30 + 100 GB × 0.50 = 80 → 36; half: 15 of 30 days, 15 → 18; new had no day of September.
    assert (found.subscriptions, found.dearer, found.cheaper, found.same) == (2, 1, 1, 0)
    assert (found.before_minor, found.after_minor) == (8000 + 1500, 3600 + 1800)
    assert found.before_by_code == {"fee": 4500, "data": 5000}
    assert found.after_by_code == {"fee": 5400, "data": 0}
    assert [(e.subscription_id, e.difference_minor) for e in found.most] == [("sub-heavy", -4400), ("sub-half", 300)]
    assert (found.most[0].first_on, found.most[0].until_on) == (date(2026, 9, 1), date(2026, 10, 1))


async def test_a_plan_with_hours_is_tried_on_the_hours_of_the_very_intervals(database: Database) -> None:
    trials = await world(database)
    night = (Band(days=WEEK, until_minute=480), Band(days=WEEK, from_minute=1320))
    plan = PricePlan(
        prices=(
            Flat(code="fee", amount=Decimal("30.00")),
            Overage(code="day", price=Decimal("0.10"), bands=(Band(days=WEEK, from_minute=480, until_minute=1320),)),
            Free(code="night", bands=night),
        )
    )
    found = await trials.run(replace(OLD, version_id=OfferingVersionId("d"), plan=plan))
    assert found.after_by_code == {"fee": 4500, "day": 500, "night": 0}


async def test_a_trial_writes_nothing(database: Database) -> None:
    trials = await world(database)
    counted = [tables.charge, tables.tariff, tables.entitlement, tables.subscription]
    async with database.read() as conn:
        before = [await conn.scalar(select(func.count()).select_from(t)) for t in counted]
    await trials.run(replace(OLD, version_id=OfferingVersionId("d"), plan=plan_of("1.00")))
    async with database.read() as conn:
        assert [await conn.scalar(select(func.count()).select_from(t)) for t in counted] == before
