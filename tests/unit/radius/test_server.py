"""The server machines: who is answered, with what, and who is not."""

from __future__ import annotations

import pytest

from controller.domain.errors import RuleError
from controller.domain.identity import NasId
from controller.domain.service import SpeedProfile
from radius.protocol.authenticator import SharedSecret, chap_response
from radius.protocol.codes import ACCESS_ACCEPT, ACCESS_REJECT, ACCOUNTING_REQUEST, ACCOUNTING_RESPONSE, Attr
from radius.protocol.duplicates import PENDING, Duplicates, InFlight, key_of
from radius.protocol.packet import Packet, attribute, encode_attributes, integer_attribute
from radius.protocol.server import Verdict
from radius.vendors import mikrotik
from radius.vendors.mark import ServiceMark, class_value, read_class
from radius.vendors.model import Rates
from tests.support.radius import (
    GOLD,
    SECRET,
    SERVICE,
    SOURCE,
    accounting_server,
    authentication_server,
    nas,
    subscriber,
)

SHARED = SharedSecret(SECRET)


def pap(
    password: bytes = b"hunter2", *, name: bytes = b"anna", identifier: int = 1, seed: int = 1, extra: bytes = b"",
    signed: bool = True,
) -> bytes:  # fmt: skip
    authenticator = bytes([seed]) * 16
    body = attribute(1, name) + attribute(2, SHARED.hide(password, authenticator)) + extra
    return SHARED.access_request(identifier, authenticator, body, signed=signed)


def accounting(identifier: int = 1, session: bytes = b"s1", extra: bytes = b"") -> bytes:
    body = attribute(44, session) + attribute(40, b"\0\0\0\1") + extra
    return SHARED.request(ACCOUNTING_REQUEST, identifier, body, signed=False)


def reply_to(datagram: bytes, reply: bytes | None) -> Packet:
    assert reply is not None
    packet = Packet.decode(reply)
    SHARED.check_response(packet, datagram[4:20])
    return packet


def test_accept_carries_plan_address_and_class() -> None:
    datagram = pap()
    verdict = authentication_server(nas(), subscriber()).receive(datagram, SOURCE, 0.0)
    reply = reply_to(datagram, verdict.reply)
    assert reply.code == ACCESS_ACCEPT
    assert reply.vendor(14988, 8) == b"20M/100M"
    assert reply.get(Attr.FRAMED_IP_ADDRESS) == bytes((100, 64, 0, 7))
    assert reply.integer(Attr.SESSION_TIMEOUT) == 86_400
    assert reply.integer(Attr.IDLE_TIMEOUT) == 3_600
    assert reply.integer(Attr.ACCT_INTERIM_INTERVAL) == 300
    assert read_class(reply.get(Attr.CLASS)) == ServiceMark(SERVICE, "gold-100")


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (pap(b"wrong"), "wrong password"),
        (pap(name=b"nobody"), "unknown user"),
        (SHARED.access_request(1, bytes(16), attribute(2, bytes(16))), "no User-Name"),
        (SHARED.access_request(1, bytes(16), attribute(1, b"anna")), "no method we serve"),
    ],
)
def test_rejects_say_why_and_are_signed(datagram: bytes, reason: str) -> None:
    verdict = authentication_server(nas(), subscriber()).receive(datagram, SOURCE, 0.0)
    reply = reply_to(datagram, verdict.reply)
    assert (reply.code, verdict.result) == (ACCESS_REJECT, "reject")
    assert reason in verdict.reason
    assert [kind for kind, _ in reply.attributes()] == [Attr.MESSAGE_AUTHENTICATOR], "the reason is not sent"


def test_a_service_that_is_not_enabled_is_rejected_even_with_the_right_password() -> None:
    verdict = authentication_server(nas(), subscriber(enabled=False)).receive(pap(), SOURCE, 0.0)
    assert (verdict.result, verdict.reason) == ("reject", "the service is not enabled")


