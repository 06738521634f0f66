"""Reply attributes that an operator writes by name, validated against the dictionary and encoded, or refused.

    Framed-MTU = 1492            Cisco-AVPair = ip:vrf-id=blue         Tunnel-Type:1 = VLAN

A name that no dictionary has would be ignored by every NAS, in silence; so would a value of another type. Both are
refused when a template is saved. Attributes by which the server itself works are refused as well.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterable, Mapping
from datetime import datetime

from pyrad.dictionary import Attribute

from controller.domain.errors import RuleError
from radius.protocol import dictionary
from radius.protocol.codes import Attr
from radius.protocol.packet import MAX_VALUE_LENGTH, attribute, vendor_attribute

MAX_TEMPLATE_OCTETS = 1_500
"""Encoded: a reply has 4096 octets (RFC 2865 §3), and templates of a NAS, an offering and a service may meet in one."""

_OURS = frozenset(
    {
        Attr.USER_PASSWORD,
        Attr.CHAP_PASSWORD,
        Attr.STATE,
        Attr.CLASS,
        Attr.VENDOR_SPECIFIC,
        Attr.PROXY_STATE,
        Attr.ACCT_STATUS_TYPE,
        Attr.EAP_MESSAGE,
        Attr.MESSAGE_AUTHENTICATOR,
        Attr.ERROR_CAUSE,
    }
)
_TAG = re.compile(r"(.+):(\d{1,2})", re.ASCII)
_WIDTHS = {"byte": 1, "short": 2, "integer": 4, "integer64": 8}


def encode_template(lines: Iterable[Mapping[str, str]]) -> bytes:
    """Every {"name", "value"} on the wire, in this order. Raises RuleError naming the line that cannot be."""
    encoded = b"".join(encode_named(line["name"], line["value"]) for line in lines)
    if len(encoded) > MAX_TEMPLATE_OCTETS:
        raise RuleError(f"the template has {len(encoded)} octets, more than {MAX_TEMPLATE_OCTETS}", code="template")
    return encoded


def encode_named(name: str, value: str) -> bytes:
    """One attribute. A tag (RFC 2868 §3) stands behind the name: "Tunnel-Type:1". Raises RuleError."""
    match = _TAG.fullmatch(name)
    base, tag = (match[1], int(match[2])) if match else (name, 0)
    known = dictionary.load()
    if base not in known:
        raise RuleError(f"no attribute {base!r} in the dictionaries{_near(base)}", code="unknown-attribute")
    found: Attribute = known[base]
    vendor_id, kind = dictionary.number(base)
    if not vendor_id and kind in _OURS:
        raise RuleError(f"{base} is the server's own to set", code="template")
    if found.encrypt or found.type in ("tlv", "abinary"):
        raise RuleError(f"{base} is of a kind that no template can carry: hidden, or with parts", code="template")
    octets = _tagged(found, tag, _octets(found, value))
    if len(octets) + (6 if vendor_id else 0) > MAX_VALUE_LENGTH or not octets:
        raise RuleError(f"{base}: a value of {len(octets)} octets does not fit", code="template")
    return vendor_attribute(vendor_id, kind, octets) if vendor_id else attribute(kind, octets)


def near_misses(name: str) -> list[str]:
    """Names of attributes that contain this one, then those that look like it, best first."""
    names = list(dictionary.load().attributes)
    lower = {known.lower(): known for known in names}
    close = [lower[found] for found in difflib.get_close_matches(name.lower(), lower, n=5, cutoff=0.6)]
    return list(dict.fromkeys([*(known for known in names if name.lower() in known.lower()), *close]))[:8]


def _near(name: str) -> str:
    found = near_misses(name)
    return f"; did you mean {', '.join(found)}?" if found else ""


def _octets(found: Attribute, value: str) -> bytes:
    try:
        return _parsed(found, value)
    except (ValueError, OverflowError):
        raise RuleError(f"{found.name}: {value!r} is no {_words(found)}", code="template") from None


def _parsed(found: Attribute, value: str) -> bytes:
    kind = found.type
    if kind in _WIDTHS:
        if found.values.HasForward(value):
            named: bytes = found.values.GetForward(value)
            return named
        return int(value, 0).to_bytes(_WIDTHS[kind], "big")
    if kind == "signed":
        return int(value, 0).to_bytes(4, "big", signed=True)
    if kind == "date":
        seconds = int(value) if value.isdecimal() else int(datetime.fromisoformat(value).timestamp())
        return seconds.to_bytes(4, "big")
    if kind == "ipaddr":
        return ipaddress.IPv4Address(value).packed
    if kind == "ipv6addr":
        return ipaddress.IPv6Address(value).packed
    if kind == "ipv6prefix":
        network = ipaddress.IPv6Network(value)
        return bytes((0, network.prefixlen)) + network.network_address.packed
    if kind in ("ifid", "ether"):
        groups, width = (4, 4) if kind == "ifid" else (6, 2)
        parts = re.split("[:-]", value)
        if len(parts) != groups:
            raise ValueError(value)
        return bytes.fromhex("".join(part.rjust(width, "0") for part in parts))
    if kind == "octets":
        return bytes.fromhex(value[2:]) if value.startswith("0x") else value.encode()
    return value.encode()


def _tagged(found: Attribute, tag: int, octets: bytes) -> bytes:
    if not found.has_tag:
        if tag:
            raise RuleError(f"{found.name} takes no tag", code="template")
        return octets
    if tag > 0x1F:
        raise RuleError(f"{found.name}: a tag is at most 31 (RFC 2868 §3)", code="template")
    if found.type == "integer":
        if octets[0]:
            raise RuleError(f"{found.name}: a tagged number has three octets (RFC 2868 §3)", code="template")
        return bytes((tag,)) + octets[1:]
    return bytes((tag,)) + octets if tag else octets


def _words(found: Attribute) -> str:
    values = [str(name) for name in found.values.forward] if found.values else []
    named = f" or one of {', '.join(values[:12])}" if values else ""
    return f"{found.type}{named}"
