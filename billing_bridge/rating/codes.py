"""Codes of lines: that of the price, how often its fee was raised, and the share that goes on during a pause.

fee        the fee             fee+2      raised twice
fee~25     paused at 25 %      fee+2~25   both
"""

from __future__ import annotations

from billing_bridge.rating.proration import WHOLE_FEE


def line_code(price_code: str, step: int = 0, percent: int = WHOLE_FEE) -> str:
    """The code of a line of a price."""
    raised = f"+{step}" if step else ""
    return f"{price_code}{raised}" if percent == WHOLE_FEE else f"{price_code}{raised}~{percent}"


def read_code(code: str) -> tuple[str, int, int]:
    """(code of the price, steps, percent) of a line."""
    raised, _, percent = code.partition("~")
    price, _, step = raised.partition("+")
    return price, int(step or 0), int(percent or WHOLE_FEE)


def price_code(code: str) -> str:
    """The price of a line."""
    return read_code(code)[0]
