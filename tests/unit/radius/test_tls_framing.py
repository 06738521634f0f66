"""TLS in EAP's flags and fragments: whatever is cut up is whole again, and whatever is broken is a PeerError."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.errors import PeerError
from radius.authorization.eap.tls_framing import (
    LENGTH_INCLUDED,
    MAX_FRAGMENTS,
    MAX_MESSAGE,
    MORE_FRAGMENTS,
    START,
    Framing,
)

PLAIN, LENGTH, MORE = 0, LENGTH_INCLUDED, MORE_FRAGMENTS


def body(flags: int, data: bytes = b"", length: int | None = None) -> bytes:
    return bytes((flags,)) + (b"" if length is None else length.to_bytes(4, "big")) + data


@given(message=st.binary(min_size=1, max_size=5_000), fragment=st.integers(20, 1_400))
def test_rfc5216_2_1_5_a_message_in_fragments_is_whole_again(message: bytes, fragment: int) -> None:
    sender, receiver = Framing(fragment=fragment), Framing(fragment=fragment)
    sent = sender.send(message)
    for _ in range(MAX_FRAGMENTS + 10):
        assert len(sent) <= fragment
        whole, acknowledgement = receiver.receive(sent)
        if whole is not None:
            assert whole == message
            return
        assert acknowledgement == b"\0"
        nothing, following = sender.receive(acknowledgement)
        assert nothing is None
        assert following is not None
        sent = following
    raise AssertionError("it never ended")


def test_rfc5216_2_1_5_the_first_of_several_fragments_tells_the_length_of_all() -> None:
    framing = Framing(fragment=105)
    assert framing.send(bytes(250))[:5] == bytes((LENGTH | MORE, 0, 0, 0, 250))
    assert framing.receive(b"\0")[1] == bytes((MORE,)) + bytes(100)
    assert framing.receive(b"\0")[1] == bytes((PLAIN,)) + bytes(50)


def test_a_length_in_every_fragment_and_in_a_single_one_is_taken() -> None:
    framing = Framing()
    assert framing.receive(body(LENGTH, b"abc", 3)) == (b"abc", None)
    assert framing.receive(body(LENGTH | MORE, b"ab", 4)) == (None, b"\0")
    assert framing.receive(body(LENGTH, b"cd", 4)) == (b"abcd", None)


@pytest.mark.parametrize(
    "bodies",
    [
        [b""],
        [body(START)],
        [body(LENGTH, b"ab")],
        [body(LENGTH, b"abc", 4)],
        [body(LENGTH, b"abc", 2)],
        [body(LENGTH | MORE, b"abc", MAX_MESSAGE + 1)],
        [body(MORE)],
        [body(LENGTH | MORE, b"ab", 4), body(PLAIN, b"cde")],
        [body(LENGTH | MORE, b"ab", 4), body(PLAIN, b"c")],
        [body(LENGTH | MORE, b"ab", 4), body(LENGTH, b"cd", 5)],
        [body(MORE, bytes(1_000))] * (MAX_MESSAGE // 1_000 + 1),
        [body(MORE, b"x")] * (MAX_FRAGMENTS + 1),
    ],
    ids=lambda bodies: f"{len(bodies)}x{bodies[-1][:5].hex()}",
)
def test_a_broken_fragment_is_refused(bodies: list[bytes]) -> None:
    framing = Framing()
    for good in bodies[:-1]:
        framing.receive(good)
    with pytest.raises(PeerError):
        framing.receive(bodies[-1])


def test_data_instead_of_an_acknowledgement_is_refused_and_the_acknowledgement_still_taken() -> None:
    framing = Framing(fragment=105)
    framing.send(bytes(150))
    with pytest.raises(PeerError, match="acknowledgement"):
        framing.receive(body(PLAIN, b"x"))
    assert framing.receive(b"\0")[1] == bytes((PLAIN,)) + bytes(50)


def test_what_was_refused_left_no_trace() -> None:
    framing = Framing()
    framing.receive(body(LENGTH | MORE, b"ab", 4))
    for bad in (body(PLAIN, b"cde"), body(LENGTH, b"cd", 9), b""):
        with pytest.raises(PeerError):
            framing.receive(bad)
    assert framing.receive(body(PLAIN, b"cd")) == (b"abcd", None)


def test_rfc5281_9_1_another_version_is_refused_where_versions_count() -> None:
    with pytest.raises(PeerError, match="version 1"):
        Framing(checks_version=True).receive(body(1, b"x"))
    assert Framing(checks_version=False).receive(body(1, b"x")) == (b"x", None)


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_no_octets_raise_anything_but_peer_error(bodies: list[bytes]) -> None:
    framing = Framing(fragment=30)
    framing.send(bytes(100))
    for octets in bodies:
        try:
            message, answer = framing.receive(octets)
        except PeerError:
            continue
        assert (message is None) != (answer is None)
