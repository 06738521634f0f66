"""EN 16931 as UBL 2.1 (OASIS): Invoice or CreditNote. Pure: model in, XML out."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from lxml import etree

from erp.finance.einvoice.model import DISCOUNT, NO_VAT, EInvoice, Line, Party, VatGroup, plain

_BASE = "urn:oasis:names:specification:ubl:schema:xsd:"
_CAC, _CBC = _BASE + "CommonAggregateComponents-2", _BASE + "CommonBasicComponents-2"
CUSTOMIZATION = "urn:cen.eu:en16931:2017"
_CREDIT_TRANSFER = "30"


class _Writer:
    """Elements in the order in which they are asked for, which in UBL is the order of the schema."""

    def __init__(self, currency: str) -> None:
        self._currency = currency

    def group(self, parent: Any, name: str) -> Any:
        return etree.SubElement(parent, f"{{{_CAC}}}{name}")

    def text(self, parent: Any, name: str, value: str, **attributes: str) -> None:
        """Nothing where there is nothing to say: UBL knows no empty element."""
        if value:
            etree.SubElement(parent, f"{{{_CBC}}}{name}", attrib=attributes).text = value

    def amount(self, parent: Any, name: str, value: Decimal) -> None:
        self.text(parent, name, plain(value), currencyID=self._currency)


def render(document: EInvoice) -> bytes:
    """The XML, UTF-8."""
    kind = "CreditNote" if document.is_credit_note else "Invoice"
    namespace = f"{_BASE}{kind}-2"
    root = etree.Element(f"{{{namespace}}}{kind}", nsmap={None: namespace, "cac": _CAC, "cbc": _CBC})
    to = _Writer(document.currency)
    to.text(root, "CustomizationID", CUSTOMIZATION)
    to.text(root, "ID", document.number)
    to.text(root, "IssueDate", document.issued_on.isoformat())
    if not document.is_credit_note:
        to.text(root, "DueDate", document.due_on.isoformat())
    to.text(root, f"{kind}TypeCode", document.type_code)
    to.text(root, "Note", document.note)
    to.text(root, "DocumentCurrencyCode", document.currency)
    to.text(root, "BuyerReference", document.buyer_reference)
    if document.delivered_to:
        period = to.group(root, "InvoicePeriod")
        to.text(period, "StartDate", min(line.first_on for line in document.lines).isoformat())
        to.text(period, "EndDate", max(line.last_on for line in document.lines).isoformat())
    for number in document.preceding:
        to.text(to.group(to.group(root, "BillingReference"), "InvoiceDocumentReference"), "ID", number)
    registered = "" if document.without_vat else document.seller.tax_number
    _party(to, to.group(root, "AccountingSupplierParty"), document.seller, document.seller.tax_number, registered)
    _party(to, to.group(root, "AccountingCustomerParty"), document.buyer, "", "")
    if document.delivered_to:
        place = to.group(to.group(root, "Delivery"), "DeliveryLocation")
        to.text(to.group(to.group(place, "Address"), "Country"), "IdentificationCode", document.delivered_to)
    if document.iban and not document.is_credit_note:
        means = to.group(root, "PaymentMeans")
        to.text(means, "PaymentMeansCode", _CREDIT_TRANSFER)
        to.text(means, "PaymentID", document.number)
        to.text(to.group(means, "PayeeFinancialAccount"), "ID", document.iban)
    if document.is_credit_note:
        to.text(to.group(root, "PaymentTerms"), "Note", "Set off against open invoices.")
    for allowance in document.allowances:
        inside = to.group(root, "AllowanceCharge")
        to.text(inside, "ChargeIndicator", "false")
        to.text(inside, "AllowanceChargeReasonCode", DISCOUNT)
        to.text(inside, "AllowanceChargeReason", allowance.reason)
        to.amount(inside, "Amount", allowance.amount)
        _category(to, to.group(inside, "TaxCategory"), allowance.category, allowance.percent)
    total = to.group(root, "TaxTotal")
    to.amount(total, "TaxAmount", document.tax)
    for group in document.groups:
        _subtotal(to, total, group)
    sums = to.group(root, "LegalMonetaryTotal")
    to.amount(sums, "LineExtensionAmount", document.gross_of_lines)
    to.amount(sums, "TaxExclusiveAmount", document.net)
    to.amount(sums, "TaxInclusiveAmount", document.total)
    if document.allowances:
        to.amount(sums, "AllowanceTotalAmount", document.allowed)
    if document.prepaid:
        to.amount(sums, "PrepaidAmount", document.prepaid)
    to.amount(sums, "PayableAmount", document.due)
    for line in document.lines:
        _line(
            to,
            to.group(root, f"{kind}Line"),
            line,
            "CreditedQuantity" if document.is_credit_note else "InvoicedQuantity",
        )
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True))


def _party(to: _Writer, parent: Any, party: Party, identity: str, tax_number: str) -> None:
    """A number that is no VAT number is the seller's tax registration (BT-32) and identifies it (BT-29)."""
    inside = to.group(parent, "Party")
    if identity:
        to.text(to.group(inside, "PartyIdentification"), "ID", identity)
    address = to.group(inside, "PostalAddress")
    for name, line in zip(("StreetName", "AdditionalStreetName"), party.address, strict=False):
        to.text(address, name, line)
    for line in party.address[2:]:
        to.text(to.group(address, "AddressLine"), "Line", line)
        break  # BT-162 is one line
    to.text(to.group(address, "Country"), "IdentificationCode", party.country)
    for number, scheme in ((party.vat_id, "VAT"), (tax_number, "TAX")):
        if number:
            tax = to.group(inside, "PartyTaxScheme")
            to.text(tax, "CompanyID", number)
            to.text(to.group(tax, "TaxScheme"), "ID", scheme)
    to.text(to.group(inside, "PartyLegalEntity"), "RegistrationName", party.name)


def _subtotal(to: _Writer, parent: Any, group: VatGroup) -> None:
    inside = to.group(parent, "TaxSubtotal")
    to.amount(inside, "TaxableAmount", group.net)
    to.amount(inside, "TaxAmount", group.tax)
    _category(to, to.group(inside, "TaxCategory"), group.category, group.percent, group.exemption, group.code)


def _category(to: _Writer, inside: Any, category: str, percent: Decimal, exemption: str = "", code: str = "") -> None:
    """BR-O-05: what is not subject to VAT has no rate."""
    to.text(inside, "ID", category)
    if category != NO_VAT:
        to.text(inside, "Percent", plain(percent))
    to.text(inside, "TaxExemptionReasonCode", code)
    to.text(inside, "TaxExemptionReason", exemption)
    to.text(to.group(inside, "TaxScheme"), "ID", "VAT")


def _line(to: _Writer, inside: Any, line: Line, quantity: str) -> None:
    to.text(inside, "ID", str(line.number))
    to.text(inside, "Note", line.note)
    to.text(inside, quantity, plain(line.quantity), unitCode=line.unit)
    to.amount(inside, "LineExtensionAmount", line.net)
    period = to.group(inside, "InvoicePeriod")
    to.text(period, "StartDate", line.first_on.isoformat())
    to.text(period, "EndDate", line.last_on.isoformat())
    item = to.group(inside, "Item")
    to.text(item, "Description", line.description)
    to.text(item, "Name", line.name)
    _category(to, to.group(item, "ClassifiedTaxCategory"), line.category, line.percent)
    to.amount(to.group(inside, "Price"), "PriceAmount", line.price)
