"""ServiceDriver for EOS routers over napalm: candidate, diff, commit with a revert timer, read-back, confirm.

    load merge candidate → compare → commit, reverting in N s → read back → confirm
                                                                   └ not as desired → roll back

napalm is synchronous: each call runs in a thread, one at a time per device, bounded in time. Should this process die
between commit and confirm, the device's own timer takes the change back.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import secrets
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import structlog

from controller.domain.errors import HeadendError, PermanentDeviceError, TemporaryDeviceError
from controller.domain.ports import DeviceEndpoint, HostKeyStore
from controller.domain.service import AttachedService, ObservedService, Plan
from drivers.napalm_router import parse, render

log = structlog.get_logger()
T = TypeVar("T")

SESSION_PREFIX = "headend"


@dataclass(frozen=True, slots=True)
class NapalmRouterSettings:
    """How routers are driven."""

    network_timeout_s: int = 15
    """Bound of one request to the device."""
    call_timeout_s: float = 90.0
    """Bound of one whole observe or apply, waiting for the device's configuration lock included."""
    revert_in_s: int = 60
    """Unconfirmed, a commit is taken back by the device after this time. Longer than a read-back ever takes."""
    stale_session_s: int = 900
    """A configuration session of ours that is older was left by a process that died; it is aborted."""
    threads: int = 4
    """Devices that are talked to at once."""


class NapalmRouter:
    """Implements controller.domain.ports.ServiceDriver. Needs the extra `[napalm]`; it is imported on first use."""

    def __init__(self, settings: NapalmRouterSettings | None = None, host_keys: HostKeyStore | None = None) -> None:
        """`host_keys` pins certificates seen for the first time; without it only what is pinned already is checked."""
        self._settings = settings or NapalmRouterSettings()
        self._host_keys = host_keys
        self._threads = ThreadPoolExecutor(self._settings.threads, thread_name_prefix="napalm")
        self._locks: dict[str, asyncio.Lock] = {}

    async def observe(self, device: DeviceEndpoint, service: AttachedService) -> ObservedService:
        """Raises TemporaryDeviceError, PermanentDeviceError."""

        def read(router: Any) -> ObservedService:
            return self._read(router, service)

        return await self._call(device, read)

    def plan(self, device: DeviceEndpoint, desired: AttachedService, observed: ObservedService) -> Plan:
        """Raises PermanentDeviceError when the device has no words for what is desired."""
        return render.plan(device.device_id, desired, observed)

    async def preview(self, device: DeviceEndpoint, plan: Plan) -> str:
        """The device's own diff of `plan`, from a candidate that is thrown away."""

        def compare(router: Any) -> str:
            self._load(router, plan)
            try:
                return str(router.compare_config())
            finally:
                router.discard_config()

        return "" if plan.is_empty else await self._call(device, compare)

    async def apply(self, device: DeviceEndpoint, desired: AttachedService, plan: Plan) -> None:
        """Leave the device changed and confirmed, or as it was. Raises TemporaryDeviceError, PermanentDeviceError."""
        if plan.is_empty:
            return

        def change(router: Any) -> None:
            self._load(router, plan)
            diff = router.compare_config()
            if not diff:
                router.discard_config()
                return
            log.info("router_candidate", device_id=device.device_id, service_id=desired.service_id, diff=diff)
            router.commit_config(revert_in=self._settings.revert_in_s)
            if wrong := render.differences(desired, self._read(router, desired)):
                router.rollback()
                raise PermanentDeviceError(
                    f"{device.name} committed but does not show the change ({'; '.join(wrong)}); it was rolled back"
                )
            router.confirm_commit()

        await self._call(device, change)

    def close(self) -> None:
        """Let no new call begin; those under way end with their timeouts."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    # -- in the thread ----------------------------------------------------------------------------------------------

    def _read(self, router: Any, service: AttachedService) -> ObservedService:
        where = render.attachment_of(service)
        expected = render.subinterface(where.interface, where.subscriber_vlan)
        running = router.get_config(retrieve="running")["running"]
        return parse.observed_service(running, service.service_id, expected)

    def _load(self, router: Any, plan: Plan) -> None:
        self._abort_stale(router)
        # Our own name with its time of birth, so that what a dead process left can be told from what is at work.
        router.config_session = f"{SESSION_PREFIX}_{int(time.time())}_{secrets.token_hex(3)}"
        router.load_merge_candidate(config="".join(step.rendered for step in plan.steps))

    def _abort_stale(self, router: Any) -> None:
        sessions = router.device.run_commands(["show configuration sessions"])[0]["sessions"]
        for name, session in sessions.items():
            if session["state"] == "pending" and is_stale(name, time.time(), self._settings.stale_session_s):
                router.device.run_commands([f"configure session {name} abort"])
                log.warning("router_stale_session_aborted", session=name)

    def _session(self, device: DeviceEndpoint, work: Callable[[Any], T]) -> T:
        try:
            # Imported here: 42 packages that only those who drive routers have and pay for.
            from napalm import get_network_driver
        except ImportError as error:
            raise PermanentDeviceError("driving routers needs the extra: pip install 'headend[napalm]'") from error
        # What fails is raised to us and reported once; pyeapi would log a traceback besides.
        logging.getLogger("pyeapi").setLevel(logging.CRITICAL)
        try:
            router = get_network_driver("eos")(
                device.host,
                device.username,
                device.secret.reveal(),
                timeout=self._settings.network_timeout_s,
                optional_args={
                    "transport": "https",
                    "port": device.port,
                    "context": self._trust(device),
                    # Else an abort that failed is tried again whenever the object happens to be collected.
                    "force_cfg_session_invalid": True,
                },
            )
            router.open()
            try:
                return work(router)
            finally:
                _close(router, device)
        except HeadendError:
            raise
        except Exception as error:
            raise _as_device_error(device, error) from error

    def _trust(self, device: DeviceEndpoint) -> ssl.SSLContext:
        """TLS that accepts the device's present certificate only, which must be the pinned one where one is pinned.

        Routers sign their own certificates, so a name check would prove nothing; the fingerprint does.
        """
        pem = ssl.get_server_certificate((device.host, device.port), timeout=self._settings.network_timeout_s)
        fingerprint = certificate_fingerprint(pem)
        if device.host_key_sha256 not in (None, fingerprint):
            raise PermanentDeviceError(f"{device.name} shows another certificate than the pinned one: {fingerprint}")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata=pem)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context

    # -- around the thread ------------------------------------------------------------------------------------------

    async def _pinned(self, device: DeviceEndpoint) -> DeviceEndpoint:
        """Pin an unknown device's certificate before any password is sent to it. Raises TemporaryDeviceError."""
        if device.host_key_sha256 is not None or self._host_keys is None:
            return device
        address = (device.host, device.port)
        try:
            pem = await asyncio.to_thread(ssl.get_server_certificate, address, timeout=self._settings.network_timeout_s)
        except OSError as error:
            raise TemporaryDeviceError(f"{device.name}: {error}") from error
        pinned = await self._host_keys.pin(device.device_id, certificate_fingerprint(pem))
        return replace(device, host_key_sha256=pinned)

    async def _call(self, device: DeviceEndpoint, work: Callable[[Any], T]) -> T:
        device = await self._pinned(device)
        lock = self._locks.setdefault(device.device_id, asyncio.Lock())
        try:
            async with asyncio.timeout(self._settings.call_timeout_s):
                await lock.acquire()
        except TimeoutError as error:
            raise TemporaryDeviceError(f"{device.name} is busy with another change of ours") from error
        running = asyncio.get_running_loop().run_in_executor(self._threads, self._session, device, work)
        # The thread cannot be stopped: the device stays ours until it has ended, even when nobody waits any more.
        running.add_done_callback(lambda done: _ended(lock, done))
        done, _ = await asyncio.wait({running}, timeout=self._settings.call_timeout_s)
        if not done:
            raise TemporaryDeviceError(f"{device.name} did not finish within {self._settings.call_timeout_s:.0f} s")
        return running.result()


