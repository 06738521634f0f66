"""Which life of an Acct-Session-Id a record belongs to. Pure: no clock, no table.

An Acct-Session-Id is not unique: a NAS that restarted hands out the same ids again, some hand out one id for ever. So
a session is NAS + Acct-Session-Id + *life*, and a record finds its life by when its session must have begun
(event − Acct-Session-Time). Records may come twice, late and in any order:

    life 1  |start ······ interim ······ stop|        late interim → raises life 1, opens nothing
    life 2                                      |start ··· interim ···
"""

from __future__ import annotations

from collections.abc import Sequence

from radius.accounting.record import AccountingRecord
from radius.accounting.session import LIVE, VOID, Session
from radius.protocol.codes import Attr

EXACT_SLACK_US = 5_000_000
"""How far two records of one session may disagree about its beginning: clocks count whole seconds, and some boxes send
Start a moment after they begin to count."""
ARRIVAL_SLACK_US = 10_000_000
"""The same where the event was derived from the arrival: network, queues and retransmissions come in between."""
REPEATED_SLACK_US = 60_000_000
"""The same where nothing but the arrival dates a record: many a NAS sends the very same octets again for so long, with
neither an Event-Timestamp nor another Acct-Delay-Time."""
RESTART_TIME_S = 60
"""An Acct-Session-Time that fell back below this, with lower counters, is a new session and no old packet."""


def place(lives: Sequence[Session], record: AccountingRecord) -> Session | None:
    """The life that `record` belongs to, of all that are known of its Acct-Session-Id; None for a new one.

    `lives` are in order of their beginning.
    """
    slack_us = EXACT_SLACK_US if record.exact else ARRIVAL_SLACK_US
    if lives and _goes_on(lives[-1], record, slack_us):
        return lives[-1]
    candidate = None
    for life in reversed(lives):
        if life.state != VOID and life.started_us <= record.event_us + slack_us:
            candidate = life
            break
    if candidate is None:
        oldest = next((life for life in lives if life.state != VOID), None)
        # Older than everything known: of an earlier life, unless nothing told yet when that one began.
        return None if oldest is None or oldest.start_seen or oldest.session_time_s is not None else oldest
    begun_us = record.begun_us
    if begun_us is not None and begun_us < candidate.started_us - slack_us:
        earlier = _earlier_life(lives, candidate, record, begun_us)
        if earlier is not None:
            return earlier
    return None if _begins_anew(candidate, record, slack_us) else candidate


def _goes_on(newest: Session, record: AccountingRecord, slack_us: int) -> bool:
    """Nearly every record: of the newest life, which is live, and begun when that was. The rules below say the same."""
    seconds, begun_us = record.session_time_s, record.begun_us
    return (
        seconds is not None
        and begun_us is not None
        and newest.state == LIVE
        and record.kind != "start"
        and seconds >= (newest.session_time_s or 0)
        and newest.started_us - slack_us <= begun_us <= newest.last_event_us
        and newest.started_us <= record.event_us + slack_us
    )


def _earlier_life(
    lives: Sequence[Session], candidate: Session, record: AccountingRecord, begun_us: int
) -> Session | None:
    """The life before `candidate` that began when this record's session did."""
    for life in reversed(lives):
        if life is candidate or life.state == VOID or abs(life.started_us - begun_us) > EXACT_SLACK_US:
            continue
        if not life.is_over or record.event_us <= (life.ended_us or 0) + EXACT_SLACK_US:
            return life
    return None


def _begins_anew(session: Session, record: AccountingRecord, slack_us: int) -> bool:
    """Whether `record` tells of a session that began after all that is known of `session`."""
    begun_us = record.begun_us
    known_until_us = _known_until(session)
    if record.kind == "start" and record.session_time_s is None:
        return _starts_anew(session, record, known_until_us, slack_us)
    if begun_us is not None and begun_us > known_until_us and begun_us > session.started_us + slack_us:
        return not _may_have_waited(session, record, begun_us)
    return not session.is_over and _fell_back(session, record)


def _may_have_waited(session: Session, record: AccountingRecord, begun_us: int) -> bool:
    """Whether `record` continues `session` and only seems to begin later, because it was sent again unchanged."""
    if record.exact or record.delay_s or session.is_over or begun_us > session.started_us + REPEATED_SLACK_US:
        return False
    said = (record.session_time_s, record.upstream_octets, record.downstream_octets)
    known = (session.session_time_s or 0, session.upstream_octets, session.downstream_octets)
    return all(value is None or value >= least for value, least in zip(said, known, strict=True))


def _known_until(session: Session) -> int:
    return (session.ended_us or 0) if session.is_over else session.last_event_us


def _starts_anew(session: Session, record: AccountingRecord, known_until_us: int, slack_us: int) -> bool:
    event_us = record.event_us
    if record.exact and session.start_seen and event_us == session.started_us:
        return False  # the same Start again: whatever else changed, the moment is the same
    if event_us < known_until_us:
        return False
    if session.start_seen and not record.delay_s and not (session.is_only_started and session.state == LIVE):
        # Newer than everything known, and not waiting at the NAS (an old Start that is sent again has a delay).
        return True
    return event_us > max(known_until_us, session.started_us + slack_us)


def _fell_back(session: Session, record: AccountingRecord) -> bool:
    """Acct-Session-Time is back near zero and a counter is lower, in a newer record: Stop and Start were lost."""
    seconds = record.session_time_s
    if seconds is None or seconds > RESTART_TIME_S or record.event_us < session.last_event_us:
        return False
    if 2 * seconds >= (session.session_time_s or 0):
        return False
    up, down = record.upstream_octets, record.downstream_octets
    return (up is not None and up < session.upstream_octets) or (down is not None and down < session.downstream_octets)


def begin(record: AccountingRecord, lives: Sequence[Session], session_key: str, service_id: str | None) -> Session:
    """A new life beside `lives`; `observe` must be given the same record next.

    Without a Start it began by its own session time, though not before the life that it follows was over.
    """
    began_us = record.event_us if record.begun_us is None else record.begun_us
    for life in lives:
        if life.state != VOID and life.started_us <= record.event_us:
            began_us = max(began_us, min(record.event_us, _known_until(life)))
    # By position: naming 28 arguments would cost a Start another microsecond.
    return Session(
        session_key,
        0,  # revision
        record.event_us,
        record.received_us,
        None,  # session_time_s
        0,  # upstream_octets
        0,  # downstream_octets
        None,  # evidence_us
        b"",  # recent
        LIVE,
        began_us,
        False,  # start_seen
        None,  # ended_us
        None,  # end_cause
        False,  # provisional
        False,  # final_unknown
        False,  # counter_fell
        None,  # framed_ipv4
        None,  # last_class
        None,  # last_rate
        None,  # counter_state
        service_id,
        record.nas_id,
        record.acct_session_id,
        max([life.life for life in lives]) + 1 if lives else 1,
        record.username,
        record.nas.interim_interval_s,
        record.text(Attr.CALLING_STATION_ID),
        record.text(Attr.NAS_PORT_ID),
    )


def repeats_older(lives: Sequence[Session], session: Session, record: AccountingRecord) -> list[Session]:
    """Lives after `session` that were opened by a Start alone, although `session` went on through it: to be void."""
    return [
        life
        for life in lives
        if life is not session
        and life.state == LIVE
        and life.started_us > session.started_us
        and life.is_only_started
        and record.event_us >= life.started_us
    ]
