"""One NETCONF session over SSH, by ncclient: blocking, for use from one thread, every wait bounded.

The host key is checked before the password is sent. The user's own known_hosts and SSH agent are never consulted.
"""

from __future__ import annotations

import base64
import hashlib
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import ncclient.transport.session
from lxml import etree
from ncclient import manager
from ncclient.operations import Dispatch, RaiseMode, RPCError, TimeoutExpiredError
from ncclient.transport import SSHSession
from ncclient.transport.errors import AuthenticationError, SessionError, SSHUnknownHostError, TransportError
from paramiko import SSHException  # type: ignore[import-untyped]

from controller.domain.errors import PermanentDeviceError, TemporaryDeviceError
from controller.domain.ports import DeviceEndpoint
from drivers.errors import (
    DeviceBusy,
    DeviceRefused,
    DeviceTimeout,
    DeviceUnreachable,
    HostKeyMismatch,
    LoginRefused,
    UnsuitableDevice,
)

NC = "urn:ietf:params:xml:ns:netconf:base:1.0"

# ncclient looks for something to send only once per tick: with its own 0.1 s every RPC waits that long.
ncclient.transport.session.TICK = 0.01

_BUSY_TAGS = frozenset({"lock-denied", "in-use"})

Element = Any
"""An lxml element; lxml ships no types."""


@dataclass(frozen=True, slots=True)
class NetconfSettings:
    """Bounds of a NETCONF session."""

    connect_timeout_s: float = 10.0
    """TCP connect, key exchange and hello, each."""

    rpc_timeout_s: float = 30.0
    """One RPC. A commit on a loaded OLT takes seconds."""

    session_timeout_s: float = 120.0
    """One whole session, from connect to close; then the socket is closed whatever the device is doing."""

    keep_idle_s: float = 10.0
    """A session that ended its work well is kept open this long for the next; opening one costs as much as ten RPCs.
    0 keeps none."""

    max_sessions: int = 16
    """Devices talked to at the same time; each takes one thread here and one in ncclient."""


