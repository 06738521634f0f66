"""Routers by the real napalm against the emulated eAPI router: add, change, repeat, remove, refuse, die."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from controller.domain.errors import PermanentDeviceError, TemporaryDeviceError
from controller.domain.identity import DeviceId, ServiceId
from controller.domain.ports import DeviceEndpoint, Secret
from controller.domain.service import AttachedService, RouterAttachment, SpeedProfile
from drivers.napalm_router import parse, render
from drivers.napalm_router.driver import NapalmRouter, NapalmRouterSettings, certificate_fingerprint, is_stale
from lab.router.device import ConnectionLost, Router
from lab.router.eapi import EapiServer

pytest.importorskip("napalm", reason="the extra [napalm] is not installed")

SERVICE = ServiceId("0198f0000000700080000000000000aa")
F100 = SpeedProfile("fibre-100", 100_000_000, 20_000_000)
F300 = SpeedProfile("fibre-300", 300_000_000, 50_000_000)


def desired(profile: SpeedProfile = F100, *, vlan: int = 101, present: bool = True) -> AttachedService:
    return AttachedService(SERVICE, profile, RouterAttachment(DeviceId("r1"), "Ethernet1", vlan), present=present)


class Bench:
    """A router, its server, and the driver pointed at it."""

    def __init__(self, files: Path) -> None:
        self.router = Router(files)
        self.router.boot()
        self.server = EapiServer(self.router, "headend", "pass word")
        self.driver = NapalmRouter(NapalmRouterSettings(network_timeout_s=5, call_timeout_s=30))

    @property
    def device(self) -> DeviceEndpoint:
        return DeviceEndpoint(
            DeviceId("r1"),
            "router-1",
            "napalm-router",
            "127.0.0.1",
            self.server.port,
            "headend",
            Secret("pass word"),
        )

    @property
    def running(self) -> str:
        return (self.router.files / "running-config").read_text()

    async def converge(self, wanted: AttachedService) -> int:
        """Observe, plan, apply; the number of steps there were."""
        plan = self.driver.plan(self.device, wanted, await self.driver.observe(self.device, wanted))
        await self.driver.apply(self.device, wanted, plan)
        return len(plan.steps)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    await bench.server.start()
    yield bench
    await bench.server.stop()
    bench.driver.close()


async def test_add_change_move_and_remove_each_converge_and_a_second_run_is_empty(bench: Bench) -> None:
    factory = bench.running
    for wanted in (desired(), desired(F300), desired(F300, vlan=102)):
        assert await bench.converge(wanted) == 1
        seen = await bench.driver.observe(bench.device, wanted)
        assert render.is_as_desired(wanted, seen)
        assert await bench.converge(wanted) == 0
    assert "Ethernet1.101" not in bench.running
    assert await bench.converge(desired(F300, vlan=102, present=False)) == 1
    assert bench.running == factory
    assert await bench.converge(desired(present=False)) == 0


async def test_what_is_committed_survives_a_reboot(bench: Bench) -> None:
    await bench.converge(desired())
    bench.router.boot()
    assert render.is_as_desired(desired(), await bench.driver.observe(bench.device, desired()))


async def test_the_devices_own_diff_is_shown_and_leaves_nothing_behind(bench: Bench) -> None:
    before = bench.running
    plan = bench.driver.plan(bench.device, desired(), await bench.driver.observe(bench.device, desired()))
    diff = await bench.driver.preview(bench.device, plan)
    assert "+      police rate 20000000 bps burst-size 250000 bytes" in diff
    assert "+   shape rate 100000 kbps" in plan.diff
    assert bench.running == before
    assert bench.router.sessions == {}


async def test_a_refused_command_is_permanent_and_leaves_the_device_as_it_was(bench: Bench) -> None:
    before = bench.running
    wanted = replace(desired(), attachment=RouterAttachment(DeviceId("r1"), "Ethernet99", 101))
    with pytest.raises(PermanentDeviceError, match="Ethernet99"):
        await bench.converge(wanted)
    assert bench.running == before
    assert bench.router.sessions == {}


@pytest.mark.parametrize("at", ["commit timer", "configure session"])
async def test_death_between_load_and_commit_leaves_the_device_unchanged(bench: Bench, at: str) -> None:
    before = bench.running

    def die(command: str) -> None:
        if at in command and "abort" not in command:
            bench.router.boot()
            raise ConnectionLost

    bench.router.faults.before = die
    with pytest.raises(TemporaryDeviceError):
        await bench.converge(desired())
    assert bench.running == before


async def test_a_change_behind_our_back_after_the_commit_is_rolled_back_and_permanent(bench: Bench) -> None:
    before = bench.running
    bench.router.faults.ignore_commit = True
    with pytest.raises(PermanentDeviceError, match="does not show the change"):
        await bench.converge(desired())
    assert bench.running == before


async def test_an_unconfirmed_commit_is_taken_back_by_the_devices_own_timer(bench: Bench) -> None:
    before = bench.running

    def cut_off(command: str) -> None:
        if "running-config" in command and any(s.state != "pending" for s in bench.router.sessions.values()):
            raise ConnectionLost
        if "abort" in command:
            raise ConnectionLost

    plan = bench.driver.plan(bench.device, desired(), await bench.driver.observe(bench.device, desired()))
    bench.router.faults.before = cut_off
    with pytest.raises(TemporaryDeviceError):
        await bench.driver.apply(bench.device, desired(), plan)
    assert bench.running != before, "committed, and waiting for the confirmation"
    bench.router.now = lambda: time.monotonic() + 61
    bench.router.expire()
    assert bench.running == before


async def test_wrong_credentials_are_permanent_and_name_no_password(bench: Bench) -> None:
    with pytest.raises(PermanentDeviceError, match="refuses our credentials") as caught:
        await bench.driver.observe(replace(bench.device, secret=Secret("guess")), desired())
    assert "guess" not in str(caught.value)


async def test_an_unreachable_router_is_temporary(bench: Bench) -> None:
    await bench.server.stop()
    with pytest.raises(TemporaryDeviceError):
        await bench.driver.observe(bench.device, desired())


async def test_another_certificate_than_the_pinned_one_is_permanent(bench: Bench) -> None:
    pem = (bench.router.files / "eapi.crt").read_text()
    pinned = replace(bench.device, host_key_sha256=certificate_fingerprint(pem))
    assert not (await bench.driver.observe(pinned, desired())).present
    with pytest.raises(PermanentDeviceError, match="another certificate"):
        await bench.driver.observe(replace(pinned, host_key_sha256="SHA256:other"), desired())


async def test_a_certificate_seen_first_is_pinned_before_the_password_is_sent(bench: Bench) -> None:
    class Keys:
        def __init__(self) -> None:
            self.pins: dict[str, str] = {}

        async def pin(self, device_id: DeviceId, host_key_sha256: str) -> str:
            return self.pins.setdefault(device_id, host_key_sha256)

    keys = Keys()
    driver = NapalmRouter(NapalmRouterSettings(network_timeout_s=5), keys)
    await driver.observe(bench.device, desired())
    assert keys.pins == {"r1": certificate_fingerprint((bench.router.files / "eapi.crt").read_text())}
    keys.pins["r1"] = "SHA256:other"
    asked = bench.server.requests
    with pytest.raises(PermanentDeviceError, match="another certificate"):
        await driver.observe(bench.device, desired())
    assert bench.server.requests == asked
    driver.close()


async def test_a_session_left_by_a_dead_process_is_aborted_and_a_fresh_one_is_waited_for(bench: Bench) -> None:
    bench.router.execute([f"configure session headend_{int(time.time()) - 1000}_dead", "end"], "json")
    assert await bench.converge(desired()) == 1
    assert bench.router.sessions == {}
    assert not is_stale("someone_1", time.time(), 900)
    assert not is_stale(f"headend_{int(time.time()) - 5}_ab", time.time(), 900)


async def test_two_services_at_once_wait_for_each_other(bench: Bench) -> None:
    other = replace(
        desired(F300, vlan=103),
        service_id=ServiceId("0198f0000000700080000000000000bb"),
    )
    assert await asyncio.gather(bench.converge(desired()), bench.converge(other)) == [1, 1]
    assert render.is_as_desired(desired(), await bench.driver.observe(bench.device, desired()))
    assert render.is_as_desired(other, await bench.driver.observe(bench.device, other))


def test_a_policy_that_no_subinterface_applies_polices_nothing() -> None:
    config = render.desired_stanza(desired()).replace("   service-policy type qos input", "   description x")
    seen = parse.observed_service(config, SERVICE, None)
    assert seen.present
    assert seen.upstream_bps is None
    assert seen.downstream_bps == 100_000_000


@pytest.mark.parametrize("text", ["", "end\n", "interface Ethernet1\n   description headend\n", "\x00 police rate"])
def test_parsing_what_is_not_ours_finds_nothing(text: str) -> None:
    assert not parse.observed_service(text, SERVICE, None).present


def test_a_rate_the_shaper_cannot_express_is_permanent() -> None:
    with pytest.raises(PermanentDeviceError, match="whole kbit/s"):
        render.desired_stanza(desired(SpeedProfile("odd", 1_000_001, 1_000_000)))


async def test_the_routers_errors_have_the_devices_shape(bench: Bench) -> None:
    context = ssl._create_unverified_context()
    body = {"jsonrpc": "2.0", "method": "runCmds", "id": "1", "params": {"version": 1, "cmds": ["enable", "make tea"]}}
    request = urllib.request.Request(
        f"https://127.0.0.1:{bench.server.port}/command-api",
        json.dumps(body).encode(),
        {"Authorization": "Basic " + base64.b64encode(b"headend:pass word").decode()},
    )

    def ask() -> dict[str, object]:
        with urllib.request.urlopen(request, context=context, timeout=5) as answer:
            return dict(json.load(answer)["error"])

    assert await asyncio.to_thread(ask) == {
        "code": 1002,
        "message": "CLI command 2 of 2 'make tea' failed: invalid command",
        "data": [{}, {"errors": ["Invalid input (at token 0: 'make')"]}],
    }
