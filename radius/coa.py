"""Sends CoA and Disconnect requests to a NAS and waits for the answer (RFC 5176), over UDP or its TLS connection.

Over UDP each request has a socket, and so a source port, of its own: identifiers never run out at 256, and an answer
that is late for one request cannot be taken for another's. It is retransmitted octet for octet, with the waits doubled
and spread by a tenth, so that a thousand changed plans do not come back in one burst (RFC 5080 §2.2.1). What does not
verify is logged and waited past: whoever forges a NAK ends nothing.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import socket
from collections.abc import Awaitable, Callable

import structlog
from prometheus_client import Counter

from controller.domain.clock import Clock
from controller.domain.errors import PeerError
from controller.domain.ports import CoaOutcome
from radius.protocol import rotation
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import CODE_NAMES
from radius.protocol.dynauth import DynamicRequest
from radius.protocol.nas import Nas
from radius.settings import RadiusSettings

log = structlog.get_logger()

OUTCOMES = Counter(
    "headend_radius_dynamic_requests", "CoA and Disconnect requests by outcome.", ["nas", "code", "result"]
)


class CoaClient:
    """One per process. `send` may be called from any number of tasks; more than `coa_concurrency` of them queue."""

    def __init__(self, settings: RadiusSettings, clock: Clock) -> None:
        self._clock = clock
        self._first_timeout_s = settings.coa_first_timeout_s
        self._tries = settings.coa_tries
        self._places = asyncio.Semaphore(settings.coa_concurrency)
        self.over_tls: Callable[[Nas, int, bytes], Awaitable[CoaOutcome]] | None = None
        """Asks a NAS over the TLS connection that it opened (radius.dynamic.relay)."""
        self.tap: Callable[[Nas, bytes, CoaOutcome], None] | None = None
        """Is shown what was sent and what came of it, while somebody traces (radius.trace)."""

    async def send(self, nas: Nas, code: int, attributes: bytes) -> CoaOutcome:
        """Send COA_REQUEST or DISCONNECT_REQUEST to the NAS and return what it answered.

        Bounded by the sum of the waits: first, doubled for each further try. An ACK is the NAS's claim, no proof.
        """
        async with self._places:
            # Encoded when its turn has come: a NAS drops what is stamped more than some minutes ago (RFC 5176 §6.3).
            now, first = self._clock.now(), secrets.randbelow(256)
            requests = [
                DynamicRequest.encode(
                    code, (first + turn) % 256, attributes, secret, sent_at=now, signed=nas.sign_dynamic_requests
                )
                for turn, secret in enumerate(_secrets(nas))
            ]
            if nas.is_asked_over_tls and self.over_tls is not None:
                outcome = await self.over_tls(nas, code, attributes)
            else:
                outcome = await self._over_udp(nas, requests)
        if self.tap is not None:
            self.tap(nas, requests[0].datagram, outcome)
        OUTCOMES.labels(nas.name, CODE_NAMES[code], outcome.result).inc()
        log.info(
            "radius.dynamic",
            nas_ip=nas.address,
            code=CODE_NAMES[code],
            result=outcome.result,
            error_cause=outcome.error_cause,
            detail=outcome.detail,
        )
        return outcome

    async def _over_udp(self, nas: Nas, requests: list[DynamicRequest]) -> CoaOutcome:
        try:
            return await self._exchange(nas, requests)
        except OSError as error:
            return CoaOutcome("timeout", detail=f"cannot send to {nas.asked_at}: {error.strerror}")

    async def _exchange(self, nas: Nas, requests: list[DynamicRequest]) -> CoaOutcome:
        """Under two valid secrets transmissions take turns: the NAS drops those it does not share."""
        loop = asyncio.get_running_loop()
        answers = _Answers(nas, requests)
        family = socket.AF_INET6 if ":" in nas.asked_at else socket.AF_INET
        transport, _ = await loop.create_datagram_endpoint(
            lambda: answers, remote_addr=(nas.asked_at, nas.coa_port), family=family
        )
        try:
            wait_s = self._first_timeout_s
            for turn in range(self._tries):
                transport.sendto(requests[turn % len(requests)].datagram)
                done, _ = await asyncio.wait((answers.outcome,), timeout=wait_s * random.uniform(0.9, 1.1))
                if done:
                    return answers.outcome.result()
                wait_s *= 2
            return CoaOutcome("timeout", detail=answers.trouble or f"no answer to {self._tries} transmissions")
        finally:
            answers.outcome.cancel()
            transport.close()


def _secrets(nas: Nas) -> list[SharedSecret]:
    """What to try, the one that it was last seen to use first."""
    if nas.coa_secret is not None:
        return [nas.coa_secret]
    if nas.rotation is None:
        return [nas.secret]
    last = nas.rotation.last
    return [last.secret, rotation.other(last, nas.rotation).secret]


class _Answers(asyncio.DatagramProtocol):
    """Takes the first datagram that verifies; remembers why others did not."""

    def __init__(self, nas: Nas, requests: list[DynamicRequest]) -> None:
        self._nas = nas
        self._by_identifier = {request.datagram[1]: request for request in requests}
        self._any = requests[0]
        self.outcome: asyncio.Future[CoaOutcome] = asyncio.get_running_loop().create_future()
        self.trouble = ""

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        try:
            answer = self._by_identifier.get(data[1] if len(data) > 1 else -1, self._any).read(data)
        except PeerError as error:
            self.trouble = f"answers did not verify ({error})"
            log.info("radius.dynamic.unverified", nas_ip=self._nas.address, reason=str(error))
            return
        if not self.outcome.done():
            result = "ack" if answer.acknowledged else "nak"
            self.outcome.set_result(CoaOutcome(result, answer.error_cause, answer.words))

    def error_received(self, exc: Exception) -> None:
        # ICMP port unreachable: the NAS may be starting, so go on trying until the time is up.
        self.trouble = f"{self._nas.asked_at} port {self._nas.coa_port}: {exc}"
