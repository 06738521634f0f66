"""RADIUS over TLS as client: one home server, many outstanding requests, Status-Server as keep-alive.

Under version 1.0 a connection has 256 identifiers, and a further one is opened when they are used up; under 1.1 (RFC
9765) a Token tells requests apart, and one connection is enough. A connection on which nothing came back for a while is
asked for its Status; when that is not answered it is closed (RFC 6613 §2.6.1), and the next request opens another. One
on which an answer does not verify is closed, too (§2.6.4).

What the home server asks down the same connection, CoA and Disconnect of its users, goes to `dynamic`; where nobody
takes it, it is told 406 (RFC 6614 §2.5).
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import structlog
from cryptography import x509

from controller.domain.errors import PeerError
from radius.protocol import version11
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import COA_REQUEST, DISCONNECT_REQUEST, STATUS_SERVER
from radius.protocol.dynauth import UNSUPPORTED_EXTENSION, refusal
from radius.protocol.hidden import Attributes
from radius.protocol.outstanding import Identifiers
from radius.protocol.packet import Packet
from radius.protocol.stream import Frames
from radius.proxy.upstream import Reply, Sealed
from radius.radsec.certificates import RadsecCertificates
from radius.radsec.identity import names_of
from radius.radsec.reverse import RADSEC

log = structlog.get_logger()

_MAX_CONNECTIONS = 16

Dynamic = Callable[[bytes, tuple[str, int], SharedSecret, Callable[[bytes], None]], bool]
"""A CoA or Disconnect request of the home server, in the classic form under this secret; False when nobody takes it."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request under way; `sealed` is None under version 1.1, where TLS alone vouches for the answer."""

    waiting: asyncio.Future[Reply]
    sealed: Sealed | None


