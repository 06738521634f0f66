"""IPFIX messages as RFC 7011 lays them out: read whole or refused, and turned into octets of subscribers."""

from __future__ import annotations

import ipaddress
import struct
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from collectors import metrics
from collectors.ipfix.collector import IpfixCollector
from collectors.ipfix.flows import Carried, carried, networks
from collectors.ipfix.message import REVERSE, Templates, decode
from collectors.usage_bins import Bins
from collectors.usage_feed import Outlet, horizon
from controller.domain.clock import MovableClock
from controller.domain.errors import PeerError
from tests.support import ipfix
from tests.support.ipfix import NOW, T, message

OURS = networks("100.64.0.0/10, 2001:db8::/32")
# source, destination, octets, begin and end in milliseconds, and a name of variable length (interfaceName).
FIELDS = ((8, 4), (12, 4), (1, 4), (152, 8), (153, 8), (82, 65_535))


def template(template_id: int = 256, fields: tuple[tuple[int, int], ...] = FIELDS) -> tuple[int, bytes]:
    return ipfix.template(template_id, fields)


def flow(
    source: str, destination: str, octets: int, *, began: int = 60, ended: int = 0, name: bytes = b"ge-0"
) -> bytes:
    ends = (T - began) * 1000, (T - ended) * 1000
    addresses = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
    return addresses + struct.pack("!IQQ", octets, *ends) + bytes([len(name)]) + name


def said(*datagrams: bytes) -> list[Carried]:
    templates, found = Templates(), []
    for datagram in datagrams:
        read = decode(datagram, templates)
        found += [c for r in read.records for c in carried(r, read.exported_at, None, OURS)]
    return found


def test_a_flow_is_upstream_of_its_source_and_downstream_of_its_destination_where_they_are_ours() -> None:
    begin = NOW - timedelta(seconds=60)
    flows = flow("100.64.0.1", "198.51.100.9", 1500) + flow("198.51.100.9", "100.64.0.1", 90_000, name=b"x" * 40)
    # A field of 255 octets or more has its length in three octets (§7); and padding follows the last record.
    long = flow("100.64.0.2", "100.64.0.3", 7, name=b"")[:-1] + b"\xff" + struct.pack("!H", 300) + b"y" * 300
    found = said(message(template()), message((256, flows + long + bytes(3))))
    assert found == [
        Carried("100.64.0.1", begin, NOW, 1500, 0),
        Carried("100.64.0.1", begin, NOW, 0, 90_000),
        Carried("100.64.0.2", begin, NOW, 7, 0),
        Carried("100.64.0.3", begin, NOW, 0, 7),
    ]


def test_a_biflow_tells_of_both_directions_and_enterprise_fields_are_walked_over() -> None:
    fields = struct.pack("!HH", 300, 5) + struct.pack("!HHHH", 27, 16, 28, 16) + struct.pack("!HH", 1, 8)
    fields += struct.pack("!HHI", 0x8000 | 1, 8, REVERSE) + struct.pack("!HHI", 0x8000 | 1, 2, 9)
    ours, other = ipaddress.ip_address("2001:db8::7").packed, ipaddress.ip_address("2001:500::1").packed
    record = ours + other + struct.pack("!QQH", 100, 900, 5)
    assert said(message((2, fields), (300, record))) == [Carried("2001:db8::7", NOW, NOW, 100, 900)]


def test_uptimes_count_from_when_the_exporter_says_that_it_started() -> None:
    options = 3, struct.pack("!HHH", 400, 2, 1) + struct.pack("!HHHH", 144, 4, 160, 8)
    started = 400, struct.pack("!IQ", 1, (T - 1000) * 1000)
    uptimes = template(401, ((8, 4), (12, 4), (1, 8), (22, 4), (21, 4)))
    addresses = ipaddress.ip_address("100.64.0.1").packed + ipaddress.ip_address("8.8.8.8").packed
    data = 401, addresses + struct.pack("!QII", 10, 880_000, 990_000)
    clock = MovableClock(NOW)
    outlet = Outlet("ipfix", "", "address", Bins("x", lateness=timedelta(0)), [])
    collector = IpfixCollector(outlet, clock, exporters=networks("127.0.0.0/8"), ours=OURS)
    collector.datagram_received(message(options, started, uptimes), ("127.0.0.1", 1))
    collector.datagram_received(message(data, sequence=1), ("127.0.0.1", 1))
    collector.datagram_received(message(data, sequence=1), ("127.0.0.1", 1))  # UDP repeats itself
    collector.datagram_received(message(data, sequence=2), ("192.0.2.1", 1))  # nobody's exporter
    (record,) = outlet.bins.closed(NOW + timedelta(minutes=10))
    assert (record.since, record.until) == (NOW - timedelta(seconds=120), NOW - timedelta(seconds=10))
    assert (record.upstream_octets, record.downstream_octets) == (10, 0)


def collecting() -> tuple[IpfixCollector, Outlet]:
    outlet = Outlet("ipfix", "", "address", Bins("x", lateness=timedelta(0)), [])
    clock = MovableClock(NOW)
    return IpfixCollector(outlet, clock, exporters=networks("127.0.0.0/8"), ours=OURS), outlet


