"""softflowd, a real exporter, tells of captured packets over IPFIX: their octets arrive by subscriber and direction."""

from __future__ import annotations

import asyncio
import ipaddress
import random
import shutil
import struct
import time
from datetime import timedelta
from pathlib import Path

import pytest

from collectors import metrics
from collectors.ipfix.collector import IpfixCollector
from collectors.ipfix.flows import networks
from collectors.usage_bins import Bins
from collectors.usage_feed import Outlet
from controller.domain.clock import SystemClock
from tests.support.until import until

SOFTFLOWD = shutil.which("softflowd") or shutil.which("softflowd", path="/usr/sbin")
pytestmark = pytest.mark.skipif(SOFTFLOWD is None, reason="softflowd is not installed (apt-get install softflowd)")

OURS, OTHER = "100.64.0.1", "198.51.100.9"
OURS_6, OTHER_6 = "2001:db8::7", "2001:500::1"


def packet(source: str, destination: str, payload: int, port: int) -> bytes:
    """An Ethernet frame with UDP in IPv4 or IPv6; checksums are nobody's concern here."""
    ports = (port, 53) if source in (OURS, OURS_6) else (53, port)
    udp = struct.pack("!HHHH", *ports, 8 + payload, 0) + bytes(payload)
    ends = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
    if len(ends) == 8:
        ip, kind = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0) + ends, b"\x08\x00"
    else:
        ip, kind = struct.pack("!IHBB", 6 << 28, len(udp), 17, 64) + ends, b"\x86\xdd"
    return b"\2" * 6 + b"\4" * 6 + kind + ip + udp


def capture(file: Path, packets: list[tuple[float, bytes]]) -> None:
    """A pcap file of Ethernet frames."""
    with file.open("wb") as content:
        content.write(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1))
        for at, frame in packets:
            content.write(struct.pack("=IIII", int(at), int(at % 1 * 1e6), len(frame), len(frame)) + frame)


async def exported(capture_file: Path, *more: str) -> tuple[dict[str, list[int]], dict[str, float]]:
    """Octets by subscriber, upstream and downstream, of all that softflowd tells of a capture; and what was counted."""
    clock = SystemClock()
    outlet = Outlet("ipfix", "Flows", "address", Bins("life", lateness=timedelta(0)), [])
    collector = IpfixCollector(
        outlet, clock, exporters=networks("127.0.0.0/8"), ours=networks("100.64.0.0/10, 2001:db8::/32")
    )
    before = counted()
    port = await collector.open("127.0.0.1", 0)
    assert SOFTFLOWD is not None
    try:
        exporter = await asyncio.create_subprocess_exec(
            SOFTFLOWD, "-d", "-6", "-v", "10", "-r", str(capture_file), "-n", f"127.0.0.1:{port}",
            "-p", str(capture_file.with_suffix(".pid")), "-c", "none", *more,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        await asyncio.wait_for(exporter.wait(), 20)
        found: dict[str, list[int]] = {}

        def arrived() -> bool:
            for record in outlet.bins.closed(clock.now() + timedelta(hours=1)):
                sums = found.setdefault(record.identifier, [0, 0])
                sums[0] += record.upstream_octets
                sums[1] += record.downstream_octets
                assert timedelta(0) <= record.until - record.since <= timedelta(seconds=60)
            return OURS in found and OURS_6 in found and found[OURS][0] > 0 and found[OURS][1] > 0

        await until(arrived)
    finally:
        collector.close()
    return found, {name: value - before[name] for name, value in counted().items()}


def counted() -> dict[str, float]:
    reasons = ("sampler", "sampling", "absurd", "no-delta")
    untold = {reason: metrics.IPFIX_UNTOLD.labels(reason)._value.get() for reason in reasons}
    return untold | {"sampled": metrics.IPFIX_SAMPLED._value.get()}


@pytest.mark.parametrize("more", [(), ("-b",), ("-A", "milli")])
async def test_octets_of_captured_packets_arrive_by_subscriber_and_direction(
    tmp_path: Path, more: tuple[str, ...]
) -> None:
    began = time.time() - 20
    packets = []
    for n in range(10):
        packets.append((began + n, packet(OURS, OTHER, 100, 4000)))
        packets.append((began + n + 0.1, packet(OTHER, OURS, 1200, 4000)))
        packets.append((began + n + 0.2, packet(OTHER_6, OURS_6, 500, 4001)))
    packets.append((began + 11, packet(OTHER, "203.0.113.5", 900, 9)))  # nobody of ours
    capture(tmp_path / "cap.pcap", packets)
    found, counts = await exported(tmp_path / "cap.pcap", *more)
    # Octets of IP packets, headers included, as octetDeltaCount counts them.
    assert found == {OURS: [10 * 128, 10 * 1228], OURS_6: [0, 10 * 548]}
    assert not any(counts.values())


@pytest.mark.parametrize(("rate", "more"), [(10, ()), (10, ("-b",)), (100, ("-A", "milli"))])
async def test_octets_of_sampled_packets_are_multiplied_by_what_the_exporter_says_of_its_sampling(
    tmp_path: Path, rate: int, more: tuple[str, ...]
) -> None:
    """softflowd -s N takes every Nth packet, and says so: scope meteringProcessId, 1 packet, N - 1 skipped."""
    began = time.time() - 50
    kinds = [(OURS, OTHER, 100, 4000), (OTHER, OURS, 1200, 4000), (OTHER_6, OURS_6, 500, 4001)]
    true = dict.fromkeys(kinds, 0)
    packets = []
    shuffled = random.Random(7)  # in order, every tenth packet might well be of one kind
    for n in range(15_000):
        kind = shuffled.choice(kinds)
        packets.append((began + n / 400, packet(*kind)))
        true[kind] += len(packets[-1][1]) - 14
    capture(tmp_path / "cap.pcap", packets)
    found, counts = await exported(tmp_path / "cap.pcap", "-s", str(rate), *more)
    estimates = found[OURS][0], found[OURS][1], found[OURS_6][1]
    for estimate, octets in zip(estimates, true.values(), strict=True):
        # Packets of one kind are of one size: the error is that of their number among those sampled.
        assert estimate == pytest.approx(octets, rel=3 * (15_000 / rate / len(kinds)) ** -0.5)
        assert estimate % rate == 0
    assert counts.pop("sampled") > 0
    assert not any(counts.values())
