"""What becomes of a change that a live session shall undergo: sent, answered, looked at, sent again, given up. Pure.

    waiting ──send──► ACK ──► acknowledged ──what is observed next──► proved
       ▲  │            │             │
       │  │            │             └─ shows the old state, or nothing: waiting again, at last given-up
       │  └─ timeout, or an Error-Cause that passes ── back-off ──┐
       └──────────────────────────────────────────────────────────┘
    refused      an Error-Cause that asking again does not mend
    superseded   something newer is wanted of the session
    gone         it ended before: its next login is right in any case

Refuses to take an answer for the truth: an ACK is the NAS's claim, and half of a change may follow a NAK.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from controller.domain.ports import CoaOutcome, SessionRate
from controller.domain.service import SpeedProfile
from controller.domain.units import human_rate


class Kind(StrEnum):
    """What is wanted of a session."""

    SPEED = "speed"
    SUSPEND = "suspend"
    RESUME = "resume"
    DISCONNECT = "disconnect"
    LIMIT = "limit"
    """A limit of time or volume that the NAS itself holds."""


class State(StrEnum):
    """Where a change stands."""

    WAITING = "waiting"
    ACKNOWLEDGED = "acknowledged"
    PROVED = "proved"
    REFUSED = "refused"
    GIVEN_UP = "given-up"
    SUPERSEDED = "superseded"
    GONE = "gone"


PREPAID = "system:prepaid"
"""Who asks single sessions of a service into the garden: the others may have credit."""

OPEN = (State.WAITING, State.ACKNOWLEDGED)
FAILED = (State.REFUSED, State.GIVEN_UP)

_PASSING = frozenset({502, 505, 506})
"""Error-Cause values that time may mend: not routable, trouble of a proxy, no resources (RFC 5176 §3.5)."""


_INSTEAD = "; Disconnect: "


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a change is pursued, in seconds."""

    first_wait_s: float = 5.0
    """Before the second request; doubled each time."""
    longest_wait_s: float = 300.0
    tries: int = 8
    """Requests, each retransmitted by itself, until a change is given up: about ten minutes."""
    settle_s: float = 5.0
    """A record this young after the ACK may still tell of before."""
    intervals: int = 3
    """Interim intervals without a record after an ACK: then nothing is going to prove it."""

    def wait(self, tries: int) -> timedelta:
        """Before the next request, after so many."""
        return timedelta(seconds=min(self.longest_wait_s, self.first_wait_s * 2 ** min(tries - 1, 30)))


