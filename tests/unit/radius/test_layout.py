"""Forms that were seen before are recognised, and nothing else is taken for them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controller.domain.errors import PeerError
from radius.protocol.layout import Integers, Layout, Layouts
from radius.protocol.packet import encode, encode_attributes, walk

ATTRIBUTES = st.lists(st.tuples(st.integers(1, 255), st.binary(min_size=1, max_size=40)), max_size=12)
FOUR_OCTETS = st.binary(min_size=4, max_size=4)


def packet(attributes: list[tuple[int, bytes]], authenticator: bytes = bytes(16)) -> bytes:
    return encode(4, 1, authenticator, encode_attributes(attributes))


def learnt(datagram: bytes) -> Layouts:
    layouts = Layouts()
    while layouts.learn(datagram, walk(datagram)[1]) is None:
        pass
    return layouts


@given(ATTRIBUTES, st.binary(min_size=16, max_size=16), st.data())
def test_a_packet_of_the_same_form_has_its_attributes_where_the_first_had_them(
    attributes: list[tuple[int, bytes]], authenticator: bytes, data: st.DataObject
) -> None:
    layouts = learnt(packet(attributes))
    others = [(kind, data.draw(st.binary(min_size=len(value), max_size=len(value)))) for kind, value in attributes]
    found = layouts.find(packet(others, authenticator))
    assert found is not None
    assert found.offsets == walk(packet(others))[1]
    kinds = [kind for kind, _ in attributes]
    assert found.repeated == {kind for kind in kinds if kinds.count(kind) > 1}


@given(ATTRIBUTES, st.data())
def test_what_is_recognised_is_what_walking_through_it_says(
    attributes: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    datagram = bytearray(packet(attributes))
    layouts = learnt(bytes(datagram))
    for _ in range(data.draw(st.integers(1, 3))):
        datagram[data.draw(st.integers(0, len(datagram) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        datagram += b"\0"
    found = layouts.find(bytes(datagram))
    try:
        trimmed, offsets = walk(bytes(datagram))
    except PeerError:
        assert found is None
        return
    if found is not None:
        assert (found.offsets, len(trimmed)) == (offsets, len(datagram))


def test_what_is_kept_is_bounded() -> None:
    layouts = Layouts()
    for size in range(1, 1_000):
        for kind in range(1, 40):
            datagram = packet([(kind, b"x" * (size % 250 + 1))] * (size // 250 + 1))
            layouts.learn(datagram, walk(datagram)[1])
    assert sum(len(kept) for kept in layouts._by_size.values()) <= 512 * 4


def test_the_newest_form_of_a_size_stays() -> None:
    layouts = Layouts()
    datagrams = [packet([(kind, b"abcd")]) for kind in range(1, 10)]
    for datagram in datagrams:
        while layouts.learn(datagram, walk(datagram)[1]) is None:
            pass
    assert layouts.find(datagrams[-1]) is not None
    assert layouts.find(datagrams[0]) is None


@given(
    st.lists(st.tuples(st.sampled_from([40, 41, 46, 55, 1, 44]), FOUR_OCTETS), max_size=8),
)
def test_integers_are_read_together_as_one_by_one(attributes: list[tuple[int, bytes]]) -> None:
    datagram = packet(attributes)
    _, offsets = walk(datagram)
    first = {kind: int.from_bytes(value, "big") for kind, value in reversed(attributes)}
    reader = Integers(*KINDS)
    layout = Layout(datagram, offsets)
    for _ in range(2):  # the second time from the memo
        assert reader.read(datagram, layout) == tuple(first.get(kind) for kind in KINDS)


def test_a_value_of_other_than_four_octets_is_left_to_the_reader_that_tells_which() -> None:
    datagram = packet([(40, b"abcd"), (46, b"abc")])
    assert Integers(*KINDS).read(datagram, Layout(datagram, walk(datagram)[1])) is None


KINDS = (40, 41, 46, 55)
