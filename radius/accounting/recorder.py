"""The group commit: accounting records go to disk together, and each is answered when it is there.

    submit ─→ staged ──┐   commit again as soon as the previous commit has ended,
    submit ─→ staged ──┼─→ with whatever arrived meanwhile ─→ log + sessions, one transaction ─→ respond()
    submit ─→ waiting ─┘
              (its sessions must be read from the tables first)

Records wait in a queue of bounded size. When it is full, the oldest are given up if they are too old to be answered;
else a record is refused: its answer is late, and the NAS sends it again. No record is ever answered before it is
stored. A record that makes a commit fail by itself is found by halving, and set aside with a log line, so that it
cannot hold up the others.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import psycopg
import structlog

from controller.domain.clock import Clock
from controller.domain.errors import PeerError
from controller.store.bulk import Bulk
from controller.store.engine import USAGE, Database
from controller.store.metadata import to_micros
from controller.store.usage_log import UsageLog
from radius.accounting import address_store, liveness, partitions, quarantine, repository
from radius.accounting.counters import RecorderCounters
from radius.accounting.metering import Rates, Speeds, port_speed
from radius.accounting.record import AccountingRecord
from radius.accounting.repository import Key, SessionConflict
from radius.accounting.session import LIVE, NAS_RESTART, STALE, Session, end_provisionally, is_stale
from radius.accounting.settings import AccountingSettings
from radius.accounting.staging import (
    OF_A_NAS,
    Batch,
    InterimOf,
    Pending,
    PrefixesOf,
    Respond,
    ServiceOf,
    Staging,
    made_again,
)
from radius.protocol.nas import Nas
from radius.protocol.packet import Packet
from radius.protocol.server import make_ready

log = structlog.get_logger()

RatesOf = Callable[[bytes], Rates | None]
"""User name → upstream and downstream speed of its plan, in bit/s; None for a name that is nobody's."""

_CONFLICTS = (SessionConflict, sqlite3.IntegrityError, psycopg.IntegrityError)
"""Another worker was faster with one of these sessions; when it happens again and again, a record is to blame."""
_UNFIT = (*_CONFLICTS, sqlite3.DataError, psycopg.DataError, OverflowError, UnicodeError)
"""Something in the batch cannot be stored."""
_AWAY = (sqlite3.Error, psycopg.Error)
"""Everything else that a driver raises: the database is not there, busy, full, not migrated. It may succeed later."""
_FIRST_PAUSE_S = 0.05
_CONFLICTS_IN_A_ROW = 5
_SWEEP_LIMIT = 2_000
_MOST_ASKED = 1_000
_DAY_US = 86_400_000_000
_KEEP_EVERY = timedelta(hours=6)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def _write(bulk: Bulk, batch: Batch, written: Callable[[], object]) -> None:
    repository.write(bulk, batch.changes)
    if not batch.quarantine.is_empty:
        quarantine.write(bulk, batch.quarantine)
    if batch.addresses.new or batch.addresses.changed:
        address_store.write(bulk, batch.addresses)
    written()


def _make_ready(batch: Batch) -> None:
    """Make the answers while the disk is waited for."""
    for packet, nas, _, _ in batch.pending:
        make_ready(packet, nas)


