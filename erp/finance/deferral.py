"""What of a document is earned when it is issued, and what later. Pure.

A recurring line earns by the day. What of it lies after the month of issue waits as deferred revenue, a slice for each
later month; the rest is revenue at once. Usage was delivered before it is billed, and one-off charges are for what was
done. Lines of a subscription that was sold under a contract are billed on the contract, whatever their days: when that
is earned, its promises say.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import date

from controller.domain.charge import Charge, ChargeKind
from controller.domain.money import Money
from erp.finance.chart import CONTRACT_ASSETS, DEFERRED, LEVIES, OUTPUT_TAX, RECEIVABLES, Chart
from erp.finance.journal import Posting
from erp.finance.model import REVENUE, Draft
from erp.finance.recognition import Slice, next_month, schedule


@dataclass(frozen=True, slots=True)
class Deferred:
    """`later` are slices by the place of their charge in the document; `billed` minor units by contract."""

    later: tuple[tuple[int, Slice], ...]
    billed: Mapping[str, int]
    at_once: tuple[int, ...]
    """Of each charge, what is revenue at the issue."""


def deferred(charges: Sequence[Charge], issued_on: date, contract_of: Mapping[str, str]) -> Deferred:
    """`contract_of` names the contract of each subscription that was sold under one."""
    return apart(charges, after(charges, issued_on), contract_of)


def after(charges: Sequence[Charge], issued_on: date) -> tuple[tuple[Slice, ...], ...]:
    """Of each charge what its days earn after the month of issue, whether or not it was sold under a contract."""
    since = next_month(issued_on)
    return tuple([tuple([s for s in _slices(c, since) if s.first_on >= since and s.minor]) for c in charges])


def apart(charges: Sequence[Charge], waiting: Sequence[tuple[Slice, ...]], contract_of: Mapping[str, str]) -> Deferred:
    """`deferred`, where what waits of each charge is known."""
    later: list[tuple[int, Slice]] = []
    billed: dict[str, int] = {}
    at_once = []
    for place, (charge, slices) in enumerate(zip(charges, waiting, strict=True)):
        contract_id = contract_of.get(charge.subscription_id) if charge.kind is not ChargeKind.USAGE else None
        if contract_id is not None:
            billed[contract_id] = billed.get(contract_id, 0) + charge.net.minor
            at_once.append(0)
            continue
        later += [(place, s) for s in slices]
        at_once.append(charge.net.minor - sum([s.minor for s in slices]))
    return Deferred(tuple(later), billed, tuple(at_once))


def postings(
    document: Draft, chart: Chart, found: Deferred, positions: MutableMapping[str, int]
) -> tuple[Posting, ...]:
    """Of an invoice or credit note; none when everything in it cancels out. `positions` of contracts are moved on."""
    revenue = dict.fromkeys(REVENUE, 0)
    for charge, minor in zip(document.charges, found.at_once, strict=True):
        revenue[charge.kind] -= minor
    owed, asset = -sum([s.minor for _, s in found.later]), 0
    for contract_id, minor in found.billed.items():
        moved = move(positions.get(contract_id, 0), minor)
        positions[contract_id] = positions.get(contract_id, 0) + minor
        owed, asset = owed + moved[0], asset + moved[1]
    vat = document.vat.minor
    made = (
        (RECEIVABLES, document.total.minor),
        *((role, revenue[kind]) for kind, role in REVENUE.items()),
        (DEFERRED, owed),
        (CONTRACT_ASSETS, asset),
        (OUTPUT_TAX, -vat),
        (LEVIES, vat - document.tax.minor),
    )
    currency = document.net.currency
    return tuple([Posting(chart.code(role), Money(minor, currency)) for role, minor in made if minor])


def move(position: int, by: int) -> tuple[int, int]:
    """What a contract that stood at billed less earned = `position` posts when that moves: (deferred, asset), debits +.

    A contract is a liability while more was billed than earned, and an asset while less (IFRS 15.105).
    """
    after = position + by
    return max(position, 0) - max(after, 0), max(-after, 0) - max(-position, 0)


def _slices(charge: Charge, since: date) -> Sequence[Slice]:
    """None where nothing of it can lie on `since` or later."""
    if charge.kind is not ChargeKind.RECURRING or charge.until_on <= max(charge.first_on, since):
        return ()
    return schedule(charge.net.minor, charge.first_on, charge.until_on)
