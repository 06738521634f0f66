"""Between two hops: what one secret hides is hidden by the other, and RADIUS/1.1 (RFC 9765) hides nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.errors import PeerError
from radius.protocol import version11
from radius.protocol.codes import ACCESS_ACCEPT, ACCESS_REQUEST, Attr
from radius.protocol.hidden import Attributes, covered, opened
from radius.protocol.outstanding import Identifiers
from radius.protocol.packet import Packet, attribute
from radius.protocol.stream import Frames
from radius.proxy.upstream import Reply, Sealed
from tests.support.proxy import CLEAR, HERE, THERE, request


def test_what_one_secret_hides_is_hidden_by_the_other_and_reads_the_same() -> None:
    first = request(CLEAR)
    between = opened(first, HERE, first.authenticator)
    assert between == CLEAR
    body = covered(between, THERE, b"b" * 16)
    second = Packet.decode(THERE.access_request(1, b"b" * 16, body))
    assert opened(second, THERE, b"b" * 16) == CLEAR
    assert b"sesame" not in body
    assert b"tunnel's" not in body


def test_rfc2865_2_2_a_chap_challenge_that_was_the_authenticator_goes_along() -> None:
    packet = request([(1, b"bob"), (3, bytes(17))])
    assert (int(Attr.CHAP_CHALLENGE), b"a" * 16) in opened(packet, HERE, packet.authenticator)


@given(st.lists(st.tuples(st.integers(1, 255), st.binary(max_size=253)), max_size=8))
def test_odd_attributes_are_refused_or_pass_as_they_are_but_never_raise_anything_else(attributes: Attributes) -> None:
    body = b"".join(attribute(kind, value) for kind, value in attributes)
    packet = Packet.decode(HERE.access_request(1, b"a" * 16, body))
    try:
        between = opened(packet, HERE, packet.authenticator)
        passed = covered(between, THERE, b"b" * 16)
    except PeerError:
        return
    second = Packet.decode(THERE.access_request(1, b"b" * 16, passed))
    assert opened(second, THERE, b"b" * 16) == between


@given(st.lists(st.binary(min_size=1, max_size=300)))
def test_a_stream_of_anything_ends_in_packets_or_a_peer_error(chunks: list[bytes]) -> None:
    frames = Frames()
    try:
        for chunk in chunks:
            for frame in frames.feed(chunk):
                asked, token = version11.decode(frame)
                assert Packet.decode(version11.to_classic(asked, token)).code == asked.code
    except PeerError:
        return


@given(st.integers(1, 40))
def test_packets_come_out_of_a_stream_however_it_is_cut(size: int) -> None:
    sent = [version11.encode(ACCESS_REQUEST, bytes([number] * 4), CLEAR) for number in range(5)]
    frames, stream, found = Frames(), b"".join(sent), []
    for start in range(0, len(stream), size):
        found += frames.feed(stream[start : start + size])
    assert found == sent


def test_rfc9765_nothing_is_hidden_and_no_message_authenticator_survives() -> None:
    frame = version11.encode(ACCESS_REQUEST, b"toke", [*CLEAR, (int(Attr.MESSAGE_AUTHENTICATOR), bytes(16))])
    assert b"sesame" in frame
    assert (frame[1], frame[4:8], frame[8:20]) == (0, b"toke", bytes(12))
    asked, token = version11.decode(frame)
    packet = Packet.decode(version11.to_classic(asked, token))
    assert version11.INNER.check_message_authenticator(packet)
    assert token == b"toke"
    assert opened(packet, version11.INNER, packet.authenticator) == CLEAR
    reply = version11.INNER.response(ACCESS_ACCEPT, packet, attribute(24, b"s"), signed=True)
    answer, back = version11.decode(version11.from_classic(reply, token, packet.authenticator))
    assert (answer.code, back, version11.plain(answer)) == (ACCESS_ACCEPT, b"toke", [(24, b"s")])
    assert int(Attr.MESSAGE_AUTHENTICATOR) not in answer.offsets


def test_rfc9765_5_1_values_are_carried_as_they_are_without_salt_length_or_padding() -> None:
    keys = (311).to_bytes(4, "big") + bytes((17, 34)) + bytes(range(32))
    accept = HERE.response(
        ACCESS_ACCEPT, request([]), covered([(69, b"\x02word"), (26, keys)], HERE, bytes(16)), signed=True
    )
    plain_reply = opened(Packet.decode(accept), HERE, bytes(16))
    answer = Packet.decode(version11.encode(ACCESS_ACCEPT, b"toke", plain_reply))
    assert list(answer.attributes()) == [(69, b"\x02word"), (26, keys)], "the tag stays, Salt and Data-Length do not"


def test_rfc9765_5_1_1_a_password_has_at_least_one_octet_and_an_empty_one_stays_empty() -> None:
    frame = version11.encode(ACCESS_REQUEST, b"toke", [(2, b"")])
    assert frame[20:] == b"\x02\x03\x00"
    packet = Packet.decode(version11.to_classic(*version11.decode(frame)))
    assert opened(packet, version11.INNER, packet.authenticator) == [(2, b"")]


def test_rfc9765_5_5_original_packet_code_is_left_out_and_other_extended_attributes_stay() -> None:
    packet, _ = version11.decode(version11.encode(ACCESS_REQUEST, b"toke", [(241, b"\x04code"), (241, b"\x08nas")]))
    assert version11.plain(packet) == [(241, b"\x08nas")]


@pytest.mark.parametrize(
    ("alpn", "tls", "versions", "is_refused"),
    [
        (None, "TLSv1.2", ("radius/1.1", "radius/1.0"), False),
        ("radius/1.1", "TLSv1.3", ("radius/1.1", "radius/1.0"), False),
        ("radius/1.1", "TLSv1.2", ("radius/1.1", "radius/1.0"), True),
        (None, "TLSv1.3", ("radius/1.1",), True),
        ("radius/1.1", "TLSv1.3", ("radius/1.0",), True),
    ],
)
def test_rfc9765_3_what_was_not_negotiated_or_lies_under_tls_1_3_is_not_spoken(
    alpn: str | None, tls: str, versions: tuple[str, ...], is_refused: bool
) -> None:
    assert (version11.refused(alpn, tls, versions) is not None) == is_refused


def test_an_identifier_rests_until_its_late_answer_and_the_oldest_is_used_again_when_all_are_taken() -> None:
    identifiers: Identifiers[int] = Identifiers()
    taken = [identifiers.take() for _ in range(256)]
    for number in taken:
        identifiers.keep(number, number)
    assert sorted(taken) == list(range(256))
    assert not identifiers.has_room
    with pytest.raises(IndexError):
        identifiers.take()
    identifiers.give_up(taken[5])
    identifiers.give_up(taken[3])
    assert (len(identifiers), identifiers.find(taken[5])) == (254, taken[5])
    identifiers.settle(taken[3])
    assert [identifiers.take(), identifiers.take()] == [taken[3], taken[5]], "free ones first, then the oldest"
    assert identifiers.find(taken[5]) is None


def test_an_answer_is_believed_only_under_its_request_and_secret() -> None:
    sealed = Sealed.make(ACCESS_REQUEST, 7, CLEAR, THERE, strict=True)
    asked = Packet.decode(sealed.datagram)
    body = covered([(24, b"s")], THERE, asked.authenticator)
    assert sealed.read(THERE.response(ACCESS_ACCEPT, asked, body, signed=True)) == Reply(ACCESS_ACCEPT, [(24, b"s")])
    for forged in (
        HERE.response(ACCESS_ACCEPT, asked, body, signed=True),
        THERE.response(ACCESS_ACCEPT, asked, body, signed=False),
        THERE.response(ACCESS_ACCEPT, request(CLEAR), body, signed=True),
    ):
        with pytest.raises(PeerError):
            sealed.read(forged)
