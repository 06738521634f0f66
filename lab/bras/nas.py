"""The BRAS itself: sign-in, accounting, live sessions over time, dynamic authorization, and its state file.

A second start with the same state file goes on with the same sessions: their ids, totals and start times are the
ones before. Stop records that were never acknowledged are sent again.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from lab.bras import codec, records
from lab.bras.client import ACCOUNTING, INTERIM, NoAnswer, RadiusClient, Timers
from lab.bras.dynauth import DynamicAuthorization, Identity
from lab.bras.records import INTERIM_UPDATE, START, STOP
from lab.bras.session import Line, Session
from lab.bras.traffic import TrafficModel

USER_REQUEST, SESSION_TIMEOUT, ADMIN_RESET = 1, 5, 6
"""Acct-Terminate-Cause (RFC 2866 §5.10)."""

TICK_S = 1.0
DEFAULT_INTERIM_S = 600


class Rejected(Exception):
    """The RADIUS server refused the sign-in. The message is its Reply-Message."""


@dataclass(frozen=True, slots=True)
class BrasSettings:
    """One BRAS. `interim_s` is configured on the box and then overrides what an Accept says (RFC 2869 §2.1)."""

    source: str
    secret: bytes
    auth: tuple[str, int]
    acct: tuple[str, int]
    state_file: Path
    identifier: str = "bras-1"
    called_station: str = "pppoe-lab"
    interim_s: int | None = None
    coa_port: int = 0
    seed: int = 1
    zone: str = "Europe/Berlin"
    ports: int = 2
    in_flight: int = 128
    reports_rate: bool = False
    """Tell the rates that are applied in accounting, which RouterOS is not documented to do."""
    redial_after_s: float | None = None
    """How long subscribers' routers wait before they dial again; None: they stay offline."""


