"""Tax by the day: a change of law splits a line, a certificate is honoured on its days, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.charge import Charge
from controller.domain.identity import AccountId, BillRunId, new_id
from erp.finance import tax_routes
from erp.finance.einvoice import cii, ubl
from erp.finance.einvoice.model import of_content
from erp.finance.errors import RateKnown
from erp.finance.tax import Exemption, Rate, TaxTable
from tests.support.api import api_client
from tests.support.charges import charge
from tests.support.en16931 import faults
from tests.support.finance import NOW, Books

GERMANY_2020 = TaxTable(
    [
        Rate(Decimal(agreed), since, Decimal(percent))
        for agreed, cut in (("19", "16"), ("7", "5"))
        for since, percent in ((date(2020, 7, 1), cut), (date(2021, 1, 1), agreed))
    ]
)
"""The standard rate of 19 % was 16 %, and the reduced one of 7 % was 5 %, in the second half of 2020."""


def line(first_on: date, until_on: date, net: int = 3000, percent: str = "19") -> Charge:
    return replace(charge(net, percent), first_on=first_on, until_on=until_on)


@pytest.mark.parametrize(
    ("first_on", "until_on", "percent", "expected"),
    [
        (date(2020, 6, 1), date(2020, 7, 1), "19", [("19", 3000)]),
        (date(2020, 7, 1), date(2020, 8, 1), "19", [("16", 3000)]),
        (date(2020, 6, 16), date(2020, 7, 16), "19", [("19", 1500), ("16", 1500)]),
        (date(2020, 6, 16), date(2020, 7, 16), "7", [("7", 1500), ("5", 1500)]),
        (date(2020, 6, 1), date(2021, 2, 1), "19", [("19", 367), ("16", 2253), ("19", 380)]),
        (date(2020, 6, 1), date(2021, 2, 1), "0", [("0", 3000)]),
        (date(2020, 6, 30), date(2020, 6, 30), "19", [("19", 3000)]),
    ],
)
def test_the_german_cut_of_2020(first_on: date, until_on: date, percent: str, expected: list[tuple[str, int]]) -> None:
    found = GERMANY_2020.apply([line(first_on, until_on, percent=percent)])
    assert [(f"{c.tax_percent:f}", c.net.minor) for c in found] == expected


def test_a_certificate_counts_on_its_days_alone() -> None:
    mission = Exemption("account", date(2026, 9, 11), date(2026, 9, 21), "Diplomatic mission, No. 7")
    found = TaxTable((), [mission]).apply([line(date(2026, 9, 1), date(2026, 10, 1))])
    assert [(c.first_on.day, c.net.minor, f"{c.tax_percent:f}", c.exemption) for c in found] == [
        (1, 1000, "19", ""),
        (11, 1000, "0", "Diplomatic mission, No. 7"),
        (21, 1000, "19", ""),
    ]
    other = replace(mission, account_id="somebody else")
    assert len(TaxTable((), [other]).apply([line(date(2026, 9, 1), date(2026, 10, 1))])) == 1


days = st.dates(date(2019, 12, 1), date(2021, 12, 31))


@given(st.integers(-(10**8), 10**8), days, st.integers(1, 900), st.lists(st.tuples(days, st.integers(1, 200))))
def test_parts_are_the_whole_and_each_day_has_its_own_tax(
    net: int, first_on: date, length: int, certificates: list[tuple[date, int]]
) -> None:
    held = [Exemption("account", day, day + timedelta(days=n), f"No. {day}") for day, n in certificates]
    table = TaxTable(GERMANY_2020.rates, held)
    whole = line(first_on, first_on + timedelta(days=length), net)
    parts = table.apply([whole])
    assert sum(p.net.minor for p in parts) == net
    assert sum(p.quantity for p in parts) == whole.quantity
    assert [d for p in parts for d in each_day(p)] == list(each_day(whole))
    for part in parts:
        for day in each_day(part):
            treatment = table.on(whole, day)
            assert (treatment.percent, treatment.reason) == (part.tax_percent, part.exemption)


def each_day(charge: Charge) -> Iterator[date]:
    for n in range((charge.until_on - charge.first_on).days):
        yield charge.first_on + timedelta(days=n)


async def exempted(books: Books) -> AccountId:
    account = await books.account()
    await books.tax.add_rate(Rate(Decimal(19), date(2026, 11, 16), Decimal(21)), actor="user:anna")
    certificate = Exemption(account, date(2026, 11, 21), date(2027, 11, 21), "VAT exempt: mission, No. 7")
    await books.tax.add_exemption(certificate, actor="user:anna")
    return account


async def test_an_invoice_over_a_change_of_law_and_a_certificate(books: Books) -> None:
    account = await exempted(books)
    month = books.charge(account, "30.00", days=(date(2026, 11, 1), date(2026, 12, 1)))
    (made,) = await books.finance.issue(BillRunId(new_id(NOW)), [month])
    lines = await books.finance.lines(made)
    assert [(x.part, x.net.minor, f"{x.tax_percent:f}", x.tax.minor) for x in lines] == [
        (1, 1500, "19", 285),
        (2, 500, "21", 105),
        (3, 1000, "0", 0),
    ]
    invoice = await books.finance.invoice(made)
    assert (invoice.tax.minor, invoice.total.minor) == (390, 3390)
    assert {b.code: -b.balance.minor for b in await books.books.trial_balance()} == {
        "1200": -3390, "4400": 3000, "3806": 390,
    }  # fmt: skip
    told = of_content(await books.finance.content(made))
    assert [(g.category, g.exemption) for g in told.groups] == [
        ("E", "VAT exempt: mission, No. 7"), ("S", ""), ("S", ""),
    ]  # fmt: skip
    assert faults("ubl-invoice", ubl.render(told)) == []
    assert faults("cii", cii.render(told)) == []
    assert (await books.finance.pdf(made))[0].startswith(b"%PDF")


async def test_rates_and_certificates_over_http(books: Books) -> None:
    account = await exempted(books)
    async with api_client(tax_routes.endpoints(books.tax), clock=books.clock) as api:
        assert (await api.get("/tax-rates")).json()["rates"] == [
            {"agreed": "19", "since": "2026-11-16", "percent": "21", "area": ""}
        ]
        again = await api.post("/tax-rates", json={"agreed": "19.0", "since": "2026-11-16", "percent": "22"})
        assert (again.status_code, again.json()["code"]) == (409, RateKnown.code)
        (found,) = (await api.get(f"/tax-exemptions/{account}")).json()["exemptions"]
        assert found["reason"] == "VAT exempt: mission, No. 7"
        body = {"account_id": account, "first_on": "2027-01-01", "until_on": "2027-01-01", "reason": "x"}
        assert (await api.post("/tax-exemptions", json=body)).status_code == 422
        body |= {"until_on": "2027-02-01"}
        assert (await api.post("/tax-exemptions", json=body)).status_code == 201
        assert (await api.post("/tax-exemptions", json=body | {"account_id": "0" * 32})).status_code == 404