def certificate_fingerprint(pem: str) -> str:
    """SHA-256 of a certificate, written like ssh-keygen -l writes a key's: "SHA256:…"."""
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def is_stale(name: str, now_s: float, stale_s: int) -> bool:
    """Whether a configuration session is one of ours, born more than `stale_s` ago."""
    prefix, _, rest = name.partition("_")
    born = rest.partition("_")[0]
    return prefix == SESSION_PREFIX and born.isdecimal() and now_s - int(born) > stale_s


def _ended(lock: asyncio.Lock, done: asyncio.Future[T]) -> None:
    lock.release()
    if not done.cancelled():
        done.exception()  # looked at, so that a late failure nobody waits for is not reported as forgotten


def _close(router: Any, device: DeviceEndpoint) -> None:
    try:
        router.close()
    except Exception as error:
        # The work's own outcome is what counts; an unfinished candidate dies with its session's age.
        log.info("router_close_failed", device_id=device.device_id, error=str(error))


def _as_device_error(device: DeviceEndpoint, error: Exception) -> HeadendError:
    """Split by what the caller will do: unreachable, locked or slow is temporary; refused is for a human."""
    from napalm.base import exceptions as napalm_errors
    from pyeapi.eapilib import ConnectionError as EapiConnectionError  # type: ignore[import-untyped]

    said = f"{device.name}: {error}"
    if "Unauthorized" in str(error) or isinstance(error, napalm_errors.ConnectAuthError):
        return PermanentDeviceError(f"{device.name} refuses our credentials")
    if isinstance(error, napalm_errors.UnsupportedVersion):
        return PermanentDeviceError(f"{device.name} runs EOS {error}, older than napalm drives")
    temporary = (
        EapiConnectionError,
        napalm_errors.ConnectionException,
        napalm_errors.CommandTimeoutException,
        napalm_errors.SessionLockedException,
        OSError,
    )
    return TemporaryDeviceError(said) if isinstance(error, temporary) else PermanentDeviceError(said)
