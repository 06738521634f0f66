"""The cash desk: one open shift of a till, receipts without gaps, differences booked."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from controller.domain.errors import RuleError
from controller.domain.money import Money
from erp.finance.errors import WrongCurrency
from erp.payments.errors import WrongState
from erp.payments.refunds import WantedRefund
from tests.support.payments import Till, euro


async def test_a_day_at_the_desk_ends_with_its_difference_in_the_books(till: Till) -> None:
    cash = till.room.cash
    desk = await cash.add_till("HQ1", actor="user:anna")
    account = await till.account()
    invoice = await till.issue(account)
    opened = await cash.open(desk.till_id, euro("0.00"), reason="", actor="user:anna")
    with pytest.raises(WrongState):
        await cash.open(desk.till_id, euro("0.00"), reason="", actor="user:bert")
    await cash.transfer(opened.shift_id, euro("100.00"), request="float", note="float", actor="user:anna")
    made = await asyncio.gather(
        *(cash.receive(opened.shift_id, account, euro("40.00"), request="r1", actor="user:anna") for _ in range(3))
    )
    assert {r.number for r in made} == {"CASH-HQ1-2026-000002"}
    assert (await till.finance.invoice(invoice)).open_minor == 0
    with pytest.raises(WrongCurrency):
        await cash.receive(opened.shift_id, account, Money(1, "USD"), request="r2", actor="user:anna")
    wanted = WantedRefund(made[0].payment_id, euro("4.30"), "cash", "overpaid")  # type: ignore[arg-type]
    asked = await till.room.refunds.request(wanted, actor="user:anna")
    with pytest.raises(WrongState):
        await cash.pay_out(opened.shift_id, asked.refund_id, actor="user:anna")
    await till.room.refunds.approve(asked.refund_id, actor="user:anna")
    paid = [await cash.pay_out(opened.shift_id, asked.refund_id, actor="user:anna") for _ in range(2)]
    assert [(p.number, p.amount) for p in paid] == [("CASH-HQ1-2026-000003", euro("-4.30"))] * 2
    with pytest.raises(RuleError, match="the till holds"):
        await cash.transfer(opened.shift_id, euro("-500.00"), request="x", note="bank", actor="user:anna")
    await cash.transfer(opened.shift_id, euro("-30.00"), request="y", note="to the bank", actor="user:anna")
    with pytest.raises(RuleError, match="say why"):
        await cash.close(opened.shift_id, euro("105.00"), reason=" ", actor="user:anna")
    closed = await cash.close(opened.shift_id, euro("105.00"), reason="wrong change", actor="user:anna")
    assert (closed.expected, closed.difference) == (euro("105.70"), euro("-0.70"))
    _, receipts = await cash.shift(opened.shift_id)
    assert [r.number[-6:] for r in receipts] == [f"{n:06d}" for n in range(1, 5)]
    assert (await till.balance("1600"), await till.balance("6885"), await till.balance("1462")) == (10500, 70, -7000)
    with pytest.raises(WrongState):
        await cash.receive(opened.shift_id, account, euro("1.00"), request="late", actor="user:anna")
    with pytest.raises(RuleError, match="say why"):
        await cash.open(desk.till_id, euro("100.00"), reason="", actor="user:bert")
    again = await cash.open(desk.till_id, euro("100.00"), reason="a note was false", actor="user:bert")
    assert ((await cash.tills())[0].shift_id, await till.balance("1600")) == (again.shift_id, 10000)
    with pytest.raises(DBAPIError):
        async with till.database.begin() as conn:
            await conn.execute(text("UPDATE payments_cash_receipt SET amount_minor = 1"))
    await till.assert_sound()
