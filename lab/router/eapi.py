"""The router's eAPI: JSON-RPC `runCmds` over HTTPS with HTTP Basic credentials and a self-signed certificate.

The certificate is made once and kept with the device's files, so that whoever pinned it finds it again.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import h11
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lab.router.device import CliFailure, ConnectionLost, Router

IDLE_S = 30.0


@dataclass(slots=True)
class EapiServer:
    """Serves one router on `host`; port 0 takes any free one."""

    router: Router
    username: str
    password: str
    host: str = "127.0.0.1"
    port: int = 0
    requests: int = 0
    _server: asyncio.Server | None = None
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def start(self) -> None:
        """Listen. A port that is taken meanwhile is replaced by any free one."""
        context = self._tls()
        try:
            self._server = await asyncio.start_server(self._connection, self.host, self.port, ssl=context)
        except OSError:
            self._server = await asyncio.start_server(self._connection, self.host, 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in list(self._open):
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    def _tls(self) -> ssl.SSLContext:
        certificate, key = self.router.files / "eapi.crt", self.router.files / "eapi.key"
        if not certificate.exists():
            private = ec.generate_private_key(ec.SECP256R1())
            name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, self.router.name)])
            now = datetime.now(UTC)
            made = (
                x509.CertificateBuilder()
                .subject_name(name)
                .issuer_name(name)
                .public_key(private.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - timedelta(days=1))
                .not_valid_after(now + timedelta(days=3650))
                .sign(private, hashes.SHA256())
            )
            key.touch(mode=0o600)
            key.write_bytes(
                private.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
            )
            certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return context

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            async with asyncio.timeout(IDLE_S):
                await self._exchange(reader, writer)
        except (ConnectionLost, ConnectionError, TimeoutError, h11.RemoteProtocolError):
            writer.transport.abort()
        finally:
            self._open.discard(writer)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h11.Connection(h11.SERVER)
        request: h11.Request | None = None
        body = b""
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                data = await reader.read(65536)
                if not data and request is None:
                    return
                http.receive_data(data)
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return
        assert request is not None
        status, kind, answer = self._answer(request, body)
        headers = [("Content-Type", kind), ("Content-Length", str(len(answer))), ("Connection", "close")]
        if status == 401:
            headers.append(("WWW-Authenticate", 'Basic realm="COMMAND_API_AUTH"'))
        writer.write(http.send(h11.Response(status_code=status, headers=headers, reason=_REASONS[status])) or b"")
        writer.write(http.send(h11.Data(data=answer)) or b"")
        await writer.drain()

    def _answer(self, request: h11.Request, body: bytes) -> tuple[int, str, bytes]:
        self.requests += 1
        if request.target != b"/command-api" or request.method != b"POST":
            return 404, "text/plain", b"Not Found"
        wanted = base64.b64encode(f"{self.username}:{self.password}".encode())
        given = dict(request.headers).get(b"authorization", b"")
        if not hmac.compare_digest(given, b"Basic " + wanted):
            return 401, "text/plain", b"Unable to authenticate user: Bad username/password combination"
        return 200, "application/json", json.dumps(self._rpc(body)).encode()

    def _rpc(self, body: bytes) -> dict[str, Any]:
        call: dict[str, Any] = {}
        try:
            call = json.loads(body)
            params = call["params"]
            if call["method"] != "runCmds" or params["version"] not in (1, "latest"):
                return _error(call, -32601, "Method not found")
            commands = [c if isinstance(c, str) else c["cmd"] for c in params["cmds"]]
        except (ValueError, KeyError, TypeError):
            return _error(call, -32600, "Invalid request")
        try:
            result = self.router.execute(commands, params.get("format") or "json")
        except CliFailure as failure:
            return _error(call, failure.code, str(failure), failure.data)
        return {"jsonrpc": "2.0", "id": call.get("id"), "result": result}


_REASONS = {200: b"OK", 401: b"Unauthorized", 404: b"Not Found"}


def _error(call: dict[str, Any], code: int, message: str, data: list[Any] | None = None) -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return {"jsonrpc": "2.0", "id": call.get("id") if isinstance(call, dict) else None, "error": error}
