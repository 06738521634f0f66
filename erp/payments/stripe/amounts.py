"""Sums as Stripe writes them: integers, mostly of the minor unit that ISO 4217 has. Pure.

Where they are not, by its page "Supported currencies": the króna and the Ugandan shilling have no minor unit any more
and are still written with two decimals (500 is 5 ISK); the ariary, whose fifth nobody charges, is with none.
"""

from __future__ import annotations

from typing import Any

from controller.domain.money import Money, exponent
from erp.payments.errors import GatewayDeclined

_DECIMALS = {"ISK": 2, "UGX": 2, "MGA": 0}


def read(amount: Any, currency: Any) -> Money:
    """Positive or negative. Raises ValueError or TypeError for what is no amount."""
    if isinstance(amount, bool) or not isinstance(amount, int) or abs(amount) >= 10**15:
        raise ValueError(f"an amount is an integer of minor units, not {amount!r}")
    if not isinstance(currency, str) or len(currency) != 3:
        raise TypeError("a currency is a code of three letters")
    code = currency.upper()
    shift = _shift(code)
    if shift >= 0:
        return Money(amount * 10**shift, code)
    whole, rest = divmod(amount, 10**-shift)
    if rest:
        raise ValueError(f"{amount} {code} has decimals that the currency has not")
    return Money(whole, code)


def written(money: Money) -> str:
    """As it is asked for. Raises GatewayDeclined for what cannot be written."""
    shift = _shift(money.currency)
    if shift <= 0:
        return str(money.minor * 10**-shift)
    whole, rest = divmod(money.minor, 10**shift)
    if rest:
        raise GatewayDeclined(f"the gateway takes no fraction of {money.currency}", code="amount")
    return str(whole)


def _shift(currency: str) -> int:
    """By how many decimals the minor unit of ISO 4217 is finer than theirs."""
    own = exponent(currency)
    return own - _DECIMALS.get(currency, own)
