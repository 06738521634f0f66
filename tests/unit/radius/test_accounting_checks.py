"""What a NAS's own accounting says about it: nothing where it counts as it should, a sentence where it does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import insert

from controller.store.engine import Database
from radius.accounting.check_routes import endpoints
from radius.accounting.checks import NasChecks, NasEvidence
from radius.protocol.nas import Nas
from radius.tables import nas as nas_table
from tests.support.accounting import NAS, OTHER_NAS, accounting
from tests.support.api import api_client
from tests.support.recorder import NOW, RecorderBench, row_of

T = int(NOW.timestamp())
MB = 1_000_000


@pytest.fixture
async def bench(database: Database) -> AsyncIterator[RecorderBench]:
    made = RecorderBench(database, rates_of=lambda _: (20_000_000, 50_000_000))
    yield made
    await made.stop()


async def day(bench: RecorderBench, nas: Nas, *, count: int = 24, stop: bool = True) -> None:
    """Subscribers that download ten times what they upload, as RFC 2866 counts it; one who does not."""
    for n in range(count):
        up, down = (900 * MB, 30 * MB) if n == 5 else (30 * MB, 300 * MB)
        kind = "stop" if stop else "interim"
        await bench.send(accounting(kind, b"%04x" % n, at=T + 900, seconds=900, up=up, down=down), nas=nas)


async def test_a_nas_that_is_said_to_send_no_interims_is_not_asked_for_them(bench: RecorderBench) -> None:
    await day(bench, NAS, count=4, stop=False)
    checks = NasChecks(bench.database, bench.clock)
    bench.clock.advance(timedelta(seconds=2 * NAS.interim_interval_s + 1))
    (against,) = await checks.against()
    assert REGISTRY.get_sample_value("headend_radius_nas_silent_sessions", {"nas_id": NAS.nas_id}) == 4
    assert against.findings[0].startswith("interims have stopped")
    async with bench.database.begin() as conn:
        await conn.execute(insert(nas_table).values(**row_of(NAS), missed_interims=0))
    assert await checks.against() == [against], "looked at within a minute"
    bench.clock.advance(timedelta(minutes=1))
    assert await checks.against() == []


async def evidence(bench: RecorderBench) -> dict[str, NasEvidence]:
    return {found.nas_id: found for found in await NasChecks(bench.database, bench.clock).all()}


async def test_a_nas_that_counts_as_it_should_has_no_findings(bench: RecorderBench) -> None:
    await day(bench, NAS)
    (found,) = (await evidence(bench)).values()
    assert (found.sessions, found.upstream_heavy, found.downstream_heavy) == (24, 1, 23)
    assert found.findings == []


async def test_a_nas_that_counts_the_other_way_round_looks_swapped_until_it_is_told(bench: RecorderBench) -> None:
    turned = Nas(OTHER_NAS.nas_id, "turned", "127.0.0.3", OTHER_NAS.secret, swaps_octets=True)
    await day(bench, NAS)
    await day(bench, turned)  # told to turn what needs no turning
    found = await evidence(bench)
    assert found[NAS.nas_id].findings == []
    assert found[turned.nas_id].looks_swapped
    (sentence,) = found[turned.nas_id].findings
    assert sentence.startswith("looks swapped: 23 of 24 sessions")


async def test_a_few_sessions_are_no_evidence(bench: RecorderBench) -> None:
    turned = Nas(OTHER_NAS.nas_id, "turned", "127.0.0.3", OTHER_NAS.secret, swaps_octets=True)
    await day(bench, turned, count=19)
    assert not (await evidence(bench))[turned.nas_id].looks_swapped


async def test_a_nas_without_gigawords_is_named(bench: RecorderBench) -> None:
    for n in range(1, 6):
        await bench.send(accounting("interim", at=T + 300 * n, seconds=300 * n, down=n * 1_200_000_000 % 2**32))
    (found,) = (await evidence(bench)).values()
    assert found.wrapped == 1
    assert "sends no gigawords" in found.findings[0]


async def test_interims_that_stop_are_noticed_before_their_sessions_are_ended(bench: RecorderBench) -> None:
    await day(bench, NAS, count=6, stop=False)
    assert (await evidence(bench))[NAS.nas_id].findings == []
    bench.clock.advance(timedelta(seconds=2 * NAS.interim_interval_s + 1))
    found = (await evidence(bench))[NAS.nas_id]
    assert (found.live, found.silent) == (6, 6)
    assert found.findings == ["interims have stopped: 6 of 6 live sessions missed two of them"]


async def test_what_went_to_the_history_is_evidence_for_a_day(bench: RecorderBench) -> None:
    await day(bench, NAS)
    bench.clock.advance(timedelta(hours=3))
    await bench.recorder.sweep()
    await bench.send_nothing()
    assert (await evidence(bench))[NAS.nas_id].sessions == 24
    bench.clock.advance(timedelta(days=2))
    assert await evidence(bench) == {}


async def test_the_findings_are_read_over_http(bench: RecorderBench) -> None:
    await day(bench, NAS, count=6, stop=False)
    bench.clock.advance(timedelta(seconds=2 * NAS.interim_interval_s + 1))
    async with api_client(endpoints(NasChecks(bench.database, bench.clock)), scopes={"radius:read"}) as api:
        (found,) = (await api.get("/nas-checks")).json()["items"]
    assert (found["nas_id"], found["silent"], found["looks_swapped"]) == (NAS.nas_id, 6, False)
