"""Render, parse and plan of the OLT driver, without any device."""

from __future__ import annotations

from dataclasses import replace

import pytest
from lxml import etree

from controller.domain.errors import PermanentDeviceError
from controller.domain.service import SpeedProfile
from controller.domain.units import MBPS
from drivers.bbf_olt import parse
from drivers.bbf_olt.model import Key, Names, PonPort, Reading, lines, same, upstream_profile
from drivers.bbf_olt.plan import plan
from drivers.bbf_olt.render import BbfOltSettings, selection, service_objects
from drivers.errors import UnsuitableDevice
from tests.support.olt import HUNDRED, SERVICE_ID, THREE_HUNDRED, fibre

PORT = PonPort("pon-1", "channelpair-1", "channelpartition-1")
SETTINGS = BbfOltSettings()


def carried(profile: SpeedProfile = HUNDRED) -> Reading:
    """What is read back when the service is on the OLT exactly as it was rendered."""
    return Reading(service_objects(fibre(profile), PORT, SETTINGS), {"pon-1": PORT})


def test_what_is_read_back_as_rendered_needs_nothing() -> None:
    assert plan("olt-1", fibre(), carried(), SETTINGS).is_empty


def test_observed_undoes_rendered() -> None:
    observed = parse.observed(carried(THREE_HUNDRED), SERVICE_ID, {})
    assert (observed.downstream_bps, observed.upstream_bps) == (300 * MBPS, 150 * MBPS)
    assert (observed.onu_serial, observed.pon_port, observed.subscriber_vlan) == ("LABO00000001", "pon-1", 100)


def test_names_depend_on_the_service_id_alone() -> None:
    assert Names.of(SERVICE_ID).all == tuple(service_objects(fibre(THREE_HUNDRED, vlan=7), PORT, SETTINGS))[2:]


def test_a_new_service_is_added_object_by_object() -> None:
    steps = plan("olt-1", fibre(), Reading({}, {"pon-1": PORT}), SETTINGS).steps
    assert len(steps) == 1
    assert [part.split()[1] for part in steps[0].summary.split("; ")] == [
        "traffic-descriptor-profile", "shaper-profile", "interface", "interface", "interface", "tcont", "gemport",
    ]  # fmt: skip


def test_a_speed_change_replaces_references_and_drops_the_old_profiles() -> None:
    step = plan("olt-1", fibre(THREE_HUNDRED), carried(HUNDRED), SETTINGS).steps[0]
    assert step.summary.split("; ") == [
        "add traffic-descriptor-profile headend-up-150000000",
        "add shaper-profile headend-down-300000000",
        f"change interface venet-{SERVICE_ID}",
        f"change tcont tcont-{SERVICE_ID}",
        "remove traffic-descriptor-profile headend-up-50000000",
        "remove shaper-profile headend-down-100000000",
    ]


def test_profiles_of_others_are_never_removed() -> None:
    shared = replace(carried(HUNDRED), used_by_others=frozenset({upstream_profile(50 * MBPS)}))
    summary = plan("olt-1", fibre(THREE_HUNDRED), shared, SETTINGS).steps[0].summary
    assert "headend-up-50000000" not in summary
    foreign = Key("shaper-profile", "made-by-hand")
    objects = {**carried(HUNDRED).objects, foreign: etree.Element("shaper-profile")}
    summary = plan("olt-1", fibre(present=False), Reading(objects, {}), SETTINGS).steps[0].summary
    assert "made-by-hand" not in summary


def test_a_profile_altered_by_hand_is_put_right() -> None:
    found = carried()
    profile = found.objects[upstream_profile(50 * MBPS)]
    profile.find("{*}maximum-bandwidth").text = "7"
    assert plan("olt-1", fibre(), found, SETTINGS).steps[0].summary == "change " + str(upstream_profile(50 * MBPS))


def test_removal_needs_no_pon_port() -> None:
    step = plan("olt-1", fibre(present=False), replace(carried(), ports={}), SETTINGS).steps[0]
    assert step.rendered.count('operation="remove"') == 7
    assert 'operation="replace"' not in step.rendered


def test_a_missing_pon_port_is_said_with_what_there_is() -> None:
    with pytest.raises(UnsuitableDevice, match="olt-1 has no PON port 'pon-1'; it has none"):
        plan("olt-1", fibre(), Reading(), SETTINGS)


def test_rates_become_the_units_of_the_model() -> None:
    objects = service_objects(
        fibre(SpeedProfile("p", 123_456_000, 7_000_001)), PORT, BbfOltSettings(assured_percent=50)
    )
    texts = [line.strip() for element in objects.values() for line in lines(element)]
    assert "pir 123456" in texts
    assert "maximum-bandwidth 7000001" in texts
    assert "assured-bandwidth 3500000" in texts
    with pytest.raises(PermanentDeviceError):
        service_objects(fibre(SpeedProfile("p", 2**32 * 1000, 1)), PORT, SETTINGS)


def test_devices_may_order_prefix_and_spell_out_defaults_as_they_like() -> None:
    ours = etree.fromstring(
        '<interface xmlns="urn:i"><name>a</name><type xmlns:x="urn:t">x:v-ani</type><v-ani xmlns="urn:v">'
        "<channel-partition>p</channel-partition></v-ani></interface>"
    )
    theirs = etree.fromstring(
        '<i:interface xmlns:i="urn:i" xmlns:bbf="urn:t"><v:v-ani xmlns:v="urn:v"><v:upstream-fec>false</v:upstream-fec>'
        "<v:channel-partition> p </v:channel-partition></v:v-ani><i:type>bbf:v-ani</i:type><i:name>a</i:name>"
        "</i:interface>"
    )
    assert same(ours, theirs)
    theirs.find(".//{urn:v}upstream-fec").text = "true"
    assert not same(ours, theirs)
    assert not same(ours, None)


def test_an_object_read_in_two_parts_is_the_fuller_one() -> None:
    whole = carried()
    v_enet = Names.of(SERVICE_ID).v_enet
    answer = etree.fromstring(
        f'<data><interfaces xmlns="urn:ietf:params:xml:ns:yang:ietf-interfaces"><interface><name>{v_enet.name}</name>'
        "</interface></interfaces></data>"
    )
    interfaces = etree.Element("{urn:ietf:params:xml:ns:yang:ietf-interfaces}interfaces")
    interfaces.append(whole.objects[v_enet])
    full = etree.Element("data")
    full.append(interfaces)
    for answers in ([answer, full], [full, answer]):
        assert parse.reading(answers, SERVICE_ID, ()).objects[v_enet].find("{*}olt-v-enet") is not None


def test_a_service_with_parts_missing_is_present_with_gaps() -> None:
    names = Names.of(SERVICE_ID)
    objects = {key: element for key, element in carried().objects.items() if key == names.gemport}
    observed = parse.observed(Reading(objects), SERVICE_ID, {})
    assert observed.present
    assert observed.downstream_bps is None
    assert observed.onu_serial is None


def test_a_selection_names_each_object_once_below_shared_containers() -> None:
    subtree = selection(Names.of(SERVICE_ID).all)
    assert len(subtree.findall("{*}interfaces")) == 1
    assert len(subtree.findall("{*}interfaces/{*}interface")) == 3
    assert len(subtree.findall("{*}xpongemtcont")) == 1
