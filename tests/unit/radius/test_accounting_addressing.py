"""What packets say about addresses: read as the RFCs write it, and nothing but absent where it is nonsense."""

from __future__ import annotations

import ipaddress
import random

from hypothesis import given
from hypothesis import strategies as st

from radius.accounting import addressing
from radius.accounting.addressing import ALL_PORTS, SHARED_PORTS, Said, raw, read
from radius.accounting.record import AccountingRecord
from radius.accounting.tenure import Statement, Stretch, follow
from radius.protocol.nas import Nas
from radius.protocol.packet import Packet, attribute, integer_attribute, vendor_attribute
from radius.vendors import reply
from tests.support.accounting import NAS, accounting

KINDS = st.sampled_from((8, 26, 96, 97, 123, 168, 241))
VALUES = st.binary(max_size=40) | st.builds(
    lambda kind, tlvs: bytes((kind,)) + b"".join(attribute(t, v) for t, v in tlvs),
    st.sampled_from((5, 6, 7)),
    st.lists(st.tuples(st.integers(1, 11), st.binary(max_size=6)), max_size=5),
)


def said(more: bytes) -> list[Said]:
    return read(accounting("interim", more=more))


@given(st.lists(st.tuples(KINDS, VALUES), max_size=8))
def test_whatever_a_packet_carries_is_read_or_absent(attributes: list[tuple[int, bytes]]) -> None:
    packet = accounting("interim", more=b"".join(attribute(kind, value) for kind, value in attributes))
    for one in read(packet):
        if one.kind != "interface-id":
            ipaddress.ip_network(one.network)
        assert 0 <= one.ports[0] <= one.ports[1] <= ALL_PORTS[1]


@given(st.binary(max_size=60))
def test_vendors_words_are_read_or_absent(value: bytes) -> None:
    for vendor_id, kind in ((2011, 161), (2011, 162), (2011, 165), (6527, 121)):
        for one in said(vendor_attribute(vendor_id, kind, value)):
            assert ipaddress.ip_network(one.network).version in (4, 6)
            assert 0 <= one.ports[0] <= one.ports[1] <= ALL_PORTS[1]


def test_addresses_chosen_by_somebody_else_are_none() -> None:
    assert said(attribute(8, b"\xff\xff\xff\xff")) == []
    assert said(attribute(8, b"\xff\xff\xff\xfe")) == []
    assert said(attribute(8, b"\x0a\x00\x00")) == []


def test_rfc3162_2_3_a_prefix_without_its_octets_is_none() -> None:
    assert said(attribute(97, bytes((0, 64)) + bytes.fromhex("20010db8"))) == []
    assert said(attribute(97, bytes((0, 129)) + bytes(16))) == []
    assert said(attribute(97, bytes((0, 32)) + bytes.fromhex("20010db8")))[0].network == "2001:db8::/32"
    # Bits behind the prefix "MUST be zero"; a box that sends its whole address means the prefix.
    whole = bytes((0, 64)) + ipaddress.IPv6Address("2001:db8::7:1").packed
    assert said(attribute(123, whole))[0].network == "2001:db8::/64"


def test_rfc8045_3_1_3_a_forwarded_port_is_one_port() -> None:
    tlvs = attribute(3, bytes((203, 0, 113, 7))) + integer_attribute(7, 8443) + integer_attribute(8, 1)
    (one,) = said(attribute(241, bytes((7,)) + tlvs))
    assert one == Said(SHARED_PORTS, "203.0.113.7/32", (8443, 8443), is_event=True)


def test_a_nokia_box_names_several_blocks_in_several_attributes() -> None:
    first = vendor_attribute(6527, 121, b"180.0.1.248 37674-37723,38507-38556 router base")
    second = vendor_attribute(6527, 121, b"180.0.1.249 1024..2047 router base\0")
    assert said(first + second) == [
        Said(SHARED_PORTS, "180.0.1.248/32", (37_674, 37_723)),
        Said(SHARED_PORTS, "180.0.1.248/32", (38_507, 38_556)),
        Said(SHARED_PORTS, "180.0.1.249/32", (1_024, 2_047)),
    ]
    assert said(vendor_attribute(6527, 121, b"180.0.1.300 1-2 router base")) == []
    assert said(vendor_attribute(6527, 121, b"180.0.1.1 1-2,3 router base")) == []


def test_a_huawei_box_says_whether_a_block_came_or_went() -> None:
    block = b"".join(
        vendor_attribute(2011, kind, value)
        for kind, value in ((161, bytes((203, 0, 113, 7))), (162, bytes((0, 0, 4, 0))), (163, bytes((0, 0, 7, 255))))
    )

    def read_with(update: int | None) -> Said:
        more = b"" if update is None else vendor_attribute(2011, 165, update.to_bytes(4, "big"))
        (one,) = said(block + more)
        assert (one.network, one.ports) == ("203.0.113.7/32", (1_024, 2_047))
        return one

    assert (read_with(0).is_event, read_with(0).is_given) == (True, True)
    assert (read_with(1).is_event, read_with(1).is_given) == (True, False)
    for update in (None, 3):
        assert not read_with(update).is_event, "it says what there is now"


def test_vendors_of_shared_addresses_are_kinds_that_a_nas_can_be_registered_as() -> None:
    assert set(reply.VENDORS) >= addressing._SHARING_VENDORS


def test_equal_octets_say_the_same_and_other_vendors_are_not_searched() -> None:
    block = vendor_attribute(2011, 161, bytes(4))
    address = attribute(8, bytes((10, 0, 0, 1)))

    def record(nas: Nas, packet: Packet) -> AccountingRecord:
        return AccountingRecord(packet, nas, 1_800_000_000_000_000)

    huawei = Nas(NAS.nas_id, "me60", "127.0.0.2", NAS.secret, vendor="huawei")
    first, second = accounting("interim", seconds=1, more=address + block), accounting("stop", more=address + block)
    assert raw(record(huawei, first)) == raw(record(huawei, second))
    assert raw(record(NAS, first)) == address
    assert raw(record(huawei, first)) != address


BLOCKS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 500), st.integers(1, 500)), min_size=1, max_size=8
)  # which block, pause before it is given, how long it is held


@given(BLOCKS, st.randoms(use_true_random=False))
def test_blocks_have_the_same_stretches_in_whatever_order_they_are_told(
    plan: list[tuple[int, int, int]], dice: random.Random
) -> None:
    now, events, truth = 0, [], []
    for block, pause, held in plan:
        ports = (1000 * block, 1000 * block + 999)
        given_us, taken_us = now + pause, now + pause + held
        now = taken_us
        events += [(given_us, ports, True), (taken_us, ports, False)]
        truth.append((ports[0], given_us, taken_us))
    dice.shuffle(events)
    stretches: list[Stretch] = []
    for n, (at_us, ports, is_given) in enumerate(events):
        one = Said(SHARED_PORTS, "203.0.113.7/32", ports, is_event=True, is_given=is_given)
        newest = all(at_us >= other[0] for other in events[:n])
        follow(stretches, Statement([one], at_us, at_us, at_us, b"", newest))
    assert sorted((s.first_port, s.since_us, s.until_us) for s in stretches) == sorted(truth)