def test_chap_challenge_attribute_precedes_the_authenticator() -> None:
    server = authentication_server(nas(), subscriber())
    challenge = attribute(60, b"another challenge")
    right = attribute(3, b"\7" + chap_response(7, b"hunter2", b"another challenge"))
    stale = attribute(3, b"\7" + chap_response(7, b"hunter2", bytes(16)))
    for credentials, result in ((right, "accept"), (stale, "reject")):
        datagram = SHARED.access_request(1, bytes(16), attribute(1, b"anna") + credentials + challenge)
        assert server.receive(datagram, ("127.0.0.1", hash(result) % 60_000), 0.0).result == result


def test_two_kinds_of_credentials_are_judged_by_the_stronger() -> None:
    wrong_chap = attribute(3, b"\7" + bytes(16))
    verdict = authentication_server(nas(), subscriber()).receive(pap(extra=wrong_chap), SOURCE, 0.0)
    assert verdict.result == "reject"


def test_retransmission_gets_the_same_octets() -> None:
    server = authentication_server(nas(), subscriber())
    first = server.receive(pap(), SOURCE, 0.0)
    again = server.receive(pap(), SOURCE, 4.9)
    assert (first.result, again.result) == ("accept", "duplicate")
    assert again.reply == first.reply


def test_same_identifier_under_another_authenticator_is_a_new_request() -> None:
    server = authentication_server(nas(), subscriber())
    assert server.receive(pap(seed=1), SOURCE, 0.0).result == "accept"
    assert server.receive(pap(b"wrong", seed=2), SOURCE, 0.1).result == "reject"


def test_another_source_port_is_another_request() -> None:
    server = authentication_server(nas(), subscriber())
    assert server.receive(pap(), SOURCE, 0.0).result == "accept"
    assert server.receive(pap(), ("127.0.0.1", 40_001), 0.0).result == "accept"


def test_strict_nas_without_message_authenticator_gets_silence() -> None:
    datagram = pap(signed=False)
    strict = authentication_server(nas(require_message_authenticator=True), subscriber())
    verdict = strict.receive(datagram, SOURCE, 0.0)
    assert (verdict.result, verdict.reply) == ("message-authenticator-missing", None)
    assert authentication_server(nas(), subscriber()).receive(datagram, SOURCE, 0.0).result == "accept"


def test_wrong_message_authenticator_is_dropped_also_where_none_is_required() -> None:
    datagram = pap()
    changed = datagram[:30] + bytes([datagram[30] ^ 1]) + datagram[31:]
    assert authentication_server(nas(), subscriber()).receive(changed, SOURCE, 0.0).result == "message-authenticator"


def test_eap_without_message_authenticator_is_dropped() -> None:
    datagram = pap(signed=False, extra=attribute(79, b"\2\1\0\5\1"))
    verdict = authentication_server(nas(), subscriber()).receive(datagram, SOURCE, 0.0)
    assert (verdict.result, verdict.reply) == ("message-authenticator-missing", None)


def test_unknown_nas_gets_silence() -> None:
    verdict = authentication_server(nas(), subscriber()).receive(pap(), ("192.0.2.1", 1), 0.0)
    assert (verdict.result, verdict.reply, verdict.nas) == ("unknown-nas", None, None)


def test_proxy_states_come_back_in_order() -> None:
    states = [b"a", b"", b"b" * 253, b"a"]
    datagram = pap(extra=encode_attributes((33, state) for state in states))
    reply = reply_to(datagram, authentication_server(nas(), subscriber()).receive(datagram, SOURCE, 0.0).reply)
    assert reply.get_all(Attr.PROXY_STATE) == states


