"""What stands below a line of a document, on paper and in the e-invoice (BT-127): what was not measured of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from erp.finance.words import Words


def note_of(line: Mapping[str, Any], words: Words) -> str:
    """How many bins nobody reported, and which intervals; "" of a line of which nothing is missing."""
    found = line.get("missing")
    if not found:
        return ""
    if found["bins"]:
        count, of = (words.number(Decimal(found[name])) for name in ("bins", "expected"))
        head = words["missing"].format(bins=count, expected=of)
    else:
        head = words["missing-of-ports"]
    gaps = [_gap(port, since, until, words) for port, since, until in found["gaps"]]
    if found["more"]:
        gaps.append(words["more-missing"].format(count=words.number(Decimal(found["more"]))))
    return f"{head}: {'; '.join(gaps)}"


def _gap(port: str, since: str, until: str, words: Words) -> str:
    """In local time; where clocks are set in between, with the difference to UTC."""
    first, last = datetime.fromisoformat(since), datetime.fromisoformat(until)
    zoned = first.utcoffset() != last.utcoffset()
    begin, end = (f"{words.day(at.date())} {_clock(at, zoned)}" for at in (first, last))
    if first.date() == last.date():
        end = _clock(last, zoned)
    who = f"{words['port'].format(port=port)} " if port else ""
    return f"{who}{begin} – {end}"


def _clock(at: datetime, zoned: bool) -> str:
    return f"{at:%H:%M}{at.isoformat()[-6:] if zoned else ''}"
