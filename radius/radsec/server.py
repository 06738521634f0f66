"""RADIUS over TLS as server (RFC 6614), one port for authentication and accounting, version 1.1 where ALPN says so.

    accept ─ handshake: client certificate from one of our authorities, not expired, not revoked
           ─ its names → NAS, else the connection is closed (§2.3)
           ─ packets → the same server machines as over UDP, under the secret "radsec" (§2.3 (7)) or none (RFC 9765)

A connection ends with the certificate it was opened with, when the files change, and when its NAS is disabled.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from datetime import UTC, datetime
from typing import Any

import structlog

from controller.domain.identity import NasId
from radius.ports import Tap
from radius.radsec.certificates import RadsecCertificates
from radius.radsec.connection import Connection, Services
from radius.radsec.reverse import Reverse
from radius.radsec.settings import RadsecSettings

log = structlog.get_logger()


class RadsecServer:
    """`start` binds the port, `run` follows the files, `close` ends every connection."""

    def __init__(self, settings: RadsecSettings, certificates: RadsecCertificates, services: Services) -> None:
        self._settings = settings
        self._certificates = certificates
        self._services = services
        self._listening: list[socket.socket] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._connections: set[Connection] = set()
        self._handshaking = 0
        self.port = 0

    def __len__(self) -> int:
        return len(self._connections)

    def links(self) -> dict[NasId, Reverse]:
        """By NAS how it can be asked for CoA over a connection that this process has."""
        usable = (one for one in self._connections if one.is_open and one.link is not None and one.link.has_room)
        return {one.nas.nas_id: one.link for one in usable if one.nas is not None and one.link is not None}

    def watch(self, tap: Tap | None) -> None:
        """Show what becomes of every packet, on every connection, or to nobody."""
        self._services.tap = tap

    async def start(self) -> None:
        """Raises OSError naming the port that is taken."""
        hosts = [self._settings.host] if self._settings.host != "::" else ["::", "0.0.0.0"]  # noqa: S104 - as asked
        for host in hosts:
            self._listening.append(self._bind(host, self.port or self._settings.port))
            self.port = self._listening[0].getsockname()[1]
        for listening in self._listening:
            self._spawn(self._accept(listening))
        self._spawn(self._watch())
        log.info("radius.radsec.listening", host=self._settings.host, port=self.port)

    def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        for listening in self._listening:
            listening.close()
        self._listening.clear()
        for connection in list(self._connections):
            connection.end("the server stops")

    def _bind(self, host: str, port: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            opened = socket.create_server(
                (host, port), family=family, backlog=512, reuse_port=self._settings.reuse_port
            )
        except OSError as error:
            raise OSError(error.errno, f"TCP port {port} of {host}: {error.strerror}") from error
        opened.setblocking(False)
        return opened

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                opened, address = await loop.sock_accept(listening)
            except OSError as error:
                log.warning("radius.radsec.accept", error=str(error))
                await asyncio.sleep(0.1)
                continue
            # Whoever never ends his handshake takes a place as well, as long as that may last.
            if len(self._connections) + self._handshaking >= self._settings.max_connections:
                opened.close()
                self._services.counters.count(None, 0, "tls-overload")
                continue
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._handshaking += 1
            self._spawn(self._handshake(opened, address[0]))

    async def _handshake(self, opened: socket.socket, address: str) -> None:
        loop, context = asyncio.get_running_loop(), self._certificates.server()
        connection = Connection(self._settings, self._services, self._certificates.generation, self._connections)
        try:
            await loop.connect_accepted_socket(
                lambda: connection, opened, ssl=context, ssl_handshake_timeout=self._settings.handshake_s
            )
        except (OSError, ssl.SSLError) as error:
            # OSError covers ConnectionError and TimeoutError.
            opened.close()
            self._services.counters.count(None, 0, "tls-handshake")
            log.info("radius.radsec.handshake", peer_ip=address, problem=str(error) or type(error).__name__)
        finally:
            self._handshaking -= 1

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._settings.recheck_s)
            self._certificates.refresh()
            now = datetime.now(UTC)
            for connection in list(self._connections):
                problem = connection.problem(self._certificates.generation, now)
                if problem is not None:
                    connection.end(problem)
