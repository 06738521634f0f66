"""The EAP conversation: who is asked what, who is answered, and who is met with silence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.errors import PeerError
from radius.authorization.eap.packet import (
    EXPANDED,
    FAILURE,
    IDENTITY,
    MD5_CHALLENGE,
    MSCHAPV2,
    NAK,
    REQUEST,
    RESPONSE,
    SUCCESS,
    TLS,
    EapPacket,
    join,
    split,
)
from radius.authorization.eap.sessions import EapSessions
from radius.authorization.mppe import MICROSOFT
from radius.protocol.codes import ACCESS_ACCEPT, ACCESS_CHALLENGE, ACCESS_REJECT, Attr
from radius.protocol.mschap import NtPassword, nt_hash
from radius.protocol.packet import Packet, attribute
from radius.protocol.salted import conceal, fresh_salt, uncover
from tests.support.eap_login import EapLogin, md5_response, mschapv2_response
from tests.support.radius import SECRET, authentication_server, nas, subscriber

EAP = ("mschapv2", "md5")


def peer(*, methods: tuple[str, ...] = EAP, name: bytes = b"anna", **changes: object) -> EapLogin:
    return EapLogin(authentication_server(nas(), subscriber(**changes), eap_methods=methods), name)


octet = st.integers(1, 253)


@given(code=st.sampled_from((REQUEST, RESPONSE)), identifier=octet, kind=octet, data=st.binary(max_size=2000))
def test_decode_reads_what_encode_wrote(code: int, identifier: int, kind: int, data: bytes) -> None:
    made = EapPacket(code, identifier, kind, data)
    assert EapPacket.decode(made.encode()) == made
    assert EapPacket.decode(made.encode() + b"padding") == made, "octets behind Length are padding (RFC 3748 §4.1)"


@given(st.binary(max_size=64))
def test_decode_raises_nothing_but_peer_error(octets: bytes) -> None:
    try:
        packet = EapPacket.decode(octets)
        wanted = packet.wanted()
    except PeerError:
        return
    assert EapPacket.decode(packet.encode()) == packet
    assert not {0, EXPANDED} & set(wanted)


@given(st.binary(min_size=1, max_size=3000))
def test_rfc3579_3_1_eap_message_is_split_into_253_octets_and_joined_again(octets: bytes) -> None:
    body = split(octets)
    header = bytes((1, 1)) + (20 + len(body)).to_bytes(2, "big") + bytes(16)
    packet = Packet.decode(header + body)
    assert join(packet) == octets
    assert max(map(len, packet.get_all(Attr.EAP_MESSAGE))) <= 253


@given(value=st.binary(max_size=239), authenticator=st.binary(min_size=16, max_size=16))
def test_rfc2548_2_4_2_salted_values_come_back(value: bytes, authenticator: bytes) -> None:
    salts = [fresh_salt(), fresh_salt()]
    assert salts[0] != salts[1]
    assert all(salt[0] & 0x80 for salt in salts)
    assert uncover(conceal(value, salts[0], SECRET, authenticator), SECRET, authenticator) == value


def test_rfc3579_2_1_eap_start_is_asked_for_an_identity() -> None:
    made = peer()
    assert made.send(b"").result == "challenge"
    assert made.request is not None
    assert (made.request.code, made.request.kind) == (REQUEST, IDENTITY)
    assert made.identify().result == "challenge"
    assert made.request.kind == MSCHAPV2


def test_eap_md5_accepts_the_right_password_and_refuses_a_wrong_one() -> None:
    for password, code, last in ((b"hunter2", ACCESS_ACCEPT, SUCCESS), (b"wrong", ACCESS_REJECT, FAILURE)):
        made = peer(methods=("md5",))
        made.identify()
        assert made.request is not None
        made.respond(MD5_CHALLENGE, md5_response(made.request, password))
        assert made.reply is not None
        assert (made.reply.code, made.request.code) == (code, last)
        assert made.reply.vendor(MICROSOFT, 16) is None, "EAP-MD5 makes no keys"


def test_eap_mschapv2_proves_both_sides_and_gives_the_nas_the_keys() -> None:
    made = peer()
    made.identify()
    assert made.request is not None
    challenge = made.request
    made.respond(MSCHAPV2, mschapv2_response(challenge, b"anna", "hunter2"))
    assert made.request.data[:1] == b"\x03"
    assert made.request.data[4:6] == b"S="
    assert made.respond(MSCHAPV2, b"\x03").result == "accept"
    assert made.reply is not None
    assert made.request.code == SUCCESS
    hidden = made.reply.vendor(MICROSOFT, 17)
    assert hidden is not None
    # Half a key each way: MSK = MasterReceiveKey ‖ MasterSendKey ‖ 32 zero octets, whose first half is Recv-Key.
    answer = mschapv2_response(challenge, b"anna", "hunter2")[29:53]
    send, receive = NtPassword(nt_hash("hunter2")).session_keys(answer)
    assert uncover(hidden, SECRET, made.asked) == receive + send


def test_eap_mschapv2_refuses_a_wrong_password_in_its_own_words_first() -> None:
    made = peer()
    made.identify()
    assert made.request is not None
    made.respond(MSCHAPV2, mschapv2_response(made.request, b"anna", "wrong"))
    assert made.request.data[:1] == b"\x04"
    assert made.request.data[4:].startswith(b"E=691 R=0 C=")
    verdict = made.respond(MSCHAPV2, b"\x04")
    assert (verdict.result, verdict.reason) == ("reject", "wrong password")
    assert made.request.code == FAILURE


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"password_expired": True}, b"E=648 R=0 C=", "the password has expired"),
        ({"enabled": False}, b"E=647 R=0 C=", "the service is not enabled"),
    ],
)
def test_eap_mschapv2_tells_who_proved_the_password_why_it_is_of_no_use(
    changes: dict[str, bool], error: bytes, reason: str
) -> None:
    for password, told in (("hunter2", error), ("wrong", b"E=691 R=0 C=")):
        made = peer(**changes)
        made.identify()
        assert made.request is not None
        made.respond(MSCHAPV2, mschapv2_response(made.request, b"anna", password))
        assert made.request.data[4:].startswith(told)
        assert made.respond(MSCHAPV2, b"\x04").reason == (reason if password == "hunter2" else "wrong password")


def test_a_change_of_password_over_eap_is_refused_and_not_waited_for() -> None:
    made = peer(password_expired=True)
    made.identify()
    assert made.request is not None
    made.respond(MSCHAPV2, mschapv2_response(made.request, b"anna", "hunter2"))
    verdict = made.respond(MSCHAPV2, b"\x07" + bytes(581))
    assert (verdict.result, "change its password" in verdict.reason) == ("reject", True)


def test_a_response_to_another_ms_chap_challenge_is_not_answered() -> None:
    made = peer()
    made.identify()
    assert made.request is not None
    answer = mschapv2_response(made.request, b"anna", "hunter2")
    stale = answer[:1] + bytes((answer[1] ^ 1,)) + answer[2:]
    assert made.respond(MSCHAPV2, stale).result == "eap-mschapv2"
    assert made.respond(MSCHAPV2, answer).result == "challenge", "and the right one is still waited for"


def test_a_peer_that_claims_success_after_a_failure_is_not_believed() -> None:
    made = peer()
    made.identify()
    assert made.request is not None
    made.respond(MSCHAPV2, mschapv2_response(made.request, b"anna", "wrong"))
    assert made.respond(MSCHAPV2, b"\x03").reply is None


def test_eap_mschapv2_names_another_subscriber_in_vain() -> None:
    made = peer(username="mallory")
    made.name = b"mallory"
    made.identify()
    assert made.request is not None
    made.respond(MSCHAPV2, mschapv2_response(made.request, b"anna", "hunter2"))
    assert made.respond(MSCHAPV2, b"\x04").reason == "the name in the MS-CHAP response is not the identity"


@pytest.mark.parametrize("nak", [bytes((MD5_CHALLENGE,)), b"\xfe\0\0\0\0\0\0\x04", bytes((99, MD5_CHALLENGE))])
def test_rfc3748_5_3_a_nak_gets_the_method_that_both_want(nak: bytes) -> None:
    made = peer()
    made.identify()
    assert made.request is not None
    made.respond(NAK, nak)
    assert made.request.kind == MD5_CHALLENGE
    assert made.respond(MD5_CHALLENGE, md5_response(made.request, b"hunter2")).result == "accept"


@pytest.mark.parametrize("nak", [b"\0", b"", bytes((TLS,)), bytes((MSCHAPV2,))])
def test_a_nak_with_nothing_in_common_is_a_failure(nak: bytes) -> None:
    made = peer()
    made.identify()
    verdict = made.respond(NAK, nak)
    assert verdict.result == "reject"
    assert "no EAP method in common" in verdict.reason
    assert made.request is not None
    assert made.request.code == FAILURE


def test_a_nak_after_the_method_has_begun_is_ignored() -> None:
    made = peer()
    made.identify()
    assert made.request is not None
    made.respond(MSCHAPV2, mschapv2_response(made.request, b"anna", "hunter2"))
    assert made.respond(NAK, bytes((MD5_CHALLENGE,))).result == "eap-type"


def test_the_same_response_under_another_authenticator_gets_the_same_request_again() -> None:
    made = peer()
    made.identify()
    assert made.request is not None
    answer = mschapv2_response(made.request, b"anna", "hunter2")
    octets = EapPacket(RESPONSE, made.request.identifier, MSCHAPV2, answer).encode()
    made.send(octets)
    first = made.request
    made.send(octets)
    assert made.request == first, "the conversation must not step twice"
    assert made.respond(MSCHAPV2, b"\x03").result == "accept"
    again = EapPacket(RESPONSE, first.identifier, MSCHAPV2, b"\x03").encode()
    assert made.send(again).result == "accept", "the last step, too: the NAS may have lost our Access-Accept"


def test_a_response_with_an_old_identifier_is_not_answered() -> None:
    made = peer(methods=("md5",))
    made.identify()
    assert made.request is not None
    answer = md5_response(made.request, b"hunter2")
    assert made.respond(MD5_CHALLENGE, answer, identifier=made.request.identifier + 7).result == "eap-identifier"


def test_nothing_follows_the_end_of_a_conversation() -> None:
    made = peer(methods=("md5",))
    made.identify()
    assert made.request is not None
    made.respond(MD5_CHALLENGE, md5_response(made.request, b"wrong"))
    assert made.reply is not None
    assert made.reply.code == ACCESS_REJECT
    assert made.respond(MD5_CHALLENGE, md5_response(made.request, b"hunter2")).reply is None


def test_an_unknown_state_is_told_failure_so_that_the_peer_begins_anew() -> None:
    made = peer(methods=("md5",))
    made.identify()
    made.state = bytes(16)
    verdict = made.respond(MD5_CHALLENGE, b"\x10" + bytes(16))
    assert verdict.result == "reject"
    assert "EAP conversation unknown" in verdict.reason


def test_rfc3579_3_1_eap_without_message_authenticator_is_dropped() -> None:
    made = peer()
    assert made.send(b"", signed=False).result == "message-authenticator-missing"


def test_the_user_name_must_be_the_identity_all_along() -> None:
    made = peer(methods=("md5",))
    octets = EapPacket(RESPONSE, 0, IDENTITY, b"anna").encode()
    assert made.send(octets, user_name=b"bob").reason == "User-Name is not the EAP identity"
    made = peer(methods=("md5",))
    made.identify()
    assert made.request is not None
    answer = EapPacket(RESPONSE, made.request.identifier, MD5_CHALLENGE, md5_response(made.request, b"hunter2"))
    assert made.send(answer.encode(), user_name=b"bob").reason == "User-Name changed within the EAP conversation"


def test_unknown_names_and_services_that_are_not_enabled_are_refused_after_the_method() -> None:
    made = peer(methods=("md5",), name=b"nobody")
    assert made.identify().result == "challenge", "an unknown name must not be told apart by the first answer"
    assert made.request is not None
    assert made.respond(MD5_CHALLENGE, md5_response(made.request, b"hunter2")).reason == "unknown user"
    made = peer(methods=("md5",), enabled=False)
    made.identify()
    assert made.request is not None
    assert made.respond(MD5_CHALLENGE, md5_response(made.request, b"hunter2")).reason == "the service is not enabled"
    assert made.request.code == FAILURE


def test_conversations_are_bounded_and_expire() -> None:
    sessions = EapSessions(capacity=2, lifetime_s=60.0)
    first, second = sessions.begin(nas(), 0.0), sessions.begin(nas(), 1.0)
    assert sessions.find(first.state, nas(), 2.0) is first
    third = sessions.begin(nas(), 3.0)
    assert sessions.displaced == 1
    assert sessions.find(second.state, nas(), 3.0) is None, "the least recently used gave way"
    assert sessions.find(third.state, nas(), 62.9) is third
    assert sessions.find(first.state, nas(), 62.9) is None


def test_a_state_belongs_to_the_nas_that_it_was_given_to() -> None:
    sessions = EapSessions()
    made = sessions.begin(nas(), 0.0)
    assert sessions.find(made.state, nas(nas_id="m" * 32), 1.0) is None
    assert sessions.find(made.state, nas(SECRET + b"new"), 1.0) is made, "a changed secret is still the same NAS"


@given(octets=st.binary(max_size=80), tail=st.binary(max_size=40))
def test_no_octets_of_a_peer_end_in_an_accept_or_a_traceback(octets: bytes, tail: bytes) -> None:
    for kind in (MSCHAPV2, MD5_CHALLENGE):
        made = peer()
        made.identify()
        assert made.request is not None
        if kind == MD5_CHALLENGE:
            made.respond(NAK, bytes((MD5_CHALLENGE,)))
        for data in (octets, b"\x02" + made.request.data[1:2] + (1 + len(tail)).to_bytes(2, "big") + tail, tail):
            assert made.respond(kind, data).result != "accept"
        assert made.send(octets).result != "accept"


def test_an_eap_message_that_is_no_eap_is_dropped() -> None:
    made = peer()
    assert made.send(b"\x02\x01\x00").result == "eap-length"
    assert made.send(EapPacket(REQUEST, 1, IDENTITY, b"anna").encode()).result == "eap-code"
    assert made.send(EapPacket(RESPONSE, 1, MD5_CHALLENGE, b"anna").encode()).result == "eap-type"
    assert made.send(b"", extra=attribute(Attr.STATE, b"x")).reply is not None
    assert made.reply is not None
    assert made.reply.code == ACCESS_CHALLENGE
