"""Credit notes take back what lines said and never more, whoever asks; revenue and receivables turn with them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select
from sqlalchemy.exc import DBAPIError

from controller.domain.identity import AccountId, BillRunId, InvoiceId, InvoiceLineId, new_id
from controller.domain.money import Money
from erp.finance import correction_routes
from erp.finance.adjustments import Adjustment
from erp.finance.crediting import Creditable, Gross, credit_of, document_of
from erp.finance.einvoice import cii, ubl
from erp.finance.einvoice.model import of_content
from erp.finance.errors import OverCredit, ReferenceTaken, UnknownInvoiceLine, WrongCurrency
from erp.finance.model import InvoiceLine, Levy
from erp.finance.tables import invoice_line
from tests.support.api import api_client
from tests.support.en16931 import faults
from tests.support.finance import NOW, Books


def euro(amount: str) -> Money:
    return Money.exact(amount, "EUR")


async def month(books: Books, net: str = "30.00") -> tuple[InvoiceId, InvoiceLineId]:
    """An invoice of 1 November over half of November and half of December, and its line."""
    charge = books.charge(await books.account(), net, days=(date(2026, 11, 16), date(2026, 12, 16)))
    (made,) = await books.finance.issue(BillRunId(new_id(NOW)), [charge])
    (line,) = await books.finance.lines(made)
    return made, line.line_id


async def credit(books: Books, made: InvoiceId, line_id: InvoiceLineId, net: str | None, reference: str) -> Money:
    wanted = {line_id: euro(net) if net else None}
    note = await books.corrections.credit(made, wanted, reason="outage", reference=reference, actor="user:anna")
    return note.total


async def balances(books: Books) -> dict[str, int]:
    return {b.code: b.balance.minor for b in await books.books.trial_balance() if b.balance}


async def test_parts_of_a_line_are_credited_until_nothing_is_left(books: Books) -> None:
    made, line_id = await month(books)
    assert await balances(books) == {"1200": 3570, "4400": -1500, "3900": -1500, "3806": -570}
    assert await credit(books, made, line_id, "10.00", "a") == euro("-11.90")
    assert await balances(books) == {"1200": 2380, "4400": -1000, "3900": -1000, "3806": -380}
    assert await credit(books, made, line_id, "10.00", "a") == euro("-11.90")  # the same again is the same
    with pytest.raises(ReferenceTaken, match="CN-2026-000001"):
        await credit(books, made, line_id, "10.01", "a")
    with pytest.raises(ReferenceTaken, match="choose another"):
        await credit(books, made, line_id, "1.00", "void")
    with pytest.raises(OverCredit, match=r"20\.00 EUR are left of 30\.00 EUR, not 20\.01 EUR"):
        await credit(books, made, line_id, "20.01", "b")
    assert await credit(books, made, line_id, None, "c") == euro("-23.80")
    assert await balances(books) == {}
    with pytest.raises(OverCredit):
        await credit(books, made, line_id, None, "d")
    assert (await books.finance.invoice(made)).open_minor == 0
    assert (await books.finance.invoice(made)).total == euro("35.70")  # the original stays
    assert {m.code: (m.planned.minor, m.posted.minor) for m in await books.revenue.months()} == {"4400": (0, 0)}


async def test_a_credit_note_settles_what_it_takes_back_before_anything_older(books: Books) -> None:
    account = await books.account()
    older, wrong = await books.issue(account), await books.issue(account, "12.00")
    (line,) = await books.finance.lines(wrong)
    await credit(books, wrong, line.line_id, None, "a")
    assert (await books.finance.invoice(wrong)).open_minor == 0
    assert (await books.finance.invoice(older)).open_minor == 3570


async def test_a_void_takes_back_all_that_is_left_and_says_of_what_and_why(books: Books) -> None:
    made, line_id = await month(books)
    await credit(books, made, line_id, "0.02", "a")
    note = await books.corrections.void(made, reason="wrong customer", actor="user:anna")
    assert note.total == euro("-35.68")
    again = await books.corrections.void(made, reason="wrong customer", actor="user:anna")
    assert again.invoice_id == note.invoice_id
    content = await books.finance.content(note.invoice_id)
    assert (content["regards"], content["reason"]) == ("INV-2026-000001", "wrong customer")
    told = of_content(content)
    assert (told.regards, told.note) == ("INV-2026-000001", "wrong customer")
    assert faults("ubl-credit-note", ubl.render(told)) == []
    assert faults("cii", cii.render(told)) == []
    assert await balances(books) == {}


async def test_what_a_void_gives_back_of_a_paid_invoice_waits_for_the_customer(books: Books) -> None:
    account = await books.account()
    made = await books.issue(account)
    await books.pay(account, "35.70", "t1")
    await books.corrections.void(made, reason="goodwill", actor="user:anna")
    (item,) = await books.books.open_items(account, date(2026, 11, 1))
    assert (item.kind, item.open) == ("credit-note", euro("-35.70"))
    later = await books.issue(account)
    assert (await books.finance.invoice(later)).open_minor == 0
    told = of_content(await books.finance.content(later))
    assert (told.prepaid, told.due) == (Decimal("35.70"), Decimal("0.00"))
    assert faults("ubl-invoice", ubl.render(told)) == []
    assert faults("cii", cii.render(told)) == []


async def test_strange_lines_and_currencies_are_refused(books: Books) -> None:
    made, line_id = await month(books)
    with pytest.raises(UnknownInvoiceLine):
        await credit(books, made, InvoiceLineId("0" * 32), None, "a")
    with pytest.raises(WrongCurrency):
        dollars = {line_id: Money(100, "USD")}
        await books.corrections.credit(made, dollars, reason="x", reference="b", actor="user:anna")
    for nothing in ("0.00", "-1.00"):
        with pytest.raises(OverCredit):
            await credit(books, made, line_id, nothing, "c")


@pytest.mark.parametrize(
    "change",
    [
        {"net_minor": -2001, "tax_minor": -380},
        {"net_minor": -2000, "tax_minor": -381},
        {"net_minor": 1, "tax_minor": 0},
        {"credits_line_id": "0" * 32},
        {"credits_line_id": "itself"},
    ],
)
async def test_the_database_refuses_what_credits_more_than_a_line(books: Books, change: dict[str, object]) -> None:
    """Ten were credited of thirty; whoever writes SQL has twenty left."""
    made, line_id = await month(books)
    await credit(books, made, line_id, "10.00", "a")
    async with books.database.read() as conn:
        row = (await conn.execute(select(invoice_line).where(invoice_line.c.credits_line_id == line_id))).one()
    copied = dict(row._mapping) | {"line_id": "f" * 32, "charge_id": "f" * 32, "position": 2}
    if change.get("credits_line_id") == "itself":
        change = {"credits_line_id": row.line_id}
    with pytest.raises(DBAPIError, match="more is credited than the line says"):
        async with books.database.begin() as conn:
            await conn.execute(insert(invoice_line).values(copied | change))
    async with books.database.begin() as conn:
        await conn.execute(insert(invoice_line).values(copied | {"net_minor": -2000, "tax_minor": -380}))
    with pytest.raises(DBAPIError, match="more is credited"):
        async with books.database.begin() as conn:
            more = {"line_id": "e" * 32, "charge_id": "e" * 32, "position": 3, "net_minor": -1, "tax_minor": 0}
            await conn.execute(insert(invoice_line).values(copied | more))


LINE = InvoiceLine(
    InvoiceLineId("1" * 32), InvoiceId("2" * 32), 1, "c", "s", "v", "t", "recurring", "Fibre", "Fibre",
    date(2026, 9, 1), date(2026, 10, 1), Decimal(1), "month", Decimal(30), euro("0.00"), Decimal(19), euro("0.00"),
    adjustment=False,
)  # fmt: skip


@given(
    st.integers(1, 10**6),
    st.integers(0, 10**6),
    st.lists(st.integers(0, 10**5), max_size=3),
    st.lists(st.integers(1, 10**6), max_size=6),
    st.sampled_from([1, -1]),
)
def test_parts_credited_in_any_sizes_are_the_whole(
    net: int, vat: int, levied: list[int], sizes: list[int], sign: int
) -> None:
    levies = [
        Levy(0, f"l{n}", "levy", "state", Money(sign * minor, "EUR"), Money(net, "EUR"))
        for n, minor in enumerate(levied)
    ]
    line = replace(
        LINE,
        net=Money(sign * net, "EUR"),
        tax=Money(sign * (vat + sum(levied)), "EUR"),
        agreed_minor=sign * (net + vat),
    )
    gone = {"net": 0, "tax": 0, "agreed": 0} | {levy.code: 0 for levy in levies}
    times = 0
    for size in [*sizes, None]:
        if gone["net"] == -sign * net:
            break
        found = Creditable(
            line,
            *(Money(gone[k], "EUR") for k in ("net", "tax", "agreed")),
            times,
            tuple((levy, Money(gone[levy.code], "EUR")) for levy in levies),
        )
        wanted = None if size is None else Money(sign * size, "EUR")
        if size is not None and size > net - abs(gone["net"]):
            with pytest.raises(OverCredit):
                credit_of(found, wanted, AccountId("a"), BillRunId("r"))
            continue
        taken = credit_of(found, wanted, AccountId("a"), BillRunId("r"))
        times += 1
        gone["net"] += taken.charge.net.minor
        gone["agreed"] += taken.agreed.minor
        gone["tax"] += taken.vat.minor + sum(levy.tax.minor for levy in taken.levies)
        for levy in taken.levies:
            gone[levy.code] += levy.tax.minor
        assert all(value * sign <= 0 for value in gone.values())
    assert gone["net"] == -sign * net
    assert gone["tax"] == -line.tax.minor
    assert gone["agreed"] == -line.agreed_minor
    assert {levy.code: gone[levy.code] for levy in levies} == {levy.code: -levy.tax.minor for levy in levies}


@given(
    st.integers(1, 10**5),
    st.integers(0, 10**5),
    st.lists(st.integers(0, 10**4), max_size=3),
    st.lists(st.integers(1, 10**5), max_size=6),
    st.sampled_from([1, -1]),
)
def test_parts_credited_with_their_tax_are_that_to_the_cent(
    net: int, vat: int, levied: list[int], sizes: list[int], sign: int
) -> None:
    levies = [
        Levy(0, f"l{n}", "levy", "state", Money(sign * minor, "EUR"), Money(net, "EUR"))
        for n, minor in enumerate(levied)
    ]
    line = replace(LINE, net=Money(sign * net, "EUR"), tax=Money(sign * (vat + sum(levied)), "EUR"))
    gone, before = Money.zero("EUR"), Money.zero("EUR")
    levies_gone = {levy.code: Money.zero("EUR") for levy in levies}
    for size in sizes:
        found = Creditable(line, gone, before, gone, 0, tuple((levy, levies_gone[levy.code]) for levy in levies))
        wanted = Money(sign * size, "EUR")
        if not found.left or size > abs(found.gross_left.minor):
            with pytest.raises(OverCredit):
                credit_of(found, Gross(wanted), AccountId("a"), BillRunId("r"))
            continue
        taken = credit_of(found, Gross(wanted), AccountId("a"), BillRunId("r"))
        document = document_of([taken])
        assert document.total == -wanted
        gone, before = gone + document.net, before + document.tax
        for levy in taken.levies:
            levies_gone[levy.code] += levy.tax
        for whole, less in [(line.net, gone), (line.tax, before), *((v.tax, levies_gone[v.code]) for v in levies)]:
            assert 0 <= -sign * less.minor <= sign * whole.minor


async def test_an_adjustment_is_a_document_of_its_own(books: Books) -> None:
    account = await books.account()
    given_back = Adjustment(account, euro("-11.90"), Decimal(19), "Goodwill", "outage on 3 November", "g1", "S", True)
    note = await books.corrections.adjust(given_back, actor="user:anna")
    assert (note.kind, note.net, note.tax) == ("credit-note", euro("-10.00"), euro("-1.90"))
    assert (await books.corrections.adjust(given_back, actor="user:anna")).invoice_id == note.invoice_id
    with pytest.raises(ReferenceTaken, match=r"g1 is CN-2026-000001 over Goodwill, -11\.90 EUR"):
        await books.corrections.adjust(replace(given_back, net=euro("-119.00")), actor="user:anna")
    charged = Adjustment(account, euro("5.00"), Decimal(0), "Damaged router", "returned broken", "g2", "O")
    made = await books.corrections.adjust(charged, actor="user:anna")
    told = of_content(await books.finance.content(made.invoice_id))
    assert [g.category for g in told.groups] == ["O"]
    assert faults("ubl-invoice", ubl.render(told)) == []
    assert faults("cii", cii.render(told)) == []


async def test_corrections_over_http(books: Books) -> None:
    made, line_id = await month(books)
    async with api_client(correction_routes.endpoints(books.corrections), clock=books.clock) as api:
        (line,) = (await api.get(f"/invoices/{made}/creditable")).json()["lines"]
        assert (line["line_id"], line["left"]["amount"]) == (line_id, "30.00")
        body = {"reference": "r1", "reason": "outage", "lines": [{"line_id": line_id, "net": "12.50"}]}
        note = await api.post(f"/invoices/{made}/credit-notes", json=body)
        assert (note.status_code, note.json()["net"]["amount"]) == (201, "-12.50")
        body |= {"reference": "r2", "lines": [{"line_id": line_id, "net": "17.51"}]}
        refused = await api.post(f"/invoices/{made}/credit-notes", json=body)
        assert (refused.status_code, refused.json()["code"]) == (422, OverCredit.code)
        twice = body | {"lines": [{"line_id": line_id}, {"line_id": line_id}]}
        assert (await api.post(f"/invoices/{made}/credit-notes", json=twice)).status_code == 422
        void = await api.post(f"/invoices/{made}/void", json={"reason": "mistake"})
        assert (void.status_code, void.json()["net"]["amount"]) == (201, "-17.50")
        adjust = {
            "account_id": (await books.finance.invoice(made)).account_id,
            "net": {"amount": "-5.00", "currency": "EUR"},
            "tax_percent": "19",
            "item": "Goodwill",
            "reason": "outage",
            "reference": "a1",
        }
        assert (await api.post("/adjustments", json=adjust)).json()["total"]["amount"] == "-5.95"
        nothing = adjust | {"net": {"amount": "0.00", "currency": "EUR"}, "reference": "a2"}
        assert (await api.post("/adjustments", json=nothing)).status_code == 422
