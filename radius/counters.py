"""Counts of what the ports did, as plain ints; a collector turns them into metrics when they are asked for.

A counter object with its lock and label look-up would cost more than verifying the packet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from radius.authorization.directory import Directory
from radius.latency import BOUNDS_S, Latency
from radius.protocol.cause import cause_of
from radius.protocol.codes import CODE_NAMES
from radius.protocol.nas import Nas


class Counters:
    """(NAS name, packet code, result) → how many. `""` stands for an unknown NAS, code 0 for an unreadable packet."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, int, str], int] = {}
        self.rejects: dict[tuple[str, str], int] = {}
        """(NAS name, cause) of Access-Rejects."""
        self.latency = Latency()
        self.eap: Mapping[tuple[str, str], int] = {}
        """EapOutcomes.ended."""

    def count(self, nas: Nas | None, code: int, result: str) -> None:
        key = ("" if nas is None else nas.name, code, result)
        requests = self.requests
        try:
            requests[key] += 1
        except KeyError:
            requests[key] = 1

    def reject(self, nas: Nas | None, reason: str) -> None:
        """By cause: a closed list, so that no peer chooses how many series we keep."""
        key = ("" if nas is None else nas.name, cause_of(reason).value)
        self.rejects[key] = self.rejects.get(key, 0) + 1

    def total(self, result: str) -> int:
        """Over all NAS and codes."""
        return sum(value for (_, _, name), value in self.requests.items() if name == result)


class RadiusCollector(Collector):
    """Register with `prometheus_client.REGISTRY.register(...)`."""

    def __init__(self, counters: Counters, directory: Directory) -> None:
        self._counters = counters
        self._directory = directory

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "headend_radius_requests",
            "Datagrams on the RADIUS ports, by NAS, packet code and what became of them.",
            labels=("nas", "code", "result"),
        )
        # Several codes have the same label, and a sample that stands twice makes a scrape fail.
        summed: dict[tuple[str, str, str], int] = {}
        for (nas, code, result), value in self._counters.requests.items():
            key = nas, _code_label(code), result
            summed[key] = summed.get(key, 0) + value
        for key, value in summed.items():
            requests.add_metric(key, value)
        yield requests
        rejects = CounterMetricFamily(
            "headend_radius_rejects", "Access-Rejects by NAS and reason.", labels=("nas", "reason")
        )
        for (nas, reason), value in self._counters.rejects.items():
            rejects.add_metric((nas, reason), value)
        yield rejects
        eap = CounterMetricFamily(
            "headend_radius_eap", "EAP conversations by method and how they ended.", labels=("method", "result")
        )
        for (method, result), value in self._counters.eap.items():
            eap.add_metric((method, result), value)
        yield eap
        yield _histogram(self._counters.latency)
        yield GaugeMetricFamily(
            "headend_radius_directory_subscribers", "Logins in the directory in memory.", len(self._directory)
        )


def _histogram(latency: Latency) -> Metric:
    total, buckets = 0, []
    for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), latency.counts, strict=True):
        total += count
        buckets.append((bound, total))
    return HistogramMetricFamily(
        "headend_radius_authentication_seconds",
        "From the arrival of an Access-Request in the kernel to its answer or deferral, at most.",
        buckets=buckets,
        sum_value=latency.sum_s,
    )


def _code_label(code: int) -> str:
    # A closed set: the peer chooses the code, and must not choose how many series we keep.
    return CODE_NAMES.get(code, "other")
