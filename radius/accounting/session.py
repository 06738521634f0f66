"""A session as its accounting records tell it, and what each of them adds. Pure: no clock, no table.

Which life of an Acct-Session-Id a record belongs to says `radius.accounting.lives`. Totals never fall. A Stop ends a
session; silence or a restarted NAS ends it provisionally, and later evidence opens it again.
"""

from __future__ import annotations

from operator import attrgetter

from radius.accounting import metering
from radius.accounting.metering import UNQUESTIONED_OCTETS, WRAPPED, Fastest, Observed, Speeds, port_speed
from radius.accounting.record import AccountingRecord
from radius.accounting.tenure import Stretch

LIVE = "live"
ENDED = "ended"
VOID = "void"
"""A life that was opened by a Start which turned out to repeat an older one: some NAS start all sessions again after
they lost their server. It never carried anything and is shown to nobody."""

STALE = "stale"
NAS_RESTART = "nas-restart"
"""Causes of provisional ends, beside Acct-Terminate-Cause's names."""

_RECENT_DIGESTS = 8
_DIGEST_OCTETS = 8

MOVING = (
    "session_key",
    "revision",
    "last_event_us",
    "last_seen_us",
    "session_time_s",
    "upstream_octets",
    "downstream_octets",
    "evidence_us",
    "recent",
)
"""What every Interim changes, behind the key."""

CHANGING = (
    *MOVING,
    "state",
    "started_us",
    "start_seen",
    "ended_us",
    "end_cause",
    "provisional",
    "final_unknown",
    "counter_fell",
    "framed_ipv4",
    "last_class",
    "last_rate",
    "counter_state",
)
"""What Start, Stop and a few other records change besides."""

COLUMNS = (
    *CHANGING,
    "service_id",
    "nas_id",
    "acct_session_id",
    "life",
    "username",
    "interim_s",
    "calling_station_id",
    "nas_port_id",
)
"""All of a session, in the order of Session's constructor."""


class Session:
    """One life of one Acct-Session-Id, as far as records told. Instants are UTC microseconds.

    `last_event_us` is the newest event, `last_seen_us` the newest arrival. `start_seen`: a Start was seen, so
    `started_us` is certain; before that it is derived. `provisional`: ended without a Stop. `final_unknown`: its Stop
    carried no octets. `counter_fell`: a counter went backwards within the life (a NAS without gigawords wraps at 2^32);
    `counter_state` then says how the counters are read from there on, and how much of them is held.
    `last_class` and `last_rate` are of the newest record that carried them, `evidence_us` its arrival. `recent` holds
    prefixes of the newest packet digests, so that a retransmission is known across restarts.

    `stored` and `archived` say where its row is, `touched` whether more than MOVING must be written, `renamed` whether
    an indexed column must. `speeds` are those that were expected of it when its counters were last read closely.
    `addressing` are the octets in which it last spoke of its addresses, `addresses` the stretches of time (`tenure`) of
    all but a framed IPv4 address that never changed.
    """

    __slots__ = (*COLUMNS, "addresses", "addressing", "archived", "renamed", "speeds", "stored", "touched")

    def __init__(
        self,
        session_key: str,
        revision: int,
        last_event_us: int,
        last_seen_us: int,
        session_time_s: int | None,
        upstream_octets: int,
        downstream_octets: int,
        evidence_us: int | None,
        recent: bytes,
        state: str,
        started_us: int,
        start_seen: bool,
        ended_us: int | None,
        end_cause: str | None,
        provisional: bool,
        final_unknown: bool,
        counter_fell: bool,
        framed_ipv4: str | None,
        last_class: bytes | None,
        last_rate: str | None,
        counter_state: str | None,
        service_id: str | None,
        nas_id: str,
        acct_session_id: bytes,
        life: int,
        username: str,
        interim_s: int,
        calling_station_id: str | None,
        nas_port_id: str | None,
    ) -> None:
        self.session_key = session_key
        self.revision = revision
        self.last_event_us = last_event_us
        self.last_seen_us = last_seen_us
        self.session_time_s = session_time_s
        self.upstream_octets = upstream_octets
        self.downstream_octets = downstream_octets
        self.evidence_us = evidence_us
        self.recent = recent
        self.state = state
        self.started_us = started_us
        self.start_seen = start_seen
        self.ended_us = ended_us
        self.end_cause = end_cause
        self.provisional = provisional
        self.final_unknown = final_unknown
        self.counter_fell = counter_fell
        self.framed_ipv4 = framed_ipv4
        self.last_class = last_class
        self.last_rate = last_rate
        self.counter_state = counter_state
        self.service_id = service_id
        self.nas_id = nas_id
        self.acct_session_id = acct_session_id
        self.life = life
        self.username = username
        self.interim_s = interim_s
        self.calling_station_id = calling_station_id
        self.nas_port_id = nas_port_id
        self.addresses: list[Stretch] = []
        self.addressing: bytes | None = None
        self.speeds: Speeds | None = None
        self.stored = False
        self.archived = False
        self.touched = True
        self.renamed = False

    @property
    def is_over(self) -> bool:
        """Ended by a Stop, not merely believed to have ended."""
        return self.state == ENDED and not self.provisional

    @property
    def is_first_heard(self) -> bool:
        """One record was seen of it."""
        return len(self.recent) == _DIGEST_OCTETS

    @property
    def has_wrapped(self) -> bool:
        """A counter of 32 bits began anew: the NAS sends no gigawords."""
        return self.counter_state is not None and self.counter_state.endswith(WRAPPED)

    @property
    def is_only_started(self) -> bool:
        """Nothing but Starts was seen of it."""
        return self.session_time_s is None and not self.upstream_octets and not self.downstream_octets


