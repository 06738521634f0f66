"""Namespaces and capabilities of the emulated OLT."""

from __future__ import annotations

from functools import cache
from typing import Any

Element = Any
"""An lxml element; lxml ships no types."""

NC = "urn:ietf:params:xml:ns:netconf:base:1.0"

PREFIXES = {
    "if": "urn:ietf:params:xml:ns:yang:ietf-interfaces",
    "ianaift": "urn:ietf:params:xml:ns:yang:iana-if-type",
    "hw": "urn:ietf:params:xml:ns:yang:ietf-hardware",
    "bbfift": "urn:bbf:yang:bbf-if-type",
    "xponift": "urn:bbf:yang:bbf-xpon-if-type",
    "xpon-types": "urn:bbf:yang:bbf-xpon-types",
    "onu-types": "urn:bbf:yang:bbf-xpon-onu-types",
    "xpon": "urn:bbf:yang:bbf-xpon",
    "onu-state": "urn:bbf:yang:bbf-xpon-onu-state",
    "vani": "urn:bbf:yang:bbf-xponvani",
    "gem": "urn:bbf:yang:bbf-xpongemtcont",
    "subif": "urn:bbf:yang:bbf-sub-interfaces",
    "tagging": "urn:bbf:yang:bbf-sub-interface-tagging",
    "dot1qt": "urn:bbf:yang:bbf-dot1q-types",
    "tm": "urn:bbf:yang:bbf-qos-traffic-mngt",
    "shaping": "urn:bbf:yang:bbf-qos-shaping",
    "xcvr": "urn:bbf:yang:bbf-hardware-transceivers",
    "xcvr-xpon": "urn:bbf:yang:bbf-hardware-transceivers-xpon",
}

_BY_URI = {uri: prefix for prefix, uri in PREFIXES.items()}

BASE_1_0 = "urn:ietf:params:netconf:base:1.0"
BASE_1_1 = "urn:ietf:params:netconf:base:1.1"

# :writable-running is not offered: every change goes through the candidate, as operators of access networks want it.
CAPABILITIES = (
    BASE_1_0,
    BASE_1_1,
    "urn:ietf:params:netconf:capability:candidate:1.0",
    "urn:ietf:params:netconf:capability:confirmed-commit:1.1",
    "urn:ietf:params:netconf:capability:rollback-on-error:1.0",
    "urn:ietf:params:netconf:capability:validate:1.1",
    *(
        f"{PREFIXES[prefix]}?module={module}&revision={revision}"
        for prefix, module, revision in (
            ("if", "ietf-interfaces", "2018-02-20"),
            ("hw", "ietf-hardware", "2018-03-13"),
            ("bbfift", "bbf-if-type", "2023-12-15"),
            ("xponift", "bbf-xpon-if-type", "2024-04-23"),
            ("xpon", "bbf-xpon", "2024-04-23"),
            ("onu-state", "bbf-xpon-onu-state", "2024-04-23"),
            ("vani", "bbf-xponvani", "2024-04-23"),
            ("gem", "bbf-xpongemtcont", "2024-04-23"),
            ("subif", "bbf-sub-interfaces", "2023-12-15"),
            ("tagging", "bbf-sub-interface-tagging", "2023-12-15"),
            ("tm", "bbf-qos-traffic-mngt", "2025-07-02"),
            ("shaping", "bbf-qos-shaping", "2023-03-07"),
            ("xcvr", "bbf-hardware-transceivers", "2025-07-02"),
            ("xcvr-xpon", "bbf-hardware-transceivers-xpon", "2024-04-23"),
        )
    ),
)


@cache
def qualified(name: str) -> str:
    """ "vani:v-ani" → "{urn:bbf:yang:bbf-xponvani}v-ani", as lxml spells tags."""
    prefix, _, local = name.partition(":")
    return f"{{{PREFIXES[prefix]}}}{local}"


@cache
def short(tag: str) -> str:
    """The reverse of `qualified`; an unknown namespace stays in braces."""
    uri, _, local = tag[1:].partition("}") if tag.startswith("{") else ("", "", tag)
    prefix = _BY_URI.get(uri)
    return f"{prefix}:{local}" if prefix else tag
