"""MS-CHAP inside RADIUS (RFC 2548): accepted with proof and keys, refused with an error that the peer can read."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radius.authorization import mschap
from radius.authorization.mppe import MICROSOFT
from radius.authorization.password import ARGON2, CLEAR, NT, derived
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import ACCESS_ACCEPT, ACCESS_REJECT, Attr
from radius.protocol.mschap import NtPassword, challenge_hash, lm_hash, nt_hash
from radius.protocol.packet import Packet, attribute, vendor_attribute
from radius.protocol.salted import uncover
from radius.protocol.server import Verdict
from tests.support.radius import SECRET, SOURCE, authentication_server, nas, subscriber

SHARED = SharedSecret(SECRET)
AUTHENTICATOR = bytes(range(16))
PASSWORD = NtPassword(nt_hash("hunter2"))
PEER = b"p" * 16


def version_2(
    password: NtPassword = PASSWORD, *, name: bytes = b"anna", challenge: bytes = b"c" * 16, flags: int = 0
) -> bytes:
    answer = password.response(challenge_hash(PEER, challenge, name))
    value = bytes((7, flags)) + PEER + bytes(8) + answer
    return vendor_attribute(MICROSOFT, mschap.CHALLENGE, challenge) + vendor_attribute(
        MICROSOFT, mschap.RESPONSE_2, value
    )


def version_1(password: NtPassword = PASSWORD, *, challenge: bytes = b"c" * 8, flags: int = 1) -> bytes:
    value = bytes((7, flags)) + bytes(24) + password.response(challenge)
    return vendor_attribute(MICROSOFT, mschap.CHALLENGE, challenge) + vendor_attribute(
        MICROSOFT, mschap.RESPONSE, value
    )


def login(extension: bytes, *, name: bytes = b"anna", **changes: object) -> tuple[Verdict, Packet | None]:
    datagram = SHARED.access_request(1, AUTHENTICATOR, attribute(Attr.USER_NAME, name) + extension)
    verdict = authentication_server(nas(), subscriber(**changes)).receive(datagram, SOURCE, 0.0)
    if verdict.reply is None:
        return verdict, None
    reply = Packet.decode(verdict.reply)
    SHARED.check_response(reply, AUTHENTICATOR)
    return verdict, reply


def error(reply: Packet | None) -> str:
    assert reply is not None
    assert reply.code == ACCESS_REJECT
    value = reply.vendor(MICROSOFT, mschap.ERROR)
    assert value is not None
    assert value[0] == 7, "the identifier of the response"
    return value[1:].decode()


def test_version_2_is_accepted_with_proof_keys_and_the_plan() -> None:
    _, reply = login(version_2())
    assert reply is not None
    assert reply.code == ACCESS_ACCEPT
    challenge = challenge_hash(PEER, b"c" * 16, b"anna")
    answer = PASSWORD.response(challenge)
    proof = reply.vendor(MICROSOFT, mschap.SUCCESS_2)
    assert proof == b"\x07" + PASSWORD.authenticator_response(answer, challenge)
    keys = [uncover(reply.vendor(MICROSOFT, kind) or b"", SECRET, AUTHENTICATOR) for kind in (16, 17)]
    assert tuple(keys) == PASSWORD.session_keys(answer)
    assert reply.vendor(MICROSOFT, mschap.ENCRYPTION_TYPES) == b"\0\0\0\4", "128 bits and nothing less"
    assert reply.vendor(14988, 8) == b"20M/100M"


def test_version_1_is_accepted_with_its_keys() -> None:
    _, reply = login(version_1())
    assert reply is not None
    assert reply.code == ACCESS_ACCEPT
    hidden = reply.vendor(MICROSOFT, mschap.MPPE_KEYS)
    assert hidden is not None
    assert len(hidden) == 32
    keys = SHARED.reveal(hidden, AUTHENTICATOR)
    assert keys == (lm_hash("hunter2")[:8] + PASSWORD.digest_of_digest).rstrip(b"\0")


@pytest.mark.parametrize(("made", "version", "digits"), [(version_1, 2, 16), (version_2, 3, 32)])
def test_a_wrong_password_may_be_tried_again_under_a_new_challenge(made: object, version: int, digits: int) -> None:
    assert callable(made)
    wrong = made(NtPassword(nt_hash("wrong")))
    verdict, reply = login(wrong)
    assert verdict.reason == "wrong password"
    text = error(reply)
    assert re.fullmatch(rf"E=691 R=1 C=[0-9A-F]{{{digits}}} V={version}", text)
    assert error(login(wrong)[1]) != text, "each refusal has a challenge of its own"


def test_an_unknown_user_reads_like_a_wrong_password() -> None:
    verdict, reply = login(version_2(), name=b"nobody")
    assert verdict.reason == "unknown user"
    assert error(reply).startswith("E=691 R=1 ")


def test_rfc2759_6_a_service_that_is_not_enabled_is_error_647() -> None:
    verdict, reply = login(version_2(), enabled=False)
    assert verdict.reason == "the service is not enabled"
    assert error(reply).startswith("E=647 R=0 ")


@pytest.mark.parametrize(("kind", "version"), [(mschap.CHANGE_1, 2), (mschap.CHANGE_2, 2), (mschap.CHANGE_3, 3)])
def test_a_password_change_is_refused_with_error_709(kind: int, version: int) -> None:
    verdict, reply = login(vendor_attribute(MICROSOFT, kind, b"\x07\x07" + bytes(66)))
    assert "change its password" in verdict.reason
    assert re.match(rf"E=709 R=0 C=\w+ V={version}", error(reply))


def test_a_response_made_for_another_name_or_challenge_is_refused() -> None:
    assert login(version_2(name=b"bob"))[0].reason == "wrong password"
    moved = vendor_attribute(MICROSOFT, mschap.CHALLENGE, b"d" * 16) + version_2()
    assert login(moved)[0].reason == "wrong password"


def test_a_domain_before_the_name_is_left_out_of_the_challenge() -> None:
    assert login(version_2(name=b"anna"), name=b"ISP\\anna", username="ISP\\anna")[0].result == "accept"


def test_an_lm_response_is_not_served() -> None:
    assert login(version_1(flags=0))[0].result == "ms-chap"


@pytest.mark.parametrize(
    "broken",
    [
        vendor_attribute(MICROSOFT, mschap.RESPONSE_2, bytes(50)),
        vendor_attribute(MICROSOFT, mschap.CHALLENGE, b"c" * 16) + vendor_attribute(MICROSOFT, mschap.RESPONSE_2, b"x"),
        vendor_attribute(MICROSOFT, mschap.CHALLENGE, b"c" * 8) + version_2()[24:],
        vendor_attribute(MICROSOFT, mschap.CHALLENGE, b"c" * 16) + version_1()[16:],
        attribute(Attr.VENDOR_SPECIFIC, MICROSOFT.to_bytes(4, "big") + b"\x19\x05abcdef"),
        attribute(Attr.VENDOR_SPECIFIC, MICROSOFT.to_bytes(4, "big") + b"\x19"),
        attribute(Attr.VENDOR_SPECIFIC, MICROSOFT.to_bytes(4, "big") + b"\x19\x01"),
    ],
)
def test_what_is_malformed_gets_no_answer(broken: bytes) -> None:
    verdict, reply = login(broken)
    assert verdict.result in ("ms-chap", "ms-attribute")
    assert reply is None


@given(st.binary(max_size=120), st.binary(max_size=120))
def test_no_octets_are_accepted_or_end_in_a_traceback(first: bytes, second: bytes) -> None:
    prefix = MICROSOFT.to_bytes(4, "big")
    octets = attribute(Attr.VENDOR_SPECIFIC, prefix + first) + attribute(Attr.VENDOR_SPECIFIC, prefix + second)
    assert login(octets)[0].result != "accept"


def test_attributes_of_other_vendors_stand_in_nobodys_way() -> None:
    stranger = vendor_attribute(9, mschap.RESPONSE_2, b"cisco")
    assert login(stranger + version_2() + stranger)[0].result == "accept"
    assert login(stranger)[0].reason.startswith("no User-Password")


@pytest.mark.parametrize("form", [CLEAR, NT])
def test_ms_chap_is_served_by_every_form_that_knows_the_nt_hash(form: str) -> None:
    kept = derived("hunter2", CLEAR, form)
    assert login(version_2(), password=kept, password_form=form)[0].result == "accept"
    assert login(version_1(), password=kept, password_form=form)[0].result == "accept"


def test_ms_chap_is_refused_where_only_a_hash_of_the_hash_is_kept() -> None:
    kept = derived("hunter2", CLEAR, ARGON2)
    assert "needs the NT hash" in login(version_2(), password=kept, password_form=ARGON2)[0].reason
