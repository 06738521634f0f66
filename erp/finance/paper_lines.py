"""The table of lines on a paper, over any number of pages: each page ends with the sum so far, the next begins with it.

Row heights are measured once, so that five hundred lines take a fraction of a second and not the square of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from reportlab.platypus import Flowable, Table

from erp.finance.paper import ACCENT, OWN_FONT, RULE, SHADE, WIDTH

COLUMNS = tuple(share * WIDTH for share in (0.05, 0.44, 0.15, 0.15, 0.08, 0.13))
_PADDING = 3.5
_LINE, HEADING, SUBTOTAL, CARRIED = "line", "heading", "subtotal", "carried"


@dataclass(frozen=True, slots=True)
class Row:
    """Cells of a row, and what it adds to the running sum, in minor units."""

    cells: Sequence[Any]
    minor: int = 0
    kind: str = _LINE


class LineTable(Flowable):  # type: ignore[misc]
    """`carried` makes the row at the foot of a page, or (True) at the head of the next, from the sum so far."""

    def __init__(
        self, head: Row, rows: Sequence[Row], carried: Callable[[int, bool], Row], *, brought: int | None = None
    ) -> None:
        super().__init__()
        self._head, self._rows, self._carried, self._brought = head, rows, carried, brought
        first = [head] if brought is None else [head, carried(brought, True)]
        self._first = [(row, _height(row)) for row in first]
        self._heights = [_height(row) for row in rows]
        self._table: Table | None = None

    @classmethod
    def _rest(cls, of: LineTable, rows: Sequence[Row], heights: Sequence[float], brought: int) -> LineTable:
        made = cls(of._head, (), of._carried, brought=brought)
        made._rows, made._heights = rows, list(heights)
        return made

    def wrap(self, width: float, height: float) -> tuple[float, float]:
        self.width = width
        self.height = sum(h for _, h in self._first) + sum(self._heights)
        return width, self.height

    def split(self, width: float, height: float) -> list[Flowable]:
        foot = _height(self._carried(0, False))
        room = height - foot - sum(h for _, h in self._first)
        count = 0
        for own in self._heights:
            if own > room:
                break
            room -= own
            count += 1
        while count and self._rows[count - 1].kind == HEADING:
            count -= 1  # a heading stays with what it heads
        if not count:
            return []
        so_far = (self._brought or 0) + sum(row.minor for row in self._rows[:count])
        here = [*self._rows[:count], self._carried(so_far, False)]
        page = LineTable._rest(self, here, [*self._heights[:count], foot], self._brought or 0)
        page._first = self._first
        return [page, LineTable._rest(self, self._rows[count:], self._heights[count:], so_far)]

    def draw(self) -> None:
        rows = [row for row, _ in self._first] + list(self._rows)
        heights = [h for _, h in self._first] + self._heights
        table = Table([list(row.cells) for row in rows], colWidths=COLUMNS, rowHeights=heights, style=_style(rows))
        table.wrapOn(self.canv, self.width, self.height)
        table.drawOn(self.canv, 0, 0)


def _height(row: Row) -> float:
    """Of the tallest cell. A heading runs over the whole width."""
    if row.kind == HEADING:
        return _cell(row.cells[0], WIDTH) + 2 * _PADDING
    return max(_cell(cell, width) for cell, width in zip(row.cells, COLUMNS, strict=True)) + 2 * _PADDING


def _cell(cell: Any, width: float) -> float:
    if isinstance(cell, (list, tuple)):
        return sum(_cell(one, width) for one in cell)
    return float(cell.wrap(width - 2, 10_000)[1]) if isinstance(cell, Flowable) else 0.0


def _style(rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    style: list[tuple[Any, ...]] = [
        OWN_FONT,
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 2),
        ("TOPPADDING", (0, 0), (-1, -1), _PADDING),
        ("BOTTOMPADDING", (0, 0), (-1, -1), _PADDING),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LINEBELOW", (0, 0), (-1, 0), 0.8, ACCENT),
    ]
    for n, row in enumerate(rows[1:], 1):
        style.append(("LINEBELOW", (0, n), (-1, n), 0.3, RULE))
        if row.kind == HEADING:
            style += [
                ("SPAN", (0, n), (-1, n)),
                ("BACKGROUND", (0, n), (-1, n), SHADE),
                ("LEFTPADDING", (0, n), (0, n), 3),
            ]
        elif row.kind in (SUBTOTAL, CARRIED):
            style.append(("SPAN", (1, n), (4, n)))
    return style
