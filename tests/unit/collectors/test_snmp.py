"""SNMP polling, against net-snmp's snmpd and against the lab's agent with its faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from collectors.counters import Seen
from collectors.errors import DeviceRefusedKeys, DeviceSilent
from collectors.settings import SnmpSettings
from collectors.snmp.client import poll
from collectors.snmp.interfaces import DevicePoll
from collectors.snmp.names import IF_HC_IN_OCTETS, SYS_UPTIME, resolve
from collectors.snmp.samples import samples
from collectors.track import CounterTrack
from controller.domain.errors import HeadendError, RuleError
from controller.domain.identity import DeviceId
from controller.domain.ports import Secret, SnmpTarget
from lab.snmp_agent import AgentInterface, SnmpAgent, V3User
from tests.support.snmp import DamagingRelay, SnmpDaemon

QUICK = SnmpSettings(timeout_s=0.3, attempts=1)


def now() -> datetime:
    return datetime.now(UTC)


def v2c(port: int, community: str = "public") -> SnmpTarget:
    return SnmpTarget(DeviceId("d"), "device", "127.0.0.1", port, "2c", community=Secret(community))


def v3(port: int, user: str = "reader", auth: str = "SHA", auth_key: str = "authentication-key") -> SnmpTarget:
    return SnmpTarget(
        DeviceId("d"), "device", "127.0.0.1", port, "3",
        user=user, auth_protocol=auth, auth_key=Secret(auth_key), priv_protocol="AES", priv_key=Secret("privacy-key-1"),
    )  # fmt: skip


def loopback(found: DevicePoll) -> tuple[int, bool, int | None]:
    """Width of its counter of octets, whether it has counted any, and its speed."""
    (lo,) = (interface for interface in found.interfaces if interface.name == "lo")
    assert lo.received is not None
    return lo.received.bits, lo.received.value > 0, lo.speed_bps


async def test_snmpd_is_polled_over_v2c(snmpd: SnmpDaemon) -> None:
    found = await poll(v2c(snmpd.port), SnmpSettings(), now)
    assert loopback(found) == (64, True, None), "net-snmp says 10 Mbit/s, which is not believed"
    assert found.uptime_ticks >= 0


@pytest.mark.parametrize(("user", "auth"), [("reader", "SHA"), ("reader256", "SHA-256")])
async def test_snmpd_is_polled_over_v3_with_authentication_and_privacy(snmpd: SnmpDaemon, user: str, auth: str) -> None:
    found = await poll(v3(snmpd.port, user, auth), SnmpSettings(), now)
    assert loopback(found) == (64, True, None)
    assert found.uptime_ticks >= 0


async def test_the_counters_of_snmpd_grow_between_two_polls(snmpd: SnmpDaemon) -> None:
    track = CounterTrack()
    samples("d", await poll(v2c(snmpd.port), SnmpSettings(), now), track)
    track.keep()
    found = samples("d", await poll(v2c(snmpd.port), SnmpSettings(), now), track)
    octets = {dict(s.tags)["if_name"]: s.value for s in found if s.field == "octets"}
    assert octets["lo"] >= 0
    assert set(track.keep()) == {Seen.GROWTH}


async def test_a_wrong_community_is_silence_and_said_so(snmpd: SnmpDaemon) -> None:
    with pytest.raises(DeviceSilent, match="community"):
        await poll(v2c(snmpd.port, "wrong"), QUICK, now)


async def test_a_wrong_v3_key_is_a_refusal(snmpd: SnmpDaemon) -> None:
    with pytest.raises(DeviceRefusedKeys, match="reader"):
        await poll(v3(snmpd.port, auth_key="another-key-entirely"), QUICK, now)


async def test_a_protocol_we_do_not_speak_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(RuleError, match="SHA3"):
        await poll(v3(9, auth="SHA3"), QUICK, now)
    with pytest.raises(RuleError, match="community"):
        await poll(replace(v2c(9), community=None), QUICK, now)


@pytest.mark.parametrize("seed", [1, 2])
async def test_damaged_answers_end_a_poll_and_never_more_than_that(snmpd: SnmpDaemon, seed: int) -> None:
    relay = DamagingRelay(snmpd.port, seed)
    port = await relay.start()
    ended: Counter[str] = Counter()
    for number in range(150):
        target = v3(port) if number % 3 == 0 else v2c(port)
        try:
            await poll(target, SnmpSettings(timeout_s=0.03, attempts=1), now)
        except HeadendError as error:
            ended[type(error).__name__] += 1
    relay.stop()
    assert ended["MalformedAnswer"] > 10


async def test_an_agent_may_be_named_instead_of_numbered(snmpd: SnmpDaemon) -> None:
    assert loopback(await poll(replace(v2c(snmpd.port), host="localhost"), SnmpSettings(), now)) == (64, True, None)
    with pytest.raises(DeviceSilent, match=r"no-such-host\.invalid"):
        await poll(replace(v2c(snmpd.port), host="no-such-host.invalid"), QUICK, now)


def test_names_resolve_to_oids_by_pysnmps_mibs() -> None:
    assert resolve("SNMPv2-MIB::sysUpTime.0") == SYS_UPTIME
    assert resolve("SNMPv2-MIB::sysName") == "1.3.6.1.2.1.1.5"
    with pytest.raises(RuleError):
        resolve("SNMPv2-MIB::noSuchObject")
    assert IF_HC_IN_OCTETS == "1.3.6.1.2.1.31.1.1.1.6"


@pytest.fixture
async def agent() -> AsyncIterator[SnmpAgent]:
    ports = [AgentInterface(1, "ge-0/0/0", 1_000), AgentInterface(7, "pon-1", 10_000, up=False)]
    user = V3User("reader", "authentication-key", "privacy-key-1")
    async with SnmpAgent("olt-1", ports, "public", user) as running:
        yield running


class Watch:
    """Polls the agent again and again, and says what each interface did."""

    def __init__(self, agent: SnmpAgent, settings: SnmpSettings = QUICK) -> None:
        self.agent, self.settings, self.track = agent, settings, CounterTrack()

    async def octets(self) -> dict[tuple[str, str], float]:
        found = samples("d", await poll(v2c(self.agent.port), self.settings, now), self.track)
        self.seen = self.track.keep()
        self.quarantined = [s.value for s in found if s.field == "quarantined_octets"]
        return {(dict(s.tags)["if_name"], dict(s.tags)["direction"]): s.value for s in found if s.field == "octets"}


async def test_the_labs_agent_answers_v2c_and_v3(agent: SnmpAgent) -> None:
    for target in (v2c(agent.port), v3(agent.port)):
        found = await poll(target, SnmpSettings(), now)
        assert [(i.index, i.name, i.up, i.speed_bps) for i in found.interfaces] == [
            (1, "ge-0/0/0", True, 10**9),
            (7, "pon-1", False, 10**10),
        ]


async def test_the_labs_agent_is_silent_to_a_wrong_community(agent: SnmpAgent) -> None:
    with pytest.raises(DeviceSilent):
        await poll(v2c(agent.port, "wrong"), QUICK, now)


async def test_octets_are_what_was_carried_since_the_last_poll(agent: SnmpAgent) -> None:
    watch = Watch(agent)
    assert await watch.octets() == {}
    agent.interface("ge-0/0/0").carry(received=1_000, sent=2_000)
    found = await watch.octets()
    assert (found["ge-0/0/0", "in"], found["ge-0/0/0", "out"], found["pon-1", "in"]) == (1_000, 2_000, 0)


async def test_a_missing_poll_is_a_gap_and_loses_nothing(agent: SnmpAgent) -> None:
    watch = Watch(agent)
    await watch.octets()
    agent.silent = True
    agent.interface("ge-0/0/0").carry(received=10, sent=0)
    with pytest.raises(DeviceSilent):
        await watch.octets()
    agent.silent = False
    agent.interface("ge-0/0/0").carry(received=5, sent=0)
    assert (await watch.octets())["ge-0/0/0", "in"] == 15


async def test_after_a_reboot_the_delta_is_the_new_value(agent: SnmpAgent) -> None:
    watch = Watch(agent)
    agent.started_at -= 3600
    agent.interface("ge-0/0/0").carry(received=5 * 10**12, sent=0)
    await watch.octets()
    agent.reboot()
    agent.interface("ge-0/0/0").carry(received=700, sent=0)
    assert (await watch.octets())["ge-0/0/0", "in"] == 700
    assert watch.seen == {Seen.RESET: 4}


@pytest.mark.parametrize("announced", [True, False])
async def test_counters_cleared_under_way_are_a_reset_announced_or_not(agent: SnmpAgent, announced: bool) -> None:
    watch = Watch(agent)
    for interface in agent.interfaces:
        interface.carry(received=10**9, sent=10**9)
    await watch.octets()
    agent.reset_counters(announced=announced)
    agent.interface("ge-0/0/0").carry(received=900, sent=1)
    assert (await watch.octets())["ge-0/0/0", "in"] == 900
    assert watch.seen == {Seen.RESET: 4}


async def test_an_announced_reset_is_believed_even_if_the_value_rose(agent: SnmpAgent) -> None:
    watch = Watch(agent)
    agent.interface("ge-0/0/0").carry(received=100, sent=0)
    await watch.octets()
    agent.reset_counters()
    agent.interface("ge-0/0/0").carry(received=400, sent=0)
    assert (await watch.octets())["ge-0/0/0", "in"] == 400


async def test_an_agent_without_64_bit_counters_wraps_at_32_bits(agent: SnmpAgent) -> None:
    port = agent.interface("ge-0/0/0")
    port.has_64_bits, port.speed_mbps = False, 100
    port.received = 2**32 - 100
    watch = Watch(agent)
    await watch.octets()
    port.carry(received=350, sent=0)
    assert (await watch.octets())["ge-0/0/0", "in"] == 350
    assert watch.seen[Seen.WRAP] == 1


async def test_an_impossible_rate_is_quarantined_and_visible(agent: SnmpAgent) -> None:
    watch = Watch(agent)
    await watch.octets()
    agent.interface("ge-0/0/0").carry(received=10**13, sent=0)
    assert ("ge-0/0/0", "in") not in await watch.octets()
    assert watch.quarantined == [10**13]
    assert watch.seen[Seen.QUARANTINED] == 1


async def test_a_large_table_is_read_whole() -> None:
    ports = [AgentInterface(n, f"pon-{n}", 10_000, received=n) for n in range(1, 301)]
    async with SnmpAgent("olt-2", ports, "public") as agent:
        found = await poll(v2c(agent.port), SnmpSettings(), now)
    assert [i.received.value for i in found.interfaces if i.received] == list(range(1, 301))
