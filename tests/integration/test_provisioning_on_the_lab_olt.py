"""Provisioning end to end below the order: both databases, the real driver, the lab's OLT."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controller.domain.clock import MovableClock
from controller.domain.errors import PermanentDeviceError, TemporaryDeviceError
from controller.domain.service import ObservedService
from controller.domain.units import MBPS
from controller.provisioning.devices import DeviceRegistry
from controller.provisioning.model import Standing
from controller.store.engine import Database
from controller.store.secrets import load_or_create
from drivers.bbf_olt.driver import BbfOltDriver
from drivers.bbf_olt.render import BbfOltSettings
from drivers.transport.netconf import NetconfSettings, NetconfTransport
from lab.olt.server import PASSWORD, OltServer
from tests.support.provisioning import ACTOR, START, THREE_HUNDRED, Provisioning, provisioning_on, service_id

SLOWED_BY_HAND = (
    '<config><tm-profiles xmlns="urn:bbf:yang:bbf-qos-traffic-mngt"><shaper-profile '
    'xmlns="urn:bbf:yang:bbf-qos-shaping"><name>headend-down-100000000</name>'
    "<single-token-bucket><pir>64000</pir></single-token-bucket></shaper-profile></tm-profiles></config>"
)


@pytest.fixture
async def isp(database: Database, tmp_path: Path, olt: OltServer) -> AsyncIterator[Provisioning]:
    registry = DeviceRegistry(database, MovableClock(START), load_or_create(tmp_path / "headend.key"), ("bbf-olt",))
    transport = NetconfTransport(NetconfSettings(), registry)
    driver = BbfOltDriver(transport, BbfOltSettings(confirm_timeout_s=30))
    yield await provisioning_on(database, tmp_path, driver, port=olt.port, secret=PASSWORD, registry=registry)
    await transport.close()


async def seen(isp: Provisioning) -> ObservedService:
    """What the OLT is read to have of the first service now."""
    (attached,) = (await isp.service.observe(service_id(1))).seen
    assert attached.observed is not None
    return attached.observed


async def test_add_change_again_and_delete(isp: Provisioning, olt: OltServer) -> None:
    await isp.service.set_desired(isp.desired(1), actor=ACTOR)
    added = await isp.service.converge(service_id(1), actor=ACTOR)
    assert added.verified
    assert added.changed
    assert (await isp.registry.get(isp.olt_id)).host_key_sha256 == olt.host_key_sha256

    await isp.service.set_desired(isp.desired(1, THREE_HUNDRED), actor=ACTOR)
    (dry,) = await isp.service.plan(service_id(1))
    changed = await isp.service.converge(service_id(1), actor=ACTOR)
    assert changed.verified
    assert changed.plans == (dry,), "what the dry run showed is what was sent"
    observed = await seen(isp)
    assert (observed.downstream_bps, observed.upstream_bps) == (300 * MBPS, 150 * MBPS)

    edits = [entry for entry in olt.olt.transcript if entry.rpc == "edit-config"]
    again = await isp.service.converge(service_id(1), actor=ACTOR)
    assert again.verified
    assert not again.changed
    assert [entry for entry in olt.olt.transcript if entry.rpc == "edit-config"] == edits

    await isp.service.set_desired(isp.desired(1, THREE_HUNDRED, present=False), actor=ACTOR)
    assert (await isp.service.converge(service_id(1), actor=ACTOR)).verified
    assert not (await seen(isp)).present


async def test_an_olt_changed_between_commit_and_read_back_is_a_mismatch(isp: Provisioning, olt: OltServer) -> None:
    olt.olt.faults.alter_after_commit = SLOWED_BY_HAND
    await isp.service.set_desired(isp.desired(1), actor=ACTOR)
    verification = await isp.service.converge(service_id(1), actor=ACTOR)
    assert not verification.verified
    assert verification.differences == ("olt-1: downstream is 64 Mbit/s, desired 100 Mbit/s",)
    stored = await isp.service.get(service_id(1))
    assert stored.standing is Standing.MISMATCH
    assert (await isp.service.converge(service_id(1), actor=ACTOR)).verified, "a re-drive puts it right"


async def test_an_olt_that_dies_between_edit_and_commit_is_tried_again_later(isp: Provisioning, olt: OltServer) -> None:
    olt.olt.faults.drop_before.add("commit")
    await isp.service.set_desired(isp.desired(1), actor=ACTOR)
    with pytest.raises(TemporaryDeviceError):
        await isp.service.converge(service_id(1), actor=ACTOR)
    stored = await isp.service.get(service_id(1))
    assert stored.standing is Standing.FAILED
    assert "broke off at commit" in (stored.last_error or "")
    assert not (await seen(isp)).present
    assert (await isp.service.converge(service_id(1), actor=ACTOR)).verified


async def test_an_olt_that_refuses_says_why_in_the_stored_error(isp: Provisioning, olt: OltServer) -> None:
    olt.olt.faults.refuse_edits = "no licence"
    await isp.service.set_desired(isp.desired(1), actor=ACTOR)
    with pytest.raises(PermanentDeviceError, match="no licence"):
        await isp.service.converge(service_id(1), actor=ACTOR)
    assert "no licence" in ((await isp.service.get(service_id(1))).last_error or "")


async def test_an_unreachable_olt_loses_nothing(isp: Provisioning, olt: OltServer) -> None:
    await isp.service.set_desired(isp.desired(1), actor=ACTOR)
    await olt.stop()
    with pytest.raises(TemporaryDeviceError):
        await isp.service.converge(service_id(1), actor=ACTOR)
    await olt.start()
    assert (await isp.service.converge(service_id(1), actor=ACTOR)).verified


async def test_drift_made_at_the_console_is_seen(isp: Provisioning, olt: OltServer) -> None:
    await isp.service.set_desired(isp.desired(1), actor=ACTOR)
    await isp.service.converge(service_id(1), actor=ACTOR)
    olt.olt.alter(SLOWED_BY_HAND)
    assert await isp.service.check(await isp.service.get(service_id(1))) == (
        "olt-1: downstream is 64 Mbit/s, desired 100 Mbit/s",
    )
    assert (await isp.service.get(service_id(1))).standing is Standing.DRIFT


async def test_many_orders_at_once_all_arrive(isp: Provisioning, olt: OltServer) -> None:
    for n in range(1, 9):
        await isp.service.set_desired(isp.desired(n), actor=ACTOR)
    verifications = await asyncio.gather(*(isp.service.converge(service_id(n), actor=ACTOR) for n in range(1, 9)))
    assert all(v.verified for v in verifications)
    assert [e for e in olt.olt.transcript if e.outcome != "ok"] == []
