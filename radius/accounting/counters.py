"""What the recorder did, as plain ints; a collector turns them into metrics when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class RecorderCounters:
    """`stored` records are on disk and answered; `duplicates` were answered without a second row; `refused` met a full
    queue; `rejected` could not be stored by themselves and were never answered; `unanswerable` waited in a full
    queue until no answer would have been taken, and were given up. `stamped_ahead` counts, by NAS name,
    the records whose Event-Timestamp lay too far in the future to be believed: that NAS has a wrong clock. `held`
    counts, by reason, the records with octets that went into the quarantine."""

    __slots__ = (
        "commit_s",
        "commits",
        "conflicts",
        "duplicates",
        "failures",
        "held",
        "last_commit_s",
        "refused",
        "rejected",
        "stamped_ahead",
        "stored",
        "unanswerable",
    )

    def __init__(self) -> None:
        self.stored = 0
        self.duplicates = 0
        self.refused = 0
        self.rejected = 0
        self.unanswerable = 0
        self.stamped_ahead: dict[str, int] = {}
        self.held: dict[str, int] = {}
        self.commits = 0
        self.conflicts = 0
        self.failures = 0
        self.commit_s = 0.0
        self.last_commit_s = 0.0

    def count_held(self, reason: str) -> None:
        self.held[reason] = self.held.get(reason, 0) + 1

    def count_stamped_ahead(self, nas_name: str) -> None:
        self.stamped_ahead[nas_name] = self.stamped_ahead.get(nas_name, 0) + 1


class RecorderCollector(Collector):
    """Register with `prometheus_client.REGISTRY.register(...)`. `depth` tells how many records wait now."""

    def __init__(self, counters: RecorderCounters, depth: Callable[[], int], sessions: Callable[[], int]) -> None:
        self._counters = counters
        self._depth = depth
        self._sessions = sessions

    def collect(self) -> Iterator[Metric]:
        counted = self._counters
        records = CounterMetricFamily(
            "headend_radius_accounting_records", "Accounting records, by what became of them.", labels=("result",)
        )
        for result in ("stored", "duplicates", "refused", "rejected", "unanswerable"):
            records.add_metric((result,), getattr(counted, result))
        yield records
        ahead = CounterMetricFamily(
            "headend_radius_accounting_stamped_ahead",
            "Records whose Event-Timestamp lay too far ahead to be believed: that NAS has a wrong clock.",
            labels=("nas",),
        )
        for nas, count in counted.stamped_ahead.items():
            ahead.add_metric((nas,), count)
        yield ahead
        held = CounterMetricFamily(
            "headend_radius_accounting_held",
            "Records with octets that were quarantined, by reason.",
            labels=("reason",),
        )
        for reason, count in counted.held.items():
            held.add_metric((reason,), count)
        yield held
        yield CounterMetricFamily("headend_radius_accounting_commits", "Group commits.", counted.commits)
        yield CounterMetricFamily(
            "headend_radius_accounting_commit_seconds", "Time spent in group commits.", counted.commit_s
        )
        yield CounterMetricFamily(
            "headend_radius_accounting_commit_failures", "Group commits done again.", counted.failures
        )
        yield CounterMetricFamily(
            "headend_radius_accounting_conflicts", "Commits that met another worker's session.", counted.conflicts
        )
        yield GaugeMetricFamily("headend_radius_accounting_queue", "Records waiting to be stored.", self._depth())
        yield GaugeMetricFamily(
            "headend_radius_accounting_last_commit_seconds", "Duration of the last commit.", counted.last_commit_s
        )
        yield GaugeMetricFamily(
            "headend_radius_accounting_sessions_in_memory", "Acct-Session-Ids held in memory.", self._sessions()
        )
