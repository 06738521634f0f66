"""Operational state for <get>: ONU presence, light, counters, and the ids the OLT chose itself (TR-385 state trees)."""

from __future__ import annotations

from datetime import UTC, datetime

from lxml import etree

from lab.olt.datastore import empty, identity
from lab.olt.names import PREFIXES, Element, qualified
from lab.olt.plant import Onu, Plant

_FIRST_ALLOC_ID = 1024
_FIRST_GEMPORT_ID = 1021


class Operational:
    """Builds the state trees from the running configuration and the plant. Ids stay with their object."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self._started_at = _timestamp()
        self._chosen: dict[str, dict[str, int]] = {}
        self._in_use: set[tuple[str, str]] = set()

    def state(self, running: Element) -> Element:
        """A tree of config-false top-level containers."""
        root = empty()
        self._in_use.clear()
        terminations = _terminations(running)
        v_anis = _v_anis(running)
        interfaces = _add(root, "if:interfaces-state")
        components = _add(root, "hw:hardware")
        for port in terminations.values():
            self._port_components(components, port)
        for entry in running.iterfind(f"{qualified('if:interfaces')}/{qualified('if:interface')}"):
            self._interface(interfaces, components, entry, terminations, v_anis)
        self._gem(root, running)
        self._free_unused()
        return root

    def _interface(
        self,
        parent: Element,
        components: Element,
        entry: Element,
        terminations: dict[str, str],
        v_anis: dict[str, Element],
    ) -> None:
        name = entry.findtext(qualified("if:name"))
        kind = identity(entry.find(qualified("if:type")))
        state = _add(parent, "if:interface")
        _add(state, "if:name", name)
        prefix, _, local = kind.partition(":")
        _identity(state, "if:type", prefix, local)
        v_ani = entry.find(qualified("vani:v-ani"))
        if v_ani is None and kind == "xponift:olt-v-enet":
            lower = entry.findtext(f"{qualified('vani:olt-v-enet')}/{qualified('vani:lower-layer-interface')}")
            v_ani = v_anis.get(lower)
        onu = None if v_ani is None else self._onu(v_ani, terminations)
        up = kind not in ("xponift:v-ani", "xponift:olt-v-enet") or onu is not None
        _add(state, "if:oper-status", "up" if up else "down")
        if kind == "xponift:olt-v-enet":
            statistics = _add(state, "if:statistics")
            _add(statistics, "if:discontinuity-time", self._started_at)
            _add(statistics, "if:in-octets", str(onu.upstream_octets if onu else 0))
            _add(statistics, "if:out-octets", str(onu.downstream_octets if onu else 0))
        if kind == "xponift:v-ani":
            self._v_ani_state(state, components, name, v_ani, onu)
        if kind == "xponift:channel-termination":
            self._present(state, name)

    def _onu(self, v_ani: Element, terminations: dict[str, str]) -> Onu | None:
        serial = v_ani.findtext(qualified("vani:expected-serial-number"))
        port = terminations.get(v_ani.findtext(qualified("vani:preferred-channel-pair")) or "")
        return self._plant.expected(serial, port) if serial and port else None

    def _v_ani_state(self, state: Element, components: Element, name: str, v_ani: Element, onu: Onu | None) -> None:
        container = _add(state, "vani:v-ani")
        partition = v_ani.findtext(qualified("vani:channel-partition")) or ""
        onu_id = int(v_ani.findtext(qualified("vani:onu-id")) or self._choose(f"onu-id {partition}", name, 0))
        _add(container, "vani:onu-id", str(onu_id))
        word = "onu-present-and-on-intended-channel-termination" if onu else "onu-not-present-with-v-ani"
        _identity(container, "vani:onu-presence-state", "onu-types", word)
        if onu is None:
            return
        present = _add(container, "vani:onu-present-on-this-olt")
        pair = v_ani.findtext(qualified("vani:preferred-channel-pair"))
        _add(present, "vani:onu-present-on-this-channel-pair", pair)
        _add(present, "vani:onu-present-on-this-channel-termination", onu.pon_port)
        _add(present, "vani:onu-fiber-distance", str(onu.fiber_m))
        _add(present, "vani:detected-serial-number", onu.serial)
        for component in components:
            if component.findtext(qualified("hw:name")) == f"link-{onu.pon_port}":
                diagnostics = component.find(f"{qualified('xcvr:transceiver-link')}/{qualified('xcvr:diagnostics')}")
                rssi = _add(diagnostics, "xcvr-xpon:rssi-onu")
                _add(rssi, "xcvr-xpon:detected-serial-number", onu.serial)
                _add(rssi, "xcvr-xpon:rssi", str(onu.rx_tenth_dbm))
                _add(rssi, "xcvr-xpon:v-ani-ref", name)

    def _present(self, state: Element, port: str) -> None:
        onus = self._plant.on_port(port)
        if not onus:
            return
        present = _add(_add(state, "xpon:channel-termination"), "onu-state:onus-present-on-local-channel-termination")
        for onu in onus:
            item = _add(present, "onu-state:onu")
            _add(item, "onu-state:detected-serial-number", onu.serial)
            _identity(item, "onu-state:onu-presence-state", "onu-types", "onu-present")
            _add(item, "onu-state:onu-detected-datetime", self._started_at)
            _add(item, "onu-state:onu-state-last-change", self._started_at)

    def _port_components(self, components: Element, port: str) -> None:
        component = _add(components, "hw:component")
        _add(component, "hw:name", f"link-{port}")
        _add(_add(component, "xcvr:transceiver-link"), "xcvr:diagnostics")

    def _gem(self, root: Element, running: Element) -> None:
        state = _add(root, "gem:xpongemtcont-state")
        gemports, tconts = _add(state, "gem:gemports"), _add(state, "gem:tconts")
        base = running.find(qualified("gem:xpongemtcont"))
        if base is None:
            return
        for kind, parent, configured, actual, first in (
            ("gemport", gemports, "gemport-id", "actual-gemport-id", _FIRST_GEMPORT_ID),
            ("tcont", tconts, "alloc-id", "actual-alloc-id", _FIRST_ALLOC_ID),
        ):
            for entry in base.iterfind(f"{qualified(f'gem:{kind}s')}/{qualified(f'gem:{kind}')}"):
                name = entry.findtext(qualified("gem:name"))
                number = entry.findtext(qualified(f"gem:{configured}")) or self._choose(kind, name, first)
                item = _add(parent, f"gem:{kind}")
                _add(item, "gem:name", name)
                _add(item, f"gem:{actual}", str(number))

    def _choose(self, space: str, name: str, first: int) -> int:
        self._in_use.add((space, name))
        chosen = self._chosen.setdefault(space, {})
        if name not in chosen:
            taken = set(chosen.values())
            number = first
            while number in taken:
                number += 1
            chosen[name] = number
        return chosen[name]

    def _free_unused(self) -> None:
        for space, chosen in self._chosen.items():
            self._chosen[space] = {name: number for name, number in chosen.items() if (space, name) in self._in_use}


def _terminations(running: Element) -> dict[str, str]:
    """Channel pair → the port (channel termination) that serves it."""
    found = {}
    for entry in running.iterfind(f"{qualified('if:interfaces')}/{qualified('if:interface')}"):
        pair = entry.findtext(f"{qualified('xpon:channel-termination')}/{qualified('xpon:channel-pair-ref')}")
        if pair:
            found[pair] = entry.findtext(qualified("if:name"))
    return found


def _v_anis(running: Element) -> dict[str, Element]:
    """v-ani containers by the name of their interface."""
    return {
        entry.findtext(qualified("if:name")): entry.find(qualified("vani:v-ani"))
        for entry in running.iterfind(f"{qualified('if:interfaces')}/{qualified('if:interface')}")
        if entry.find(qualified("vani:v-ani")) is not None
    }


def _add(parent: Element, name: str, text: str | None = None) -> Element:
    tag = qualified(name)
    child = etree.SubElement(parent, tag, nsmap={None: tag[1:].partition("}")[0]})
    child.text = text
    return child


def _identity(parent: Element, name: str, prefix: str, local: str) -> None:
    tag = qualified(name)
    nsmap = {None: tag[1:].partition("}")[0], prefix: PREFIXES[prefix]}
    etree.SubElement(parent, tag, nsmap=nsmap).text = f"{prefix}:{local}"


def _timestamp() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