@dataclass(frozen=True, slots=True)
class Limit:
    """How far a session may come since its begin, by its NAS: octets of both directions, or seconds. `before`: how far
    it might until now; a session that is seen beyond that proves that the NAS has taken over another one."""

    octets: int | None
    seconds: int | None
    before: int

    def used(self, octets: int, seconds: int) -> int:
        """Of a session's totals the one that is limited."""
        return seconds if self.octets is None else octets


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a session shall be: `profile` is the speed of SPEED and RESUME; `limit` that of LIMIT, and of those two
    where both are wanted at once."""

    kind: Kind
    profile: SpeedProfile | None = None
    limit: Limit | None = None

    @property
    def gives_speed(self) -> bool:
        """Whether a session in the garden would be out of it, as far as its speed goes."""
        return self.kind in (Kind.SPEED, Kind.RESUME)


@dataclass(frozen=True, slots=True)
class Change:
    """One change and how it went. `tries` counts the requests by the present means.

    `by_disconnect`: the change itself was refused, and the session is ended instead, as the policy of its NAS says.
    `last_*` are of the newest answer, `asked_at` of the newest request, `words` say in full what came of it.
    `next_at` is when it is to be looked after again; while a process does so (`claimed_by`) it lies ahead as long as
    that may take.
    """

    change_id: str
    session_key: str
    service_id: str | None
    nas_id: str
    wanted: Wanted
    state: State
    by_disconnect: bool
    tries: int
    requested_at: datetime
    requested_by: str
    next_at: datetime
    asked_at: datetime | None = None
    last_result: str | None = None
    last_error_cause: int | None = None
    last_detail: str | None = None
    words: str | None = None
    closed_at: datetime | None = None
    claimed_by: str | None = None
    taken_at: datetime | None = None
    """Of the request after which the NAS said that it has taken the speed; what else is wanted since does not ask for
    that evidence anew."""

    @property
    def shown_since(self) -> datetime | None:
        """Records that came later may prove the speed."""
        return self.taken_at or self.asked_at

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    @property
    def ends_session(self) -> bool:
        return self.by_disconnect or self.wanted.kind is Kind.DISCONNECT

    def closed(self, state: State, now: datetime, words: str | None) -> Change:
        return replace(self, state=state, closed_at=now, words=words)


def beside(wanted: Wanted, former: Change | None, *, is_walled: bool) -> Wanted:
    """What is wanted now, of a session of which `former` is open: what that wanted and this does not undo stays wanted.

    A speed alone does not open the walls: neither of a session that stands there, nor of one that was about to be let
    out. A limit and a speed are wanted together.
    """
    was = None if former is None or former.by_disconnect else former.wanted
    if wanted.kind is Kind.SPEED and (is_walled or (was is not None and was.kind is Kind.RESUME)):
        wanted = replace(wanted, kind=Kind.RESUME)
    if was is None:
        return wanted
    if wanted.kind is Kind.LIMIT:
        assert wanted.limit is not None, "a limit is wanted"
        limit = wanted.limit if was.limit is None else replace(wanted.limit, before=was.limit.before)
        return replace(was if was.gives_speed else wanted, limit=limit)
    return replace(wanted, limit=was.limit) if wanted.gives_speed else wanted


def after_answer(
    change: Change, outcome: CoaOutcome, now: datetime, patience: Patience, *, may_disconnect: bool
) -> Change:
    """What the answer of the NAS makes of the change. `may_disconnect` is the policy for a change that is refused."""
    said = _told(change, answer_in_words(outcome))
    change = replace(
        change, last_result=outcome.result, last_error_cause=outcome.error_cause, last_detail=outcome.detail, words=said
    )
    if outcome.result == "ack":
        taken_at = change.shown_since if change.wanted.gives_speed and not change.by_disconnect else None
        return replace(change, state=State.ACKNOWLEDGED, next_at=now + timedelta(seconds=1), taken_at=taken_at)
    if outcome.result == "nak" and outcome.error_cause not in _PASSING:
        if change.wanted.limit is not None and change.wanted.gives_speed and not change.by_disconnect:
            # Perhaps it does not take the limit alone: neither the speed nor the way out of the garden waits for that.
            speed, words = replace(change.wanted, limit=None), f"{said}; asked again without the limit"
            return replace(change, wanted=speed, state=State.WAITING, tries=0, next_at=now, words=words)
        return _failed(change, State.REFUSED, now, said, may_disconnect)
    return _again(change, now, patience, said, may_disconnect)


def after_look(
    change: Change,
    now: datetime,
    patience: Patience,
    *,
    is_live: bool,
    seen: SessionRate | None,
    used: tuple[int, int],
    garden_name: str | None,
    interim_s: int,
    may_disconnect: bool,
) -> Change:
    """What was observed of an acknowledged change makes of it. `seen` is evidence from after `shown_since`, `used` the
    totals of the session in octets and seconds."""
    assert change.asked_at is not None, "an acknowledged change was asked for"
    if not is_live:
        return ended(change, now)
    if change.wanted.kind is Kind.LIMIT and not change.by_disconnect:
        return _look_at_limit(change, now, used, interim_s)
    if change.ends_session:
        if seen is None or now < change.asked_at + timedelta(seconds=30):
            return _look_later(change, now, patience, interim_s, may_disconnect)
        return _again(change, now, patience, "acknowledged, but its accounting goes on", may_disconnect)
    if seen is None:
        return _look_later(change, now, patience, interim_s, may_disconnect)
    wrong = _difference(change.wanted, seen, garden_name)
    if wrong is None:
        return _proved(change, seen, now)
    if seen.observed_at < (change.shown_since or change.asked_at) + timedelta(seconds=patience.settle_s):
        return _look_later(change, now, patience, interim_s, may_disconnect)
    at = seen.observed_at.isoformat(timespec="seconds")
    said = f"acknowledged, but at {at} {wrong} ({seen.source})"
    return replace(_again(change, now, patience, said, may_disconnect), taken_at=None)


def proved_before(change: Change, now: datetime, seen: SessionRate | None, garden_name: str | None) -> Change | None:
    """Of a speed that the NAS has taken, and a limit that is still to be sent: the speed, where it is seen already."""
    if change.taken_at is None or change.wanted.limit is None or change.by_disconnect or seen is None:
        return None
    return _proved(change, seen, now) if _difference(change.wanted, seen, garden_name) is None else None


def limit_of(change: Change, change_id: str, state: State) -> Change | None:
    """What goes on by itself once the speed of a change is proved: its limit, which has evidence of its own."""
    if change.wanted.limit is None or not change.wanted.gives_speed or change.by_disconnect:
        return None
    return replace(
        change, change_id=change_id, wanted=Wanted(Kind.LIMIT, limit=change.wanted.limit), state=state, taken_at=None,
        tries=1, words=None, closed_at=None,
    )  # fmt: skip


def _proved(change: Change, seen: SessionRate, now: datetime) -> Change:
    at = seen.observed_at.isoformat(timespec="seconds")
    return change.closed(State.PROVED, now, f"seen at {at}: {seen.source}")


def ended(change: Change, now: datetime) -> Change:
    """The session is over: what a Disconnect wanted, and all that any other change can come to."""
    if change.wanted.kind is Kind.DISCONNECT:
        return change.closed(State.PROVED, now, "the session has ended")
    if change.by_disconnect:
        return change.closed(State.PROVED, now, f"{change.words}; the session has ended")
    if change.wanted.kind is Kind.LIMIT:
        words = "the session ended before it was seen beyond its former limit; its next login gets a slice of its own"
        return change.closed(State.GONE, now, words)
    return change.closed(State.GONE, now, "the session ended; its next login has the new state")


def answer_in_words(outcome: CoaOutcome) -> str:
    """NAK 503: Session Context Not Found."""
    if outcome.result == "timeout":
        return outcome.detail
    cause = "" if outcome.error_cause is None else f" {outcome.error_cause}"
    return f"{outcome.result.upper()}{cause}" + (f": {outcome.detail}" if outcome.detail else "")


def _told(change: Change, what: str) -> str:
    """Of a session that is ended instead, why, and what came of that."""
    if not change.by_disconnect:
        return what
    why, _, _ = (change.words or "").partition(_INSTEAD)
    return why + _INSTEAD + what.rpartition(_INSTEAD)[2]


def _failed(change: Change, state: State, now: datetime, words: str, may_disconnect: bool) -> Change:
    """The end of it, or the beginning of the harder means where the policy has it."""
    words = _told(change, words)
    if change.wanted.kind is Kind.LIMIT:
        # It ends by itself, at its former limit: nobody is served by its ending earlier.
        return change.closed(state, now, f"{words}; the session ends at its former limit, and dials again")
    if may_disconnect and not change.ends_session:
        return replace(
            change, state=State.WAITING, by_disconnect=True, tries=0, next_at=now, words=words, taken_at=None
        )
    return change.closed(state, now, words)


def _again(change: Change, now: datetime, patience: Patience, why: str, may_disconnect: bool) -> Change:
    if change.tries >= patience.tries:
        return _failed(change, State.GIVEN_UP, now, f"{why}; given up after {change.tries} requests", may_disconnect)
    return replace(change, state=State.WAITING, next_at=now + patience.wait(change.tries), words=_told(change, why))


def _look_at_limit(change: Change, now: datetime, used: tuple[int, int], interim_s: int) -> Change:
    """However long it takes: who uses nothing comes to no limit."""
    limit = change.wanted.limit
    assert limit is not None, "a limit is wanted"
    total = limit.used(*used)
    if total <= limit.before:
        return replace(change, next_at=now + timedelta(seconds=max(30, interim_s)))
    unit = "s" if limit.octets is None else "octets"
    return change.closed(State.PROVED, now, f"seen at {total} {unit}, beyond its former limit of {limit.before}")


def _look_later(change: Change, now: datetime, patience: Patience, interim_s: int, may_disconnect: bool) -> Change:
    """Soon at first, more seldom with time; and not for ever."""
    assert change.asked_at is not None, "an acknowledged change was asked for"
    waited = now - (change.shown_since or change.asked_at)
    if waited > timedelta(seconds=patience.intervals * interim_s + 60):
        words = "acknowledged, but no accounting record followed that could prove it"
        return _failed(change, State.GIVEN_UP, now, words, may_disconnect)
    pause = min(max(waited / 4, timedelta(seconds=1)), timedelta(seconds=30))
    return replace(change, next_at=now + pause)


def _difference(wanted: Wanted, seen: SessionRate, garden_name: str | None) -> str | None:
    """What the evidence shows otherwise than wanted; None where it shows what is wanted.

    A rate is the NAS's own figure and decides alone. The name in the Class is what it was last told; where the policy
    of the NAS is that this does not suffice, it proves nothing.
    """
    name = garden_name if wanted.kind is Kind.SUSPEND else wanted.profile and wanted.profile.name
    profile = None if wanted.kind is Kind.SUSPEND else wanted.profile
    rates = (seen.downstream_bps, seen.upstream_bps)
    if profile is not None and rates != (None, None):
        pairs = zip(("downstream", "upstream"), rates, (profile.downstream_bps, profile.upstream_bps), strict=True)
        wrong = [
            f"{direction} was {human_rate(rate)} instead of {human_rate(aim)}"
            for direction, rate, aim in pairs
            if rate is not None and rate != aim
        ]
        return ", ".join(wrong) or None
    if seen.profile_name != name:
        return f"the profile was {seen.profile_name or 'unknown'} instead of {name}"
    return None if seen.class_suffices or profile is None else "only the Class came back, and its NAS needs a rate"
