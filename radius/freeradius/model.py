"""What an import wants: NAS, logins and sessions in our terms, and remarks about what has no counterpart. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from controller.domain.ports import Secret
from controller.domain.service import SpeedProfile


@dataclass(frozen=True)
class WantedNas:
    name: str
    address: str
    secret: Secret
    vendor: str
    interim_interval_s: int


@dataclass(frozen=True)
class WantedLogin:
    """`form` is how the password is known: "clear", "nt" for its NT hash, "foreign" for another one. `terms` in the
    words of our API. `asks_more`: it is locked because of a check that cannot be asked here."""

    username: str
    password: Secret
    form: str
    profile: SpeedProfile
    enabled: bool
    framed_ipv4: str | None
    ipv6_prefix: str | None
    delegated_prefix: str | None
    terms: dict[str, Any]
    asks_more: bool = False


@dataclass
class Findings:
    """What was found, for the report. `remarks`: sentence → of how many rows, and some of them by name."""

    remarks: dict[str, list[str]] = field(default_factory=dict)
    mapped: Counter[str] = field(default_factory=Counter)
    """What became what → of how many rows."""
    passwords: Counter[str] = field(default_factory=Counter)

    def remark(self, sentence: str, whose: str) -> None:
        self.remarks.setdefault(sentence, []).append(whose)


@dataclass
class Wanted:
    nas: list[WantedNas]
    logins: list[WantedLogin]
    findings: Findings


WEAK_SECRET_OCTETS = 16
"""RFC 2865 §3: a secret is to be at least 16 octets long."""
_GUESSED = frozenset({"testing123", "secret", "radius", "password", "changeme", "cisco", "mikrotik"})


def why_weak(secret: str) -> str | None:
    """Why a shared secret is weak, in words; None for one that is not known to be."""
    if secret.lower() in _GUESSED:
        return "a secret that everybody tries first"
    if len(secret.encode()) < WEAK_SECRET_OCTETS:
        return "a secret of fewer than 16 octets (RFC 2865 §3)"
    return None


def names(whose: Iterable[str], most: int = 5) -> str:
    """Some of them by name, and how many more."""
    each = sorted(set(whose))
    more = f" and {len(each) - most} more" if len(each) > most else ""
    return ", ".join(each[:most]) + more
