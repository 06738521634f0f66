"""Amounts and counts side by side, as people would rather look at them: a bar for each, drawn by the server."""

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
    named: bool = False
    """The labels are names, and may be long."""


def bars_of(title: str, amounts: Sequence[tuple[str, Amount, str]], *, named: bool = False) -> list[Bars]:
    """A picture of amounts of one currency, each with its label and tone; nothing where there is nothing to compare."""
    return _drawn(
        title,
        [(label, templating.amount(dict(found)), Decimal(found["amount"]), tone) for label, found, tone in amounts],
        named,
    )


def bars_of_counts(title: str, counts: Sequence[tuple[str, int, str]]) -> list[Bars]:
    """The same of how many there are of each."""
    return _drawn(title, [(label, templating.number(count), Decimal(count), tone) for label, count, tone in counts])


def _drawn(title: str, rows: Sequence[tuple[str, str, Decimal, str]], named: bool = False) -> list[Bars]:
    most = max((abs(size) for _, _, size, _ in rows), default=Decimal(0))
    if not most:
        return []
    drawn = [Bar(label, words, float(100 * abs(size) / most), tone) for label, words, size, tone in rows]
    return [Bars(title, drawn, named)]
