"""RADIUS packets as the emulated BRAS needs them (RFC 2865, 2866, 2869, 5176): encode, decode, sign, verify.

Attributes are (type, octets) pairs in the order of the wire; meaning is given to them elsewhere. Decoding refuses
what is not a well-formed packet with `BadPacket` and never guesses. No socket, no clock.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address

ACCESS_REQUEST, ACCESS_ACCEPT, ACCESS_REJECT = 1, 2, 3
ACCOUNTING_REQUEST, ACCOUNTING_RESPONSE = 4, 5
DISCONNECT_REQUEST, DISCONNECT_ACK, DISCONNECT_NAK = 40, 41, 42
COA_REQUEST, COA_ACK, COA_NAK = 43, 44, 45

USER_NAME, USER_PASSWORD, CHAP_PASSWORD, NAS_IP_ADDRESS, NAS_PORT = 1, 2, 3, 4, 5
SERVICE_TYPE, FRAMED_PROTOCOL, FRAMED_IP_ADDRESS, REPLY_MESSAGE, STATE, CLASS = 6, 7, 8, 18, 24, 25
VENDOR_SPECIFIC, SESSION_TIMEOUT, CALLED_STATION_ID, CALLING_STATION_ID, NAS_IDENTIFIER = 26, 27, 30, 31, 32
PROXY_STATE, ACCT_STATUS_TYPE, ACCT_DELAY_TIME, ACCT_INPUT_OCTETS, ACCT_OUTPUT_OCTETS = 33, 40, 41, 42, 43
ACCT_SESSION_ID, ACCT_AUTHENTIC, ACCT_SESSION_TIME = 44, 45, 46
ACCT_TERMINATE_CAUSE, ACCT_INPUT_GIGAWORDS, ACCT_OUTPUT_GIGAWORDS = 49, 52, 53
EVENT_TIMESTAMP, CHAP_CHALLENGE, NAS_PORT_TYPE, MESSAGE_AUTHENTICATOR = 55, 60, 61, 80
ACCT_INTERIM_INTERVAL, NAS_PORT_ID, ERROR_CAUSE = 85, 87, 101

MIKROTIK = 14988
MIKROTIK_RATE_LIMIT = 8
MIKROTIK_TOTAL_LIMIT = 17

Attributes = list[tuple[int, bytes]]
ZERO16 = bytes(16)


class BadPacket(Exception):
    """Not a RADIUS packet, or not one made with our secret. The message says which."""


@dataclass(frozen=True, slots=True)
class Packet:
    code: int
    identifier: int
    authenticator: bytes
    attributes: tuple[tuple[int, bytes], ...]
    raw: bytes

    def first(self, kind: int) -> bytes | None:
        return next((value for k, value in self.attributes if k == kind), None)

    def all(self, kind: int) -> list[bytes]:
        return [value for k, value in self.attributes if k == kind]

    def number(self, kind: int) -> int | None:
        """The first attribute of `kind` as a 32-bit integer; None when it is absent or not four octets."""
        value = self.first(kind)
        return int.from_bytes(value, "big") if value is not None and len(value) == 4 else None

    def vendor(self, vendor_id: int, kind: int) -> bytes | None:
        """The first sub-attribute of a Vendor-Specific attribute (RFC 2865 §5.26)."""
        for value in self.all(VENDOR_SPECIFIC):
            if len(value) >= 6 and int.from_bytes(value[:4], "big") == vendor_id:
                at = 4
                while at + 2 <= len(value) and value[at + 1] >= 2:
                    if value[at] == kind:
                        return value[at + 2 : at + value[at + 1]]
                    at += value[at + 1]
        return None


def text(value: str) -> bytes:
    return value.encode()


def number(value: int) -> bytes:
    return struct.pack("!I", value & 0xFFFFFFFF)


def vendor(vendor_id: int, kind: int, value: bytes) -> bytes:
    """The value of a Vendor-Specific attribute with one sub-attribute (RFC 2865 §5.26)."""
    return struct.pack("!IBB", vendor_id, kind, len(value) + 2) + value


def address(value: str) -> bytes:
    return IPv4Address(value).packed


def octets_and_gigawords(total: int) -> tuple[bytes, bytes]:
    """A running total as the 32-bit counter and its wraps (RFC 2869 §5.1)."""
    return number(total & 0xFFFFFFFF), number(total >> 32)


def _body(attributes: Iterable[tuple[int, bytes]]) -> bytes:
    return b"".join(bytes((kind, len(value) + 2)) + value for kind, value in attributes)


def hide_password(password: bytes, secret: bytes, authenticator: bytes) -> bytes:
    """User-Password as RFC 2865 §5.2 hides it."""
    padded = password + bytes(-len(password) % 16) if password else ZERO16
    hidden, previous = b"", authenticator
    for at in range(0, len(padded), 16):
        mask = hashlib.md5(secret + previous).digest()
        previous = bytes(a ^ b for a, b in zip(padded[at : at + 16], mask, strict=True))
        hidden += previous
    return hidden


def chap_password(ident: int, password: bytes, challenge: bytes) -> bytes:
    """CHAP-Password: the identifier and MD5(identifier, password, challenge) (RFC 2865 §5.3, RFC 1994 §4.1)."""
    return bytes((ident,)) + hashlib.md5(bytes((ident,)) + password + challenge).digest()


def access_request(identifier: int, attributes: Attributes, secret: bytes, password: bytes, *, chap: bool) -> bytes:
    """An Access-Request with the password by PAP or CHAP, Message-Authenticator first (RFC 2869 §5.14)."""
    authenticator = secrets.token_bytes(16)
    if chap:
        challenge = secrets.token_bytes(16)
        ident = secrets.randbelow(256)
        proof = [(CHAP_PASSWORD, chap_password(ident, password, challenge)), (CHAP_CHALLENGE, challenge)]
    else:
        proof = [(USER_PASSWORD, hide_password(password, secret, authenticator))]
    body = _body([(MESSAGE_AUTHENTICATOR, ZERO16), *attributes, *proof])
    packet = struct.pack("!BBH", ACCESS_REQUEST, identifier, 20 + len(body)) + authenticator + body
    signature = hmac.digest(secret, packet, "md5")
    return packet[:22] + signature + packet[38:]


def accounting_request(identifier: int, attributes: Attributes, secret: bytes) -> bytes:
    """An Accounting-Request; its authenticator signs it (RFC 2866 §3)."""
    return _signed_request(ACCOUNTING_REQUEST, identifier, attributes, secret)


def _signed_request(code: int, identifier: int, attributes: Attributes, secret: bytes) -> bytes:
    body = _body(attributes)
    head = struct.pack("!BBH", code, identifier, 20 + len(body))
    return head + hashlib.md5(head + ZERO16 + body + secret).digest() + body


def decode(datagram: bytes) -> Packet:
    """Raises BadPacket when lengths do not fit together (RFC 2865 §3)."""
    if len(datagram) < 20:
        raise BadPacket("shorter than a RADIUS header")
    code, identifier, length = struct.unpack_from("!BBH", datagram)
    if not 20 <= length <= min(len(datagram), 4096):
        raise BadPacket("length field does not fit the datagram")
    attributes: Attributes = []
    at = 20
    while at < length:
        if at + 2 > length or not 2 <= datagram[at + 1] <= length - at:
            raise BadPacket("attribute length does not fit the packet")
        attributes.append((datagram[at], datagram[at + 2 : at + datagram[at + 1]]))
        at += datagram[at + 1]
    return Packet(code, identifier, datagram[4:20], tuple(attributes), datagram[:length])


def verify_reply(packet: Packet, request_authenticator: bytes, secret: bytes) -> None:
    """Check a reply's Response Authenticator and its Message-Authenticator. Raises BadPacket.

    A reply to an Access-Request must carry a Message-Authenticator: without one a man in the middle can turn a
    reject into an accept (CVE-2024-3596).
    """
    raw = packet.raw
    if hashlib.md5(raw[:4] + request_authenticator + raw[20:] + secret).digest() != packet.authenticator:
        raise BadPacket("wrong response authenticator: do both sides hold the same secret?")
    if not _message_authenticator_ok(raw, request_authenticator, secret):
        raise BadPacket("wrong Message-Authenticator")
    if packet.code in (ACCESS_ACCEPT, ACCESS_REJECT) and packet.first(MESSAGE_AUTHENTICATOR) is None:
        raise BadPacket("reply to Access-Request without Message-Authenticator")


def verify_signed_request(packet: Packet, secret: bytes) -> None:
    """Check the authenticator of a CoA-, Disconnect- or Accounting-Request. Raises BadPacket."""
    raw = packet.raw
    if hashlib.md5(raw[:4] + ZERO16 + raw[20:] + secret).digest() != packet.authenticator:
        raise BadPacket("wrong request authenticator")
    if not _message_authenticator_ok(raw, ZERO16, secret):
        raise BadPacket("wrong Message-Authenticator")


def _message_authenticator_ok(raw: bytes, authenticator: bytes, secret: bytes) -> bool:
    """Whether a Message-Authenticator, where there is one, is right (RFC 2869 §5.14, RFC 5176 §2.3)."""
    at = 20
    while at < len(raw):
        if raw[at] == MESSAGE_AUTHENTICATOR:
            if raw[at + 1] != 18:
                return False
            blank = raw[:4] + authenticator + raw[20 : at + 2] + ZERO16 + raw[at + 18 :]
            return hmac.compare_digest(hmac.digest(secret, blank, "md5"), raw[at + 2 : at + 18])
        at += raw[at + 1]
    return True


def reply(request: Packet, code: int, attributes: Attributes, secret: bytes) -> bytes:
    """A reply to `request`, with Message-Authenticator first and Proxy-State returned (RFC 2865 §5.33)."""
    kept = [(PROXY_STATE, value) for value in request.all(PROXY_STATE)]
    body = _body([(MESSAGE_AUTHENTICATOR, ZERO16), *attributes, *kept])
    head = struct.pack("!BBH", code, request.identifier, 20 + len(body))
    # RFC 5176 §2.3: the Message-Authenticator of a reply is taken over the Request Authenticator.
    mac = hmac.digest(secret, head + request.authenticator + body, "md5")
    body = body[:2] + mac + body[18:]
    return head + hashlib.md5(head + request.authenticator + body + secret).digest() + body