class NetconfSession:
    """One session, used from one thread. Every method raises Temporary- or PermanentDeviceError."""

    def __init__(self, device: DeviceEndpoint, settings: NetconfSettings, pinned: Callable[[str], str]) -> None:
        self.device = device
        self.host_key_sha256 = ""
        self._settings = settings
        self._pinned = pinned
        self._socket: socket.socket | None = None
        self._session: Any = None
        self._aborted = False
        self._broken = False
        self.answered = 0
        """Replies since the present work began."""

    # --- life

    def open(self) -> None:
        device, settings = self.device, self._settings
        self._handler = manager.make_device_handler({"name": "default"})
        session = _PinnedSession(self._handler)
        try:
            self._socket = socket.create_connection((device.host, device.port), settings.connect_timeout_s)
            if self._aborted:
                raise OSError("aborted")
            session.connect(
                host=device.host,
                port=device.port,
                sock=self._socket,
                timeout=settings.connect_timeout_s,
                username=device.username,
                password=device.secret.reveal(),
                allow_agent=False,
                look_for_keys=False,
                unknown_host_cb=lambda host, fingerprint: self._accept(session),
            )
        except SSHUnknownHostError:
            self._hang_up(session)
            raise HostKeyMismatch(
                f"{device.name}: the host key is {self.host_key_sha256}, pinned is another; not logging in"
            ) from None
        except AuthenticationError as error:
            self._hang_up(session)
            raise LoginRefused(f"{device.name}: login as {device.username!r} refused") from error
        except (OSError, EOFError, UnicodeError, TransportError, SessionError, SSHException) as error:
            # UnicodeError: the resolver's word for a name that no DNS can hold.
            self._hang_up(session)
            raise DeviceUnreachable(f"{device.name} ({device.host}:{device.port}): {_words(error)}") from error
        self._session = session

    def _accept(self, session: _PinnedSession) -> bool:
        self.host_key_sha256 = session.host_key_sha256()
        return self._pinned(self.host_key_sha256) == self.host_key_sha256

    @property
    def keeps(self) -> bool:
        """Whether it may be kept open for the next work."""
        return self._settings.keep_idle_s > 0 and self.is_open

    @property
    def is_open(self) -> bool:
        """Whether the peer still listens, as far as this side knows."""
        return self._session is not None and not self._broken and bool(self._session.connected)

    def fits(self, device: DeviceEndpoint) -> bool:
        """Whether this is an open session to `device` as it is registered now, its pinned key included."""
        pinned = device.host_key_sha256 in (None, self.host_key_sha256)
        mine = replace(self.device, host_key_sha256=device.host_key_sha256)
        return self.is_open and pinned and mine == device and bool(self._session._transport.is_active())

    def close(self) -> None:
        """Say goodbye where the peer still listens; never raises."""
        session, self._session = self._session, None
        if session is None:
            return
        if not self._broken and not self._aborted:
            with suppress(TemporaryDeviceError, PermanentDeviceError):
                self._rpc_on(session, _operation("close-session"))
        self._hang_up(session)

    def abort(self) -> None:
        """Cut the connection from another thread: whatever waits on it ends with DeviceUnreachable."""
        self._aborted = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _hang_up(self, session: Any) -> None:
        if session._transport is not None:
            session.close()
        if self._socket is not None:
            self._socket.close()

    # --- operations (RFC 6241 §7 and §8)

    def require(self, *capabilities: str) -> None:
        """Raise UnsuitableDevice unless the device offers all of ":candidate", ":validate:1.1" …"""
        missing = [c for c in capabilities if c not in self._session.server_capabilities]
        if missing:
            raise UnsuitableDevice(f"{self.device.name} does not offer {', '.join(missing)}")

    def get_config(self, subtree: Element) -> Element:
        """The <data> element of running, filtered by the children of `subtree` (a <filter>)."""
        operation = _operation("get-config")
        etree.SubElement(etree.SubElement(operation, _nc("source")), _nc("running"))
        operation.append(subtree)
        return self.rpc(operation).find(_nc("data"))

    def lock(self) -> None:
        """Lock the candidate. Changes left there by a session that is gone are discarded first (RFC 6241 §7.5)."""
        operation = _operation("lock")
        etree.SubElement(etree.SubElement(operation, _nc("target")), _nc("candidate"))
        try:
            self.rpc(operation)
        except DeviceBusy as error:
            if getattr(error.__cause__, "session_id", None) != "0":
                raise
            self.discard()
            self.rpc(operation)

    def unlock(self) -> None:
        operation = _operation("unlock")
        etree.SubElement(etree.SubElement(operation, _nc("target")), _nc("candidate"))
        self.rpc(operation)

    def discard(self) -> None:
        self.rpc(_operation("discard-changes"))

    def validate(self) -> None:
        operation = _operation("validate")
        etree.SubElement(etree.SubElement(operation, _nc("source")), _nc("candidate"))
        self.rpc(operation)

    def commit_confirmed(self, timeout_s: int) -> None:
        """Commit; the device goes back by itself unless `commit` follows within `timeout_s` in this session."""
        operation = _operation("commit")
        etree.SubElement(operation, _nc("confirmed"))
        etree.SubElement(operation, _nc("confirm-timeout")).text = str(timeout_s)
        self.rpc(operation)

    def commit(self) -> None:
        self.rpc(_operation("commit"))

    def cancel_commit(self) -> None:
        self.rpc(_operation("cancel-commit"))

    def rpc(self, operation: Element) -> Element:
        """Send one operation as it is; return the <rpc-reply>.

        After a time-out or a break the session is of no use any more: everything else on it fails at once, and the
        device undoes what was not confirmed when the connection is closed.
        """
        if self._broken or self._aborted or self._session is None:
            name = etree.QName(operation).localname
            raise DeviceUnreachable(f"{self.device.name}: the session is over, {name} was not sent")
        return self._rpc_on(self._session, operation)

    def _rpc_on(self, session: Any, operation: Element) -> Element:
        name = etree.QName(operation).localname
        request = Dispatch(session, self._handler, timeout=self._settings.rpc_timeout_s, raise_mode=RaiseMode.ERRORS)
        try:
            reply = request.request(operation)
        except RPCError as error:
            raise _refusal(self.device.name, name, error) from RefusedRpc(error)
        except TimeoutExpiredError as error:
            self._broken = True
            raise DeviceTimeout(
                f"{self.device.name}: no reply to {name} within {self._settings.rpc_timeout_s:g} s"
            ) from error
        except (OSError, EOFError, TransportError, SessionError, SSHException) as error:
            self._broken = True
            raise DeviceUnreachable(f"{self.device.name}: the session broke off at {name}: {_words(error)}") from error
        self.answered += 1
        return etree.fromstring(reply.xml.encode())


class RefusedRpc(Exception):
    """The rpc-error behind a refusal; `session_id` is the lock's holder where the device says it."""

    def __init__(self, error: RPCError) -> None:
        super().__init__(str(error))
        info = getattr(error, "_info", None)
        self.session_id = None
        if info:
            holder = etree.fromstring(info.encode()).find(f".//{_nc('session-id')}")
            self.session_id = None if holder is None else (holder.text or "").strip()


class _PinnedSession(SSHSession):  # type: ignore[misc]
    """ncclient's session with its user-level trust removed: only our own pinned key counts."""

    def load_known_hosts(self, filename: str | None = None) -> None:
        """The files of whoever runs the controller say nothing about our devices."""

    def host_key_sha256(self) -> str:
        """The key the host showed, as `ssh-keygen -l` prints it."""
        digest = hashlib.sha256(self._transport.get_remote_server_key().asbytes()).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def _refusal(device: str, operation: str, error: RPCError) -> TemporaryDeviceError | PermanentDeviceError:
    """What an rpc-error means for the caller, in the device's own words."""
    errors = error.errlist or [error]
    words = "; ".join(
        " ".join(filter(None, (e.tag, f"({e.message})" if e.message else "", f"at {e.path}" if e.path else "")))
        for e in errors
    )
    kind = DeviceBusy if any(e.tag in _BUSY_TAGS for e in errors) else DeviceRefused
    return kind(f"{device}: {operation} refused: {words}")


def _operation(name: str) -> Element:
    return etree.Element(_nc(name), nsmap={None: NC})


def _nc(name: str) -> str:
    return f"{{{NC}}}{name}"


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
