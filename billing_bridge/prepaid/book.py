"""A prepaid balance within one transaction: what logins, reports, top-ups and time make of it. Pure.

    reserve   a login gets a slice of what is neither used nor reserved; the same station gives back what it had
    report    running totals of a session: what is new is debited by the postpaid price, its slice extended
    expire    slices whose validity is over are given back
    top_up    more, and sessions in the garden go on

What a session uses beyond its slice is taken from what nobody else has reserved. The rest is owed as far as others hold
something, and taken of what they give back; what is left of it then is overshoot: counted, and paid by nobody. So a
balance never falls below what is reserved, and never below zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from billing_bridge.mediation.attribution import DayPart, split_by_day
from billing_bridge.prepaid.balance import Balance, to_key
from billing_bridge.prepaid.model import (
    SECONDS,
    START_FOLLOWS,
    Kind,
    PrepaidCall,
    Reading,
    Segment,
    Session,
    State,
    Terms,
    Used,
    Wallet,
)
from billing_bridge.rating.metered import counted
from billing_bridge.rating.prepaid import Grant, Units, grant, report
from controller.domain.clock import local_date
from controller.domain.credit import FinalAction, NoCredit, Prolonged, Slice, Standing
from controller.domain.errors import Conflict
from controller.domain.price import Meter

_STOP = "stop"
_WAITING = (State.PENDING, State.SHUT)
_COUNTED = (State.PENDING, State.OPEN, State.FINAL)
"""Of sessions whose use costs something."""
_FOR_EVER = datetime(9000, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Told:
    """What live sessions are to be told, by session key."""

    ended: dict[str, FinalAction] = field(default_factory=dict)
    go_on: list[str] = field(default_factory=list)
    prolonged: dict[str, Prolonged] = field(default_factory=dict)


class Book(Balance):
    """`terms` ascend; `sessions` are those that have not ended, and those that are reported of."""

    def __init__(
        self,
        wallet: Wallet,
        terms: Sequence[Terms],
        used: Mapping[Segment, Used],
        sessions: Iterable[Session],
        calls: Iterable[PrepaidCall] = (),
        *,
        zone: ZoneInfo,
        rounding: str,
    ) -> None:
        super().__init__(wallet, terms, used, sessions, calls, zone=zone, rounding=rounding)
        self.told = Told()

    def by_key(self, session_key: str) -> Session | None:
        return next((s for s in self.sessions.values() if s.session_key == session_key), None)

    def standing(self, now: datetime) -> Standing:
        """How a login that came now would be treated."""
        if not self.wallet.is_in_use:
            return Standing.OUT
        if any(s.open for s in self.sessions.values()) or self._state(now).affordable(1):
            return Standing.OPEN
        return Standing.GARDEN if self._terms_at(now).action is FinalAction.GARDEN else Standing.OUT

    # --- what happens to it

    def reserve(self, reservation_id: str, station: str, nas_id: str, now: datetime) -> Slice | NoCredit:
        """A slice for a session that is about to begin."""
        terms = self._terms_at(now)
        if not self.wallet.is_in_use:
            return NoCredit(FinalAction.DISCONNECT, f"the prepaid balance of the service {self.wallet.shut}")
        for session in self.sessions.values() if station else ():
            if session.station == station:
                self._give_back(session, Kind.RELEASE, f"again:{reservation_id}:{session.reservation_id}", now)
                if session.state is State.WALLED:
                    # Its former session is lost, and no top-up brings that back; what it says late was still walled.
                    session.state, session.free_until = State.FINAL, _FOR_EVER
        until = now + START_FOLLOWS
        state, got = grant(self._state(now), reservation_id, terms.slice, until)
        walled = not got and terms.action is FinalAction.GARDEN
        if got or walled:
            self.sessions[reservation_id] = Session(
                reservation_id, self.wallet.service_id, station, nas_id, None, State.SHUT if walled else State.PENDING,
                0, 0, 0, got, now, None, until, now,
            )  # fmt: skip
        said = self._slice(got, terms)
        if got:
            self.sessions[reservation_id].nas_limit = said.octets or said.seconds or 0
        if not got:
            busy = "" if not state.granted else f"; {state.granted} {self._counted} are reserved for other sessions"
            return NoCredit(terms.action, f"the prepaid balance is used up{busy}")
        self._record(Kind.RESERVATION, 0, f"reserve:{reservation_id}", now)
        return said

    def report(self, reading: Reading, now: datetime) -> None:
        """Debit what a record says that is new; keep a live session's slice long enough."""
        known = self.by_key(reading.session_key)
        session = known or self._bind(reading, now)
        totals = (
            max(session.upstream_octets, reading.upstream_octets or 0),
            max(session.downstream_octets, reading.downstream_octets or 0),
            max(session.seconds, reading.session_time_s or 0),
        )
        before = (session.upstream_octets, session.downstream_octets, session.seconds)
        since = min(session.seen_until, reading.event_at)
        session.upstream_octets, session.downstream_octets, session.seconds = totals
        session.seen_until = max(session.seen_until, reading.event_at)
        session.heard_at = now
        if self.wallet.closed_at is not None:
            return
        if session.state is not State.WALLED:
            up, down, seconds = (now_ - then for now_, then in zip(totals, before, strict=True))
            self._charge(session, (up, down, seconds), since, reading, now)
        if reading.kind == _STOP:
            session.state = State.ENDED
            self._give_back(session, Kind.RELEASE, f"stop:{reading.record_id}", now)
        elif self.wallet.closing_at is not None:
            self._part_with(session, reading, self.wallet.closing_at, now, is_new=known is None)
        elif session.state is State.WALLED:
            self._let_go_on(session, f"extend:{reading.record_id}", now)
        elif session.state is not State.ENDED:
            self._extend(session, f"extend:{reading.record_id}", now)

    def grant_call(self, grant_id: str, call_id: str, number: str, wanted_s: int, now: datetime) -> PrepaidCall:
        """Seconds for a call, from its begin: as many of those wanted as are affordable beside all else."""
        if not self.wallet.is_in_use:
            raise Conflict(f"the prepaid balance of the service {self.wallet.shut}")
        call = self.telephony.begin(self.wallet.service_id, call_id, number, self._segment(now), now)
        spare = self.wallet.balance - self._held(now)
        self.telephony.grant(call, wanted_s, spare, self._terms_at(now).validity)
        self._record(Kind.RESERVATION, 0, f"call:{grant_id}", now)
        return call

    def end_call(self, call_id: str, duration_s: int, now: datetime) -> PrepaidCall:
        """Debit a call by what all calls of its period cost together: no cent is rounded twice."""
        held = self._held(now)
        call, is_new = self.telephony.end(call_id, duration_s)
        if is_new:
            key, released = f"call-end:{call_id}", held - self._held(now)
            day = local_date(call.began_at, self._zone)
            taken = self._charge_for(call.debited, day, key, None, None, now, released=released)
            self._collect(held - taken, key, now)
        return call

    def expire(self, now: datetime) -> None:
        """Give back the slices whose validity is over; a session that is heard of again asks again.

        Only once the log is debited: a session whose reports wait there is not silent.
        """
        held = self._held(now)
        for call in self.telephony.lapse(now):
            key = f"expire:call:{call.call_id}:{to_key(call.expires_at)}"
            self._record(Kind.EXPIRY, 0, key, now)
            self._collect(held, key, now)
            held = self._held(now)
        for session in self.sessions.values():
            if session.expires_at > now:
                continue
            self._give_back(session, Kind.EXPIRY, f"expire:{session.reservation_id}:{to_key(session.expires_at)}", now)
            if session.state in _WAITING:
                session.state = State.ENDED

    def top_up(self, units: int, worth_minor: int, key: str, now: datetime, *, actor: str) -> None:
        """More of it, for `worth_minor` net; sessions in the garden get a slice and go on, and those whose NAS would
        end them at what was left of it before may come further. What has expired before is not kept by it."""
        self.lapse(now)
        self.wallet.balance += units
        terms = self._terms_at(now)
        days, low = terms.credit_days, terms.low_below
        self._keep_until(None if days is None else local_date(now, self._zone) + timedelta(days=days), now)
        if low is None or self.wallet.balance >= low:
            self.wallet.low_notice = None
        self._record(Kind.TOP_UP, units, key, now, actor=actor, worth=worth_minor)
        for session in self.sessions.values():
            if session.state is State.WALLED:
                self._let_go_on(session, f"{key}:{session.reservation_id}", now)
            elif session.state is State.OPEN and session.nas_limit:
                self._renew(session, now)
                self._record(Kind.RESERVATION, 0, f"{key}:{session.reservation_id}", now, session=session)

    def lapse(self, now: datetime) -> None:
        """Credit that was kept for as long as its terms say is gone, but for what calls that go on still hold: what
        was paid for it is earned. Its sessions have used their final unit."""
        if not self._is_over(now):
            return
        action, held = self._terms_at(now).action, self._held(now)
        for session in self.sessions.values():
            session.open = 0
            if session.state is State.OPEN and session.session_key is not None:
                session.state = State.WALLED if action is FinalAction.GARDEN else State.FINAL
                self.told.ended[session.session_key] = action
        self._collect(held, f"lapse:{self.wallet.expires_on}", now)
        self._lapse_credit(now)

    def pay_out(self, now: datetime, *, actor: str) -> int:
        """What is left of a closed balance is given back; what it was worth, net, in minor units."""
        worth = self.wallet.worth_minor
        amount, self.wallet.balance = self.wallet.balance, 0
        self._record(Kind.PAY_OUT, -amount, f"pay-out:{to_key(now)}", now, actor=actor, worth=-worth)
        return worth

    def begin_closing(self, now: datetime) -> datetime:
        """Nothing is reserved any more, and what is used from now on costs nothing; what has expired is not there to
        pay out. Sessions are told to end, so that they tell what they used before.

        Until when that is waited for: as long as a slice is kept for a session that is silent.
        """
        self.lapse(now)
        self.wallet.closing_at = now
        for session in self.sessions.values():
            if session.session_key is not None and session.state is not State.ENDED:
                self.told.ended[session.session_key] = FinalAction.DISCONNECT
        return now + self._terms_at(now).validity

    def is_awaited(self, now: datetime) -> bool:
        """Whether a session, or a call that goes on, may still tell of use that there is something left for."""
        told = (s.state in _COUNTED and s.expires_at > now for s in self.sessions.values())
        return self.wallet.balance > 0 and (any(told) or any(c.granted_s for c in self.telephony.calls.values()))

    def close(self, now: datetime) -> None:
        """Nothing is debited any more, and what was reserved is given back."""
        self.wallet.closing_at, self.wallet.closed_at = None, now
        for session in self.sessions.values():
            self._give_back(session, Kind.RELEASE, f"close:{session.reservation_id}:{to_key(now)}", now)
        held = self._held(now)
        for call in self.telephony.calls.values():
            call.granted_s = 0
        self._record(Kind.RELEASE, 0, f"close:{to_key(now)}", now)
        self._collect(held, f"close:{to_key(now)}", now)

    def follow_terms(self, now: datetime) -> None:
        """Terms have changed: what is reserved is what the slices cost by the new ones, as far as there is as much; and
        what there is is kept as long as the new ones say, from now on where nothing limited it before."""
        wallet, days = self.wallet, self._terms_at(now).credit_days
        if days is None or not wallet.balance:
            self._keep_until(None, now)
        else:
            self._keep_until(wallet.expires_on or local_date(now, self._zone) + timedelta(days=days), now)
        self._record(Kind.RESERVATION, 0, f"terms:{self._terms_at(now).sequence}", now)

    # --- how

    @property
    def _counted(self) -> str:
        return "seconds" if self.wallet.unit == SECONDS else "octets"

    def _slice(self, got: int, terms: Terms) -> Slice:
        if self.wallet.unit == SECONDS:
            return Slice(seconds=got)
        price = terms.price
        # A NAS limits the sum of both directions; where only one of them costs, the slice is ours alone to watch.
        both = isinstance(price, Units) or price.meter is Meter.OCTETS
        return Slice(octets=got) if both else Slice()

    def _bind(self, reading: Reading, now: datetime) -> Session:
        """The slice of the login that a new session came of; else none.

        That came before the record did. It is the newest one of the session's station, for a line that dials again has
        lost the others; where no station tells, the oldest one of the same NAS, else of any.
        """
        began = reading.event_at
        if reading.session_time_s:
            began -= timedelta(seconds=reading.session_time_s)
        waiting = sorted(
            (
                s
                for s in self.sessions.values()
                if s.state in _WAITING and s.heard_at <= reading.received_at < s.expires_at
            ),
            key=lambda s: s.reservation_id,
        )
        of_line = [s for s in waiting if reading.station and s.station == reading.station]
        of_nas = [s for s in waiting if s.nas_id == reading.nas_id]
        others = [s for s in of_nas or waiting if not (s.station and reading.station)]
        found = [*of_line[-1:], *others]
        if found:
            session = found[0]
        else:
            # Ids of the usage log and of reservations never meet: a session key is an id of its own.
            session = Session(
                reading.session_key, self.wallet.service_id, "", reading.nas_id, None, State.OPEN, 0, 0, 0, 0,
                began, self.wallet.opened_at, now, now,
            )  # fmt: skip
            self.sessions[session.reservation_id] = session
        state = State.WALLED if session.state is State.SHUT else State.OPEN
        session.session_key, session.state, session.seen_until = reading.session_key, state, began
        session.expires_at = now + self._terms_at(now).validity
        return session

    def _charge(
        self, session: Session, grown: tuple[int, int, int], since: datetime, reading: Reading, now: datetime
    ) -> None:
        timed = self.wallet.unit == SECONDS
        up, down = (grown[2], 0) if timed else grown[:2]
        if not up and not down:
            return
        free_until, free_from = session.free_until, self.wallet.closing_at
        cuts = [t.since for t in self.terms[1:]] + [at for at in (free_until, free_from) if at is not None]
        for n, part in enumerate(split_by_day(since, reading.event_at, up, down, self._zone, cuts)):
            if (free_until is None or part.since >= free_until) and (free_from is None or part.since < free_from):
                self._debit(session, part, f"use:{reading.record_id}:{n}", reading.record_id, now)

    def _part_with(self, session: Session, reading: Reading, since: datetime, now: datetime, *, is_new: bool) -> None:
        """What was used before the balance began to be closed, `since` then, is known by a record of after that. Whose
        first record comes now may have been let in before."""
        is_settled = reading.event_at >= since and reading.received_at >= since
        if is_new and (session.reservation_id != reading.session_key or not is_settled):
            self.told.ended[reading.session_key] = FinalAction.DISCONNECT
        session.expires_at = now + self._terms_at(now).validity
        if is_settled:
            session.state = State.ENDED
            self._give_back(session, Kind.RELEASE, f"closing:{reading.record_id}", now)

    def _debit(self, session: Session, part: DayPart, key: str, record_id: int, now: datetime) -> None:
        terms = self._terms_at(part.since)
        segment, price = Segment(self._priced_since(terms), part.day.replace(day=1)), terms.price
        octets = (part.upstream_octets, part.downstream_octets)
        quantity = sum(octets) if isinstance(price, Units) else counted(price, *octets)
        if not quantity:
            return
        state = self._state_of(segment, now)
        if session.reservation_id not in state.sessions:
            state = replace(state, sessions={**state.sessions, session.reservation_id: Grant(0, 0, now)})
        after, debit = report(state, session.reservation_id, quantity)
        self.used[segment] = Used(after.used, after.debited_minor)
        session.open = max(0, session.open - quantity)
        self._charge_for(debit, part.day, key, session, record_id, now)

    def _extend(self, session: Session, key: str, now: datetime) -> bool:
        """Whether the session may go on. It asks for a new slice when half of the old one is used."""
        terms = self._terms_at(now)
        self._renew(session, now)
        session.expires_at = now + terms.validity
        if session.open:
            session.state = State.OPEN
            self._record(Kind.RESERVATION, 0, key, now, session=session)
            return True
        if session.state is State.OPEN and session.session_key is not None:
            walled = terms.action is FinalAction.GARDEN
            session.state = State.WALLED if walled else State.FINAL
            self.told.ended[session.session_key] = terms.action
        return False

    def _renew(self, session: Session, now: datetime) -> None:
        """A new slice once half of the old one is used; a NAS that holds a limit is to let the session come so far."""
        terms = self._terms_at(now)
        if session.open * 2 > terms.slice:
            return
        _, got = grant(self._state(now), session.reservation_id, terms.slice, now + terms.validity)
        session.open = got or session.open
        until = session.total(self.wallet.unit) + session.open
        if session.open and session.session_key is not None and 0 < session.nas_limit < until:
            timed = self.wallet.unit == SECONDS
            most = Slice(seconds=until) if timed else Slice(octets=until)
            self.told.prolonged[session.session_key] = Prolonged(most, session.nas_limit)
            session.nas_limit = until

    def _let_go_on(self, session: Session, key: str, now: datetime) -> None:
        """Out of the garden, if there is a slice for it: what it used in there costs nothing."""
        if session.session_key is not None and self._extend(session, key, now):
            session.free_until = now
            self.told.go_on.append(session.session_key)

    def _give_back(self, session: Session, kind: Kind, key: str, now: datetime) -> None:
        if session.open:
            held, session.open = self._held(now), 0
            self._record(kind, 0, key, now, session=session)
            self._collect(held, key, now)
