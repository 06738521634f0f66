"""What an attacker on the way between a NAS and us could use, in words: the audit list of CVE-2024-3596 and its kin."""

from __future__ import annotations

from dataclasses import dataclass

from controller.domain.identity import NasId
from radius.follower import Follower
from radius.protocol.nas import Nas

_GOOD_SECRET = 16
"""Octets: "it is preferred that the secret be at least 16 octets" (RFC 2865 §3)."""


@dataclass(frozen=True, slots=True)
class WeakNas:
    """`requests_seen`: "signed", "unsigned" or "both" since this process knows the NAS as it is; None for neither."""

    nas_id: NasId
    name: str
    address: str
    weaknesses: tuple[str, ...]
    requests_seen: str | None
    advice: str


def weaknesses(nas: Nas) -> tuple[str, ...]:
    """The weaknesses of one NAS, the worst first; none for one that needs no attention."""
    found = []
    if not nas.require_message_authenticator:
        found.append("Access-Requests without Message-Authenticator are accepted")
        if not nas.limit_proxy_state:
            found.append("unsigned requests with Proxy-State are accepted: replies can be forged (CVE-2024-3596)")
    if len(nas.secret.value) < _GOOD_SECRET:
        found.append(f"the secret is shorter than {_GOOD_SECRET} octets (RFC 2865 §3)")
    if nas.rotation is not None:
        found.append(f"the former secret is accepted until {nas.rotation.until:%Y-%m-%d %H:%M} UTC")
    return tuple(found)


def _seen(nas: Nas) -> str | None:
    if nas.seen.signed and nas.seen.unsigned:
        return "both"
    return "signed" if nas.seen.signed else "unsigned" if nas.seen.unsigned else None


def _advice(nas: Nas, seen: str | None) -> str:
    if nas.require_message_authenticator:
        return "use a longer secret" if nas.rotation is None else "nothing, or end the rotation"
    if seen == "signed":
        return "set require_message_authenticator: every request so far was signed"
    if not nas.limit_proxy_state:
        return "set limit_proxy_state: a NAS that is no proxy sends no Proxy-State"
    return "upgrade the NAS until it signs, then set require_message_authenticator"


async def weak(follower: Follower) -> list[WeakNas]:
    """Every enabled NAS that has a weakness, by name."""
    found = []
    for nas in await follower.every_nas():
        words, seen = weaknesses(nas), _seen(nas)
        if nas.enabled and words:
            found.append(WeakNas(nas.nas_id, nas.name, nas.address, words, seen, _advice(nas, seen)))
    return sorted(found, key=lambda one: one.name)
