"""What must hold of a whole configuration: mandatory nodes, references, and the modules' must statements.

Pure. `validate` raises `RpcError` for the first fault, with the path of the node at fault; it refuses what a real OLT
of this model refuses, in the words of the model where the model has words.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque

from lxml import etree

from lab.olt.datastore import identity
from lab.olt.errors import RpcError
from lab.olt.names import Element, qualified, short
from lab.olt.schema import SCHEMA, Node

MAX_ONUS_PER_PARTITION = 128
"""Split ratio of an XGS-PON port."""

_TYPED_CONTAINERS = {
    "xpon:channel-group": "xponift:channel-group",
    "xpon:channel-partition": "xponift:channel-partition",
    "xpon:channel-pair": "xponift:channel-pair",
    "xpon:channel-termination": "xponift:channel-termination",
    "vani:v-ani": "xponift:v-ani",
    "vani:olt-v-enet": "xponift:olt-v-enet",
    "subif:subif-lower-layer": "bbfift:vlan-sub-interface",
    "subif:inline-frame-processing": "bbfift:vlan-sub-interface",
}
_TYPED_TAGS = {qualified(container): wanted for container, wanted in _TYPED_CONTAINERS.items()}
_NAME = qualified("if:name")
_INTERFACE = f"{qualified('if:interfaces')}/{qualified('if:interface')}"
_INTERFACE_TYPES = frozenset(_TYPED_CONTAINERS.values()) | {"ianaift:ethernetCsmacd"}


_MEMORY = 8
_valid: deque[bytes] = deque(maxlen=_MEMORY)
"""Digests of configurations found good lately: one change is validated on edit, on request and at both commits."""


def validate(config: Element) -> None:
    """Raise RpcError where `config` breaks the model."""
    digest = hashlib.blake2b(etree.tostring(config)).digest()
    if digest in _valid:
        return
    _structure(config, SCHEMA, _Names(config))
    interfaces = {entry.findtext(_NAME): entry for entry in config.iterfind(_INTERFACE)}
    for name, entry in interfaces.items():
        _interface(name, entry, interfaces)
    _onus(interfaces)
    _bandwidth(config)
    _gem(config, interfaces)
    _valid.append(digest)


class _Names:
    """What references may name: the instances of each list, gathered when first asked for."""

    def __init__(self, config: Element) -> None:
        self._config = config
        self._known: dict[str, set[str | None]] = {}

    def of(self, argument: str) -> set[str | None]:
        if argument not in self._known:
            steps = "/".join(step if step == "*" else qualified(step) for step in argument.split("/"))
            self._known[argument] = {
                entry.findtext(f"{{{entry.tag[1:].partition('}')[0]}}}name") for entry in self._config.iterfind(steps)
            }
        return self._known[argument]


def _structure(element: Element, schema: Node, names: _Names) -> None:
    for node in schema.children.values():
        if node.mandatory and element.find(node.tag) is None:
            raise RpcError(
                "data-missing", f"{short(node.tag)} is mandatory", path=_where(element), app_tag="missing-instance"
            )
    for child in element:
        node = schema.children[child.tag]
        if not node.is_leaf:
            _structure(child, node, names)
        elif node.type == "ref" and child.text not in names.of(node.argument):
            raise RpcError(
                "data-missing",
                f"{child.text!r} names no existing instance of {node.argument}",
                path=_where(child),
                app_tag="instance-required",
            )


def _where(element: Element) -> str:
    """The path of a node from the top of its configuration."""
    chain = [element, *element.iterancestors()][-2::-1]
    path, node = "", SCHEMA
    for step in chain:
        node = node.children[step.tag]
        path += f"/{_step(step, node)}"
    return path


def _step(element: Element, node: Node) -> str:
    name = short(element.tag)
    return f"{name}[{short(node.key)}='{element.findtext(node.key)}']" if node.kind == "list" else name


def _path(name: str, *steps: str) -> str:
    return "/".join((f"/if:interfaces/if:interface[if:name='{name}']", *steps))


def _interface(name: str, entry: Element, interfaces: dict[str, Element]) -> None:
    kind = identity(entry.find(qualified("if:type")))
    if kind not in _INTERFACE_TYPES:
        raise RpcError("invalid-value", f"interface type {kind} is not supported", path=_path(name, "if:type"))
    for child in entry:
        wanted = _TYPED_TAGS.get(child.tag)
        if wanted is not None and kind != wanted:
            container = short(child.tag)
            raise RpcError(
                "unknown-element",
                f"{container} exists only on interfaces of type {wanted}",
                path=_path(name, container),
            )
    v_ani = entry.find(qualified("vani:v-ani"))
    if v_ani is not None:
        _v_ani(name, v_ani, interfaces)
    elif kind == "xponift:v-ani":
        raise RpcError("data-missing", "a v-ani interface needs its v-ani container", path=_path(name, "vani:v-ani"))
    lower = entry.find(f"{qualified('vani:olt-v-enet')}/{qualified('vani:lower-layer-interface')}")
    if lower is not None and _type(interfaces, lower.text) != "xponift:v-ani":
        raise _must(
            "the lower layer of an olt-v-enet is a v-ani", _path(name, "vani:olt-v-enet/vani:lower-layer-interface")
        )


def _v_ani(name: str, v_ani: Element, interfaces: dict[str, Element]) -> None:
    partition = v_ani.findtext(qualified("vani:channel-partition"))
    pair = v_ani.findtext(qualified("vani:preferred-channel-pair"))
    if partition is None or _type(interfaces, partition) != "xponift:channel-partition":
        raise _must("Must reference a channel partition.", _path(name, "vani:v-ani/vani:channel-partition"))
    if pair is None:
        return
    belongs_to = interfaces[pair].findtext(
        f"{qualified('xpon:channel-pair')}/{qualified('xpon:channel-partition-ref')}"
    )
    if belongs_to != partition:
        raise _must(
            "Must reference a channel pair which belongs to the same channel partition.",
            _path(name, "vani:v-ani/vani:preferred-channel-pair"),
        )


def _onus(interfaces: dict[str, Element]) -> None:
    """Serial numbers are unique on the OLT; ONU-IDs on their channel partition, which also has room for so many."""
    serials: dict[str, str] = {}
    onu_ids: dict[tuple[str, str], str] = {}
    load: Counter[str] = Counter()
    for name, entry in interfaces.items():
        v_ani = entry.find(qualified("vani:v-ani"))
        if v_ani is None:
            continue
        partition = v_ani.findtext(qualified("vani:channel-partition"))
        serial = v_ani.findtext(qualified("vani:expected-serial-number"))
        onu_id = v_ani.findtext(qualified("vani:onu-id"))
        if serial is not None and serials.setdefault(serial.upper(), name) != name:
            raise _must(
                f"serial number {serial} is expected by {serials[serial.upper()]} already",
                _path(name, "vani:v-ani/vani:expected-serial-number"),
            )
        if onu_id is not None and onu_ids.setdefault((partition, onu_id), name) != name:
            raise _must(
                f"ONU-ID {onu_id} belongs to {onu_ids[partition, onu_id]} already",
                _path(name, "vani:v-ani/vani:onu-id"),
            )
        load[partition] += 1
        if load[partition] > MAX_ONUS_PER_PARTITION:
            raise RpcError(
                "resource-denied", f"{partition} has no room for another ONU", path=_path(name, "vani:v-ani")
            )


def _bandwidth(config: Element) -> None:
    profiles = "/".join(
        qualified(s) for s in ("gem:xpongemtcont", "gem:traffic-descriptor-profiles", "gem:traffic-descriptor-profile")
    )
    for profile in config.iterfind(profiles):
        name = profile.findtext(qualified("gem:name"))
        fixed, assured, maximum = (
            int(profile.findtext(qualified(f"gem:{kind}-bandwidth")) or 0) for kind in ("fixed", "assured", "maximum")
        )
        path = (
            "/gem:xpongemtcont/gem:traffic-descriptor-profiles/"
            f"gem:traffic-descriptor-profile[gem:name='{name}']/gem:maximum-bandwidth"
        )
        if maximum < fixed + assured:
            raise _must(
                "The maximum bandwidth must be greater than or equal to the sum of the configured fixed and assured "
                "bandwidth.",
                path,
            )
        eligibility = profile.findtext(qualified("gem:additional-bw-eligibility-indicator"))
        if eligibility == "none" and maximum != fixed + assured:
            raise _must(
                "Additional bandwidth eligibility is configured to 'none' and 'maximum-bandwidth' does not equal the "
                "sum of 'fixed-bandwidth' and 'assured-bandwidth'.",
                path,
            )


def _gem(config: Element, interfaces: dict[str, Element]) -> None:
    """A tcont and each of its gemports belong to the same v-ani."""
    v_ani_of_tcont = {}
    for tcont in config.iterfind("/".join(map(qualified, ("gem:xpongemtcont", "gem:tconts", "gem:tcont")))):
        name = tcont.findtext(qualified("gem:name"))
        path = f"/gem:xpongemtcont/gem:tconts/gem:tcont[gem:name='{name}']"
        v_ani_of_tcont[name] = v_ani = tcont.findtext(qualified("gem:interface-reference"))
        if v_ani is None or _type(interfaces, v_ani) != "xponift:v-ani":
            raise _must("Must reference an interface of type 'v-ani' or 'ani'.", f"{path}/gem:interface-reference")
        if tcont.find(qualified("gem:traffic-descriptor-profile-ref")) is None:
            raise _must("a T-CONT needs a traffic descriptor", f"{path}/gem:traffic-descriptor-profile-ref")
    for gemport in config.iterfind("/".join(map(qualified, ("gem:xpongemtcont", "gem:gemports", "gem:gemport")))):
        name = gemport.findtext(qualified("gem:name"))
        path = f"/gem:xpongemtcont/gem:gemports/gem:gemport[gem:name='{name}']"
        tcont_name = gemport.findtext(qualified("gem:tcont-ref"))
        interface = gemport.findtext(qualified("gem:interface"))
        if tcont_name is None:
            raise _must("a GEM port feeds a T-CONT", f"{path}/gem:tcont-ref")
        if interface is None or _below(interfaces, interface) != v_ani_of_tcont[tcont_name]:
            raise _must("a GEM port and its T-CONT belong to the same v-ani", f"{path}/gem:interface")


def _below(interfaces: dict[str, Element], name: str) -> str | None:
    """The v-ani under an olt-v-enet; a v-ani is its own."""
    lower: str | None = interfaces[name].findtext(
        f"{qualified('vani:olt-v-enet')}/{qualified('vani:lower-layer-interface')}"
    )
    return lower if lower is not None else name


def _type(interfaces: dict[str, Element], name: str | None) -> str:
    entry = interfaces.get(name or "")
    return "" if entry is None else identity(entry.find(qualified("if:type")))


def _must(message: str, path: str) -> RpcError:
    return RpcError("operation-failed", message, path=path, app_tag="must-violation")
