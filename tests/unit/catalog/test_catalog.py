import dataclasses
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError

from controller.domain.clock import MovableClock
from controller.domain.identity import OfferingId, OfferingVersionId
from controller.domain.service import SpeedProfile
from controller.domain.tariff import TariffVersion
from controller.store.engine import Database
from erp.catalog import tables
from erp.catalog.errors import BadVersion, NameTaken, NoOffering, NotInForce, NoVersion
from erp.catalog.model import Product, VersionTerms, each_in_force, in_force, profile_name
from erp.catalog.service import CatalogService
from tests.support.plans import plan_of

NOW = datetime(2026, 9, 1, 8, tzinfo=UTC)
TERMS = VersionTerms(
    effective_on=date(2026, 9, 1),
    currency="EUR",
    tax_percent=Decimal("19"),
    plan=plan_of("39.90", included=100 * 10**9, overage="0.05"),
    speed=SpeedProfile("100m-20m", 100_000_000, 20_000_000),
)


def catalog_on(database: Database) -> CatalogService:
    return CatalogService(database, MovableClock(NOW))


async def test_subscribers_keep_their_version_while_new_ones_get_the_new_price(database: Database) -> None:
    catalog = catalog_on(database)
    made = await catalog.create_offering(Product("Fibre 100"), TERMS, actor="user:t")
    dearer = dataclasses.replace(TERMS, effective_on=date(2026, 11, 1), plan=plan_of("44.90"))
    made = await catalog.add_version(made.offering_id, dearer, actor="user:t")
    first, second = (version.tariff for version in made.versions)
    assert await catalog.in_force(made.offering_id, date(2026, 10, 31)) == first
    assert await catalog.in_force(made.offering_id, date(2026, 11, 1)) == second
    assert (await catalog.tariff(first.version_id)).monthly_fee == Decimal("39.90")
    assert (first.number, second.number) == (1, 2)
    with pytest.raises(NotInForce):
        await catalog.in_force(made.offering_id, date(2026, 8, 31))


async def test_each_currency_has_a_price_in_force_of_its_own(database: Database) -> None:
    catalog = catalog_on(database)
    made = await catalog.create_offering(Product("Fibre 100"), TERMS, actor="user:t")
    francs = dataclasses.replace(TERMS, effective_on=date(2026, 11, 1), currency="CHF")
    made = await catalog.add_version(made.offering_id, francs, actor="user:t")
    euro, franc = (version.tariff for version in made.versions)
    later = date(2026, 12, 1)
    assert await catalog.in_force(made.offering_id, later, "EUR") == euro, "a price in francs ends no price in euro"
    assert await catalog.in_force(made.offering_id, later, "CHF") == franc
    assert await catalog.in_force(made.offering_id, later, "USD") == franc, (
        "what is sold at all, for whoever refuses it"
    )
    tariffs = [version.tariff for version in made.versions]
    assert each_in_force(tariffs, later) == [franc, euro]
    assert each_in_force(tariffs, date(2026, 10, 1)) == [euro]
    assert each_in_force(tariffs, date(2026, 8, 1)) == []


async def test_the_database_refuses_to_change_or_delete_a_version_in_use(database: Database) -> None:
    catalog = catalog_on(database)
    made = await catalog.create_offering(Product("Fibre 100"), TERMS, actor="user:t")
    version_id = made.versions[0].tariff.version_id
    async with database.begin() as conn:
        await catalog.mark_used_in(conn, version_id, NOW)
        await catalog.mark_used_in(conn, version_id, NOW)
    for statement in (
        update(tables.version).values(plan="{}"),
        update(tables.version).values(used_at=None),
        delete(tables.version),
    ):
        with pytest.raises(IntegrityError, match="in use is never changed"):
            async with database.begin() as conn:
                await conn.execute(statement)
    assert (await catalog_on(database).tariff(version_id)).monthly_fee == Decimal("39.90")


async def test_a_speed_profile_name_means_one_pair_of_rates(database: Database) -> None:
    catalog = catalog_on(database)
    await catalog.create_offering(Product("Fibre 100"), TERMS, actor="user:t")
    other = dataclasses.replace(TERMS, speed=SpeedProfile("100m-20m", 100_000_000, 40_000_000))
    with pytest.raises(BadVersion, match="already 100000000/20000000"):
        await catalog.create_offering(Product("Fibre 100 plus"), other, actor="user:t")
    assert [offering.product.name for offering in await catalog.offerings(None, 10)] == ["Fibre 100"]


async def test_an_offering_name_stands_once(database: Database) -> None:
    catalog = catalog_on(database)
    await catalog.create_offering(Product("Fibre 100"), TERMS, actor="user:t")
    with pytest.raises(NameTaken):
        await catalog.create_offering(Product("Fibre 100"), TERMS, actor="user:t")


async def test_unknown_ids_are_named(database: Database) -> None:
    catalog = catalog_on(database)
    with pytest.raises(NoOffering):
        await catalog.add_version(OfferingId("x"), TERMS, actor="user:t")
    with pytest.raises(NoVersion):
        await catalog.tariff(OfferingVersionId("x"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tax_percent": Decimal("100.1")}, "above 100"),
        ({"tax_percent": Decimal(-1)}, "negative"),
        ({"tax_category": "XX"}, "tax_category"),
        ({"tax_category": "E"}, "must be 0"),
        ({"tax_percent": Decimal(0)}, "say Z for a zero rate"),
        ({"currency": "EUX"}, "ISO 4217"),
        ({"speed": None}, "has a speed"),
        ({"speed": SpeedProfile("Fast", 1, 1)}, "speed profile"),
    ],
)
async def test_terms_that_no_invoice_or_device_could_carry_are_refused(
    database: Database, change: dict[str, object], message: str
) -> None:
    with pytest.raises(BadVersion, match=message):
        await catalog_on(database).create_offering(Product("X"), dataclasses.replace(TERMS, **change), actor="user:t")


def tariff(number: int, effective_on: date) -> TariffVersion:
    return TariffVersion(
        version_id=OfferingVersionId(str(number)),
        offering_id=OfferingId("o"),
        offering_name="o",
        number=number,
        effective_on=effective_on,
        currency="EUR",
        tax_percent=Decimal(0),
        plan=plan_of("1"),
        speed=TERMS.speed,
    )


days = st.dates(date(2026, 1, 1), date(2026, 3, 1))


@given(st.lists(days, min_size=1, max_size=8), days)
def test_the_version_in_force_is_the_latest_effective_and_of_equals_the_newest(effective: list[date], on: date) -> None:
    versions = [tariff(number, day) for number, day in enumerate(effective, 1)]
    eligible = [version for version in versions if version.effective_on <= on]
    if not eligible:
        with pytest.raises(NotInForce):
            in_force(versions, on)
        return
    chosen = in_force(reversed(versions), on)
    assert chosen in eligible
    assert all((v.effective_on, v.number) <= (chosen.effective_on, chosen.number) for v in eligible)


def test_a_profile_name_is_made_of_its_rates() -> None:
    assert profile_name(1_000_000_000, 512_000) == "1000m-512k"
    assert profile_name(1_500, 20_000_000) == "1500-20m"
