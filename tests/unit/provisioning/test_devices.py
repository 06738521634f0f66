"""The device registry on both databases."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from controller.domain.errors import RuleError
from controller.domain.identity import DeviceId
from controller.domain.ports import Secret
from controller.provisioning.errors import BadIntent, DeviceNameTaken, UnknownDevice
from controller.provisioning.model import NewDevice, SnmpAccess
from controller.provisioning.tables import device
from controller.store import audit
from controller.store.engine import Database
from tests.support.provisioning import ACTOR, MemoryDevice, Provisioning, provisioning_on


@pytest.fixture
async def isp(database: Database, tmp_path: Path) -> Provisioning:
    return await provisioning_on(database, tmp_path, MemoryDevice())


async def test_secrets_are_sealed_in_the_row_and_in_no_read(isp: Provisioning, database: Database) -> None:
    endpoint = await isp.registry.endpoint(isp.olt_id)
    assert endpoint.secret.reveal() == "olt-password"
    async with database.read() as conn:
        row = (await conn.execute(select(device))).one()
        log = str(await audit.entries(conn, before=None, limit=10))
    for text in (str(row), repr(await isp.registry.get(isp.olt_id)), repr(endpoint), log):
        assert "olt-password" not in text
        assert "public-but-secret" not in text


async def test_a_sealed_secret_copied_onto_another_device_does_not_open(isp: Provisioning, database: Database) -> None:
    other = await isp.registry.register(NewDevice("olt-2", "127.0.0.1", "bbf-olt", secret=Secret("x")), actor=ACTOR)
    async with database.begin() as conn:
        stolen = await conn.scalar(select(device.c.secret).where(device.c.device_id == isp.olt_id))
        await conn.execute(device.update().where(device.c.device_id == other).values(secret=stolen))
    with pytest.raises(RuleError):
        await isp.registry.endpoint(other)


async def test_the_first_host_key_is_pinned_for_good(isp: Provisioning) -> None:
    assert await isp.registry.pin(isp.olt_id, "SHA256:first") == "SHA256:first"
    assert await isp.registry.pin(isp.olt_id, "SHA256:second") == "SHA256:first"
    assert (await isp.registry.endpoint(isp.olt_id)).host_key_sha256 == "SHA256:first"
    await isp.registry.change(isp.olt_id, {"host_key_sha256": None}, actor=ACTOR)
    assert await isp.registry.pin(isp.olt_id, "SHA256:second") == "SHA256:second"


async def test_a_changed_device_is_reached_at_its_new_address_with_its_old_secret(isp: Provisioning) -> None:
    await isp.registry.change(isp.olt_id, {"host": "127.0.0.9", "port": 1830}, actor=ACTOR)
    endpoint = await isp.registry.endpoint(isp.olt_id)
    assert (endpoint.host, endpoint.port, endpoint.secret.reveal()) == ("127.0.0.9", 1830, "olt-password")


async def test_polling_targets_are_those_that_answer_the_protocol(isp: Provisioning) -> None:
    await isp.registry.register(
        NewDevice(
            "bras-1",
            "127.0.0.2",
            snmp=SnmpAccess(
                1162, "3", user="poll", auth_protocol="sha", auth_key=Secret("a"), priv_protocol="aes",
                priv_key=Secret("p"),
            ),
        ),
        actor=ACTOR,
    )  # fmt: skip
    bras, olt = await isp.service.snmp_targets()
    assert (olt.name, olt.port, olt.version, olt.community) == ("olt-1", 1161, "2c", Secret("public-but-secret"))
    assert (bras.name, bras.user, bras.auth_key, bras.priv_key) == ("bras-1", "poll", Secret("a"), Secret("p"))
    assert [target.name for target in await isp.service.netconf_targets()] == ["olt-1"]


async def test_a_name_is_given_once(isp: Provisioning) -> None:
    with pytest.raises(DeviceNameTaken):
        await isp.registry.register(NewDevice("olt-1", "127.0.0.3", "bbf-olt"), actor=ACTOR)


async def test_devices_nobody_could_use_are_refused(isp: Provisioning) -> None:
    with pytest.raises(BadIntent, match="neither a driver nor SNMP"):
        await isp.registry.register(NewDevice("brick", "127.0.0.3"), actor=ACTOR)
    with pytest.raises(BadIntent, match="no driver 'cli-olt'"):
        await isp.registry.register(NewDevice("old", "127.0.0.3", "cli-olt"), actor=ACTOR)
    with pytest.raises(UnknownDevice):
        await isp.registry.get(DeviceId("0" * 32))
