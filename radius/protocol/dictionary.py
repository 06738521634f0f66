"""Attribute names, types and named values, from the dictionary files in `radius.dictionaries`.

For people: what an operator reads in a log or an API is "Acct-Terminate-Cause = User-Request", not 49 = 1. The hot path
never comes here. pyrad parses the files, whose format is FreeRADIUS's.
"""

from __future__ import annotations

import ipaddress
from functools import cache
from importlib.resources import as_file, files

from pyrad.dictionary import Attribute, Dictionary

from radius.protocol.codes import Attr
from radius.protocol.packet import Packet


@cache
def load() -> Dictionary:
    """The dictionary of this package; read once."""
    with as_file(files("radius.dictionaries")) as directory:
        return Dictionary(str(directory / "dictionary"))


def number(name: str) -> tuple[int, int]:
    """(vendor id, attribute type) of a name; vendor 0 is the standard space. Raises KeyError for an unknown name."""
    found: Attribute = load()[name]
    return (load().vendors.GetForward(found.vendor) if found.vendor else 0), found.code


def name(kind: int, vendor_id: int = 0) -> str:
    """The name of an attribute; "Attr-<vendor>.<type>" when the dictionary has none."""
    key = (vendor_id, kind) if vendor_id else kind
    index = load().attrindex
    if index.HasBackward(key):
        found: str = index.GetBackward(key)
        return found
    return f"Attr-{vendor_id}.{kind}" if vendor_id else f"Attr-{kind}"


def value_name(attribute_name: str, value: int) -> str:
    """The name of an integer's value ("Stop" for Acct-Status-Type 2), or the number as text."""
    values, encoded = load()[attribute_name].values, value.to_bytes(4, "big")
    return str(values.GetBackward(encoded)) if values.HasBackward(encoded) else str(value)


def describe(packet: Packet) -> list[tuple[str, str]]:
    """Every attribute as (name, value) for people. Passwords, authenticators and secrets read ***."""
    lines: list[tuple[str, str]] = []
    for kind, value in packet.attributes():
        if kind == Attr.VENDOR_SPECIFIC and len(value) >= 6 and value[5] == len(value) - 4:
            vendor_id = int.from_bytes(value[:4], "big")
            label = name(value[4], vendor_id)
            lines.append((label, _words(label, value[6:])))
        else:
            label = name(kind)
            lines.append((label, _words(label, value)))
    return lines


_HIDDEN = frozenset({"User-Password", "CHAP-Password", "Tunnel-Password", "Message-Authenticator"})


def _words(label: str, value: bytes) -> str:
    if label in _HIDDEN:
        return "***"
    kind = load()[label].type if label in load() else "octets"
    if kind in ("integer", "date") and len(value) == 4:
        return value_name(label, int.from_bytes(value, "big"))
    if kind == "ipaddr" and len(value) == 4:
        return str(ipaddress.IPv4Address(value))
    if kind == "ipv6addr" and len(value) == 16:
        return str(ipaddress.IPv6Address(value))
    if kind == "string":
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass  # not the text it is declared to be: shown as the octets it is
    return "0x" + value.hex()
