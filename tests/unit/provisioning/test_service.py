"""ProvisioningService on both databases, with an OLT that is a dict."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from controller.domain.errors import PermanentDeviceError, TemporaryDeviceError
from controller.domain.identity import DeviceId
from controller.domain.ports import CoaOutcome, SessionRate
from controller.domain.units import MBPS
from controller.provisioning.errors import (
    DeviceLeased,
    NoFreeVlan,
    SerialBound,
    UnknownDevice,
    UnknownService,
    VlanTaken,
)
from controller.provisioning.leases import DeviceLeases
from controller.provisioning.model import Standing
from controller.provisioning.reconcile import Reconciler
from controller.provisioning.settings import ProvisioningSettings
from controller.provisioning.tables import device
from controller.store import audit
from controller.store.engine import Database
from tests.support.provisioning import (
    ACTOR,
    START,
    THREE_HUNDRED,
    MemoryDevice,
    Provisioning,
    provisioning_on,
    service_id,
)


@pytest.fixture
def olt() -> MemoryDevice:
    return MemoryDevice()


@pytest.fixture
async def isp(database: Database, tmp_path: Path, olt: MemoryDevice) -> Provisioning:
    return await provisioning_on(database, tmp_path, olt)


async def actions(database: Database) -> list[str]:
    async with database.read() as conn:
        return [entry["action"] for entry in reversed(await audit.entries(conn, before=None, limit=100))]


async def test_converge_applies_reads_back_and_verifies(isp: Provisioning, olt: MemoryDevice) -> None:
    await isp.service.set_desired(isp.desired(1), actor=ACTOR)
    assert (await isp.service.get(service_id(1))).standing is Standing.PENDING
    verification = await isp.service.converge(service_id(1), actor=ACTOR)
    assert verification.verified
    assert verification.changed
    assert verification.at == START
    stored = await isp.service.get(service_id(1))
    assert stored.standing is Standing.VERIFIED
    assert stored.verified_at == START
    (seen,) = stored.seen
    assert seen.observed is not None
    assert seen.observed.downstream_bps == 100 * MBPS


async def test_converging_twice_changes_nothing_the_second_time(
    isp: Provisioning, olt: MemoryDevice, database: Database
) -> None:
    await isp.service.set_desired(isp.desired(1), actor=ACTOR)
    await isp.service.converge(service_id(1), actor=ACTOR)
    before = await actions(database)
    await isp.service.set_desired(isp.desired(1), actor=ACTOR)
    verification = await isp.service.converge(service_id(1), actor=ACTOR)
    assert verification.verified
    assert not verification.changed
    assert olt.applied == 1
    assert await actions(database) == before


async def test_a_device_that_takes_everything_and_does_nothing_is_a_mismatch(
    isp: Provisioning, olt: MemoryDevice
) -> None:
    olt.deaf = True
    await isp.service.set_desired(isp.desired(1), actor=ACTOR)
    verification = await isp.service.converge(service_id(1), actor=ACTOR)
    assert not verification.verified
    assert verification.differences == ("olt-1: the service is not on the device",)
    assert (await isp.service.get(service_id(1))).standing is Standing.MISMATCH


@pytest.mark.parametrize("error", [TemporaryDeviceError("no answer"), PermanentDeviceError("will not")])
async def test_a_device_error_is_visible_and_passed_on(isp: Provisioning, olt: MemoryDevice, error: Exception) -> None:
    olt.error = error
    await isp.service.set_desired(isp.desired(1), actor=ACTOR)
    with pytest.raises(type(error)):
        await isp.service.converge(service_id(1), actor=ACTOR)
    stored = await isp.service.get(service_id(1))
    assert (stored.standing, stored.last_error) == (Standing.FAILED, str(error))
    olt.error = None
    assert (await isp.service.converge(service_id(1), actor=ACTOR)).verified
    assert (await isp.service.get(service_id(1))).last_error is None


async def test_a_verdict_on_an_older_wish_does_not_cover_the_newer_one(isp: Provisioning, olt: MemoryDevice) -> None:
    await isp.service.set_desired(isp.desired(1), actor=ACTOR)
    honest = olt.apply

    async def slow_apply(*arguments: object) -> None:
        await isp.service.set_desired(isp.desired(1, THREE_HUNDRED), actor=ACTOR)
        await honest(*arguments)  # type: ignore[arg-type]

    olt.apply = slow_apply  # type: ignore[method-assign]
    assert (await isp.service.converge(service_id(1), actor=ACTOR)).verified
    stored = await isp.service.get(service_id(1))
    assert stored.standing is Standing.PENDING
    assert stored.desired.profile == THREE_HUNDRED


async def test_vlans_are_chosen_per_olt_and_kept(isp: Provisioning) -> None:
    for n in (1, 2):
        await isp.service.set_desired(isp.desired(n), actor=ACTOR)
    await isp.service.set_desired(isp.desired(1, THREE_HUNDRED), actor=ACTOR)
    attached = [a for n in (1, 2) for a in (await isp.service.get(service_id(n))).desired.attachments]
    assert [a.subscriber_vlan for a in attached] == [100, 101]


async def test_services_that_are_ordered_at_once_get_different_vlans(isp: Provisioning, database: Database) -> None:
    await asyncio.gather(*(isp.service.set_desired(isp.desired(n), actor=ACTOR) for n in range(1, 13)))
    stored = await isp.service.page(None, 50)
    assert sorted(a.subscriber_vlan for s in stored for a in s.desired.attachments) == [*range(100, 112)]


async def test_when_no_vlan_is_left_the_service_is_refused(
    database: Database, tmp_path: Path, olt: MemoryDevice
) -> None:
    small = await provisioning_on(database, tmp_path, olt, settings=ProvisioningSettings(vlan_first=7, vlan_last=7))
    await small.service.set_desired(small.desired(1), actor=ACTOR)
    with pytest.raises(NoFreeVlan):
        await small.service.set_desired(small.desired(2), actor=ACTOR)


async def test_a_serial_bound_elsewhere_is_refused_until_that_service_is_gone(isp: Provisioning) -> None:
    await isp.service.set_desired(isp.desired(1, serial="ABCD00000001"), actor=ACTOR)
    await isp.service.converge(service_id(1), actor=ACTOR)
    thief = isp.desired(2, serial="abcd00000001")
    with pytest.raises(SerialBound, match=service_id(1)):
        await isp.service.set_desired(thief, actor=ACTOR)
    await isp.service.set_desired(isp.desired(1, serial="ABCD00000001", present=False), actor=ACTOR)
    with pytest.raises(SerialBound):
        await isp.service.set_desired(thief, actor=ACTOR)
    assert (await isp.service.converge(service_id(1), actor=ACTOR)).verified
    await isp.service.set_desired(thief, actor=ACTOR)
    assert (await isp.service.converge(service_id(2), actor=ACTOR)).verified


async def test_terminating_twice_is_terminating_once(isp: Provisioning, olt: MemoryDevice) -> None:
    await isp.service.set_desired(isp.desired(1), actor=ACTOR)
    await isp.service.converge(service_id(1), actor=ACTOR)
    for _ in range(2):
        await isp.service.set_desired(isp.desired(1, present=False), actor=ACTOR)
        assert (await isp.service.converge(service_id(1), actor=ACTOR)).verified
    stored = await isp.service.get(service_id(1))
    assert stored.revision == 2
    assert not stored.is_bound
    assert olt.services == {}


async def test_a_vlan_that_belongs_to_another_service_is_refused(isp: Provisioning) -> None:
    await isp.service.set_desired(isp.desired(1, vlan=500), actor=ACTOR)
    with pytest.raises(VlanTaken, match=service_id(1)):
        await isp.service.set_desired(isp.desired(2, vlan=500), actor=ACTOR)


async def test_unknown_devices_and_services_are_named(isp: Provisioning) -> None:
    wish = isp.desired(1)
    elsewhere = replace(wish.attachments[0], device_id=DeviceId("f" * 32))
    with pytest.raises(UnknownDevice):
        await isp.service.set_desired(replace(wish, attachments=(elsewhere,)), actor=ACTOR)
    with pytest.raises(UnknownService):
        await isp.service.converge(service_id(9), actor=ACTOR)


async def test_a_service_without_an_access_device_is_verified_as_it_is(isp: Provisioning) -> None:
    await isp.service.set_desired(replace(isp.desired(1), attachments=()), actor=ACTOR)
    verification = await isp.service.converge(service_id(1), actor=ACTOR)
    assert verification.verified
    assert verification.plans == ()


async def test_a_dry_run_shows_the_plan_and_stores_nothing(isp: Provisioning, olt: MemoryDevice) -> None:
    (plan,) = await isp.service.dry_run(isp.desired(1))
    assert plan.steps[0].rendered == "<rpc/>"
    assert olt.applied == 0
    with pytest.raises(UnknownService):
        await isp.service.get(service_id(1))


async def test_one_device_is_changed_by_one_task_at_a_time(isp: Provisioning, olt: MemoryDevice) -> None:
    for n in range(1, 7):
        await isp.service.set_desired(isp.desired(n), actor=ACTOR)
    await asyncio.gather(*(isp.service.converge(service_id(n), actor=ACTOR) for n in range(1, 7)))
    assert olt.applied == 6
    assert olt.most_busy == 1


async def test_a_device_held_by_another_process_means_later(
    database: Database, tmp_path: Path, olt: MemoryDevice
) -> None:
    settings = ProvisioningSettings(lease_wait_s=0.1, lease_poll_s=0.02)
    isp = await provisioning_on(database, tmp_path, olt, settings=settings)
    await isp.service.set_desired(isp.desired(1), actor=ACTOR)
    elsewhere = DeviceLeases(database, settings)
    async with elsewhere.hold(isp.olt_id):
        with pytest.raises(DeviceLeased):
            await isp.service.converge(service_id(1), actor=ACTOR)
        assert olt.applied == 0
    assert (await isp.service.converge(service_id(1), actor=ACTOR)).verified


async def test_the_lease_of_a_dead_process_runs_out(isp: Provisioning, database: Database) -> None:
    await isp.service.set_desired(isp.desired(1), actor=ACTOR)
    async with database.begin() as conn:
        await conn.execute(update(device).values(lease_holder="dead", lease_until=START))
    assert (await isp.service.converge(service_id(1), actor=ACTOR)).verified
    async with database.read() as conn:
        assert (await conn.execute(select(device.c.lease_holder))).scalar_one() is None


async def test_a_process_that_starts_again_takes_over_what_it_held_when_it_died(
    database: Database, tmp_path: Path, olt: MemoryDevice
) -> None:
    settings = ProvisioningSettings(lease_holder="headend-1", lease_wait_s=0.1, lease_poll_s=0.02)
    isp = await provisioning_on(database, tmp_path, olt, settings=settings)
    await isp.service.set_desired(isp.desired(1), actor=ACTOR)
    held = {"lease_until": datetime.now(UTC) + timedelta(minutes=3)}
    async with database.begin() as conn:
        await conn.execute(update(device).values(lease_holder="headend-2", **held))
    with pytest.raises(DeviceLeased):
        await isp.service.converge(service_id(1), actor=ACTOR)
    async with database.begin() as conn:
        await conn.execute(update(device).values(lease_holder="headend-1", **held))
    assert (await isp.service.converge(service_id(1), actor=ACTOR)).verified


async def test_drift_is_listed_and_nothing_is_changed(isp: Provisioning, olt: MemoryDevice, database: Database) -> None:
    settings = ProvisioningSettings()
    reconciler = Reconciler(isp.service, isp.clock, settings)
    for n in (1, 2):
        await isp.service.set_desired(isp.desired(n), actor=ACTOR)
        await isp.service.converge(service_id(n), actor=ACTOR)
    assert await reconciler.check_due() == 0, "just looked at"
    (desired,) = (await isp.service.get(service_id(1))).desired.by_device()
    olt.services[service_id(1)] = replace(desired, profile=THREE_HUNDRED)
    isp.clock.advance(timedelta(seconds=settings.check_interval_s + 1))
    assert await reconciler.check_due() == 2
    (drifted,) = await isp.service.page(None, 10, "drift")
    assert drifted.desired.service_id == service_id(1)
    assert drifted.differences[0] == "olt-1: downstream is 300 Mbit/s, desired 100 Mbit/s"
    assert olt.applied == 2
    assert (await actions(database))[-1] == "service.drift"
    olt.services[service_id(1)] = desired
    isp.clock.advance(timedelta(seconds=settings.check_interval_s + 1))
    await reconciler.check_due()
    assert await isp.service.page(None, 10, "drift") == []
    assert (await isp.service.standings())[Standing.VERIFIED] == 2


async def test_a_drift_check_does_not_judge_a_change_under_way(isp: Provisioning, olt: MemoryDevice) -> None:
    await isp.service.set_desired(isp.desired(1), actor=ACTOR)
    await isp.service.converge(service_id(1), actor=ACTOR)
    looked_at = await isp.service.get(service_id(1))
    await isp.service.set_desired(isp.desired(1, THREE_HUNDRED), actor=ACTOR)
    await isp.service.check(looked_at)
    assert (await isp.service.get(service_id(1))).standing is Standing.PENDING


async def test_an_unreachable_device_does_not_stop_the_drift_check(isp: Provisioning, olt: MemoryDevice) -> None:
    settings = ProvisioningSettings(check_interval_s=0)
    await isp.service.set_desired(isp.desired(1), actor=ACTOR)
    await isp.service.converge(service_id(1), actor=ACTOR)
    isp.clock.advance(timedelta(seconds=1))
    olt.error = TemporaryDeviceError("dark")
    reconciler = Reconciler(isp.service, isp.clock, settings)
    assert await reconciler.check_due() == 0
    assert (await isp.service.get(service_id(1))).standing is Standing.VERIFIED
    olt.error = None
    isp.clock.advance(timedelta(seconds=1))
    assert await reconciler.check_due() == 1


async def test_a_dark_device_is_asked_once_a_round_and_not_for_each_of_its_services(
    isp: Provisioning, olt: MemoryDevice
) -> None:
    for n in (1, 2, 3):
        await isp.service.set_desired(isp.desired(n), actor=ACTOR)
        await isp.service.converge(service_id(n), actor=ACTOR)
    isp.clock.advance(timedelta(hours=1))
    olt.error, olt.observed = TemporaryDeviceError("dark"), 0
    await Reconciler(isp.service, isp.clock, ProvisioningSettings()).check_due()
    assert olt.observed == 1
    olt.error, olt.observed = PermanentDeviceError("no such port"), 0
    await Reconciler(isp.service, isp.clock, ProvisioningSettings()).check_due()
    assert olt.observed == 2, "what one service cannot have says nothing of the others; the first had its turn"


async def test_a_live_session_is_verified_by_what_is_seen_not_by_the_ack(isp: Provisioning) -> None:
    await isp.service.set_desired(isp.desired(1, THREE_HUNDRED), actor=ACTOR)
    isp.sessions.live[service_id(1)] = ["s1"]
    (change,) = await isp.service.change_live_sessions(service_id(1))
    assert change.outcome.result == "ack"
    assert isp.sessions.asked == [("s1", THREE_HUNDRED)]
    since = isp.clock.now()
    assert (await isp.service.verify_live_sessions(service_id(1), since)).state == "pending"
    before = SessionRate("s1", "fibre-300", None, None, since - timedelta(seconds=1), "class")
    isp.sessions.seen["s1"] = before
    assert (await isp.service.verify_live_sessions(service_id(1), since)).state == "pending"
    isp.sessions.seen["s1"] = replace(before, observed_at=since + timedelta(seconds=1))
    assert (await isp.service.verify_live_sessions(service_id(1), since)).state == "class-echoed"


async def test_a_nak_is_recorded_with_its_error_cause(isp: Provisioning) -> None:
    await isp.service.set_desired(isp.desired(1), actor=ACTOR)
    isp.sessions.live[service_id(1)] = ["s1", "s2"]
    isp.sessions.answers["s2"] = CoaOutcome("nak", 503, "Session-Context-Not-Found")
    await isp.service.change_live_sessions(service_id(1))
    recorded = await isp.service.session_changes(service_id(1))
    assert [(c.session_key, c.outcome.result, c.outcome.error_cause) for c in recorded] == [
        ("s2", "nak", 503),
        ("s1", "ack", None),
    ]


async def test_a_plan_change_waits_for_no_session_that_shall_not_have_the_plan_s_speed(isp: Provisioning) -> None:
    await isp.service.set_desired(isp.desired(1, THREE_HUNDRED), actor=ACTOR)
    isp.sessions.live[service_id(1)] = ["s1"]
    isp.sessions.throttled.add(service_id(1))
    assert await isp.service.change_live_sessions(service_id(1)) == []
    assert isp.sessions.asked == []
    assert (await isp.service.verify_live_sessions(service_id(1), START)).state == "no-session"


async def test_a_service_nobody_uses_has_no_session_to_verify(isp: Provisioning) -> None:
    await isp.service.set_desired(isp.desired(1), actor=ACTOR)
    assert await isp.service.change_live_sessions(service_id(1)) == []
    assert (await isp.service.verify_live_sessions(service_id(1), START)).state == "no-session"
