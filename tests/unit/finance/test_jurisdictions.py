"""Golden sets by jurisdiction: what a line comes to with value-added taxes, levies, exemptions, and tax in the price.

The rates are those of the law where a law is named; amounts were worked out by hand.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

import httpx2
import pytest

from controller.domain.charge import Charge, ChargeKind
from controller.domain.identity import BillRunId, new_id
from controller.domain.money import Money
from controller.domain.ports import Secret
from erp.crm.model import Contact
from erp.finance import tax_routes
from erp.finance.document import render
from erp.finance.einvoice import cii, ubl
from erp.finance.einvoice.model import NotAnEInvoice, of_content
from erp.finance.errors import LevyLoop, LevyUnavailable
from erp.finance.levies import LevyRequest, levied
from erp.finance.levy_adapters import HttpLevies
from erp.finance.model import Draft, draft
from erp.finance.service import FinanceService
from erp.finance.settings import FinanceSettings
from erp.finance.tax import Exemption, Place, Rate, TaxTable
from tests.support.api import api_client
from tests.support.charges import charge
from tests.support.en16931 import faults
from tests.support.finance import NOW, Books
from tests.support.levies import AUSTIN, levy_lines, rule
from tests.support.papers import BUYER, SELLER, content


@dataclass(frozen=True)
class Golden:
    """A charge, where the customer is, and (net, tax, total, category) that it must come to."""

    what: str
    charge: Charge
    expected: tuple[str, str, str, str]
    area: str = ""
    exemption: Exemption | None = None


def sold(amount: str, percent: str, currency: str = "EUR", **known: object) -> Charge:
    return replace(charge(0, percent), net=Money.exact(amount, currency), **known)  # type: ignore[arg-type]


def paid(amount: str, percent: str, currency: str = "EUR") -> Charge:
    """At a price with the tax in it."""
    return sold(amount, percent, currency, tax_included=True)


AREAS = [
    Rate(Decimal(19), date(2020, 1, 1), Decimal(20), "FR"),
    Rate(Decimal(19), date(2020, 1, 1), Decimal(21), "ES"),
    Rate(Decimal(19), date(2020, 1, 1), Decimal(7), "ES-CN"),
    Rate(Decimal(19), date(2024, 1, 1), Decimal("25.5"), "FI"),
]
"""A German seller's standard rate where its consumers live (one-stop shop)."""
MISSION = Exemption("account", date(2026, 9, 1), date(2027, 9, 1), "Diplomatic mission, No. 7")
REVERSE = replace(MISSION, reason="Reverse charge", category="AE")

GOLDEN = [
    Golden("Germany, standard", sold("30.00", "19"), ("30.00", "5.70", "35.70", "S")),
    Golden("Germany, reduced", sold("30.00", "7"), ("30.00", "2.10", "32.10", "S")),
    Golden("Germany, price with tax", paid("29.99", "19"), ("25.20", "4.79", "29.99", "S")),
    Golden("Germany, a price that no net reaches", paid("0.03", "19"), ("0.03", "0.00", "0.03", "S")),
    Golden("France, from Germany", sold("30.00", "19"), ("30.00", "6.00", "36.00", "S"), "FR"),
    Golden("France, the same price paid", paid("35.70", "19"), ("29.75", "5.95", "35.70", "S"), "FR"),
    Golden("Spain", sold("30.00", "19"), ("30.00", "6.30", "36.30", "S"), "ES"),
    Golden("Canary Islands, IGIC", sold("30.00", "7", tax_category="L"), ("30.00", "2.10", "32.10", "L"), "ES-CN"),
    Golden("Finland, a rate with a half", sold("29.90", "19"), ("29.90", "7.62", "37.52", "S"), "FI"),
    Golden("Switzerland, price with tax", paid("100.00", "8.1", "CHF"), ("92.51", "7.49", "100.00", "S")),
    Golden("United Kingdom, price with tax", paid("29.99", "20", "GBP"), ("24.99", "5.00", "29.99", "S")),
    Golden("Japan, no decimals", paid("1078", "10", "JPY"), ("980", "98", "1078", "S")),
    Golden("Bahrain, three decimals", sold("12.345", "10", "BHD"), ("12.345", "1.235", "13.580", "S")),
    Golden("Kuwait, no tax", sold("12.345", "0", "KWD"), ("12.345", "0.000", "12.345", "Z")),
    Golden("zero rate", sold("30.00", "0", tax_category="Z"), ("30.00", "0.00", "30.00", "Z")),
    Golden("export", sold("30.00", "0", tax_category="G"), ("30.00", "0.00", "30.00", "G")),
    Golden("a deposit", sold("50.00", "0", tax_category="O"), ("50.00", "0.00", "50.00", "O")),
    Golden("a mission", sold("30.00", "19"), ("30.00", "0.00", "30.00", "E"), exemption=MISSION),
    Golden("a mission, price with tax", paid("35.70", "19"), ("30.00", "0.00", "30.00", "E"), exemption=MISSION),
    Golden("reverse charge", sold("30.00", "19"), ("30.00", "0.00", "30.00", "AE"), exemption=REVERSE),
    Golden("a credit", paid("-29.99", "19"), ("-25.20", "-4.79", "-29.99", "S")),
]  # fmt: skip


