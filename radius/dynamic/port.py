"""The socket on which home servers ask for CoA and Disconnect of their users (RFC 5176 §2.1: UDP port 3799)."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterable

import structlog
from prometheus_client import Counter

from controller.domain.clock import Clock
from controller.domain.errors import PeerError
from controller.domain.ports import CoaOutcome
from radius.dynamic.proxy import Accepted, Peer, Refused, Sends, answer, routed, verified
from radius.protocol.codes import CODE_NAMES
from radius.protocol.duplicates import PENDING, Duplicates, key_of
from radius.protocol.nas import Nas
from radius.protocol.packet import Packet

log = structlog.get_logger()

PROXIED = Counter(
    "headend_radius_proxied_dynamic_requests",
    "CoA and Disconnect requests of home servers, by what came of them.",
    ["peer", "result"],
)
_MOST_UNDER_WAY = 1_024
_LONGEST = 4_096

FindPeer = Callable[[str], Peer | None]
"""The home server at an address; None for a stranger."""


class DynamicPort(asyncio.DatagramProtocol):
    """`await open()`, then it serves until `close`. `own_realm` is our Operator-Name."""

    def __init__(
        self,
        clock: Clock,
        find_peer: FindPeer,
        registry: Callable[[], Iterable[Nas]],
        client: Sends,
        *,
        own_realm: str = "",
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._find_peer = find_peer
        self._registry = registry
        self._client = client
        self._own_realm = own_realm.lower()
        self._now_s = now_s
        # RFC 5080 §2.2.2; the longest lifetime, for a forwarded request may be under way as long as our tries take.
        self._duplicates = Duplicates(lifetime_s=30.0, capacity=16_384)
        self._under_way: set[asyncio.Task[None]] = set()
        self._transport: asyncio.DatagramTransport | None = None
        self.port = 0

    async def open(self, host: str, port: int) -> None:
        """Raises OSError naming the port that is taken."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        loop = asyncio.get_running_loop()
        try:
            self._transport, _ = await loop.create_datagram_endpoint(lambda: self, (host, port), family=family)
        except OSError as error:
            raise OSError(error.errno, f"UDP port {port} of {host}: {error.strerror}") from error
        self.port = self._transport.get_extra_info("sockname")[1]
        log.info("radius.dynamic.listening", host=host, port=self.port)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
        for task in self._under_way:
            task.cancel()

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        source = (str(addr[0]), addr[1])
        peer = self._find_peer(source[0])
        if peer is None:
            self._drop("unknown", "unknown-peer", source[0])
            return
        try:
            self._take(data[:_LONGEST], peer, source)
        except PeerError as error:
            self._drop(peer.name, error.reason, str(error))

    def _take(self, data: bytes, peer: Peer, source: tuple[str, int]) -> None:
        packet, now_s = verified(data, peer, self._clock.now()), self._now_s()
        if len(self._under_way) >= _MOST_UNDER_WAY:
            raise PeerError("overload", f"{len(self._under_way)} requests are under way")
        key = key_of(source, packet.data)
        kept = self._duplicates.claim(key, now_s)
        if kept is not None:
            PROXIED.labels(peer.name, "duplicate").inc()
            if kept is not PENDING:
                self._send(kept, source)
            return
        try:
            accepted = routed(packet, peer, self._registry(), self._own_realm)
        except Refused as refused:
            outcome = CoaOutcome("nak", refused.error_cause, str(refused))
            self._settle(key, packet, peer, source, outcome, "refused")
            return
        task = asyncio.get_running_loop().create_task(self._forward(key, accepted, source))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _forward(self, key: bytes, accepted: Accepted, source: tuple[str, int]) -> None:
        outcome = await self._client.send(accepted.nas, accepted.request.code, accepted.attributes)
        self._settle(key, accepted.request, accepted.peer, source, outcome, outcome.result)

    def _settle(
        self, key: bytes, packet: Packet, peer: Peer, source: tuple[str, int], outcome: CoaOutcome, result: str
    ) -> None:
        reply = answer(packet, peer, outcome)
        self._duplicates.answer(key, reply)
        self._send(reply, source)
        PROXIED.labels(peer.name, result).inc()
        log.info(
            "radius.dynamic.proxied",
            peer=peer.name,
            code=CODE_NAMES[packet.code],
            result=result,
            error_cause=outcome.error_cause,
            detail=outcome.detail,
        )

    def _send(self, reply: bytes, source: tuple[str, int]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(reply, source)

    @staticmethod
    def _drop(peer: str, result: str, detail: str) -> None:
        PROXIED.labels(peer, result).inc()
        log.info("radius.dynamic.dropped", peer=peer, result=result, detail=detail)