def test_an_answer_that_would_be_too_long_with_its_proxy_states_is_not_sent() -> None:
    """RFC 2865 §3: 4096 octets at most; §5.33: every Proxy-State comes back."""
    server = authentication_server(nas(), subscriber())

    def ask(octets: int) -> Verdict:
        whole, rest = divmod(octets, 100)
        states = [b"x" * 98] * (whole - 1) + [b"y" * (98 + rest)]
        datagram = pap(seed=octets % 251, extra=encode_attributes((33, state) for state in states))
        return server.receive(datagram, SOURCE, 0.0)

    bare = server.receive(pap(), SOURCE, 0.0).reply
    assert bare is not None
    room = 4096 - len(bare)
    full, over = ask(room), ask(room + 1)
    assert full.reply is not None
    assert len(full.reply) == 4096
    assert (over.result, over.reply) == ("length", None)


def test_message_authenticator_of_an_accounting_request_is_verified_where_there_is_one() -> None:
    """Computed over 16 zero octets in the place of the authenticator, as for CoA-Request (RFC 5176 §3.4)."""
    body = integer_attribute(40, 1) + attribute(44, b"s1")
    signed = SHARED.request(ACCOUNTING_REQUEST, 1, body, signed=True)
    assert accounting_server(nas()).receive(signed, SOURCE, 0.0).result == "record"
    forged = attribute(80, b"\x01" * 16) + body
    verdict = accounting_server(nas()).receive(SHARED.request(ACCOUNTING_REQUEST, 1, forged, signed=False), SOURCE, 0.0)
    assert (verdict.result, verdict.reply) == ("message-authenticator", None)


def test_accounting_is_answered_only_after_respond() -> None:
    server, known = accounting_server(nas()), nas()
    datagram = accounting(extra=attribute(33, b"proxy"))
    first = server.receive(datagram, SOURCE, 0.0)
    assert (first.result, first.reply) == ("record", None)
    assert server.receive(datagram, SOURCE, 0.1).result == "in-flight"
    assert first.packet is not None
    sent = server.respond(first.packet, known)
    reply = reply_to(datagram, sent)
    assert (reply.code, reply.get(Attr.PROXY_STATE)) == (ACCOUNTING_RESPONSE, b"proxy")
    again = server.receive(datagram, SOURCE, 0.2)
    assert again.result == "record", "what is stored already is the recorder's to know"
    assert again.packet is not None
    assert server.respond(again.packet, known) == sent, "octet by octet"


def test_refused_accounting_is_new_when_it_comes_again() -> None:
    server = accounting_server(nas())
    first = server.receive(accounting(), SOURCE, 0.0)
    assert first.packet is not None
    server.refuse(first.packet)
    assert server.receive(accounting(), SOURCE, 0.1).result == "record"


def test_accounting_under_another_secret_gets_silence() -> None:
    verdict = accounting_server(nas(b"other")).receive(accounting(), SOURCE, 0.0)
    assert (verdict.result, verdict.reply) == ("authenticator", None)


@pytest.mark.parametrize("code", [2, 3, 4, 5, 11, 40, 43, 255])
def test_other_codes_on_the_authentication_port_get_silence(code: int) -> None:
    datagram = SHARED.request(code, 1, b"", signed=False)
    assert authentication_server(nas()).receive(datagram, SOURCE, 0.0).result == "code"


def test_rfc5997_4_1_status_server_on_the_accounting_port_is_answered_by_whoever_saw_the_storage_commit() -> None:
    server, known = accounting_server(nas()), nas()
    datagram = SHARED.signed_request(12, 1, bytes(16), attribute(33, b"proxy"))
    verdict = server.receive(datagram, SOURCE, 0.0)
    assert (verdict.result, verdict.reply) == ("status", None)
    assert verdict.packet is not None
    reply = reply_to(datagram, server.respond(verdict.packet, known))
    assert (reply.code, reply.get(Attr.PROXY_STATE)) == (ACCOUNTING_RESPONSE, b"proxy")
    assert 80 in reply.offsets, "signed like the request"


def test_unsigned_status_server_gets_silence() -> None:
    datagram = SHARED.signed_request(12, 1, bytes(16), b"", signed=False)
    for server in (authentication_server(nas()), accounting_server(nas())):
        assert server.receive(datagram, SOURCE, 0.0).result == "message-authenticator-missing"


