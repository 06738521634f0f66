"""What to ask an OLT of the BBF model for, and what its answer says about each ONU. Pure.

TR-385: the ONU's presence is on its v-ani, its octets on the v-enet above it (RFC 8343 statistics), the light the OLT
receives from it on the port's transceiver link. Presence comes with whatever serial the OLT expects or detects.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lxml import etree

from collectors.errors import MalformedAnswer

Element = Any
"""An lxml element; lxml ships no types."""

_NS = {
    "nc": "urn:ietf:params:xml:ns:netconf:base:1.0",
    "if": "urn:ietf:params:xml:ns:yang:ietf-interfaces",
    "hw": "urn:ietf:params:xml:ns:yang:ietf-hardware",
    "vani": "urn:bbf:yang:bbf-xponvani",
    "xcvr": "urn:bbf:yang:bbf-hardware-transceivers",
    "xpon": "urn:bbf:yang:bbf-hardware-transceivers-xpon",
}

OPERATION = f"""<get xmlns="{_NS["nc"]}"><filter type="subtree">
<interfaces xmlns="{_NS["if"]}"><interface><name/>
  <v-ani xmlns="{_NS["vani"]}"><expected-serial-number/></v-ani>
  <olt-v-enet xmlns="{_NS["vani"]}"><lower-layer-interface/></olt-v-enet></interface></interfaces>
<interfaces-state xmlns="{_NS["if"]}"><interface><name/><oper-status/><statistics/>
  <v-ani xmlns="{_NS["vani"]}"/></interface></interfaces-state>
<hardware xmlns="{_NS["hw"]}"><component><name/><transceiver-link xmlns="{_NS["xcvr"]}"/></component></hardware>
</filter></get>"""
"""The RPC, as small as it can be: names, presence, statistics and light."""

_PRESENT = "onu-present-and-on-intended-channel-termination"


@dataclass(frozen=True, slots=True)
class OnuState:
    """One ONU as the OLT sees it. Octets are running totals; None where the OLT does not say.

    `discontinuity_at` is the statistics' discontinuity-time (RFC 8343 §5). `rx_power_dbm` is what the OLT receives.
    """

    serial: str
    v_ani: str
    present: bool
    pon_port: str
    rx_power_dbm: float | None
    upstream_octets: int | None
    downstream_octets: int | None
    discontinuity_at: datetime | None


def parse(reply: str) -> list[OnuState]:
    """The ONUs in an <rpc-reply>, by serial. Raises MalformedAnswer for what is not one, and for nothing less."""
    try:
        root = etree.fromstring(reply.encode(), etree.XMLParser(resolve_entities=False, no_network=True))
    except etree.XMLSyntaxError as error:
        raise MalformedAnswer("netconf", str(error)) from error
    if root.find("nc:data", _NS) is None:
        raise MalformedAnswer("netconf", "the reply holds no <data>")
    serials = _serials(root)
    light = _light(root)
    above = _text_by_name(root, "olt-v-enet", "lower-layer-interface")
    statistics = {above[name]: stats for name, stats in _statistics(root) if name in above}
    found = {}
    for name, state in _v_ani_states(root):
        serial = _text(state, ".//vani:detected-serial-number") or serials.get(name, "")
        if serial:
            stats = statistics.get(name)
            found[serial] = OnuState(
                serial=serial.upper(),
                v_ani=name,
                present=_text(state, "vani:onu-presence-state").rpartition(":")[2] == _PRESENT,
                pon_port=_text(state, ".//vani:onu-present-on-this-channel-termination"),
                rx_power_dbm=light.get(name),
                upstream_octets=_number(stats, "if:in-octets"),
                downstream_octets=_number(stats, "if:out-octets"),
                discontinuity_at=_instant(stats, "if:discontinuity-time"),
            )
    return [found[serial] for serial in sorted(found)]


def _serials(root: Element) -> dict[str, str]:
    """v-ani → the serial number it expects."""
    return _text_by_name(root, "v-ani", "expected-serial-number")


def _text_by_name(root: Element, container: str, leaf: str) -> dict[str, str]:
    path = f"vani:{container}/vani:{leaf}"
    entries = root.iterfind("nc:data/if:interfaces/if:interface", _NS)
    return {_text(entry, "if:name"): _text(entry, path) for entry in entries if _text(entry, path)}


def _v_ani_states(root: Element) -> Iterator[tuple[str, Element]]:
    for entry in root.iterfind("nc:data/if:interfaces-state/if:interface", _NS):
        state = entry.find("vani:v-ani", _NS)
        if state is not None:
            yield _text(entry, "if:name"), state


def _statistics(root: Element) -> Iterator[tuple[str, Element]]:
    for entry in root.iterfind("nc:data/if:interfaces-state/if:interface", _NS):
        stats = entry.find("if:statistics", _NS)
        if stats is not None:
            yield _text(entry, "if:name"), stats


def _light(root: Element) -> dict[str, float]:
    """v-ani → dBm. The leaf counts tenths of dBm, or is the word "unknown" (int16-or-unknown)."""
    light = {}
    for entry in root.iterfind(".//xpon:rssi-onu", _NS):
        tenths = _text(entry, "xpon:rssi")
        if tenths.lstrip("-").isdecimal():
            light[_text(entry, "xpon:v-ani-ref")] = int(tenths) / 10
    return light


def _text(element: Element, path: str) -> str:
    return (element.findtext(path, default="", namespaces=_NS) or "").strip()


def _number(stats: Element | None, path: str) -> int | None:
    text = "" if stats is None else _text(stats, path)
    return int(text) if text.isdecimal() and text.isascii() else None


def _instant(stats: Element | None, path: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(_text(stats, path)) if stats is not None else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None
