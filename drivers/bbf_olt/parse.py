"""What an OLT answered → what it has for a service. Pure; believes nothing but the configuration that was read."""

from __future__ import annotations

from collections.abc import Iterable

from lxml import etree

from controller.domain.identity import ServiceId
from controller.domain.service import ObservedService
from drivers.bbf_olt.model import (
    CONTAINERS,
    GEM,
    SHAPING,
    SUBIF,
    TAGGING,
    TM,
    VANI,
    XPON,
    Element,
    Key,
    Names,
    PonPort,
    Reading,
)


def reading(answers: Iterable[Element], service_id: str, profiles: Iterable[Key]) -> Reading:
    """Merge <data> elements into a Reading. `profiles` are those whose other users were asked for."""
    objects: dict[Key, Element] = {}
    for data in answers:
        for kind, path in CONTAINERS.items():
            for element in data.iterfind("/".join(path)):
                name = element.findtext(f"{{{etree.QName(element).namespace}}}name")
                key = Key(kind, (name or "").strip())
                # An entry read through two filters comes in parts; the fuller part is the object.
                if key not in objects or len(list(element.iter())) > len(list(objects[key].iter())):
                    objects[key] = element
    names = Names.of(service_id)
    wanted = {*names.all, *profiles}
    return Reading(
        objects={key: element for key, element in objects.items() if key in wanted},
        ports=_ports(objects),
        used_by_others=frozenset(p for p in profiles if _has_other_user(p, objects, names)),
    )


def profiles_of(answers: Iterable[Element], service_id: str) -> set[Key]:
    """The profiles that the service's own objects refer to."""
    found = reading(answers, service_id, ())
    names = Names.of(service_id)
    return {key for key in (_upstream_ref(found, names), _downstream_ref(found, names)) if key is not None}


def observed(found: Reading, service_id: ServiceId, driver_state: dict[str, str]) -> ObservedService:
    """The service as the domain sees it. Present as soon as one of its objects is there; parts that lack are None."""
    names = Names.of(service_id)
    own = [key for key in names.all if key in found.objects]
    if not own:
        return ObservedService(service_id, present=False, driver_state=driver_state)
    v_ani = found.objects.get(names.v_ani)
    serial = _text(v_ani, f"{{{VANI}}}v-ani/{{{VANI}}}expected-serial-number")
    pair = _text(v_ani, f"{{{VANI}}}v-ani/{{{VANI}}}preferred-channel-pair")
    port = next((p.name for p in found.ports.values() if p.channel_pair == pair), None)
    return ObservedService(
        service_id,
        present=True,
        downstream_bps=_downstream_bps(found, names),
        upstream_bps=_upstream_bps(found, names),
        onu_serial=serial,
        pon_port=port,
        subscriber_vlan=_vlan(found, names),
        details={key.kind if key.kind != "interface" else key.name.split("-")[0]: key.name for key in own},
        driver_state=driver_state,
    )


def pack(answers: Iterable[Element]) -> str:
    """The answers as one text, to be kept in an observation."""
    root = etree.Element("answers")
    root.extend(answers)
    text: str = etree.tostring(root, encoding="unicode")
    return text


def unpack(text: str) -> list[Element]:
    return list(etree.fromstring(text))


def _ports(objects: dict[Key, Element]) -> dict[str, PonPort]:
    """PON ports by name, joined over their channel pairs."""
    partitions = {}
    for key, element in objects.items():
        partition = _text(element, f"{{{XPON}}}channel-pair/{{{XPON}}}channel-partition-ref")
        if key.kind == "interface" and partition:
            partitions[key.name] = partition
    ports = {}
    for key, element in objects.items():
        pair = _text(element, f"{{{XPON}}}channel-termination/{{{XPON}}}channel-pair-ref")
        if key.kind == "interface" and pair in partitions:
            ports[key.name] = PonPort(key.name, pair, partitions[pair])
    return ports


def _has_other_user(profile: Key, objects: dict[Key, Element], names: Names) -> bool:
    for key, element in objects.items():
        if key in names.all:
            continue
        if key.kind == "tcont" and profile.kind == "traffic-descriptor-profile":
            reference = _text(element, f"{{{GEM}}}traffic-descriptor-profile-ref")
        elif key.kind == "interface" and profile.kind == "shaper-profile":
            reference = _text(element, f"{{{TM}}}tm-root/{{{SHAPING}}}shaper-name")
        else:
            continue
        if reference == profile.name:
            return True
    return False


def _upstream_ref(found: Reading, names: Names) -> Key | None:
    name = _text(found.objects.get(names.tcont), f"{{{GEM}}}traffic-descriptor-profile-ref")
    return Key("traffic-descriptor-profile", name) if name else None


def _downstream_ref(found: Reading, names: Names) -> Key | None:
    name = _text(found.objects.get(names.v_enet), f"{{{TM}}}tm-root/{{{SHAPING}}}shaper-name")
    return Key("shaper-profile", name) if name else None


def _upstream_bps(found: Reading, names: Names) -> int | None:
    reference = _upstream_ref(found, names)
    profile = found.objects.get(reference) if reference else None
    return _number(_text(profile, f"{{{GEM}}}maximum-bandwidth"))


def _downstream_bps(found: Reading, names: Names) -> int | None:
    reference = _downstream_ref(found, names)
    profile = found.objects.get(reference) if reference else None
    kbps = _number(_text(profile, f"{{{SHAPING}}}single-token-bucket/{{{SHAPING}}}pir"))
    return None if kbps is None else kbps * 1000


def _vlan(found: Reading, names: Names) -> int | None:
    path = "/".join(
        (
            f"{{{SUBIF}}}inline-frame-processing/{{{SUBIF}}}ingress-rule/{{{SUBIF}}}rule/{{{SUBIF}}}ingress-rewrite",
            f"{{{TAGGING}}}push-tag/{{{TAGGING}}}dot1q-tag/{{{TAGGING}}}vlan-id",
        )
    )
    return _number(_text(found.objects.get(names.user), path))


def _text(element: Element | None, path: str) -> str | None:
    text = None if element is None else element.findtext(path)
    return text.strip() if text and text.strip() else None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None
