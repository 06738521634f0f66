from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from controller.domain.identity import DeviceId, ServiceId
from controller.domain.ports import SessionRate
from controller.domain.service import (
    AttachedService,
    DesiredService,
    ObservedService,
    OnuAttachment,
    Plan,
    RouterAttachment,
    SpeedProfile,
    Step,
)
from controller.domain.units import MBPS
from controller.provisioning import intent, verify
from controller.provisioning.errors import BadIntent, NoFreeVlan

NOW = datetime(2026, 5, 1, tzinfo=UTC)
PROFILE = SpeedProfile("fibre-300", 300 * MBPS, 150 * MBPS)
SERVICE = ServiceId("s" * 32)


def desired(present: bool = True, **attachment: object) -> AttachedService:
    values = {"device_id": DeviceId("o"), "pon_port": "pon-1", "onu_serial": "ABCD0000000F", "subscriber_vlan": 100}
    return AttachedService(SERVICE, PROFILE, OnuAttachment(**{**values, **attachment}), present)  # type: ignore[arg-type]


def service(**attachment: object) -> DesiredService:
    return DesiredService(SERVICE, PROFILE, (desired(**attachment).attachment,))  # type: ignore[arg-type]


def observed(**changes: object) -> ObservedService:
    values = {
        "present": True, "downstream_bps": 300 * MBPS, "upstream_bps": 150 * MBPS,
        "onu_serial": "ABCD0000000F", "pon_port": "pon-1", "subscriber_vlan": 100,
    }  # fmt: skip
    return ObservedService(SERVICE, **{**values, **changes})  # type: ignore[arg-type]


def rate(profile: str | None, downstream_bps: int | None = None, upstream_bps: int | None = None) -> SessionRate:
    return SessionRate("k", profile, downstream_bps, upstream_bps, NOW, "class")


def test_what_is_as_desired_differs_in_nothing() -> None:
    assert verify.differences(desired(), observed()) == ()
    assert verify.differences(desired(), observed(onu_serial="abcd0000000f")) == ()
    assert verify.differences(desired(present=False), ObservedService(SERVICE, present=False)) == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"downstream_bps": 100 * MBPS}, "downstream is 100 Mbit/s, desired 300 Mbit/s"),
        ({"upstream_bps": None}, "upstream is unknown, desired 150 Mbit/s"),
        ({"onu_serial": "EFGH00000001"}, "ONU serial is EFGH00000001, desired ABCD0000000F"),
        ({"pon_port": "pon-2"}, "PON port is pon-2, desired pon-1"),
        ({"subscriber_vlan": None}, "subscriber VLAN is unknown, desired 100"),
    ],
)
def test_each_difference_is_said_in_words(changes: dict[str, object], words: str) -> None:
    assert verify.differences(desired(), observed(**changes)) == (words,)


def test_on_a_router_its_interface_is_compared() -> None:
    policed = AttachedService(SERVICE, PROFILE, RouterAttachment(DeviceId("r"), "Ethernet1", 100))
    seen = observed(onu_serial=None, pon_port=None, interface="Ethernet2")
    assert verify.differences(policed, seen) == ("interface is Ethernet2, desired Ethernet1",)
    assert verify.differences(policed, observed(interface="Ethernet1")) == ()


def test_a_service_is_brought_up_from_the_core_and_taken_down_from_the_subscriber() -> None:
    onu, router = OnuAttachment(DeviceId("o"), "pon-1", "ABCD0000000F"), RouterAttachment(DeviceId("r"), "Ethernet1")
    for present, order in ((True, [router, onu]), (False, [onu, router])):
        parts = DesiredService(SERVICE, PROFILE, (onu, router), present).by_device()
        assert [part.attachment for part in parts] == order


def test_a_device_that_is_named_twice_is_refused() -> None:
    onu, again = OnuAttachment(DeviceId("o"), "pon-1", "ABCD0000000F"), RouterAttachment(DeviceId("o"), "Ethernet1")
    with pytest.raises(BadIntent, match="once"):
        intent.check(DesiredService(SERVICE, PROFILE, (onu, again)))