def test_two_exporting_processes_on_one_box_have_templates_and_numbers_of_their_own() -> None:
    collector, outlet = collecting()
    turned = template(256, ((12, 4), (8, 4), *FIELDS[2:]))
    first = message(template(), (256, flow("100.64.0.1", "8.8.8.8", 5)))
    second = message(turned, (256, flow("8.8.8.8", "100.64.0.2", 7)))
    for datagram, port in ((first, 4000), (second, 4001), (first, 4000)):
        collector.datagram_received(datagram, ("127.0.0.1", port))
    collector.datagram_received(message((256, flow("100.64.0.1", "8.8.8.8", 11)), sequence=1), ("127.0.0.1", 4000))
    found = {r.identifier: (r.upstream_octets, r.downstream_octets) for r in outlet.bins.closed(NOW)}
    found |= {r.identifier: (r.upstream_octets, r.downstream_octets) for r in outlet.bins.closed(NOW + timedelta(1))}
    assert found == {"100.64.0.1": (16, 0), "100.64.0.2": (7, 0)}


def test_an_absurd_record_costs_itself_alone_and_totals_are_counted_as_untold() -> None:
    collector, outlet = collecting()
    wide = template(256, ((8, 4), (12, 4), (1, 8)))
    totals = template(257, ((8, 4), (12, 4), (85, 8)))
    started = template(258, ((160, 8),))
    ends = ipaddress.ip_address("100.64.0.1").packed + ipaddress.ip_address("8.8.8.8").packed
    before = {reason: metrics.IPFIX_UNTOLD.labels(reason)._value.get() for reason in ("absurd", "no-delta")}
    collector.datagram_received(message(wide, totals, started), ("127.0.0.1", 1))
    records = ends + struct.pack("!Q", 2**64 - 1) + ends + struct.pack("!Q", 1200)
    init = 258, struct.pack("!Q", 2**64 - 1)
    collector.datagram_received(
        message(init, (256, records), (257, ends + struct.pack("!Q", 9)), sequence=1), ("127.0.0.1", 1)
    )
    (record,) = outlet.bins.closed(NOW + timedelta(hours=1))
    assert record.upstream_octets == 1200
    after = {reason: metrics.IPFIX_UNTOLD.labels(reason)._value.get() for reason in before}
    assert after == {reason: count + 1 for reason, count in before.items()}


def test_a_box_that_went_away_holds_the_watermark_for_a_day() -> None:
    outlet = Outlet("ipfix", "", "address", Bins("x"), [])
    clock = MovableClock(NOW)
    collector = IpfixCollector(outlet, clock, exporters=networks("127.0.0.0/8"), ours=OURS)
    collector.datagram_received(message(template()), ("127.0.0.1", 1))
    clock.move_to(NOW + timedelta(hours=23))
    collector.datagram_received(message(template()), ("127.0.0.2", 1))
    assert outlet.complete_until == horizon(NOW)
    clock.move_to(NOW + timedelta(hours=25))
    collector.datagram_received(message(template()), ("127.0.0.2", 2))
    assert outlet.complete_until == horizon(NOW + timedelta(hours=25))


def test_a_broken_exporter_is_told_of_once_a_minute_however_much_it_sends() -> None:
    collector, _ = collecting()
    counted = metrics.IPFIX_MESSAGES.labels("version")._value.get()
    with capture_logs() as lines:
        for _ in range(50):
            collector.datagram_received(b"\x00\x05" + bytes(30), ("127.0.0.1", 1))
    assert [line["event"] for line in lines] == ["ipfix.malformed"]
    assert metrics.IPFIX_MESSAGES.labels("version")._value.get() == counted + 50


def test_data_beside_a_withdrawal_of_all_templates_is_read() -> None:
    templates = Templates()
    decode(message(template()), templates)
    withdrawal = 2, struct.pack("!HH", 2, 0)
    assert len(decode(message(withdrawal, (256, flow("100.64.0.1", "8.8.8.8", 1))), templates).records) == 1


def test_data_before_its_template_cannot_be_read_and_is_counted() -> None:
    templates = Templates()
    assert decode(message((256, b"\0" * 40)), templates).unreadable == 1
    decode(message(template()), templates)
    assert len(decode(message((256, flow("100.64.0.1", "8.8.8.8", 1))), templates).records) == 1
    decode(message((2, struct.pack("!HH", 256, 0))), templates)  # withdrawn
    assert decode(message((256, b"\0" * 40)), templates).unreadable == 1


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"", "short"),
        (b"\0\x09" + bytes(18), "version"),
        (message(template())[:-1], "length"),
        (message(template()) + b"\0", "length"),
        (message((2, b"\1\0\0\1\0\1")), "template"),
        (message((2, struct.pack("!HHHH", 256, 1, 1, 0))), "template"),
        (message((2, struct.pack("!HHHH", 5, 1, 1, 4))), "template"),
        (message(template(), (256, flow("1.1.1.1", "2.2.2.2", 1)[:-1])), "record"),
        (struct.pack("!HHIII", 10, 20, T, 0, 0) + struct.pack("!HH", 2, 3), "set"),
    ],
)
def test_what_is_no_message_is_refused_with_a_reason(datagram: bytes, reason: str) -> None:
    templates = Templates()
    with pytest.raises(PeerError) as refused:
        decode(datagram, templates)
    assert refused.value.reason == reason
    assert templates.known == {}


@given(st.binary(max_size=200), st.lists(st.tuples(st.integers(0, 600), st.binary(max_size=60)), max_size=4))
def test_nothing_that_an_exporter_sends_breaks_the_collector(tail: bytes, sets: list[tuple[int, bytes]]) -> None:
    templates = Templates()
    decode(message(template()), templates)
    for datagram in (message(*sets), message(*sets)[:16] + tail, message((256, tail))):
        try:
            read = decode(datagram, templates)
        except PeerError:
            continue
        for record in read.records:
            for found in carried(record, read.exported_at, None, OURS):
                assert found.since <= found.until
