"""Calls paid in advance, by the function that rates them afterwards. Pure.

A call may go on for as many seconds as are affordable beside the calls that were made and those that go on; what is
debited of a period is always the rounded cost of all its calls together. So 65 s at 60/6 cost here what they cost on a
bill: 66 s.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

from billing_bridge.rating.calls import rate_calls
from billing_bridge.rating.line import Call
from controller.domain.money import Money, exponent
from controller.domain.price import Calls


def cost_of(price: Calls, calls: Iterable[Call], currency: str, rounding: str) -> int:
    """Minor units that the calls of a period come to: what a postpaid bill would say."""
    return Money.rounded(rate_calls(price, calls, price.included_s).exact, currency, rounding).minor


def _exact(price: Calls, calls: Iterable[Call], currency: str) -> Decimal:
    return rate_calls(price, calls, price.included_s).exact.scaleb(exponent(currency))


def affordable_s(
    price: Calls, beside: Iterable[Call], call: Call, wanted_s: int, most_minor: int, currency: str, rounding: str
) -> int:
    """The most seconds up to `wanted_s` for which `call` and all `beside` it cost no more than `most_minor`.

    What rounds to nothing is not free; where nothing is left, only a call that costs nothing at all can be made.
    """
    others = list(beside)
    so_far = _exact(price, others, currency)
    is_empty = cost_of(price, others, currency, rounding) >= most_minor

    def fits(seconds: int) -> bool:
        exact = _exact(price, [*others, replace(call, duration_s=seconds)], currency)
        return exact == so_far if is_empty else exact <= most_minor

    low, high = 0, wanted_s if fits(0) else 0
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low
