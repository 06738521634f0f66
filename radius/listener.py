"""The sockets of ports 1812 and 1813: datagrams in, verdicts to counters and log, replies out.

One wake-up takes many datagrams, until the socket is empty or `drain_limit` is reached, and answers each at once with
sendto. A reply that the kernel does not take is counted and given up: the NAS retransmits and gets the kept reply.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from functools import partial

import structlog
from sqlalchemy.exc import SQLAlchemyError

from controller.domain.clock import Clock
from controller.domain.errors import PeerError
from controller.store.metadata import to_micros
from radius.burst import Burst
from radius.counters import Counters
from radius.latency import waited_s
from radius.ports import Recorder, Tap
from radius.protocol.codes import ACCOUNTING_REQUEST, CODE_NAMES, Attr
from radius.protocol.duplicates import Source
from radius.protocol.nas import Nas
from radius.protocol.packet import Packet
from radius.protocol.server import (
    DEFERRED,
    RECORD,
    STATUS,
    AccountingServer,
    AuthenticationServer,
    DeferredVerdict,
    Verdict,
)
from radius.settings import RadiusSettings

log = structlog.get_logger()

_DATAGRAM = 4096
"""The longest RADIUS packet (RFC 2865 §3); a longer datagram is cut, and what lies behind Length is padding anyway."""
_SO_RCVBUFFORCE = 33
_MOST_SOURCES = 10_000
STALE = "stale"
"""Result of a datagram that was dropped unread: it waited for longer than its NAS waits for the answer."""
_ROUTINE = frozenset({"accept", "challenge", "duplicate", "in-flight", DEFERRED, STATUS, RECORD})
"""Results that are counted but not logged."""


class Listener:
    """Both ports of one process. `start` binds them, `close` gives them back."""

    def __init__(
        self,
        settings: RadiusSettings,
        clock: Clock,
        authentication: AuthenticationServer,
        accounting: AccountingServer,
        recorder: Recorder,
        counters: Counters,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._authentication = authentication
        self._accounting = accounting
        self._recorder = recorder
        self._counters = counters
        self._quota = _LogQuota(settings.log_limit_per_s)
        self._sockets: list[socket.socket] = []
        self._deferred: set[asyncio.Task[None]] = set()
        self._sources: dict[Source, Source] = {}
        self.tap: Tap | None = None
        """Who watches (radius.trace): None but while somebody traces."""
        self.auth_port = 0
        self.acct_port = 0

    async def start(self) -> None:
        """Bind both ports and serve. Raises OSError naming the port that is taken."""
        try:
            authentication = self._bind_all(self._settings.auth_port)
            accounting = self._bind_all(self._settings.acct_port)
        except OSError:
            self.close()
            raise
        self.auth_port = authentication[0].getsockname()[1]
        self.acct_port = accounting[0].getsockname()[1]
        loop = asyncio.get_running_loop()
        for opened in authentication:
            loop.add_reader(opened, self._drain_authentication, opened)
        for opened in accounting:
            loop.add_reader(opened, self._drain_accounting, opened, Burst(opened, self._lost))
        log.info(
            "radius.listening",
            host=self._settings.host,
            auth_port=self.auth_port,
            acct_port=self.acct_port,
            # The kernel gives less than asked for where net.core.rmem_max says so; it counts its own overhead in.
            receive_buffer_octets=authentication[0].getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2,
        )

    def close(self) -> None:
        """Stop reading and close both ports; what is being recorded is answered no more."""
        for opened in self._sockets:
            if opened.fileno() != -1:
                asyncio.get_running_loop().remove_reader(opened)
                opened.close()
        self._sockets.clear()
        for task in self._deferred:
            task.cancel()

    def _bind_all(self, port: int) -> list[socket.socket]:
        """One socket per family: "::" means every address of both, and then 0.0.0.0 gets a socket of its own.

        In one socket for both an IPv4 NAS would come from ::ffff:a.b.c.d, which is nobody's registered address.
        """
        first = self._bind(self._settings.host, port)
        if self._settings.host != "::":
            return [first]
        return [first, self._bind("0.0.0.0", first.getsockname()[1])]  # noqa: S104 - the operator asked for it

    def _bind(self, host: str, port: int) -> socket.socket:
        opened = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self._sockets.append(opened)
        opened.setblocking(False)
        if opened.family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if self._settings.reuse_port:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            # Beyond net.core.rmem_max, where we are allowed to.
            opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, self._settings.receive_buffer_octets)
        except PermissionError:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._settings.receive_buffer_octets)
        try:
            opened.bind((host, port))
        except OSError as error:
            raise OSError(error.errno, f"UDP port {port} of {host}: {error.strerror}") from error
        return opened

    def _drain_authentication(self, opened: socket.socket) -> None:
        try:
            datagram, source, late_s = self._first_worth_answering(opened)
        except BlockingIOError:
            return
        now_s = time.monotonic()
        answered = self._answer(opened, datagram, source, now_s)
        self._counters.latency.add(answered, late_s + time.monotonic() - now_s)

    def _first_worth_answering(self, opened: socket.socket) -> tuple[bytes, Source, float]:
        """The oldest request that its NAS still waits for, and its age. Raises BlockingIOError when there is none.

        What lies in the kernel is in the order of arrival. After a pause, or when more comes than can be answered, its
        NAS has given the oldest up or sent it again; answering it would make the next one late, too.
        """
        while True:
            datagram, source = opened.recvfrom(_DATAGRAM)
            late_s = waited_s(opened)
            if late_s <= self._settings.unanswerable_after_s:
                return datagram, source, late_s
            self._counters.count(None, datagram[0] if datagram else 0, STALE)

    def _answer(self, opened: socket.socket, datagram: bytes, source: Source, now_s: float) -> int:
        """Answer this datagram and those behind it, up to `drain_limit`; how many there were."""
        receive, recvfrom, sendto = self._authentication.receive, opened.recvfrom, opened.sendto
        count, tap = self._counters.count, self.tap
        for answered in range(self._settings.drain_limit):
            if answered:
                try:
                    datagram, source = recvfrom(_DATAGRAM)
                except BlockingIOError:
                    return answered
            verdict = receive(datagram, source, now_s)
            count(verdict.nas, verdict.code, verdict.result)
            if verdict.reply is not None:
                try:
                    sendto(verdict.reply, source)
                except OSError as error:
                    self._send_failed(verdict.nas, verdict.code, source, error)
            elif type(verdict) is DeferredVerdict:
                self._defer(opened, verdict, source, now_s)
            if tap is not None:
                tap(verdict, source)
            if verdict.result not in _ROUTINE:
                self._log(verdict, source, now_s)
        return self._settings.drain_limit

    def _defer(self, opened: socket.socket, verdict: DeferredVerdict, source: Source, now_s: float) -> None:
        if len(self._deferred) >= self._settings.deferred_limit:
            self._give_up(verdict, source, now_s, "overload", "too many decisions are waited for")
            return
        task = asyncio.get_running_loop().create_task(self._decide_later(opened, verdict, source))
        self._deferred.add(task)
        task.add_done_callback(self._deferred.discard)

    async def _decide_later(self, opened: socket.socket, verdict: DeferredVerdict, source: Source) -> None:
        try:
            async with asyncio.timeout(self._settings.deferred_timeout_s):
                decision = await verdict.decide()
        except PeerError as error:
            self._give_up(verdict, source, time.monotonic(), error.reason, error.detail)
            return
        except (SQLAlchemyError, OSError) as error:
            # OSError covers TimeoutError. What the decision needs is away, and the NAS will ask again.
            self._give_up(verdict, source, time.monotonic(), "unavailable", str(error) or type(error).__name__)
            return
        final = self._authentication.answer(verdict, decision, source)
        self._counters.count(final.nas, final.code, final.result)
        if final.reply is not None and opened.fileno() != -1:
            self._send(opened, final.reply, source, final.nas, final.code)
        if self.tap is not None:
            self.tap(final, source, answers_later=True)
        if final.result not in _ROUTINE:
            self._log(final, source, time.monotonic())

    def _give_up(self, verdict: DeferredVerdict, source: Source, now_s: float, result: str, reason: str) -> None:
        self._authentication.abandon(verdict, source)
        self._counters.count(verdict.nas, verdict.code, result)
        given_up = Verdict(result, verdict.nas, verdict.code, None, verdict.packet, reason)
        if self.tap is not None:
            self.tap(given_up, source)
        self._log(given_up, source, now_s)

    def _drain_accounting(self, opened: socket.socket, burst: Burst) -> None:
        receive, recvfrom = self._accounting.receive, opened.recvfrom
        count, tap, now_s = self._counters.count, self.tap, time.monotonic()
        received_us = to_micros(self._clock.now())
        sources = self._sources
        if len(sources) > _MOST_SOURCES:
            sources.clear()
        for _ in range(self._settings.drain_limit):
            try:
                datagram, source = recvfrom(_DATAGRAM)
            except BlockingIOError:
                return
            # One tuple for each source instead of one for each datagram, which would wait with it for the commit.
            source = sources.setdefault(source, source)
            verdict = receive(datagram, source, now_s)
            if tap is not None:
                tap(verdict, source)
            if verdict.result == RECORD:
                self._record(burst, verdict, source, received_us, now_s)
                continue
            count(verdict.nas, verdict.code, verdict.result)
            if verdict.result == STATUS:
                self._status(burst, verdict, source)
            if verdict.reply is not None:
                self._send(opened, verdict.reply, source, verdict.nas, verdict.code)
            if verdict.result not in _ROUTINE:
                self._log(verdict, source, now_s)

    def _record(self, burst: Burst, verdict: Verdict, source: Source, received_us: int, now_s: float) -> None:
        packet, nas = verdict.packet, verdict.nas
        assert packet is not None, "a record has a packet"
        assert nas is not None, "a record has a NAS"
        respond: Callable[[], None] = partial(self._respond, burst, packet, nas, source)
        try:
            self._recorder.submit(packet, nas, received_us, respond)
        except PeerError as error:
            self._accounting.refuse(packet)
            self._counters.count(nas, verdict.code, error.reason)
            refused = Verdict(error.reason, nas, verdict.code, None, packet, error.detail)
            if self.tap is not None:
                self.tap(refused, source)
            self._log(refused, source, now_s)

    def _status(self, burst: Burst, verdict: Verdict, source: Source) -> None:
        assert verdict.packet is not None, "Status-Server was decoded"
        assert verdict.nas is not None, "Status-Server has a NAS"
        self._recorder.prove(partial(self._respond, burst, verdict.packet, verdict.nas, source))

    def _respond(self, burst: Burst, packet: Packet, nas: Nas, source: Source) -> None:
        reply = self._accounting.respond(packet, nas)
        self._counters.count(nas, packet.code, "response")
        if self.tap is not None:
            self.tap(Verdict("response", nas, packet.code, reply, packet), source, answers_later=True)
        burst.add(reply, source)

    def _lost(self, source: Source, error: OSError) -> None:
        self._send_failed(self._accounting.nas_of(source), ACCOUNTING_REQUEST, source, error)

    def _send(self, opened: socket.socket, reply: bytes, source: Source, nas: Nas | None, code: int) -> None:
        try:
            opened.sendto(reply, source)
        except OSError as error:
            self._send_failed(nas, code, source, error)

    def _send_failed(self, nas: Nas | None, code: int, source: Source, error: OSError) -> None:
        self._counters.count(nas, code, "send-failed")
        if self._quota.take(time.monotonic()):
            log.warning("radius.send-failed", nas_ip=source[0], error=str(error))

    def _log(self, verdict: Verdict, source: Source, now_s: float) -> None:
        if verdict.result == "reject":
            self._counters.reject(verdict.nas, verdict.reason)
        if not self._quota.take(now_s):
            return
        suppressed = self._quota.suppressed()
        username = None if verdict.packet is None else verdict.packet.get(Attr.USER_NAME)
        log.info(
            "radius.reject" if verdict.result in ("reject", "alert") else "radius.drop",
            nas_ip=source[0],
            code=CODE_NAMES.get(verdict.code, "other"),
            result=verdict.result,
            reason=verdict.reason,
            username=None if username is None else username.decode(errors="backslashreplace"),
            not_logged=suppressed,
        )


class _LogQuota:
    """So many lines per second: a NAS with a wrong secret must not fill the disk."""

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._second = -1
        self._used = 0
        self._suppressed = 0

    def take(self, now_s: float) -> bool:
        second = int(now_s)
        if second != self._second:
            self._second, self._used = second, 0
        if self._used >= self._per_s:
            self._suppressed += 1
            return False
        self._used += 1
        return True

    def suppressed(self) -> int:
        """Lines not written since the last one, told once."""
        count, self._suppressed = self._suppressed, 0
        return count
