"""What strangers send, where people read it or it is sent on: decoded or refused with a PeerError, nothing else."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from controller.domain.errors import PeerError
from radius.protocol import dictionary, lookup
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import ACCESS_ACCEPT, ACCESS_REQUEST, Attr
from radius.protocol.packet import ZERO_AUTHENTICATOR, Packet, attribute, encode
from radius.proxy.upstream import Sealed

SHARED = SharedSecret(b"correct-horse-battery-staple")
VENDORS = st.sampled_from([0, 9, 311, 2011, 2636, 6527, 14988, 2**32 - 1])

plain = st.tuples(st.integers(0, 255), st.binary(max_size=253))
of_vendors = st.builds(
    lambda vendor, kind, length, value: (26, vendor.to_bytes(4, "big") + bytes((kind, length)) + value),
    VENDORS, st.integers(0, 255), st.integers(0, 255), st.binary(max_size=247),
)  # fmt: skip
fitting = st.builds(
    lambda vendor, kind, value: (26, vendor.to_bytes(4, "big") + attribute(kind, value)),
    VENDORS, st.integers(0, 255), st.binary(max_size=247),
)  # fmt: skip
known = st.builds(
    lambda name, value: _encoded(*dictionary.number(name), value),
    st.sampled_from(sorted(dictionary.load().attributes)), st.binary(max_size=24),
)  # fmt: skip
attributes = st.lists(st.one_of(plain, of_vendors, fitting, known), max_size=12)


def _encoded(vendor: int, kind: int, value: bytes) -> tuple[int, bytes]:
    return (26, vendor.to_bytes(4, "big") + attribute(kind & 255, value)) if vendor else (kind & 255, value)


def packet_of(code: int, several: list[tuple[int, bytes]]) -> Packet:
    body = b"".join(attribute(kind, value) for kind, value in several)
    return Packet.decode(encode(code, 7, ZERO_AUTHENTICATOR, body))


@given(attributes, st.integers(1, 255))
def test_any_attributes_are_described_in_a_line_each_without_what_is_secret(
    several: list[tuple[int, bytes]], code: int
) -> None:
    lines = dictionary.describe(packet_of(code, [*several, (Attr.USER_PASSWORD, b"hunter2-hunter2-")]))
    assert len(lines) == len(several) + 1
    assert lines[-1] == ("User-Password", "***")


@settings(max_examples=60)
@given(attributes, st.integers(1, 255), st.booleans())
@example([(Attr.MESSAGE_AUTHENTICATOR, b"")], ACCESS_ACCEPT, False)
def test_a_home_server_that_knows_the_secret_and_answers_nonsense_is_read_or_refused(
    several: list[tuple[int, bytes]], code: int, strict: bool
) -> None:
    sealed = Sealed.make(ACCESS_REQUEST, 7, [(1, b"anna"), (2, b"hunter2")], SHARED, strict=strict)
    body = b"".join(attribute(kind, value) for kind, value in several)
    signed = SHARED.response(code, Packet.decode(sealed.datagram), body, signed=strict)
    try:
        reply = sealed.read(signed)
    except PeerError:
        return
    assert reply.code == code


@given(st.binary(max_size=80))
def test_an_answer_under_no_secret_is_refused(datagram: bytes) -> None:
    sealed = Sealed.make(ACCESS_REQUEST, 7, [(1, b"anna")], SHARED, strict=False)
    with pytest.raises(PeerError):
        sealed.read(datagram)


@given(st.text(max_size=24) | st.from_regex(r"[\w-]{0,8}[.:]?\d{1,30}", fullmatch=True))
def test_whatever_is_looked_up_is_found_or_not(wanted: str) -> None:
    assert isinstance(lookup.find(wanted), list)
