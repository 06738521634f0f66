"""`python -m lab.olt --port 0 --state FILE`: an OLT in a process of its own.

Prints one line of JSON when it answers: {"port", "host_key_sha256", "control_port", "username", "pon_ports"}.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from pathlib import Path

from lab.olt.control import serve_control
from lab.olt.device import OltSettings
from lab.olt.server import PASSWORD, USERNAME, OltServer


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.olt", description="An emulated OLT (BBF TR-385, NETCONF).")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="NETCONF port; 0 takes a free one")
    parser.add_argument("--state", type=Path, help="file that keeps the running configuration; its host key beside it")
    parser.add_argument("--pon-ports", type=int, default=4)
    parser.add_argument("--username", default=USERNAME)
    parser.add_argument("--password", default=PASSWORD)
    parser.add_argument("--lenient", action="store_true", help="accept commits without lock, validate and confirmation")
    asyncio.run(_serve(parser.parse_args()))


async def _serve(arguments: argparse.Namespace) -> None:
    settings = OltSettings(pon_ports=arguments.pon_ports, strict=not arguments.lenient, state_file=arguments.state)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = OltServer(
        settings,
        host=arguments.host,
        port=arguments.port,
        username=arguments.username,
        password=arguments.password,
    )
    async with server, await serve_control(server, arguments.host) as control:
        ready = {
            "port": server.port,
            "host_key_sha256": server.host_key_sha256,
            "control_port": control.sockets[0].getsockname()[1],
            "username": server.username,
            "pon_ports": [f"pon-{n}" for n in range(1, settings.pon_ports + 1)],
        }
        print(json.dumps(ready), flush=True)
        await stop.wait()


if __name__ == "__main__":
    main()
