"""E-invoices pass the schema and the schematron of EN 16931, whatever stands on them; what breaks a rule is caught."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from facturx import get_facturx_xml_from_pdf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.domain.charge import ChargeKind
from controller.domain.money import Money
from erp.finance import document as paper
from erp.finance.einvoice import cii, facturx, ubl
from erp.finance.einvoice.model import NotAnEInvoice, of_content
from tests.support.charges import charge
from tests.support.en16931 import faults
from tests.support.papers import BUYER, SELLER, content


def wrong(told: dict[str, Any]) -> list[str]:
    """What the rules of EN 16931 find in the document, in either syntax."""
    found = of_content(told)
    kind = "ubl-credit-note" if found.is_credit_note else "ubl-invoice"
    return [*faults(kind, ubl.render(found)), *faults("cii", cii.render(found))]


rows = st.lists(
    st.tuples(
        st.integers(-(10**8), 10**8),
        st.sampled_from(["0", "7", "19", "5.5"]),
        st.sampled_from(ChargeKind),
        st.sampled_from(["day", "month", "GB", "GiB"]),
        st.text(max_size=20),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows)
def test_whatever_is_invoiced_is_a_valid_e_invoice(lines: list[tuple[int, str, ChargeKind, str, str]]) -> None:
    charges = [
        replace(charge(net, percent, kind), unit=unit, item=item, quantity=Decimal("0.5"))
        for net, percent, kind, unit, item in lines
    ]
    assert wrong(content(charges)) == []


@pytest.mark.parametrize("net", [3000, -3000])
def test_an_invoice_and_a_credit_note_of_a_month(net: int) -> None:
    told = content([charge(net)])
    assert wrong(told) == []
    found = of_content(told)
    (line,) = found.lines
    assert (line.quantity, line.unit, line.price, line.net) == (1, "MON", Decimal("30.00"), Decimal("30.00"))
    assert found.is_credit_note == (net < 0)
    assert (found.net, found.tax, found.total) == (Decimal("30.00"), Decimal("5.70"), Decimal("35.70"))


@pytest.mark.parametrize("regards", ["", "INV-2025-000001", "INV-2025-000001, INV-2025-000002"])
def test_a_debit_note_is_an_invoice_of_type_383_that_names_what_it_corrects(regards: str) -> None:
    told = content([replace(charge(3000), adjustment=True)]) | {"regards": regards}
    assert wrong(told) == []
    found = of_content(told)
    assert (told["kind"], found.type_code, found.is_credit_note) == ("debit-note", "383", False)
    xml = ubl.render(found).decode()
    assert "<cbc:InvoiceTypeCode>383</cbc:InvoiceTypeCode>" in xml
    assert xml.count("<cac:InvoiceDocumentReference>") == len(found.preceding) == xml.count("INV-2025-00000")
    assert "383" in cii.render(found).decode()
    assert of_content(content([charge(3000), replace(charge(500), adjustment=True)])).type_code == "380"


def test_a_credited_line_on_an_invoice_has_a_negative_quantity() -> None:
    told = content([charge(4000), replace(charge(-2000), adjustment=True)])
    assert wrong(told) == []
    credited = of_content(told).lines[1]
    assert (credited.quantity, credited.price, credited.net) == (-1, Decimal("20.00"), Decimal("-20.00"))


def test_a_number_that_is_no_vat_number_is_told_as_what_it_is() -> None:
    buyers = ("AT U12345678", "", "12/345")
    for buyer, tax_id in zip(buyers, ("37/123/45678", "37/123/45678", "DE123456788"), strict=True):
        contact = replace(BUYER.contact, tax_id=buyer)
        assert wrong(content([charge(3000)], replace(SELLER, tax_id=tax_id), replace(BUYER, contact=contact))) == []


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"total": Decimal("35.71")}, "BR-CO-15"),
        ({"net": Decimal("30.01")}, "BR-CO-10"),
        ({"number": ""}, "BR-02"),
        ({"currency": "XEU"}, "BR-CL"),
        ({"groups": ()}, "BR-CO-18"),
    ],
)
def test_a_broken_rule_is_found(change: dict[str, Any], rule: str) -> None:
    """The check can fail."""
    broken = replace(of_content(content([charge(3000)])), **change)
    found = faults("ubl-invoice", ubl.render(broken))
    assert any(rule in fault for fault in found) or (rule == "BR-02" and "ID" in found[0]), found


def test_what_en_16931_has_no_place_for_is_refused() -> None:
    with pytest.raises(NotAnEInvoice, match="HEADEND_ENTITY_TAX_ID"):
        of_content(content([charge(3000)], seller=replace(SELLER, tax_id="")))
    with pytest.raises(NotAnEInvoice, match="two decimals"):
        of_content(content([replace(charge(3000), net=Money(3000, "KWD"))]))
    with pytest.raises(NotAnEInvoice, match="country"):
        of_content(content([charge(3000)], seller=replace(SELLER, tax_id="123", locale="de")))


def test_factur_x_carries_the_invoice_inside_the_pdf() -> None:
    told = content([charge(3000), charge(500, "7")])
    pdf = facturx.render(of_content(told), paper.render(told), language="de-DE")
    name, xml = get_facturx_xml_from_pdf(pdf, check_xsd=True)
    assert name == "factur-x.xml"
    assert xml == cii.render(of_content(told))
    assert faults("cii", xml) == []
