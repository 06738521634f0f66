"""What stands around the UDP ports: RADIUS/TLS beside them, and home servers behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from controller.domain.clock import Clock
from controller.domain.identity import NasId
from controller.store.engine import Database
from controller.store.secrets import SecretBox
from radius.counters import Counters
from radius.dynamic.proxy import Peer
from radius.follower import Registry
from radius.ports import Recorder, Tap
from radius.protocol.authenticator import SharedSecret
from radius.protocol.server import Decide
from radius.proxy.mirror import Mirror
from radius.proxy.model import TLS, HomeServer
from radius.proxy.pools import Pools
from radius.proxy.pools import Tap as ForwardedTap
from radius.proxy.router import Forwarding, Router
from radius.proxy.service import ProxyService
from radius.radsec.certificates import RadsecCertificates
from radius.radsec.client import Dynamic
from radius.radsec.connection import Send, Services
from radius.radsec.reverse import Reverse
from radius.radsec.server import RadsecServer
from radius.settings import RadiusSettings


class TakeRequest(Protocol):
    """radius.dynamic.port.DynamicPort.take."""

    def __call__(self, data: bytes, peer: Peer, source: tuple[str, int], send: Send) -> None: ...


class Transports:
    """`decide` and `recorder` are what the ports ask; `proxy` is the service behind the API."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        box: SecretBox,
        settings: RadiusSettings,
        *,
        decide: Decide,
        recorder: Recorder,
        registry: Registry,
        counters: Counters,
    ) -> None:
        directory = settings.radsec.directory
        versions = settings.radsec.versions
        self.certificates = None if directory is None else RadsecCertificates(directory, versions=versions)
        self._pools = Pools(settings.home_servers, lambda: self.certificates)
        self._pools.dynamic = self._dynamic_of
        self.take_dynamic: TakeRequest | None = None
        """Where CoA and Disconnect requests of home servers go that came over TLS; None: they are told 406."""
        self._router = router = Router(
            decide,
            self._pools,
            b"he" + box.mark("proxy-state"),
            budget_s=settings.deferred_timeout_s * 0.9,
            operator_name=settings.operator_name,
        )
        self.mirror = Mirror(database, clock, self._pools, router.state)
        self.proxy = ProxyService(database, clock, box, router, self._pools, refresh_s=settings.refresh_s)
        self.decide: Decide = router.decide
        self.recorder: Recorder = Forwarding(recorder, router, self.mirror)
        self.radsec: RadsecServer | None = None
        if self.certificates is not None:
            services = Services(
                self.decide,
                registry,
                self.recorder,
                counters,
                clock,
                is_home_server=lambda names: self._named(names) is not None,
                take_dynamic=self._take_dynamic,
            )
            self.radsec = RadsecServer(settings.radsec, self.certificates, services)

    def home_server(self, address: str) -> Peer | None:
        """Who may ask for CoA and Disconnect from there: a home server over UDP, of users whose realm it serves."""
        for member in self._pools.members:
            server = member.server
            if server.host == address and server.secret is not None:
                return Peer(server.name, SharedSecret(server.secret.reveal().encode()), self._serves(server.pool))
        return None

    def _named(self, names: list[str]) -> HomeServer | None:
        """The home server over TLS whose certificate bears one of these names."""
        servers = (member.server for member in self._pools.members)
        return next((one for one in servers if one.transport == TLS and one.tls_identity in names), None)

    def _dynamic_of(self, server: HomeServer) -> Dynamic:
        """What it asks down the connection that we opened to it."""

        def take(frame: bytes, source: tuple[str, int], secret: SharedSecret, send: Send) -> bool:
            return self._take(server, frame, source, secret, send)

        return take

    def _take_dynamic(
        self, names: list[str], frame: bytes, source: tuple[str, int], secret: SharedSecret, send: Send
    ) -> bool:
        server = self._named(names)
        return server is not None and self._take(server, frame, source, secret, send)

    def _take(
        self, server: HomeServer, frame: bytes, source: tuple[str, int], secret: SharedSecret, send: Send
    ) -> bool:
        if self.take_dynamic is None:
            return False
        self.take_dynamic(frame, Peer(server.name, secret, self._serves(server.pool)), source, send)
        return True

    def _serves(self, pool: str) -> Callable[[bytes], bool]:
        def serves(username: bytes) -> bool:
            route = self._router.routes.find(username)
            return route is not None and route.pool == pool

        return serves

    def watch(self, tap: Tap | None, forwarded: ForwardedTap | None) -> None:
        """Show every packet over TLS, and every packet to and from home servers, or nothing."""
        self._pools.tap = forwarded
        if self.radsec is not None:
            self.radsec.watch(tap)

    def links(self) -> dict[NasId, Reverse]:
        """By NAS how it can be asked for CoA over a TLS connection that this process has."""
        return {} if self.radsec is None else self.radsec.links()

    async def start(self) -> None:
        """Raises OSError naming the port that is taken."""
        await self.proxy.refresh()
        if self.radsec is not None:
            await self.radsec.start()

    async def run(self) -> None:
        """Look after home servers and the mirror, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.proxy.run())
            tasks.create_task(self._pools.run())
            tasks.create_task(self.mirror.run())

    def close(self) -> None:
        if self.radsec is not None:
            self.radsec.close()
        self._pools.close()
