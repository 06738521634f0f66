"""Operational state of an OLT of the BBF model, read over NETCONF from the lab's OLT."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.errors import MalformedAnswer
from collectors.netconf.model import OnuState, parse
from collectors.netconf.samples import samples
from collectors.track import CounterTrack
from controller.domain.identity import ServiceId

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
REPLY = (Path(__file__).parent / "olt_state.xml").read_text()
"""An answer of the BBF model: one ONU present, one absent whose light is unknown."""


def test_presence_light_and_octets_are_read_from_the_state_trees() -> None:
    present, absent = parse(REPLY)
    assert (present.serial, present.present, present.pon_port) == ("HDND00000001", True, "pon-1")
    assert (present.rx_power_dbm, present.upstream_octets, present.downstream_octets) == (-19.5, 1000, 20000)
    assert present.discontinuity_at == datetime(2026, 4, 1, tzinfo=UTC)
    assert (absent.serial, absent.present, absent.rx_power_dbm, absent.pon_port) == ("HDND00000002", False, None, "")


def test_samples_carry_the_service_only_where_it_is_known() -> None:
    track = CounterTrack()
    services = {"HDND00000001": ServiceId("service-1")}
    first = samples("olt", parse(REPLY), NOW, track, services)
    assert {dict(s.tags).get("service") for s in first if dict(s.tags)["onu"] == "HDND00000001"} == {"service-1"}
    assert {dict(s.tags).get("service") for s in first if dict(s.tags)["onu"] == "HDND00000002"} == {None}
    assert [s.value for s in first if s.field == "present"] == [1, 0]
    grown = parse(REPLY.replace(">20000<", ">20500<"))
    second = samples("olt", grown, NOW + timedelta(minutes=1), track, services)
    assert {dict(s.tags)["direction"]: s.value for s in second if s.field == "octets"} == {
        "upstream": 0,
        "downstream": 500,
    }


def test_a_new_discontinuity_time_is_a_reset_even_if_the_octets_rose() -> None:
    track = CounterTrack()
    samples("olt", parse(REPLY), NOW, track, {})
    again = parse(REPLY.replace("2026-04-01", "2026-05-01").replace(">20000<", ">20900<"))
    found = samples("olt", again, NOW + timedelta(minutes=1), track, {})
    assert [s.value for s in found if s.field == "octets"] == [1000, 20900]


@pytest.mark.parametrize(
    "reply", ["", "no xml", "<hello/>", "<!DOCTYPE x [<!ENTITY e 'x'>]><rpc-reply>&e;</rpc-reply>"]
)
def test_what_is_no_answer_is_malformed(reply: str) -> None:
    with pytest.raises(MalformedAnswer):
        parse(reply)


@given(st.data())
def test_a_damaged_answer_is_parsed_or_malformed_and_nothing_else(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(REPLY)))
    damaged = REPLY[:start] + data.draw(st.text(max_size=5)) + REPLY[start + data.draw(st.integers(0, 40)) :]
    try:
        assert all(isinstance(onu, OnuState) for onu in parse(damaged))
    except MalformedAnswer:
        return
