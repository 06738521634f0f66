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
    """Every attribute as (name, value) for people. Passwords, what they could be guessed from, and keys read ***."""
    lines: list[tuple[str, str]] = []
    for kind, value in packet.attributes():
        if kind == Attr.VENDOR_SPECIFIC and len(value) >= 6 and value[5] == len(value) - 4:
            lines.append(_line(name(value[4], int.from_bytes(value[:4], "big")), value[6:]))
        else:
            lines.append(_line(name(kind), value))
    return lines


_HIDDEN = ("CHAP-Password", "CHAP-Challenge", "Message-Authenticator", "MS-CHAP", "MS-MPPE", "EAP-Message", "Attr-311.")
"""How names begin of what holds a password or lets one be guessed; what of Microsoft's has no name may be such."""


def _line(label: str, value: bytes) -> tuple[str, str]:
    if label.startswith(_HIDDEN):
        return label, "***"
    known: Attribute | None = load().attributes.get(label)
    if known is None:
        return label, _words(label, "octets", value)
    if known.encrypt:
        return label, "***"
    # "If the value of the Tag field is … less than or equal to 0x1F" it is a tag, else the first octet of the text
    # (RFC 2868 §3.3); a number has three octets behind it in any case.
    if known.has_tag and value and (known.type == "integer" or 0 < value[0] <= 0x1F):
        tag, value = value[0], value[1:]
        if known.type == "integer":
            value = value.rjust(4, b"\0")
        return (f"{label}:{tag}" if tag else label), _words(label, known.type, value)
    return label, _words(label, known.type, value)


def _words(label: str, kind: str, value: bytes) -> str:
    if kind in ("integer", "date") and len(value) == 4:
        return value_name(label, int.from_bytes(value, "big"))
    if kind == "ipaddr" and len(value) == 4:
        return str(ipaddress.IPv4Address(value))
    if kind == "ipv6addr" and len(value) == 16:
        return str(ipaddress.IPv6Address(value))
    if kind == "ipv6prefix" and 2 <= len(value) <= 18 and value[1] <= 128:
        return f"{ipaddress.IPv6Address(value[2:].ljust(16, bytes(1)))}/{value[1]}"
    if kind == "string":
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass  # not the text it is declared to be: shown as the octets it is
    return "0x" + value.hex()
