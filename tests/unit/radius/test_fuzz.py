"""100,000 broken packets: none raises anything but PeerError inside, and none is answered.

A broken packet is a true one cut short or with bits flipped. Access-Requests are signed and their NAS must sign: a flip
in an unsigned User-Password is only a wrong password, which deserves its reject.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime

from controller.domain.errors import PeerError
from radius.protocol.authenticator import SharedSecret, chap_response
from radius.protocol.codes import ACCOUNTING_REQUEST, STATUS_SERVER
from radius.protocol.dynauth import DynamicRequest
from radius.protocol.packet import Packet, attribute, encode_attributes, vendor_attribute
from tests.support.radius import SECRET, SOURCE, accounting_server, authentication_server, nas, subscriber

ROUNDS = 110_000


def _genuine(rng: random.Random) -> bytes:
    secret, authenticator = SharedSecret(SECRET), rng.randbytes(16)
    body = encode_attributes(
        [(1, b"anna"), (4, b"\x0a\xff\0\1"), (32, b"bras-01.pop1"), (61, b"\0\0\0\x0f"), (33, b"p")]
    )
    kind = rng.randrange(4)
    if kind == 0:
        return secret.access_request(1, authenticator, body + attribute(2, secret.hide(b"hunter2", authenticator)))
    if kind == 1:
        chap = b"\5" + chap_response(5, b"hunter2", authenticator)
        return secret.access_request(2, authenticator, body + attribute(3, chap))
    if kind == 2:
        return secret.signed_request(STATUS_SERVER, 3, authenticator, body)
    record = body + encode_attributes([(44, b"8000001"), (40, b"\0\0\0\2"), (42, rng.randbytes(4)), (52, b"\0\0\0\1")])
    return secret.request(ACCOUNTING_REQUEST, 4, record + vendor_attribute(14988, 8, b"20M/100M"), signed=False)


def _broken(genuine: bytes, rng: random.Random) -> bytes:
    """Cut short or with one to eight bits flipped, and never what it was."""
    while True:
        if rng.random() < 0.3:
            return genuine[: rng.randrange(len(genuine))]
        changed = bytearray(genuine)
        for _ in range(rng.randint(1, 8)):
            bit = rng.randrange(len(changed) * 8)
            changed[bit // 8] ^= 1 << bit % 8
        if changed != genuine:
            return bytes(changed)


def test_no_broken_packet_is_answered_or_raises() -> None:
    rng = random.Random(2865)
    known = nas(require_message_authenticator=True)
    authentication, accounting = authentication_server(known, subscriber()), accounting_server(known)
    genuine = [_genuine(rng) for _ in range(200)]
    assert sum(authentication.receive(g, SOURCE, 0.0).reply is not None for g in genuine) > 100, (
        "unbroken they are served"
    )
    reasons: set[str] = set()
    for round_number in range(ROUNDS):
        datagram = _broken(genuine[round_number % len(genuine)], rng)
        for server in (authentication, accounting):
            verdict = server.receive(datagram, SOURCE, 0.0)
            assert verdict.reply is None, datagram.hex()
            assert verdict.result != "record", datagram.hex()
            reasons.add(verdict.result)
    assert {"short", "length", "attribute-length", "authenticator", "message-authenticator", "code"} <= reasons


def test_no_broken_answer_passes_for_a_nas_s_word() -> None:
    rng = random.Random(5176)
    secret = SharedSecret(SECRET)
    request = DynamicRequest.encode(
        43, 77, attribute(44, b"8000001"), secret, sent_at=datetime(2026, 11, 22, tzinfo=UTC), signed=True
    )
    answer = secret.response(45, Packet.decode(request.datagram), attribute(101, b"\0\0\1\xf7"), signed=True)
    assert request.read(answer).words == "Session Context Not Found"
    for _ in range(20_000):
        try:
            request.read(_broken(answer, rng))
        except PeerError:
            continue
        raise AssertionError("a broken answer was believed")