moving_values = attrgetter(*MOVING)
changing_values = attrgetter(*CHANGING)
naming_values = attrgetter("session_key", "service_id", "revision")
all_values = attrgetter(*COLUMNS)


def observe(
    session: Session, record: AccountingRecord, fastest: Fastest = port_speed, *, by_port: bool = False
) -> Observed | None:
    """Take over what `record` says about the session it belongs to; None where its counters are as they should be.

    `by_port`: whatever the port can have carried counts, so slower growth needs no close look.
    """
    newest = record.event_us >= session.last_event_us
    is_undated = not session.start_seen and session.session_time_s is None and bool(session.recent)
    session.recent = (session.recent + record.packet_sha256[:_DIGEST_OCTETS])[-_RECENT_DIGESTS * _DIGEST_OCTETS :]
    observed = _grow(session, record, newest, fastest, by_port)
    if record.kind == "start":
        _start(session, record)
    elif is_undated and record.begun_us is not None and record.begun_us < session.started_us:
        session.started_us = record.begun_us
        session.touched = True
    if record.kind == "stop":
        _stop(session, record)
    elif session.provisional and record.event_us > session.last_event_us:
        session.state, session.ended_us, session.end_cause, session.provisional = LIVE, None, None, False
        session.touched = True
    if newest:
        session.last_event_us = record.event_us
        _take_evidence(session, record)
    if record.received_us > session.last_seen_us:
        session.last_seen_us = record.received_us
    if session.framed_ipv4 is None:
        session.framed_ipv4 = record.framed_ipv4()
        session.touched |= session.framed_ipv4 is not None
    return observed


def _grow(session: Session, record: AccountingRecord, newest: bool, fastest: Fastest, by_port: bool) -> Observed | None:
    up, down, seconds = record.upstream_octets, record.downstream_octets, record.session_time_s
    known_up, known_down, observed = session.upstream_octets, session.downstream_octets, None
    unquestioned = UNQUESTIONED_OCTETS
    if by_port and seconds is not None and seconds > (session.session_time_s or 0):
        unquestioned += (seconds - (session.session_time_s or 0)) * (record.nas.port_speed_bps >> 3)
    if (
        session.counter_state is None
        and (up is None or known_up <= up <= known_up + unquestioned)
        and (down is None or known_down <= down <= known_down + unquestioned)
    ):
        record.counted = None
        if up is not None:
            session.upstream_octets = up
        if down is not None:
            session.downstream_octets = down
    elif up is not None or down is not None:
        observed = metering.read_closely(session, record, newest, fastest)
    if seconds is not None and seconds > (session.session_time_s or -1):
        session.session_time_s = seconds
    return observed


def _start(session: Session, record: AccountingRecord) -> None:
    begun_us = record.event_us if record.begun_us is None else record.begun_us
    if not session.start_seen or begun_us < session.started_us:
        session.started_us = begun_us
        session.start_seen = session.touched = True


def _stop(session: Session, record: AccountingRecord) -> None:
    """The session is over at this event. Of several Stops the earliest event counts, so their order does not."""
    session.touched = True
    silent = record.upstream_octets is None and record.downstream_octets is None
    session.final_unknown = silent and (session.final_unknown or not session.is_over)
    if not session.is_over or record.event_us < (session.ended_us or 0):
        session.ended_us = record.event_us
        session.end_cause = record.terminate_cause()
    session.state, session.provisional = ENDED, False


def _take_evidence(session: Session, record: AccountingRecord) -> None:
    """Class and rate as the newest record carries them: what speed the session now runs at."""
    rate = record.rate()
    if record.class_value is None and rate is None:
        return
    if record.class_value != session.last_class or rate != session.last_rate:
        session.last_class, session.last_rate = record.class_value, rate
        session.touched = True
    session.evidence_us = record.received_us


def end_provisionally(session: Session, cause: str) -> None:
    """Believed to have ended when it was last heard of. Later evidence opens it again."""
    session.state, session.ended_us, session.end_cause = ENDED, session.last_event_us, cause
    session.provisional = session.touched = True


def is_stale(session: Session, now_us: int, missed_interims: int) -> bool:
    """Whether a live session has been silent for so many interim intervals of its NAS."""
    silence_us = now_us - session.last_seen_us
    return session.state == LIVE and silence_us > missed_interims * session.interim_s * 1_000_000
