"""Accounting packets for tests, as a NAS would send them."""

from __future__ import annotations

from hashlib import md5

from controller.domain.identity import NasId
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import ACCOUNTING_REQUEST, Attr
from radius.protocol.nas import Nas
from radius.protocol.packet import Packet, attribute, encode, integer_attribute

STATUS = {"start": 1, "stop": 2, "interim": 3, "on": 7, "off": 8}
NAS = Nas(NasId("a" * 32), "bras", "127.0.0.2", SharedSecret(b"secret"), vendor="mikrotik")
OTHER_NAS = Nas(NasId("b" * 32), "bras-2", "127.0.0.3", SharedSecret(b"secret"))


def accounting(
    kind: str,
    session: bytes | None = b"0001",
    *,
    at: int | None = None,
    seconds: int | None = None,
    up: int | None = None,
    down: int | None = None,
    delay: int | None = None,
    user: bytes = b"anna",
    identifier: int = 0,
    more: bytes = b"",
) -> Packet:
    """`at` is Event-Timestamp, `seconds` Acct-Session-Time; `up` and `down` octets as the subscriber sees them."""
    body = integer_attribute(Attr.ACCT_STATUS_TYPE, STATUS[kind]) + attribute(Attr.USER_NAME, user)
    if session is not None:
        body += attribute(Attr.ACCT_SESSION_ID, session)
    for number, value in (
        (Attr.EVENT_TIMESTAMP, at),
        (Attr.ACCT_SESSION_TIME, seconds),
        (Attr.ACCT_DELAY_TIME, delay),
    ):
        if value is not None:
            body += integer_attribute(number, value)
    for low, high, octets in (
        (Attr.ACCT_INPUT_OCTETS, Attr.ACCT_INPUT_GIGAWORDS, up),
        (Attr.ACCT_OUTPUT_OCTETS, Attr.ACCT_OUTPUT_GIGAWORDS, down),
    ):
        if octets is not None:
            body += integer_attribute(low, octets & 0xFFFFFFFF)
            if octets >> 32:
                body += integer_attribute(high, octets >> 32)
    body += more
    authenticator = md5(encode(ACCOUNTING_REQUEST, identifier, bytes(16), body) + b"secret").digest()
    return Packet.decode(encode(ACCOUNTING_REQUEST, identifier, authenticator, body))
