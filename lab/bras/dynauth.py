"""The BRAS as dynamic authorization server (RFC 5176): what it answers to CoA and Disconnect, without a socket.

Requests with a wrong authenticator or a stale Event-Timestamp are dropped in silence (§2.3, §6.3). A session is found
only when Acct-Session-Id and every other identification attribute agree (§3); a repeated request gets the answer
it got before (RFC 5080 §2.2.2). `Faults` makes it misbehave the way real equipment was seen to.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address

from lab.bras import codec
from lab.bras.session import LINE_RATE_BPS, Line, Session, parse_rate_limit

UNSUPPORTED_ATTRIBUTE, MISSING_ATTRIBUTE, NAS_MISMATCH, INVALID_REQUEST = 401, 402, 403, 404
UNSUPPORTED_SERVICE, INVALID_VALUE, SESSION_NOT_FOUND = 405, 407, 503

_ANSWERS = {
    codec.COA_REQUEST: (codec.COA_ACK, codec.COA_NAK),
    codec.DISCONNECT_REQUEST: (codec.DISCONNECT_ACK, codec.DISCONNECT_NAK),
}
_IDENTIFICATION = {
    codec.USER_NAME, codec.NAS_PORT, codec.FRAMED_IP_ADDRESS, codec.CALLED_STATION_ID, codec.CALLING_STATION_ID,
    codec.ACCT_SESSION_ID, codec.NAS_PORT_ID,
}  # fmt: skip
_NAS_IDENTIFICATION = {codec.NAS_IP_ADDRESS, codec.NAS_IDENTIFIER}
_CHANGES = {codec.VENDOR_SPECIFIC, codec.CLASS, codec.SESSION_TIMEOUT, codec.ACCT_INTERIM_INTERVAL}
_CARRIED = {codec.MESSAGE_AUTHENTICATOR, codec.EVENT_TIMESTAMP, codec.PROXY_STATE, codec.STATE, codec.SERVICE_TYPE}

WINDOW = timedelta(seconds=300)
ANSWER_KEPT = timedelta(seconds=30)


@dataclass(slots=True)
class Faults:
    """How this BRAS misbehaves; all seen on real equipment."""

    nak_after_half: bool = False
    """Apply the downstream rate, leave upstream unshaped, answer CoA-NAK without Error-Cause."""
    ignore: bool = False
    """Answer nothing at all."""
    class_after_half: bool = False
    """Apply the downstream rate alone, take the new Class all the same, and answer CoA-ACK."""
    ack_without_applying: bool = False
    """Answer CoA-ACK and change nothing."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What the NAS calls itself and its port."""

    address: str
    identifier: str
    called_station: str


