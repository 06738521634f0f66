"""Amounts side by side, as people would rather look at them: a bar for each, drawn by the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from controller.web import templating

Amount = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Bar:
    """`share` is of the greatest, 0 to 100; `tone` its colour: good, waiting, bad or plain."""

    label: str
    words: str
    share: float
    tone: str


@dataclass(frozen=True, slots=True)
class Bars:
    title: str
    rows: Sequence[Bar]


def bars_of(title: str, amounts: Sequence[tuple[str, Amount, str]]) -> list[Bars]:
    """A picture of amounts of one currency, each with its label and tone; nothing where there is nothing to compare."""
    sizes = [abs(Decimal(amount["amount"])) for _, amount, _ in amounts]
    most = max(sizes, default=Decimal(0))
    if not most:
        return []
    rows = [
        Bar(label, templating.amount(dict(amount)), float(100 * size / most), tone)
        for (label, amount, tone), size in zip(amounts, sizes, strict=True)
    ]
    return [Bars(title, rows)]