def taxed(golden: Golden) -> Draft:
    places = [Place("account", date(2026, 1, 1), golden.area)] if golden.area else []
    table = TaxTable(AREAS, [golden.exemption] if golden.exemption else [], places)
    return draft(table.apply([golden.charge]), ROUND_HALF_UP)


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda g: g.what)
def test_golden_set(golden: Golden) -> None:
    made = taxed(golden)
    (line,) = made.charges
    assert (str(made.net.amount), str(made.tax.amount), str(made.total.amount), line.tax_category) == golden.expected


VATEX = {"AE": "VATEX-EU-AE", "K": "VATEX-EU-IC", "G": "VATEX-EU-G", "O": "VATEX-EU-O"}


@pytest.mark.parametrize("category", ["S", "Z", "E", "AE", "K", "G", "O", "L", "M"])
@pytest.mark.parametrize("net", [3000, -3000])
def test_every_category_of_vat_is_a_valid_e_invoice(category: str, net: int) -> None:
    percent = "7" if category in "SLM" else "0"
    own = replace(charge(net, percent), tax_category=category)
    table = TaxTable((), [replace(MISSION, code="VATEX-EU-132")] if category == "E" else [])
    charges = table.apply([replace(own, tax_category="S", tax_percent=Decimal(19)) if category == "E" else own])
    buyer = replace(BUYER, contact=replace(BUYER.contact, tax_id="ATU12345675"))
    found = of_content(content(charges, buyer=buyer))
    (group,) = found.groups
    assert group.category == category
    assert group.code == {"E": "VATEX-EU-132"}.get(category, VATEX.get(category, ""))
    assert faults("ubl-credit-note" if net < 0 else "ubl-invoice", ubl.render(found)) == []
    assert faults("cii", cii.render(found)) == []


def test_reverse_charge_without_the_numbers_of_both_is_no_e_invoice() -> None:
    told = content([replace(charge(3000, "0"), tax_category="AE")])
    with pytest.raises(NotAnEInvoice, match="VAT number are needed"):
        of_content(told)


def test_what_is_not_subject_to_vat_stands_beside_what_is() -> None:
    """A deposit beside a fee: EN 16931 knows no such document but as exempt (BR-O-11)."""
    told = content([charge(3000), replace(charge(5000, "0", n=1), tax_category="O")])
    found = of_content(told)
    assert [(g.category, g.exemption) for g in found.groups] == [("E", "Not subject to VAT"), ("S", "")]
    assert faults("ubl-invoice", ubl.render(found)) == []
    assert faults("cii", cii.render(found)) == []


def test_a_document_of_everything_at_once_is_a_valid_e_invoice() -> None:
    """Several rates, tax in the price, an allowance, two certificates, and an amount paid before."""
    other = replace(MISSION, first_on=date(2026, 9, 11), reason="Hospital", code="VATEX-EU-132-1B")
    table = TaxTable((), [replace(MISSION, until_on=date(2026, 9, 11)), other])
    exempt = table.apply([charge(3000, n=1)])
    charges = [
        *exempt,
        replace(charge(2999, n=2), tax_included=True),
        charge(1000, "7", n=3),
        charge(-500, n=4),
        replace(charge(-333, "7", n=5), adjustment=True),
        replace(charge(700, "0", n=6), tax_category="Z"),
    ]
    told = content(charges) | {"prepaid_minor": 1000}
    found = of_content(told)
    assert [a.amount for a in found.allowances] == [Decimal("5.00")]
    assert found.due == found.total - 10
    assert faults("ubl-invoice", ubl.render(found)) == []
    assert faults("cii", cii.render(found)) == []


def voice(net: str = "30.00", **known: object) -> Charge:
    return sold(net, "0", "USD", product="voice", tax_category="O", **known)


