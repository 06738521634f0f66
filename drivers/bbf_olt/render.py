"""A service and a speed profile in the words of the BBF model. Pure; the only place that knows how they are spelled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lxml import etree

from controller.domain.errors import PermanentDeviceError
from controller.domain.service import AttachedService, OnuAttachment
from drivers.bbf_olt.model import (
    CONTAINERS,
    DOT1Q,
    GEM,
    IF,
    IF_TYPE,
    NC,
    SHAPING,
    SUBIF,
    TAGGING,
    TM,
    VANI,
    XPON_IF_TYPE,
    Element,
    Key,
    Names,
    PonPort,
    downstream_profile,
    upstream_profile,
)

_MAX_SHAPER_KBPS = 2**32 - 1


@dataclass(frozen=True, slots=True)
class BbfOltSettings:
    """How services are spelled on OLTs of this family."""

    assured_percent: int = 10
    """Share of the upstream rate that is assured; the rest is best effort up to the maximum."""

    confirm_timeout_s: int = 60
    """The device goes back by itself when the confirming commit does not come within this time."""


def onu_of(desired: AttachedService) -> OnuAttachment:
    """Raises PermanentDeviceError when the service is attached as to a device of another kind."""
    if not isinstance(desired.attachment, OnuAttachment):
        raise PermanentDeviceError("an OLT carries a service on an ONU; it was to be attached to an interface")
    return desired.attachment


def service_objects(desired: AttachedService, port: PonPort, settings: BbfOltSettings) -> dict[Key, Element]:
    """Every object that carries the service, with its profiles. Raises PermanentDeviceError for an unspeakable rate."""
    attachment = onu_of(desired)
    names = Names.of(desired.service_id)
    up, down = upstream_profile(desired.profile.upstream_bps), downstream_profile(desired.profile.downstream_bps)
    return {
        up: _traffic_descriptor(up, desired.profile.upstream_bps, settings.assured_percent),
        down: _shaper(down, desired.profile.downstream_bps),
        names.v_ani: _v_ani(names, attachment, port),
        names.v_enet: _v_enet(names, down),
        names.user: _user(names, attachment.subscriber_vlan),
        names.tcont: _tcont(names, up),
        names.gemport: _gemport(names),
    }


def edit_config(replace: Iterable[tuple[Key, Element]], remove: Iterable[Key]) -> Element:
    """One <edit-config> of the candidate that puts and removes whole objects, all or nothing.

    `replace` and `remove` are repeatable: sent twice, the second changes nothing.
    """
    operation = etree.Element(f"{{{NC}}}edit-config", nsmap={None: NC})
    etree.SubElement(etree.SubElement(operation, f"{{{NC}}}target"), f"{{{NC}}}candidate")
    etree.SubElement(operation, f"{{{NC}}}default-operation").text = "merge"
    etree.SubElement(operation, f"{{{NC}}}error-option").text = "rollback-on-error"
    config = etree.SubElement(operation, f"{{{NC}}}config", nsmap={"nc": NC})
    for key, element in replace:
        element.set(f"{{{NC}}}operation", "replace")
        _container(config, key).append(element)
    for key in remove:
        tag = CONTAINERS[key.kind][-1]
        gone = _sub(_container(config, key), tag)
        gone.set(f"{{{NC}}}operation", "remove")
        _sub(gone, _name_tag(tag)).text = key.name
    return operation


def text_of(operation: Element) -> str:
    """The operation as it is sent, indented for people."""
    etree.indent(operation)
    text: str = etree.tostring(operation, encoding="unicode")
    return text


def selection(keys: Iterable[Key], extra: Iterable[Mapping[str, object]] = ()) -> Element:
    """A subtree <filter> (RFC 6241 §6) for whole objects by name, and for `extra`, given as nested {tag: …} trees."""
    subtree = etree.Element(f"{{{NC}}}filter", {"type": "subtree"}, nsmap={None: NC})
    for key in keys:
        tag = CONTAINERS[key.kind][-1]
        _sub(_sub(_container(subtree, key), tag), _name_tag(tag)).text = key.name
    for tree in extra:
        _nest(subtree, tree)
    return subtree


def _nest(parent: Element, tree: Mapping[str, object]) -> None:
    for tag, below in tree.items():
        shared = parent.find(tag) if tag in _SHARED else None
        child = shared if shared is not None else _sub(parent, tag)
        if isinstance(below, Mapping):
            _nest(child, below)
        elif below is not None:
            child.text = str(below)


_SHARED = frozenset(tag for path in CONTAINERS.values() for tag in path[:-1])


def _container(root: Element, key: Key) -> Element:
    for tag in CONTAINERS[key.kind][:-1]:
        found = root.find(tag)
        root = found if found is not None else _sub(root, tag)
    return root


def _name_tag(tag: str) -> str:
    return f"{{{etree.QName(tag).namespace}}}name"


def _sub(parent: Element, tag: str, text: str | None = None) -> Element:
    child = etree.SubElement(parent, tag, nsmap={None: etree.QName(tag).namespace})
    child.text = text
    return child


def _tree(parent: Element, namespace: str, path: str, text: str | None = None) -> Element:
    """Append the chain of elements `path` ("a/b/c") in one namespace; the last holds `text`."""
    for name in path.split("/"):
        parent = _sub(parent, f"{{{namespace}}}{name}")
    parent.text = text
    return parent


def _interface(key: Key, type_namespace: str, kind: str) -> Element:
    interface = etree.Element(f"{{{IF}}}interface", nsmap={None: IF})
    _sub(interface, f"{{{IF}}}name", key.name)
    nsmap = {None: IF, "t": type_namespace}
    etree.SubElement(interface, f"{{{IF}}}type", nsmap=nsmap).text = f"t:{kind}"
    _sub(interface, f"{{{IF}}}enabled", "true")
    return interface


def _v_ani(names: Names, attachment: OnuAttachment, port: PonPort) -> Element:
    interface = _interface(names.v_ani, XPON_IF_TYPE, "v-ani")
    v_ani = _tree(interface, VANI, "v-ani")
    _tree(v_ani, VANI, "channel-partition", port.channel_partition)
    _tree(v_ani, VANI, "expected-serial-number", attachment.onu_serial)
    _tree(v_ani, VANI, "preferred-channel-pair", port.channel_pair)
    return interface


def _v_enet(names: Names, shaper: Key) -> Element:
    interface = _interface(names.v_enet, XPON_IF_TYPE, "olt-v-enet")
    _sub(_sub(interface, f"{{{TM}}}tm-root"), f"{{{SHAPING}}}shaper-name", shaper.name)
    _tree(interface, VANI, "olt-v-enet/lower-layer-interface", names.v_ani.name)
    return interface


def _user(names: Names, vlan: int) -> Element:
    """The subscriber's sub-interface: untagged towards the ONU, the subscriber's VLAN towards the network (TR-101)."""
    interface = _interface(names.user, IF_TYPE, "vlan-sub-interface")
    _tree(interface, SUBIF, "subif-lower-layer/interface", names.v_enet.name)
    processing = _tree(interface, SUBIF, "inline-frame-processing")
    rule = _tree(processing, SUBIF, "ingress-rule/rule")
    _tree(rule, SUBIF, "name", "subscriber")
    _tree(rule, SUBIF, "priority", "100")
    _tree(_tree(rule, SUBIF, "flexible-match"), TAGGING, "match-criteria/untagged")
    push = _tree(_tree(rule, SUBIF, "ingress-rewrite"), TAGGING, "push-tag")
    _tree(push, TAGGING, "index", "0")
    tag = _tree(push, TAGGING, "dot1q-tag")
    etree.SubElement(tag, f"{{{TAGGING}}}tag-type", nsmap={None: TAGGING, "q": DOT1Q}).text = "q:c-vlan"
    _tree(tag, TAGGING, "vlan-id", str(vlan))
    _tree(tag, TAGGING, "write-pbit-0")
    _tree(tag, TAGGING, "write-dei-0")
    _tree(_tree(processing, SUBIF, "egress-rewrite"), TAGGING, "pop-tags", "1")
    return interface


def _traffic_descriptor(key: Key, rate_bps: int, assured_percent: int) -> Element:
    profile = etree.Element(f"{{{GEM}}}traffic-descriptor-profile", nsmap={None: GEM})
    _tree(profile, GEM, "name", key.name)
    _tree(profile, GEM, "fixed-bandwidth", "0")
    _tree(profile, GEM, "assured-bandwidth", str(rate_bps * assured_percent // 100))
    _tree(profile, GEM, "maximum-bandwidth", str(rate_bps))
    _tree(profile, GEM, "additional-bw-eligibility-indicator", "best-effort-sharing")
    return profile


def _shaper(key: Key, rate_bps: int) -> Element:
    kbps, rest = divmod(rate_bps, 1000)
    if rest or kbps > _MAX_SHAPER_KBPS:
        raise PermanentDeviceError(f"{rate_bps} bit/s downstream is not a whole number of kbit/s that the shaper takes")
    profile = etree.Element(f"{{{SHAPING}}}shaper-profile", nsmap={None: SHAPING})
    _tree(profile, SHAPING, "name", key.name)
    _tree(profile, SHAPING, "single-token-bucket/pir", str(kbps))
    return profile


def _tcont(names: Names, profile: Key) -> Element:
    tcont = etree.Element(f"{{{GEM}}}tcont", nsmap={None: GEM})
    _tree(tcont, GEM, "name", names.tcont.name)
    _tree(tcont, GEM, "interface-reference", names.v_ani.name)
    _tree(tcont, GEM, "traffic-descriptor-profile-ref", profile.name)
    return tcont


def _gemport(names: Names) -> Element:
    gemport = etree.Element(f"{{{GEM}}}gemport", nsmap={None: GEM})
    _tree(gemport, GEM, "name", names.gemport.name)
    _tree(gemport, GEM, "interface", names.v_enet.name)
    _tree(gemport, GEM, "traffic-class", "0")
    _tree(gemport, GEM, "downstream-aes-indicator", "true")
    _tree(gemport, GEM, "tcont-ref", names.tcont.name)
    return gemport
