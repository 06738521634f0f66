"""What every ServiceDriver owes its callers, asked of each driver against the lab's device of its kind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from lxml import etree

from controller.domain.errors import PermanentDeviceError, TemporaryDeviceError
from controller.domain.identity import DeviceId, ServiceId
from controller.domain.ports import DeviceEndpoint, Secret, ServiceDriver
from controller.domain.service import AttachedService, Attachment, OnuAttachment, Plan, RouterAttachment, SpeedProfile
from controller.domain.units import MBPS
from controller.provisioning import verify
from drivers.napalm_router.driver import NapalmRouter, NapalmRouterSettings
from lab.olt.device import OltSettings
from lab.olt.server import OltServer
from lab.router.device import ConnectionLost, Router
from lab.router.eapi import EapiServer
from tests.support.olt import driver_with, endpoint_of

SERVICE_ID = ServiceId("0190" + "a" * 28)
HUNDRED = SpeedProfile("fibre-100", 100 * MBPS, 50 * MBPS)
THREE_HUNDRED = SpeedProfile("fibre-300", 300 * MBPS, 150 * MBPS)


@dataclass
class Bench:
    """A driver, its device, and the test's hands on that device. `running` is the configuration as text."""

    driver: ServiceDriver
    device: DeviceEndpoint
    port: str
    running: Callable[[], str]
    die_at_commit: Callable[[], None]
    lose_power: Callable[[], Awaitable[None]]

    def wanted(
        self, profile: SpeedProfile = HUNDRED, *, port: str | None = None, present: bool = True
    ) -> AttachedService:
        return AttachedService(SERVICE_ID, profile, self.attached(port or self.port), present)

    def attached(self, port: str) -> Attachment:
        if self.device.driver == "bbf-olt":
            return OnuAttachment(self.device.device_id, port, "LABO00000001", 100)
        return RouterAttachment(self.device.device_id, port, 100)

    async def plan(self, desired: AttachedService) -> Plan:
        return self.driver.plan(self.device, desired, await self.driver.observe(self.device, desired))

    async def converge(self, desired: AttachedService) -> None:
        await self.driver.apply(self.device, desired, await self.plan(desired))

    async def differences(self, desired: AttachedService) -> tuple[str, ...]:
        return verify.differences(desired, await self.driver.observe(self.device, desired))


async def olt_bench(files: Path) -> AsyncIterator[Bench]:
    driver, transport = driver_with()
    async with OltServer(OltSettings(pon_ports=2, state_file=files / "olt.xml")) as server:
        yield Bench(
            driver,
            endpoint_of(server),
            "pon-1",
            running=lambda: etree.tostring(server.olt.running, method="c14n").decode(),
            die_at_commit=lambda: server.olt.faults.drop_before.add("commit"),
            lose_power=server.stop,
        )
    await transport.close()


async def router_bench(files: Path) -> AsyncIterator[Bench]:
    router = Router(files)
    router.boot()
    server = EapiServer(router, "headend", "lab-router")
    await server.start()
    driver = NapalmRouter(NapalmRouterSettings(network_timeout_s=5, call_timeout_s=30))

    def die_at_commit() -> None:
        def die(command: str) -> None:
            if " commit" in command:
                router.faults.before = lambda _: None
                router.boot()
                raise ConnectionLost

        router.faults.before = die

    yield Bench(
        driver,
        DeviceEndpoint(
            DeviceId("0" * 31 + "2"),
            "router-1",
            "napalm-router",
            "127.0.0.1",
            server.port,
            "headend",
            Secret("lab-router"),
        ),
        "Ethernet1",
        running=lambda: (files / "running-config").read_text(),
        die_at_commit=die_at_commit,
        lose_power=server.stop,
    )
    await server.stop()
    driver.close()


BENCHES = {"bbf-olt": olt_bench, "napalm-router": router_bench}


@pytest.fixture(params=sorted(BENCHES))
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    async for made in BENCHES[request.param](tmp_path):
        yield made


async def test_a_service_is_added_changed_and_removed_and_each_is_read_back(bench: Bench) -> None:
    for desired in (bench.wanted(), bench.wanted(THREE_HUNDRED), bench.wanted(THREE_HUNDRED, present=False)):
        assert await bench.differences(desired)
        await bench.converge(desired)
        assert await bench.differences(desired) == ()


async def test_a_second_run_plans_nothing_and_touches_nothing(bench: Bench) -> None:
    await bench.converge(bench.wanted())
    before = bench.running()
    again = await bench.plan(bench.wanted())
    assert (again.steps, again.diff) == ((), "")
    await bench.driver.apply(bench.device, bench.wanted(), again)
    assert bench.running() == before


async def test_a_plan_shows_what_will_be_sent_and_the_difference_for_people(bench: Bench) -> None:
    before = bench.running()
    plan = await bench.plan(bench.wanted())
    assert all(step.summary and step.rendered for step in plan.steps)
    assert any(line.startswith("+") for line in plan.diff.splitlines())
    assert bench.running() == before, "a plan changes nothing"


async def test_removing_what_is_not_there_is_nothing_to_do(bench: Bench) -> None:
    assert (await bench.plan(bench.wanted(present=False))).is_empty


async def test_a_port_that_does_not_exist_is_permanent_and_changes_nothing(bench: Bench) -> None:
    before = bench.running()
    port = "pon-9" if bench.port.startswith("pon") else "Ethernet99"
    with pytest.raises(PermanentDeviceError, match=port):
        await bench.converge(bench.wanted(port=port))
    assert bench.running() == before


async def test_a_service_attached_as_to_another_kind_of_device_is_permanent(bench: Bench) -> None:
    here = bench.device.device_id
    other = RouterAttachment(here, "Ethernet1", 100)
    if bench.device.driver != "bbf-olt":
        other = OnuAttachment(here, "pon-1", "LABO00000001", 100)  # type: ignore[assignment]
    with pytest.raises(PermanentDeviceError, match="to be attached"):
        await bench.converge(replace(bench.wanted(), attachment=other))


async def test_a_device_that_dies_between_edit_and_commit_is_temporary_and_as_it_was(bench: Bench) -> None:
    before = bench.running()
    plan = await bench.plan(bench.wanted())
    bench.die_at_commit()
    with pytest.raises(TemporaryDeviceError):
        await bench.driver.apply(bench.device, bench.wanted(), plan)
    assert bench.running() == before
    await bench.converge(bench.wanted())
    assert await bench.differences(bench.wanted()) == ()


async def test_a_device_without_power_is_temporary(bench: Bench) -> None:
    await bench.lose_power()
    with pytest.raises(TemporaryDeviceError):
        await bench.driver.observe(bench.device, bench.wanted())


async def test_a_wrong_password_is_permanent_and_never_shown(bench: Bench) -> None:
    with pytest.raises(PermanentDeviceError) as caught:
        await bench.driver.observe(replace(bench.device, secret=Secret("guessed-one")), bench.wanted())
    assert "guessed-one" not in str(caught.value)
