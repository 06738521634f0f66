"""What a monitoring system wants to know of EAP: conversations under way, and when certificates end."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from radius.authorization.eap.certificates import CRL, SERVER, Certificates
from radius.authorization.eap.sessions import EapSessions


class EapCollector(Collector):
    """Reads the table and the files' dates when it is asked."""

    def __init__(self, sessions: EapSessions, certificates: Certificates | None) -> None:
        self._sessions = sessions
        self._certificates = certificates

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("headend_radius_eap_conversations", "EAP conversations in memory.", len(self._sessions))
        yield CounterMetricFamily(
            "headend_radius_eap_displaced",
            "EAP conversations given up for newer ones before their time.",
            self._sessions.displaced,
        )
        if self._certificates is not None:
            yield self._ends(self._certificates)

    def _ends(self, certificates: Certificates) -> Metric:
        ends = GaugeMetricFamily(
            "headend_radius_eap_certificate_end_seconds",
            "When the server's certificate and the first revocation list in HEADEND_EAP_DIR end, in Unix time.",
            labels=("file",),
        )
        found = certificates.current()
        ends.add_metric((SERVER,), found.chain[0].not_valid_after_utc.timestamp())
        lists = [revoked.next_update_utc for revoked in found.revocations if revoked.next_update_utc is not None]
        if lists:
            ends.add_metric((CRL,), min(lists).timestamp())
        return ends
