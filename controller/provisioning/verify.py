"""Observed == desired? Pure: what differs, in words. Everything that decides whether a service is active is here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controller.domain.ports import SessionRate
from controller.domain.service import (
    AttachedService,
    Attachment,
    ObservedService,
    OnuAttachment,
    Plan,
    RouterAttachment,
    SpeedProfile,
)
from controller.domain.units import human_rate
from controller.provisioning.model import SessionVerification


def differences(desired: AttachedService, observed: ObservedService) -> tuple[str, ...]:
    """What of its part in the service the device does not show; empty when it is as desired."""
    if not desired.present:
        return ("the service is still on the device",) if observed.present else ()
    if not observed.present:
        return ("the service is not on the device",)
    found = [
        _rate("downstream", desired.profile.downstream_bps, observed.downstream_bps),
        _rate("upstream", desired.profile.upstream_bps, observed.upstream_bps),
    ]
    found += _place(desired.attachment, observed)
    return tuple(filter(None, found))


def _place(wanted: Attachment, observed: ObservedService) -> list[str]:
    vlan = _value("subscriber VLAN", wanted.subscriber_vlan, observed.subscriber_vlan)
    match wanted:
        case OnuAttachment():
            serial = observed.onu_serial.upper() if observed.onu_serial else None
            return [
                _value("ONU serial", wanted.onu_serial.upper(), serial),
                _value("PON port", wanted.pon_port, observed.pon_port),
                vlan,
            ]
        case RouterAttachment():
            return [_value("interface", wanted.interface, observed.interface), vlan]


def remaining(desired: AttachedService, observed: ObservedService, plan: Plan) -> tuple[str, ...]:
    """As `differences`, and what else the driver would still change: parts of a device's model we have no word for."""
    found = differences(desired, observed)
    if found or plan.is_empty:
        return found
    return tuple(f"the device would still need: {step.summary}" for step in plan.steps)


def sessions(
    profile: SpeedProfile, seen: Sequence[tuple[str, SessionRate | None]], failures: Mapping[str, str] | None = None
) -> SessionVerification:
    """Compare live sessions, by key, with what was seen of each after the change.

    `failures` are those whose NAS refused the change, or was given up, and why: it may have applied half of it and
    taken the new Class all the same, so of these only a rate is evidence.
    """
    if not seen:
        return SessionVerification("no-session", ())
    why = failures or {}
    states, details = zip(*(_session(profile, key, rate, why.get(key)) for key, rate in seen), strict=True)
    for state in ("refused", "mismatch", "pending", "class-echoed"):
        if state in states:
            return SessionVerification(state, details)
    return SessionVerification("verified", details)


def _session(profile: SpeedProfile, key: str, rate: SessionRate | None, failure: str | None) -> tuple[str, str]:
    state, words = _seen(profile, key, rate)
    if failure is None or state == "verified":
        return state, words
    seen = f"; {words}" if state == "mismatch" else ""
    return "refused", f"session {key}: {failure}{seen}"


def _seen(profile: SpeedProfile, key: str, rate: SessionRate | None) -> tuple[str, str]:
    if rate is None:
        return "pending", f"session {key}: nothing seen yet"
    shown = [
        (name, wanted, seen)
        for name, wanted, seen in (
            ("downstream", profile.downstream_bps, rate.downstream_bps),
            ("upstream", profile.upstream_bps, rate.upstream_bps),
        )
        if seen is not None
    ]
    wrong = [_rate(name, wanted, seen) for name, wanted, seen in shown if seen != wanted]
    if not shown and rate.profile_name != profile.name:
        wrong.append(_value("profile", profile.name, rate.profile_name))
    if wrong:
        return "mismatch", f"session {key}: " + ", ".join(wrong) + f" ({rate.source})"
    at = rate.observed_at.isoformat()
    if shown:
        return "verified", f"session {key}: verified by rate at {at} ({rate.source})"
    if not rate.class_suffices:
        return "pending", f"session {key}: Class echoed only at {at}, and the policy of its NAS asks for a rate"
    return "class-echoed", f"session {key}: Class echoed only at {at}; its NAS reports no rate"


def _rate(name: str, wanted: int, seen: int | None) -> str:
    if seen == wanted:
        return ""
    return f"{name} is {'unknown' if seen is None else human_rate(seen)}, desired {human_rate(wanted)}"


def _value(name: str, wanted: object, seen: object) -> str:
    return "" if seen == wanted else f"{name} is {'unknown' if seen is None else seen}, desired {wanted}"