@pytest.mark.parametrize(
    ("charges", "area", "expected"),
    [
        (
            [voice()],
            "US-TX-Austin",
            {"e911": "0.50", "fusf": "10.32", "txusf": "0.99", "sales-city": "0.83", "sales-state": "2.58"},
        ),
        ([voice()], "US-TX-Dallas", {"e911": "0.50", "fusf": "10.32", "txusf": "0.99", "sales-state": "2.58"}),
        ([voice()], "US-NY", {"fusf": "10.32"}),
        ([voice()], "DE", {}),
        ([voice()], "US-TXX", {"fusf": "10.32"}),
        ([replace(voice(), product="internet")], "US-TX-Austin", {"sales-city": "0.60", "sales-state": "1.88"}),
        (
            [voice(quantity=Decimal(3)), voice("10.00", kind=ChargeKind.USAGE)],
            "US-TX",
            {"e911": "1.50", "fusf": "13.76", "txusf": "1.32", "sales-state": "3.44"},
        ),
        (
            [voice("-30.00")],
            "US-TX-Austin",
            {"e911": "-0.50", "fusf": "-10.32", "txusf": "-0.99", "sales-city": "-0.83", "sales-state": "-2.58"},
        ),
        ([voice(first_on=date(2025, 12, 1))], "US-TX-Austin", {}),
    ],
)
def test_levies_of_federation_state_and_city(charges: Sequence[Charge], area: str, expected: dict[str, str]) -> None:
    plain = draft(charges, ROUND_HALF_UP)
    found = levied(AUSTIN, levy_lines(plain, area))
    sums: dict[str, Decimal] = {}
    for levy in found:
        sums[levy.code] = sums.get(levy.code, Decimal(0)) + levy.tax.amount
    assert {code: str(amount) for code, amount in sums.items()} == expected


def test_a_levy_changes_on_a_day_and_spares_who_is_exempt() -> None:
    rules = [rule("fusf", "US", "34.4", until_on=date(2026, 9, 1)), rule("fusf", "US", "36", since=date(2026, 9, 1))]
    (later,) = levied(rules, levy_lines(draft([voice()], ROUND_HALF_UP), "US"))
    assert later.tax == Money.exact("10.80", "USD")
    exempt = TaxTable((), [MISSION]).apply([replace(voice(), tax_category="S", tax_percent=Decimal(19))])
    assert levied(rules, levy_lines(draft(exempt, ROUND_HALF_UP), "US")) == []


def test_levies_on_each_other_are_refused() -> None:
    with pytest.raises(LevyLoop, match="a, b"):
        levied([rule("a", "", "1", upon=("b",)), rule("b", "", "1", upon=("a",))], [])


async def test_levies_on_the_document_in_the_journal_and_taken_back(books: Books) -> None:
    account = await books.account()
    async with api_client(tax_routes.endpoints(books.tax), clock=books.clock) as api:
        place = {"account_id": account, "since": "2026-01-01", "area": "US-TX-Austin"}
        assert (await api.post("/tax-places", json=place)).status_code == 201
        assert (await api.get(f"/tax-places/{account}")).json()["places"][0]["area"] == "US-TX-Austin"
        for one in reversed(AUSTIN):
            body = {
                "code": one.code, "name": one.name, "authority": one.authority, "area": one.area,
                "since": "2026-01-01", "percent": str(one.percent), "per_line": str(one.per_line),
                "kinds": list(one.kinds), "upon": list(one.upon),
            }  # fmt: skip
            assert (await api.post("/levy-rules", json=body)).status_code == 201
        assert (await api.post("/levy-rules", json=body)).json()["code"] == "tax-rate-known"
        loop = body | {"code": "fusf", "since": "2027-01-01", "upon": ["sales-city"]}
        assert (await api.post("/levy-rules", json=loop)).json()["code"] == LevyLoop.code
        assert (await api.post("/levy-rules", json=body | {"code": "x", "percent": "0"})).status_code == 422
        assert len((await api.get("/levy-rules")).json()["rules"]) == len(AUSTIN)
    phone = books.charge(account, product="voice", tax_category="O", tax_percent=Decimal(0))
    (made,) = await books.finance.issue(BillRunId(new_id(NOW)), [phone])
    invoice = await books.finance.invoice(made)
    assert (invoice.tax, invoice.total) == (Money(1522, "EUR"), Money(4522, "EUR"))
    balances = {b.code: b.balance.minor for b in await books.books.trial_balance()}
    assert balances == {"1200": 4522, "4400": -3000, "3810": -1522}
    told = await books.finance.content(made)
    assert [levy["code"] for levy in told["levies"]] == ["e911", "fusf", "txusf", "sales-city", "sales-state"]
    assert render(told).startswith(b"%PDF")
    with pytest.raises(NotAnEInvoice, match="levies"):
        of_content(told)
    (line,) = await books.finance.lines(made)
    part = {line.line_id: Money(1000, "EUR")}
    await books.corrections.credit(made, part, reason="x", reference="a", actor="user:anna")
    await books.corrections.void(made, reason="x", actor="user:anna")
    assert not any(b.balance for b in await books.books.trial_balance())


