"""An SNMP agent of the lab: system group, ifTable and ifXTable, over v2c with a community or v3 authPriv.

    agent = SnmpAgent("bras-1", [AgentInterface(1, "ge-0/0/0", 10_000)], community="…")
    await agent.start()                     # agent.port
    agent.interface("ge-0/0/0").carry(received=1500, sent=40)

Counters move by `carry`, or by `refresh`, a callable that is asked before each answer. `reboot` starts uptime and
counters anew; `reset_counters` announces a discontinuity, or does not (RFC 2863 ifCounterDiscontinuityTime). A wrong
community is silence. As a program, `python -m lab.snmp_agent`, it takes the same as JSON lines on standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import bisect
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pysnmp.carrier.asyncio.dgram import udp
from pysnmp.entity import config, engine
from pysnmp.entity.rfc3413 import cmdrsp, context
from pysnmp.proto.api import v2c
from pysnmp.proto.rfc1905 import endOfMibView, noSuchInstance
from pysnmp.smi.instrum import AbstractMibInstrumController

ETHERNET = 6
GPON = 250

Oid = tuple[int, ...]
_SYSTEM: Oid = (1, 3, 6, 1, 2, 1, 1)
_INTERFACES: Oid = (1, 3, 6, 1, 2, 1, 2)
_IF: Oid = (*_INTERFACES, 2, 1)
_IFX: Oid = (1, 3, 6, 1, 2, 1, 31, 1, 1, 1)


@dataclass(slots=True)
class AgentInterface:
    """One interface. Octets are running totals as the interface sees them; `speed_mbps` is ifHighSpeed."""

    index: int
    name: str
    speed_mbps: int
    type: int = ETHERNET
    up: bool = True
    has_64_bits: bool = True
    received: int = 0
    sent: int = 0
    discontinuity_ticks: int = 0

    def carry(self, *, received: int, sent: int) -> None:
        self.received += received
        self.sent += sent


@dataclass(frozen=True, slots=True)
class V3User:
    """SHA-1 and AES-128 (RFC 3414, RFC 3826)."""

    name: str
    auth_key: str
    priv_key: str


@dataclass(slots=True)
class SnmpAgent:
    """One agent on one UDP port of `host`."""

    name: str
    interfaces: Sequence[AgentInterface]
    community: str | None = None
    user: V3User | None = None
    host: str = "127.0.0.1"
    port: int = 0
    refresh: Callable[[], None] | None = None
    silent: bool = False
    """A fault: requests are taken and never answered."""
    started_at: float = field(default_factory=time.monotonic)
    _engine: Any = None

    @property
    def uptime_ticks(self) -> int:
        return int((time.monotonic() - self.started_at) * 100) % 2**32

    def interface(self, name: str) -> AgentInterface:
        return next(interface for interface in self.interfaces if interface.name == name)

    def reboot(self) -> None:
        """Uptime and counters start anew."""
        self.started_at = time.monotonic()
        for interface in self.interfaces:
            interface.received = interface.sent = interface.discontinuity_ticks = 0

    def reset_counters(self, *, announced: bool = True) -> None:
        """Counters start anew while the device runs on; some agents do not announce it."""
        for interface in self.interfaces:
            interface.received = interface.sent = 0
            if announced:
                interface.discontinuity_ticks = max(self.uptime_ticks, 1)

    async def start(self) -> None:
        bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        bound.bind((self.host, self.port))
        bound.setblocking(False)
        self.port = bound.getsockname()[1]
        snmp = engine.SnmpEngine()
        transport = udp.UdpAsyncioTransport().open_server_mode(sock=bound)
        config.add_transport(snmp, udp.DOMAIN_NAME, transport)
        if self.community is not None:
            config.add_v1_system(snmp, "lab", self.community)
            config.add_vacm_user(snmp, 2, "lab", "noAuthNoPriv", (1, 3, 6))
        if self.user is not None:
            config.add_v3_user(
                snmp,
                self.user.name,
                config.USM_AUTH_HMAC96_SHA,
                self.user.auth_key,
                config.USM_PRIV_CFB128_AES,
                self.user.priv_key,
            )
            config.add_vacm_user(snmp, 3, self.user.name, "authPriv", (1, 3, 6))
        served = context.SnmpContext(snmp)
        served.unregister_context_name(b"")
        served.register_context_name(b"", _Objects(self))
        for responder in (cmdrsp.GetCommandResponder, cmdrsp.NextCommandResponder, cmdrsp.BulkCommandResponder):
            responder(snmp, served)
        self._engine = snmp

    async def stop(self) -> None:
        if self._engine is not None:
            self._engine.close_dispatcher()
            self._engine = None
            await asyncio.sleep(0)  # the transport closes in the loop's next turn

    async def __aenter__(self) -> SnmpAgent:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def objects(self) -> dict[Oid, Any]:
        """Every object and its value now."""
        if self.refresh is not None:
            self.refresh()
        text, number = v2c.OctetString, v2c.Integer32
        found: dict[Oid, Any] = {
            (*_SYSTEM, 1, 0): text(f"Headend lab agent {self.name}"),
            (*_SYSTEM, 2, 0): v2c.ObjectIdentifier((1, 3, 6, 1, 4, 1, 8072, 3, 2, 10)),
            (*_SYSTEM, 3, 0): v2c.TimeTicks(self.uptime_ticks),
            (*_SYSTEM, 5, 0): text(self.name),
            (*_INTERFACES, 1, 0): number(len(self.interfaces)),
        }
        for interface in self.interfaces:
            found |= _rows(interface)
        return found


def _rows(interface: AgentInterface) -> dict[Oid, Any]:
    """The ifEntry and ifXEntry of one interface."""
    index, name = interface.index, v2c.OctetString(interface.name.encode())
    status = v2c.Integer32(1 if interface.up else 2)
    rows = {
        (*_IF, 1, index): v2c.Integer32(index),
        (*_IF, 2, index): name,
        (*_IF, 3, index): v2c.Integer32(interface.type),
        (*_IF, 5, index): v2c.Gauge32(min(interface.speed_mbps * 10**6, 2**32 - 1)),
        (*_IF, 7, index): v2c.Integer32(1),
        (*_IF, 8, index): status,
        (*_IF, 10, index): v2c.Counter32(interface.received % 2**32),
        (*_IF, 16, index): v2c.Counter32(interface.sent % 2**32),
        (*_IFX, 1, index): name,
        (*_IFX, 15, index): v2c.Gauge32(interface.speed_mbps),
        (*_IFX, 19, index): v2c.TimeTicks(interface.discontinuity_ticks),
    }
    if interface.has_64_bits:
        rows[*_IFX, 6, index] = v2c.Counter64(interface.received % 2**64)
        rows[*_IFX, 10, index] = v2c.Counter64(interface.sent % 2**64)
    return rows


class _Objects(AbstractMibInstrumController):  # type: ignore[misc]
    """Answers Get, GetNext and GetBulk from `SnmpAgent.objects`, made at most once per turn of the event loop."""

    def __init__(self, agent: SnmpAgent) -> None:
        self._agent = agent
        self._now: tuple[dict[Oid, Any], list[Oid]] | None = None

    def read_variables(self, *asked: Any, **more: Any) -> list[tuple[Any, Any]]:
        objects, _ = self._objects(asked, more)
        return [(name, objects.get(tuple(name), noSuchInstance)) for name, _ in asked]

    def read_next_variables(self, *asked: Any, **more: Any) -> list[tuple[Any, Any]]:
        objects, order = self._objects(asked, more)
        answer = []
        for name, _ in asked:
            place = bisect.bisect_right(order, tuple(name))
            if place < len(order):
                answer.append((v2c.ObjectIdentifier(order[place]), objects[order[place]]))
            else:
                answer.append((name, endOfMibView))
        return answer

    def _objects(self, asked: Sequence[Any], more: dict[str, Any]) -> tuple[dict[Oid, Any], list[Oid]]:
        if self._agent.silent:
            raise ConnectionAbortedError("this agent is told to be silent")
        if asked:
            more["acFun"]("read", (asked[0][0], None), **more)  # the level of security, RFC 3415
        if self._now is None:
            objects = self._agent.objects()
            self._now = objects, sorted(objects)
            asyncio.get_running_loop().call_soon(self._forget)
        return self._now

    def _forget(self) -> None:
        self._now = None


def obey(agent: SnmpAgent, command: dict[str, Any]) -> None:
    """One line of the control pipe. Raises KeyError, StopIteration or ValueError for what it does not know.

    {"do": "carry", "interface": "ge-0/0/0", "received": 1, "sent": 2} · {"do": "reboot"} · {"do": "silent", "on": true}
    {"do": "reset", "announced": false} · {"do": "link", "interface": "ge-0/0/0", "up": false}
    """
    match command["do"]:
        case "carry":
            agent.interface(command["interface"]).carry(received=command["received"], sent=command["sent"])
        case "link":
            agent.interface(command["interface"]).up = bool(command["up"])
        case "reboot":
            agent.reboot()
        case "reset":
            agent.reset_counters(announced=bool(command.get("announced", True)))
        case "silent":
            agent.silent = bool(command["on"])
        case unknown:
            raise ValueError(f"unknown command {unknown!r}")


async def _serve(arguments: argparse.Namespace) -> None:
    interfaces = []
    for number, text in enumerate(arguments.interface or ["ge-0/0/0:10000", "ge-0/0/1:10000"], 1):
        name, _, speed = text.rpartition(":")
        interfaces.append(AgentInterface(number, name, int(speed)))
    keys = os.environ.get("LAB_SNMP_AUTH_KEY", ""), os.environ.get("LAB_SNMP_PRIV_KEY", "")
    user = V3User(arguments.user, *keys) if arguments.user else None
    agent = SnmpAgent(
        arguments.name, interfaces, os.environ.get("LAB_SNMP_COMMUNITY"), user, arguments.host, arguments.port
    )
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    async with agent:
        print(json.dumps({"port": agent.port}), flush=True)
        reading = asyncio.create_task(_read_commands(agent, commands))
        await stop.wait()
        reading.cancel()


async def _read_commands(agent: SnmpAgent, commands: asyncio.StreamReader) -> None:
    while line := await commands.readline():
        try:
            obey(agent, json.loads(line))
        except (KeyError, StopIteration, TypeError, ValueError) as error:
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m lab.snmp_agent",
        description="An SNMP agent. Secrets come from LAB_SNMP_COMMUNITY, LAB_SNMP_AUTH_KEY and LAB_SNMP_PRIV_KEY.",
    )
    parser.add_argument("--name", default="lab-agent")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="UDP port; 0 takes a free one and prints it")
    parser.add_argument("--user", help="SNMPv3 user, SHA and AES")
    parser.add_argument("--interface", action="append", metavar="NAME:MBPS", help="repeat for each interface")
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
