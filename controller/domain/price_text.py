"""A price plan as JSON, for tables and events, and as a sentence, for people.

Reading refuses what it does not know: a field that an older program would drop silently is a price that it gets wrong.
"""

from __future__ import annotations

import json
import types
from dataclasses import MISSING, fields, is_dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import cache
from typing import Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from controller.domain.errors import RuleError
from controller.domain.price import (
    PRICES,
    Band,
    Calls,
    Contract,
    Cycle,
    Discount,
    Flat,
    Free,
    Graduated,
    Metered,
    OneOff,
    Overage,
    Package,
    Percentile,
    Price,
    PricePlan,
    Volume,
    Window,
)
from controller.domain.units import OCTET_UNITS, human_octets, human_rate, octets_in

_PLACES, _DIGITS = 12, 15

_BY_MODEL: dict[str, type] = {kind.__dataclass_fields__["model"].default: kind for kind in PRICES}  # type: ignore[misc]


class BadPrice(RuleError):
    """A price that cannot be read. The message names the place."""

    code = "bad-price"


def plan_to_json(plan: PricePlan) -> str:
    """Canonical: the same plan is the same text. What is as by default is left out."""
    return json.dumps(to_data(plan), sort_keys=True, separators=(",", ":"))


def plan_from_json(text: str) -> PricePlan:
    """Raises BadPrice."""
    try:
        data = json.loads(text, parse_float=_no_float)
    except ValueError as error:
        raise BadPrice(f"no JSON: {error}") from error
    return plan_from_data(data)


def plan_from_data(data: object) -> PricePlan:
    """A plan from what JSON makes of it. Raises BadPrice."""
    found = _read(PricePlan, data, "plan")
    assert isinstance(found, PricePlan)
    return found


def to_data(value: object) -> Any:
    """A value of controller.domain.price as JSON has it; amounts as text."""
    if is_dataclass(value) and not isinstance(value, type):
        said = {}
        for f in fields(value):
            inner = getattr(value, f.name)
            if f.name == "model" or f.default is MISSING or inner != f.default:
                said[f.name] = to_data(inner)
        return said
    if isinstance(value, tuple):
        return [to_data(item) for item in value]
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value.isoformat() if isinstance(value, date) else value


def _no_float(text: str) -> float:
    raise ValueError(f"the number {text} must be text: a fraction does not survive JSON numbers")


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _read(wanted: Any, value: object, place: str) -> object:
    origin = get_origin(wanted)
    if origin in (Union, types.UnionType):
        return _read_union(wanted, value, place)
    if origin is tuple:
        items: Any = value if isinstance(value, (list, tuple)) else _refuse(place, "a list")
        return tuple(_read(get_args(wanted)[0], item, f"{place}[{n}]") for n, item in enumerate(items))
    if origin is Literal:
        return value if value in get_args(wanted) else _refuse(place, f"one of {', '.join(get_args(wanted))}")
    if is_dataclass(wanted):
        return _read_dataclass(wanted, value, place)  # type: ignore[arg-type]
    return _read_plain(wanted, value, place)


def _read_union(wanted: Any, value: object, place: str) -> object:
    kinds = get_args(wanted)
    if type(None) in kinds:
        return None if value is None else _read(next(k for k in kinds if k is not type(None)), value, place)
    model = value.get("model") if isinstance(value, dict) else None
    kind = _BY_MODEL.get(model) if isinstance(model, str) else None
    return _read(kind, value, place) if kind else _refuse(f"{place}.model", f"one of {', '.join(_BY_MODEL)}")


def _read_dataclass(wanted: type, value: object, place: str) -> object:
    if not isinstance(value, dict):
        return _refuse(place, "an object")
    known = {f.name: f for f in fields(wanted)}
    for name in value:
        if name not in known:
            raise BadPrice(f"{place} has no field {name!r}; it has {', '.join(known)}")
    for name, f in known.items():
        if f.default is MISSING and name not in value:
            raise BadPrice(f"{place}.{name} is missing")
    hints = _hints(wanted)
    return wanted(**{name: _read(hints[name], item, f"{place}.{name}") for name, item in value.items()})


def _read_plain(wanted: Any, value: object, place: str) -> object:
    if wanted is Decimal:
        return _decimal(value, place)
    if wanted is date:
        try:
            return date.fromisoformat(value) if isinstance(value, str) else _refuse(place, "a day, such as 2026-11-30")
        except ValueError:
            _refuse(place, "a day, such as 2026-11-30")
    if isinstance(wanted, type) and issubclass(wanted, StrEnum):
        return wanted(str(value)) if value in list(wanted) else _refuse(place, f"one of {', '.join(wanted)}")
    right = isinstance(value, wanted) and not (wanted is int and isinstance(value, bool))
    return value if right else _refuse(place, {int: "a whole number", str: "a text", bool: "true or false"}[wanted])


