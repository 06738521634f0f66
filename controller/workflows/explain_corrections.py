"""Explains lines that no rating made: what a credit note takes back, and what a person or an event charged or gave.

    credit        the line that it takes back, explained down to its records, and what of it was taken back so far
    adjustment    who decided it, when and why; its amount and its tax computed again

Both stand on a document that is compared with what was issued, as every other line is.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from controller.domain.money import Money
from erp.finance.errors import DocumentAltered
from erp.finance.model import Invoice, InvoiceLine
from erp.finance.service import FinanceService

_HUNDRED = Decimal(100)


def printed_faults(line: InvoiceLine, invoice: Invoice, content: dict[str, Any]) -> list[str]:
    """Whether the document prints the amounts of the line."""
    printed = content["lines"][line.position - 1]
    shown = (printed["net_minor"], printed["tax_minor"], printed["tax_percent"])
    if shown != (line.net.minor, line.tax.minor, str(line.tax_percent)):
        return [f"line {line.line_id}: the document {invoice.number} prints another amount"]
    return []


async def of_credit(
    finance: FinanceService, invoice: Invoice, line: InvoiceLine, of: InvoiceLine, on: Invoice
) -> tuple[list[str], list[str]]:
    """(steps, faults) of a line that takes back `of`, which stands `on` another document."""
    reason, faults = await _document(finance, invoice, line)
    (found,) = [c for c in await finance.corrections.creditable(on.invoice_id) if c.line.line_id == of.line_id]
    steps = [
        f"takes back {-line.net} net and {-line.tax} tax of line {of.position} of {on.number}, "
        f"which says {of.net} net and {of.tax} tax",
        await _decided(finance, invoice, reason),
        f"of that line {-found.net_before} are taken back in all, in {found.times} documents; {found.left} are left",
    ]
    same = ("subscription_id", "service_id", "version_id", "tax_percent", "tax_category")
    faults += [
        f"line {line.line_id}: its {name} is not that of the line which it takes back"
        for name in same
        if getattr(line, name) != getattr(of, name)
    ]
    if found.left.minor and (found.left.minor > 0) is not (of.net.minor > 0):
        faults.append(f"line {of.line_id}: more was taken back than it says, by {found.left}")
    return steps, faults


async def of_adjustment(finance: FinanceService, invoice: Invoice, line: InvoiceLine) -> tuple[list[str], list[str]]:
    """(steps, faults) of a line that belongs to no offering."""
    reason, faults = await _document(finance, invoice, line)
    currency = line.net.currency
    agreed = Money.rounded(line.quantity * line.unit_price, currency, ROUND_HALF_UP)
    steps = [
        await _decided(finance, invoice, reason),
        f"{line.quantity} {line.unit} × {line.unit_price} {currency} = {agreed}",
    ]
    if agreed != line.agreed:
        faults.append(f"line {line.line_id}: comes to {agreed}, says {line.agreed}")
    (found,) = [c for c in await finance.corrections.creditable(invoice.invoice_id) if c.line.line_id == line.line_id]
    levied = sum((levy.tax for levy, _ in found.levies), Money.zero(currency))
    if line.tax_included:
        steps.append(f"{line.tax_percent} % of tax are in it: {line.net} net and {line.tax - levied}")
    else:
        steps.append(f"{line.tax_percent} % of tax on {line.net}: {line.tax - levied}")
    steps += [
        f"{levy.name} of {levy.authority}, {levy.rate or 'as told'} of {levy.base}: {levy.tax}"
        for levy, _ in found.levies
    ]
    vat = _vat(agreed, line)
    if vat is not None and vat != line.tax - levied:
        faults.append(f"line {line.line_id}: its tax comes to {vat}, says {line.tax - levied}")
    return steps, faults


def _vat(agreed: Money, line: InvoiceLine) -> Money | None:
    """The tax of a line that stands alone; None where a certificate spares it, which has terms of its own."""
    if line.exemption and line.tax_included:
        return None
    of = _HUNDRED + line.tax_percent if line.tax_included else _HUNDRED
    return Money.rounded(agreed.amount * line.tax_percent / of, agreed.currency, ROUND_HALF_UP)


async def _document(finance: FinanceService, invoice: Invoice, line: InvoiceLine) -> tuple[str, list[str]]:
    """(the reason that the document gives, what does not hold of it)."""
    try:
        content = await finance.content(invoice.invoice_id)
    except DocumentAltered as error:
        return "", [str(error)]
    return str(content.get("reason") or ""), printed_faults(line, invoice, content)


async def _decided(finance: FinanceService, invoice: Invoice, reason: str) -> str:
    by = await finance.issued_by(invoice.invoice_id)
    who = f"{by[0]} at {by[1].isoformat()}" if by else "somebody of whom the audit log does not know"
    return f"decided by {who}, because: {reason or 'the document does not say why'}"
