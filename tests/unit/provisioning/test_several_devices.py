"""A service that an OLT and a router carry together: both as desired, or not verified. Both are dicts here."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from controller.domain.errors import PermanentDeviceError, TemporaryDeviceError
from controller.domain.identity import DeviceId
from controller.domain.service import DesiredService, RouterAttachment, SpeedProfile
from controller.provisioning.errors import StillAttached, VlanTaken
from controller.provisioning.model import NewDevice, Standing
from controller.provisioning.reconcile import Reconciler
from controller.provisioning.settings import ProvisioningSettings
from controller.store import audit
from controller.store.engine import Database
from tests.support.provisioning import (
    ACTOR,
    HUNDRED,
    THREE_HUNDRED,
    MemoryDevice,
    Provisioning,
    provisioning_on,
    service_id,
)

ONE = service_id(1)


@dataclass
class Pair:
    """An OLT and a router, and services on both."""

    isp: Provisioning
    olt: MemoryDevice
    router: MemoryDevice
    router_id: DeviceId

    def desired(self, n: int = 1, profile: SpeedProfile = HUNDRED, **changes: object) -> DesiredService:
        fibre = self.isp.desired(n, profile, **changes)  # type: ignore[arg-type]
        policer = RouterAttachment(self.router_id, "Ethernet1", fibre.attachments[0].subscriber_vlan)
        return replace(fibre, attachments=(*fibre.attachments, policer))

    async def bring_up(self, n: int = 1) -> None:
        await self.isp.service.set_desired(self.desired(n), actor=ACTOR)
        assert (await self.isp.service.converge(service_id(n), actor=ACTOR)).verified


@pytest.fixture
async def pair(database: Database, tmp_path: Path) -> Pair:
    olt, router = MemoryDevice(), MemoryDevice()
    isp = await provisioning_on(database, tmp_path, olt, router=router)
    new = NewDevice(name="router-1", host="127.0.0.1", driver="napalm-router", port=443)
    return Pair(isp, olt, router, await isp.service.register_device(new, actor=ACTOR))


async def test_all_devices_are_planned_changed_read_and_verified_with_one_vlan(pair: Pair) -> None:
    service = pair.isp.service
    assert [plan.device_id for plan in await service.dry_run(pair.desired())] == [pair.router_id, pair.isp.olt_id]
    await pair.bring_up()
    for device in (pair.olt, pair.router):
        assert device.services[ONE].attachment.subscriber_vlan == 100
    stored = await service.get(ONE)
    assert stored.standing is Standing.VERIFIED
    assert [seen.observed.present for seen in stored.seen if seen.observed] == [True, True]
    assert all(plan.is_empty for plan in await service.plan(ONE))

    await service.set_desired(pair.desired(1, THREE_HUNDRED), actor=ACTOR)
    changed = await service.converge(ONE, actor=ACTOR)
    assert [plan.device_id for plan in changed.plans] == [pair.router_id, pair.isp.olt_id]
    again = await service.converge(ONE, actor=ACTOR)
    assert (again.verified, again.changed) == (True, False)

    await service.set_desired(pair.desired(1, THREE_HUNDRED, present=False), actor=ACTOR)
    gone = await service.converge(ONE, actor=ACTOR)
    assert [plan.device_id for plan in gone.plans] == [pair.isp.olt_id, pair.router_id], "from the subscriber inwards"
    assert (pair.olt.services, pair.router.services) == ({}, {})


async def test_what_the_router_shows_otherwise_is_named_and_the_olt_stays_as_it_was(pair: Pair) -> None:
    pair.router.deaf = True
    await pair.isp.service.set_desired(pair.desired(), actor=ACTOR)
    verdict = await pair.isp.service.converge(ONE, actor=ACTOR)
    assert verdict.differences == ("router-1: the service is not on the device",)
    assert pair.olt.services == {}, "nothing flows before it is policed"
    pair.router.deaf = False
    assert (await pair.isp.service.converge(ONE, actor=ACTOR)).verified


@pytest.mark.parametrize("error", [TemporaryDeviceError("olt-1 is dark"), PermanentDeviceError("olt-1 will not")])
async def test_a_failure_of_the_second_device_keeps_the_first_and_the_next_run_goes_on_there(
    pair: Pair, database: Database, error: Exception
) -> None:
    pair.olt.error = error
    await pair.isp.service.set_desired(pair.desired(), actor=ACTOR)
    with pytest.raises(type(error)):
        await pair.isp.service.converge(ONE, actor=ACTOR)
    stored = await pair.isp.service.get(ONE)
    assert (stored.standing, stored.last_error) == (Standing.FAILED, str(error))
    async with database.read() as conn:
        (last, *_) = await audit.entries(conn, before=None, limit=1)
    assert last["action"] == "service.provision", "the router was changed"
    assert json.loads(last["after"])["standing"] == "failed"
    pair.olt.error = None
    assert (await pair.isp.service.converge(ONE, actor=ACTOR)).verified
    assert (pair.router.applied, pair.olt.applied) == (1, 1)


async def test_drift_on_any_device_is_named(pair: Pair) -> None:
    await pair.bring_up()
    pair.router.services[ONE] = replace(pair.router.services[ONE], profile=THREE_HUNDRED)
    settings = ProvisioningSettings()
    pair.isp.clock.advance(timedelta(seconds=settings.check_interval_s + 1))
    assert await Reconciler(pair.isp.service, pair.isp.clock, settings).check_due() == 1
    (drifted,) = await pair.isp.service.page(None, 10, "drift")
    assert drifted.differences
    assert all(difference.startswith("router-1: ") for difference in drifted.differences)
    assert (pair.router.applied, pair.olt.applied) == (1, 1), "drift is reported, not overwritten"


async def test_a_vlan_is_free_on_all_devices_or_not_at_all(pair: Pair) -> None:
    await pair.isp.service.set_desired(pair.isp.desired(2, vlan=100), actor=ACTOR)
    taken_on_the_router = pair.desired(3, vlan=101)
    await pair.isp.service.set_desired(
        replace(taken_on_the_router, attachments=taken_on_the_router.attachments[1:]), actor=ACTOR
    )
    await pair.bring_up()
    assert pair.olt.services[ONE].attachment.subscriber_vlan == 102
    with pytest.raises(VlanTaken, match=service_id(3)):
        await pair.isp.service.set_desired(pair.desired(4, vlan=101), actor=ACTOR)


async def test_a_device_that_may_still_carry_the_service_is_not_forgotten(pair: Pair) -> None:
    await pair.bring_up()
    with pytest.raises(StillAttached, match=pair.router_id):
        await pair.isp.service.set_desired(pair.isp.desired(1), actor=ACTOR)
    await pair.isp.service.withdraw(ONE, actor=ACTOR)
    assert (await pair.isp.service.converge(ONE, actor=ACTOR)).verified
    await pair.isp.service.set_desired(pair.isp.desired(1), actor=ACTOR)
    assert (await pair.isp.service.converge(ONE, actor=ACTOR)).verified
    assert ONE not in pair.router.services


async def test_what_was_never_desired_cannot_be_withdrawn(pair: Pair) -> None:
    assert not await pair.isp.service.withdraw(ONE, actor=ACTOR)


async def test_a_change_that_was_desired_meanwhile_is_not_overwritten_by_an_older_run(pair: Pair) -> None:
    """A run that has changed the router finds the service withdrawn when it comes to the OLT."""
    await pair.isp.service.set_desired(pair.desired(), actor=ACTOR)
    honest = pair.router.apply

    async def withdrawn_meanwhile(*arguments: object) -> None:
        await honest(*arguments)  # type: ignore[arg-type]
        await pair.isp.service.withdraw(ONE, actor=ACTOR)

    pair.router.apply = withdrawn_meanwhile  # type: ignore[assignment]
    with pytest.raises(TemporaryDeviceError, match="newer"):
        await pair.isp.service.converge(ONE, actor=ACTOR)
    assert pair.olt.services == {}
    pair.router.apply = honest  # type: ignore[method-assign]
    assert (await pair.isp.service.converge(ONE, actor=ACTOR)).verified
    assert pair.router.services == {}
