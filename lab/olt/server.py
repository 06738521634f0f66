"""NETCONF over SSH (RFC 6242): the only sockets of the OLT.

async with OltServer(OltSettings(state_file=path)) as server:
    ...  server.port, server.host_key_sha256, server.olt.faults.delay_s = 3
"""

from __future__ import annotations

import asyncio
import hmac
import os
from pathlib import Path
from types import TracebackType

import asyncssh

from lab.olt.device import Olt, OltSettings
from lab.olt.framing import Framer, FramingError
from lab.olt.session import Session, SessionEnd

USERNAME = "headend"
PASSWORD = "lab-olt"  # noqa: S105 - an emulated device on loopback


class OltServer:
    """Serves one `Olt` on a port of loopback. Usable as an async context manager."""

    def __init__(
        self,
        settings: OltSettings | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        username: str = USERNAME,
        password: str = PASSWORD,
    ) -> None:
        self.olt = Olt(settings or OltSettings())
        self.olt.kick = self._kick
        self.host = host
        self.port = port
        self.username = username
        self.password = password
        self._key = _host_key(self.olt.settings.state_file)
        self.host_key_sha256: str = self._key.get_fingerprint("sha256")
        self._listener: asyncssh.SSHAcceptor | None = None
        self.channels: dict[int, _Channel] = {}

    async def start(self) -> None:
        self._listener = await asyncssh.listen(
            self.host,
            self.port,
            server_factory=lambda: _Login(self),
            server_host_keys=[self._key],
            encoding=None,
        )
        self.port = self._listener.get_port()

    async def stop(self) -> None:
        """Go dark: no listener, every session cut. `start` brings the OLT back on the same port."""
        if self._listener is not None:
            self._listener.close()
            await self._listener.wait_closed()
            self._listener = None
        for channel in list(self.channels.values()):
            channel.hang_up()

    async def __aenter__(self) -> OltServer:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _kick(self, session_id: int) -> None:
        channel = self.channels.get(session_id)
        if channel is not None:
            channel.hang_up()


class _Login(asyncssh.SSHServer):
    def __init__(self, server: OltServer) -> None:
        self._server = server

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        known = hmac.compare_digest(username.encode(), self._server.username.encode())
        return hmac.compare_digest(password.encode(), self._server.password.encode()) and known

    def session_requested(self) -> asyncssh.SSHServerSession[bytes]:
        return _Channel(self._server)


class _Channel(asyncssh.SSHServerSession[bytes]):
    """One SSH channel that carries one NETCONF session; messages are answered one after the other."""

    def __init__(self, server: OltServer) -> None:
        self._server = server
        self._framer = Framer()
        self._inbox: asyncio.Queue[bytes] = asyncio.Queue(64)
        self._session: Session | None = None
        self._worker: asyncio.Task[None] | None = None
        self._greeted = False

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._chan = chan

    def subsystem_requested(self, subsystem: str) -> bool:
        return subsystem == "netconf"

    def session_started(self) -> None:
        self._session = Session(self._server.olt)
        self._server.channels[self._session.number] = self
        self._chan.write(self._framer.frame(self._session.hello()))
        self._worker = asyncio.get_running_loop().create_task(self._work(self._session))

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        try:
            self._framer.feed(data)
            while (message := self._framer.next_message()) is not None:
                self._receive(message)
        except (FramingError, SessionEnd, asyncio.QueueFull):
            self.hang_up()

    def _receive(self, message: bytes) -> None:
        if self._session is None:
            return
        if not self._greeted:
            self._session.greet(message)
            self._greeted = True
            self._framer.chunked = self._session.peer_is_1_1
        else:
            self._inbox.put_nowait(message)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._worker is not None:
            self._worker.cancel()
        if self._session is not None and self._server.channels.pop(self._session.number, None) is self:
            self._server.olt.close_session(self._session.number)

    def hang_up(self) -> None:
        """Cut the TCP connection, as a device that dies does."""
        self._chan.get_connection().abort()

    async def _work(self, session: Session) -> None:
        faults = self._server.olt.faults
        while True:
            message = await self._inbox.get()
            try:
                name = session.name_of(message)
                if name in faults.drop_before:
                    faults.drop_before.discard(name)
                    self.hang_up()
                    return
                if faults.delay_s and (not faults.delay_rpc or name in faults.delay_rpc):
                    await asyncio.sleep(faults.delay_s)
                reply = session.reply(message)
            except SessionEnd:
                self.hang_up()
                return
            if name in faults.drop_after:
                faults.drop_after.discard(name)
                self.hang_up()
                return
            self._chan.write(self._framer.frame(reply))
            if session.closing:
                self._chan.close()
                return


def _host_key(state_file: Path | None) -> asyncssh.SSHKey:
    """The host key beside the state file, made on first use; without a state file a new one each time."""
    if state_file is None:
        return asyncssh.generate_private_key("ssh-ed25519")
    path = state_file.with_suffix(".hostkey")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
    return asyncssh.read_private_key(path)
