"""One TLS connection that was made to us: from its certificate to a NAS, from its octets to packets, and answers back.

    Access-Request, Accounting-Request, Status-Server   the same server machines as over UDP
    CoA-Request, Disconnect-Request                     of a home server (RFC 8559); else NAK 406 (RFC 6614 §2.5)
    their ACK and NAK                                   answers to what we asked down this connection (radsec.reverse)

What does not verify, and what cannot be cut into packets, ends the connection (RFC 6613 §2.6.4). Under version 1.1 a
request that cannot be worked on is told so: Protocol-Error with an Error-Cause (RFC 9765 §6.1).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol, cast

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
from radius.protocol.codes import ACCOUNTING_REQUEST, COA_REQUEST, DISCONNECT_REQUEST, Attr
from radius.protocol.duplicates import Duplicates, InFlight
from radius.protocol.dynauth import (
    INVALID_VALUE,
    NOT_ROUTABLE,
    PROXY_TROUBLE,
    RESOURCES_UNAVAILABLE,
    UNSUPPORTED_EXTENSION,
    refusal,
)
from radius.protocol.nas import Nas
from radius.protocol.packet import Packet
from radius.protocol.server import RECORD, AccountingServer, AuthenticationServer, Decide, DeferredVerdict, Verdict
from radius.protocol.stream import Frames
from radius.radsec.identity import names_of
from radius.radsec.reverse import ANSWERS, RADSEC, Reverse
from radius.radsec.settings import RadsecSettings

log = structlog.get_logger()

_READ_AGAIN = 0.5
"""Reading goes on when the outstanding requests have fallen to this share of the limit."""
_ENDS = frozenset({"authenticator", "message-authenticator", "attribute-length"})
"""Verdicts on a packet after which nothing on the connection is believed (RFC 6613 §2.6.4)."""

Send = Callable[[bytes], None]


class TakeDynamic(Protocol):
    """What becomes of CoA and Disconnect requests that come to us (radius.transports)."""

    def __call__(
        self, names: list[str], frame: bytes, source: tuple[str, int], secret: SharedSecret, send: Send
    ) -> bool:
        """False when nobody with these names of a certificate may ask; else `send` gets the answer. Raises nothing."""
        ...


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
    is_home_server: Callable[[list[str]], bool] = lambda _names: False
    take_dynamic: TakeDynamic = lambda *_request: False


class Connection(asyncio.Protocol):
    """One client. `link` sends CoA and Disconnect to it; None for a home server, which has no sessions of ours."""

    def __init__(
        self, settings: RadsecSettings, services: Services, generation: int, everybody: set[Connection]
    ) -> None:
        self._settings = settings
        self._services = services
        self._generation = generation
        self._everybody = everybody
        self._frames = Frames()
        self._deferred: set[asyncio.Task[None]] = set()
        self._tokens: set[bytes] = set()
        self._paused: set[str] = set()
        self._ends_at: datetime | None = None
        self._peer = ("", 0)
        self._names: list[str] = []
        self._is_11 = False
        self._secret = RADSEC
        self._known: Nas | None = None
        self.nas: Nas | None = None
        self.link: Reverse | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # No isinstance: uvloop has transports of its own.
        self._transport = cast(asyncio.Transport, transport)
        self._peer = transport.get_extra_info("peername")[:2]
        tls = transport.get_extra_info("ssl_object")
        certificate = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True))
        self._names = names = names_of(certificate)
        self._known = found = self._services.registry.by_identity(names)
        if found is None and not self._services.is_home_server(names):
            self._services.counters.count(None, 0, "unknown-nas")
            log.info("radius.radsec.unknown", peer_ip=self._peer[0], identities=names)
            transport.close()
            return
        self._is_11 = tls.selected_alpn_protocol() == version11.ALPN
        problem = version11.refused(tls.selected_alpn_protocol(), tls.version(), self._settings.versions)
        if problem is not None:
            self._services.counters.count(found, 0, "tls-version")
            log.warning("radius.radsec.version", peer_ip=self._peer[0], identities=names, problem=problem)
            self._transport.write(version11.protocol_error(bytes(4), UNSUPPORTED_EXTENSION, problem))
            transport.close()
            return
        self._everybody.add(self)
        self._ends_at = certificate.not_valid_after_utc
        self._secret = version11.INNER if self._is_11 else RADSEC
        if found is not None:
            self._serve(self._at_its_address(found))
        name = names[0] if self.nas is None else self.nas.name
        version = "1.1" if self._is_11 else "1.0"
        log.info("radius.radsec.connected", nas=name, peer_ip=self._peer[0], version=version, tls=tls.version())

    def _serve(self, nas: Nas) -> None:
        table, duplicates = {self._peer[0]: nas}, Duplicates(capacity=16_384)
        self.nas = nas
        self.link = Reverse(self._transport.write, is_11=self._is_11, signed=nas.sign_dynamic_requests)
        self._authentication = AuthenticationServer(table, self._services.decide, duplicates)
        self._accounting = AccountingServer(table, InFlight())

    def _at_its_address(self, found: Nas) -> Nas:
        """The NAS under the secret of the connection; one of a network is the box that has this address."""
        box = self._services.registry.find(self._peer[0])
        nas = box if box is not None and box.member_of == found.nas_id else found
        # RFC 6614 §2.3: integrity is TLS's. What a certificate proves needs no signature besides.
        return replace(
            nas, secret=self._secret, rotation=None, require_message_authenticator=False, limit_proxy_state=False
        )

    @property
    def is_open(self) -> bool:
        return not self._transport.is_closing()

    def problem(self, generation: int, now: datetime) -> str | None:
        """Why this connection must end now; None where it may go on."""
        if generation != self._generation:
            return "certificates changed"
        if self._ends_at is not None and self._ends_at <= now:
            return "its certificate has expired"
        known = self._known
        if known is None:
            return None if self._services.is_home_server(self._names) else "its home server was changed"
        if self._services.registry.by_id.get(known.nas_id) is not known:
            return "its NAS was changed"
        return None

    def end(self, reason: str) -> None:
        log.info("radius.radsec.closing", peer_ip=self._peer[0], reason=reason)
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._everybody.discard(self)
        for task in self._deferred:
            task.cancel()
        if self.link is not None:
            self.link.lost()

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
        """Raises PeerError for what ends the connection."""
        if frame[0] in ANSWERS:
            if self.link is not None:
                self.link.answer(frame)
            return
        token = b""
        if self._is_11:
            packet, token = version11.decode(frame)
            if token in self._tokens:
                raise PeerError("token", "a Token was used again while its request was outstanding (RFC 9765 §4.2.2)")
            try:
                frame = version11.to_classic(packet, token)
            except PeerError as error:
                # One request that no packet of ours could carry: the others of this connection go on.
                self._services.counters.count(self.nas, packet.code, error.reason)
                self._transport.write(version11.protocol_error(token, INVALID_VALUE, error.detail))
                return
            self._tokens.add(token)
        write = self._writer(token, frame[4:20])
        if frame[0] in (COA_REQUEST, DISCONNECT_REQUEST):
            self._dynamic(frame, write)
        elif self.nas is None:
            raise PeerError("code", f"packet code {frame[0]} from a home server, which may only ask for CoA here")
        elif frame[0] == ACCOUNTING_REQUEST:
            self._account(self._accounting.receive(frame, self._peer, time.monotonic()), write, token)
        else:
            self._authenticate(self._authentication.receive(frame, self._peer, time.monotonic()), write, token)

    def _writer(self, token: bytes, authenticator: bytes) -> Send:
        def write(reply: bytes) -> None:
            self._tokens.discard(token)
            if not self._transport.is_closing():
                self._transport.write(version11.from_classic(reply, token, authenticator) if token else reply)

        return write

    def _cannot(self, token: bytes, error_cause: int, words: str) -> None:
        """Under 1.1 say so, with Protocol-Error and an Error-Cause (RFC 9765 §6.1); under 1.0 nothing can be said."""
        self._tokens.discard(token)
        if token and not self._transport.is_closing():
            self._transport.write(version11.protocol_error(token, error_cause, words))

    def _dynamic(self, frame: bytes, write: Send) -> None:
        packet = Packet.decode(frame)
        self._secret.check_request_authenticator(packet)
        if not self._services.take_dynamic(self._names, frame, self._peer, self._secret, write):
            self._services.counters.count(self.nas, packet.code, "code")
            write(refusal(packet, self._secret, UNSUPPORTED_EXTENSION))

    def _authenticate(self, verdict: Verdict, write: Send, token: bytes) -> None:
        self._count(verdict)
        self._show(verdict)
        if verdict.reply is not None:
            write(verdict.reply)
        elif isinstance(verdict, DeferredVerdict):
            self._defer(verdict, write, token)
        else:
            self._dropped(verdict, token)

    def _dropped(self, verdict: Verdict, token: bytes) -> None:
        self._tokens.discard(token)
        if verdict.result in _ENDS:
            raise PeerError(verdict.result, verdict.reason)

    def _show(self, verdict: Verdict, answers_later: bool = False) -> None:
        if self._services.tap is not None:
            self._services.tap(verdict, self._peer, answers_later)

    def _account(self, verdict: Verdict, write: Send, token: bytes) -> None:
        packet, nas = verdict.packet, verdict.nas
        self._show(verdict)
        if verdict.result != RECORD or packet is None or nas is None:
            self._count(verdict)
            if verdict.reply is not None:
                write(verdict.reply)
            else:
                self._dropped(verdict, token)
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
            self._cannot(token, _cause(error), error.detail)

    def _defer(self, verdict: DeferredVerdict, write: Send, token: bytes) -> None:
        task = asyncio.get_running_loop().create_task(self._decide_later(verdict, write, token))
        self._deferred.add(task)
        task.add_done_callback(self._decided)
        if len(self._deferred) >= self._settings.outstanding:
            self._pause("outstanding")

    def _decided(self, task: asyncio.Task[None]) -> None:
        self._deferred.discard(task)
        if "outstanding" in self._paused and len(self._deferred) <= self._settings.outstanding * _READ_AGAIN:
            self._resume("outstanding")

    async def _decide_later(self, verdict: DeferredVerdict, write: Send, token: bytes) -> None:
        try:
            async with asyncio.timeout(self._settings.decision_s):
                decision = await verdict.decide()
        except (PeerError, SQLAlchemyError, OSError) as error:
            self._authentication.abandon(verdict, self._peer)
            result = error.reason if isinstance(error, PeerError) else "unavailable"
            self._services.counters.count(verdict.nas, verdict.code, result)
            self._show(Verdict(result, verdict.nas, verdict.code, None, verdict.packet, str(error)))
            self._cannot(token, _cause(error), result)
            return
        final = self._authentication.answer(verdict, decision, self._peer)
        self._count(final)
        self._show(final, answers_later=True)
        if final.reply is not None:
            write(final.reply)
        else:
            self._cannot(token, RESOURCES_UNAVAILABLE, final.result)

    def _count(self, verdict: Verdict) -> None:
        self._services.counters.count(verdict.nas, verdict.code, verdict.result)
        if verdict.result == "reject":
            self._services.counters.reject(verdict.nas, verdict.reason)
            username = None if verdict.packet is None else verdict.packet.get(Attr.USER_NAME)
            name = None if username is None else username.decode(errors="backslashreplace")
            log.info("radius.reject", nas_ip=self._peer[0], username=name, reason=verdict.reason)


_CAUSES = {"no-home-server": NOT_ROUTABLE, "loop": NOT_ROUTABLE, "home-server": PROXY_TROUBLE}


def _cause(error: Exception) -> int:
    """What an Error-Cause says of a request that cannot be worked on (RFC 5176 §3.5, RFC 9765 §6.1)."""
    if isinstance(error, PeerError):
        return _CAUSES.get(error.reason, RESOURCES_UNAVAILABLE)
    # With words it is the home servers that are silent; without, the time of the decision is over.
    return PROXY_TROUBLE if isinstance(error, TimeoutError) and error.args else RESOURCES_UNAVAILABLE
