"""RADIUS over TLS as server (RFC 6614), one port for authentication and accounting, version 1.1 where ALPN says so.

    accept ─ handshake: client certificate from one of our authorities, not expired, not revoked
           ─ its names → NAS, else the connection is closed (§2.3)
           ─ packets → the same server machines as over UDP, under the secret "radsec" (§2.3 (7)) or none (RFC 9765)

A connection ends with the certificate it was opened with, when the files change, and when its NAS is disabled.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast

import structlog
from cryptography import x509
from sqlalchemy.exc import SQLAlchemyError

from controller.domain.clock import Clock
from controller.domain.errors import PeerError
from controller.store.metadata import to_micros
from radius.counters import Counters
from radius.follower import Registry
from radius.ports import Recorder, Tap
from radius.protocol import version11
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import ACCOUNTING_REQUEST, Attr
from radius.protocol.duplicates import Duplicates, RecordDuplicates
from radius.protocol.nas import Nas
from radius.protocol.server import RECORD, AccountingServer, AuthenticationServer, Decide, DeferredVerdict, Verdict
from radius.protocol.stream import Frames
from radius.radsec.certificates import RadsecCertificates
from radius.radsec.identity import names_of
from radius.radsec.settings import RadsecSettings

log = structlog.get_logger()

RADSEC = SharedSecret(b"radsec")
"""The secret of every RADIUS/TLS connection (RFC 6614 §2.3): what protects is TLS."""
_READ_AGAIN = 0.5
"""Reading goes on when the outstanding requests have fallen to this share of the limit."""


@dataclass(slots=True)
class Services:
    """What a connection needs of the room."""

    decide: Decide
    registry: Registry
    recorder: Recorder
    counters: Counters
    clock: Clock
    tap: Tap | None = None
    """Who watches (radius.trace): None but while somebody traces."""


class RadsecServer:
    """`start` binds the port, `run` follows the files, `close` ends every connection."""

    def __init__(self, settings: RadsecSettings, certificates: RadsecCertificates, services: Services) -> None:
        self._settings = settings
        self._certificates = certificates
        self._services = services
        self._listening: list[socket.socket] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._connections: set[_Connection] = set()
        self.port = 0

    def __len__(self) -> int:
        return len(self._connections)

    def watch(self, tap: Tap | None) -> None:
        """Show what becomes of every packet, on every connection, or to nobody."""
        self._services.tap = tap

    async def start(self) -> None:
        """Raises OSError naming the port that is taken."""
        hosts = [self._settings.host] if self._settings.host != "::" else ["::", "0.0.0.0"]  # noqa: S104 - as asked
        for host in hosts:
            self._listening.append(self._bind(host, self.port or self._settings.port))
            self.port = self._listening[0].getsockname()[1]
        for listening in self._listening:
            self._spawn(self._accept(listening))
        self._spawn(self._watch())
        log.info("radius.radsec.listening", host=self._settings.host, port=self.port)

    def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        for listening in self._listening:
            listening.close()
        self._listening.clear()
        for connection in list(self._connections):
            connection.end("the server stops")

    def _bind(self, host: str, port: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            opened = socket.create_server(
                (host, port), family=family, backlog=512, reuse_port=self._settings.reuse_port
            )
        except OSError as error:
            raise OSError(error.errno, f"TCP port {port} of {host}: {error.strerror}") from error
        opened.setblocking(False)
        return opened

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                opened, address = await loop.sock_accept(listening)
            except OSError as error:
                log.warning("radius.radsec.accept", error=str(error))
                await asyncio.sleep(0.1)
                continue
            if len(self._connections) >= self._settings.max_connections:
                opened.close()
                self._services.counters.count(None, 0, "tls-overload")
                continue
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._spawn(self._handshake(opened, address[0]))

    async def _handshake(self, opened: socket.socket, address: str) -> None:
        loop, context = asyncio.get_running_loop(), self._certificates.server()
        connection = _Connection(self._settings, self._services, self._certificates.generation, self._connections)
        try:
            await loop.connect_accepted_socket(
                lambda: connection, opened, ssl=context, ssl_handshake_timeout=self._settings.handshake_s
            )
        except (OSError, ssl.SSLError) as error:
            # OSError covers ConnectionError and TimeoutError.
            opened.close()
            self._services.counters.count(None, 0, "tls-handshake")
            log.info("radius.radsec.handshake", peer_ip=address, problem=str(error) or type(error).__name__)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._settings.recheck_s)
            self._certificates.refresh()
            now = datetime.now(UTC)
            for connection in list(self._connections):
                problem = connection.problem(self._certificates.generation, now)
                if problem is not None:
                    connection.end(problem)


class _Connection(asyncio.Protocol):
    """One client: from its certificate to a NAS, from its octets to packets, and answers back."""

    def __init__(
        self, settings: RadsecSettings, services: Services, generation: int, everybody: set[_Connection]
    ) -> None:
        self._settings = settings
        self._services = services
        self._generation = generation
        self._everybody = everybody
        self._frames = Frames()
        self._salt = secrets.token_bytes(16)
        self._deferred: set[asyncio.Task[None]] = set()
        self._paused: set[str] = set()
        self._ends_at: datetime | None = None
        self._peer = ("", 0)
        self._is_11 = False
        self._known: Nas | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # No isinstance: uvloop has transports of its own.
        self._transport = cast(asyncio.Transport, transport)
        self._peer = transport.get_extra_info("peername")[:2]
        tls = transport.get_extra_info("ssl_object")
        certificate = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True))
        names = names_of(certificate)
        found = self._services.registry.by_identity(names)
        if found is None:
            self._services.counters.count(None, 0, "unknown-nas")
            log.info("radius.radsec.unknown", peer_ip=self._peer[0], identities=names)
            transport.close()
            return
        self._everybody.add(self)
        self._known = found
        self._ends_at = certificate.not_valid_after_utc
        self._is_11 = tls.selected_alpn_protocol() == version11.ALPN
        nas = self._at_its_address(found)
        table, duplicates = {self._peer[0]: nas}, Duplicates(capacity=16_384)
        self._nas = nas
        self._authentication = AuthenticationServer(table, self._services.decide, duplicates)
        self._accounting = AccountingServer(table, RecordDuplicates(capacity=16_384))
        version = "1.1" if self._is_11 else "1.0"
        log.info("radius.radsec.connected", nas=nas.name, peer_ip=self._peer[0], version=version, tls=tls.version())

    def _at_its_address(self, found: Nas) -> Nas:
        """The NAS under the secret of the connection; one of a network is the box that has this address."""
        box = self._services.registry.find(self._peer[0])
        nas = box if box is not None and box.member_of == found.nas_id else found
        secret = version11.INNER if self._is_11 else RADSEC
        # RFC 6614 §2.3: integrity is TLS's. What a certificate proves needs no signature besides.
        return replace(nas, secret=secret, rotation=None, require_message_authenticator=False, limit_proxy_state=False)

    def problem(self, generation: int, now: datetime) -> str | None:
        """Why this connection must end now; None where it may go on."""
        if generation != self._generation:
            return "certificates changed"
        if self._ends_at is not None and self._ends_at <= now:
            return "its certificate has expired"
        known = self._known
        if known is not None and self._services.registry.by_id.get(known.nas_id) is not known:
            return "its NAS was changed"
        return None

    def end(self, reason: str) -> None:
        log.info("radius.radsec.closing", peer_ip=self._peer[0], reason=reason)
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._everybody.discard(self)
        for task in self._deferred:
            task.cancel()

    def pause_writing(self) -> None:
        # Whoever does not read its answers is not read either.
        self._pause("writing")

    def resume_writing(self) -> None:
        self._resume("writing")

    def _pause(self, why: str) -> None:
        if not self._paused and not self._transport.is_closing():
            self._transport.pause_reading()
        self._paused.add(why)

    def _resume(self, why: str) -> None:
        self._paused.discard(why)
        if not self._paused and not self._transport.is_closing():
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        try:
            frames = self._frames.feed(data)
            for frame in frames:
                self._receive(frame)
        except PeerError as error:
            self._services.counters.count(self._known, 0, error.reason)
            self.end(str(error))

    def _receive(self, frame: bytes) -> None:
        """Raises PeerError for what cannot be a packet of this version."""
        token = b""
        if self._is_11:
            frame, token = version11.to_classic(frame, self._salt)
        now_s, write = time.monotonic(), self._writer(token, frame[4:20])
        if frame[0] == ACCOUNTING_REQUEST:
            self._account(self._accounting.receive(frame, self._peer, now_s), write)
            return
        verdict = self._authentication.receive(frame, self._peer, now_s)
        self._count(verdict)
        self._show(verdict)
        if verdict.reply is not None:
            write(verdict.reply)
        elif isinstance(verdict, DeferredVerdict):
            self._defer(verdict, write)

    def _writer(self, token: bytes, authenticator: bytes) -> Callable[[bytes], None]:
        def write(reply: bytes) -> None:
            if self._transport.is_closing():
                return
            self._transport.write(version11.from_classic(reply, token, authenticator) if token else reply)

        return write

    def _show(self, verdict: Verdict, answers_later: bool = False) -> None:
        if self._services.tap is not None:
            self._services.tap(verdict, self._peer, answers_later)

    def _account(self, verdict: Verdict, write: Callable[[bytes], None]) -> None:
        packet, nas = verdict.packet, verdict.nas
        self._show(verdict)
        if verdict.result != RECORD or packet is None or nas is None:
            self._count(verdict)
            if verdict.reply is not None:
                write(verdict.reply)
            return

        def respond() -> None:
            self._services.counters.count(nas, packet.code, "response")
            reply = self._accounting.respond(packet, nas)
            self._show(Verdict("response", nas, packet.code, reply, packet), answers_later=True)
            write(reply)

        try:
            self._services.recorder.submit(packet, nas, to_micros(self._services.clock.now()), respond)
        except PeerError as error:
            self._accounting.refuse(packet)
            self._services.counters.count(nas, packet.code, error.reason)
            self._show(Verdict(error.reason, nas, packet.code, None, packet, error.detail))

    def _defer(self, verdict: DeferredVerdict, write: Callable[[bytes], None]) -> None:
        task = asyncio.get_running_loop().create_task(self._decide_later(verdict, write))
        self._deferred.add(task)
        task.add_done_callback(self._decided)
        if len(self._deferred) >= self._settings.outstanding:
            self._pause("outstanding")

    def _decided(self, task: asyncio.Task[None]) -> None:
        self._deferred.discard(task)
        if "outstanding" in self._paused and len(self._deferred) <= self._settings.outstanding * _READ_AGAIN:
            self._resume("outstanding")

    async def _decide_later(self, verdict: DeferredVerdict, write: Callable[[bytes], None]) -> None:
        try:
            async with asyncio.timeout(self._settings.decision_s):
                decision = await verdict.decide()
        except (PeerError, SQLAlchemyError, OSError) as error:
            self._authentication.abandon(verdict, self._peer)
            result = error.reason if isinstance(error, PeerError) else "unavailable"
            self._services.counters.count(verdict.nas, verdict.code, result)
            self._show(Verdict(result, verdict.nas, verdict.code, None, verdict.packet, str(error)))
            return
        final = self._authentication.answer(verdict, decision, self._peer)
        self._count(final)
        self._show(final, answers_later=True)
        if final.reply is not None:
            write(final.reply)

    def _count(self, verdict: Verdict) -> None:
        self._services.counters.count(verdict.nas, verdict.code, verdict.result)
        if verdict.result == "reject":
            self._services.counters.reject(verdict.nas, verdict.reason)
            username = None if verdict.packet is None else verdict.packet.get(Attr.USER_NAME)
            name = None if username is None else username.decode(errors="backslashreplace")
            log.info("radius.reject", nas_ip=self._peer[0], username=name, reason=verdict.reason)
