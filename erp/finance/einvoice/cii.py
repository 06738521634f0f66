"""EN 16931 as UN/CEFACT Cross Industry Invoice, the XML inside a Factur-X document. Pure: model in, XML out."""

from __future__ import annotations

from datetime import date
from typing import Any

from lxml import etree

from erp.finance.einvoice.model import DISCOUNT, NO_VAT, Allowance, EInvoice, Line, Party, VatGroup, plain

_BASE = "urn:un:unece:uncefact:data:standard:"
_SPACES = {
    "rsm": _BASE + "CrossIndustryInvoice:100",
    "ram": _BASE + "ReusableAggregateBusinessInformationEntity:100",
    "udt": _BASE + "UnqualifiedDataType:100",
}
GUIDELINE = "urn:cen.eu:en16931:2017"
_CREDIT_TRANSFER = "30"
_DAY_FORMAT = "102"
"""UNTDID 2379: CCYYMMDD."""


def render(document: EInvoice) -> bytes:
    """The XML, UTF-8."""
    root = etree.Element(f"{{{_SPACES['rsm']}}}CrossIndustryInvoice", nsmap=_SPACES)
    context = _group(_group(root, "rsm:ExchangedDocumentContext"), "ram:GuidelineSpecifiedDocumentContextParameter")
    _text(context, "ID", GUIDELINE)
    head = _group(root, "rsm:ExchangedDocument")
    _text(head, "ID", document.number)
    _text(head, "TypeCode", document.type_code)
    _day(_group(head, "ram:IssueDateTime"), document.issued_on)
    if document.note:
        _text(_group(head, "ram:IncludedNote"), "Content", document.note)
    trade = _group(root, "rsm:SupplyChainTradeTransaction")
    for line in document.lines:
        _line(_group(trade, "ram:IncludedSupplyChainTradeLineItem"), line)
    agreement = _group(trade, "ram:ApplicableHeaderTradeAgreement")
    _text(agreement, "BuyerReference", document.buyer_reference)
    registered = "" if document.without_vat else document.seller.tax_number
    _party(_group(agreement, "ram:SellerTradeParty"), document.seller, document.seller.tax_number, registered)
    _party(_group(agreement, "ram:BuyerTradeParty"), document.buyer, "", "")
    delivery = _group(trade, "ram:ApplicableHeaderTradeDelivery")
    if document.delivered_to:
        _text(
            _group(_group(delivery, "ram:ShipToTradeParty"), "ram:PostalTradeAddress"),
            "CountryID",
            document.delivered_to,
        )
    _settlement(_group(trade, "ram:ApplicableHeaderTradeSettlement"), document)
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True))


def _settlement(inside: Any, document: EInvoice) -> None:
    pays = document.iban and not document.is_credit_note
    if pays:
        _text(inside, "PaymentReference", document.number)
    _text(inside, "InvoiceCurrencyCode", document.currency)
    if pays:
        means = _group(inside, "ram:SpecifiedTradeSettlementPaymentMeans")
        _text(means, "TypeCode", _CREDIT_TRANSFER)
        _text(_group(means, "ram:PayeePartyCreditorFinancialAccount"), "IBANID", document.iban)
    for group in document.groups:
        _tax(_group(inside, "ram:ApplicableTradeTax"), group)
    if document.delivered_to:
        period = _group(inside, "ram:BillingSpecifiedPeriod")
        _day(_group(period, "ram:StartDateTime"), min(line.first_on for line in document.lines))
        _day(_group(period, "ram:EndDateTime"), max(line.last_on for line in document.lines))
    for allowance in document.allowances:
        _allowance(_group(inside, "ram:SpecifiedTradeAllowanceCharge"), allowance)
    terms = _group(inside, "ram:SpecifiedTradePaymentTerms")
    if document.is_credit_note:
        _text(terms, "Description", "Set off against open invoices.")
    else:
        _day(_group(terms, "ram:DueDateDateTime"), document.due_on)
    sums = _group(inside, "ram:SpecifiedTradeSettlementHeaderMonetarySummation")
    _text(sums, "LineTotalAmount", plain(document.gross_of_lines))
    if document.allowances:
        _text(sums, "AllowanceTotalAmount", plain(document.allowed))
    _text(sums, "TaxBasisTotalAmount", plain(document.net))
    _text(sums, "TaxTotalAmount", plain(document.tax), currencyID=document.currency)
    _text(sums, "GrandTotalAmount", plain(document.total))
    if document.prepaid:
        _text(sums, "TotalPrepaidAmount", plain(document.prepaid))
    _text(sums, "DuePayableAmount", plain(document.due))
    for number in document.preceding:
        _text(_group(inside, "ram:InvoiceReferencedDocument"), "IssuerAssignedID", number)