def service(books: Books, answer: object, status: int = 200) -> tuple[FinanceService, list[dict[str, object]]]:
    """Finance that asks a tax service, and what that was asked."""
    asked: list[dict[str, object]] = []

    def reply(request: httpx2.Request) -> httpx2.Response:
        assert request.headers["authorization"] == "Bearer s3cret"
        asked.append(json.loads(request.content))
        return httpx2.Response(status, json=answer)

    adapter = HttpLevies("http://tax/levies", Secret("s3cret"), transport=httpx2.MockTransport(reply))
    return FinanceService(books.database, books.clock, books.crm, FinanceSettings(), adapter), asked


LEVIED = {"place": 0, "code": "fusf", "name": "Federal USF", "authority": "FCC", "tax": "10.32", "base": "30.00"}


async def test_a_tax_service_is_asked_over_http(books: Books) -> None:
    finance, asked = service(books, {"documents": [{"levies": [LEVIED]}]})
    account = await books.account()
    (made,) = await finance.issue(BillRunId("r"), [books.charge(account, product="voice")])
    assert (await finance.invoice(made)).tax == Money(570 + 1032, "EUR")
    (document,) = asked[0]["documents"]  # type: ignore[misc]
    assert document["account_id"] == account
    assert document["lines"][0] | {"area": ""} == {
        "place": 0, "area": "", "product": "voice", "kind": "recurring", "first_on": "2026-11-01", "net": "30.00",
        "count": 1, "exempt": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"documents": []}, 200),
        ({"documents": [{"levies": [LEVIED | {"place": 1}]}]}, 200),
        ({"documents": [{"levies": [LEVIED | {"tax": "10.321"}]}]}, 200),
        ({"documents": [{"levies": [LEVIED | {"tax": "much"}]}]}, 200),
        ({"documents": [{"levies": [LEVIED | {"tax": 10.32}]}]}, 200),
        ({"documents": [{"levies": [LEVIED, LEVIED]}]}, 200),
        ({}, 200),
        ({"documents": [{"levies": []}]}, 500),
    ],
)
async def test_nothing_is_issued_on_an_answer_that_cannot_be(books: Books, answer: object, status: int) -> None:
    finance, _ = service(books, answer, status)
    with pytest.raises(LevyUnavailable):
        await finance.issue(BillRunId("r"), [books.charge(await books.account(), product="voice")])
    assert await books.numbers() == []


async def test_a_tax_service_is_not_asked_about_nothing() -> None:
    adapter = HttpLevies("http://nowhere", None)
    assert await adapter.levies([LevyRequest(SELLER.entity_id, BUYER.account.account_id, ())]) == [[]]
    await adapter.close()


async def test_one_plan_in_two_currencies_and_two_tax_areas_each_in_its_own_books(books: Books) -> None:
    """A consumer in Germany pays euros, one in Switzerland francs; each currency balances by itself."""
    german = await books.account()
    contact = Contact("Urs Muster", address="Gasse 1\n8001 Zürich", language="de-CH")
    swiss = (await books.crm.create_customer(contact, actor="user:anna", currency="CHF")).account.account_id
    await books.tax.add_rate(Rate(Decimal(19), date(2026, 1, 1), Decimal("8.1"), "CH"), actor="user:anna")
    await books.tax.add_place(Place(swiss, date(2026, 1, 1), "CH"), actor="user:anna")
    run = BillRunId(new_id(NOW))
    francs = Money.exact("30.00", "CHF")
    sold_to = [books.charge(german), books.charge(swiss, net="0.00", tax_included=True)]
    sold_to[1] = replace(sold_to[1], net=francs)
    made = await books.finance.issue(run, sold_to)
    totals = {(await books.finance.invoice(i)).total for i in made}
    assert totals == {Money.exact("35.70", "EUR"), francs}
    balances = {(b.balance.currency, b.code): b.balance.minor for b in await books.books.trial_balance()}
    assert balances == {
        ("EUR", "1200"): 3570, ("EUR", "4400"): -3000, ("EUR", "3806"): -570,
        ("CHF", "1200"): 3000, ("CHF", "4400"): -2775, ("CHF", "3806"): -225,
    }  # fmt: skip
    papers = [await books.finance.content(i) for i in made]
    assert {p["currency"] for p in papers} == {"EUR", "CHF"}
    assert all(render(p).startswith(b"%PDF") for p in papers)
