"""One home server over the network: ask it something, get its verified answer, or TimeoutError.

Over UDP each socket has 256 identifiers, so that many outstanding requests want many sockets; an identifier is used
again only under another authenticator, so that a late answer to its former bearer does not verify (RFC 2865 §3).
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from dataclasses import dataclass
from typing import Protocol, cast

from controller.domain.errors import PeerError
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import ACCESS_REQUEST, ACCOUNTING_REQUEST, STATUS_SERVER
from radius.protocol.hidden import Attributes, covered, opened
from radius.protocol.packet import HEADER_LENGTH, MAX_LENGTH, ZERO_AUTHENTICATOR, Packet

_MAX_SOCKETS = 64


@dataclass(frozen=True, slots=True)
class Reply:
    """What a home server said, with nothing hidden."""

    code: int
    attributes: Attributes


class Upstream(Protocol):
    """`ask` sends a request, repeats it where the transport loses packets, and returns the answer.

    Raises TimeoutError without one, OSError when it cannot be reached, PeerError when the request does not fit.
    """

    async def ask(self, code: int, attributes: Attributes, timeout_s: float) -> Reply: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Sealed:
    """A request on the wire under a shared secret, and how its answer is known."""

    datagram: bytes
    secret: SharedSecret
    strict: bool = False

    @staticmethod
    def make(code: int, identifier: int, attributes: Attributes, secret: SharedSecret, *, strict: bool) -> Sealed:
        """Raises PeerError when it has more than 4096 octets."""
        if code in (ACCESS_REQUEST, STATUS_SERVER):
            authenticator = secrets.token_bytes(16)
            body = covered(attributes, secret, authenticator)
            _check_room(body)
            return Sealed(secret.signed_request(code, identifier, authenticator, body), secret, strict)
        body = covered(attributes, secret, ZERO_AUTHENTICATOR)
        _check_room(body)
        return Sealed(secret.request(code, identifier, body, signed=False), secret)

    def read(self, datagram: bytes) -> Reply:
        """The verified answer. Raises PeerError: wait on, the true one may follow."""
        packet, authenticator = Packet.decode(datagram), self.datagram[4:20]
        self.secret.check_response(packet, authenticator)
        if self.strict and not self.secret.check_message_authenticator(packet, authenticator):
            raise PeerError("message-authenticator-missing", "this home server must sign its answers")
        return Reply(packet.code, opened(packet, self.secret, authenticator))


def _check_room(body: bytes) -> None:
    if HEADER_LENGTH + len(body) + 18 > MAX_LENGTH:
        raise PeerError("length", f"{len(body)} octets of attributes leave no room for ours")


class UdpUpstream:
    """A home server that shares a secret with us."""

    def __init__(self, host: str, auth_port: int, acct_port: int, secret: SharedSecret, *, strict: bool) -> None:
        self._host = host
        self._ports = (auth_port, acct_port)
        self._secret = secret
        self._strict = strict
        self._channels: dict[int, list[_Channel]] = {auth_port: [], acct_port: []}
        self._opening = asyncio.Lock()

    async def ask(self, code: int, attributes: Attributes, timeout_s: float) -> Reply:
        async with asyncio.timeout(timeout_s):  # a name has to be looked up
            channel = await self._channel(self._ports[code == ACCOUNTING_REQUEST])
        identifier = channel.free.pop()
        try:
            sealed = Sealed.make(code, identifier, attributes, self._secret, strict=self._strict)
            waiting = channel.expect(identifier, sealed)
            # One repetition, two thirds of the way: the NAS repeats by itself, and another server may be waiting.
            for wait_s in (timeout_s * 2 / 3, timeout_s / 3):
                channel.transport.sendto(sealed.datagram)
                done, _ = await asyncio.wait((waiting,), timeout=wait_s)
                if done:
                    return waiting.result()
            raise TimeoutError(f"no answer from {self._host}")
        finally:
            channel.release(identifier)

    def close(self) -> None:
        for channels in self._channels.values():
            for channel in channels:
                channel.transport.close()
            channels.clear()

    async def _channel(self, port: int) -> _Channel:
        """One with a free identifier, which the caller takes before anybody else has a turn."""
        channels = self._channels[port]
        while True:
            for channel in channels:
                if channel.free:
                    return channel
            async with self._opening:  # else each of a burst would open a socket of its own
                if any(channel.free for channel in channels):
                    continue
                if len(channels) >= _MAX_SOCKETS:
                    raise PeerError("overload", f"{_MAX_SOCKETS * 256} requests wait for {self._host}")
                family = socket.AF_INET6 if ":" in self._host else 0
                _, channel = await asyncio.get_running_loop().create_datagram_endpoint(
                    _Channel, remote_addr=(self._host, port), family=family
                )
                channels.append(channel)


class _Channel(asyncio.DatagramProtocol):
    """One socket with its 256 identifiers."""

    transport: asyncio.DatagramTransport

    def __init__(self) -> None:
        self.free = list(range(256))
        self._waiting: dict[int, tuple[Sealed, asyncio.Future[Reply]]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # No isinstance: uvloop has transports of its own.
        self.transport = cast(asyncio.DatagramTransport, transport)

    def expect(self, identifier: int, sealed: Sealed) -> asyncio.Future[Reply]:
        waiting: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[identifier] = sealed, waiting
        return waiting

    def release(self, identifier: int) -> None:
        found = self._waiting.pop(identifier, None)
        if found is not None:
            found[1].cancel()
        # To the other end, so that an identifier rests as long as it can.
        self.free.insert(0, identifier)

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        sealed, waiting = self._waiting.get(data[1] if len(data) > 1 else -1, (None, None))
        if sealed is None or waiting is None or waiting.done():
            return
        try:
            waiting.set_result(sealed.read(data))
        except PeerError:
            # Forged, or late for another request: the true answer may follow, and else the time runs out.
            return

    def error_received(self, exc: Exception) -> None:
        # ICMP: nobody listens there. Those who wait need not wait longer.
        for _, waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ConnectionRefusedError(str(exc)))
