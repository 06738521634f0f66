"""Where home servers ask for CoA and Disconnect of their users: UDP (RFC 5176 §2.1: port 3799), or a TLS connection."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import cast

import structlog
from prometheus_client import Counter
from sqlalchemy.exc import SQLAlchemyError

from controller.domain.clock import Clock
from controller.domain.errors import PeerError
from controller.domain.identity import NasId
from controller.domain.ports import CoaOutcome
from radius.dynamic.proxy import Peer, Refused, Sends, answer, routed, verified
from radius.protocol.codes import CODE_NAMES
from radius.protocol.duplicates import PENDING, Duplicates, key_of
from radius.protocol.nas import Nas
from radius.protocol.operator import operator_nas
from radius.protocol.packet import Packet

log = structlog.get_logger()

PROXIED = Counter(
    "headend_radius_proxied_dynamic_requests",
    "CoA and Disconnect requests of home servers, by what came of them.",
    ["peer", "result"],
)
_MOST_UNDER_WAY = 1_024
_ID_LENGTH = 32
_LONGEST = 4_096

FindBox = Callable[[NasId], Awaitable[Nas | None]]
"""Follower.nas: the box of a network, or behind a proxy, that has this id."""
FindPeer = Callable[[str], Peer | None]
"""The home server at an address; None for a stranger."""
Send = Callable[[bytes], None]


class DynamicPort:
    """`take` a request from wherever it came; `await open()` serves UDP until `close`.

    `own_realm` is our Operator-Name.
    """

    def __init__(
        self,
        clock: Clock,
        find_peer: FindPeer,
        registry: Callable[[], Iterable[Nas]],
        client: Sends,
        *,
        find_box: FindBox | None = None,
        own_realm: str = "",
        reuse_port: bool = False,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._find_peer = find_peer
        self._registry = registry
        self._client = client
        self._find_box = find_box
        self._own_realm = own_realm.lower()
        self._reuse_port = reuse_port
        self._now_s = now_s
        # RFC 5080 §2.2.2; the longest lifetime, for a forwarded request may be under way as long as our tries take.
        self._duplicates = Duplicates(lifetime_s=30.0, capacity=16_384)
        self._under_way: set[asyncio.Task[None]] = set()
        self._endpoints: list[asyncio.DatagramTransport] = []
        self.port = 0

    async def open(self, host: str, port: int) -> None:
        """Raises OSError naming the port that is taken."""
        # One socket per family: in one for both, an IPv4 home server would come from ::ffff:a.b.c.d.
        for address in [host] if host != "::" else ["::", "0.0.0.0"]:  # noqa: S104 - the operator asked for it
            self._endpoints.append(await self._open(address, self.port or port))
            self.port = self._endpoints[0].get_extra_info("sockname")[1]
        log.info("radius.dynamic.listening", host=host, port=self.port)

    async def _open(self, host: str, port: int) -> asyncio.DatagramTransport:
        opened = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        opened.setblocking(False)
        if opened.family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if self._reuse_port:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            opened.bind((host, port))
        except OSError as error:
            opened.close()
            raise OSError(error.errno, f"UDP port {port} of {host}: {error.strerror}") from error
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Endpoint(self), sock=opened)
        return transport

    def close(self) -> None:
        for endpoint in self._endpoints:
            endpoint.close()
        for task in self._under_way:
            task.cancel()

    def datagram(self, data: bytes, source: tuple[str, int], send: Send) -> None:
        """One datagram of whoever it may be."""
        peer = self._find_peer(source[0])
        if peer is None:
            self._drop("unknown", "unknown-peer", source[0])
            return
        self.take(data[:_LONGEST], peer, source, send)

    def take(self, data: bytes, peer: Peer, source: tuple[str, int], send: Send) -> None:
        """A request of a peer that is known; `send` is called with the answer, at once or later. Raises nothing."""
        try:
            self._take(data, peer, source, send)
        except PeerError as error:
            self._drop(peer.name, error.reason, str(error))

    def _take(self, data: bytes, peer: Peer, source: tuple[str, int], send: Send) -> None:
        packet, now_s = verified(data, peer, self._clock.now()), self._now_s()
        if len(self._under_way) >= _MOST_UNDER_WAY:
            raise PeerError("overload", f"{len(self._under_way)} requests are under way")
        key = key_of(source, packet.data)
        kept = self._duplicates.claim(key, now_s)
        if kept is not None:
            PROXIED.labels(peer.name, "duplicate").inc()
            if kept is not PENDING:
                send(kept)
            return
        task = asyncio.get_running_loop().create_task(self._forward(key, packet, peer, send))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _forward(self, key: bytes, packet: Packet, peer: Peer, send: Send) -> None:
        try:
            accepted = routed(packet, peer, [*self._registry(), *await self._boxes(packet)], self._own_realm)
        except Refused as refused:
            outcome = CoaOutcome("nak", refused.error_cause, str(refused))
            self._settle(key, packet, peer, send, outcome, "refused")
            return
        outcome = await self._client.send(accepted.nas, packet.code, accepted.attributes)
        self._settle(key, packet, peer, send, outcome, outcome.result)

    async def _boxes(self, packet: Packet) -> list[Nas]:
        """The box that is meant, where it is one that nobody registered by itself."""
        token = operator_nas(packet.attributes())
        known = {nas.nas_id for nas in self._registry()}
        if token is None or self._find_box is None or len(token) != _ID_LENGTH or not token.isascii():
            return []
        nas_id = NasId(token.decode())
        try:
            box = None if nas_id in known else await self._find_box(nas_id)
        except (SQLAlchemyError, OSError) as error:
            log.warning("radius.dynamic.box-unknown", nas_id=nas_id, error=str(error))
            return []
        return [] if box is None else [box]

    def _settle(self, key: bytes, packet: Packet, peer: Peer, send: Send, outcome: CoaOutcome, result: str) -> None:
        reply = answer(packet, peer, outcome)
        self._duplicates.answer(key, reply)
        send(reply)
        PROXIED.labels(peer.name, result).inc()
        log.info(
            "radius.dynamic.proxied",
            peer=peer.name,
            code=CODE_NAMES[packet.code],
            result=result,
            error_cause=outcome.error_cause,
            detail=outcome.detail,
        )

    @staticmethod
    def _drop(peer: str, result: str, detail: str) -> None:
        PROXIED.labels(peer, result).inc()
        log.info("radius.dynamic.dropped", peer=peer, result=result, detail=detail)


class _Endpoint(asyncio.DatagramProtocol):
    """One socket."""

    def __init__(self, port: DynamicPort) -> None:
        self._port = port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # No isinstance: uvloop has transports of its own.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        source = (str(addr[0]), addr[1])
        self._port.datagram(data, source, lambda reply: self._send(reply, addr))

    def _send(self, reply: bytes, addr: tuple[str | object, int]) -> None:
        if not self._transport.is_closing():
            self._transport.sendto(reply, addr)
