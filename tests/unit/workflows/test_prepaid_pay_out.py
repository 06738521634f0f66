"""What is left of a closed balance is paid out once all that was used is debited, whenever a process dies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.prepaid.answers import PrepaidOut
from billing_bridge.prepaid.model import OCTETS
from billing_bridge.prepaid.service import NewTerms
from controller.domain.credit import FinalAction
from controller.domain.events import ServiceTerminated
from controller.domain.identity import OrderId, ServiceId, SubscriptionId, new_id
from controller.domain.money import Money
from controller.store.engine import Database
from controller.workflows.prepaid import TopUp
from erp.finance.errors import WrongCurrency
from tests.support.prepaid import ACTOR, MB, NAS, SERVICE
from tests.unit.workflows.test_prepaid_sales import SalesWorld


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[SalesWorld]:
    made = SalesWorld(database, tmp_path)
    yield made
    await made.assert_controlled()
    await made.prepaid.log.close()


async def close(world: SalesWorld) -> dict[str, Any]:
    """The answer of the API."""
    found = await world.sales.close(SERVICE, pay_out=True, actor=ACTOR, reason="moves away")
    return PrepaidOut.of(found).model_dump(mode="json")


async def in_session(world: SalesWorld) -> None:
    """6 MB bought for 6.00; two of them used, and three more not told."""
    await world.open(OCTETS)
    await world.top_up(600, units=6 * MB, tax="0")
    await world.use(2 * MB)
    await world.prepaid.later(minutes=5)


async def test_what_a_session_used_and_did_not_tell_is_not_paid_out(world: SalesWorld) -> None:
    await in_session(world)
    said = await close(world)
    assert (said["standing"], said["pays_out"], said["closed_at"]) == ("closing", True, None)
    assert said["closing_until"] == "2026-11-10T12:21:00Z"
    await world.sales.pay_out()
    assert await world.payments() == []
    await world.prepaid.report("stop", 5 * MB)
    assert (await world.prepaid.wallet()).closed_at == world.prepaid.clock.now()
    for _ in range(2):
        await world.sales.pay_out()
    assert [p.amount for p in await world.payments()] == [Money(100, "EUR")]
    await world.sales.post()
    assert await world.trial_balance() == {"1600": 600, "1200": -100, "4410": -500}
    assert (await close(world))["standing"] == "closed"
    assert len(await world.payments()) == 1


async def test_a_process_that_dies_before_the_pay_out_leaves_it_to_the_next(
    world: SalesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await in_session(world)
    await close(world)
    await world.prepaid.report("stop", 5 * MB)
    prepayments = world.sales._prepayments

    async def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(prepayments, "give_back_in", dies)
        with pytest.raises(KeyboardInterrupt):
            await world.sales.pay_out()
    found = await world.prepaid.prepaid.show(SERVICE)
    assert (found.wallet.balance, found.closing is not None) == (MB, True), "it is seen that it is not paid yet"
    await world.sales.pay_out()
    assert [p.amount for p in await world.payments()] == [Money(100, "EUR")]


async def test_a_pay_out_that_is_refused_is_kept_and_seen(world: SalesWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    await in_session(world)
    await close(world)
    await world.prepaid.report("stop", 5 * MB)

    async def refuses(*_: object, **__: object) -> None:
        raise WrongCurrency("the account is kept in USD")

    with monkeypatch.context() as refusing:
        refusing.setattr(world.sales._prepayments, "give_back_in", refuses)
        await world.sales.pay_out()
    assert (await world.prepaid.prepaid.page(account_id=None, after=None, limit=9))[0].closing is not None
    await world.sales.pay_out()
    assert len(await world.payments()) == 1


async def test_who_asked_to_keep_what_is_left_may_still_ask_to_have_it_paid_out(world: SalesWorld) -> None:
    await in_session(world)
    kept = await world.sales.close(SERVICE, pay_out=False, actor=ACTOR, reason="a contract")
    assert kept.closing is not None
    assert not kept.closing.pay_out
    assert (await close(world))["pays_out"] is True
    await world.prepaid.report("stop", 2 * MB)
    await world.sales.pay_out()
    assert [p.amount for p in await world.payments()] == [Money(400, "EUR")]


async def test_a_service_that_ends_waits_for_its_sessions_too(world: SalesWorld) -> None:
    await in_session(world)
    now = world.prepaid.clock.now()
    event = ServiceTerminated(
        event_id=new_id(now), at=now, actor=ACTOR, order_id=OrderId("0" * 32), subscription_id=SubscriptionId("0" * 32),
        service_id=SERVICE, account_id=world.account_id,
    )  # fmt: skip
    for _ in range(2):
        async with world.prepaid.database.begin() as conn:
            await world.sales.on_service_terminated(conn, event)
    assert await world.payments() == []
    await world.prepaid.report("stop", 5 * MB)
    await world.sales.pay_out()
    assert [p.amount for p in await world.payments()] == [Money(100, "EUR")]


async def test_a_session_that_dials_again_meanwhile_takes_nothing_of_the_balance(world: SalesWorld) -> None:
    await in_session(world)
    await close(world)
    await world.prepaid.prepaid.reserve(SERVICE, "line 2", NAS)
    await world.prepaid.report("start", session="2")
    await world.prepaid.later(minutes=1)
    await world.prepaid.report("interim", 4 * MB, session="2")
    assert (await world.prepaid.amounts())[0] == 4 * MB


async def test_every_rest_is_paid_out_some_at_a_time_and_one_that_is_refused_keeps_no_other(
    world: SalesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing_bridge.prepaid.closing._AT_ONCE", 1)
    world.account_id = (await world.isp.customer(None)).account.account_id
    services = [ServiceId(f"{n:032x}") for n in range(1, 4)]
    for service in services:
        terms = NewTerms(None, MB, 900, FinalAction.GARDEN, None)
        await world.sales.open(service, world.account_id, OCTETS, "EUR", terms, actor=ACTOR)
        bought = TopUp(Money(600, "EUR"), "cash", "r", 6 * MB, Decimal(0))
        await world.sales.top_up(service, bought, actor=ACTOR)
        await world.prepaid.prepaid.reserve(service, f"line {service}", NAS)
        await world.sales.close(service, pay_out=True, actor=ACTOR, reason="moves away")
    await world.prepaid.later(hours=2)
    for _ in range(2):  # who told nothing in time is waited for no longer, and then what the log has is counted
        await world.prepaid.closing.settle()
    prepayments = world.sales._prepayments
    gives_back = prepayments.give_back_in

    async def refuses(conn: AsyncConnection, service_id: ServiceId, *rest: Any, **more: Any) -> None:
        if service_id == services[0]:
            raise WrongCurrency("the account is kept in USD")
        await gives_back(conn, service_id, *rest, **more)

    with monkeypatch.context() as refusing:
        refusing.setattr(prepayments, "give_back_in", refuses)
        await world.sales.pay_out()
    assert (len(await world.payments()), [c.service_id for c in await world.prepaid.closing.unpaid()]) == (
        2,
        [services[0]],
    )
    await world.sales.pay_out()
    assert [p.amount for p in await world.payments()] == [Money(600, "EUR")] * 3