def test_duplicates_are_forgotten_between_one_and_two_lifetimes() -> None:
    kept = Duplicates(lifetime_s=5.0, capacity=10)
    key = key_of(SOURCE, bytes(20))
    assert kept.find(key, 100.0) is None
    kept.keep(key, b"reply", 100.0)
    assert kept.find(key, 104.9) == b"reply"
    assert kept.find(key, 109.9) == b"reply"
    assert kept.find(key, 115.1) is None


def test_duplicates_are_bounded() -> None:
    kept = Duplicates(capacity=10)
    for port in range(1_000):
        kept.keep(key_of(("127.0.0.1", port), bytes(20)), b"reply", 0.0)
    assert len(kept) <= 20
    assert kept.find(key_of(("127.0.0.1", 999), bytes(20)), 0.0) == b"reply"


def test_an_answer_replaces_pending_in_the_older_generation() -> None:
    kept = Duplicates(lifetime_s=5.0)
    key = key_of(SOURCE, bytes(20))
    kept.find(key, 100.0)
    kept.keep(key, PENDING, 100.0)
    assert kept.find(key, 106.0) is PENDING
    kept.answer(key, b"reply")
    assert kept.find(key, 106.0) == b"reply"


def test_a_record_is_in_flight_until_it_is_answered_or_its_nas_has_long_given_up() -> None:
    flight, known = InFlight(lifetime_s=5.0), NasId("a" * 32)
    assert flight.claim(b"a" * 16, known, 100.0)
    assert not flight.claim(b"a" * 16, known, 104.9)
    assert not flight.claim(b"a" * 16, known, 106.0), "in the older generation, too"
    flight.end(b"a" * 16)
    assert len(flight) == 0
    assert flight.claim(b"a" * 16, known, 106.1)
    assert flight.claim(b"a" * 16, known, 117.0), "after two lifetimes nobody waits for it any more"


def test_two_nas_that_say_the_same_under_one_secret_are_both_recorded() -> None:
    flight = InFlight()
    assert flight.claim(b"a" * 16, NasId("a" * 32), 0.0)
    assert flight.claim(b"a" * 16, NasId("b" * 32), 0.0)


@pytest.mark.parametrize("lifetime_s", [4.9, 30.1])
def test_lifetime_outside_rfc5080_is_refused(lifetime_s: float) -> None:
    with pytest.raises(RuleError):
        Duplicates(lifetime_s=lifetime_s)


@pytest.mark.parametrize(
    ("down", "up", "text"),
    [
        (100_000_000, 20_000_000, "20M/100M"),
        (1_000_000_000, 512_000, "512k/1000M"),
        (1_500_000, 1_000_001, "1000001/1500k"),
    ],
)
def test_mikrotik_rate_is_receive_then_transmit_of_the_router(down: int, up: int, text: str) -> None:
    assert mikrotik.rate_limit(SpeedProfile("p", down, up)) == text
    assert mikrotik.read_rate_limit(text) == Rates(down, up)


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("128k", Rates(128_000, 128_000)),
        ("64k/128M", Rates(128_000_000, 64_000)),
        ("64k/64k 256k/256k 128k/128k 10/10", Rates(64_000, 64_000)),
        ("", None),
        ("fast/slow", None),
        ("1M/", None),
    ],
)
def test_mikrotik_rates_of_the_manual_are_read(text: str, rates: Rates | None) -> None:
    assert mikrotik.read_rate_limit(text) == rates


@pytest.mark.parametrize("value", [None, b"", b"h1/", b"h1/x", b"h1//p", b"h1/x/", b"other/x/p", b"h1/\xff/p"])
def test_a_class_that_is_not_ours_names_no_service(value: bytes | None) -> None:
    assert read_class(value) is None


def test_a_class_fits_small_nas() -> None:
    assert len(class_value(SERVICE, "x" * 32)) <= 68
    assert read_class(class_value(SERVICE, GOLD.name)) == ServiceMark(SERVICE, GOLD.name)
