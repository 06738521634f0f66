"""Communications taxes as the United States have them: federal, state and city."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from erp.finance.levies import LevyLine, LevyRule
from erp.finance.model import Draft


def rule(code: str, area: str, percent: str = "0", **known: object) -> LevyRule:
    """One of an authority that is called as its area."""
    named = {"name": code.upper(), "authority": area, "since": date(2026, 1, 1)}
    return LevyRule(code=code, area=area, percent=Decimal(percent), **(named | known))  # type: ignore[arg-type]


VOICE = ("voice",)
AUSTIN = [
    rule("sales-city", "US-TX-Austin", "2", upon=("fusf", "txusf")),
    rule("sales-state", "US-TX", "6.25", upon=("fusf", "txusf")),
    rule("txusf", "US-TX", "3.3", kinds=VOICE),
    rule("fusf", "US", "34.4", kinds=VOICE),
    rule("e911", "US-TX", per_line=Decimal("0.50"), kinds=VOICE),
]
"""The shapes of American communications taxes: federal, state and city, on each other, per cent and per line."""


def levy_lines(document: Draft, area: str) -> list[LevyLine]:
    """What is asked of a tax service, or of the rules, about a document."""
    return [LevyLine.of(place, c, area) for place, c in enumerate(document.charges)]
