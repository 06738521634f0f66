"""NETCONF sessions to many devices: ncclient in threads, one session per device at a time, everything bounded in time.

A host key that is not pinned yet is recorded before the password is sent (trust on first use).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from lxml import etree

from controller.domain.errors import PermanentDeviceError, TemporaryDeviceError
from controller.domain.ports import DeviceEndpoint, HostKeyStore
from drivers.errors import DeviceTimeout, DeviceUnreachable
from drivers.transport.netconf_session import NetconfSession, NetconfSettings

__all__ = ["NetconfSession", "NetconfSettings", "NetconfTransport"]

Result = TypeVar("Result")


class NetconfTransport:
    """Opens sessions and keeps idle ones. One per process: it keeps two tasks from talking to one device at once."""

    def __init__(self, settings: NetconfSettings, host_keys: HostKeyStore) -> None:
        self._settings = settings
        self._host_keys = host_keys
        self._threads = ThreadPoolExecutor(settings.max_sessions, thread_name_prefix="netconf")
        self._turns: dict[str, asyncio.Lock] = {}
        self._idle: dict[str, tuple[NetconfSession, asyncio.TimerHandle]] = {}

    async def run(self, device: DeviceEndpoint, work: Callable[[NetconfSession], Result]) -> Result:
        """Let `work` use a session in a thread. Raises Temporary- or PermanentDeviceError.

        Only a session whose work ended well is kept: after any failure it is closed, and with it goes whatever the
        device held for it: locks, candidate, unconfirmed commit.
        """
        turn = self._turns.setdefault(device.device_id, asyncio.Lock())
        async with turn:
            idle = self._take_idle(device)
            if idle is not None:
                try:
                    return await self._use(idle, work)
                except DeviceUnreachable:
                    # It died unnoticed while idle: nothing was answered, so nothing that was asked of it remains.
                    if idle.answered:
                        raise
            return await self._use(NetconfSession(device, self._settings, self._pinner(device)), work)

    async def _use(self, session: NetconfSession, work: Callable[[NetconfSession], Result]) -> Result:
        session.answered = 0
        job = asyncio.get_running_loop().run_in_executor(self._threads, _use, session, work)
        try:
            async with asyncio.timeout(self._settings.session_timeout_s):
                result = await asyncio.shield(job)
            self._keep_idle(session)
            return result
        except TimeoutError:
            message = f"{session.device.name}: no end after {self._settings.session_timeout_s:g} s"
            raise DeviceTimeout(message) from None
        finally:
            # On time-out and cancellation the thread still waits for the device: without its socket it ends.
            if not job.done():
                session.abort()
                await asyncio.wait([job])
                with suppress(TemporaryDeviceError, PermanentDeviceError):
                    job.result()

    async def read(self, device: DeviceEndpoint, operation: str) -> str:
        """NetconfReader of controller.domain.ports: one operation that reads, as XML, and its <rpc-reply>."""
        wanted = etree.fromstring(operation)
        reply: bytes = await self.run(device, lambda session: etree.tostring(session.rpc(wanted)))
        return reply.decode()

    async def close(self) -> None:
        """Close the idle sessions and wait for the running ones to end."""
        for device_id in list(self._idle):
            self._drop_idle(device_id)
        await asyncio.to_thread(self._threads.shutdown)

    def _take_idle(self, device: DeviceEndpoint) -> NetconfSession | None:
        """The device's idle session, unless it is dead or the device is to be reached differently by now."""
        if device.device_id not in self._idle:
            return None
        session, timer = self._idle[device.device_id]
        if not session.fits(device):
            self._drop_idle(device.device_id)
            return None
        timer.cancel()
        del self._idle[device.device_id]
        return session

    def _keep_idle(self, session: NetconfSession) -> None:
        if not session.is_open:
            return
        device_id = session.device.device_id
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._settings.keep_idle_s, self._drop_idle, device_id)
        self._idle[device_id] = (session, timer)

    def _drop_idle(self, device_id: str) -> None:
        session, timer = self._idle.pop(device_id)
        timer.cancel()
        self._threads.submit(session.close)

    def _pinner(self, device: DeviceEndpoint) -> Callable[[str], str]:
        """From the session's thread: the key that `device` must show, given the one it shows."""
        loop = asyncio.get_running_loop()

        def pinned(shown: str) -> str:
            if device.host_key_sha256 is not None:
                return device.host_key_sha256
            future = asyncio.run_coroutine_threadsafe(self._host_keys.pin(device.device_id, shown), loop)
            return future.result(self._settings.connect_timeout_s)

        return pinned


def _use(session: NetconfSession, work: Callable[[NetconfSession], Result]) -> Result:
    kept = False
    if not session.is_open:
        session.open()
    try:
        result = work(session)
        kept = session.keeps
        return result
    finally:
        if not kept:
            session.close()