class DynamicAuthorization:
    """Decides about requests. `sessions` maps Acct-Session-Id to the live session, `lines` usernames to lines."""

    def __init__(
        self,
        identity: Identity,
        secret: bytes,
        sessions: dict[str, Session],
        lines: dict[str, Line],
        *,
        count_traffic: Callable[[Session, datetime], None],
        disconnect: Callable[[Session], None],
    ) -> None:
        self._identity = identity
        self._secret = secret
        self._sessions = sessions
        self._lines = lines
        self._count_traffic = count_traffic
        self._disconnect = disconnect
        self._answered: dict[tuple[tuple[str, int], int, bytes], tuple[datetime, bytes]] = {}
        self.faults = Faults()
        self.dropped = 0

    def handle(self, datagram: bytes, source: tuple[str, int], now: datetime) -> bytes | None:
        """The answer to send back to `source`; None where RFC 5176 wants silence."""
        try:
            packet = codec.decode(datagram)
            if packet.code not in _ANSWERS:
                raise codec.BadPacket(f"code {packet.code} is not for this port")
            codec.verify_signed_request(packet, self._secret)
            sent_at = packet.number(codec.EVENT_TIMESTAMP)
            if sent_at is not None and abs(now.timestamp() - sent_at) > WINDOW.total_seconds():
                raise codec.BadPacket("stale Event-Timestamp")
        except codec.BadPacket:
            self.dropped += 1
            return None
        if self.faults.ignore:
            return None
        key = (source, packet.identifier, packet.authenticator)
        self._answered = {k: v for k, v in self._answered.items() if now - v[0] < ANSWER_KEPT}
        if key in self._answered:
            return self._answered[key][1]
        answer = self._answer(packet, now)
        self._answered[key] = (now, answer)
        return answer

    def _answer(self, packet: codec.Packet, now: datetime) -> bytes:
        ack, nak = _ANSWERS[packet.code]
        refusal = self._refusal(packet)
        if refusal is not None:
            return codec.reply(packet, nak, [(codec.ERROR_CAUSE, codec.number(refusal))], self._secret)
        session = self._sessions[_text(packet.first(codec.ACCT_SESSION_ID))]
        if packet.code == codec.DISCONNECT_REQUEST:
            self._disconnect(session)
            return codec.reply(packet, ack, [], self._secret)
        # What was moved so far was moved at the old rate.
        self._count_traffic(session, now)
        if self.faults.nak_after_half:
            rate = packet.vendor(codec.MIKROTIK, codec.MIKROTIK_RATE_LIMIT)
            if rate is not None:
                session.downstream_bps, session.upstream_bps = parse_rate_limit(rate)[1], LINE_RATE_BPS
            return codec.reply(packet, nak, [], self._secret)
        if self.faults.class_after_half:
            upstream_bps = session.upstream_bps
            _apply(packet, session)
            session.upstream_bps = upstream_bps
            return codec.reply(packet, ack, [], self._secret)
        if not self.faults.ack_without_applying:
            _apply(packet, session)
        return codec.reply(packet, ack, [], self._secret)

    def _refusal(self, packet: codec.Packet) -> int | None:
        """The Error-Cause (RFC 5176 §3.5) that keeps this request from being done; None when nothing does."""
        kinds = {kind for kind, _ in packet.attributes}
        allowed = _IDENTIFICATION | _NAS_IDENTIFICATION | _CARRIED
        if packet.code == codec.COA_REQUEST:
            allowed |= _CHANGES
        if kinds - allowed:
            return UNSUPPORTED_ATTRIBUTE
        if packet.first(codec.SERVICE_TYPE) is not None:
            return UNSUPPORTED_SERVICE
        if not self._means_this_nas(packet):
            return NAS_MISMATCH
        if codec.ACCT_SESSION_ID not in kinds:
            return MISSING_ATTRIBUTE
        session = self._sessions.get(_text(packet.first(codec.ACCT_SESSION_ID)))
        if session is None or not self._matches(packet, session):
            return SESSION_NOT_FOUND
        return _bad_change(packet) if packet.code == codec.COA_REQUEST else None

    def _means_this_nas(self, packet: codec.Packet) -> bool:
        address = IPv4Address(self._identity.address).packed
        return all(value == address for value in packet.all(codec.NAS_IP_ADDRESS)) and all(
            value == self._identity.identifier.encode() for value in packet.all(codec.NAS_IDENTIFIER)
        )

    def _matches(self, packet: codec.Packet, session: Session) -> bool:
        line = self._lines[session.username]
        is_so = {
            codec.USER_NAME: session.username.encode(),
            codec.NAS_PORT: codec.number(line.port),
            codec.NAS_PORT_ID: line.port_id.encode(),
            codec.FRAMED_IP_ADDRESS: codec.address(session.framed_ip),
            codec.CALLED_STATION_ID: self._identity.called_station.encode(),
            codec.CALLING_STATION_ID: line.mac.encode(),
            codec.ACCT_SESSION_ID: session.acct_session_id.encode(),
        }
        return all(is_so[kind] == value for kind, value in packet.attributes if kind in _IDENTIFICATION)


def _bad_change(packet: codec.Packet) -> int | None:
    rate = packet.vendor(codec.MIKROTIK, codec.MIKROTIK_RATE_LIMIT)
    limit = packet.vendor(codec.MIKROTIK, codec.MIKROTIK_TOTAL_LIMIT)
    if packet.first(codec.VENDOR_SPECIFIC) is not None and rate is None and limit is None:
        return UNSUPPORTED_ATTRIBUTE
    if not any(kind in _CHANGES for kind, _ in packet.attributes):
        return MISSING_ATTRIBUTE
    try:
        if rate is not None:
            parse_rate_limit(rate)
    except ValueError:
        return INVALID_VALUE
    return None


def _apply(packet: codec.Packet, session: Session) -> None:
    rate = packet.vendor(codec.MIKROTIK, codec.MIKROTIK_RATE_LIMIT)
    if rate is not None:
        session.upstream_bps, session.downstream_bps = parse_rate_limit(rate)
    if packet.first(codec.CLASS) is not None:
        session.classes = packet.all(codec.CLASS)
    for kind, name in ((codec.SESSION_TIMEOUT, "timeout_s"), (codec.ACCT_INTERIM_INTERVAL, "interim_s")):
        value = packet.first(kind)
        if value is not None and len(value) == 4:
            setattr(session, name, struct.unpack("!I", value)[0])


def _text(value: bytes | None) -> str:
    return (value or b"").decode("latin-1")
