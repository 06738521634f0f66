"""The demo's network: OLT, router, BRAS and what else answers, on loopback, each keeping its state below lab/.

Ports are any that were free at the first start, and the same ones afterwards, because devices are registered by them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from urllib.parse import unquote, urlsplit

from lab.bras.nas import Bras, BrasSettings
from lab.bras.session import Session
from lab.cpe import CpeFleet
from lab.monitoring import agents, snmp_access
from lab.office import Office
from lab.olt.device import OltSettings
from lab.olt.server import OltServer
from lab.router.device import Router
from lab.router.eapi import EapiServer
from lab.settings import BRAS_ADDRESS, LOOPBACK, LabSettings
from lab.world import PON_PORTS, World

LIVE_INTERIM_S = 20
"""Set on the BRAS itself, which overrides what the controller asks for (RFC 2869 §2.1): a demo must move."""
LIVE_REDIAL_S = 3.0


class Network:
    """Devices that run as long as the lab does. The BRAS is made for one controller at a time by `attach_bras`."""

    def __init__(self, settings: LabSettings, world: World) -> None:
        self._settings = settings
        self._world = world
        files = settings.lab_dir
        self.olt = OltServer(
            OltSettings(pon_ports=len(PON_PORTS), state_file=files / "olt.xml", seed=world.seed),
            port=world.ports.get("olt", 0),
            password=world.olt_password,
        )
        self.router = EapiServer(
            Router(files / "router"), "headend", world.router_password, port=world.ports.get("router", 0)
        )
        self.agents = agents(world, self._carried)
        self.bras: Bras | None = None

    async def start(self) -> None:
        """Bring the devices up and remember their ports."""
        try:
            await self.olt.start()
        except OSError:
            self.olt.port = 0
            await self.olt.start()
        self.router.router.boot()
        await self.router.start()
        for agent in self.agents.values():
            try:
                await agent.start()
            except OSError:
                agent.port = 0
                await agent.start()
        self._world.ports |= {"olt": self.olt.port, "router": self.router.port}
        self._world.ports |= {f"snmp-{name}": agent.port for name, agent in self.agents.items()}

    async def register(self, office: Office) -> None:
        """Tell the controller of the devices it does not know yet, and of ports that have changed."""
        await office.register_device(
            "olt",
            {
                "name": "olt-1",
                "driver": "bbf-olt",
                "host": LOOPBACK,
                "port": self.olt.port,
                "username": self.olt.username,
                "password": self._world.olt_password,
                "host_key_sha256": self.olt.host_key_sha256,
                "snmp": snmp_access(self.agents["olt-1"], self._world),
            },
        )
        await office.register_device(
            "router",
            {
                "name": "router-1",
                "driver": "napalm-router",
                "host": LOOPBACK,
                "port": self.router.port,
                "username": self.router.username,
                "password": self._world.router_password,
                "snmp": snmp_access(self.agents["router-1"], self._world),
            },
        )
        await office.register_device(
            "bras",
            {"name": "bras-1", "host": LOOPBACK, "snmp": snmp_access(self.agents["bras-1"], self._world)},
        )

    async def attach_bras(self, auth_port: int, acct_port: int, now: Callable[[], datetime], *, live: bool) -> Bras:
        """Boot the BRAS against a controller. Its state file carries the sessions from one boot to the next."""
        settings = BrasSettings(
            source=BRAS_ADDRESS,
            secret=self._world.bras_secret.encode(),
            auth=(LOOPBACK, auth_port),
            acct=(LOOPBACK, acct_port),
            state_file=self._settings.lab_dir / "bras.json",
            interim_s=LIVE_INTERIM_S if live else None,
            redial_after_s=LIVE_REDIAL_S if live else None,
            coa_port=self._world.ports.get("coa", 0),
            seed=self._world.seed,
        )
        self.bras = Bras(settings, [subscriber.line() for subscriber in self._world.subscribers], now)
        self.bras.bind()
        self._world.ports["coa"] = self.bras.coa_port
        return self.bras

    async def detach_bras(self) -> None:
        """Stop the BRAS and keep its sessions."""
        if self.bras is not None:
            await self.bras.close()
            self.bras = None

    async def stop(self) -> None:
        await self.detach_bras()
        for agent in self.agents.values():
            await agent.stop()
        await self.router.stop()
        await self.olt.stop()

    def count(self, now: datetime) -> None:
        """Move traffic on to `now` and show it in the counters of the OLT's ONUs."""
        if self.bras is None:
            return
        for session in self.bras.sessions.values():
            self.bras.count_traffic(session, now)
        for subscriber in self._world.subscribers:
            carried = self.bras.carried.get(subscriber.username)
            onu = self.olt.olt.plant.expected(subscriber.serial, subscriber.pon_port) if subscriber.active else None
            if carried is not None and onu is not None:
                onu.upstream_octets, onu.downstream_octets = carried

    def _carried(self, pon_port: str | None) -> tuple[int, int]:
        """Octets (upstream, downstream) of all lines, or of those on one PON port."""
        lines = [s.username for s in self._world.subscribers if pon_port in (None, s.pon_port)]
        carried = {} if self.bras is None else self.bras.carried
        found = [carried[username] for username in lines if username in carried]
        return sum(up for up, _ in found), sum(down for _, down in found)

    def fleet(self, broker_url: str) -> CpeFleet:
        """The subscribers' routers, reporting to a broker what their lines carried."""
        serials = {s.serial: s.username for s in self._world.subscribers if s.active and not s.experiment}

        def move(fleet: CpeFleet) -> None:
            for serial, cpe in fleet.cpes.items():
                carried = None if self.bras is None else self.bras.carried.get(serials[serial])
                if carried is not None:
                    cpe.upstream_octets, cpe.downstream_octets = carried

        broker = urlsplit(broker_url)
        return CpeFleet(
            serials,
            host=broker.hostname or LOOPBACK,
            port=broker.port or 1883,
            username=unquote(broker.username) if broker.username else None,
            password=unquote(broker.password) if broker.password else None,
            before=move,
        )

    def sessions(self) -> list[Session]:
        return [] if self.bras is None else list(self.bras.sessions.values())
