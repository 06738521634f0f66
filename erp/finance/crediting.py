"""What a credit of a line takes back of its net, its VAT and its levies. Pure.

A line is credited in parts. Each takes its share of every component, commercially rounded, and never more than is left;
the part that takes the last of the net takes the last of everything, so that parts are the whole.
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
from controller.domain.money import Money
from erp.finance.errors import OverCredit
from erp.finance.model import Draft, InvoiceLine, Levy, groups_of


@dataclass(frozen=True, slots=True)
class Creditable:
    """A line, what of it was credited before (negative where the line is positive), and its levies.

    `levies` are (levy, what of it was credited before).
    """

    line: InvoiceLine
    net_before: Money
    tax_before: Money
    agreed_before: Money
    times: int
    levies: tuple[tuple[Levy, Money], ...] = ()

    @property
    def left(self) -> Money:
        """What of its net may still be credited."""
        return self.line.net + self.net_before


@dataclass(frozen=True, slots=True)
class Taken:
    """One line of a credit note."""

    charge: Charge
    agreed: Money
    vat: Money
    levies: tuple[Levy, ...]
    line_id: InvoiceLineId


def credit_of(found: Creditable, net: Money | None, account_id: AccountId, bill_run_id: BillRunId) -> Taken:
    """Of a line `net` (without tax), or all that is left. Raises OverCredit."""
    line, left = found.line, found.left
    wanted = left if net is None else net
    if line.credits_line_id is not None:
        raise OverCredit(f"line {line.position} is a credit itself: what it took back is charged anew by an adjustment")
    if not wanted or (wanted.minor > 0) is not (left.minor > 0) or abs(wanted.minor) > abs(left.minor):
        raise OverCredit(f"line {line.position}, {line.item}: {left} are left of {line.net}, not {wanted}")
    part = Decimal(wanted.minor) / line.net.minor
    last = wanted == left

    def share(whole: Money, before: Money) -> Money:
        rest = whole + before
        if last:
            return -rest
        mine = Money.rounded(whole.amount * part, whole.currency, ROUND_HALF_UP)
        return -(mine if abs(mine.minor) <= abs(rest.minor) else rest)

    levies = tuple(
        Levy(0, levy.code, levy.name, levy.authority, share(levy.tax, before), -wanted, levy.rate)
        for levy, before in found.levies
    )
    whole_levy = sum((levy.tax for levy, _ in found.levies), Money.zero(wanted.currency))
    levied_before = sum((before for _, before in found.levies), Money.zero(wanted.currency))
    vat = share(line.tax - whole_levy, found.tax_before - levied_before)
    agreed = share(line.agreed, found.agreed_before)
    return Taken(_charge(found, wanted, account_id, bill_run_id), agreed, vat, levies, line.line_id)


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
        description=f"Credit: {line.description}"[:400],
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
