"""Flows that an exporter sampled are multiplied by what it tells of its sampling, the way routers tell it."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors import metrics
from collectors.ipfix import collector as collector_module
from collectors.ipfix.collector import IpfixCollector
from collectors.ipfix.flows import Carried, multiplied, networks
from collectors.ipfix.message import REVERSE, Element, Record
from collectors.ipfix.sampling import DISBELIEVED, UNSAMPLED, ratio
from collectors.usage_bins import Bins
from collectors.usage_feed import Outlet
from controller.domain.clock import MovableClock
from tests.support.ipfix import NOW, Set, data, message, options_template, template

Fields = tuple[tuple[int, int], ...]
OURS, THEIRS = (int(ipaddress.ip_address(text)) for text in ("100.64.0.1", "198.51.100.9"))
FLOW: Fields = ((8, 4), (12, 4), (1, 8))
NAMED: Fields = (*FLOW, (48, 1))

# Scope: the exporting process. samplingInterval, timeouts, protocol version and transport, by Juniper's inline-jflow.
JUNIPER: Fields = ((144, 4), (34, 4), (36, 2), (37, 2), (214, 1), (215, 1))
# Scope: the sampler. samplerMode 2 is random, samplerRandomInterval, samplerName: Cisco's sampler table.
CISCO: Fields = ((48, 1), (49, 1), (50, 4), (84, 8))
# Scope: the metering process. samplingPacketInterval, samplingPacketSpace, selectorAlgorithm: Nokia, softflowd.
SYSTEMATIC: Fields = ((143, 4), (305, 4), (306, 4), (304, 2))


class Box:
    """A collector, and one box that sends to it; `taken` is the upstream octets of its subscriber since asked last."""

    def __init__(self) -> None:
        self.outlet = Outlet("ipfix", "", "address", Bins("x", lateness=timedelta(0)), [])
        self._collector = IpfixCollector(
            self.outlet, MovableClock(NOW), exporters=networks("127.0.0.0/8"), ours=networks("100.64.0.0/10")
        )
        self._sequence = 0
        self._counted = self._counts()

    def sends(self, *sets: Set, domain: int = 7, port: int = 4000, host: str = "127.0.0.1") -> None:
        self._sequence += 100
        self._collector.datagram_received(message(*sets, sequence=self._sequence, domain=domain), (host, port))

    def flows(self, *octets: int, sampler: int | None = None, domain: int = 7, port: int = 4000) -> int:
        """What is taken of flows with so many octets."""
        fields = FLOW if sampler is None else NAMED
        named = () if sampler is None else (sampler,)
        records = [(OURS, THEIRS, each, *named) for each in octets]
        self.sends(template(300, fields), data(300, fields, *records), domain=domain, port=port)
        return self.taken()

    def taken(self) -> int:
        return sum(each.upstream_octets for each in self.outlet.bins.closed(NOW + timedelta(hours=1)))

    def counts(self) -> dict[str, float]:
        """What was counted since this was asked before."""
        before, self._counted = self._counted, self._counts()
        return {name: value - before[name] for name, value in self._counted.items() if value != before[name]}

    @staticmethod
    def _counts() -> dict[str, float]:
        found = {
            reason: metrics.IPFIX_UNTOLD.labels(reason)._value.get() for reason in ("sampler", "sampling", "absurd")
        }
        return found | {"sampled": metrics.IPFIX_SAMPLED._value.get()}


def options(fields: Fields, *records: Sequence[int], template_id: int = 400, scope: int = 1) -> tuple[Set, Set]:
    return options_template(template_id, scope, fields), data(template_id, fields, *records)


def float64(value: float) -> bytes:
    return struct.pack("!d", value)


@pytest.mark.parametrize(
    ("told", "factor"),
    [
        ({34: 1000}, 1000),  # samplingInterval
        ({50: 512}, 512),  # samplerRandomInterval
        ({305: 1, 306: 99}, 100),  # samplingPacketInterval, samplingPacketSpace
        ({305: 2, 306: 1}, Fraction(3, 2)),
        ({307: 10, 308: 990}, 100),  # samplingTimeInterval, samplingTimeSpace
        ({396: 1, 397: 15}, 16),  # samplingFlowInterval, samplingFlowSpacing
        ({309: 3, 310: 1000}, Fraction(1000, 3)),  # samplingSize, samplingPopulation
        ({311: float64(0.25)}, 4),  # samplingProbability
        ({311: struct.pack("!f", 0.5)}, 2),
        ({34: 2**24}, 2**24),
        ({34: 0, 50: 100}, 100),
        ({305: 0, 306: 0, 34: 100}, 100),
        ({34: 1}, UNSAMPLED),
        ({305: 1, 306: 0}, UNSAMPLED),
        ({311: float64(1)}, UNSAMPLED),
        ({}, None),
        ({34: 0}, None),
        ({305: 0, 306: 0}, None),
        ({305: 1000}, DISBELIEVED),  # half a ratio
        ({306: 99}, DISBELIEVED),
        ({305: 0, 306: 99}, DISBELIEVED),
        ({309: 10, 310: 5}, DISBELIEVED),  # more than all of them
        ({34: 2**24 + 1}, DISBELIEVED),
        ({305: 1, 306: 2**31}, DISBELIEVED),
        ({311: float64(0)}, DISBELIEVED),
        ({311: float64(-0.5)}, DISBELIEVED),
        ({311: float64(1.5)}, DISBELIEVED),
        ({311: float64(1e-300)}, DISBELIEVED),
        ({311: float64(float("nan"))}, DISBELIEVED),
        ({311: float64(float("inf"))}, DISBELIEVED),
        ({311: b"\1\2"}, DISBELIEVED),
    ],
)
def test_a_ratio_is_exact_or_not_believed(told: dict[int, int | bytes], factor: Fraction | int | None) -> None:
    record: Record = {(0, e): v if isinstance(v, bytes) else v.to_bytes(4, "big") for e, v in told.items()}
    assert ratio(record) == factor


@given(st.integers(0, 2**30), st.integers(0, 2**30), st.integers(1, 1000), st.integers(0, 2**16))
def test_an_estimate_is_rounded_once(upstream: int, downstream: int, taken: int, skipped: int) -> None:
    factor = Fraction(taken + skipped, taken)
    flow = multiplied(Carried("100.64.0.1", NOW, NOW, upstream, downstream), factor)
    assert flow is not None
    assert abs(flow.upstream_octets - upstream * factor) <= Fraction(1, 2)
    assert abs(flow.downstream_octets - downstream * factor) <= Fraction(1, 2)


def test_juniper_tells_of_each_domain_without_an_id() -> None:
    box = Box()
    box.sends(*options(JUNIPER, (1, 1000, 60, 60, 10, 17)), domain=7)
    box.sends(*options(JUNIPER, (1, 100, 60, 60, 10, 17)), domain=8)
    assert (box.flows(40, 60, domain=7), box.flows(40, domain=8)) == (100_000, 4_000)
    assert box.counts() == {"sampled": 3}


def test_what_stands_beside_flows_in_a_message_holds_for_them_already() -> None:
    box = Box()
    flows = data(300, FLOW, (OURS, THEIRS, 5))
    box.sends(template(300, FLOW), flows, *options(SYSTEMATIC, (1, 1, 9, 1)))
    assert box.taken() == 50
    box.sends(flows, data(400, SYSTEMATIC, (1, 1, 99, 1)))
    assert box.taken() == 500


def test_what_is_told_anew_holds_from_then_on_and_one_or_zero_is_the_end_of_it() -> None:
    box = Box()
    taken = []
    for interval in (1000, 10, 1, 20, 0):
        box.sends(*options(JUNIPER, (1, interval, 60, 60, 10, 17)))
        taken.append(box.flows(3))
    assert taken == [3000, 30, 3, 60, 3]
    assert box.counts() == {"sampled": 3}


def test_cisco_tells_of_samplers_and_a_flow_names_its_own_or_none() -> None:
    box = Box()
    box.sends(*options(CISCO, (1, 2, 2000, 0), (2, 2, 4000, 0)))
    assert [box.flows(1, sampler=sampler) for sampler in (1, 2, 0)] == [2000, 4000, 1]
    assert box.counts() == {"sampled": 2}


def test_a_flow_of_a_sampler_that_nobody_told_of_is_counted_and_not_taken() -> None:
    box = Box()
    assert box.flows(10, 20, sampler=5) == 0
    assert box.counts() == {"sampler": 2}
    box.sends(*options(CISCO, (5, 2, 100, 0)))
    assert box.flows(10, sampler=5) == 1000
    # A router that exports the id and neither mode nor interval tells nothing.
    box.sends(*options(((48, 1), (84, 8)), (6, 0), template_id=401))
    assert box.flows(10, sampler=6) == 0


def test_flows_of_others_are_not_missed() -> None:
    box = Box()
    box.sends(template(300, NAMED), data(300, NAMED, (THEIRS, THEIRS, 10, 5)))
    assert box.counts() == {}


def test_before_an_exporter_told_what_its_options_template_promises_its_flows_wait_for_nobody() -> None:
    box = Box()
    told = options(JUNIPER, (1, 100, 60, 60, 10, 17))
    box.sends(told[0])
    assert box.flows(10) == 0
    assert box.counts() == {"sampler": 1}
    box.sends(told[1])
    assert box.flows(10) == 1000
    # A table of samplers may be empty, and what nobody says anything of is complete.
    other = Box()
    other.sends(options_template(400, 1, CISCO))
    assert (other.flows(10), other.flows(10, domain=8)) == (10, 10)
    other.sends(options_template(401, 1, JUNIPER), domain=8)
    assert (other.flows(10), other.flows(10, domain=8)) == (10, 0)


def test_a_selector_0_is_none_and_options_without_a_scope_are_of_the_domain() -> None:
    box = Box()
    selector: Fields = ((144, 4), (302, 8), (34, 4))  # Juniper's PTX
    box.sends(*options(selector, (1, 0, 10_922)))
    assert (box.flows(1), box.flows(1, sampler=0)) == (10_922, 10_922)
    box.sends(*options(((34, 4),), (50,), template_id=401, scope=0))
    assert box.flows(1) == 50
    # An interface beside the scope is not the scope.
    box.sends(*options(((144, 4), (10, 4), (34, 4)), (1, 5, 20), template_id=402))
    assert box.flows(1) == 20


def test_a_flow_that_names_no_sampler_is_of_the_only_one_or_of_several_alike() -> None:
    box = Box()
    box.sends(*options(CISCO, (1, 2, 100, 0)))
    assert (box.flows(1), box.flows(1, sampler=0)) == (100, 1)
    box.sends(*options(CISCO, (2, 2, 100, 0)))
    assert box.flows(1) == 100
    box.sends(*options(CISCO, (2, 2, 500, 0)))
    box.counts()
    assert box.flows(1) == 0
    assert box.counts() == {"sampler": 1}


def test_ios_xe_tells_of_its_samplers_in_a_domain_without_flows() -> None:
    box = Box()
    box.sends(*options(CISCO, (1, 2, 1000, 0)), domain=6)
    assert (box.flows(1, sampler=1, domain=256), box.flows(1, domain=512)) == (1000, 1000)
    # A domain with flows of its own speaks for itself alone.
    box.sends(*options(CISCO, (2, 2, 50, 0)), domain=9)
    assert box.flows(1, sampler=2, domain=256) == 50
    box.flows(1, domain=9)
    assert box.flows(1, sampler=2, domain=256) == 0
    # Where domains without flows disagree, nothing is told; what is told nearer goes first.
    box.sends(*options(CISCO, (1, 2, 30, 0)), domain=5)
    assert box.flows(1, sampler=1, domain=256) == 0
    box.sends(*options(CISCO, (1, 2, 20, 0)), domain=256)
    assert box.flows(1, sampler=1, domain=256) == 20
    box.sends(*options(JUNIPER, (1, 70, 60, 60, 10, 17)), domain=0)
    assert (box.flows(1, domain=256), box.flows(1, domain=257)) == (20, 70)


def test_parts_and_sequences_may_be_told_of_in_a_domain_without_flows() -> None:
    box = Box()
    box.sends(*options(((302, 8), (34, 4)), (1, 10)), domain=6)
    box.sends(*options(((301, 8), (302, 8), (302, 8)), (9, 1, 1), template_id=401), domain=6)
    box.sends(*options(((10, 4), (34, 4)), (5, 30), template_id=402), domain=6)
    fields: Fields = (*FLOW, (301, 8), (10, 4))
    box.sends(template(300, fields), data(300, fields, (OURS, THEIRS, 1, 9, 5), (OURS, THEIRS, 1, 0, 5)))
    assert box.taken() == 100 + 30


def test_options_from_another_port_of_the_box_are_those_of_the_same_domain() -> None:
    box = Box()
    box.sends(*options(JUNIPER, (1, 1000, 60, 60, 10, 17)), domain=7, port=2012)
    box.sends(*options(JUNIPER, (1, 100, 60, 60, 10, 17)), domain=8, port=2012)
    assert (box.flows(1, domain=7, port=50101), box.flows(1, domain=8, port=50101)) == (1000, 100)
    box.sends(template(300, FLOW), data(300, FLOW, (OURS, THEIRS, 1)), domain=7, host="127.0.0.9")
    assert box.taken() == 1  # another box
    # The same process goes first, whatever its domain; another domain of another process is better than none.
    box.sends(*options(JUNIPER, (1, 5, 60, 60, 10, 17)), domain=6, port=50101)
    assert (box.flows(1, domain=7, port=50101), box.flows(1, domain=9, port=50102)) == (5, 0)
    other = Box()
    other.sends(*options(JUNIPER, (1, 5, 60, 60, 10, 17)), domain=6, port=2012)
    assert other.flows(1, domain=7, port=50101) == 5


def test_two_processes_on_a_box_that_both_send_flows_speak_each_for_itself() -> None:
    box = Box()
    assert box.flows(1, port=4000) == 1
    box.sends(*options(SYSTEMATIC, (1, 1, 9, 1)), port=4001)
    assert box.flows(1, port=4001) == 10
    assert box.flows(1, port=4000) == 1


def test_a_process_that_is_gone_speaks_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector_module, "_MOST_PROCESSES", 2)
    box = Box()
    box.sends(*options(SYSTEMATIC, (1, 1, 9, 1)), port=4000)
    assert box.flows(1, port=4001) == 10
    box.sends(host="127.0.0.2")
    assert box.flows(1, port=4001) == 1
    box.sends(host="127.0.0.3")
    box.sends(host="127.0.0.4")
    assert box.flows(1, port=4001) == 1


def test_a_flow_may_tell_of_its_sampling_itself() -> None:
    box = Box()
    box.sends(*options(JUNIPER, (1, 1000, 60, 60, 10, 17)))
    fields: Fields = (*FLOW, (34, 4), (48, 1))
    box.sends(template(300, fields), data(300, fields, (OURS, THEIRS, 1, 512, 0)))
    assert box.taken() == 512
    box.sends(data(300, fields, (OURS, THEIRS, 1, 1, 0)))
    assert box.taken() == 1
    box.sends(data(300, fields, (OURS, THEIRS, 1, 0, 0)))  # nothing of its own
    assert box.taken() == 1000
    netstream: Fields = (*FLOW, (34, 4))
    flows = data(300, netstream, (OURS, THEIRS, 1, 0), (OURS, THEIRS, 1, 100))
    box.sends(template(300, netstream), flows, domain=8)  # and nobody else says anything
    assert box.taken() == 101


def test_selectors_of_rfc5476_and_sequences_of_them() -> None:
    selectors: Fields = ((302, 8), (304, 2), (309, 4), (310, 4))
    filters: Fields = ((302, 8), (304, 2), (4, 1))
    box = Box()
    box.sends(*options(selectors, (1, 3, 3, 10), (2, 3, 1, 100)))
    box.sends(*options(filters, (3, 5, 17), template_id=401))  # property match: all packets of UDP
    # Sequence 9: the filter, one selector, and the other of what that left over. 10: a selector of unknown share.
    sequence: Fields = ((301, 8), (138, 4), (302, 8), (302, 8), (302, 8))
    box.sends(*options(sequence, (9, 1, 3, 1, 2), (10, 1, 3, 1, 7), template_id=402))
    flows: Fields = (*FLOW, (301, 8))
    box.sends(template(300, flows), data(300, flows, (OURS, THEIRS, 3, 9)))
    assert box.taken() == 1000
    box.sends(data(300, flows, (OURS, THEIRS, 3, 10), (OURS, THEIRS, 3, 11)))
    assert box.taken() == 0
    assert box.counts() == {"sampled": 1, "sampler": 2}
    assert [box.flows(3, sampler=sampler) for sampler in (1, 2, 3)] == [10, 300, 3]


def test_a_selector_need_not_be_the_scope_of_what_is_told_of_it() -> None:
    # ipt_NETFLOW: scope observationDomainId, then selectorId, flowSelectorAlgorithm, samplingSize, samplingPopulation.
    box = Box()
    box.sends(*options(((149, 4), (302, 8), (390, 2), (309, 4), (310, 4)), (7, 1, 3, 1, 20)))
    named: Fields = (*FLOW, (302, 8))
    box.sends(template(300, named), data(300, named, (OURS, THEIRS, 1, 1)))
    assert box.taken() == 20


def test_a_narrow_scope_holds_for_the_flows_of_that_part_alone() -> None:
    ports: Fields = ((10, 4), (305, 4), (306, 4))
    cards: Fields = ((141, 4), (305, 4), (306, 4))
    flows: Fields = (*FLOW, (10, 4), (14, 4))
    box = Box()
    box.sends(*options(ports, (5, 1, 99), (6, 1, 9)))
    for interface, octets in ((5, 100), (6, 10), (7, 0)):
        box.sends(template(300, flows), data(300, flows, (OURS, THEIRS, 1, interface, 5)))
        assert box.taken() == octets, interface
    assert box.counts() == {"sampled": 2, "sampler": 1}
    box.sends(*options(SYSTEMATIC, (1, 1, 1, 1), template_id=401))  # and what holds for the rest of the domain
    box.sends(data(300, flows, (OURS, THEIRS, 1, 7, 5), (OURS, THEIRS, 1, 6, 5)))
    assert box.taken() == 2 + 10
    # A flow that does not say of which card it is: all cards that were told of do alike.
    other = Box()
    other.sends(*options(cards, (0, 1, 99), (1, 1, 99)))
    assert other.flows(1) == 100
    other.sends(*options(cards, (1, 1, 9)))
    assert other.flows(1) == 0


def test_both_directions_of_a_biflow_are_multiplied() -> None:
    box = Box()
    box.sends(*options(SYSTEMATIC, (1, 2, 1, 1)))
    fields = struct.pack("!HH", 300, 4) + struct.pack("!6H", 8, 4, 12, 4, 1, 8)
    fields += struct.pack("!HHI", 0x8000 | 1, 8, REVERSE)
    box.sends((2, fields), (300, struct.pack("!IIQQ", OURS, THEIRS, 5, 7)))
    (record,) = box.outlet.bins.closed(NOW + timedelta(hours=1))
    assert (record.upstream_octets, record.downstream_octets) == (8, 11)  # 7.5 and 10.5
    assert box.counts() == {"sampled": 1}


def test_what_cannot_be_is_not_taken_and_counted() -> None:
    box = Box()
    box.sends(*options(CISCO, (1, 2, 2**31, 0), (2, 2, 2**24, 0)))
    assert box.flows(1, sampler=1) == 0
    assert box.counts() == {"sampling": 1}
    assert box.flows(2**37, 1, sampler=2) == 2**24
    assert box.counts() == {"absurd": 1, "sampled": 1}


def test_an_exporter_with_more_samplers_than_anybody_has_is_heard_no_further() -> None:
    box = Box()
    fields: Fields = ((302, 4), (34, 4))
    box.sends(*options(fields, *((n, 100) for n in range(1, 4097))))
    box.sends(data(400, fields, (4097, 100), (1, 10)))
    named: Fields = (*FLOW, (302, 4))
    box.sends(template(300, named), data(300, named, *((OURS, THEIRS, 1, n) for n in (1, 4096, 4097))))
    assert box.taken() == 110


elements = st.sampled_from([8, 12, 1, 10, 34, 48, 50, 141, 144, 301, 302, 304, 305, 306, 309, 310, 311])
fields = st.lists(st.tuples(elements, st.integers(0, 9)), min_size=1, max_size=6)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9), fields, st.binary(max_size=80)), max_size=6))
def test_whatever_is_told_of_sampling_a_flow_is_taken_at_least_once_or_counted(
    told: list[tuple[bool, int, list[tuple[int, int]], bytes]],
) -> None:
    box = Box()
    for n, (optional, scope, fields, content) in enumerate(told):
        announced = options_template(400 + n, scope, fields) if optional else template(400 + n, fields)
        box.sends(announced, (400 + n, content))
        for sampler in (None, 3):
            box.taken()  # of what was told itself
            box.counts()
            taken, counted = box.flows(1, sampler=sampler), box.counts()
            assert 1 <= taken <= 2**24 if taken else {"sampler", "sampling"} & counted.keys()


def test_elements_of_enterprises_tell_nothing() -> None:
    told: dict[Element, bytes] = {(2636, 34): b"\0\0\0\x64"}
    assert ratio(told) is None
