"""Calls cost in advance what they cost afterwards: one rating function, and one rounding of a period."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_bridge.errors import NotPrepaid, Suspended
from billing_bridge.prepaid.plans import Plans
from billing_bridge.rating.line import Call, Usage
from billing_bridge.rating.prepaid_calls import affordable_s, cost_of
from billing_bridge.rating.proration import DaySpan, Held, Stretch
from billing_bridge.rating.rate import rate
from controller.domain.errors import Conflict, NotFound
from controller.domain.identity import OfferingVersionId
from controller.domain.money import Money
from controller.domain.price import Calls, Destination, Overage, PricePlan
from controller.store.engine import Database
from tests.support.billing_fakes import PriceList, tariff
from tests.support.prepaid import NOW, SERVICE, PrepaidWorld

VOICE = OfferingVersionId("3" * 32)
PRICE = Calls(
    code="voice",
    destinations=(
        Destination(prefix="43", price=Decimal("0.60"), first_s=60, next_s=6),
        Destination(prefix="44", price=Decimal("0.0333"), setup=Decimal("0.10"), first_s=1, next_s=1),
    ),
)
PLAN = PricePlan(prices=(PRICE, Overage(code="data", price=Decimal(0), unit="MB")))
MONTH = DaySpan(date(2026, 11, 1), date(2026, 12, 1))


def postpaid(calls: list[Call], price: Calls = PRICE) -> int:
    """What a bill of November says, in cents."""
    version = replace(tariff(VOICE, "0", tax="0"), plan=PricePlan(prices=(price,)))
    lines = rate(
        version,
        Held(VOICE, MONTH, (Stretch(VOICE, MONTH),), MONTH.first_on),
        ZoneInfo("Europe/Berlin"),
        Usage(calls=calls),
    )
    return sum(Money.rounded(line.exact, "EUR", ROUND_HALF_UP).minor for line in lines)


@pytest.fixture
async def world(database: Database) -> AsyncIterator[PrepaidWorld]:
    made = PrepaidWorld(database)
    versions = PriceList([replace(tariff(VOICE, "0", tax="0"), plan=PLAN)])
    made.prepaid.plans = Plans(versions)
    await made.open("EUR", version=VOICE)
    yield made
    await made.log.close()


async def test_65_seconds_at_60_6_cost_66_seconds_in_advance_and_afterwards(world: PrepaidWorld) -> None:
    await world.top_up(100, 100)
    granted = await world.prepaid.grant_call(SERVICE, "c1", "4312345", 600)
    assert granted.granted_s == 96, "1.00 is worth 100 s at 0.60 a minute: 60 + 6 × 6, and not one increment more"
    await world.later(seconds=65)
    ended = await world.prepaid.end_call(SERVICE, "c1", 65)
    assert ended.debited == 66 == postpaid([Call("c1", NOW, 65, "4312345")])
    assert await world.amounts() == (34, 0, 0)
    assert (await world.prepaid.end_call(SERVICE, "c1", 65)).debited == 66, "told twice, and debited once"
    assert await world.amounts() == (34, 0, 0)


async def test_two_calls_at_once_do_not_spend_the_same_cents_and_what_is_silent_gives_back(world: PrepaidWorld) -> None:
    await world.top_up(90, 90)
    first = await world.prepaid.grant_call(SERVICE, "c1", "431", 60)
    second = await world.prepaid.grant_call(SERVICE, "c2", "431", 600)
    assert (first.granted_s, second.granted_s) == (60, 0)
    assert await world.amounts() == (90, 60, 0)
    assert (await world.prepaid.grant_call(SERVICE, "c1", "431", 84)).granted_s == 84, "it goes on"
    await world.later(seconds=84 + 900)
    await world.counter.catch_up()
    assert await world.amounts() == (90, 0, 0)
    assert (await world.prepaid.grant_call(SERVICE, "c2", "431", 60)).granted_s == 60
    assert (await world.prepaid.end_call(SERVICE, "c1", 84)).debited == 84
    assert await world.amounts() == (60, 60, 0), "what nobody has reserved is taken"
    assert (await world.wallet()).owed == 54
    await world.prepaid.end_call(SERVICE, "c2", 0)
    assert (await world.amounts(), (await world.wallet()).owed) == ((6, 0, 0), 0), "and the rest, once it is given back"


async def test_what_no_price_names_or_nothing_was_reserved_for_is_refused(world: PrepaidWorld) -> None:
    await world.top_up(100)
    with pytest.raises(NotPrepaid, match="no destination for 1555"):
        await world.prepaid.grant_call(SERVICE, "c1", "1555", 60)
    with pytest.raises(NotFound, match="nothing was reserved"):
        await world.prepaid.end_call(SERVICE, "c9", 60)
    await world.prepaid.grant_call(SERVICE, "c1", "431", 60)
    await world.prepaid.end_call(SERVICE, "c1", 60)
    with pytest.raises(Conflict, match="ended after 60 s"):
        await world.prepaid.end_call(SERVICE, "c1", 61)
    with pytest.raises(Conflict, match="ended after 60 s"):
        await world.prepaid.grant_call(SERVICE, "c1", "431", 60)


async def test_no_call_of_a_suspended_service_begins_or_goes_on_and_one_under_way_is_debited(
    world: PrepaidWorld,
) -> None:
    await world.top_up(200)
    barred: dict[str, str] = {}

    async def reason(_conn: object, service_id: str) -> str | None:
        return barred.get(service_id)

    world.prepaid.barring.reason = reason
    assert (await world.prepaid.grant_call(SERVICE, "c1", "431", 60)).granted_s == 60
    barred[SERVICE] = "suspension: 59.50 EUR overdue"
    for call_id in ("c1", "c2"):
        with pytest.raises(Suspended, match=r"59\.50 EUR overdue"):
            await world.prepaid.grant_call(SERVICE, call_id, "431", 90)
    assert (await world.prepaid.end_call(SERVICE, "c1", 60)).debited == 60
    barred.clear()
    assert (await world.prepaid.grant_call(SERVICE, "c2", "431", 60)).granted_s == 60


@given(st.lists(st.tuples(st.sampled_from(["431", "441"]), st.integers(0, 400)), max_size=12), st.integers(0, 120))
def test_calls_of_a_period_cost_together_what_a_bill_says(said: list[tuple[str, int]], included: int) -> None:
    price = replace(
        PRICE, included_s=included, destinations=tuple(replace(d, included=True) for d in PRICE.destinations)
    )
    at = datetime(2026, 11, 2, tzinfo=UTC)
    calls = [Call(f"{n:03}", at, seconds, number) for n, (number, seconds) in enumerate(said)]
    assert cost_of(price, calls, "EUR", ROUND_HALF_UP) == postpaid(calls, price)


@given(st.integers(0, 300), st.integers(0, 600))
def test_what_is_granted_is_affordable_and_a_second_more_is_not(cents: int, wanted: int) -> None:
    call = Call("c", NOW, 0, "431")
    got = affordable_s(PRICE, (), call, wanted, cents, "EUR", ROUND_HALF_UP)
    assert cost_of(PRICE, [replace(call, duration_s=got)], "EUR", ROUND_HALF_UP) <= cents
    if got < wanted:
        assert cost_of(PRICE, [replace(call, duration_s=got + 1)], "EUR", ROUND_HALF_UP) > cents