class TlsUpstream:
    """radius.proxy.upstream.Upstream over TLS. `identity` is what its certificate must be known by."""

    def __init__(
        self,
        host: str,
        port: int,
        certificates: RadsecCertificates,
        identity: str,
        *,
        keepalive_s: float = 20.0,
        dynamic: Dynamic | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._certificates = certificates
        self._identity = identity
        self._keepalive_s = keepalive_s
        self._dynamic = dynamic
        self._connections: list[_Connection] = []
        self._opening = asyncio.Lock()

    async def ask(self, code: int, attributes: Attributes, timeout_s: float) -> Reply:
        """Nothing is repeated: TCP does that, and a lost connection is an error (RFC 6613 §2.6.1)."""
        async with asyncio.timeout(timeout_s):
            connection = await self._connection(timeout_s)
            return await connection.ask(code, attributes)

    @property
    def versions(self) -> set[str]:
        """Which versions are spoken on the open connections."""
        return {"1.1" if connection.is_11 else "1.0" for connection in self._connections}

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    def close(self) -> None:
        for connection in list(self._connections):
            connection.close()

    async def _connection(self, timeout_s: float) -> _Connection:
        found = self._free()
        if found is not None:
            return found
        async with self._opening:
            found = self._free()
            if found is not None:
                return found
            if len(self._connections) >= _MAX_CONNECTIONS:
                raise PeerError("overload", f"{_MAX_CONNECTIONS} connections to {self._host} are full")
            return await self._open(timeout_s)

    def _free(self) -> _Connection | None:
        newest = self._certificates.generation
        for connection in list(self._connections):
            if connection.generation != newest and not connection.is_busy:
                connection.close()
        return next((one for one in self._connections if one.has_room and one.generation == newest), None)

    async def _open(self, timeout_s: float) -> _Connection:
        loop, context = asyncio.get_running_loop(), self._certificates.client()
        connection = _Connection(
            self._identity, self._certificates, self._connections, self._keepalive_s, self._dynamic
        )
        await loop.create_connection(
            lambda: connection,
            self._host,
            self._port,
            ssl=context,
            server_hostname=self._host,
            ssl_handshake_timeout=timeout_s,
        )
        if connection.refusal is not None:
            raise ssl.SSLCertVerificationError(connection.refusal)
        version = "1.1" if connection.is_11 else "1.0"
        log.info("radius.radsec.opened", host=self._host, port=self._port, version=version)
        return connection


class _Connection(asyncio.Protocol):
    def __init__(
        self,
        identity: str,
        certificates: RadsecCertificates,
        everybody: list[_Connection],
        keepalive_s: float,
        dynamic: Dynamic | None,
    ) -> None:
        self.generation = certificates.generation
        self.is_11 = False
        self.refusal: str | None = None
        self._identity = identity
        self._allowed = certificates.versions
        self._everybody = everybody
        self._keepalive_s = keepalive_s
        self._dynamic = dynamic
        self._frames = Frames()
        self._identifiers: Identifiers[_Asked] = Identifiers()
        self._by_token: dict[int, _Asked] = {}
        # "initialized to a random value … incremented for every unique new packet" (RFC 9765 §4.2.1)
        self._token = secrets.randbits(32)
        self._heard = False
        self._beat: asyncio.Task[None] | None = None

    @property
    def has_room(self) -> bool:
        return not self._transport.is_closing() and (self.is_11 or self._identifiers.has_room)

    @property
    def is_busy(self) -> bool:
        return bool(self._by_token or len(self._identifiers))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # No isinstance: uvloop has transports of its own.
        self._transport = cast(asyncio.Transport, transport)
        tls = transport.get_extra_info("ssl_object")
        names = names_of(x509.load_der_x509_certificate(tls.getpeercert(binary_form=True)))
        if self._identity not in names:
            self.refusal = f"its certificate is not {self._identity} but {', '.join(names)}"
        else:
            self.refusal = version11.refused(tls.selected_alpn_protocol(), tls.version(), self._allowed)
        if self.refusal is not None:
            transport.close()
            return
        self.is_11 = tls.selected_alpn_protocol() == version11.ALPN
        self._everybody.append(self)
        self._beat = asyncio.get_running_loop().create_task(self._keep_alive())

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._everybody:
            self._everybody.remove(self)
        if self._beat is not None:
            self._beat.cancel()
        for asked in [*self._by_token.values(), *self._identifiers.requests()]:
            if not asked.waiting.done():
                asked.waiting.set_exception(ConnectionResetError("the TLS connection was lost"))

    def close(self) -> None:
        self._transport.close()

    async def ask(self, code: int, attributes: Attributes) -> Reply:
        waiting: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        if self.is_11:
            return await self._ask_by_token(waiting, code, attributes)
        identifier = self._identifiers.take()
        try:
            sealed = Sealed.make(code, identifier, attributes, RADSEC, strict=False)
        except PeerError:
            self._identifiers.settle(identifier)
            raise
        self._identifiers.keep(identifier, _Asked(waiting, sealed))
        self._transport.write(sealed.datagram)
        try:
            return await waiting
        except asyncio.CancelledError:
            self._identifiers.give_up(identifier)
            raise

    async def _ask_by_token(self, waiting: asyncio.Future[Reply], code: int, attributes: Attributes) -> Reply:
        token = self._token = (self._token + 1) & 0xFFFF_FFFF
        frame = version11.encode(code, token.to_bytes(4, "big"), attributes)
        self._by_token[token] = _Asked(waiting, None)
        try:
            self._transport.write(frame)
            return await waiting
        finally:
            self._by_token.pop(token, None)

    def data_received(self, data: bytes) -> None:
        self._heard = True
        try:
            for frame in self._frames.feed(data):
                if frame[0] in (COA_REQUEST, DISCONNECT_REQUEST):
                    self._asked_for(frame)
                else:
                    self._answer(frame)
        except PeerError as error:
            # Where one packet ends and the next begins is lost, or an answer is not to be believed (RFC 6613 §2.6.4).
            log.warning("radius.radsec.broken", problem=str(error))
            self.close()

    def _answer(self, frame: bytes) -> None:
        if self.is_11:
            asked = self._by_token.get(int.from_bytes(frame[4:8], "big"))
            reply = None if asked is None else _plain(Packet.decode(frame))
        else:
            asked = self._identifiers.find(frame[1])
            reply = None if asked is None or asked.sealed is None else asked.sealed.read(frame)
            if asked is not None:
                self._identifiers.settle(frame[1])
        if asked is not None and reply is not None and not asked.waiting.done():
            asked.waiting.set_result(reply)

    def _asked_for(self, frame: bytes) -> None:
        """The home server asks for CoA or Disconnect."""
        secret, token = RADSEC, b""
        if self.is_11:
            packet, token = version11.decode(frame)
            frame, secret = version11.to_classic(packet, token), version11.INNER
        authenticator = frame[4:20]
        request = Packet.decode(frame)
        secret.check_request_authenticator(request)

        def send(reply: bytes) -> None:
            if not self._transport.is_closing():
                self._transport.write(version11.from_classic(reply, token, authenticator) if token else reply)

        source = self._transport.get_extra_info("peername")[:2]
        if self._dynamic is None or not self._dynamic(frame, source, secret, send):
            send(refusal(request, secret, UNSUPPORTED_EXTENSION))

    async def _keep_alive(self) -> None:
        while True:
            self._heard = False
            await asyncio.sleep(self._keepalive_s)
            if self._heard or not self.has_room:
                continue
            try:
                async with asyncio.timeout(self._keepalive_s):
                    await self.ask(STATUS_SERVER, [])
            except (TimeoutError, OSError) as error:
                log.warning("radius.radsec.silent", problem=str(error) or "no answer to Status-Server")
                self.close()
                return


def _plain(packet: Packet) -> Reply:
    return Reply(packet.code, version11.plain(packet))
