"""Checks by contract: what billing holds of a subscription against what catalogue and orders say was sold. Pure.

contract-price      a copied price is not the catalogue's
contract-plan       billed by another version than the one ordered
contract-quantity   another number of pieces
contract-ended      billed on, though orders say that it has ended
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from billing_bridge.checks.case import By, Case, Finding, Holding, charge_records
from billing_bridge.checks.rules import money
from controller.domain.identity import OfferingVersionId
from controller.domain.money import Money


def by_contract(case: Case) -> Iterator[Finding]:
    """All findings of contracts."""
    for holding in case.holdings:
        lines = [c for c in case.of(holding.subscription_id) if c.version_id]
        for version_id in dict.fromkeys(c.version_id for c in lines):
            yield from _price(case, holding, version_id)
        if lines:
            yield from _sold(case, holding)


def _price(case: Case, holding: Holding, version_id: OfferingVersionId) -> Iterator[Finding]:
    copy, original = case.tariffs.get(version_id), case.catalogue.get(version_id)
    if copy is None or original is None:
        return
    if (copy.plan, copy.currency, copy.tax_percent) == (original.plan, original.currency, original.tax_percent):
        return
    lines = [c for c in case.of(holding.subscription_id) if c.version_id == version_id]
    actual = Money(sum(c.net.minor for c in lines if c.net.currency == case.currency), case.currency)
    right = actual.amount
    if copy.monthly_fee:
        right = actual.amount * original.monthly_fee / copy.monthly_fee
    agreed = money(case, right)
    yield Finding(
        "contract-price",
        By.CONTRACT,
        f"{original.offering_name}, version {original.number}: {original.monthly_fee} {original.currency} a month was"
        f" agreed, billing has {copy.monthly_fee} {copy.currency} or other terms",
        agreed,
        agreed,
        actual,
        Money(max(1, abs(actual.minor - agreed.minor)), case.currency),
        holding.subscription_id,
        holding.service_id,
        charge_records(lines),
    )


def _sold(case: Case, holding: Holding) -> Iterator[Finding]:
    """What billing has from `today` on, against what orders have now."""
    sold = holding.sold
    if sold is None:
        return
    last = {change.on: change for change in holding.changes if change.on <= case.today_of(holding)}
    now = last[max(last)] if last else None
    billed = now.version_id if now else None
    if billed == sold.version_id and (billed is None or now is None or now.quantity == sold.quantity):
        return
    if billed is None:
        return  # what is sold and not billed stands on the list of what is live and not billed
    check = "contract-quantity" if billed == sold.version_id else "contract-plan"
    if sold.version_id is None:
        check = "contract-ended"
    fee, agreed = _fee(case, billed), _fee(case, sold.version_id)
    pieces = now.quantity if now else 1
    actual, right = fee * pieces, agreed * sold.quantity
    yield Finding(
        check,
        By.CONTRACT,
        f"orders say {_named(case, sold.version_id)} × {sold.quantity}, billing has {_named(case, billed)} × {pieces}",
        money(case, right),
        money(case, right),
        money(case, actual),
        money(case, max(abs(actual - right), Decimal("0.01"))),
        holding.subscription_id,
        holding.service_id,
        charge_records(case.of(holding.subscription_id)),
    )


def _fee(case: Case, version_id: OfferingVersionId | None) -> Decimal:
    tariff = case.price(version_id) if version_id else None
    return tariff.monthly_fee if tariff else Decimal(0)


def _named(case: Case, version_id: OfferingVersionId | None) -> str:
    tariff = case.price(version_id) if version_id else None
    if tariff is None:
        return version_id or "nothing"
    return f"{tariff.offering_name} (version {tariff.number})"
