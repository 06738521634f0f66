"""What a login of a plan with pools is given: addresses held for it, as reply attributes."""

from __future__ import annotations

from collections.abc import Sequence

from controller.domain.clock import Clock
from controller.domain.identity import new_id
from radius.pools.allocator import Allocator, Exhausted
from radius.pools.lease import Owner
from radius.pools.model import DELEGATED, IPV4, IPV6
from radius.pools.owner import station_in
from radius.protocol.behind import nas_id_of
from radius.protocol.codes import Attr
from radius.protocol.nas import Nas
from radius.protocol.packet import Packet
from radius.vendors import standard
from radius.vendors.mark import service_in
from radius.vendors.terms import Addresses

_OWN = {
    Attr.FRAMED_IP_ADDRESS: IPV4,
    Attr.FRAMED_IPV6_PREFIX: IPV6,
    Attr.FRAMED_IPV6_ADDRESS: IPV6,
    Attr.DELEGATED_IPV6_PREFIX: DELEGATED,
}
"""What a subscriber has for good needs no pool of that kind."""


class PoolGrants:
    """radius.ports.Grants."""

    def __init__(self, allocator: Allocator, clock: Clock) -> None:
        self._allocator = allocator
        self._clock = clock

    async def give(self, pools: Sequence[tuple[str, str]], own: bytes, packet: Packet, nas: Nas) -> bytes | str:
        """See the port."""
        has = _kinds(own)
        wanted = {pool_id: kind for kind, pool_id in pools if kind not in has}
        if not wanted:
            return b""
        nas_id = str(nas_id_of(packet, nas))
        owner = Owner(service_in(own), station_in(packet, nas_id), nas_id, new_id(self._clock.now()))
        try:
            held = await self._allocator.hold(owner, list(wanted))
        except Exhausted as error:
            return str(error)
        return b"".join(_encoded(wanted[pool_id], address) for pool_id, address in held.items())


def _encoded(kind: str, address: str) -> bytes:
    if kind == IPV4:
        return standard.addresses(Addresses(ipv4=address))
    if kind == DELEGATED:
        return standard.addresses(Addresses(delegated_prefix=address))
    if address.endswith("/128"):
        return standard.addresses(Addresses(ipv6_address=address))
    return standard.addresses(Addresses(ipv6_prefix=address))


def _kinds(attributes: bytes) -> set[str]:
    """Kinds of address among reply attributes of ours."""
    found, position = set(), 0
    while position < len(attributes):
        kind = _OWN.get(Attr(attributes[position])) if attributes[position] in _KNOWN else None
        found |= {kind} if kind else set()
        position += attributes[position + 1]
    return found


_KNOWN = frozenset(int(kind) for kind in _OWN)
