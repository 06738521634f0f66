"""HTTP of pools: make and change them, and see who has what."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import In, Instant, Out
from controller.store.metadata import from_micros
from radius.pools.lease import Lease
from radius.pools.service import PoolService, PoolState, key_of

Kind = Literal["ipv4", "ipv6", "delegated"]
Range = Annotated[str, StringConstraints(min_length=2, max_length=90)]
Reason = Annotated[str, StringConstraints(min_length=3, max_length=400, strip_whitespace=True)]


class PoolIn(In):
    """Services and offerings name a pool in their terms (`pool`, `ipv6_pool`, `delegated_pool`): a name that a pool of
    this kind bears is served from here, any other is told to the NAS."""

    name: str = Field(min_length=1, max_length=64)
    kind: Kind
    ranges: list[Range] = Field(
        min_length=1, max_length=256, description="192.0.2.0/25, 192.0.2.10-192.0.2.40, 2001:db8::/40"
    )
    prefix_length: int | None = Field(
        default=None, ge=1, le=128, description="Of each prefix given: 64 for ipv6 and 56 for delegated unless said"
    )
    hold_s: int = Field(default=60, ge=1, le=3600, description="How long an address waits for its Accounting-Start")


class PoolChangeIn(In):
    add_ranges: list[Range] = Field(default=[], max_length=256)
    hold_s: int | None = Field(default=None, ge=1, le=3600)


class PoolOut(Out):
    """`utilisation` is the share that is not free, 0 to 1."""

    pool_id: str
    name: str
    kind: str
    ranges: list[str]
    prefix_length: int
    hold_s: int
    size: int
    free: int
    held: int
    leased: int
    utilisation: float
    updated_at: Instant


class LeaseOut(Out):
    """`service_id` of a free one is who had it last. `held_until`: an Accept went out and its Start is waited for."""

    address: str
    state: Literal["free", "held", "leased"]
    service_id: str | None
    station: str
    nas_id: str | None
    session_key: str | None
    held_until: Instant | None
    changed_at: Instant | None


class LeaseQuery(PageQuery):
    state: Literal["free", "held", "leased"] | None = None
    service_id: str | None = Field(default=None, max_length=32)


class FreeIn(In):
    """`reason` goes into the audit log."""

    address: str = Field(min_length=2, max_length=43)
    reason: Reason


_PREFIX_LENGTHS = {"ipv4": 32, "ipv6": 64, "delegated": 56}


def endpoints(pools: PoolService) -> list[Endpoint]:
    """Below /api/v1."""

    async def index(call: Call) -> Page:
        query = call.query_as(PageQuery)
        found = await pools.list(after=query.last(str), limit=query.rows)
        return Page.of(found, query, lambda state: (key_of(state),), _out)

    async def create(call: Call) -> PoolOut:
        body = call.body_as(PoolIn)
        made = await pools.create(
            name=body.name,
            kind=body.kind,
            ranges=body.ranges,
            prefix_length=body.prefix_length or _PREFIX_LENGTHS[body.kind],
            hold_s=body.hold_s,
            actor=call.actor,
        )
        return _out(made)

    async def show(call: Call) -> PoolOut:
        return _out(await pools.show(call.path["pool_id"]))

    async def change(call: Call) -> PoolOut:
        body, pool_id = call.body_as(PoolChangeIn), call.path["pool_id"]
        changed = await pools.change(pool_id, more_ranges=body.add_ranges, hold_s=body.hold_s, actor=call.actor)
        return _out(changed)

    async def withdraw(call: Call) -> None:
        await pools.withdraw(call.path["pool_id"], actor=call.actor)

    async def leases(call: Call) -> Page:
        query = call.query_as(LeaseQuery)
        found = await pools.leases(
            call.path["pool_id"],
            state=query.state,
            service_id=query.service_id,
            after=query.last(int),
            limit=query.rows,
        )
        return Page.of(found, query, lambda lease: (lease.position,), _lease)

    async def free(call: Call) -> LeaseOut:
        body = call.body_as(FreeIn)
        return _lease(await pools.free(call.path["pool_id"], body.address, actor=call.actor, reason=body.reason))

    one = "/radius/pools/{pool_id}"
    read, write = "radius:read", "radius:write"
    return [
        Endpoint(
            "GET", "/radius/pools", read, index, "Pools and how full they are", PoolOut, query=PageQuery, paged=True
        ),
        Endpoint("POST", "/radius/pools", write, create, "Make a pool", PoolOut, PoolIn, status=201),
        Endpoint("GET", one, read, show, "A pool and how full it is", PoolOut),
        Endpoint("PATCH", one, write, change, "Add ranges to a pool, or change its hold time", PoolOut, PoolChangeIn),
        Endpoint("DELETE", one, write, withdraw, "Withdraw a pool that nobody uses", status=204),
        Endpoint(
            "GET",
            f"{one}/leases",
            read,
            leases,
            "Addresses of a pool, who has them and who had them last",
            LeaseOut,
            query=LeaseQuery,
            paged=True,
        ),
        Endpoint("POST", f"{one}/free", write, free, "Take back an address that no live session has", LeaseOut, FreeIn),
    ]


def _out(state: PoolState) -> PoolOut:
    pool = state.pool
    return PoolOut(
        pool_id=pool.pool_id,
        name=pool.name,
        kind=pool.kind,
        ranges=list(pool.ranges),
        prefix_length=pool.prefix_length,
        hold_s=pool.hold_s,
        size=state.size,
        free=state.free,
        held=state.held,
        leased=state.leased,
        utilisation=round((state.held + state.leased) / state.size, 4),
        updated_at=state.updated_at,
    )


def _lease(lease: Lease) -> LeaseOut:
    return LeaseOut(
        address=lease.address,
        state=lease.state,
        service_id=lease.service_id,
        station=lease.station,
        nas_id=lease.nas_id,
        session_key=lease.session_key,
        held_until=None if lease.held_until_us is None else from_micros(lease.held_until_us),
        changed_at=from_micros(lease.changed_us) if lease.changed_us else None,
    )
