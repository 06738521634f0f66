"""VictoriaMetrics answers 204 to lines it drops: that a write is proved all the same is shown on the real server."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from controller.domain.usage import CounterSample
from controller.store import timeseries_influx
from controller.store.timeseries_influx import InfluxTimeSeries, WriteNotProved
from controller.store.timeseries_series import TimeSeriesUnavailable
from tests.support.metrics_server import VictoriaMetrics
from tests.support.ports import free_port

T0 = datetime(2026, 5, 1, 12, tzinfo=UTC)


def sample(name: str, at: datetime, value: float = 1) -> CounterSample:
    return CounterSample(name, (("device", "a"),), "octets", at, value)


async def test_the_server_says_204_to_a_malformed_line(victoria_metrics: VictoriaMetrics) -> None:
    answer = httpx2.post(f"{victoria_metrics.url}/api/v2/write?bucket=b&org=o&precision=ms", content="no line at all")
    assert answer.status_code == 204


async def test_a_batch_is_proved_although_another_writer_sends_rubbish(victoria_metrics: VictoriaMetrics) -> None:
    series = InfluxTimeSeries(victoria_metrics.url)
    send = series._send

    def disturbed(lines: str) -> None:
        httpx2.post(f"{victoria_metrics.url}/api/v2/write?precision=ms", content="rubbish of somebody else")
        send(lines)

    series._send = disturbed  # type: ignore[method-assign]
    measurement = f"m{uuid.uuid4().hex}"
    await series.write([sample(measurement, T0 + timedelta(seconds=n)) for n in range(20)])
    span = {"since": T0, "until": T0 + timedelta(seconds=20), "step_s": 20}
    (bucket,) = await series.read(measurement, "octets", tags=(("device", "a"),), **span)  # type: ignore[arg-type]
    await series.close()
    assert bucket.value == 20


async def test_lines_dropped_behind_a_204_are_noticed(
    tmp_path: Path, victoria_metrics: VictoriaMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeseries_influx, "_PROOF_TIMEOUT_S", 2.0)
    server = VictoriaMetrics(tmp_path / "vm", "-retentionPeriod=1d")
    series = InfluxTimeSeries(server.url)
    try:
        with pytest.raises(WriteNotProved, match="octets"):
            await series.write([sample("old", datetime.now(UTC) - timedelta(days=400))])
    finally:
        await series.close()
        server.stop()


async def test_settings_under_which_reads_would_be_wrong_are_named(
    tmp_path: Path, victoria_metrics: VictoriaMetrics
) -> None:
    good, plain = InfluxTimeSeries(victoria_metrics.url), VictoriaMetrics(tmp_path / "vm")
    bad = InfluxTimeSeries(plain.url)
    try:
        assert await good.flaws() == []
        (flaw,) = await bad.flaws()
        assert "dedup" in flaw
    finally:
        await good.close()
        await bad.close()
        plain.stop()


async def test_a_server_that_is_not_there_is_unavailable_on_write_and_read() -> None:
    series = InfluxTimeSeries(f"http://127.0.0.1:{free_port()}", timeout_s=1)
    with pytest.raises(TimeSeriesUnavailable):
        await series.write([sample("m", T0)])
    with pytest.raises(TimeSeriesUnavailable):
        await series.read("m", "octets", since=T0, until=T0 + timedelta(hours=1), step_s=60)
    await series.close()
