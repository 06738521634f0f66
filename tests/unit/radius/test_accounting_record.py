"""Accounting-Request → what it says, named by the RFC section that says so."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.errors import PeerError
from radius.accounting.record import AccountingRecord
from radius.protocol.codes import ACCOUNTING_REQUEST, Attr
from radius.protocol.packet import Packet, attribute, encode, integer_attribute, vendor_attribute
from tests.support.accounting import NAS, OTHER_NAS, STATUS, accounting

AT = 1_790_000_000
RECEIVED_US = AT * 1_000_000 + 250_000


def record(packet: Packet) -> AccountingRecord:
    return AccountingRecord(packet, NAS, RECEIVED_US)


@pytest.mark.parametrize("kind", STATUS)
def test_rfc2866_5_1_status_types_are_kinds(kind: str) -> None:
    assert record(accounting(kind)).kind == kind


def test_rfc2867_3_1_what_tells_of_a_tunnel_is_an_event_of_no_session_and_counts_nothing() -> None:
    octets = integer_attribute(Attr.ACCT_INPUT_OCTETS, 77)
    for status in (9, 14, 15, 2**31):
        status_type = integer_attribute(Attr.ACCT_STATUS_TYPE, status)
        told = record(Packet.decode(encode(ACCOUNTING_REQUEST, 0, bytes(16), status_type + octets)))
        assert (told.kind, told.acct_session_id, told.counted) == ("event", b"", (None, None))


def test_rfc2866_5_1_a_record_without_a_status_type_is_not_acknowledged() -> None:
    with pytest.raises(PeerError, match="no-status-type"):
        record(Packet.decode(encode(ACCOUNTING_REQUEST, 0, bytes(16), attribute(Attr.ACCT_SESSION_ID, b"1"))))


def test_rfc2865_5_25_our_class_is_found_behind_that_of_a_proxy() -> None:
    status = integer_attribute(Attr.ACCT_STATUS_TYPE, 1) + attribute(Attr.ACCT_SESSION_ID, b"1")
    theirs, ours = (attribute(Attr.CLASS, value) for value in (b"theirs", b"h1/abc/100m"))
    read = [
        record(Packet.decode(encode(ACCOUNTING_REQUEST, 0, bytes(16), status + classes))).class_value
        for classes in (theirs + ours, ours + theirs, theirs)
    ]
    assert read == [b"h1/abc/100m", b"h1/abc/100m", b"theirs"]


def test_rfc2866_5_2_delay_is_taken_off_the_arrival() -> None:
    late = record(accounting("start", delay=7))
    assert (late.event_us, late.exact) == (RECEIVED_US - 7_000_000, False)


def test_rfc2866_5_3_input_octets_came_from_the_subscriber() -> None:
    body = integer_attribute(Attr.ACCT_STATUS_TYPE, 3) + attribute(Attr.ACCT_SESSION_ID, b"1")
    body += integer_attribute(Attr.ACCT_INPUT_OCTETS, 11) + integer_attribute(Attr.ACCT_OUTPUT_OCTETS, 22)
    read = record(Packet.decode(encode(ACCOUNTING_REQUEST, 0, bytes(16), body)))
    assert (read.upstream_octets, read.downstream_octets) == (11, 22)


def test_rfc2866_5_5_the_session_id_is_opaque_and_needed() -> None:
    assert record(accounting("start", bytes(range(253)))).acct_session_id == bytes(range(253))
    with pytest.raises(PeerError, match="no-session-id"):
        record(accounting("start", None))


def test_rfc2866_5_5_accounting_on_may_leave_the_session_id_out() -> None:
    assert record(accounting("on", None)).acct_session_id == b""


def test_rfc2866_5_7_session_time_tells_when_the_session_began() -> None:
    assert record(accounting("interim", at=AT, seconds=300)).begun_us == (AT - 300) * 1_000_000
    assert record(accounting("interim", at=AT)).begun_us is None
    assert record(accounting("start", at=AT)).begun_us == AT * 1_000_000


def test_rfc2866_5_10_terminate_causes_have_names() -> None:
    def cause(code: int) -> str:
        more = integer_attribute(Attr.ACCT_TERMINATE_CAUSE, code)
        return record(accounting("stop", more=more)).terminate_cause()

    assert [cause(1), cause(2), cause(18), cause(99)] == ["user-request", "lost-carrier", "host-request", "cause-99"]
    assert record(accounting("stop")).terminate_cause() == "unknown"


@given(st.integers(0, 2**60 - 1), st.integers(0, 2**60 - 1))
def test_rfc2869_5_1_gigawords_extend_octets(up: int, down: int) -> None:
    read = record(accounting("interim", up=up, down=down))
    assert (read.upstream_octets, read.downstream_octets) == (up, down)


def test_rfc2869_5_1_more_than_a_counter_can_count_is_no_measurement() -> None:
    assert record(accounting("interim", up=2**60, down=1)).upstream_octets is None


def test_rfc2869_5_3_event_timestamp_is_the_event() -> None:
    read = record(accounting("interim", at=AT - 90_000, delay=5))
    assert (read.event_us, read.exact) == ((AT - 90_000) * 1_000_000, True)


@pytest.mark.parametrize("stamp", [0, 86_400])
def test_rfc2869_5_3_a_clock_that_was_never_set_is_not_believed(stamp: int) -> None:
    read = record(accounting("interim", at=stamp))
    assert (read.event_us, read.exact, read.is_stamped_ahead) == (RECEIVED_US, False, False)


def test_a_clock_five_minutes_ahead_is_believed_and_one_further_ahead_is_not() -> None:
    believed = record(accounting("interim", at=AT + 300, delay=7))
    assert (believed.event_us, believed.exact, believed.is_stamped_ahead) == ((AT + 300) * 1_000_000, True, False)
    for stamp in (AT + 301, AT + 23 * 3600, 2**32 - 1):
        read = record(accounting("interim", at=stamp, delay=7))
        assert (read.event_us, read.exact, read.is_stamped_ahead) == (RECEIVED_US - 7_000_000, False, True)


def test_absent_counters_are_not_zero() -> None:
    read = record(accounting("stop", seconds=5))
    assert (read.upstream_octets, read.downstream_octets) == (None, None)
    assert record(accounting("stop", up=0, down=0)).upstream_octets == 0


def test_a_counter_of_the_wrong_size_is_a_broken_packet() -> None:
    with pytest.raises(PeerError, match="attribute-value"):
        record(accounting("stop", more=attribute(Attr.ACCT_INPUT_OCTETS, b"\x01")))


def test_the_digest_is_of_the_datagram() -> None:
    packet = accounting("start")
    assert record(packet).packet_sha256 == sha256(packet.data).digest()


def test_the_rate_is_read_from_the_vendors_own_attribute() -> None:
    packet = accounting("interim", more=vendor_attribute(14988, 8, b"20M/100M"))
    assert record(packet).rate() == "20M/100M"
    assert AccountingRecord(packet, OTHER_NAS, RECEIVED_US).rate() is None
    assert record(accounting("interim")).rate() is None


def test_rfc2865_5_8_an_address_left_to_others_is_no_address() -> None:
    def address(octets: bytes) -> str | None:
        return record(accounting("start", more=attribute(Attr.FRAMED_IP_ADDRESS, octets))).framed_ipv4()

    assert address(bytes((100, 64, 0, 7))) == "100.64.0.7"
    assert address(b"\xff\xff\xff\xff") is None
    assert address(b"\xff\xff\xff\xfe") is None
    assert address(b"\x01") is None


@given(st.binary(max_size=253))
def test_every_user_name_becomes_text_that_databases_take(name: bytes) -> None:
    text = record(accounting("start", user=name)).username
    assert "\x00" not in text
    assert text.encode("utf-8").decode("utf-8") == text
