"""What the RADIUS room counts, as Prometheus reads it: by NAS and reason, each sample once, whatever a name holds."""

from __future__ import annotations

from collections import Counter

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from radius.authorization.directory import Directory
from radius.counters import Counters, RadiusCollector
from radius.protocol.cause import Cause
from tests.support.radius import accounting_server, authentication_server, nas, subscriber

SOURCE = ("127.0.0.1", 50_000)
ODD = 'b"r\\as\n{nas="x"}'


def exposed(counters: Counters) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample by name and labels. Fails where one stands twice, or a family has no type or no words."""
    registry = CollectorRegistry()
    registry.register(RadiusCollector(counters, Directory()))
    families = list(text_string_to_metric_families(generate_latest(registry).decode()))
    assert all(family.documentation and family.type != "unknown" for family in families)
    samples = [(sample.name, frozenset(sample.labels.items())) for family in families for sample in family.samples]
    assert [key for key, times in Counter(samples).items() if times > 1] == []
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def test_any_name_of_a_nas_is_a_label() -> None:
    counters, odd = Counters(), nas(name=ODD)
    counters.count(odd, 1, "reject")
    counters.reject(odd, Cause.WRONG_PASSWORD)
    samples = exposed(counters)
    labels = frozenset({("nas", ODD), ("code", "Access-Request"), ("result", "reject")})
    assert samples["headend_radius_requests_total", labels] == 1
    (reasons,) = [dict(key[1]) for key in samples if key[0] == "headend_radius_rejects_total"]
    assert reasons == {"nas": ODD, "reason": Cause.WRONG_PASSWORD.value}


def test_codes_that_nobody_knows_are_one_series() -> None:
    counters, known = Counters(), nas()
    for server in (authentication_server(known, subscriber()), accounting_server(known)):
        for code in range(256):
            verdict = server.receive(bytes((code, 1, 0, 20)) + bytes(16), SOURCE, 0.0)
            counters.count(verdict.nas, verdict.code, verdict.result)
    samples = exposed(counters)
    assert sum(value for (name, _), value in samples.items() if name == "headend_radius_requests_total") == 512
    assert any(("code", "other") in labels for _, labels in samples), "or this shows nothing"
    assert len(samples) < 100


def test_one_peer_s_words_make_no_series_of_their_own() -> None:
    counters, known = Counters(), nas()
    for number in range(50):
        counters.reject(known, f"no such user {number}")
    assert len([key for key in exposed(counters) if key[0] == "headend_radius_rejects_total"]) == 1
