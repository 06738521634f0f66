"""The payment request of an invoice: the code that banking programs scan (EPC069-12), with its reference. Pure."""

from __future__ import annotations

from reportlab.graphics import renderSVG
from reportlab.graphics.barcode.qr import QrCodeWidget
from reportlab.graphics.shapes import Drawing

from controller.domain.errors import RuleError
from controller.domain.money import Money
from erp.payments.bank.matching import creditor_reference
from erp.payments.sepa.files import Party, sepa_text

_SIDE = 180


def payload(creditor: Party, amount: Money, number: str) -> str:
    """What the code says: version 002, UTF-8, a credit transfer. Raises RuleError for what it cannot ask for."""
    if amount.currency != "EUR" or not 0 < amount.minor <= 99_999_999_999:
        raise RuleError("the code asks for 0.01 to 999,999,999.99 EUR", code="payment-request")
    reference = creditor_reference(number)
    lines = [
        "BCD", "002", "1", "SCT", creditor.bic, sepa_text(creditor.name)[:70], creditor.iban, f"EUR{amount.amount}", "",
        reference, "" if reference else number[:140],
    ]  # fmt: skip
    return "\n".join(lines).rstrip("\n")


def drawn(text: str) -> str:
    """The code as SVG, at error correction level M as the guideline has it."""
    code = QrCodeWidget(text, barLevel="M", barWidth=_SIDE, barHeight=_SIDE, barBorder=4)
    drawing = Drawing(_SIDE, _SIDE)
    drawing.add(code)
    found: str = renderSVG.drawToString(drawing)
    return found
