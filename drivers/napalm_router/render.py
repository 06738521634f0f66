"""A service as an EOS router's configuration: a policer upstream, a shaper downstream, on one subinterface.

    policy-map type quality-of-service headend-<service>     upstream: what the subscriber sends is policed
       class class-default
          police rate <bps> bps burst-size <bytes> bytes
    interface <port>.<vlan>
       description headend <service>
       encapsulation dot1q vlan <vlan>
       service-policy type qos input headend-<service>
       shape rate <kbit/s> kbps                              downstream: what it receives is shaped

The attachment's VLAN is the subinterface's number. Pure text; no session, no clock.
"""

from __future__ import annotations

import difflib

from controller.domain.errors import PermanentDeviceError
from controller.domain.identity import DeviceId
from controller.domain.service import AttachedService, ObservedService, Plan, RouterAttachment, Step
from controller.domain.units import human_rate

BURST_S = 0.1
"""The policer's bucket holds this much of the rate: a TCP sender's bursts fit in, and no more."""
LEAST_BURST_OCTETS = 15_000


def policy_name(service_id: str) -> str:
    return f"headend-{service_id}"


def attachment_of(desired: AttachedService) -> RouterAttachment:
    """Raises PermanentDeviceError when the service is attached as to a device of another kind."""
    if not isinstance(desired.attachment, RouterAttachment):
        raise PermanentDeviceError("a router carries a service on an interface; it was to be attached by an ONU")
    return desired.attachment


def subinterface(port: str, vlan: int) -> str:
    return f"{port}.{vlan}"


def stanza(service_id: str, port: str, vlan: int, upstream_bps: int, downstream_bps: int) -> str:
    """The configuration that carries a service. Raises PermanentDeviceError for a rate the device cannot express."""
    if downstream_bps % 1000:
        raise PermanentDeviceError(f"the router shapes in whole kbit/s, not {downstream_bps} bit/s")
    burst = max(LEAST_BURST_OCTETS, int(upstream_bps * BURST_S / 8))
    name = policy_name(service_id)
    return (
        f"policy-map type quality-of-service {name}\n"
        f"   class class-default\n"
        f"      police rate {upstream_bps} bps burst-size {burst} bytes\n"
        f"!\n"
        f"interface {subinterface(port, vlan)}\n"
        f"   description headend {service_id}\n"
        f"   encapsulation dot1q vlan {vlan}\n"
        f"   service-policy type qos input {name}\n"
        f"   shape rate {downstream_bps // 1000} kbps\n"
        f"!\n"
    )


def desired_stanza(desired: AttachedService) -> str:
    """Empty when the service must be absent."""
    if not desired.present:
        return ""
    where, speed = attachment_of(desired), desired.profile
    return stanza(desired.service_id, where.interface, where.subscriber_vlan, speed.upstream_bps, speed.downstream_bps)


def removal(service_id: str, observed: ObservedService) -> str:
    place = _place(observed)
    lines = "" if place is None else f"no interface {place}\n"
    return f"{lines}no policy-map type quality-of-service {policy_name(service_id)}\n"


def differences(desired: AttachedService, observed: ObservedService) -> tuple[str, ...]:
    """What of the service the router shows otherwise, in words; empty when it is as desired."""
    if not desired.present:
        return ("the service is still there",) if observed.present else ()
    if not observed.present:
        return ("the service is not there",)
    where, speed = attachment_of(desired), desired.profile
    compared = (
        ("policer", speed.upstream_bps, observed.upstream_bps),
        ("shaper", speed.downstream_bps, observed.downstream_bps),
        ("interface", where.interface, observed.interface),
        ("VLAN", where.subscriber_vlan, observed.subscriber_vlan),
    )
    return tuple(f"{name} is {_word(seen)}, not {_word(wanted)}" for name, wanted, seen in compared if wanted != seen)


def is_as_desired(desired: AttachedService, observed: ObservedService) -> bool:
    return not differences(desired, observed)


def _word(value: object) -> str:
    return "absent" if value is None else str(value)


def plan(device_id: DeviceId, desired: AttachedService, observed: ObservedService) -> Plan:
    """One merge from what was observed to what is desired; no step when they agree. Raises PermanentDeviceError."""
    if is_as_desired(desired, observed):
        return Plan(device_id, desired.service_id, (), "")
    diff = "".join(
        difflib.unified_diff(
            _shown(observed).splitlines(keepends=True),
            desired_stanza(desired).splitlines(keepends=True),
            "observed",
            "desired",
        )
    )
    return Plan(device_id, desired.service_id, (_step(desired, observed),), diff)


def _step(desired: AttachedService, observed: ObservedService) -> Step:
    if not desired.present:
        return Step(f"remove the policer of {desired.service_id}", removal(desired.service_id, observed))
    where, speed = attachment_of(desired), desired.profile
    here = subinterface(where.interface, where.subscriber_vlan)
    rendered = desired_stanza(desired)
    stray = observed.present and _place(observed) not in (None, here)
    if stray:
        rendered = f"no interface {_place(observed)}\n" + rendered
    verb = "change" if observed.present else "add"
    rates = f"{human_rate(speed.downstream_bps)} down, {human_rate(speed.upstream_bps)} up"
    return Step(f"{verb} the policer of {desired.service_id} on {here}: {rates}", rendered)


def _place(observed: ObservedService) -> str | None:
    if observed.interface is None or observed.subscriber_vlan is None:
        return None
    return subinterface(observed.interface, observed.subscriber_vlan)


def _shown(observed: ObservedService) -> str:
    """The observed service in the words of the configuration, for the diff; what is not there is left out."""
    if not observed.present:
        return ""
    name = policy_name(observed.service_id)
    out = ""
    if observed.upstream_bps is not None:
        burst = max(LEAST_BURST_OCTETS, int(observed.upstream_bps * BURST_S / 8))
        out += (
            f"policy-map type quality-of-service {name}\n   class class-default\n"
            f"      police rate {observed.upstream_bps} bps burst-size {burst} bytes\n!\n"
        )
    if (place := _place(observed)) is not None:
        out += f"interface {place}\n   description headend {observed.service_id}\n"
        out += f"   encapsulation dot1q vlan {observed.subscriber_vlan}\n"
        if observed.upstream_bps is not None:
            out += f"   service-policy type qos input {name}\n"
        if observed.downstream_bps is not None:
            out += f"   shape rate {observed.downstream_bps // 1000} kbps\n"
        out += "!\n"
    return out
