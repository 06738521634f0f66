"""Finds attributes in the dictionaries for people, by name, part of a name, or number.

44           the standard space            14988.8, 14988:8, Mikrotik.8    a vendor's
2011         every attribute of a vendor, by its private enterprise number
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from radius.protocol import dictionary
from radius.protocol.templates import near_misses

_NUMBER = re.compile(r"(?:([\w-]+)[.:])?(\d+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Found:
    """An attribute as the dictionaries know it; `vendor_id` 0 is the standard space."""

    name: str
    vendor: str
    vendor_id: int
    number: int
    type: str
    tagged: bool
    values: dict[str, int]


def find(wanted: str) -> list[Found]:
    """What `wanted` names, exactly where it does, else the near misses, best first."""
    known = dictionary.load()
    exact = [name for name in known.attributes if name.lower() == wanted.lower()]
    if exact:
        return [_found(name) for name in exact]
    match = _NUMBER.fullmatch(wanted)
    if match is not None:
        return _by_number(match[1], int(match[2]))
    vendor = next((name for name in _vendors() if name.lower() == wanted.lower()), None)
    return _of_vendor(vendor) if vendor else [_found(name) for name in near_misses(wanted)]


def _by_number(vendor: str | None, number: int) -> list[Found]:
    every = [_found(name) for name in dictionary.load().attributes]
    if vendor is not None:
        return [
            one for one in every if one.number == number and vendor.lower() in (one.vendor.lower(), str(one.vendor_id))
        ]
    return [one for one in every if (one.vendor_id == 0 and one.number == number) or one.vendor_id == number > 0]


def _of_vendor(vendor: str) -> list[Found]:
    return [_found(name) for name, attribute in dictionary.load().attributes.items() if attribute.vendor == vendor]


def _vendors() -> list[str]:
    return [name for name in dictionary.load().vendors.forward if name]


def _found(name: str) -> Found:
    known = dictionary.load()
    attribute = known[name]
    vendor_id, number = dictionary.number(name)
    values = attribute.values.forward if attribute.values else {}
    return Found(
        name=name,
        vendor=attribute.vendor,
        vendor_id=vendor_id,
        number=number,
        type=attribute.type,
        tagged=bool(attribute.has_tag),
        values={str(value): int.from_bytes(octets, "big") for value, octets in values.items()},
    )
