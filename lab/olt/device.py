"""The OLT itself: its datastores, locks, the pending confirmed commit, and the record of what was asked of it.

It knows nothing of SSH. Sessions call it with their number; it raises `RpcError`. Running is on disk only once it is
confirmed, so that a restart inside the confirm time-out comes back with the configuration before (RFC 6241 §8.4.1).
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lxml import etree

from lab.olt.datastore import edited, empty
from lab.olt.errors import RpcError, lock_denied
from lab.olt.faults import Faults
from lab.olt.names import Element
from lab.olt.operational import Operational
from lab.olt.plant import Plant
from lab.olt.topology import factory
from lab.olt.validation import validate

DEFAULT_CONFIRM_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the transcript: which session asked what, and "ok" or the rpc-error's tag."""

    session_id: int
    rpc: str
    outcome: str


@dataclass(slots=True)
class PendingCommit:
    """A confirmed commit that waits for its confirmation, and what to go back to without it."""

    previous: Element
    session_id: int
    persist: str | None
    timer: asyncio.TimerHandle


@dataclass(slots=True)
class OltSettings:
    """`strict` refuses a commit that was not locked, validated since the last edit, and confirmed."""

    pon_ports: int = 4
    strict: bool = True
    state_file: Path | None = None
    auto_plug: bool = True
    seed: int = 1


@dataclass(slots=True)
class _Candidate:
    config: Element
    dirty: bool = False
    validated: bool = False


