"""Dunning on devices: a line without RADIUS is throttled and taken off its OLT, and is back within seconds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from controller.domain.errors import PermanentDeviceError, TemporaryDeviceError
from controller.domain.identity import AccountId, ServiceId
from controller.domain.restriction import FREE, Measure
from controller.domain.service import OnuAttachment
from controller.provisioning.model import GARDEN_ON_A_DEVICE, Standing
from controller.provisioning.reconcile import Reconciler
from controller.provisioning.settings import ProvisioningSettings
from controller.store.engine import Database
from controller.workflows.device_measures import DeviceMeasures, Reach
from radius.accounting.tables import sessions
from tests.support.dunning import ANNA, DunningWorld, dunning_world
from tests.support.provisioning import HUNDRED, THREE_HUNDRED, MemoryDevice, Provisioning, provisioning_on

THROTTLED, GARDEN, SUSPENDED = date(2026, 12, 2), date(2026, 12, 9), date(2026, 12, 23)


@dataclass
class Isp:
    """An account whose one line is on an OLT."""

    world: DunningWorld
    olt: MemoryDevice
    network: Provisioning
    account: AccountId
    line: ServiceId

    @property
    def measures(self) -> DeviceMeasures:
        assert self.world.measures is not None
        return self.world.measures

    @property
    def speed(self) -> int:
        """What the OLT gives the line downstream; 0 where it is not there."""
        has = self.olt.services.get(self.line)
        return has.profile.downstream_bps if has else 0

    async def pay(self) -> None:
        await self.world.pay(self.account, "59.50", "r1")
        assert (await self.world.look(self.account, advance=False)).changed == 1


async def isp_on(database: Database, tmp_path: Path, reach: Reach) -> AsyncIterator[Isp]:
    olt = MemoryDevice()
    network = await provisioning_on(database, tmp_path, olt)
    async with dunning_world(database, tmp_path, network.service, reach) as world:
        account = await world.customer()
        line = await world.line(account, "anna")
        desired = replace(network.desired(1), service_id=line)
        await network.service.set_desired(desired, actor=ANNA)
        assert (await network.service.converge(line, actor=ANNA)).verified
        await world.invoice(account)
        yield Isp(world, olt, network, account, line)


@pytest.fixture
async def isp(database: Database, tmp_path: Path) -> AsyncIterator[Isp]:
    async for made in isp_on(database, tmp_path, Reach.UNSEEN):
        yield made


async def test_a_line_that_radius_never_saw_is_throttled_taken_off_its_olt_and_put_back(isp: Isp) -> None:
    await isp.world.nights(isp.account, THROTTLED)
    assert isp.speed == HUNDRED.downstream_bps, "decided, and not brought there yet"
    assert (await isp.network.service.get(isp.line)).standing is Standing.PENDING
    assert await isp.measures.sweep() == 1
    throttle = (await isp.world.standing(isp.account)).state.restriction.profile
    assert throttle is not None
    assert isp.speed == throttle.downstream_bps
    assert await isp.measures.sweep() == 0, "there is nothing more to do"
    await isp.world.nights(isp.account, GARDEN)
    await isp.measures.sweep()
    assert isp.speed == GARDEN_ON_A_DEVICE.downstream_bps
    await isp.world.nights(isp.account, SUSPENDED)
    await isp.measures.sweep()
    assert isp.speed == 0
    held = await isp.network.service.get(isp.line)
    assert (held.standing, held.is_bound, held.restriction.measure) == (Standing.VERIFIED, True, Measure.SUSPEND)
    await isp.pay()
    assert await isp.measures.sweep() == 1
    back = await isp.network.service.get(isp.line)
    assert (isp.speed, back.standing, back.restriction) == (HUNDRED.downstream_bps, Standing.VERIFIED, FREE)


async def test_a_device_that_is_away_or_deaf_is_asked_again_until_it_was_seen_to_be_so(isp: Isp) -> None:
    await isp.world.nights(isp.account, SUSPENDED)
    for error in (TemporaryDeviceError("no answer"), PermanentDeviceError("no such profile")):
        isp.olt.error = error
        assert await isp.measures.sweep() == 0
        assert await isp.measures.sweep() == 0
        isp.world.clock.advance(timedelta(minutes=1))
    isp.olt.error, isp.olt.deaf = None, True
    assert await isp.measures.sweep() == 0
    assert (await isp.network.service.get(isp.line)).standing is Standing.MISMATCH
    assert isp.speed == HUNDRED.downstream_bps
    isp.olt.deaf = False
    fresh = DeviceMeasures(isp.world.clock, isp.network.service, isp.world.room.restricting)  # another process
    assert await fresh.sweep() == 1
    assert isp.speed == 0


async def test_a_payment_before_the_device_answered_leaves_it_as_it_was(isp: Isp) -> None:
    await isp.world.nights(isp.account, SUSPENDED)
    isp.olt.error = TemporaryDeviceError("no answer")
    assert await isp.measures.sweep() == 0
    await isp.pay()
    isp.olt.error = None
    isp.world.clock.advance(timedelta(minutes=1))
    assert await isp.measures.sweep() == 1
    assert isp.speed == HUNDRED.downstream_bps


async def test_an_order_and_the_drift_check_respect_what_is_taken(isp: Isp) -> None:
    await isp.world.nights(isp.account, SUSPENDED)
    await isp.measures.sweep()
    bigger = replace(isp.network.desired(1, THREE_HUNDRED), service_id=isp.line)
    await isp.network.service.set_desired(bigger, actor=ANNA)
    assert (await isp.network.service.converge(isp.line, actor=ANNA)).verified
    assert isp.speed == 0
    isp.network.clock.advance(timedelta(hours=1))
    assert await Reconciler(isp.network.service, isp.network.clock, ProvisioningSettings()).check_due() == 1
    assert (await isp.network.service.get(isp.line)).standing is Standing.VERIFIED
    attachment = OnuAttachment(isp.network.olt_id, "pon-1", "LABO00000001", 0)
    other = replace(isp.network.desired(2), attachments=(attachment,))
    with pytest.raises(Exception, match="is bound to service"):
        await isp.network.service.set_desired(other, actor=ANNA)
    await isp.pay()
    await isp.measures.sweep()
    assert isp.speed == THREE_HUNDRED.downstream_bps


async def test_what_radius_drives_is_left_to_it(isp: Isp) -> None:
    async with isp.world.database.begin() as conn:
        await conn.execute(sessions.insert().values(**session_row(isp.line)))
    await isp.world.nights(isp.account, SUSPENDED)
    assert await isp.measures.sweep() == 0
    assert isp.speed == HUNDRED.downstream_bps
    assert isp.world.login_gets("anna") == "rejected"


@pytest.mark.parametrize(("reach", "speed"), [(Reach.ALL, 0), (Reach.NONE, HUNDRED.downstream_bps)])
async def test_the_site_says_whose_devices_are_restricted(
    sqlite_database: Database, tmp_path: Path, reach: Reach, speed: int
) -> None:
    async for isp in isp_on(sqlite_database, tmp_path, reach):
        async with isp.world.database.begin() as conn:
            await conn.execute(sessions.insert().values(**session_row(isp.line)))
        await isp.world.nights(isp.account, SUSPENDED)
        await isp.measures.sweep()
        assert isp.speed == speed


def session_row(service_id: ServiceId) -> dict[str, object]:
    """A session that ended, as the table must have it."""
    row: dict[str, object] = {}
    for column in sessions.columns:
        if column.name == "service_id":
            row[column.name] = service_id
        elif not column.nullable and column.server_default is None and column.default is None:
            kind = column.type.python_type
            row[column.name] = b"x" if kind is bytes else "ended" if kind is str else kind()
    return row
