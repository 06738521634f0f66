"""What a bundle comes to over the term of its contract, and what it promises for that. Pure.

The price is what the plan will charge in the months of the term: flat prices in the windows in which they hold, raised
by the escalator, less discounts, and what is due once. Usage is no part of it: it is earned as it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

from controller.domain.clock import add_months
from controller.domain.money import Money
from controller.domain.price import Discount, Flat, OneOff, Part, PricePlan, ProductKind, Window
from controller.domain.tariff import TariffVersion
from erp.finance.recognition import Promise

_AT_ONCE = {ProductKind.ONE_OFF: "revenue-equipment", ProductKind.INSTALLATION: "revenue-one-off"}


def term_price(tariff: TariffVersion, quantity: int) -> Money:
    """Net, for the whole term. Raises ValueError without a contract."""
    plan, contract = tariff.plan, tariff.plan.contract
    if contract is None:
        raise ValueError(f"{tariff.offering_name} binds nobody")
    once = sum((p.amount * (quantity if p.each else 1) for p in plan.prices if isinstance(p, OneOff)), Decimal(0))
    months = sum((_month(plan, month, quantity, tariff.currency) for month in range(contract.term_months)), Decimal(0))
    whole = once + months
    if plan.tax_included:
        whole = whole * 100 / (100 + tariff.tax_percent)
    return Money.rounded(whole, tariff.currency, ROUND_HALF_UP)


def promises_of(
    tariff: TariffVersion, parts: Sequence[tuple[Part, TariffVersion]], begun_on: date, quantity: int
) -> tuple[Promise, ...]:
    """Goods and installation are delivered on the first day, services over the term at their price a month."""
    contract = tariff.plan.contract
    assert contract is not None, "a bundle without a contract promises nothing for a term"
    found = []
    for part, sold in parts:
        role = _AT_ONCE.get(sold.kind)
        months = 1 if role else contract.term_months
        stand_alone = Money.rounded(part.stand_alone * months * quantity, tariff.currency, ROUND_HALF_UP)
        until_on = None if role else add_months(begun_on, contract.term_months)
        found.append(Promise(sold.offering_name, role or "revenue-recurring", stand_alone.minor, begun_on, until_on))
    return tuple(found)


def _month(plan: PricePlan, month: int, quantity: int, currency: str) -> Decimal:
    fees = {
        p.code: _raised(plan, p, month, currency) * (quantity if p.each else 1)
        for p in plan.prices
        if isinstance(p, Flat) and _holds(p.window, month)
    }
    off = sum(
        (
            fee * p.percent / 100
            for p in plan.prices
            if isinstance(p, Discount) and _holds(p.window, month)
            for code, fee in fees.items()
            if not p.of or code in p.of
        ),
        Decimal(0),
    )
    return sum(fees.values(), Decimal(0)) - off


def _holds(window: Window, month: int) -> bool:
    """By months alone: a day on which a promotion ends for everybody is not known here."""
    return window.from_month <= month and (window.months is None or month < window.from_month + window.months)


def _raised(plan: PricePlan, price: Flat, month: int, currency: str) -> Decimal:
    escalator, amount = plan.escalator, price.amount
    for _ in range(month // escalator.every_months if escalator else 0):
        assert escalator is not None
        amount = Money.rounded(amount * (100 + escalator.percent) / 100, currency, ROUND_HALF_UP).amount
    return amount