class Bras:
    """`lines` are the subscribers attached to it; `now` is its clock: the machine's, or the demo's."""

    def __init__(self, settings: BrasSettings, lines: Iterable[Line], now: Callable[[], datetime]) -> None:
        self.settings = settings
        self.lines = {line.username: line for line in lines}
        self.sessions: dict[str, Session] = {}
        """Live sessions by Acct-Session-Id."""
        self.carried: dict[str, list[int]] = {}
        """Octets (upstream, downstream) of each line over all its sessions: what an access node's counters show."""
        self.client = RadiusClient(settings.source, settings.secret, ports=settings.ports, in_flight=settings.in_flight)
        self._identity = Identity(settings.source, settings.identifier, settings.called_station)
        self.dynauth = DynamicAuthorization(
            self._identity,
            settings.secret,
            self.sessions,
            self.lines,
            count_traffic=self.count_traffic,
            disconnect=lambda session: self._spawn(self._end_and_redial(session, ADMIN_RESET)),
        )
        self._now = now
        self._by_username: dict[str, Session] = {}
        self._unstopped: dict[str, Session] = {}
        self._last_sent: dict[str, datetime] = {}
        self._serial = 0
        self._traffic: dict[str, TrafficModel] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._coa: socket.socket | None = None
        self._load()

    @property
    def coa_port(self) -> int:
        """Where CoA and Disconnect are listened for, once open."""
        assert self._coa is not None, "not open"
        return int(self._coa.getsockname()[1])

    def number_from(self, serial: int) -> None:
        """Begin session ids at `serial` instead of announcing a first boot: for a NAS that keeps no state."""
        self._serial = serial

    def session_of(self, username: str) -> Session | None:
        return self._by_username.get(username)

    def bind(self) -> None:
        """Bind the sockets; nothing is sent yet."""
        self.client.open()
        self._coa = self._bind_coa()
        asyncio.get_running_loop().add_reader(self._coa, self._drain_coa)

    async def open(self) -> None:
        """Bind, if that was not done; tell the server of a first boot; repeat stops that were never acknowledged."""
        if self._coa is None:
            self.bind()
        if self._serial == 0:
            self._serial = 1
            await self._account(records.boot_record(self._identity, self._now()), ACCOUNTING)
        for session in list(self._unstopped.values()):
            self._spawn(self._send_stop(session))

    async def close(self) -> None:
        """Stop sending and keep the state. Sessions stay up: the next start goes on with them."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._coa is not None:
            asyncio.get_running_loop().remove_reader(self._coa)
            self._coa.close()
            self._coa = None
        self.client.close()
        self.save()

    def _bind_coa(self) -> socket.socket:
        """The configured CoA port, or any when another program holds it meanwhile."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        try:
            sock.bind((self.settings.source, self.settings.coa_port))
        except OSError:
            sock.bind((self.settings.source, 0))
        return sock

    def _drain_coa(self) -> None:
        assert self._coa is not None
        while True:
            try:
                datagram, source = self._coa.recvfrom(4096)
            except (BlockingIOError, InterruptedError):
                return
            answer = self.dynauth.handle(datagram, source, self._now())
            if answer is not None:
                self._coa.sendto(answer, source)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, NoAnswer):
            raise error

    # -- sign-in ----------------------------------------------------------------------------------------------------

    async def login(self, username: str, *, at: datetime | None = None, wait_for_start: bool = False) -> Session:
        """Sign a subscriber in and start accounting. Raises Rejected, NoAnswer, KeyError for an unknown line.

        A session already on the line is returned as it is. `at` dates the beginning back, for a made-up past.
        """
        running = self._by_username.get(username)
        if running is not None:
            return running
        line = self.lines[username]
        at = at or self._now()
        self._serial += 1
        session = Session(f"{0x81000000 + self._serial:08x}", username, at, at)
        session.framed_ip = f"100.64.{line.port // 250}.{line.port % 250 + 1}"
        answer = await self.client.exchange(
            self.settings.auth,
            lambda identifier: codec.access_request(
                identifier,
                records.session_attributes(self._identity, line, session),
                self.settings.secret,
                line.password.encode(),
                chap=line.chap,
            ),
        )
        if answer.code != codec.ACCESS_ACCEPT:
            raise Rejected((answer.first(codec.REPLY_MESSAGE) or b"no reason given").decode("utf-8", "replace"))
        session.accept(answer)
        self.sessions[session.acct_session_id] = session
        self._by_username[username] = session
        self._last_sent[session.acct_session_id] = at
        start = self._send(session, START, at, ACCOUNTING)
        if wait_for_start:
            await start
        else:
            self._spawn(start)
        return session

    async def logout(self, username: str, cause: int = USER_REQUEST, *, at: datetime | None = None) -> None:
        """End a subscriber's session, if there is one, and return when the Stop is acknowledged."""
        session = self._by_username.get(username)
        if session is not None:
            await self.end(session, cause, at)

    async def end(self, session: Session, cause: int, at: datetime | None = None) -> None:
        if self.sessions.pop(session.acct_session_id, None) is None:
            return
        self._by_username.pop(session.username, None)
        self._last_sent.pop(session.acct_session_id, None)
        ended_at = at or self._now()
        self.count_traffic(session, ended_at)
        session.ended_at, session.terminate_cause = ended_at, cause
        self._unstopped[session.acct_session_id] = session
        await self._send_stop(session)

    async def _send_stop(self, session: Session) -> None:
        assert session.ended_at is not None
        await self._send(session, STOP, session.ended_at, ACCOUNTING)
        self._unstopped.pop(session.acct_session_id, None)

    async def interim(self, session: Session, at: datetime | None = None) -> None:
        """Report the running totals as they were at `at`. Raises NoAnswer."""
        await self._send(session, INTERIM_UPDATE, at or self._now(), INTERIM)

    # -- time -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Live: interim records as they fall due, session timeouts, the state file. Runs until cancelled."""
        saved = self._now()
        while True:
            await asyncio.sleep(TICK_S)
            now = self._now()
            for session in list(self.sessions.values()):
                ends = session.times_out_at()
                if ends is not None and now >= ends:
                    self._spawn(self._end_and_redial(session, SESSION_TIMEOUT))
                elif now >= self._next_interim(session):
                    self._last_sent[session.acct_session_id] = now
                    self._spawn(self._interim_if_answered(session))
            if now - saved >= timedelta(seconds=5):
                self.save()
                saved = now

    async def _end_and_redial(self, session: Session, cause: int) -> None:
        """The subscriber's router dials again on its own when the network ended the session."""
        await self.end(session, cause)
        if self.settings.redial_after_s is not None:
            await asyncio.sleep(self.settings.redial_after_s)
            try:
                await self.login(session.username)
            except (Rejected, NoAnswer):
                return  # the line stays down until somebody dials again

    async def _interim_if_answered(self, session: Session) -> None:
        try:
            await self.interim(session)
        except NoAnswer:
            return  # the next one says all that this one would have said

    def _next_interim(self, session: Session) -> datetime:
        interval = self.settings.interim_s or session.interim_s or DEFAULT_INTERIM_S
        last = self._last_sent.get(session.acct_session_id)
        if last is None:
            # A fixed share of the interval by line, so that a restarted BRAS does not send all records at once.
            share = (self.lines[session.username].port * 0.618) % 1
            last = self._now() - timedelta(seconds=interval * share)
            self._last_sent[session.acct_session_id] = last
        return last + timedelta(seconds=interval)

    def count_traffic(self, session: Session, until: datetime) -> None:
        """Move the traffic model on to `until`, at the session's present rates."""
        if until <= session.counted_until:
            return
        up, down = self._model(session.username).octets(
            session.counted_until, until, session.upstream_bps, session.downstream_bps
        )
        session.upstream_octets += up
        session.downstream_octets += down
        session.counted_until = until
        carried = self.carried.setdefault(session.username, [0, 0])
        carried[0] += up
        carried[1] += down

    def _model(self, username: str) -> TrafficModel:
        if username not in self._traffic:
            self._traffic[username] = TrafficModel(self.settings.seed, username, ZoneInfo(self.settings.zone))
        return self._traffic[username]

    # -- packets ----------------------------------------------------------------------------------------------------

    async def _send(self, session: Session, status: int, at: datetime, timers: Timers) -> None:
        self.count_traffic(session, at)
        line = self.lines[session.username]
        attributes = records.session_record(
            self._identity, line, session, status, at, reports_rate=self.settings.reports_rate
        )
        await self._account(attributes, timers)

    async def _account(self, attributes: codec.Attributes, timers: Timers) -> None:
        await self.client.exchange(
            self.settings.acct,
            lambda identifier: codec.accounting_request(identifier, attributes, self.settings.secret),
            timers,
        )

    # -- state ------------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write the state file, whole or not at all."""
        state = {
            "serial": self._serial,
            "sessions": [session.to_json() for session in self.sessions.values()],
            "unstopped": [session.to_json() for session in self._unstopped.values()],
            "carried": self.carried,
        }
        path = self.settings.state_file
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(state))
        os.replace(draft, path)

    def _load(self) -> None:
        if not self.settings.state_file.exists():
            return
        state = json.loads(self.settings.state_file.read_text())
        self._serial = state["serial"]
        self.carried = state["carried"]
        for saved in state["sessions"]:
            session = Session.from_json(saved)
            if session.username in self.lines:
                self.sessions[session.acct_session_id] = session
                self._by_username[session.username] = session
        for saved in state["unstopped"]:
            session = Session.from_json(saved)
            if session.username in self.lines:
                self._unstopped[session.acct_session_id] = session
