"""NETCONF sessions with an OLT: bounded in time, one at once, used again while they live, and never with a stranger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from controller.domain.ports import DeviceEndpoint, Secret
from drivers.bbf_olt.driver import BbfOltDriver
from drivers.errors import DeviceRefused, DeviceTimeout, DeviceUnreachable, HostKeyMismatch, LoginRefused
from drivers.transport.netconf import NetconfSession
from lab.olt.server import OltServer
from tests.support.olt import HUNDRED, THREE_HUNDRED, PinnedKeys, driver_with, endpoint_of, fibre, put


@pytest.fixture
async def driver() -> AsyncIterator[BbfOltDriver]:
    made, transport = driver_with()
    yield made
    await transport.close()


@pytest.fixture
def device(olt: OltServer) -> DeviceEndpoint:
    return endpoint_of(olt)


async def test_an_unreachable_olt_means_later(olt: OltServer, driver: BbfOltDriver, device: DeviceEndpoint) -> None:
    await olt.stop()
    with pytest.raises(DeviceUnreachable, match="olt-1"):
        await driver.observe(device, fibre())
    await olt.start()
    assert not (await driver.observe(device, fibre())).present


async def test_a_slow_olt_is_given_up_after_the_time_out(olt: OltServer, device: DeviceEndpoint) -> None:
    driver, transport = driver_with(rpc_timeout_s=0.4)
    olt.olt.faults.delay_s = 5
    olt.olt.faults.delay_rpc = {"get-config"}
    began = time.monotonic()
    with pytest.raises(DeviceTimeout, match="no reply to get-config"):
        await driver.observe(device, fibre())
    assert time.monotonic() - began < 4
    await transport.close()


async def test_a_session_is_cut_when_its_whole_time_is_over(olt: OltServer, device: DeviceEndpoint) -> None:
    driver, transport = driver_with(session_timeout_s=0.6, rpc_timeout_s=20)
    olt.olt.faults.delay_s = 20
    began = time.monotonic()
    with pytest.raises(DeviceTimeout, match=r"no end after 0\.6 s"):
        await driver.observe(device, fibre())
    assert time.monotonic() - began < 5
    await transport.close()


async def test_a_cancelled_task_lets_go_of_the_device(olt: OltServer, device: DeviceEndpoint) -> None:
    driver, transport = driver_with()
    olt.olt.faults.delay_s = 20
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.7):
            await driver.observe(device, fibre())
    olt.olt.faults.delay_s = 0
    async with asyncio.timeout(5):
        assert not (await driver.observe(device, fibre())).present
    await transport.close()


async def test_the_first_host_key_is_pinned_and_another_one_refused(olt: OltServer, device: DeviceEndpoint) -> None:
    keys = PinnedKeys()
    driver, transport = driver_with(keys)
    await driver.observe(device, fibre())
    assert keys.keys == {device.device_id: olt.host_key_sha256}
    keys.keys[device.device_id] = "SHA256:" + "A" * 43
    sessions = len(olt.olt.transcript)
    with pytest.raises(HostKeyMismatch, match="not logging in"):
        await driver.observe(device, fibre())
    with pytest.raises(HostKeyMismatch):
        await driver.observe(endpoint_of(olt, "SHA256:" + "B" * 43), fibre())
    assert len(olt.olt.transcript) == sessions
    await transport.close()


async def test_a_wrong_password_is_not_tried_again_later(olt: OltServer, driver: BbfOltDriver) -> None:
    good = endpoint_of(olt)
    bad = DeviceEndpoint(good.device_id, good.name, good.driver, good.host, good.port, good.username, Secret("wrong"))
    with pytest.raises(LoginRefused, match="login as 'headend' refused") as caught:
        await driver.observe(bad, fibre())
    assert "wrong" not in str(caught.value)


async def test_two_tasks_never_speak_to_one_device_at_once(olt: OltServer, device: DeviceEndpoint) -> None:
    _, transport = driver_with()
    inside, most = 0, 0

    def watch(session: NetconfSession) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        session.validate()
        inside -= 1

    await asyncio.gather(*(transport.run(device, watch) for _ in range(5)))
    assert most == 1
    assert [entry.rpc for entry in olt.olt.transcript] == ["validate", "close-session"] * 5
    await transport.close()


async def test_an_idle_session_is_used_again_and_closed_in_time(olt: OltServer, device: DeviceEndpoint) -> None:
    driver, transport = driver_with(keep_idle_s=30)
    for desired in (fibre(HUNDRED), fibre(THREE_HUNDRED)):
        await put(driver, device, desired)
    assert {entry.session_id for entry in olt.olt.transcript} == {1}
    await transport.close()
    assert olt.olt.transcript[-1].rpc == "close-session"
    driver, transport = driver_with(keep_idle_s=0.05)
    await driver.observe(device, fibre())
    async with asyncio.timeout(5):
        while olt.olt.transcript[-1].rpc != "close-session":  # noqa: ASYNC110 - the OLT is the one to see it
            await asyncio.sleep(0.01)
    await transport.close()


async def test_a_session_that_failed_is_not_used_again(olt: OltServer, device: DeviceEndpoint) -> None:
    driver, transport = driver_with(keep_idle_s=30)
    olt.olt.faults.refuse_edits = "no"
    with pytest.raises(DeviceRefused):
        await put(driver, device, fibre())
    olt.olt.faults.refuse_edits = ""
    assert await put(driver, device, fibre())
    assert {entry.session_id for entry in olt.olt.transcript} == {1, 2}
    await transport.close()


async def test_an_idle_session_that_died_or_fits_no_more_is_replaced(olt: OltServer, device: DeviceEndpoint) -> None:
    driver, transport = driver_with(keep_idle_s=30)
    await driver.observe(device, fibre())
    await olt.stop()
    await olt.start()
    assert not (await driver.observe(device, fibre())).present
    with pytest.raises(HostKeyMismatch):
        await driver.observe(endpoint_of(olt, "SHA256:" + "B" * 43), fibre())
    with pytest.raises(LoginRefused):
        await driver.observe(replace(device, secret=Secret("changed")), fibre())
    await transport.close()
