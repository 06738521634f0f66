"""Asks the home servers of a pool, one after the other, and knows which of them are alive.

request ─► first of the order ─ no answer in `try_s` ─► second … ─► nobody: TimeoutError
dead server ─ Status-Server every `check_s` (RFC 5997) ─ an answer ─► alive
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from prometheus_client import Counter

from controller.domain.errors import PeerError, RuleError
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import CODE_NAMES, PROTOCOL_ERROR, STATUS_SERVER
from radius.protocol.hidden import Attributes
from radius.proxy.model import TLS, Health, HomeServer, order
from radius.proxy.settings import PoolSettings
from radius.proxy.upstream import Reply, UdpUpstream, Upstream
from radius.radsec.certificates import RadsecCertificates
from radius.radsec.client import Dynamic, TlsUpstream

log = structlog.get_logger()

ASKED = Counter("headend_radius_home_requests", "Requests to home servers by outcome.", ["server", "code", "result"])


Tap = Callable[[HomeServer, int, Attributes, Reply | None, str], None]
"""Is shown a request to a home server, and its answer or why there was none."""


@dataclass(slots=True)
class Member:
    """A home server, how it is reached, and how it fares."""

    server: HomeServer
    upstream: Upstream
    health: Health


class Pools:
    """Every home server by pool. `replace` takes over what is configured; health stays with who did not change."""

    def __init__(
        self,
        settings: PoolSettings,
        certificates: Callable[[], RadsecCertificates | None],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._certificates = certificates
        self._now_s = now_s
        self._members: dict[str, Member] = {}
        self.dynamic: Callable[[HomeServer], Dynamic] | None = None
        """Takes what a home server asks down the TLS connection that we opened to it."""
        self.tap: Tap | None = None
        """Who watches (radius.trace): None but while somebody traces."""

    def replace(self, servers: Sequence[HomeServer]) -> None:
        """What cannot be used (TLS without certificates) is left out, and said."""
        wanted = {server.name: server for server in servers if server.enabled}
        for name, member in list(self._members.items()):
            if wanted.get(name) != member.server:
                member.upstream.close()
                del self._members[name]
        for name, server in wanted.items():
            if name not in self._members:
                try:
                    upstream = self._upstream(server)
                except RuleError as error:
                    log.error("radius.proxy.unusable", server=name, problem=str(error))
                    continue
                health = Health(limit=self._settings.dead_after, revive_s=self._settings.revive_s)
                self._members[name] = Member(server, upstream, health)

    def close(self) -> None:
        for member in self._members.values():
            member.upstream.close()
        self._members.clear()

    @property
    def members(self) -> list[Member]:
        return list(self._members.values())

    def of(self, pool: str) -> list[Member]:
        return [member for member in self._members.values() if member.server.pool == pool]

    def alive(self) -> list[str]:
        """Pools of which some server answers."""
        return sorted({member.server.pool for member in self._members.values() if member.health.is_alive})

    async def ask(
        self, pool: str, code: int, attributes: Attributes, key: bytes, *, budget_s: float
    ) -> tuple[Reply, str]:
        """The first answer, and whose it is. Raises TimeoutError without one, PeerError when the request cannot fit."""
        members = {member.server.name: member for member in self.of(pool)}
        if not members:
            raise PeerError("no-home-server", f"pool {pool} has no server that can be used")
        ends_s = self._now_s() + budget_s
        for server in order([(member.server, member.health) for member in members.values()], key):
            left_s = ends_s - self._now_s()
            if left_s <= 0.05:
                break
            reply = await self._try(members[server.name], code, attributes, min(left_s, self._settings.try_s))
            if reply is not None:
                return reply, server.name
        raise TimeoutError(f"no home server of pool {pool} answers")

    async def _try(self, member: Member, code: int, attributes: Attributes, timeout_s: float) -> Reply | None:
        """The answer; None when another server shall be asked."""
        name, problem, reply = member.server.name, "", None
        try:
            reply = await member.upstream.ask(code, attributes, timeout_s)
        except PeerError as error:
            if error.reason != "overload":
                raise
            # As many as it can take are under way to this one; that says nothing of its life.
            problem = error.detail
        except OSError as error:
            # Covers TimeoutError, refused and lost connections, and certificates.
            problem = str(error) or type(error).__name__
            if member.health.silence(self._now_s()):
                log.warning("radius.proxy.dead", server=name, problem=problem)
        if self.tap is not None:
            self.tap(member.server, code, attributes, reply, problem)
        result = "no-answer" if reply is None else CODE_NAMES.get(reply.code, "other")
        ASKED.labels(name, CODE_NAMES.get(code, "other"), result).inc()
        if reply is None:
            return None
        if member.health.answer():
            log.info("radius.proxy.alive", server=name)
        # "I cannot": the request goes to a different server (RFC 9765 §6.1).
        return None if reply.code == PROTOCOL_ERROR else reply

    async def run(self) -> None:
        """Look after the dead, for ever."""
        while True:
            await asyncio.sleep(self._settings.check_s)
            dead = [member for member in self._members.values() if not member.health.is_alive]
            await asyncio.gather(*(self._check(member) for member in dead))

    async def _check(self, member: Member) -> None:
        if not member.server.status_checks:
            if member.health.revive(self._now_s()):
                log.info("radius.proxy.tried-again", server=member.server.name)
            return
        await self._try(member, STATUS_SERVER, [], self._settings.try_s)

    def _upstream(self, server: HomeServer) -> Upstream:
        if server.transport == TLS:
            certificates = self._certificates()
            if certificates is None:
                raise RuleError("HEADEND_RADSEC_DIR names no certificates, and this home server is reached over TLS")
            dynamic = None if self.dynamic is None else self.dynamic(server)
            return TlsUpstream(server.host, server.auth_port, certificates, server.tls_identity, dynamic=dynamic)
        if server.secret is None:
            raise RuleError("a home server over UDP needs a secret")
        secret = SharedSecret(server.secret.reveal().encode())
        strict = server.require_message_authenticator
        return UdpUpstream(server.host, server.auth_port, server.acct_port, secret, strict=strict)
