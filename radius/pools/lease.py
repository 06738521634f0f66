"""The life of an address, as rules. Pure: no clock, no table.

    free ── Accept ─→ held ── Start ─→ leased ── Stop, restart of the NAS, silence ─→ free
             ↑          └── nobody started within hold_s ─→ free
             └── the subscriber's own last one first, else the one that was free longest

A subscriber who dials again before the Stop of the former session came gets the same address: the lease stays with the
session that has it and is *held* beside, so that neither the late Stop frees what the new session uses, nor a login
that was never used frees what the old session still has.

Who comes is told by service and station (Calling-Station-Id, else the port). Without either two logins of a service
may be two subscribers' lines: what is leased is then never given again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

FREE = "free"
HELD = "held"
LEASED = "leased"

_CLOCKS_US = 10_000_000
"""A session that began so long before its Accept by the NAS's clock is still the one that was accepted."""


@dataclass(slots=True)
class Lease:
    """A row; instants are UTC microseconds. `held_…`: an Accept went out, and its Start is waited for until then."""

    pool_id: str
    position: int
    address: str
    state: str
    changed_us: int
    service_id: str | None
    station: str
    grant_id: str | None
    nas_id: str | None
    session_key: str | None
    held_since_us: int | None
    held_until_us: int | None


@dataclass(frozen=True, slots=True)
class Owner:
    """Who asks, in one login. `station` is "" where the NAS says nothing that tells."""

    service_id: str
    station: str
    nas_id: str
    grant_id: str


@dataclass(frozen=True, slots=True)
class Tenant:
    """A live session of a service."""

    session_key: str
    service_id: str
    station: str
    started_us: int
    framed_ipv4: str | None


def own(leases: Iterable[Lease], owner: Owner) -> Lease | None:
    """The lease that this owner has, or had last; None when there is none to be had back."""
    mine = [lease for lease in leases if lease.service_id == owner.service_id]
    for lease in mine:
        if lease.state != FREE and lease.station == owner.station and _is_his(lease, owner):
            return lease
    free = [lease for lease in mine if lease.state == FREE]
    return max(free, key=lambda lease: (lease.station == owner.station, lease.changed_us), default=None)


def _is_his(lease: Lease, owner: Owner) -> bool:
    return owner.station != "" or (lease.state == HELD and lease.nas_id == owner.nas_id)


def hold(lease: Lease, owner: Owner, now_us: int, hold_s: int) -> None:
    """An Accept goes out with this address."""
    lease.service_id, lease.station = owner.service_id, owner.station
    lease.grant_id, lease.nas_id = owner.grant_id, owner.nas_id
    lease.held_since_us, lease.held_until_us, lease.changed_us = now_us, now_us + hold_s * 1_000_000, now_us
    if lease.state != LEASED:
        lease.state, lease.session_key = HELD, None


def settle(leases: Sequence[Lease], tenants: Sequence[Tenant], now_us: int) -> list[Lease]:
    """Bring the leases of a service to what its live sessions say; returns those that changed.

    Level-triggered: the same sessions give the same leases however often and in whatever order they are told.
    """
    newest_first = sorted(tenants, key=lambda tenant: (tenant.started_us, tenant.session_key), reverse=True)
    return [
        lease for lease in leases if _settle(lease, next((t for t in newest_first if _has(t, lease)), None), now_us)
    ]


def _settle(lease: Lease, tenant: Tenant | None, now_us: int) -> bool:
    before = (lease.state, lease.session_key, lease.held_until_us)
    if tenant is not None:
        # A session older than the Accept is not the one that was accepted: that one is waited for on.
        if lease.held_since_us is not None and tenant.started_us >= lease.held_since_us - _CLOCKS_US:
            lease.held_since_us = lease.held_until_us = None
        lease.state, lease.session_key = LEASED, tenant.session_key
    elif lease.state != FREE:
        waits = lease.held_until_us is not None and lease.held_until_us > now_us
        lease.state, lease.session_key = HELD if waits else FREE, None
        if not waits:
            lease.held_since_us = lease.held_until_us = None
    if before == (lease.state, lease.session_key, lease.held_until_us):
        return False
    lease.changed_us = now_us
    return True


def _has(tenant: Tenant, lease: Lease) -> bool:
    """Whether this session has that address. IPv4 is told in accounting; where it is not, the station tells."""
    if tenant.service_id != lease.service_id:
        return False
    if "/" not in lease.address and tenant.framed_ipv4 is not None:
        return tenant.framed_ipv4 == lease.address
    return lease.state != FREE and (lease.station in ("", tenant.station))
