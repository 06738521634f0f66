"""Source address → NAS. A host costs one dict look-up; an address inside a network is resolved once and kept.

    sources["192.0.2.1"]     a registered host, or a kept member of a network
    not there                the longest registered prefix that contains it, kept until the registry changes
    nobody's, or a host      KeyError: a disabled host stays refused inside a network that is enabled
    that is disabled

Each address of a network is a NAS of its own, with an id of its own: two boxes choose Acct-Session-Ids independently,
and CoA goes to the one that has the session.
"""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from hashlib import sha256

from controller.domain.identity import NasId
from radius.protocol.nas import Nas, Rotation

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def network_of(address: str) -> Network | None:
    """The network that a registered address names; None for a host. Raises ValueError for neither."""
    if "/" not in address:
        ipaddress.ip_address(address)
        return None
    found = ipaddress.ip_network(address)
    return None if found.num_addresses == 1 else found


def member_id(network: NasId, address: str) -> NasId:
    """Id of one address of a network: the same in every process and at every time."""
    return NasId(sha256(f"{network} {address}".encode()).hexdigest()[:32])


def member(nas: Nas, address: str) -> Nas:
    """One box of a registered network."""
    box = replace(nas, nas_id=member_id(nas.nas_id, address), address=address, member_of=nas.nas_id)
    rotation = nas.rotation
    return box if rotation is None else Rotation.between(box, rotation.former.secret, rotation.until)


class Sources(dict[str, Nas]):
    """Read by the server machines with `[]`. `put` and `drop` keep it equal to the registry."""

    def __init__(self, *, capacity: int = 65_536) -> None:
        super().__init__()
        self._capacity = capacity
        self._kept: list[str] = []
        self._networks: dict[tuple[int, int], dict[int, Nas]] = {}
        self._refused: set[str] = set()

    def put(self, nas: Nas) -> None:
        """A NAS as it is registered now."""
        self._forget()
        network = network_of(nas.address)
        if network is None:
            if nas.enabled:
                self[nas.address] = nas
                self._refused.discard(nas.address)
            else:
                self._refused.add(nas.address)
        elif nas.enabled:
            key, prefix = _place(network)
            self._networks.setdefault(key, {})[prefix] = nas

    def drop(self, nas: Nas) -> None:
        """A NAS that is registered otherwise from now on; another may have its address already."""
        self._forget()
        network = network_of(nas.address)
        if network is None:
            self._refused.discard(nas.address)
            if self.get(nas.address) is nas:
                del self[nas.address]
            return
        key, prefix = _place(network)
        prefixes = self._networks.get(key, {})
        if prefixes.get(prefix) is nas:
            del prefixes[prefix]
            if not prefixes:
                del self._networks[key]

    def __missing__(self, address: str) -> Nas:
        if not self._networks or address in self._refused:
            raise KeyError(address)
        try:
            found = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            raise KeyError(address) from None
        number, width = int(found), found.max_prefixlen
        for (version, length), prefixes in sorted(self._networks.items(), reverse=True):
            nas = prefixes.get(number >> (width - length)) if version == found.version else None
            if nas is not None:
                return self._keep(address, member(nas, address))
        raise KeyError(address)

    def _keep(self, address: str, nas: Nas) -> Nas:
        if len(self._kept) >= self._capacity:
            self._forget()
        self._kept.append(address)
        self[address] = nas
        return nas

    def _forget(self) -> None:
        for address in self._kept:
            self.pop(address, None)
        self._kept.clear()


def _place(network: Network) -> tuple[tuple[int, int], int]:
    length = network.prefixlen
    return (network.version, length), int(network.network_address) >> (network.max_prefixlen - length)
