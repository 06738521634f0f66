"""The bridge from one run's recurring revenue to the next: every kind of movement, and what is listed apart from it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from controller.domain.identity import BillRunId
from controller.domain.price import Discount, Flat, OneOff, Overage, PricePlan, Window
from controller.domain.units import GB
from controller.store.engine import Database
from controller.workflows import certificate
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BillingWorld, berlin

SETUP, CHEAP, PROMO = "a" * 32, "b" * 32, "c" * 32


def fee(amount: str) -> Flat:
    return Flat(code="fee", amount=Decimal(amount))


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    data = Overage(code="data", price=Decimal("0.50"), included=10 * GB)
    half = Discount(code="promo", percent=Decimal(50), window=Window(months=1))
    plans = {
        SETUP: PricePlan(prices=(fee("31.00"), OneOff(code="setup", amount=Decimal("20.00")), data)),
        CHEAP: PricePlan(prices=(fee("21.00"), data)),
        PROMO: PricePlan(prices=(fee("40.00"), half)),
    }
    versions = [replace(tariff(i, "0", name=f"Fibre {i[0]}"), plan=plan) for i, plan in plans.items()]
    made = BillingWorld(database, tmp_path, versions, berlin(2026, 9, 16, 9), checked=True)
    await made.entity()
    await made.launch()
    try:
        yield made
    finally:
        await made.close()


async def bridge(world: BillingWorld) -> dict[str, Any]:
    run_id = BillRunId(await world.bill())
    content = certificate.read((await world.certifier.certificates(run_id))[-1])[0]
    found: dict[str, Any] = content["recurring"]["EUR"]
    assert found["opening"] + sum(found["movements"].values()) == found["closing"]
    issued = sum(w["net"] for w in content["issued"])
    assert issued == found["recurring_lines"] + found["in_arrears"] + found["usage"] + found["one_off"]
    return found


async def test_new_down_and_price_move_it_and_proration_usage_and_one_offs_stand_apart(world: BillingWorld) -> None:
    line, promoted = await world.activate(SETUP), await world.activate(PROMO)
    first = await bridge(world)
    assert (first["opening"], first["movements"]) == (0, {"new": 5100, "up": 0, "down": 0, "churn": 0, "price": 0})
    # 15 of 30 days of 31.00, and of 40.00 less half of it: 15.50 + 10.00.
    assert (first["lines_before_proration"], first["proration"], first["recurring_lines"]) == (5100, "-2550", 2550)
    assert (first["one_off"], first["usage"]) == (2000, 0)

    await world.account_for(line, (berlin(2026, 9, 17), 0, 0), (berlin(2026, 9, 20), 0, 25 * GB))
    world.clock.move_to(berlin(2026, 10, 1, 6))
    second = await bridge(world)
    assert (second["opening"], second["one_off"]) == (5100, 0)
    assert second["usage"] == 1000  # 25 GB less half of 10, at 0.50
    # The promotion lasts into the middle of October, which its proration shows: 16 of 31 days without it.
    assert (second["closing"], second["lines_before_proration"]) == (5100, 5100)
    assert second["recurring_lines"] == 5100 + round(2000 * 16 / 31)

    await world.change(line, SETUP, CHEAP)
    world.clock.move_to(berlin(2026, 11, 1, 6))
    third = await bridge(world)
    assert third["movements"] == {"new": 0, "up": 0, "down": -1000, "churn": 0, "price": 2000}
    assert third["closing"] == third["lines_before_proration"] == 6100
    assert promoted.account_id != line.account_id
