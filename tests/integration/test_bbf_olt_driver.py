"""The OLT driver against the lab's OLT: a real NETCONF server over SSH, in strict mode."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from lxml import etree

from controller.domain.errors import PermanentDeviceError, TemporaryDeviceError
from controller.domain.ports import DeviceEndpoint
from controller.domain.units import MBPS
from controller.provisioning import verify
from drivers.bbf_olt.driver import BbfOltDriver
from drivers.errors import DeviceBusy, DeviceRefused, DeviceUnreachable, UnsuitableDevice
from lab.olt.device import Olt
from lab.olt.server import OltServer
from tests.support.olt import HUNDRED, OTHER_SERVICE_ID, THREE_HUNDRED, driver_with, endpoint_of, fibre, put
from tests.support.yang import STATE_MODULES, Yanglint, without_operations


@pytest.fixture
async def driver() -> AsyncIterator[BbfOltDriver]:
    made, transport = driver_with()
    yield made
    await transport.close()


@pytest.fixture
def device(olt: OltServer) -> DeviceEndpoint:
    return endpoint_of(olt)


def running(olt: Olt) -> bytes:
    text: bytes = etree.tostring(olt.running, method="c14n")
    return text


def rpcs(server: OltServer, session_id: int) -> list[str]:
    return [entry.rpc for entry in server.olt.transcript if entry.session_id == session_id]


async def test_an_added_service_is_read_back_as_desired(
    olt: OltServer, driver: BbfOltDriver, device: DeviceEndpoint
) -> None:
    desired = fibre()
    assert await put(driver, device, desired)
    observed = await driver.observe(device, desired)
    assert verify.differences(desired, observed) == ()
    assert (observed.downstream_bps, observed.upstream_bps) == (100 * MBPS, 50 * MBPS)
    assert (observed.onu_serial, observed.pon_port, observed.subscriber_vlan) == ("LABO00000001", "pon-1", 100)


async def test_a_change_goes_through_lock_validate_and_a_confirmed_commit(
    olt: OltServer, driver: BbfOltDriver, device: DeviceEndpoint
) -> None:
    await put(driver, device, fibre())
    assert rpcs(olt, 2) == [
        "lock", "discard-changes", "edit-config", "validate", "commit",
        "get-config", "get-config", "commit", "unlock", "close-session",
    ]  # fmt: skip
    assert all(entry.outcome == "ok" for entry in olt.olt.transcript)
    assert not olt.olt.is_pending


async def test_the_second_run_has_nothing_to_do(olt: OltServer, driver: BbfOltDriver, device: DeviceEndpoint) -> None:
    desired = fibre()
    await put(driver, device, desired)
    before = running(olt.olt)
    plan = driver.plan(device, desired, await driver.observe(device, desired))
    assert plan.is_empty
    assert plan.diff == ""
    sessions = len({entry.session_id for entry in olt.olt.transcript})
    await driver.apply(device, desired, plan)
    assert running(olt.olt) == before
    assert len({entry.session_id for entry in olt.olt.transcript}) == sessions, "an empty plan opens no session"


async def test_a_plan_change_touches_only_the_speed_and_drops_profiles_nobody_uses(
    olt: OltServer, driver: BbfOltDriver, device: DeviceEndpoint
) -> None:
    await put(driver, device, fibre(HUNDRED))
    faster = fibre(THREE_HUNDRED)
    plan = driver.plan(device, faster, await driver.observe(device, faster))
    assert "-    shaper-name headend-down-100000000" in plan.diff
    assert "+    shaper-name headend-down-300000000" in plan.diff
    assert "expected-serial-number" not in plan.steps[0].rendered
    await driver.apply(device, faster, plan)
    observed = await driver.observe(device, faster)
    assert (observed.downstream_bps, observed.upstream_bps) == (300 * MBPS, 150 * MBPS)
    assert b"headend-down-100000000" not in running(olt.olt)
    assert b"headend-up-50000000" not in running(olt.olt)
    assert not await put(driver, device, faster)


async def test_a_profile_that_another_service_uses_stays(
    olt: OltServer, driver: BbfOltDriver, device: DeviceEndpoint
) -> None:
    neighbour = fibre(HUNDRED, service_id=OTHER_SERVICE_ID, serial="LABO00000002", vlan=101)
    await put(driver, device, fibre(HUNDRED))
    await put(driver, device, neighbour)
    await put(driver, device, fibre(THREE_HUNDRED))
    observed = await driver.observe(device, neighbour)
    assert verify.differences(neighbour, observed) == ()


async def test_a_deleted_service_leaves_the_olt_as_it_was(
    olt: OltServer, driver: BbfOltDriver, device: DeviceEndpoint
) -> None:
    before = running(olt.olt)
    await put(driver, device, fibre())
    gone = fibre(present=False)
    assert await put(driver, device, gone)
    assert running(olt.olt) == before
    assert not (await driver.observe(device, gone)).present
    assert not await put(driver, device, gone)


async def test_dying_between_edit_and_commit_leaves_the_old_state(
    olt: OltServer, driver: BbfOltDriver, device: DeviceEndpoint
) -> None:
    before = running(olt.olt)
    olt.olt.faults.drop_before.add("commit")
    with pytest.raises(DeviceUnreachable, match="broke off at commit"):
        await put(driver, device, fibre())
    assert running(olt.olt) == before
    assert olt.olt.locks == {}
    assert await put(driver, device, fibre()), "nothing of the first attempt stands in the way of the next"


async def test_dying_after_the_confirmed_commit_rolls_back_at_once(
    olt: OltServer, driver: BbfOltDriver, device: DeviceEndpoint
) -> None:
    before = running(olt.olt)
    olt.olt.faults.drop_after.add("commit")
    with pytest.raises(TemporaryDeviceError):
        await put(driver, device, fibre())
    assert running(olt.olt) == before
    assert not olt.olt.is_pending


async def test_a_refusal_is_permanent_and_carries_the_words_of_the_device(
    olt: OltServer, driver: BbfOltDriver, device: DeviceEndpoint
) -> None:
    before = running(olt.olt)
    olt.olt.faults.refuse_edits = "licence for 0 ONUs exceeded"
    with pytest.raises(DeviceRefused, match=r"edit-config refused: operation-failed \(licence for 0 ONUs exceeded\)"):
        await put(driver, device, fibre())
    assert running(olt.olt) == before
    assert olt.olt.locks == {}


async def test_a_serial_that_the_olt_expects_elsewhere_is_refused_by_the_olt(
    driver: BbfOltDriver, device: DeviceEndpoint
) -> None:
    await put(driver, device, fibre())
    thief = fibre(service_id=OTHER_SERVICE_ID, vlan=101)
    with pytest.raises(PermanentDeviceError, match="expected by vani-"):
        await put(driver, device, thief)


async def test_an_unknown_pon_port_is_named_with_those_there_are(driver: BbfOltDriver, device: DeviceEndpoint) -> None:
    with pytest.raises(UnsuitableDevice, match="no PON port 'pon-9'; it has pon-1, pon-2"):
        await put(driver, device, fibre(pon_port="pon-9"))


async def test_a_rate_the_shaper_cannot_say_is_refused_before_anything_is_sent(
    driver: BbfOltDriver, device: DeviceEndpoint
) -> None:
    odd = fibre(type(HUNDRED)("odd", 100_000_001, MBPS))
    with pytest.raises(PermanentDeviceError, match="whole number of kbit/s"):
        await put(driver, device, odd)


async def test_a_lock_held_by_somebody_else_means_later(
    olt: OltServer, driver: BbfOltDriver, device: DeviceEndpoint
) -> None:
    desired = fibre()
    plan = driver.plan(device, desired, await driver.observe(device, desired))
    operator = olt.olt.open_session()
    olt.olt.lock(operator, "candidate")
    with pytest.raises(DeviceBusy, match="lock-denied"):
        await driver.apply(device, desired, plan)
    olt.olt.unlock(operator, "candidate")
    await driver.apply(device, desired, plan)


async def test_changes_forgotten_in_the_candidate_are_discarded_not_committed(
    olt: OltServer, driver: BbfOltDriver, device: DeviceEndpoint
) -> None:
    operator = olt.olt.open_session()
    edit = etree.fromstring(
        '<config><interfaces xmlns="urn:ietf:params:xml:ns:yang:ietf-interfaces"><interface><name>uplink-1</name>'
        "<description>forgotten</description></interface></interfaces></config>"
    )
    olt.olt.edit(operator, edit, "merge", "test-then-set")
    olt.olt.close_session(operator)
    await put(driver, device, fibre())
    assert b"forgotten" not in running(olt.olt)


async def test_what_is_read_back_before_the_confirming_commit_decides(
    olt: OltServer, driver: BbfOltDriver, device: DeviceEndpoint
) -> None:
    """The OLT takes the edit and the commit, but its running configuration is another one."""
    before = running(olt.olt)
    honest = olt.olt.commit

    def forgetful(session_id: int, **arguments: object) -> None:
        honest(session_id, **arguments)  # type: ignore[arg-type]
        if arguments["confirmed"]:
            olt.olt.running = etree.fromstring(before)

    olt.olt.commit = forgetful  # type: ignore[assignment,method-assign]
    with pytest.raises(DeviceRefused, match="read back something else"):
        await put(driver, device, fibre())
    assert not olt.olt.is_pending
    assert running(olt.olt) == before


async def test_an_olt_changed_behind_our_back_shows_differences(
    olt: OltServer, driver: BbfOltDriver, device: DeviceEndpoint
) -> None:
    olt.olt.faults.alter_after_commit = (
        '<config><tm-profiles xmlns="urn:bbf:yang:bbf-qos-traffic-mngt"><shaper-profile '
        'xmlns="urn:bbf:yang:bbf-qos-shaping"><name>headend-down-100000000</name>'
        "<single-token-bucket><pir>64000</pir></single-token-bucket></shaper-profile></tm-profiles></config>"
    )
    desired = fibre()
    await put(driver, device, desired)
    observed = await driver.observe(device, desired)
    assert verify.differences(desired, observed) == ("downstream is 64 Mbit/s, desired 100 Mbit/s",)
    assert driver.plan(device, desired, observed).steps[0].summary == "change shaper-profile headend-down-100000000"


async def test_every_payload_and_the_whole_running_configuration_satisfy_the_published_modules(
    olt: OltServer, driver: BbfOltDriver, device: DeviceEndpoint, yanglint: Yanglint
) -> None:
    neighbour = fibre(service_id=OTHER_SERVICE_ID, serial="LABO00000002", vlan=101, pon_port="pon-2")
    for desired in (fibre(HUNDRED), neighbour, fibre(THREE_HUNDRED), fibre(THREE_HUNDRED, present=False)):
        plan = driver.plan(device, desired, await driver.observe(device, desired))
        edit = etree.fromstring(plan.steps[0].rendered)
        assert yanglint.check(without_operations(edit.find("{*}config")), "edit") == ""
        await driver.apply(device, desired, plan)
        assert yanglint.check(list(olt.olt.running)) == ""


async def test_yanglint_finds_what_the_olt_would_refuse(
    olt: OltServer, driver: BbfOltDriver, device: DeviceEndpoint, yanglint: Yanglint
) -> None:
    """The check above can fail: a maximum below fixed + assured, and a reference to nothing."""
    await put(driver, device, fibre())
    whole = etree.tostring(olt.olt.running)
    for old, new in ((b">50000000<", b">5<"), (b">tcont-0190", b">tcont-0191")):
        broken = etree.fromstring(whole.replace(old, new, 1))
        assert yanglint.check(list(broken)) != ""


async def test_the_operational_state_satisfies_the_published_modules(
    olt: OltServer, driver: BbfOltDriver, device: DeviceEndpoint, yanglint: Yanglint
) -> None:
    await put(driver, device, fibre())
    olt.olt.plant.carry("LABO00000001", 1, 2)
    state = olt.olt.operational.state(olt.olt.running)
    assert yanglint.check([*olt.olt.running, *state], "get", STATE_MODULES) == ""