def _decimal(value: object, place: str) -> Decimal:
    """Plain digits only: 1e999999 is a number too, and a megabyte when written out."""
    try:
        found = Decimal(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else None
    except InvalidOperation:
        found = None
    if found is None or not found.is_finite() or not -_PLACES <= int(found.as_tuple().exponent) <= 0:
        _refuse(place, 'an amount as text, such as "9.90"')
    if found.adjusted() > _DIGITS:
        _refuse(place, f"an amount of at most {_DIGITS} digits")
    return found


def _refuse(place: str, wanted: str) -> NoReturn:
    raise BadPrice(f"{place} must be {wanted}")


def in_words(price: Price, currency: str, cycle: Cycle = "month") -> str:
    """One price of a plan of that cycle for people, in English: "0.05 EUR per GB beyond 100 GB"."""
    said = _words(price, currency, cycle)
    return f"{price.label}: {said}" if price.label else said


def _words(price: Price, currency: str, cycle: Cycle) -> str:
    match price:
        case Flat():
            how = (" each" if price.each else "") + (" in arrears" if price.arrears else "")
            return f"{price.amount:f} {currency} a {cycle}{how}{_window(price.window)}"
        case Discount():
            of = f" {', '.join(price.of)}" if price.of else ""
            return f"{price.percent:f} % off{of}{_window(price.window)}"
        case OneOff():
            return f"{price.amount:f} {currency} once{' each' if price.each else ''}"
        case Percentile():
            above = f" above {human_rate(price.commit_bps)}" if price.commit_bps else ""
            return f"{price.price:f} {currency} a {cycle} per Mbit/s of the {price.percent}th percentile{above}"
        case Calls():
            free = f", {price.included_s // 60} minutes included" if price.included_s else ""
            return f"calls to {len(price.destinations)} destinations{free}"
    return _metered(price, currency) + (f" ({'; '.join(map(band_words, price.bands))})" if price.bands else "")


def _metered(price: Metered, currency: str) -> str:
    match price:
        case Overage():
            beyond = f" beyond {_volume(price.included)}" if price.included else ""
            return f"{price.price:f} {currency} per {price.unit}{beyond}"
        case Package():
            beyond = f" beyond {_volume(price.included)}" if price.included else ""
            return f"{price.price:f} {currency} per started {_volume(price.size)}{beyond}"
        case Graduated() | Volume():
            steps = [
                f"{'over all' if t.up_to is None else f'up to {_volume(t.up_to)}'} {t.price:f}"
                + (f" and {t.flat:f} once" if t.flat else "")
                for t in price.tiers
            ]
            return f"{price.model} tiers in {currency} per {price.unit}: {', '.join(steps)}"
        case Free():
            return "not charged and not counted"


def usage_words(plan: PricePlan, currency: str) -> str:
    """What the usage of a plan costs, for people; "flat rate" where it costs nothing."""
    usage = [p for p in plan.prices if not isinstance(p, Flat | Discount | OneOff)]
    return "; ".join(in_words(p, currency) for p in usage) or "flat rate"


def contract_words(contract: Contract) -> str:
    renewed = f"renewed by {contract.renewal_months} months" if contract.renewal_months else "then open-ended"
    rise = ""
    if contract.escalator:
        rise = f", +{contract.escalator.percent:f} % every {contract.escalator.every_months} months"
    return f"{contract.term_months} months, {renewed}, {contract.notice_days} days of notice{rise}"


def band_words(band: Band) -> str:
    return f"{','.join(band.days)} {_clock(band.from_minute)}–{_clock(band.until_minute)}"


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


def _window(window: Window) -> str:
    said = f" from month {window.from_month + 1} on" if window.from_month else ""
    said += f" for {window.months} months" if window.months is not None else ""
    return said + (f" until {window.until_on}" if window.until_on else "")


def _volume(octets: int) -> str:
    """Exact where a unit fits, else rounded for people."""
    for unit in ("TB", "GB", "MB", "GiB", "MiB"):
        if octets and octets % OCTET_UNITS[unit] == 0:
            return f"{octets_in(octets, unit):f} {unit}"
    return human_octets(octets)