class AccountingRecorder:
    """radius.ports.Recorder. `run` is its loop; nothing is stored or answered while it does not run."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        usage_log: UsageLog,
        service_of: ServiceOf,
        settings: AccountingSettings | None = None,
        rates_of: RatesOf = lambda _username: None,
        interim_of: InterimOf = lambda _username: None,
        prefixes_of: PrefixesOf = lambda _username: b"",
    ) -> None:
        self._database = database
        self._clock = clock
        self._log = usage_log
        self.settings = settings or AccountingSettings()
        self.counters = RecorderCounters()
        self._rates_of = rates_of
        self._staging = Staging(
            service_of,
            self.settings.max_sessions_in_memory,
            self._fastest,
            by_port=not self.settings.hold_above_plan,
            interim_of=interim_of,
            prefixes_of=prefixes_of,
        )
        self._waiting: list[Pending] = []
        self._asked: list[Respond] = []
        self._depth = 0
        self._given_up = 0
        self._stage_limit = self.settings.max_pending
        self._failures = 0
        self._ready = False
        self._sweep_at_s = 0.0
        self._keep_at = _LONG_AGO
        self._wake = asyncio.Event()
        self._notify: asyncio.TimerHandle | None = None
        self.on_turned: Callable[[Sequence[str]], None] | None = None
        """Told the keys of sessions that began, ended or changed otherwise than by counters, when that is on disk."""

    @property
    def depth(self) -> int:
        """Records taken and not yet answered."""
        return self._depth

    @property
    def sessions_in_memory(self) -> int:
        return len(self._staging)

    def submit(self, packet: Packet, nas: Nas, received_us: int, respond: Respond) -> None:
        """See the port. Raises PeerError("overload") too, when the queue is full."""
        if self._depth >= self.settings.max_pending and not self._give_up_oldest(received_us):
            self.counters.refused += 1
            raise PeerError("overload", f"{self._depth} records wait to be stored")
        record = AccountingRecord(packet, nas, received_us)
        if record.is_stamped_ahead:
            self.counters.count_stamped_ahead(nas.name)
        self._depth += 1
        # What is staged is in sessions already and cannot be given up: from half the room on, records wait outside.
        stages_at_once = (
            self._ready
            and self._stage_limit >= self.settings.max_pending
            and self._depth * 2 <= self.settings.max_pending
        )
        if not (stages_at_once and self._staging.stage(record, respond)):
            self._waiting.append((record, respond))
        if not self._wake.is_set():
            self._wake.set()

    def _give_up_oldest(self, now_us: int) -> bool:
        """Make room by giving up some that waited for so long that no answer of ours would be taken for theirs.

        Their NAS has sent them again since, with another identifier, or has given them up. Counted; never answered.
        """
        limit_us = now_us - int(self.settings.unanswerable_after_s * 1_000_000)
        most = max(1, self.settings.max_pending // 100)
        old = sum(1 for record, _ in self._waiting[:most] if record.received_us < limit_us)
        del self._waiting[:old]
        self._depth -= old
        self._given_up += old
        self.counters.unanswerable += old
        return old > 0

    def prove(self, respond: Respond) -> None:
        """See the port. While records are refused for want of room there is no answer either."""
        if self._depth < self.settings.max_pending and len(self._asked) < _MOST_ASKED:
            self._asked.append(respond)
            self._wake.set()

    async def run(self) -> None:
        """Commit for ever. Survives a database that is away: records wait, and their answers with them."""
        while True:
            try:
                await self._turn()
            except _AWAY as error:
                await self._pause(error)

    async def _turn(self) -> None:
        """One turn: read what is missing, commit what is staged, answer, and look after silent sessions."""
        # Whoever asks meanwhile waits for the next turn; an error here leaves these without an answer.
        asked, self._asked = self._asked, []
        if not self._ready:
            self._staging.learn_restarts(await self._log.call(repository.load_restarts))
            self._ready = True
        if self._waiting:
            await self._stage_waiting()
        if not self._staging.is_empty:
            await self._commit(self._staging.take())
        elif asked:
            await self._log.append([], 0, liveness.write)
            self._failures = 0
        for respond in asked:
            respond()
        now_s = time.monotonic()
        if now_s >= self._sweep_at_s:
            self._sweep_at_s = now_s + self.settings.sweep_interval_s
            await self.sweep()
        if not (self._waiting or self._asked) and self._staging.is_empty:
            await self._sleep_until_woken()

    async def _sleep_until_woken(self) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(max(0.01, self._sweep_at_s - time.monotonic())):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _stage_waiting(self) -> None:
        """Read the sessions of waiting records, then stage them in the order of their arrival."""
        turn, given_up = self._waiting[: self._stage_limit], self._given_up
        needed = {record.key: None for record, _ in turn if record.kind not in OF_A_NAS}
        missing = [key for key in needed if not self._staging.knows(key)]
        if missing:
            self._staging.learn(await self._read(missing, [record for record, _ in turn]), needed)
        # Taken off only now: when reading fails, they are all still waiting. Some may have been given up meanwhile.
        turn = turn[self._given_up - given_up :]
        del self._waiting[: len(turn)]
        for record, respond in turn:
            staged = self._staging.stage(record, respond)
            assert staged, "what it needs was just learnt"

    async def _read(self, missing: Sequence[Key], records: Sequence[AccountingRecord]) -> dict[Key, list[Session]]:
        """The lives of the last months; older ones only for records of sessions that began before these."""
        # A midnight: with an instant of its own each look-up would be planned anew, for every partition of the history.
        today_us = to_micros(self._clock.now()) // _DAY_US * _DAY_US
        horizon_us = today_us - self.settings.look_back_days * _DAY_US
        old = {record.key for record in records if record.begun_us is not None and record.begun_us < horizon_us}
        recent = [key for key in missing if key not in old]
        found = await self._log.call(partial(repository.load, keys=recent, heard_since_us=horizon_us))
        distant = [key for key in missing if key in old]
        return found | await self._log.call(partial(repository.load, keys=distant)) if distant else found

    async def _commit(self, batch: Batch) -> None:
        started_s = time.perf_counter()
        committed_us = to_micros(self._clock.now())
        try:
            written = partial(asyncio.get_running_loop().call_soon_threadsafe, _make_ready, batch)
            await self._log.append(batch.rows, committed_us, partial(_write, batch=batch, written=written))
        except Exception as error:
            self._start_again(batch, error)
            if not isinstance(error, _UNFIT):
                raise
            return
        self._failures = 0
        self._stage_limit = min(self.settings.max_pending, self._stage_limit * 2)
        counters = self.counters
        counters.last_commit_s = time.perf_counter() - started_s
        counters.commit_s += counters.last_commit_s
        counters.commits += 1
        counters.stored += len(batch.rows)
        counters.duplicates = self._staging.duplicates
        for held in batch.quarantine.held:
            for reason in held.held.reasons:
                counters.count_held(reason)
        self._depth -= len(batch.pending)
        for _, _, _, respond in batch.pending:
            respond()
        # The answers leave before what follows, which nobody waits for.
        await asyncio.sleep(0)
        self._staging.let_go(batch.over)
        if self.on_turned is not None:
            self.on_turned([row[0] for row in batch.changes.new + batch.changes.changed])
        self._notify_followers()

    def _start_again(self, batch: Batch, error: Exception) -> None:
        """Nothing of `batch` was written: forget what it assumed, and have its records wait to be staged again."""
        self.counters.failures += 1
        self._waiting[:0] = made_again(batch.pending) + self._staging.reset()
        self._ready = False
        if not isinstance(error, _UNFIT):
            return
        if isinstance(error, _CONFLICTS) and self._failures < _CONFLICTS_IN_A_ROW:
            self.counters.conflicts += 1
            self._failures += 1
            return
        self._isolate(batch, error)

    def _isolate(self, batch: Batch, error: Exception) -> None:
        """Halve what is committed at once, until the record that cannot be stored stands alone; then set it aside."""
        if len(batch.pending) > 1:
            self._stage_limit = max(1, len(batch.pending) // 2)
            return
        self.counters.rejected += len(batch.pending)
        for record, _ in made_again(batch.pending):
            self._depth -= 1
            self._waiting.pop(0)
            log.error(
                "radius.accounting.rejected",
                nas_ip=record.nas.address,
                session_id=record.acct_session_id.hex(),
                packet_sha256=record.packet_sha256.hex(),
                exc_info=error,
            )
        if not batch.pending:
            raise error

    async def sweep(self) -> None:
        """End sessions that fell silent, and move what ended long ago to the history. `run` does it now and then."""
        settings, now_us = self.settings, to_micros(self._clock.now())
        grace_us = settings.restart_grace_s * 1_000_000
        find = partial(
            repository.find_silent,
            now_us=now_us,
            missed_interims=settings.missed_interims,
            restart_grace_us=grace_us,
            limit=_SWEEP_LIMIT,
        )
        silent = {(row[0], row[1]): row[2] for row in await self._log.call(find)}
        unknown = [key for key in silent if not self._staging.knows(key)]
        if unknown:
            self._staging.learn(await self._log.call(partial(repository.load, keys=unknown)))
        for key, missed in silent.items():
            for session in self._staging.lives(key):
                self._end_if_silent(session, now_us, grace_us, missed)
        await self._count_released(now_us)
        self._wake.set()
        await self._keep_history()
        await self._archive(now_us - settings.archive_after_s * 1_000_000)
        if len(silent) == _SWEEP_LIMIT:
            self._sweep_at_s = 0.0

    async def _count_released(self, now_us: int) -> None:
        """Octets that somebody released from the quarantine go into their sessions and into the log."""
        released = await self._log.call(partial(quarantine.find_released, limit=_SWEEP_LIMIT))
        unknown = [row.key for row in released if not self._staging.knows(row.key)]
        if unknown:
            self._staging.learn(await self._log.call(partial(repository.load, keys=unknown)))
        for row in released:
            session = next((s for s in self._staging.lives(row.key) if s.session_key == row.session_key), None)
            if session is not None:
                self._staging.release(session, row, now_us)

    def _fastest(self, record: AccountingRecord) -> Speeds:
        """What a session should have had is its plan with a margin; what it can have had, the port's speed."""
        port_bps = record.nas.port_speed_bps
        rates = self._rates_of(record.login)
        if rates is None:
            return port_speed(record)
        margin = self.settings.plan_margin
        plan = (min(port_bps, int(rates[0] * margin)), min(port_bps, int(rates[1] * margin)))
        return Speeds(plan, plan if self.settings.hold_above_plan else (port_bps, port_bps))

    def _end_if_silent(self, session: Session, now_us: int, grace_us: int, missed_interims: int) -> None:
        """Memory is newer than the row that was found: a record may have come meanwhile."""
        if session.state != LIVE:
            return
        restart = self._staging.restart(session.nas_id)
        if restart is not None and session.last_event_us <= restart.boundary_us and restart.seen_us < now_us - grace_us:
            end_provisionally(session, NAS_RESTART)
        elif missed_interims and is_stale(session, now_us, missed_interims):
            end_provisionally(session, STALE)
        else:
            return
        self._staging.touch(session)

    async def _archive(self, before_us: int) -> None:
        past = await self._log.call(partial(repository.find_past, before_us=before_us, limit=_SWEEP_LIMIT))
        keys = {(row[1], row[2]): None for row in past}
        # Those with something to be written stay for the next time. The others are forgotten first: a record that
        # comes from here on makes them be read again, wherever they are then.
        free = {key for key in keys if not self._staging.is_touched(key)}
        session_keys = [row[0] for row in past if (row[1], row[2]) in free]
        if not session_keys:
            return
        self._staging.forget(free)
        await self._log.append([], 0, partial(repository.archive, session_keys=session_keys, before_us=before_us))
        if len(past) == _SWEEP_LIMIT:
            self._sweep_at_s = 0.0

    async def _keep_history(self) -> None:
        """Partitions are made ahead, and history is given up that is older than it is to be kept."""
        now, keep_days = self._clock.now(), self.settings.keep_history_days
        if now < self._keep_at:
            return
        before = None if keep_days is None else now - timedelta(days=keep_days)
        left: list[bool] = []
        await self._log.append([], 0, lambda bulk: left.append(partitions.keep(bulk, now, before)))
        self._keep_at = now if left == [True] else now + _KEEP_EVERY

    async def _pause(self, error: Exception) -> None:
        self._failures += 1
        pause_s = min(self.settings.retry_max_s, _FIRST_PAUSE_S * 2 ** min(self._failures, 10))
        log.warning("radius.accounting.database_away", error=str(error), waiting=self._depth, pause_s=pause_s)
        await asyncio.sleep(pause_s)

    def _notify_followers(self) -> None:
        """Wake those who follow the log, soon and once for many commits."""
        if self._notify is None:
            loop = asyncio.get_running_loop()
            self._notify = loop.call_later(self.settings.notify_interval_s, self._notify_now)

    def _notify_now(self) -> None:
        self._notify = None
        self._database.notify_committed(USAGE)
