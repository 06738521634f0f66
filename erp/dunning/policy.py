"""Ladders as data: what may stand in one, how it is written down, and the one that holds where none was written. Pure.

    {"minimum": "5.00", "country": "DE", "subdivision": "BE", "bill_suspended": false, "grace_days": 2,
     "throttle": {"downstream_kbps": 1000, "upstream_kbps": 256}, "rejected_days": 7,
     "steps": [{"name": "reminder", "days": 3, "notice": "reminder"},
               {"name": "suspension", "days": 30, "gap_days": 7, "measure": "suspend", "notice": "suspension",
                "minimum": "20.00", "fee": "5.00", "services": {"voice": "none"}}]}

`measure` is what a step takes of internet lines; where it is suspend, of all other services too. `services` says it for
kinds of product one by one, and what it says of a kind holds on the steps that follow until another one says otherwise.

A version is never changed: another one takes its place from a day on, for what becomes due from then on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from itertools import pairwise
from typing import Any

from controller.domain.money import Money
from controller.domain.price import ProductKind
from controller.domain.restriction import Measure, measures_of
from controller.domain.service import SpeedProfile
from controller.domain.units import KBPS
from erp.dunning.errors import PolicyRefused
from erp.dunning.model import COLLECTIONS, TERMINATION, Policy, Step

NOTICES = ("reminder", "warning", "throttle", "garden", "suspension", "termination", "collections")
"""The texts there are (see words)."""
DEFAULT_SEGMENT = "standard"
THROTTLE_PROFILE = "arrears"
"""What devices and Class call the speed of a throttled account."""
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}\Z")
MAX_STEPS = 20
_MAX_DAYS = 3_650

DEFAULT: Mapping[str, Any] = {
    "minimum": "5.00",
    "throttle": {"downstream_kbps": 1_000, "upstream_kbps": 500},
    "bill_suspended": True,
    "grace_days": 2,
    "rejected_days": 7,
    "steps": [
        {"name": "reminder", "days": 3, "notice": "reminder"},
        {"name": "warning", "days": 10, "gap_days": 5, "notice": "warning", "fee": "5.00"},
        {"name": "throttle", "days": 17, "gap_days": 5, "measure": "throttle", "notice": "throttle"},
        {"name": "garden", "days": 24, "gap_days": 5, "measure": "garden", "notice": "garden", "minimum": "20.00"},
        {
            "name": "suspension", "days": 38, "gap_days": 10, "measure": "suspend", "notice": "suspension",
            "minimum": "20.00", "services": {"voice": "none", "bundle": "none"},
        },
        {
            "name": "termination", "days": 60, "gap_days": 14, "measure": "suspend", "notice": "termination",
            "minimum": "50.00", "proposes": "termination", "services": {"voice": "suspend", "bundle": "suspend"},
        },
        {
            "name": "collections", "days": 90, "gap_days": 14, "measure": "suspend", "notice": "collections",
            "minimum": "50.00", "proposes": "collections",
        },
    ],
}  # fmt: skip
"""For segments that nobody wrote a ladder for. A telephone calls for help, so it goes last; a bundle may hold one."""


def read(
    written: Mapping[str, Any], *, policy_id: str, segment: str, currency: str, version: int, effective_on: date
) -> Policy:
    """Raises PolicyRefused for what cannot be: it names the place and says why."""
    known = {"minimum", "country", "subdivision", "throttle", "bill_suspended", "grace_days", "rejected_days", "steps"}
    _only(written, known, "the policy")
    found = written.get("steps")
    if not isinstance(found, list) or len(found) > MAX_STEPS:
        raise PolicyRefused(f"steps is a list of at most {MAX_STEPS}")
    steps = tuple(_along([_step(step, n, currency) for n, step in enumerate(found, 1)]))
    _check_order(steps)
    throttle = _speed(written.get("throttle"))
    taken = {measure for step in steps for measure in (step.measure, step.measure_of(ProductKind.INTERNET))}
    if throttle is None and Measure.THROTTLE in taken:
        raise PolicyRefused("a step throttles, and throttle does not say to which speed")
    return Policy(
        policy_id,
        segment,
        currency,
        version,
        effective_on,
        steps,
        minimum_minor=_minor(written, "minimum", currency),
        country=_text(written, "country"),
        subdivision=_text(written, "subdivision"),
        throttle=throttle,
        bill_suspended=_flag(written, "bill_suspended", True),
        grace_days=_days(written, "grace_days", 2),
        rejected_days=_days(written, "rejected_days", 7),
    )


def stored(row: Any) -> Policy:
    """From a row of dunning_policy. Versions never change, so what was read is kept."""
    return _stored(row.policy_id, row.segment, row.currency, row.version, row.effective_on, row.written)


@lru_cache(maxsize=256)
def _stored(policy_id: str, segment: str, currency: str, version: int, effective_on: date, written: str) -> Policy:
    return read(
        json.loads(written),
        policy_id=policy_id,
        segment=segment,
        currency=currency,
        version=version,
        effective_on=effective_on,
    )


def write(written: Mapping[str, Any]) -> str:
    """As stored."""
    return json.dumps(written, sort_keys=True, separators=(",", ":"))


def default(currency: str) -> Policy:
    """What holds where nobody wrote anything."""
    return read(DEFAULT, policy_id="", segment=DEFAULT_SEGMENT, currency=currency, version=0, effective_on=date.min)


def segment_name(text: str) -> str:
    """Raises PolicyRefused for what is no name."""
    if not _NAME.match(text):
        raise PolicyRefused(f"{text!r} is no name of a segment: small letters, digits and hyphens, at most 32")
    return text


def _along(steps: Sequence[Step]) -> Iterator[Step]:
    """Each step with all that was said of some kind of service until then."""
    said: dict[ProductKind, Measure] = {}
    for step in steps:
        said |= dict(step.services)
        yield replace(step, services=tuple(said.items()))


def _check_order(steps: Sequence[Step]) -> None:
    for n, (before, after) in enumerate(pairwise(steps), 2):
        if after.days < before.days:
            raise PolicyRefused(f"step {n} ({after.name}) comes before the one it follows: its days are fewer")
        if after.measure.rank < before.measure.rank:
            raise PolicyRefused(f"step {n} ({after.name}) is milder than the one it follows")
        for kind in ProductKind:
            if after.measure_of(kind).rank < before.measure_of(kind).rank:
                raise PolicyRefused(f"step {n} ({after.name}) is milder to {kind.value} than the one it follows")
    if len({step.name for step in steps}) < len(steps):
        raise PolicyRefused("two steps have one name")
    if steps and any(steps[0].measure_of(kind) is not Measure.NONE for kind in ProductKind):
        raise PolicyRefused("the first step restricts nobody: people are reminded before")


def _step(written: object, n: int, currency: str) -> Step:
    where = f"step {n}"
    if not isinstance(written, Mapping):
        raise PolicyRefused(f"{where} is an object")
    _only(written, {"name", "days", "gap_days", "measure", "notice", "minimum", "fee", "proposes", "services"}, where)
    name, notice, proposes = (_text(written, key) for key in ("name", "notice", "proposes"))
    if not _NAME.match(name):
        raise PolicyRefused(f"{where}: name is small letters, digits and hyphens, at most 32")
    if notice and notice not in NOTICES:
        raise PolicyRefused(f"{where}: there is no notice {notice!r}; there are {', '.join(NOTICES)}")
    if proposes and proposes not in (TERMINATION, COLLECTIONS):
        raise PolicyRefused(f"{where}: {TERMINATION} and {COLLECTIONS} can be proposed, not {proposes!r}")
    try:
        measure = Measure(_text(written, "measure") or "none")
    except ValueError:
        raise PolicyRefused(f"{where}: measure is one of {', '.join(m.value for m in Measure)}") from None
    gap_days = _days(written, "gap_days", 1)
    if n > 1 and gap_days < 1:
        raise PolicyRefused(f"{where}: gap_days is at least 1: two steps never fall on one day")
    return Step(
        name,
        _days(written, "days", None),
        gap_days,
        measure,
        notice,
        _minor(written, "minimum", currency),
        _minor(written, "fee", currency),
        proposes,
        _services(written.get("services", {}), where),
    )


def _services(written: object, where: str) -> tuple[tuple[ProductKind, Measure], ...]:
    if not isinstance(written, Mapping):
        raise PolicyRefused(f'{where}: services is an object such as {{"voice": "none", "tv": "suspend"}}')
    known = {kind.value: measures_of(kind) for kind in ProductKind if len(measures_of(kind)) > 1}
    for kind, measure in written.items():
        if kind not in known:
            raise PolicyRefused(f"{where}: nothing can be taken of {kind!r}; services may name {', '.join(known)}")
        if measure not in [possible.value for possible in known[kind]]:
            can = ", ".join(possible.value for possible in known[kind])
            raise PolicyRefused(f"{where}: of {kind} can be taken {can}, not {measure!r}")
    return tuple((ProductKind(kind), Measure(measure)) for kind, measure in written.items())


def _only(written: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(written) - known)
    if unknown:
        raise PolicyRefused(f"{where} has no {', '.join(unknown)}; it may have {', '.join(sorted(known))}")


def _speed(written: object) -> SpeedProfile | None:
    if written is None:
        return None
    if not isinstance(written, Mapping) or set(written) != {"downstream_kbps", "upstream_kbps"}:
        raise PolicyRefused("throttle is downstream_kbps and upstream_kbps")
    rates = (written["downstream_kbps"], written["upstream_kbps"])
    if not all(type(rate) is int and 0 < rate <= 10**9 for rate in rates):
        raise PolicyRefused("throttle: a rate is a whole number of kbit/s above 0")
    return SpeedProfile(THROTTLE_PROFILE, rates[0] * KBPS, rates[1] * KBPS)


def _minor(written: Mapping[str, Any], key: str, currency: str) -> int:
    value = written.get(key, "0")
    try:
        amount = Money.exact(Decimal(value), currency) if isinstance(value, str) else None
    except (InvalidOperation, OverflowError, ValueError):
        amount = None
    if amount is None or not 0 <= amount.minor < 10**15:
        raise PolicyRefused(f'{key} is an amount of {currency} as text, such as "5.00", not {value!r}')
    return amount.minor


def _days(written: Mapping[str, Any], key: str, absent: int | None) -> int:
    value = written.get(key, absent)
    if type(value) is not int or not 0 <= value <= _MAX_DAYS:
        raise PolicyRefused(f"{key} is 0 to {_MAX_DAYS} days")
    return value


def _flag(written: Mapping[str, Any], key: str, absent: bool) -> bool:
    value = written.get(key, absent)
    if type(value) is not bool:
        raise PolicyRefused(f"{key} is true or false")
    return value


def _text(written: Mapping[str, Any], key: str) -> str:
    value = written.get(key, "")
    if not isinstance(value, str):
        raise PolicyRefused(f"{key} is text")
    return value