def test_a_missing_service_and_one_that_should_be_gone_are_told_apart() -> None:
    assert verify.differences(desired(), ObservedService(SERVICE, present=False)) == (
        "the service is not on the device",
    )
    assert verify.differences(desired(present=False), observed()) == ("the service is still on the device",)


def test_a_plan_that_is_left_over_counts_as_a_difference() -> None:
    plan = Plan(DeviceId("o"), SERVICE, (Step("add gemport gem-1", "<rpc/>"),), "+ gem-1")
    assert verify.remaining(desired(), observed(), plan) == ("the device would still need: add gemport gem-1",)
    assert verify.remaining(desired(), observed(), Plan(DeviceId("o"), SERVICE, (), "")) == ()


@pytest.mark.parametrize(
    ("seen", "state"),
    [
        ([], "no-session"),
        ([None], "pending"),
        ([rate("fibre-300"), None], "pending"),
        ([rate("fibre-100"), None], "mismatch"),
        ([rate("fibre-300")], "class-echoed"),
        ([rate("fibre-300"), rate(None, 300 * MBPS, 150 * MBPS)], "class-echoed"),
        ([rate("fibre-300", 300 * MBPS, 1000 * MBPS)], "mismatch"),
        ([rate(None, 300 * MBPS, 150 * MBPS)], "verified"),
        ([rate(None, 300 * MBPS)], "verified"),
        ([rate("fibre-300", 100 * MBPS, 150 * MBPS)], "mismatch"),
        ([rate(None)], "mismatch"),
    ],
)
def test_sessions_are_judged_by_what_was_seen_of_them(seen: list[SessionRate | None], state: str) -> None:
    verdict = verify.sessions(PROFILE, [(f"k{n}", one) for n, one in enumerate(seen)])
    assert verdict.state == state
    assert len(verdict.details) == len(seen)


def test_class_alone_is_called_what_it_is_and_does_not_suffice_everywhere() -> None:
    by_class, by_rate = rate("fibre-300"), rate("fibre-300", 300 * MBPS, 150 * MBPS)
    weak = verify.sessions(PROFILE, [("k", by_class)])
    assert "Class echoed only" in weak.details[0]
    assert "verified by rate" in verify.sessions(PROFILE, [("k", by_rate)]).details[0]
    strict = verify.sessions(PROFILE, [("k", replace(by_class, class_suffices=False))])
    assert strict.state == "pending"
    assert "asks for a rate" in strict.details[0]


def test_class_echoed_by_a_nas_that_refused_the_change_proves_nothing() -> None:
    """It may have applied half of it: only what rate it shows counts."""
    by_class, by_rate = rate("fibre-300"), rate("fibre-300", 300 * MBPS, 150 * MBPS)
    failures = {"k": "NAK 401: Unsupported Attribute"}
    refused = verify.sessions(PROFILE, [("k", by_class)], failures)
    assert (refused.state, refused.details) == ("refused", ("session k: NAK 401: Unsupported Attribute",))
    assert verify.sessions(PROFILE, [("k", None)], failures).state == "refused"
    assert verify.sessions(PROFILE, [("k", by_rate)], failures).state == "verified"
    assert verify.sessions(PROFILE, [("k", by_class), ("l", None)], {"other": "NAK"}).state == "pending"


@pytest.mark.parametrize("serial", ["", "ABCD", "ABCD0000000G", "ABC00000001", "ABCD000000011"])
def test_a_serial_that_is_none_is_refused(serial: str) -> None:
    with pytest.raises(BadIntent, match="serial"):
        intent.check(service(onu_serial=serial))


@pytest.mark.parametrize("vlan", [-1, 4095])
def test_a_vlan_out_of_range_is_refused(vlan: int) -> None:
    with pytest.raises(BadIntent, match="VLAN"):
        intent.check(service(subscriber_vlan=vlan))


def test_the_lowest_free_vlan_is_chosen_until_there_is_none() -> None:
    assert intent.free_vlan({100, 101, 103}, 100, 103) == 102
    with pytest.raises(NoFreeVlan):
        intent.free_vlan({100, 101}, 100, 101)
