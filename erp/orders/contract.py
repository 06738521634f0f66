"""Contracts: until when a customer is bound, when that is renewed, and what leaving early costs. Pure.

    begun 10 January, 24 months, then 12 and 12, a month of notice

    |------------ term ------------|--- renewal ---|--- renewal ---|
    10 Jan                        10 Jan          10 Jan

Months are counted from the first day, so 31 January ends on the last day of a shorter month and never drifts. The last
day to give notice is `notice_days` before the end; whoever is later is bound for the next renewal. Without renewal the
contract is open-ended after its term, and ends by its notice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal

from controller.domain.clock import add_months
from controller.domain.money import Money
from controller.domain.price import Contract, Flat, Window
from controller.domain.tariff import TariffVersion


@dataclass(frozen=True, slots=True)
class Bound:
    """As of a day: `ends_on` is the first day the customer is free, `notice_on` the last day to say so.

    `renewals` are those that have begun; `remind_on` is the day to tell the customer. None where there is no end.
    """

    begun_on: date
    renewals: int
    ends_on: date | None
    notice_on: date | None
    remind_on: date | None


@dataclass(frozen=True, slots=True)
class Fee:
    """What leaving on a day costs, net, with the arithmetic."""

    amount: Money
    months_served: int
    months_remaining: int
    steps: tuple[str, ...]


def bound(contract: Contract, begun_on: date, on: date) -> Bound:
    """Where a contract stands on the day `on`."""
    term_end = add_months(begun_on, contract.term_months)
    if on >= term_end and not contract.renewal_months:
        return Bound(begun_on, 0, None, None, None)
    renewals, end = 0, term_end
    while end <= on:
        renewals += 1
        end = add_months(begun_on, contract.term_months + renewals * contract.renewal_months)
    notice_on = end - timedelta(days=contract.notice_days)
    remind_on = end - timedelta(days=contract.remind_days) if contract.remind_days else None
    return Bound(begun_on, renewals, end, notice_on, remind_on)


def early_termination(tariff: TariffVersion, begun_on: date, on: date) -> Fee:
    """What it costs to leave on the day `on` (the first without the service); nothing when no longer bound.

    A month that has begun is served, so it neither remains nor is charged twice. The fees of months to come are those
    that the contract's escalator makes them.
    """
    contract, nothing = tariff.plan.contract, Money.zero(tariff.currency)
    if contract is None or contract.early_termination is None:
        return Fee(nothing, 0, 0, ("leaving costs nothing by this contract",))
    term = contract.term_months
    served = min(term, _months(begun_on, on))
    remaining = term - served
    if not remaining:
        return Fee(nothing, served, 0, (f"the term of {term} months is over on {on}",))
    terms = contract.early_termination
    amount = terms.amount * remaining / term if terms.declining else terms.amount
    months = _fees(tariff, served)
    fees = sum((fee * count for fee, count in months), Decimal(0)) * terms.percent_of_fees / 100
    whole = Money.rounded(amount + fees, tariff.currency, ROUND_HALF_UP)
    share = f" × {remaining} ÷ {term} months" if terms.declining else ""
    return Fee(
        whole,
        served,
        remaining,
        (
            f"{begun_on} to {on}: {served} of {term} months begun, {remaining} remain",
            f"{terms.amount}{share} = {_shown(amount)}",
            f"{terms.percent_of_fees} % of {' + '.join(f'{n} × {fee}' for fee, n in months)} = {_shown(fees)}",
            f"together, rounded half up: {whole}",
        ),
    )


def _fees(tariff: TariffVersion, served: int) -> list[tuple[Decimal, int]]:
    """The monthly fees of the months of the term after the first `served`, and of how many months each is."""
    contract = tariff.plan.contract
    assert contract is not None
    every = contract.escalator.every_months if contract.escalator else contract.term_months
    found: list[tuple[Decimal, int]] = []
    first = served
    while first < contract.term_months:
        until = min(contract.term_months, (first // every + 1) * every)
        found.append((_monthly_fee(tariff, first // every), until - first))
        first = until
    return found


def _monthly_fee(tariff: TariffVersion, steps: int) -> Decimal:
    """After `steps` of the escalator, each rounded to the minor unit, as the bills have them."""
    plan, escalator = tariff.plan, tariff.plan.escalator
    if escalator is None:
        return tariff.monthly_fee
    for _ in range(steps):
        plan = replace(
            plan,
            prices=tuple(
                replace(price, amount=_raised(price.amount, escalator.percent, tariff.currency))
                if isinstance(price, Flat) and price.window == Window()
                else price
                for price in plan.prices
            ),
        )
    return plan.monthly_fee


def _raised(amount: Decimal, percent: Decimal, currency: str) -> Decimal:
    return Money.rounded(amount * (100 + percent) / 100, currency, ROUND_HALF_UP).amount


def _shown(amount: Decimal) -> str:
    return f"{amount.quantize(Decimal('0.000001')).normalize():f}"


def _months(begun_on: date, on: date) -> int:
    """Months of the contract that have begun before the day `on`."""
    if on <= begun_on:
        return 0
    months = (on.year - begun_on.year) * 12 + on.month - begun_on.month
    return months + 1 if add_months(begun_on, months) < on else months
