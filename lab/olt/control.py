"""The control socket: one JSON object per line on loopback, to arm faults and to look at the OLT from outside.

    {"do": "fault", "name": "delay_s", "value": 3}    arm or clear a fault of `faults.Faults`
    {"do": "alter", "config": "<config …>"}           change running from the OLT's own console
    {"do": "unplug", "serial": "…"}                    darken an ONU;  "plug" needs "pon_port" too
    {"do": "carry", "serial": "…", "upstream_octets": 1, "downstream_octets": 2}
    {"do": "transcript"}                               what was asked of the OLT so far
    {"do": "running"}                                  the running configuration
    {"do": "dark"} · {"do": "light"}                   stop and start answering at all

Each line is answered by {"ok": true, …} or {"ok": false, "error": "…"}.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import Any

from lxml import etree

from lab.olt.errors import RpcError
from lab.olt.server import OltServer


async def serve_control(server: OltServer, host: str = "127.0.0.1", port: int = 0) -> asyncio.Server:
    """Open the control socket of `server`."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await _answer(server, line)).encode() + b"\n")
                await writer.drain()
        finally:
            writer.close()

    return await asyncio.start_server(talk, host, port, limit=1024 * 1024)


async def _answer(server: OltServer, line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
        return {"ok": True, **(await _do(server, request))}
    except (ValueError, KeyError, TypeError, etree.XMLSyntaxError, RpcError) as error:
        return {"ok": False, "error": f"{type(error).__name__}: {error}"}


async def _do(server: OltServer, request: dict[str, Any]) -> dict[str, Any]:
    olt = server.olt
    match request["do"]:
        case "fault":
            olt.faults.set(request["name"], request["value"])
        case "alter":
            olt.alter(request["config"])
        case "plug":
            olt.plant.plug(request["serial"], request["pon_port"])
        case "unplug":
            olt.plant.unplug(request["serial"])
        case "carry":
            olt.plant.carry(request["serial"], request["upstream_octets"], request["downstream_octets"])
        case "transcript":
            return {"transcript": [asdict(entry) for entry in olt.transcript]}
        case "running":
            return {"running": etree.tostring(olt.running, encoding="unicode")}
        case "dark":
            await server.stop()
        case "light":
            await server.start()
        case other:
            raise KeyError(f"no such thing to do: {other!r}")
    return {}
