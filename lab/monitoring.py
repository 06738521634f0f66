"""The SNMP agents of the demo's devices: interfaces whose counters are what the lines together have carried."""

from __future__ import annotations

from collections.abc import Callable

from lab.api import Json
from lab.settings import LOOPBACK
from lab.snmp_agent import GPON, AgentInterface, SnmpAgent, V3User
from lab.world import PON_PORTS, World

Carried = Callable[[str | None], tuple[int, int]]
"""Octets (upstream, downstream) of one PON port's lines; of all lines for None."""

V3_USER = "headend"


def agents(world: World, carried: Carried) -> dict[str, SnmpAgent]:
    """An agent per device, by name. The router speaks SNMPv3, the others v2c."""
    return {
        "olt-1": _agent("olt-1", [*PON_PORTS, "uplink-1"], world, carried, kind=GPON),
        "bras-1": _agent("bras-1", ["ether1", "ether2"], world, carried),
        "router-1": _agent("router-1", ["Ethernet1", "Ethernet8"], world, carried, v3=True),
    }


def _agent(
    name: str, names: list[str], world: World, carried: Carried, *, kind: int | None = None, v3: bool = False
) -> SnmpAgent:
    """The last of `names` is the uplink; the others face subscribers."""
    interfaces = [AgentInterface(number, one, 10_000) for number, one in enumerate(names, 1)]
    for interface in interfaces[:-1]:
        interface.type = kind or interface.type

    def refresh() -> None:
        for interface in interfaces[:-1]:
            interface.received, interface.sent = carried(interface.name if interface.name in PON_PORTS else None)
        interfaces[-1].sent, interfaces[-1].received = carried(None)

    user = V3User(V3_USER, world.snmp_auth_key, world.snmp_priv_key) if v3 else None
    community = None if v3 else world.snmp_community
    return SnmpAgent(name, interfaces, community, user, LOOPBACK, world.ports.get(f"snmp-{name}", 0), refresh=refresh)


def snmp_access(agent: SnmpAgent, world: World) -> Json:
    """How the controller is told to poll an agent."""
    if agent.user is None:
        return {"port": agent.port, "version": "2c", "community": world.snmp_community}
    return {
        "port": agent.port,
        "version": "3",
        "user": agent.user.name,
        "auth_protocol": "sha",
        "auth_key": world.snmp_auth_key,
        "priv_protocol": "aes",
        "priv_key": world.snmp_priv_key,
    }
