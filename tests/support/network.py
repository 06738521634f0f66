"""A network and a subscriber directory that lie in one SQLite file: fakes of the ports that outlive a killed process.

They keep what a real OLT and RADIUS keep, count what was really changed (not how often it was asked), and can be told
to be unreachable, to refuse, or to show something else than they were told.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from controller.domain.clock import Clock
from controller.domain.errors import NotFound, PermanentDeviceError, TemporaryDeviceError
from controller.domain.identity import DeviceId, ServiceId
from controller.domain.ports import CoaOutcome, Secret
from controller.domain.service import DesiredService, Plan, SpeedProfile, Step


@dataclass(frozen=True, slots=True)
class Verdict:
    verified: bool
    at: datetime
    differences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SessionVerdict:
    state: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SessionAnswer:
    session_key: str
    outcome: CoaOutcome


async def nothing(_where: str) -> None:
    """The default of `FakeNetwork.at`: goes on."""


class FakeNetwork:
    """Implements Provisioning, SubscriberDirectory and SessionEnder.

    `at` is called before and after each effect, to stop there.
    """

    def __init__(self, path: Path, clock: Clock, at: Callable[[str], Awaitable[None]] = nothing) -> None:
        self._path = path
        self._clock = clock
        self.at = at
        self.unreachable = False
        self.refusal: str | None = None
        self.shows_instead: str | None = None
        self.session_states: list[str] = ["no-session"]
        self.live: list[str] = []
        self.survives: CoaOutcome | None = None
        with self._open() as db:
            db.execute("CREATE TABLE IF NOT EXISTS desired (service_id TEXT PRIMARY KEY, value TEXT)")
            db.execute("CREATE TABLE IF NOT EXISTS device (service_id TEXT PRIMARY KEY, value TEXT)")
            db.execute("CREATE TABLE IF NOT EXISTS subscriber (service_id TEXT PRIMARY KEY, value TEXT)")
            db.execute("CREATE TABLE IF NOT EXISTS change (what TEXT)")

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=30)

    def _put(self, table: str, service_id: str, value: dict[str, object] | None) -> None:
        """Write what is not there yet, and count it as one change."""
        text = json.dumps(value, sort_keys=True, default=str)
        with self._open() as db:
            row = db.execute(f"SELECT value FROM {table} WHERE service_id = ?", (service_id,)).fetchone()
            if row is None or row[0] != text:
                db.execute(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", (service_id, text))
                db.execute("INSERT INTO change VALUES (?)", (table,))

    def get(self, table: str, service_id: str) -> dict[str, object] | None:
        with self._open() as db:
            row = db.execute(f"SELECT value FROM {table} WHERE service_id = ?", (service_id,)).fetchone()
        found: dict[str, object] | None = None if row is None else json.loads(row[0])
        return found

    def changes(self) -> list[str]:
        with self._open() as db:
            return [what for (what,) in db.execute("SELECT what FROM change")]

    def _check(self) -> None:
        if self.unreachable:
            raise TemporaryDeviceError("olt-1 does not answer")
        if self.refusal is not None:
            raise PermanentDeviceError(self.refusal)

    async def set_desired(self, desired: DesiredService, *, actor: str) -> None:
        await self.at("desired-")
        self._put("desired", desired.service_id, asdict(desired))
        await self.at("desired+")

    async def withdraw(self, service_id: ServiceId, *, actor: str) -> bool:
        await self.at("undo-desired-")
        desired = self.get("desired", service_id)
        if desired is not None:
            self._put("desired", service_id, desired | {"present": False})
        await self.at("undo-desired+")
        return desired is not None

    async def dry_run(self, desired: DesiredService) -> Sequence[Plan]:
        self._check()
        return (_plan(desired),)

    async def converge(self, service_id: ServiceId, *, actor: str) -> Verdict:
        await self.at("converge-")
        self._check()
        self._put("device", service_id, self.get("desired", service_id))
        await self.at("converge+")
        if self.shows_instead is not None:
            return Verdict(False, self._clock.now(), (self.shows_instead,))
        return Verdict(True, self._clock.now())

    async def change_live_sessions(self, service_id: ServiceId) -> Sequence[SessionAnswer]:
        await self.at("sessions-")
        return [SessionAnswer("s1", CoaOutcome("nak", 503, "Session-Context-Not-Found"))]

    async def verify_live_sessions(self, service_id: ServiceId, since: datetime) -> SessionVerdict:
        state = self.session_states.pop(0) if len(self.session_states) > 1 else self.session_states[0]
        await self.at("sessions+")
        return SessionVerdict(state, (f"s1 is {state}",))

    async def live_sessions(self, service_id: ServiceId) -> Sequence[str]:
        return list(self.live)

    async def disconnect(self, session_key: str, *, actor: str, reason: str | None = None) -> CoaOutcome:
        if session_key not in self.live:
            raise NotFound(f"no live session {session_key}")
        if self.survives is not None:
            return self.survives
        self.live.remove(session_key)
        return CoaOutcome("ack")

    async def put_subscriber(
        self,
        *,
        service_id: ServiceId,
        username: str,
        password: Secret,
        profile: SpeedProfile,
        framed_ipv4: str | None,
        enabled: bool,
        actor: str,
    ) -> None:
        await self.at("subscriber-")
        known = self.get("subscriber", service_id)
        assert known is None or known["password"] == password.reveal()
        self._put(
            "subscriber",
            service_id,
            {"username": username, "password": password.reveal(), "profile": profile.name, "enabled": enabled},
        )
        await self.at("subscriber+")

    async def set_profile(self, *, service_id: ServiceId, profile: SpeedProfile, actor: str) -> None:
        await self.at("profile-")
        self._put("subscriber", service_id, {**(self.get("subscriber", service_id) or {}), "profile": profile.name})
        await self.at("profile+")

    async def set_enabled(self, *, service_id: ServiceId, enabled: bool, actor: str) -> None:
        await self.at("enable-")
        self._put("subscriber", service_id, {**(self.get("subscriber", service_id) or {}), "enabled": enabled})
        await self.at("enable+")

    async def withdraw_subscriber(self, *, service_id: ServiceId, actor: str) -> None:
        await self.at("withdraw-")
        if (subscriber := self.get("subscriber", service_id)) is not None:
            self._put("subscriber", service_id, {**subscriber, "enabled": False, "withdrawn": True})
        await self.at("withdraw+")


def _plan(desired: DesiredService) -> Plan:
    step = Step("create", f"<edit-config>{desired.profile.name}</edit-config>")
    return Plan(DeviceId("olt"), desired.service_id, (step,), f"+ {desired.profile.name}")
