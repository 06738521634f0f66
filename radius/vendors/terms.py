"""What a session is given, in words that no vendor owns: timers, pools, VLAN, filters, and the walled garden.

Directions are the subscriber's. None and 0 leave a thing to the NAS.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from controller.domain.service import SpeedProfile


@dataclass(frozen=True, slots=True)
class Timers:
    """Timers of a session, in seconds; 0 leaves the attribute out."""

    session_timeout_s: int = 0
    idle_timeout_s: int = 0
    interim_interval_s: int = 0


@dataclass(frozen=True, slots=True)
class Pools:
    """Names of pools on the NAS for the address, the IPv6 prefix of the link, and the delegated one."""

    ipv4: str | None = None
    ipv6: str | None = None
    delegated: str | None = None


@dataclass(frozen=True, slots=True)
class Filters:
    """Names of filters on the NAS for what comes from the subscriber, and for what goes to it."""

    upstream: str | None = None
    downstream: str | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """All that a service is given besides its speed and its own addresses. `vlan` is an IEEE 802.1Q id.

    A timer of None takes the default of the room, or of the NAS. `extra` are encoded attributes of a template.
    """

    session_timeout_s: int | None = None
    idle_timeout_s: int | None = None
    interim_interval_s: int | None = None
    pools: Pools = Pools()
    filters: Filters = Filters()
    vlan: int | None = None
    extra: bytes = b""


class Addresses(NamedTuple):
    """A service's own addresses, as text that was checked when it was stored: "192.0.2.7", "2001:db8:7::/64".

    `ipv6_address` is a prefix of 128 bits.
    """

    ipv4: str | None = None
    ipv6_prefix: str | None = None
    delegated_prefix: str | None = None
    ipv6_address: str | None = None


GARDEN_PROFILE = "~garden"
"""What Class names in place of the profile while a session is in the garden; no profile can have this name."""


def _slow() -> SpeedProfile:
    return SpeedProfile(GARDEN_PROFILE, 1_000_000, 1_000_000)


@dataclass(frozen=True, slots=True)
class Garden:
    """The walled garden of suspended services: slow, and to a few places only, which the NAS knows by `name`.

    `name` is the filter, address list, service or profile that closes the garden, `open_name` the one that a NAS is
    given in its place when the garden opens and the service has none of its own. `redirect_url` is where web pages are
    turned to. A session in the garden is asked to report as often as any other.
    """

    name: str = "garden"
    open_name: str = "subscribers"
    redirect_url: str | None = None
    profile: SpeedProfile = field(default_factory=_slow)
