"""One measured value beside its peer's and its goal: a line of the table and an item of bench/out/latest.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

OUT = Path(__file__).parent / "out"


@dataclass(frozen=True, slots=True)
class Result:
    """`ratio` is value / peer_value. `met` is None where there is no goal or nothing to compare with."""

    name: str
    value: float
    unit: str
    scale: str
    peer: str | None = None
    peer_value: float | None = None
    ratio: float | None = None
    goal: str | None = None
    met: bool | None = None


def compared(
    name: str,
    value: float,
    unit: str,
    scale: str,
    *,
    peer: str,
    peer_value: float | None,
    goal: str,
    meets: Callable[[float], bool],
) -> Result:
    """A value whose goal is a ratio to a peer; without the peer the goal stays open."""
    if peer_value is None:
        return Result(name, value, unit, scale, f"{peer} (not installed)", None, None, goal, None)
    ratio = value / peer_value
    return Result(name, value, unit, scale, peer, peer_value, round(ratio, 4), goal, meets(ratio))


def table(results: Sequence[Result]) -> str:
    """Aligned columns for a terminal."""
    rows = [("measured", "value", "unit", "peer", "peer value", "ratio", "goal", "met")]
    for item in results:
        met = "" if item.met is None else ("yes" if item.met else "NO")
        rows.append(
            (
                f"{item.name} ({item.scale})",
                _number(item.value),
                item.unit,
                item.peer or "",
                _number(item.peer_value),
                _number(item.ratio),
                item.goal or "",
                met,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def write(results: Sequence[Result]) -> Path:
    OUT.mkdir(exist_ok=True)
    path = OUT / "latest.json"
    path.write_text(json.dumps([asdict(item) for item in results], indent=1, ensure_ascii=False) + "\n")
    return path


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"
