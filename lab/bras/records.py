"""What the BRAS writes into its requests: attributes that name a session, and the accounting records (RFC 2866)."""

from __future__ import annotations

from datetime import datetime

from lab.bras import codec
from lab.bras.dynauth import Identity
from lab.bras.session import Line, Session

START, STOP, INTERIM_UPDATE, ACCOUNTING_ON = 1, 2, 3, 7
"""Acct-Status-Type (RFC 2866 §5.1)."""

_ETHERNET, _FRAMED, _PPP, _RADIUS = 15, 2, 1, 1


def session_attributes(nas: Identity, line: Line, session: Session) -> codec.Attributes:
    """What Access- and Accounting-Requests of one session have in common."""
    return [
        (codec.USER_NAME, codec.text(line.username)),
        *_nas_attributes(nas),
        (codec.NAS_PORT, codec.number(line.port)),
        (codec.NAS_PORT_TYPE, codec.number(_ETHERNET)),
        (codec.NAS_PORT_ID, codec.text(line.port_id)),
        (codec.SERVICE_TYPE, codec.number(_FRAMED)),
        (codec.FRAMED_PROTOCOL, codec.number(_PPP)),
        (codec.CALLING_STATION_ID, codec.text(line.mac)),
        (codec.CALLED_STATION_ID, codec.text(nas.called_station)),
        (codec.ACCT_SESSION_ID, codec.text(session.acct_session_id)),
    ]


def session_record(
    nas: Identity, line: Line, session: Session, status: int, at: datetime, *, reports_rate: bool = False
) -> codec.Attributes:
    """A Start, Interim-Update or Stop as of `at`, with the session's present totals and Class.

    `reports_rate` adds the rates that are applied. RouterOS documents no such thing for its accounting;
    other boxes do it.
    """
    record = [
        (codec.ACCT_STATUS_TYPE, codec.number(status)),
        *session_attributes(nas, line, session),
        (codec.FRAMED_IP_ADDRESS, codec.address(session.framed_ip)),
        (codec.ACCT_AUTHENTIC, codec.number(_RADIUS)),
        *((codec.CLASS, value) for value in session.classes),
    ]
    if reports_rate:
        rate = f"{session.upstream_bps}/{session.downstream_bps}".encode()
        record.append((codec.VENDOR_SPECIFIC, codec.vendor(codec.MIKROTIK, codec.MIKROTIK_RATE_LIMIT, rate)))
    if status != START:
        record += _totals(session, at)
    if status == STOP:
        record.append((codec.ACCT_TERMINATE_CAUSE, codec.number(session.terminate_cause)))
    return [*record, _stamp(at)]


def boot_record(nas: Identity, at: datetime) -> codec.Attributes:
    """Accounting-On: no session from before this instant lives any more."""
    return [
        (codec.ACCT_STATUS_TYPE, codec.number(ACCOUNTING_ON)),
        *_nas_attributes(nas),
        (codec.ACCT_SESSION_ID, codec.text("boot")),
        _stamp(at),
    ]


def _nas_attributes(nas: Identity) -> codec.Attributes:
    return [
        (codec.NAS_IP_ADDRESS, codec.address(nas.address)),
        (codec.NAS_IDENTIFIER, codec.text(nas.identifier)),
    ]


def _stamp(at: datetime) -> tuple[int, bytes]:
    return codec.EVENT_TIMESTAMP, codec.number(int(at.timestamp()))


def _totals(session: Session, at: datetime) -> codec.Attributes:
    """Running totals. Input is what came from the subscriber's port (RFC 2866 §5.3): upstream."""
    upstream, upstream_wraps = codec.octets_and_gigawords(session.upstream_octets)
    downstream, downstream_wraps = codec.octets_and_gigawords(session.downstream_octets)
    return [
        (codec.ACCT_SESSION_TIME, codec.number(int((at - session.started_at).total_seconds()))),
        (codec.ACCT_INPUT_OCTETS, upstream),
        (codec.ACCT_INPUT_GIGAWORDS, upstream_wraps),
        (codec.ACCT_OUTPUT_OCTETS, downstream),
        (codec.ACCT_OUTPUT_GIGAWORDS, downstream_wraps),
    ]
