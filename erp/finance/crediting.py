"""What a credit of a line takes back of its net, its VAT and its levies. Pure.

A line of a credit is taken back in the same way, and what it gave is left to be credited again. What takes back a
credit is itself undone by a new credit of the first line.

A line is credited in parts. Each takes its share of every component, commercially rounded, and never more than is left;
the part that takes the last of the net takes the last of everything, so that parts are the whole. A part that is named
with the tax in it is split into its components by largest remainder, and is their sum.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from controller.domain.charge import Charge, ChargeKind
from controller.domain.identity import (
    AccountId,
    BillRunId,
    ChargeId,
    InvoiceLineId,
    OfferingVersionId,
    ServiceId,
    SubscriptionId,
)
from controller.domain.money import Money, allocate
from erp.finance.errors import OverCredit
from erp.finance.model import Draft, InvoiceLine, Levy, groups_of


@dataclass(frozen=True, slots=True)
class Creditable:
    """A line, what of it was credited before (negative where the line is positive), and its levies.

    What was credited is what of the credits stands: those that were taken back are not in it, but in `times`. `levies`
    are (levy, what of it was credited before).
    """

    line: InvoiceLine
    net_before: Money
    tax_before: Money
    agreed_before: Money
    times: int
    levies: tuple[tuple[Levy, Money], ...] = ()
    root: str = ""
    """Of a line that takes back a credit, the number of the document whose line was credited; it is credited there."""

    @property
    def left(self) -> Money:
        """What of its net may still be credited."""
        return self.line.net + self.net_before

    @property
    def gross_left(self) -> Money:
        """The same with its taxes."""
        return self.left + self.line.tax + self.tax_before

    @property
    def taxes(self) -> list[tuple[Money, Money]]:
        """Its VAT, then each levy: the whole, and what of it was credited before."""
        nothing = Money.zero(self.line.net.currency)
        levied = sum((levy.tax for levy, _ in self.levies), nothing)
        levied_before = sum((before for _, before in self.levies), nothing)
        levies = [(levy.tax, before) for levy, before in self.levies]
        return [(self.line.tax - levied, self.tax_before - levied_before), *levies]


@dataclass(frozen=True, slots=True)
class Gross:
    """An amount with the taxes of its line in it: net and taxes of the credit come to it exactly."""

    amount: Money


@dataclass(frozen=True, slots=True)
class Taken:
    """One line of a credit note."""

    charge: Charge
    agreed: Money
    vat: Money
    levies: tuple[Levy, ...]
    line_id: InvoiceLineId


def credit_of(found: Creditable, amount: Money | Gross | None, account_id: AccountId, bill_run_id: BillRunId) -> Taken:
    """Of a line an amount without tax, one with all taxes in it to the minor unit, or all that is left.

    Raises OverCredit.
    """
    line, left = found.line, found.left
    if found.root:
        raise OverCredit(
            f"line {line.position} takes back a credit: credit what it charges again on {found.root}, where it stands"
        )
    if isinstance(amount, Gross):
        net, taxes = _of_gross(found, amount.amount)
        return _taken(found, net, taxes, account_id, bill_run_id)
    wanted = left if amount is None else amount
    if not wanted or (wanted.minor > 0) is not (left.minor > 0) or abs(wanted.minor) > abs(left.minor):
        raise OverCredit(f"line {line.position}, {line.item}: {left} are left of {line.net}, not {wanted}")
    return _taken(found, wanted, _shares(found, wanted), account_id, bill_run_id)


def _shares(found: Creditable, net: Money) -> list[Money]:
    """Of each of `found.taxes` what goes with `net`: commercially rounded, never more than is left."""
    if net == found.left:
        return [whole + before for whole, before in found.taxes]
    return [_share(whole, before, Decimal(net.minor) / found.line.net.minor) for whole, before in found.taxes]


def _share(whole: Money, before: Money, part: Decimal) -> Money:
    mine, rest = Money.rounded(whole.amount * part, whole.currency, ROUND_HALF_UP), whole + before
    return mine if abs(mine.minor) <= abs(rest.minor) else rest


def _of_gross(found: Creditable, gross: Money) -> tuple[Money, list[Money]]:
    """The net in `gross`, and of each of `found.taxes` what is in it. Raises OverCredit."""
    line, left, whole = found.line, found.left, found.gross_left
    sign = -1 if left.minor < 0 else 1
    if not left or not 0 < sign * gross.minor <= sign * whole.minor:
        raise OverCredit(f"line {line.position}, {line.item}: {whole} are left of it with its tax, not {gross}")
    rests = [sign * (total + before).minor for total, before in found.taxes]
    net, tax = allocate(sign * gross.minor, [sign * left.minor, sum(rests)])
    if gross != whole and net > 1 and net == sign * left.minor:
        net, tax = net - 1, tax + 1  # who takes the last of the net takes the last of its tax
    if not net:
        net, tax = 1, tax - 1
    taxes = allocate(tax, rests) if tax else [0] * len(rests)
    return Money(sign * net, gross.currency), [Money(sign * minor, gross.currency) for minor in taxes]


def _taken(
    found: Creditable, net: Money, taxes: Sequence[Money], account_id: AccountId, bill_run_id: BillRunId
) -> Taken:
    line = found.line
    agreed = line.agreed + found.agreed_before
    if net != found.left:
        agreed = _share(line.agreed, found.agreed_before, Decimal(net.minor) / line.net.minor)
    levies = tuple(
        Levy(0, levy.code, levy.name, levy.authority, -tax, -net, levy.rate)
        for (levy, _), tax in zip(found.levies, taxes[1:], strict=True)
    )
    return Taken(_charge(found, net, account_id, bill_run_id), -agreed, -taxes[0], levies, line.line_id)


def _described(line: InvoiceLine) -> str:
    if line.credits_line_id is None:
        return f"Credit: {line.description}"
    return f"Credit taken back: {line.description.removeprefix('Credit: ')}"


def document_of(taken: Sequence[Taken]) -> Draft:
    """The credit note. Its taxes are those that the lines had, not computed anew."""
    charges = tuple(t.charge for t in taken)
    currency = charges[0].net.currency
    nothing = Money.zero(currency)
    taxes = tuple(t.vat + sum((levy.tax for levy in t.levies), nothing) for t in taken)
    levies = tuple(
        Levy(place, v.code, v.name, v.authority, v.tax, v.base, v.rate)
        for place, t in enumerate(taken)
        for v in t.levies
    )
    return Draft(
        charges,
        taxes,
        groups_of(charges, [t.vat for t in taken]),
        sum((c.net for c in charges), nothing),
        sum(taxes, nothing),
        tuple(t.agreed for t in taken),
        levies,
    )


def credit_run(invoice_id: str, reference: str) -> BillRunId:
    """The key of a credit note: the same reference for the same document is the same credit note."""
    return BillRunId(hashlib.sha256(f"credit|{invoice_id}|{reference}".encode()).hexdigest()[:32])


def _charge(found: Creditable, net: Money, account_id: AccountId, bill_run_id: BillRunId) -> Charge:
    line = found.line
    whole = net == line.net
    key = hashlib.sha256(f"credit|{line.line_id}|{found.times}".encode()).hexdigest()[:32]
    return Charge(
        charge_id=ChargeId(key),
        bill_run_id=bill_run_id,
        account_id=account_id,
        subscription_id=SubscriptionId(line.subscription_id),
        service_id=ServiceId(line.service_id),
        version_id=OfferingVersionId(line.version_id),
        kind=ChargeKind(line.kind),
        first_on=line.first_on,
        until_on=line.until_on,
        description=_described(line)[:400],
        quantity=-line.quantity if whole else Decimal(-1).copy_sign(Decimal(-net.minor)),
        unit=line.unit if whole else "piece",
        unit_price=line.unit_price if whole else abs(net.amount),
        net=-net,
        tax_percent=line.tax_percent,
        item=line.item,
        adjustment=True,
        exemption=line.exemption,
        tax_included=line.tax_included and whole,
        tax_category=line.tax_category,
        exemption_code=line.exemption_code,
    )
