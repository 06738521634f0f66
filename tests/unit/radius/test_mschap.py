"""MS-CHAP's arithmetic against every sample that its RFCs print, and both implementations of its ciphers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radius.protocol import ciphers
from radius.protocol.ciphers import spread
from radius.protocol.mschap import NtPassword, challenge_hash, lm_hash, nt_hash, start_key

# RFC 2759 §9.2 and RFC 3079 §3.5 share their sample user.
PASSWORD = NtPassword(nt_hash("clientPass"))
AUTHENTICATOR_CHALLENGE = bytes.fromhex("5B5D7C7D7B3F2F3E3C2C602132262628")
PEER_CHALLENGE = bytes.fromhex("21402324255E262A28295F2B3A337C7E")
CHALLENGE = bytes.fromhex("D02E4386BCE91226")
NT_RESPONSE = bytes.fromhex("82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF")


def test_rfc2759_9_2_password_hashes() -> None:
    assert PASSWORD.digest == bytes.fromhex("44EBBA8D5312B8D611474411F56989AE")
    assert PASSWORD.digest_of_digest == bytes.fromhex("41C00C584BD2D91C4017A2A12FA59F3F")


def test_rfc2759_9_2_challenge_and_response() -> None:
    assert challenge_hash(PEER_CHALLENGE, AUTHENTICATOR_CHALLENGE, b"User") == CHALLENGE
    assert PASSWORD.response(CHALLENGE) == NT_RESPONSE
    assert PASSWORD.made(NT_RESPONSE, CHALLENGE)


def test_rfc2759_9_2_authenticator_response() -> None:
    assert PASSWORD.authenticator_response(NT_RESPONSE, CHALLENGE) == b"S=407A5589115FD0D6209F510FE9C04566932CDA56"


def test_rfc2759_8_2_leaves_the_domain_out_of_the_challenge() -> None:
    assert challenge_hash(PEER_CHALLENGE, AUTHENTICATOR_CHALLENGE, b"BIGCO\\User") == CHALLENGE


def test_rfc3079_3_5_3_start_key_of_128_bits() -> None:
    send, receive = PASSWORD.session_keys(NT_RESPONSE)
    assert send == bytes.fromhex("8B7CDC149B993A1BA118CB153F56DCCB")
    assert send != receive


def test_rfc3079_3_5_1_master_key_gives_the_start_key_of_40_bits() -> None:
    master = bytes.fromhex("FDECE3717A8C838CB388E527AE3CDD31")
    server_sends = b"On the client side, this is the receive key; on the server side, it is the send key."
    assert start_key(master, server_sends, 8) == bytes.fromhex("8B7CDC149B993A1B")


def test_rfc2433_b_2_hash_and_response_of_version_1() -> None:
    password = NtPassword(nt_hash("MyPw"))
    assert password.digest == bytes.fromhex("FC156AF7EDCD6C0EDDE3337D427F4EAC")
    response = bytes.fromhex("4E9D3C8F9CFD385D5BF4D3246791956CA4C351AB409A3D61")
    assert password.response(bytes.fromhex("102DB5DF085D3041")) == response


def test_rfc2433_and_rfc3079_lm_hashes() -> None:
    assert lm_hash("MyPw") == bytes.fromhex("75BA30198E6D1975AAD3B435B51404EE")
    assert lm_hash("clientPass") == bytes.fromhex("76A152936096D7830E2390227404AFD2")


def test_an_nt_password_shows_nothing() -> None:
    assert PASSWORD.digest.hex() not in repr(PASSWORD).lower()
    with pytest.raises(ValueError, match="16 octets"):
        NtPassword(b"short")


@given(
    octets=st.binary(max_size=200), keys=st.binary(min_size=21, max_size=21), block=st.binary(min_size=8, max_size=8)
)
def test_both_implementations_of_md4_and_des_agree(octets: bytes, keys: bytes, block: bytes) -> None:
    assert ciphers.md4(octets) == ciphers.pycryptodome_md4(octets)
    assert ciphers.des(spread(keys), block) == ciphers.pycryptodome_des(spread(keys), block)
