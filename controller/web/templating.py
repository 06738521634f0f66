"""Templates, and how values are written for people. Everything is escaped; exact values stand beside rounded ones.

Amounts and volumes are written in the locale of the legal entity, which `Site` sets for each visit.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from babel.numbers import format_currency, format_decimal
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from controller.domain.units import human_octets, human_rate

HERE = Path(__file__).parent
STATIC = HERE / "static"
VENDOR_FILES = ("htmx.min.js", "hx-sse.min.js", "uPlot.iife.min.js", "uPlot.min.css")


entity_locale: ContextVar[str] = ContextVar("entity_locale", default="en")
"""A locale that Babel knows, such as "de_DE": how the numbers of this visit are written."""


def missing_assets() -> list[str]:
    """Browser libraries that were not fetched: pages say so, with the command, instead of failing in silence."""
    return [name for name in VENDOR_FILES if not (STATIC / "vendor" / name).is_file()]


def render(template: str, **context: Any) -> str:
    return _environment.get_template(template).render(**context)


def instant(value: datetime | str | None) -> Markup:
    """A <time> element: UTC in the markup, written in the viewer's zone by the page's script."""
    if value is None:
        return _NOTHING
    text = value.isoformat() if isinstance(value, datetime) else value
    readable = text.replace("T", " ").replace("Z", "").replace("+00:00", "")[:19] + " UTC"
    return Markup('<time datetime="{}">{}</time>').format(text, readable)


def octets(value: int | None) -> Markup:
    if value is None:
        return _NOTHING
    return Markup('<span class="number" data-value="{}" title="{} octets">{}</span>').format(
        value, number(value), volume(value)
    )


def rate(value: int | None) -> Markup:
    if value is None:
        return _NOTHING
    return Markup('<span class="number" data-value="{}">{}</span>').format(value, human_rate(value))


def bar(parts: Sequence[tuple[str, float]]) -> Markup:
    """How full something is: the name (also its colour) and share, 0 to 1, of each part, side by side."""
    used = sum(share for _, share in parts)
    rects, x = Markup(""), 0.0
    for name, share in parts:
        rects += Markup('<rect class="{}" x="{:.2f}" width="{:.2f}" height="8"/>').format(name, x, 100 * share)
        x += 100 * share
    words = ", ".join(f"{_percent(share)} {name}" for name, share in parts if share)
    drawn = Markup(
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    )
    return Markup('<span class="share">{}<span class="number">{}</span></span>').format(
        drawn.format(words or "nothing", rects), _percent(used)
    )


def _percent(share: float) -> str:
    """Rounded, but never to all or nothing where it is neither."""
    rounded = round(100 * share)
    if 0 < share < 1 and rounded in (0, 100):
        return "< 1\u00a0%" if rounded == 0 else "> 99\u00a0%"
    return f"{rounded}\u00a0%"


def money(value: dict[str, str] | None) -> Markup:
    if value is None:
        return _NOTHING
    return Markup('<span class="number">{}</span>').format(amount(value))


def amount(value: dict[str, str]) -> str:
    """1.234,50 EUR: for plain text."""
    exact = Decimal(value["amount"])
    return str(format_currency(exact, value["currency"], "#,##0.00\u00a0¤¤", locale=entity_locale.get()))


def number(value: int | Decimal) -> str:
    """A count or an exact figure with its thousands separated."""
    return str(format_decimal(value, locale=entity_locale.get(), decimal_quantization=False))


def volume(value: int) -> str:
    amount, unit = human_octets(value).split(" ")
    return f"{number(Decimal(amount))}\u00a0{unit}"


def plain(value: object) -> Markup:
    """Text as it is; absent is a dash, never an empty cell."""
    return _NOTHING if value is None or value == "" else escape(value)


GOOD = frozenset(
    {
        "up", "ok", "active", "completed", "live", "paid", "connected", "verified", "installed", "done", "true",
        "proved", "agrees", "explained", "gone", "sent",
    }
)  # fmt: skip
BAD = frozenset(
    {
        "down", "held", "failed", "overdue", "unreachable", "refused", "disconnected", "mismatch", "false",
        "givenup", "differs", "suspend", "uncertain",
    }
)  # fmt: skip
WAITING = frozenset(
    {
        "inprogress", "acknowledged", "pending", "reserved", "open", "issued", "unknown", "absent", "suspended",
        "waiting", "released", "throttle", "garden", "sending", "asked", "unsure",
        "closing",
    }
)  # fmt: skip
SIGNS = {"good": "●", "bad": "▲", "waiting": "◐", "neutral": "○"}


def tone(state: object) -> str:
    """Which colour a state has. The state's own word and a sign of its own shape stand beside it."""
    word = str(state).lower().replace("-", "").replace(" ", "")
    return "good" if word in GOOD else "bad" if word in BAD else "waiting" if word in WAITING else "neutral"


def state(value: object) -> Markup:
    if value is None or value == "":
        return _NOTHING
    kind = tone(value)
    return Markup('<span class="state {}"><span class="sign" aria-hidden="true">{}</span>{}</span>').format(
        kind, SIGNS[kind], value
    )


_NOTHING = Markup('<span class="nothing" title="not known">–</span>')

_environment = Environment(
    loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
    lstrip_blocks=True,
)  # fmt: skip
_environment.filters.update(instant=instant, octets=octets, rate=rate, money=money, plain=plain, state=state, tone=tone)
