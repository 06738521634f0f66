"""An EOS running configuration as an ObservedService: what is there, and nothing that is only meant to be.

A rate counts only where it takes effect: a policy map that no subinterface applies polices nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from controller.domain.identity import ServiceId
from controller.domain.service import ObservedService
from drivers.napalm_router.render import policy_name

_UNIT = {"bps": 1, "kbps": 1_000, "mbps": 1_000_000, "gbps": 1_000_000_000}
_POLICE = re.compile(r"police rate (\d+) (bps|kbps|mbps|gbps) burst-size ")
_SHAPE = re.compile(r"shape rate (\d+) kbps$")


@dataclass(slots=True)
class Stanza:
    """A top-level line of the configuration and the lines below it, unindented."""

    head: str
    lines: list[str] = field(default_factory=list)

    def after(self, prefix: str) -> str | None:
        """What follows `prefix` in the first line that starts with it."""
        return next((line.removeprefix(prefix) for line in self.lines if line.startswith(prefix)), None)


def stanzas(config: str) -> Iterator[Stanza]:
    current: Stanza | None = None
    for line in config.splitlines():
        words = line.strip()
        if not words or words.startswith("!"):
            continue
        if line[:1] not in (" ", "\t"):
            if current is not None:
                yield current
            current = Stanza(words)
        elif current is not None:
            current.lines.append(words)
    if current is not None:
        yield current


def observed_service(config: str, service_id: ServiceId, expected_place: str | None) -> ObservedService:
    """What `config` has for the service.

    Should it stand on several subinterfaces, the one that is not `expected_place` is reported: it is the one to remove.
    """
    name = policy_name(service_id)
    policed: int | None = None
    has_policy = False
    found: list[Stanza] = []
    for stanza in stanzas(config):
        if stanza.head == f"policy-map type quality-of-service {name}":
            has_policy, policed = True, _police_rate(stanza)
        elif stanza.head.startswith("interface ") and _carries(stanza, service_id, name):
            found.append(stanza)
    if not found:
        return ObservedService(service_id, present=has_policy, details={"policy-map": name} if has_policy else {})
    here = min(found, key=lambda stanza: stanza.head == f"interface {expected_place}")
    place = here.head.removeprefix("interface ")
    applied = here.after("service-policy type qos input ") == name
    vlan = here.after("encapsulation dot1q vlan ")
    shaped = next((int(m[1]) * 1000 for line in here.lines if (m := _SHAPE.match(line))), None)
    return ObservedService(
        service_id,
        present=True,
        upstream_bps=policed if applied else None,
        downstream_bps=shaped,
        interface=place.partition(".")[0],
        subscriber_vlan=int(vlan) if vlan is not None and vlan.isdecimal() else None,
        details={"interface": place, "policy-map": name},
    )


def _carries(stanza: Stanza, service_id: str, name: str) -> bool:
    described = (stanza.after("description ") or "").split()
    return described[:2] == ["headend", service_id] or stanza.after("service-policy type qos input ") == name


def _police_rate(stanza: Stanza) -> int | None:
    for line in stanza.lines:
        if match := _POLICE.match(line):
            return int(match[1]) * _UNIT[match[2]]
    return None