class Olt:
    """One emulated OLT. All methods run in one event loop."""

    def __init__(self, settings: OltSettings) -> None:
        self.settings = settings
        self.faults = Faults()
        self.plant = Plant(auto_plug=settings.auto_plug, seed=settings.seed)
        self.operational = Operational(self.plant)
        self.transcript: list[Entry] = []
        self.locks: dict[str, int] = {}
        self.kick: Callable[[int], None] = lambda session_id: None
        kept = self._load()
        self.running = factory(settings.pon_ports) if kept is None else kept
        self._candidate = _Candidate(copy.deepcopy(self.running))
        self._pending: PendingCommit | None = None
        self._numbers = itertools.count(1)
        self._sessions: set[int] = set()

    # --- sessions

    def open_session(self) -> int:
        number = next(self._numbers)
        self._sessions.add(number)
        return number

    def close_session(self, session_id: int) -> None:
        """A session ended, however: its locks go, and what it did not confirm or commit is undone."""
        self._sessions.discard(session_id)
        pending = self._pending
        if pending is not None and pending.session_id == session_id and pending.persist is None:
            self.roll_back()
        if self.locks.get("candidate") == session_id:
            self.discard(session_id)
        self.locks = {store: holder for store, holder in self.locks.items() if holder != session_id}

    def kill_session(self, session_id: int, victim: int) -> None:
        if victim == session_id or victim not in self._sessions:
            raise RpcError("invalid-value", f"there is no other session {victim}", type="protocol")
        self.close_session(victim)
        self.kick(victim)

    def note(self, session_id: int, rpc: str, outcome: str) -> None:
        self.transcript.append(Entry(session_id, rpc, outcome))

    # --- datastores

    def lock(self, session_id: int, store: str) -> None:
        holder = self.locks.get(store)
        if holder is not None:
            raise lock_denied(holder)
        if store == "candidate" and self._candidate.dirty:
            raise lock_denied(0)
        if store == "running" and self._pending is not None:
            raise lock_denied(self._pending.session_id)
        self.locks[store] = session_id

    def unlock(self, session_id: int, store: str) -> None:
        if self.locks.get(store) != session_id:
            raise RpcError("operation-failed", f"session {session_id} does not hold the lock", type="protocol")
        del self.locks[store]
        if store == "candidate":
            self._reset_candidate()

    def config(self, store: str) -> Element:
        return self.running if store == "running" else self._candidate.config

    def edit(self, session_id: int, edit: Element, default_operation: str, test_option: str) -> None:
        """edit-config of the candidate; all or nothing (rollback-on-error)."""
        self._not_locked_by_other(session_id, "candidate")
        if self.faults.refuse_edits:
            raise RpcError("operation-failed", self.faults.refuse_edits, path="/if:interfaces")
        config = edited(self._candidate.config, edit, default_operation)
        if test_option != "set":
            validate(config)
        if test_option == "test-only":
            return
        self._candidate = _Candidate(config, dirty=True)

    def validate(self, store: str) -> None:
        validate(self.config(store))
        if store == "candidate":
            self._candidate.validated = True

    def discard(self, session_id: int) -> None:
        self._not_locked_by_other(session_id, "candidate")
        self._reset_candidate()

    # --- commit

    def commit(
        self, session_id: int, *, confirmed: bool, timeout_s: int, persist: str | None, persist_id: str | None
    ) -> None:
        """<commit> in its three roles: plain, confirmed, and confirming (RFC 6241 §8.3.4.1 and §8.4.5.1)."""
        self._not_locked_by_other(session_id, "candidate")
        self._not_locked_by_other(session_id, "running")
        self._may_follow(session_id, persist_id)
        if self.settings.strict:
            self._strict(session_id, confirmed)
        validate(self._candidate.config)
        previous = self._pending.previous if self._pending else self.running
        self._forget_pending()
        self.running = copy.deepcopy(self._candidate.config)
        self._candidate.dirty = False
        if confirmed:
            timer = asyncio.get_running_loop().call_later(timeout_s, self.roll_back)
            self._pending = PendingCommit(previous, session_id, persist, timer)
            return
        self._save()
        if self.faults.alter_after_commit:
            alteration, self.faults.alter_after_commit = self.faults.alter_after_commit, ""
            self.alter(alteration)

    def cancel_commit(self, session_id: int, persist_id: str | None) -> None:
        if self._pending is None:
            raise RpcError("operation-failed", "no confirmed commit is pending")
        self._may_follow(session_id, persist_id)
        self.roll_back()

    def roll_back(self) -> None:
        """Back to the configuration before the pending confirmed commit."""
        if self._pending is None:
            return
        self.running = self._pending.previous
        self._forget_pending()
        self._reset_candidate()
        self.note(0, "rollback", "ok")

    @property
    def is_pending(self) -> bool:
        """Whether a confirmed commit waits for its confirmation."""
        return self._pending is not None

    def alter(self, config_xml: str) -> None:
        """Somebody at the OLT's own console changes running: an edit that no NETCONF session made."""
        config = edited(self.running, etree.fromstring(config_xml.encode()))
        validate(config)
        self.running = config
        self._reset_candidate()
        self._save()
        self.note(0, "console", "ok")

    # --- inside

    def _may_follow(self, session_id: int, persist_id: str | None) -> None:
        """Who may follow up on a pending confirmed commit: its session, or whoever knows the persist token."""
        pending = self._pending
        if pending is None:
            if persist_id is not None:
                raise RpcError("invalid-value", "no confirmed commit with this persist-id")
        elif pending.persist is not None:
            if persist_id != pending.persist:
                raise RpcError("invalid-value", "the pending commit has another persist-id")
        elif pending.session_id != session_id:
            raise RpcError("in-use", f"session {pending.session_id} has yet to confirm its commit", type="protocol")

    def _strict(self, session_id: int, confirmed: bool) -> None:
        fault = None
        if self.locks.get("candidate") != session_id:
            fault = "commit without a lock on candidate"
        elif self._candidate.dirty and not self._candidate.validated:
            fault = "commit without validate since the last edit"
        elif not confirmed and self._pending is None:
            fault = "commit that is not confirmed"
        if fault:
            raise RpcError("operation-failed", f"strict: {fault}", app_tag="strict")

    def _not_locked_by_other(self, session_id: int, store: str) -> None:
        holder = self.locks.get(store)
        if holder not in (None, session_id):
            raise RpcError(
                "in-use", f"{store} is locked by session {holder}", type="protocol", info={"session-id": str(holder)}
            )

    def _reset_candidate(self) -> None:
        self._candidate = _Candidate(copy.deepcopy(self.running))

    def _forget_pending(self) -> None:
        if self._pending is not None:
            self._pending.timer.cancel()
            self._pending = None

    def _load(self) -> Element | None:
        path = self.settings.state_file
        if path is None or not path.exists():
            return None
        config = edited(empty(), etree.fromstring(path.read_bytes()))
        validate(config)
        return config

    def _save(self) -> None:
        path = self.settings.state_file
        if path is None:
            return
        written = path.with_suffix(path.suffix + ".new")
        with written.open("wb") as file:
            file.write(etree.tostring(self.running, pretty_print=True))
            file.flush()
            os.fsync(file.fileno())
        written.replace(path)
