"""Leases of devices between processes, on both databases."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.provisioning import leases
from controller.provisioning.errors import DeviceLeased
from controller.provisioning.leases import DeviceLeases
from controller.provisioning.settings import ProvisioningSettings
from controller.store.engine import Database
from tests.support.provisioning import MemoryDevice, Provisioning, provisioning_on


@pytest.fixture
async def isp(database: Database, tmp_path: Path) -> Provisioning:
    return await provisioning_on(database, tmp_path, MemoryDevice())


def of(database: Database, holder: str) -> DeviceLeases:
    return DeviceLeases(database, ProvisioningSettings(lease_holder=holder, lease_wait_s=0.05, lease_poll_s=0.01))


async def test_the_leases_of_a_lost_process_are_free_and_nobody_elses(isp: Provisioning, database: Database) -> None:
    assert await of(database, "one").take(isp.olt_id)
    two = of(database, "two")
    async with database.begin() as conn:
        await leases.free(conn, ["three"])
    assert not await two.take(isp.olt_id)
    async with database.begin() as conn:
        await leases.free(conn, ["one"])
    assert await two.take(isp.olt_id)


async def test_who_lost_a_lease_in_the_middle_of_a_change_may_not_go_on_even_when_the_device_is_free_again(
    isp: Provisioning, database: Database
) -> None:
    slow, other = of(database, "slow"), of(database, "other")
    async with slow.hold(isp.olt_id) as lease:
        await lease.renew()
        async with database.begin() as conn:
            await leases.free(conn, ["slow"])
        async with other.hold(isp.olt_id):
            with pytest.raises(DeviceLeased):
                await lease.renew()
        with pytest.raises(DeviceLeased):
            await lease.renew()
