"""What exporters say of sampling, and by how much the octets of flows are multiplied for it. Pure, but for its memory.

    options: sampler 7 is 1 of 1000        → flows that name sampler 7                          × 1000
    options: 1 packet, then 99 skipped     → flows of the domain that name no sampler           × 100
    flow: samplingInterval 512             → that flow                                          × 512

A *place* is an exporting process and an observation domain of it. What is told in a place holds there. What is not told
in it is looked for in the places of the same process, then of the same box, that send options and no flows: Cisco IOS
XE tells of its samplers in a domain of their own, domain 0 speaks for the whole process (RFC 7011 §3.1), and some boxes
send options from another port than flows. Where those disagree, nothing is told.

A flow that names a sampler which nobody told of, or that cannot know which of several was its own, is like a data set
before its template: `None`, it is not told. What was told and cannot be believed is `DISBELIEVED`. One that names none
where nobody tells of sampling is complete: an exporter that samples says so (RFC 5476 §6.5), the others say nothing.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeVar

from collectors.ipfix.message import Element, Record, Row, Template, whole

UNSAMPLED = Fraction(1)
DISBELIEVED = Fraction(0)
_MOST_FACTOR = 2**24
"""One of more packets is not believed: routers take intervals of 24 bits at most, most of them of 16."""
_MOST_TOLD = 4_096
"""Tellings kept of one place."""

Place = tuple[int, int]
"""The port of an exporting process, and an observation domain of it."""
Part = tuple[tuple[Element, int], ...]
"""Of a domain: what its flows have in these elements."""
K = TypeVar("K")
V = TypeVar("V")


def _systematic(taken: int, skipped: int) -> Fraction:
    return Fraction(taken + skipped, taken)


def _out_of(taken: int, population: int) -> Fraction:
    return Fraction(population, taken)


_PAIRS: tuple[tuple[Element, Element, Callable[[int, int], Fraction]], ...] = (
    ((0, 305), (0, 306), _systematic),  # samplingPacketInterval, samplingPacketSpace
    ((0, 309), (0, 310), _out_of),  # samplingSize, samplingPopulation
    ((0, 307), (0, 308), _systematic),  # samplingTimeInterval, samplingTimeSpace
    ((0, 396), (0, 397), _systematic),  # samplingFlowInterval, samplingFlowSpacing: RFC 7014 §8
)
"""RFC 5477 §8.2. Both are told, or neither is understood: alone, 305 is N for some boxes and 1 for the standard."""
_PROBABILITY = (0, 311)
_INTERVALS = ((0, 34), (0, 50))
"""samplingInterval and samplerRandomInterval, of NetFlow 9: 100 is one of 100. IANA deprecates them for the above."""
_IDS = ((0, 302), (0, 48))
"""selectorId, and samplerId for which IANA prescribes it: one space of numbers. 0 is no sampler."""
_SEQUENCE = (0, 301)
_ALGORITHM, _PROPERTY_MATCH = (0, 304), 5
_NARROW = frozenset({(0, e) for e in (10, 14, 138, 141, 142, 145, 252, 253)})
"""Scopes within a domain: interfaces, observation points, line cards, ports, templates."""
_RATIOS = frozenset({e for pair in _PAIRS for e in pair[:2]} | {_PROBABILITY, *_INTERVALS})
_TELLING = _RATIOS | {_ALGORITHM, _SEQUENCE}
_NAMING = _RATIOS | {*_IDS, _SEQUENCE}


def ratio(record: Mapping[Element, bytes]) -> Fraction | None:
    """By how much a sample is smaller than the whole; None where nothing is told, or zero, which says nothing."""
    for taken, other, factor in _PAIRS:
        first, second = whole(record.get(taken, b"")), whole(record.get(other, b""))
        if first or second:
            return _believed(factor(first, second)) if first and other in record else DISBELIEVED
    if _PROBABILITY in record:
        return _improbable(record[_PROBABILITY])
    for element in _INTERVALS:
        if interval := whole(record.get(element, b"")):
            return _believed(Fraction(interval))
    return None


def _improbable(octets: bytes) -> Fraction:
    """The reverse of a probability, a float64 that may be sent as a float32 (RFC 7011 §6.2)."""
    if len(octets) not in (4, 8):
        return DISBELIEVED
    (probability,) = struct.unpack("!f" if len(octets) == 4 else "!d", octets)
    return _believed(1 / Fraction(probability)) if math.isfinite(probability) and probability > 0 else DISBELIEVED


def _believed(factor: Fraction) -> Fraction:
    if factor == UNSAMPLED:
        return UNSAMPLED
    return factor if UNSAMPLED < factor <= _MOST_FACTOR else DISBELIEVED


@dataclass(slots=True)
class _Told:
    """Of one place: of itself, by sampler, by sequence of samplers, and by parts of the domain."""

    own: Fraction | None = None
    promised: bool = False
    named: dict[int, Fraction] = field(default_factory=dict)
    sequences: dict[int, tuple[int, ...]] = field(default_factory=dict)
    narrow: dict[Part, Fraction] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.named) + len(self.sequences) + len(self.narrow)


@dataclass(frozen=True, slots=True)
class View:
    """What holds for the flows of one place. `default` is for those that name no sampler."""

    default: Fraction | None
    default_of_zero: Fraction | None
    named: Mapping[int, Fraction]
    sequences: Mapping[int, tuple[int, ...]]
    narrow: Mapping[Part, Fraction]

    def reader(self, template: Template) -> Callable[[Record], Fraction | None] | None:
        """How the factor of a flow is found; None where `default` is that of every flow of the template.

        It is UNSAMPLED, more, DISBELIEVED, or None where it is not told.
        """
        if not self.narrow and template.elements.isdisjoint(_NAMING):
            return None
        ids = tuple(element for element in _IDS if element in template.elements)
        tells, sequenced = not template.elements.isdisjoint(_RATIOS), _SEQUENCE in template.elements
        # Named as 0 it went through no sampler, whatever the table of samplers says.
        otherwise = self.default_of_zero if ids else self.default

        def of(flow: Record) -> Fraction | None:
            if tells and (itself := ratio(flow)) is not None:
                return itself
            for element in ids:
                if sampler := whole(flow[element]):
                    return self.named.get(sampler)
            if sequenced and (sequence := whole(flow[_SEQUENCE])):
                return self._product(self.sequences.get(sequence))
            return self._of_part(flow, otherwise) if self.narrow else otherwise

        return of

    def _product(self, samplers: Iterable[int] | None) -> Fraction | None:
        """A selection sequence samples what the selector before left over (RFC 5476 §6.5.1)."""
        factors = [self.named.get(sampler) for sampler in samplers] if samplers is not None else [None]
        told = [factor for factor in factors if factor is not None]
        if len(told) < len(factors):
            return None
        return _believed(math.prod(told, start=UNSAMPLED))

    def _of_part(self, flow: Record, otherwise: Fraction | None) -> Fraction | None:
        exact = {
            factor
            for part, factor in self.narrow.items()
            if all(element in flow and whole(flow[element]) == value for element, value in part)
        }
        if exact or otherwise is not None:
            return _only(exact) if exact else otherwise
        # A flow that does not say of which line card it is takes what is told of all that were told of.
        return _only({f for part, f in self.narrow.items() if all(element not in flow for element, _ in part)})


class Sampling:
    """Everything that the exporting processes of one box told."""

    def __init__(self) -> None:
        self._told: dict[Place, _Told] = {}
        self._flowing: set[Place] = set()
        self._views: dict[Place, View] = {}

    def announced(self, place: Place, template: Template) -> None:
        """One of options that will tell of the whole domain is a promise; a table of samplers may be empty."""
        if template.elements.isdisjoint(_RATIOS) or not template.elements.isdisjoint((*_IDS, _SEQUENCE, *_NARROW)):
            return
        told = self._told.setdefault(place, _Told())
        if not told.promised:
            told.promised = True
            self._views.clear()

    def learn(self, place: Place, template: Template, row: Row) -> None:
        """A record of options."""
        if template.elements.isdisjoint(_TELLING):
            return
        pairs = tuple(zip(template.order, row, strict=True))
        record = dict(pairs)
        told = self._told.setdefault(place, _Told())
        ids = [whole(value) for element, value in pairs if element in _IDS]
        if _SEQUENCE in record:
            if ids and _put(told, told.sequences, whole(record[_SEQUENCE]), tuple(ids)):
                self._views.clear()
            return
        factor = ratio(record)
        if factor is None:
            if template.elements.isdisjoint(_RATIOS) and whole(record[_ALGORITHM]) != _PROPERTY_MATCH:
                return  # a selector, and not how much it selects
            factor = UNSAMPLED  # an interval of zero; or a filter, whose flows are complete
        part = tuple((e, whole(value)) for e, value in pairs[: template.scope] if e in _NARROW)
        if any(ids):
            changed = _put(told, told.named, next(sampler for sampler in ids if sampler), factor)
        elif part:
            changed = _put(told, told.narrow, part, factor)
        else:
            changed, told.own = told.own != factor, factor
        if changed:
            self._views.clear()

    def flows(self, place: Place) -> View:
        """What holds for flows that came from there."""
        view = self._views.get(place)
        if view is None:
            if place not in self._flowing:
                self._flowing.add(place)
                self._views.clear()  # others may have looked here
            view = self._views[place] = self._view(place)
        return view

    def forget(self, process: int) -> None:
        """A process is gone."""
        self._told = {place: told for place, told in self._told.items() if place[0] != process}
        self._flowing = {place for place in self._flowing if place[0] != process}
        self._views.clear()

    def _elsewhere(self, place: Place) -> list[_Told]:
        """Places that send options alone: of the same process, else of the same domain, else of the box."""
        silent = [
            (p, told)
            for p, told in self._told.items()
            if p not in self._flowing and (len(told) or told.own is not None)
        ]
        return (
            [told for (process, _), told in silent if process == place[0]]
            or [told for (_, domain), told in silent if domain == place[1]]
            or [told for _, told in silent]
        )

    def _view(self, place: Place) -> View:
        here = self._told.get(place, _Told())
        elsewhere = self._elsewhere(place)
        named = _agreed(told.named for told in elsewhere) | here.named
        sequences = _agreed(told.sequences for told in elsewhere) | here.sequences
        narrow = _agreed(told.narrow for told in elsewhere) | here.narrow
        far = {told.own for told in elsewhere if told.own is not None}
        if here.own is not None or here.promised:
            return View(here.own, here.own, named, sequences, narrow)
        if far and not here.named:
            return View(_only(far), _only(far), named, sequences, narrow)
        # Flexible NetFlow exports a sampler's id only where the flow record collects it. One sampler, or several alike,
        # need no id; of several that differ it cannot be told which it was.
        samplers = here.named or named
        default = None if narrow else _only(set(samplers.values())) if samplers else UNSAMPLED
        return View(default, UNSAMPLED, named, sequences, narrow)


def _only(found: set[Fraction]) -> Fraction | None:
    return next(iter(found)) if len(found) == 1 else None


def _put(told: _Told, table: dict[K, V], key: K, value: V) -> bool:
    """Whether that was news. A place that tells of more than anybody has is heard no further."""
    if table.get(key) == value or (key not in table and len(told) >= _MOST_TOLD):
        return False
    table[key] = value
    return True


def _agreed(tables: Iterable[Mapping[K, V]]) -> dict[K, V]:
    """What the tables say of each key, without those of which they say different things."""
    found: dict[K, set[V]] = {}
    for table in tables:
        for key, value in table.items():
            found.setdefault(key, set()).add(value)
    return {key: next(iter(values)) for key, values in found.items() if len(values) == 1}
