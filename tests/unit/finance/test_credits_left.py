"""What a credit note is still good for is said with it: on its page and over the API."""

from __future__ import annotations

from datetime import date

import pytest

from controller.domain.money import Money
from controller.web.office.money import state_of
from erp.finance.routes import endpoints
from tests.support.api import api_client
from tests.support.finance import Books


async def test_a_credit_note_says_what_of_it_settles_nothing_yet(books: Books) -> None:
    account = await books.account()
    note = await books.issue(account, "-10.00")
    async with api_client(endpoints(books.finance), clock=books.clock) as api:
        for left, state in (("-11.90", "unapplied"), ("-5.95", "unapplied"), ("0.00", "paid")):
            found = (await api.get(f"/invoices/{note}")).json()
            assert (found["open"]["amount"], state_of(found, date(2027, 1, 1))) == (left, state)
            (listed,) = [i for i in (await api.get("/invoices")).json()["items"] if i["invoice_id"] == note]
            assert listed["open"] == found["open"]
            for asked in ("open", "unapplied", "paid"):
                fits = (await api.get("/invoices", params={"state": asked})).json()["items"]
                assert (note in [i["invoice_id"] for i in fits]) is (asked == state), (asked, state)
            await books.issue(account, "5.00")
        (total,) = (await api.get("/invoice-totals")).json()["totals"]
        assert total["open"]["amount"] == "5.95", "what is owed, credits are told apart"
    found_note = await books.finance.invoice(note)
    assert (found_note.open_minor, found_note.left) == (0, Money.zero("EUR"))


@pytest.mark.parametrize(("left", "state"), [("0.00", "paid"), ("1.00", "overdue")])
def test_an_invoice_is_paid_or_overdue_as_before(left: str, state: str) -> None:
    assert state_of({"open": {"amount": left}, "due_on": "2026-11-01"}, date(2026, 11, 2)) == state