def _allowance(inside: Any, allowance: Allowance) -> None:
    indicator = _group(inside, "ram:ChargeIndicator")
    etree.SubElement(indicator, f"{{{_SPACES['udt']}}}Indicator").text = "false"
    _text(inside, "ActualAmount", plain(allowance.amount))
    _text(inside, "ReasonCode", DISCOUNT)
    _text(inside, "Reason", allowance.reason)
    tax = _group(inside, "ram:CategoryTradeTax")
    _text(tax, "TypeCode", "VAT")
    _text(tax, "CategoryCode", allowance.category)
    if allowance.category != NO_VAT:
        _text(tax, "RateApplicablePercent", plain(allowance.percent))


def _party(inside: Any, party: Party, identity: str, tax_number: str) -> None:
    """A number that is no VAT number is the seller's tax registration (BT-32) and identifies it (BT-29)."""
    _text(inside, "ID", identity)
    _text(inside, "Name", party.name)
    address = _group(inside, "ram:PostalTradeAddress")
    for name, line in zip(("LineOne", "LineTwo", "LineThree"), party.address, strict=False):
        _text(address, name, line)
    _text(address, "CountryID", party.country)
    for number, scheme in ((party.vat_id, "VA"), (tax_number, "FC")):
        if number:
            _text(_group(inside, "ram:SpecifiedTaxRegistration"), "ID", number, schemeID=scheme)


def _tax(inside: Any, group: VatGroup) -> None:
    _text(inside, "CalculatedAmount", plain(group.tax))
    _text(inside, "TypeCode", "VAT")
    _text(inside, "ExemptionReason", group.exemption)
    _text(inside, "BasisAmount", plain(group.net))
    _text(inside, "CategoryCode", group.category)
    _text(inside, "ExemptionReasonCode", group.code)
    if group.category != NO_VAT:
        _text(inside, "RateApplicablePercent", plain(group.percent))


def _line(inside: Any, line: Line) -> None:
    about = _group(inside, "ram:AssociatedDocumentLineDocument")
    _text(about, "LineID", str(line.number))
    if line.note:
        _text(_group(about, "ram:IncludedNote"), "Content", line.note)
    product = _group(inside, "ram:SpecifiedTradeProduct")
    _text(product, "Name", line.name)
    _text(product, "Description", line.description)
    price = _group(_group(inside, "ram:SpecifiedLineTradeAgreement"), "ram:NetPriceProductTradePrice")
    _text(price, "ChargeAmount", plain(line.price))
    delivery = _group(inside, "ram:SpecifiedLineTradeDelivery")
    _text(delivery, "BilledQuantity", plain(line.quantity), unitCode=line.unit)
    settlement = _group(inside, "ram:SpecifiedLineTradeSettlement")
    tax = _group(settlement, "ram:ApplicableTradeTax")
    _text(tax, "TypeCode", "VAT")
    _text(tax, "CategoryCode", line.category)
    if line.category != NO_VAT:
        _text(tax, "RateApplicablePercent", plain(line.percent))
    period = _group(settlement, "ram:BillingSpecifiedPeriod")
    _day(_group(period, "ram:StartDateTime"), line.first_on)
    _day(_group(period, "ram:EndDateTime"), line.last_on)
    sums = _group(settlement, "ram:SpecifiedTradeSettlementLineMonetarySummation")
    _text(sums, "LineTotalAmount", plain(line.net))


def _group(parent: Any, name: str) -> Any:
    prefix, _, local = name.partition(":")
    return etree.SubElement(parent, f"{{{_SPACES[prefix]}}}{local}")


def _text(parent: Any, name: str, value: str, **attributes: str) -> None:
    if value:
        etree.SubElement(parent, f"{{{_SPACES['ram']}}}{name}", attrib=attributes).text = value


def _day(parent: Any, day: date) -> None:
    found = etree.SubElement(parent, f"{{{_SPACES['udt']}}}DateTimeString", format=_DAY_FORMAT)
    found.text = f"{day:%Y%m%d}"
