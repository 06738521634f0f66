"""What stands around the UDP ports: RADIUS/TLS beside them, and home servers behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from controller.domain.clock import Clock
from controller.store.engine import Database
from controller.store.secrets import SecretBox
from radius.counters import Counters
from radius.dynamic.proxy import Peer
from radius.follower import Registry
from radius.ports import Recorder
from radius.protocol.authenticator import SharedSecret
from radius.protocol.server import Decide
from radius.proxy.mirror import Mirror
from radius.proxy.pools import Pools
from radius.proxy.router import Forwarding, Router
from radius.proxy.service import ProxyService
from radius.radsec.certificates import RadsecCertificates
from radius.radsec.server import RadsecServer, Services
from radius.settings import RadiusSettings


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
        self.certificates = None if directory is None else RadsecCertificates(directory)
        self._pools = Pools(settings.home_servers, lambda: self.certificates)
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
            services = Services(self.decide, registry, self.recorder, counters, clock)
            self.radsec = RadsecServer(settings.radsec, self.certificates, services)

    def home_server(self, address: str) -> Peer | None:
        """Who may ask for CoA and Disconnect from there: a home server over UDP, of users whose realm it serves."""
        for member in self._pools.members:
            server = member.server
            if server.host == address and server.secret is not None:
                return Peer(server.name, SharedSecret(server.secret.reveal().encode()), self._serves(server.pool))
        return None

    def _serves(self, pool: str) -> Callable[[bytes], bool]:
        def serves(username: bytes) -> bool:
            route = self._router.routes.find(username)
            return route is not None and route.pool == pool

        return serves

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
