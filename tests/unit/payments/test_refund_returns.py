"""Refunds by bank that are carried out as a sum, rejected by our bank, or returned by the customer's."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from erp.payments.refunds import WantedRefund
from tests.support.camt import IBAN, Entry, Stmt, Tx, camt
from tests.support.pain import rejection
from tests.support.payments import Till, euro

THEIRS = "DE12500105170648489890"


async def sent_refunds(till: Till) -> tuple[str, list[str]]:
    """A file of two refunds by bank of 30.00 each, sent; the account has 40.00 left of 100.00."""
    till.clock.move_to(datetime(2026, 11, 21, 9, tzinfo=UTC))
    ours = await till.room.bank.add_account(
        name="Testnetz GmbH", iban=IBAN, bic="BYLADEM1001", creditor_id="", currency="EUR", actor="user:test"
    )
    account = await till.account()
    payment_id, _ = await till.pay(account, "100.00", "a")
    found = []
    for reason in ("moved out", "paid twice"):
        wanted = WantedRefund(payment_id, euro("30.00"), "bank", reason, "Erika Beispiel", THEIRS)  # type: ignore[arg-type]
        found.append((await till.room.refunds.request(wanted, actor="user:anna")).refund_id)
        await till.room.refunds.approve(found[-1], actor="user:bert")
    made = await till.room.transfers.make(ours.bank_account_id, date(2026, 11, 23), actor="user:bert")
    till.clock.move_to(datetime(2026, 11, 26, 9, tzinfo=UTC))
    return made.file_id, found


async def kept(till: Till) -> tuple[int, list[str]]:
    """What the one payment has left, and the states of its refunds."""
    (payment,) = await till.finance.payments(account_id=None, after=None, limit=2)
    found = await till.room.refunds.refunds(state=None, before=None, limit=9)
    return payment.kept.minor, sorted(r.state for r in found)


@pytest.mark.parametrize("whole", ["group", "block", ""])
async def test_a_refund_that_our_bank_rejects_is_the_customers_again(till: Till, whole: str) -> None:
    file_id, items = await sent_refunds(till)
    told = {
        "group": rejection(file_id, group="RJCT"),
        "block": rejection(file_id, block=f"{file_id}-1"),
        "": rejection(file_id, items[0]),
    }[whole]
    counts = [await till.room.sepa.report(told, actor="user:anna") for _ in range(2)]
    assert counts == [2 if whole else 1, 0]
    assert await kept(till) == ((10000, ["refused"] * 2) if whole else (7000, ["refused", "sent"]))
    assert await till.balance("1462") == (0 if whole else -3000)
    await till.assert_sound()


@pytest.mark.parametrize("lump", [True, False])
async def test_refunds_are_done_when_the_bank_books_their_sum_and_one_comes_back(till: Till, lump: bool) -> None:
    file_id, items = await sent_refunds(till)
    on = date(2026, 11, 23)
    told = [Tx("30.00", end_to_end=item) for item in items]
    out = Entry("-60.00", [] if lump else told, ref="R1", on=on, batch=f"{file_id}-1", count=2, code="PMNT/ICDT/ESCT")
    await till.room.statements.read(camt("08", Stmt("100.00", [out], on=on)), "x", actor="user:anna")
    assert (await kept(till), await till.balance("1462")) == ((4000, ["done"] * 2), 0)
    later = date(2026, 11, 25)
    back = Entry("30.00", [Tx("30.00", end_to_end=items[1], reason="AC04")], ref="R2", on=later, code="PMNT/ICDT/RRTN")
    for name in ("y", "z"):
        raw = camt("08", Stmt("40.00", [back], ident="2", on=later)).replace(b"<MsgId>M1", f"<MsgId>{name}".encode())
        await till.room.statements.read(raw, name, actor="user:anna")
    assert await kept(till) == (7000, ["done", "refused"])
    assert (await till.balance("1462"), await till.balance("1463"), await till.balance("1800")) == (0, 0, 7000)
    assert "AC04" in (await till.room.refunds.get(items[1])).detail
    await till.assert_sound()
