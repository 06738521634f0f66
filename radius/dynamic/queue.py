"""Changes of live sessions, durable: written before they are sent, pursued until observed, and given up visibly.

    ask ── row, then the first request, in its turn ──► the answer, for whoever waits for it
    run ── every second: what is due ──► claim (compare and set of next_at) ─► send or look ─► row

A process that is killed leaves its rows: when it is back it goes on with them at once, and any other does when their
claim has ended by time. A request may therefore be sent twice, which changes nothing: it says how the session shall be,
never by how much it shall change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from datetime import datetime, timedelta

import structlog
from prometheus_client import Counter
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.errors import NotFound
from controller.domain.identity import new_id
from controller.domain.ports import CoaOutcome, SessionRate
from controller.store.engine import Database, tell
from controller.store.waking import woken
from radius.dynamic import model, repository
from radius.dynamic.model import PREPAID, Change, Kind, Patience, State, Wanted
from radius.dynamic.reach import Reach
from radius.dynamic.repository import Asked, Turn
from radius.dynamic.turns import CLAIM, Turns
from radius.ports import LiveSession
from radius.protocol.nas import Nas
from radius.vendors.mark import read_class
from radius.vendors.terms import GARDEN_PROFILE

log = structlog.get_logger()

CLOSED = Counter("headend_radius_changes", "Changes of live sessions by what came of them.", ["kind", "state"])
FALLBACKS = Counter(
    "headend_radius_change_fallbacks", "Sessions ended because the change was refused, as the policy says.", ["nas"]
)

Observe = Callable[[LiveSession, Nas, Change], SessionRate | None]
"""The evidence of the newest accounting record of a session, where it came after `Change.shown_since`."""
IsSuspended = Callable[[str], Awaitable[bool]]
WithoutCredit = Callable[[AsyncConnection, str], Awaitable[Collection[str]]]
"""The live sessions of a service that no prepaid credit is left for: in the garden, or told to end."""

_AT_ONCE = 64
_ENQUEUED = "changes-of-sessions"
"""A commit that wants something of live sessions."""
_POLL_S = 1.0
_SOON = timedelta(seconds=1)
_KEPT = timedelta(days=30)


class ChangeQueue:
    """`ask` may be called from any task of any process; `run` by every process that sends CoA."""

    without_credit: WithoutCredit | None = None
    """None where nobody keeps prepaid balances. Nobody but prepaid opens the garden to these sessions."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        reach: Reach,
        observe: Observe,
        *,
        is_suspended: IsSuspended | None = None,
        patience: Patience | None = None,
        process: str = "",
    ) -> None:
        self._database = database
        self._clock = clock
        self._reach = reach
        self._observe = observe
        self._is_suspended = is_suspended
        self._patience = patience or Patience()
        self._process = process
        self._turns = Turns(database, clock, process)
        self._wake = asyncio.Event()
        database.on_commit(_ENQUEUED, self._wake.set)

    async def start(self) -> None:
        """Before anything is asked: go on with what a process of our name held when it was killed."""
        if not self._process:
            return
        async with self._database.begin() as conn:
            held = await repository.release(conn, self._process, self._clock.now())
        if held:
            log.warning("radius.changes.taken-up", changes=held, process=self._process)

    async def ask(self, session_key: str, wanted: Wanted, *, actor: str) -> CoaOutcome | None:
        """Keep what is wanted and send it now. What the NAS answered; None when there is no such live session.

        An answer is not the end of it: `run` sends again what passes, and looks what is observed.
        """
        found = await self._reach.find(session_key)
        if found is None:
            return None
        session, nas = found
        change = await self._write(session, wanted, actor, claimed=True)
        if isinstance(change, str):
            return CoaOutcome("nak", None, f"nothing was sent: {change}")
        return await self._send(change, session, nas, waits=True)

    async def enqueue(self, conn: AsyncConnection, session: LiveSession, wanted: Wanted, *, actor: str) -> None:
        """Keep what is wanted within a transaction of the caller; `run` sends it once that is committed."""
        await self._replace(conn, session, wanted, actor, claimed=False)
        tell(conn, _ENQUEUED)

    async def failures(self, session_keys: list[str]) -> dict[str, str]:
        """Why the newest change of a session failed for good, in words; sessions without such a failure are absent."""
        if not session_keys:
            return {}
        async with self._database.read() as conn:
            found = await repository.failed(conn, session_keys)
        return {change.session_key: change.words or change.state.value for change in found}

    async def show(self, change_id: str) -> Change:
        """Raises NotFound."""
        async with self._database.read() as conn:
            change = await repository.get(conn, change_id)
        if change is None:
            raise NotFound(f"no change {change_id}")
        return change

    async def page(self, asked: Asked, *, before: str | None, limit: int) -> list[Change]:
        async with self._database.read() as conn:
            return await repository.page(conn, asked, before=before, limit=limit)

    async def run(self) -> None:
        """Look after open changes, for ever; a database that is away is logged once and tried again."""
        healthy, swept_at = True, None
        while True:
            try:
                busy = await self.work()
                now = self._clock.now()
                if swept_at is None or now - swept_at > timedelta(hours=1):
                    swept_at = now
                    await self._forget()
                healthy = True
            except (SQLAlchemyError, OSError) as error:
                if healthy:
                    log.warning("radius.changes.stalled", error=str(error))
                healthy, busy = False, False
            if not busy:
                self._wake.clear()
                await woken(self._wake, _POLL_S)

    async def work(self) -> bool:
        """Look after what is due, once. Whether there was anything."""
        async with self._database.read() as conn:
            due = await repository.due(conn, self._clock.now(), _AT_ONCE)
        await asyncio.gather(*(self._look_after(change) for change in due))
        return bool(due)

    # --- one change

    async def _write(self, session: LiveSession, wanted: Wanted, actor: str, *, claimed: bool) -> Change | str:
        for last in (False, True):
            try:
                async with self._database.begin() as conn:
                    return await self._replace(conn, session, wanted, actor, claimed=claimed)
            except IntegrityError:  # another process opened one for this session in this very moment
                if last:
                    raise
        raise AssertionError("the second try returned or raised")

    async def _replace(
        self, conn: AsyncConnection, session: LiveSession, wanted: Wanted, actor: str, *, claimed: bool
    ) -> Change | str:
        """Put the change in the place of what was open; or say why the session is not to be asked for it."""
        now = self._clock.now()
        former = await repository.open_change(conn, session.session_key)
        joined = former if wanted.kind is Kind.LIMIT and former is not None and former.wanted.gives_speed else None
        wanted = model.beside(wanted, former, is_walled=_is_walled(session))
        if wanted.gives_speed and actor != PREPAID and await self._is_spent(conn, session):
            return "no prepaid credit is left for the session; top its balance up to let it out of the garden"
        if former is not None and former.wanted == wanted and not former.by_disconnect:
            return await self._once_more(conn, former, now, claimed=claimed)
        if former is not None:
            if former.by_disconnect and wanted.kind is Kind.LIMIT:
                return "the session is being ended"
            if former.wanted.kind is Kind.DISCONNECT and wanted.kind is not Kind.DISCONNECT:
                return "the session is being ended"
            if former.wanted.kind is Kind.SUSPEND and wanted.kind is Kind.LIMIT:
                return "the session is being put into the garden"
            words = f"superseded by {wanted.kind.value}" + (f" {wanted.profile.name}" if wanted.profile else "")
            await self._put(conn, former.closed(State.SUPERSEDED, now, words))
        made = Change(
            change_id=new_id(now),
            session_key=session.session_key,
            service_id=session.service_id,
            nas_id=session.nas_id,
            wanted=wanted,
            state=State.WAITING,
            by_disconnect=False,
            # However many limits come while a speed is pursued, it is proved by what is seen, or given up.
            tries=int(claimed) + (0 if joined is None else joined.tries),
            taken_at=None if joined is None else joined.taken_at,
            requested_at=now,
            requested_by=actor,
            next_at=now + CLAIM if claimed else now,
            asked_at=now if claimed else None,
            claimed_by=self._process if claimed else None,
        )
        await repository.add(conn, made)
        return made

    async def _is_spent(self, conn: AsyncConnection, session: LiveSession) -> bool:
        if self.without_credit is None or session.service_id is None:
            return False
        return session.session_key in await self.without_credit(conn, session.service_id)

    async def _once_more(self, conn: AsyncConnection, change: Change, now: datetime, *, claimed: bool) -> Change:
        """The same is asked for again: no waiting for its time."""
        sent = {"tries": change.tries + 1, "asked_at": now, "next_at": now + CLAIM, "claimed_by": self._process}
        change = replace(change, state=State.WAITING, taken_at=None, **(sent if claimed else {"next_at": now}))
        await self._put(conn, change)
        return change

    async def _look_after(self, change: Change) -> None:
        """Send or look, unless another process has taken it."""
        sends, now = change.state is State.WAITING, self._clock.now()
        tries = change.tries + int(sends)
        async with self._database.begin() as conn:
            if not await repository.claim(conn, change, now + CLAIM, tries=tries, process=self._process):
                return
        change = replace(change, tries=tries, asked_at=now if sends else change.asked_at)
        found = await self._reach.find(change.session_key)
        overtaken = None if found is None else await self._overtaken(change)
        if found is None:
            await self._close(model.ended(change, now))
        elif overtaken is not None:
            await self._close(change.closed(State.SUPERSEDED, now, overtaken))
        elif sends:
            await self._send(change, *found, waits=False)
        else:
            await self._look(change, *found)

    async def _overtaken(self, change: Change) -> str | None:
        """Why the change is not wanted any more though nobody replaced it; None where it still is."""
        if self._is_suspended is None or change.service_id is None or change.wanted.kind is Kind.DISCONNECT:
            return None
        if change.wanted.kind is Kind.SUSPEND and change.requested_by == PREPAID:
            return None  # of this session alone: a top-up replaces it
        suspended = await self._is_suspended(change.service_id)
        if suspended != (change.wanted.kind is Kind.SUSPEND):
            return "the service was suspended meanwhile" if suspended else "the service was resumed meanwhile"
        return None

    async def _send(self, change: Change, session: LiveSession, nas: Nas, *, waits: bool) -> CoaOutcome:
        """In its turn, for which `waits` waits; else it is looked after again soon."""
        async with self._turns.of(change, waits=waits) as turn:
            if turn is Turn.LOST:
                return CoaOutcome("nak", None, "nothing was sent: something newer is wanted of the session")
            now = self._clock.now()
            if turn is Turn.LATER:
                await self._close(replace(change, next_at=now + _SOON, tries=max(0, change.tries - 1)))
                return CoaOutcome("timeout", None, "another request to the session is under way; this one follows it")
            shown = model.proved_before(change, now, self._observe(session, nas, change), GARDEN_PROFILE)
            if shown is not None:
                change = await self._part(shown, State.WAITING)
            change = replace(change, asked_at=now)
            outcome = await self._reach.send(session, nas, change.wanted, end=change.by_disconnect, now=now)
            after = model.after_answer(
                change, outcome, self._clock.now(), self._patience, may_disconnect=nas.disconnect_when_refused
            )
            await self._close(after)
        if after.by_disconnect and not change.by_disconnect:
            self._fall_back(after, nas)
        return outcome

    async def _look(self, change: Change, session: LiveSession, nas: Nas) -> None:
        after = model.after_look(
            change,
            self._clock.now(),
            self._patience,
            is_live=True,
            seen=self._observe(session, nas, change),
            used=(session.octets, session.session_time_s),
            garden_name=GARDEN_PROFILE,
            interim_s=max(session.interim_s, nas.interim_interval_s),
            may_disconnect=nas.disconnect_when_refused,
        )
        if after.state is State.PROVED and change.wanted.limit is not None and change.wanted.gives_speed:
            await self._part(after, State.ACKNOWLEDGED)
            return
        await self._close(after)
        if after.by_disconnect and not change.by_disconnect:
            self._fall_back(after, nas)

    async def _part(self, proved: Change, state: State) -> Change:
        """The speed is proved; what goes on is the limit that was wanted with it."""
        now = self._clock.now()
        rest = model.limit_of(proved, new_id(now), state)
        assert rest is not None, "a limit is wanted with the speed"
        is_sent = state is State.WAITING
        rest = replace(rest, next_at=now + (CLAIM if is_sent else _SOON), claimed_by=self._process if is_sent else None)
        async with self._database.begin() as conn:
            if await self._put(conn, replace(proved, claimed_by=None)):
                await repository.add(conn, rest)
        return rest

    def _fall_back(self, change: Change, nas: Nas) -> None:
        FALLBACKS.labels(nas.name).inc()
        log.warning("radius.change.falls_back", nas_ip=nas.address, session_key=change.session_key, why=change.words)
        self._wake.set()

    async def _close(self, change: Change) -> None:
        async with self._database.begin() as conn:
            await self._put(conn, replace(change, claimed_by=None))

    async def _put(self, conn: AsyncConnection, change: Change) -> bool:
        """False where something newer has taken its place."""
        if not await repository.put(conn, change):
            await repository.let_go(conn, change)
            return False
        if change.is_open:
            return True
        CLOSED.labels(change.wanted.kind.value, change.state.value).inc()
        told = log.warning if change.state in model.FAILED else log.info
        told(
            "radius.change",
            change_id=change.change_id,
            session_key=change.session_key,
            service_id=change.service_id,
            kind=change.wanted.kind.value,
            state=change.state.value,
            words=change.words,
        )
        return True

    async def _forget(self) -> None:
        async with self._database.begin() as conn:
            await repository.forget(conn, self._clock.now() - _KEPT)


def _is_walled(session: LiveSession) -> bool:
    """Whether its newest record shows it in the garden."""
    mark = read_class(session.last_class)
    return mark is not None and mark.profile_name == GARDEN_PROFILE
