"""Time series in a server that takes InfluxDB line protocol and answers PromQL: VictoriaMetrics.

VictoriaMetrics answers 204 to malformed lines, and to instants outside its retention, and drops them. So 204 proves
nothing here: `write` compares the server's own counters before and after, and where they do not settle it, reads
samples back. It also keeps a point twice that was sent twice unless told to de-duplicate; `flaws` names each setting
of the server under which answers from here would be wrong. Start it with

    -dedup.minScrapeInterval=1ms -retentionPeriod=…

Refuses to overwrite: which of two different values for one (series, instant) the server keeps is not defined.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, cast

import httpx2
import structlog
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.domain.write_precision import WritePrecision
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError

from controller.domain.ports import Secret
from controller.domain.usage import Bucket, CounterSample
from controller.store.timeseries_batch import Batches
from controller.store.timeseries_series import Grid, Point, Tags, TimeSeriesUnavailable, canonical_tags, grid, point

log = structlog.get_logger()

LINES_PER_REQUEST = 5_000
# The class of constants is typed as if its members were instances of it.
_MILLISECONDS = cast(WritePrecision, WritePrecision.MS)
_PROOF_SAMPLES = 8
_PROOF_TIMEOUT_S = 20.0
# The counters it shows are up to a second old (seen with 1.79.5).
_PAGE_AGE_S = 1.1
_COUNTERS_AFTER_S = (0.0, 0.1, 0.2, 0.3, 0.3, 0.3, 0.5)
# A series asked for before it can be found is remembered as absent for about ten seconds (seen with 1.79.5).
_FIRST_LOOK_AFTER_S = 1.5
_COUNTER = re.compile(
    r'^vm_rows_(inserted_total\{type="influx"|invalid_total\{type="influx"|ignored_total\{).*\} (\S+)$'
)
_QUERY = {
    "sum": ("sum(sum_over_time(@))",),
    "avg": ("sum(sum_over_time(@))", "sum(count_over_time(@))"),
    "max": ("max(max_over_time(@))",),
    "last": ("last_over_time(@)", "tlast_over_time(@)"),
}
# Points nearer to the present than this, or beyond it as the end of a running bucket is, the server makes up from
# those before. So it is asked for earlier ones, with an offset into their future.
_SETTLED_MS = 120_000


class WriteNotProved(TimeSeriesUnavailable):
    """The server took the lines and does not have them: wrong retention, or it dropped them as malformed."""


class InfluxTimeSeries:
    """`TimeSeries` in VictoriaMetrics at `url`. The server ignores bucket and org."""

    def __init__(
        self, url: str, *, token: Secret | None = None, org: str = "-", bucket: str = "headend", timeout_s: float = 10.0
    ) -> None:
        revealed = token.reveal() if token else ""
        self._client = InfluxDBClient(url, token=revealed, org=org, timeout=int(timeout_s * 1000))
        self._write = self._client.write_api(write_options=SYNCHRONOUS)
        self._bucket, self._org = bucket, org
        headers = {"Authorization": f"Token {revealed}"} if revealed else {}
        self._http = httpx2.AsyncClient(base_url=url, timeout=timeout_s, headers=headers)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="timeseries-write")
        self._batches = Batches(self._write_proved)
        self._counters: tuple[float, float] | None = None
        self._looked_at_settings = False

    async def write(self, samples: Sequence[CounterSample]) -> None:
        """Returns when the server has the samples. Raises TimeSeriesUnavailable or WriteNotProved."""
        await self._batches.add([point(sample) for sample in samples])

    async def read(
        self,
        measurement: str,
        field: str,
        *,
        since: datetime,
        until: datetime,
        step_s: int,
        tags: Sequence[tuple[str, str]] = (),
        aggregate: str = "sum",
    ) -> Sequence[Bucket]:
        wanted = grid(since, until, step_s, aggregate)
        selector = _selector(measurement, field, canonical_tags(tags))
        queries = [q.replace("@", f"{_braces(selector)}[{wanted.step_ms}ms]{{offset}}") for q in _QUERY[aggregate]]
        answers = await asyncio.gather(*(self._query_range(query, wanted) for query in queries))
        return wanted.buckets(_combine(aggregate, answers))

    async def flaws(self) -> list[str]:
        """Settings of the server under which reads from here would be wrong, as sentences; empty when all is well."""
        text = await self._get("/flags")
        found = []
        if not re.search(r'dedup\.minScrapeInterval="1ms"', text):
            found.append("without -dedup.minScrapeInterval=1ms a sample that is sent again counts twice")
        return found

    async def expire(self, now: datetime) -> int:
        """Nothing to do: the server's own -retentionPeriod decides."""
        return 0

    async def close(self) -> None:
        await self._batches.finish()
        await self._http.aclose()
        await asyncio.to_thread(self._thread.shutdown)
        await asyncio.to_thread(self._client.close)

    async def _write_proved(self, points: Sequence[Point]) -> None:
        if not self._looked_at_settings:
            for flaw in await self.flaws():
                log.warning("timeseries.server_setting", detail=flaw)
            self._looked_at_settings = True
        before = self._counters or await self._row_counters()
        for start in range(0, len(points), LINES_PER_REQUEST):
            lines = "\n".join(_lines(points[start : start + LINES_PER_REQUEST]))
            await asyncio.get_running_loop().run_in_executor(self._thread, self._send, lines)
        if before is None or not await self._counted(before, len(points)):
            await self._read_back(points)

    async def _counted(self, before: tuple[float, float], lines: int) -> bool:
        """Whether the counters soon show `lines` more inserted and none dropped. Another writer's rubbish says no."""
        for wait_s in _COUNTERS_AFTER_S:
            await asyncio.sleep(wait_s)
            self._counters = await self._row_counters()
            if self._counters is None or self._counters[1] != before[1] or self._counters[0] < before[0]:
                return False
            inserted = self._counters[0] - before[0]
            if inserted == lines:
                return True
            if inserted > lines:  # others write too: only a page made after our lines can tell
                await asyncio.sleep(_PAGE_AGE_S)
                self._counters = await self._row_counters()
                return self._counters is not None and self._counters[1] == before[1]
        return False

    def _send(self, lines: str) -> None:
        try:
            self._write.write(bucket=self._bucket, org=self._org, record=lines, write_precision=_MILLISECONDS)
        except (ApiException, HTTPError) as error:
            raise TimeSeriesUnavailable(f"write: {error}") from error

    async def _row_counters(self) -> tuple[float, float] | None:
        """(rows inserted, rows dropped) since the server started; None where it does not tell."""
        inserted, dropped, seen = 0.0, 0.0, False
        for line in (await self._get("/metrics", required=False)).splitlines():
            if match := _COUNTER.match(line):
                if match[1].startswith("inserted"):
                    inserted, seen = inserted + float(match[2]), True
                else:
                    dropped += float(match[2])
        return (inserted, dropped) if seen else None

    async def _read_back(self, points: Sequence[Point]) -> None:
        """Look for a few of the points, spread over the batch, until each is there or the time is up."""
        step = max(1, len(points) // _PROOF_SAMPLES)
        missing = [*points[::step], points[-1]]
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _PROOF_TIMEOUT_S
        while missing:
            if loop.time() > deadline:
                lost = missing[0]
                raise WriteNotProved(
                    f"{len(missing)} of {len(points)} not found, such as {lost.key} at {lost.at_ms} ms"
                )
            await asyncio.sleep(_FIRST_LOOK_AFTER_S)
            missing = [p for p in missing if not await self._holds(p)]

    async def _holds(self, wanted: Point) -> bool:
        measurement, tags, field = wanted.key
        at_s = wanted.at_ms / 1000
        window = {"match[]": _selector(measurement, field, tags), "start": f"{at_s:.3f}", "end": f"{at_s:.3f}"}
        text = await self._get("/api/v1/export", window)
        return any(wanted.at_ms in json.loads(line)["timestamps"] for line in text.splitlines() if line)

    async def _query_range(self, query: str, wanted: Grid) -> list[dict[str, Any]]:
        # PromQL looks back over (t − w, t]; one millisecond before a bucket's end that is exactly [start, start + w).
        first = wanted.since_ms + wanted.step_ms - 1
        last = wanted.until_ms - 1
        shift = max(0, last - int(time.time() * 1000) + _SETTLED_MS)
        text = await self._get(
            "/api/v1/query_range",
            {
                "query": query.format(offset=f" offset -{shift}ms" if shift else ""),
                "start": f"{(first - shift) / 1000:.3f}",
                "end": f"{(last - shift) / 1000:.3f}",
                "step": f"{wanted.step_ms}ms",
                "nocache": "1",  # its cache would move start and end to multiples of the step
            },
        )
        first -= shift
        series: list[dict[str, Any]] = json.loads(text)["data"]["result"]
        for one in series:
            one["buckets"] = {
                round((float(t) * 1000 - first) / wanted.step_ms): float(value) for t, value in one["values"]
            }
        return series

    async def _get(self, path: str, parameters: dict[str, str] | None = None, *, required: bool = True) -> str:
        try:
            answer = await self._http.get(path, params=parameters)
        except httpx2.HTTPError as error:
            raise TimeSeriesUnavailable(f"{path}: {type(error).__name__} {error}") from error
        if answer.status_code == 200:
            return answer.text
        if required:
            raise TimeSeriesUnavailable(f"{path}: {answer.status_code} {answer.text[:200]}")
        return ""


def _combine(aggregate: str, answers: Sequence[list[dict[str, Any]]]) -> dict[int, float]:
    if aggregate == "last":
        return _newest(answers[0], answers[1])
    if not answers[0]:
        return {}
    values: dict[int, float] = answers[0][0]["buckets"]
    if aggregate == "avg":
        counts = answers[1][0]["buckets"]
        return {n: total / counts[n] for n, total in values.items()}
    return values


def _newest(values: list[dict[str, Any]], instants: list[dict[str, Any]]) -> dict[int, float]:
    """Per bucket the value of the series that was written last; of several at one instant, the greatest."""
    label: Callable[[dict[str, Any]], Tags] = lambda one: tuple(  # noqa: E731
        sorted((k, v) for k, v in one["metric"].items() if k != "__name__")
    )
    when = {label(one): one["buckets"] for one in instants}
    best: dict[int, tuple[float, float]] = {}
    for one in values:
        for n, value in one["buckets"].items():
            best[n] = max(best.get(n, (0.0, 0.0)), (when[label(one)][n], value))
    return {n: value for n, (_, value) in best.items()}


def _selector(measurement: str, field: str, tags: Tags) -> str:
    """The server names a series measurement_field."""
    labels = ",".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in tags)
    return f"{measurement}_{field}{{{labels}}}"


def _braces(text: str) -> str:
    """So that str.format leaves them alone."""
    return text.replace("{", "{{").replace("}", "}}")


def _lines(points: Sequence[Point]) -> Iterable[str]:
    """Ready-made lines: influxdb-client's Point objects cost about four times as much."""
    heads: dict[object, str] = {}
    for key, at_ms, value in points:
        head = heads.get(key)
        if head is None:
            head = heads[key] = _head(key.measurement, key.tags, key.field)
        yield f"{head}{value}i {at_ms}" if isinstance(value, int) else f"{head}{value!r} {at_ms}"


def _head(measurement: str, tags: Tags, field: str) -> str:
    """`measurement,tag=value field=`; in tag values comma, equals sign and space are escaped."""
    labels = "".join(
        f",{name}={value.replace(',', chr(92) + ',').replace('=', chr(92) + '=').replace(' ', chr(92) + ' ')}"
        for name, value in tags
    )
    return f"{measurement}{labels} {field}="
