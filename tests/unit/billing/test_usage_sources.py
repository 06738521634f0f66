"""Usage of other sources than RADIUS: each record once, with an owner or in suspense, and all of it in the ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import update

from billing_bridge.settings import BillingSettings
from billing_bridge.sources import ledger
from billing_bridge.sources.intake import Intake
from billing_bridge.sources.ledger import Tally
from billing_bridge.sources.measured import MeasuredIntake
from billing_bridge.sources.service import SourceService
from billing_bridge.sources.tables import record, usage_hour
from controller.domain.identity import ServiceId
from controller.domain.usage import MeasuredOctets
from controller.store.engine import Database
from tests.support.billing_world import BERLIN, BillingWorld, berlin
from tests.support.usage_sources import (
    DATA,
    VOICE,
    Sessions,
    balanced,
    cdr,
    owns,
    pbx,
    send,
    sources_world,
    told,
    waiting,
)


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    async with sources_world(database, tmp_path) as made:
        yield made


async def test_a_file_replayed_adds_nothing_and_reports_all_of_it_as_duplicates(
    world: BillingWorld, api: httpx2.AsyncClient, sources: SourceService
) -> None:
    line = await world.activate(VOICE)
    await pbx(api)
    await owns(api, "4930555100", line, berlin(2026, 9, 1, 8))
    lines = [cdr(n, berlin(2026, 9, 1, 9, n), 65, "0891234") for n in range(5)]
    lines.append(cdr(9, berlin(2026, 9, 1, 9, 30), 0, "0891234", answered=False))
    world.clock.move_to(berlin(2026, 9, 1, 10))
    first = await send(api, *lines)
    assert (first["accepted"], first["rated"], first["unrated"], first["new"]) == (6, 5, 1, 6)
    again = await send(api, *lines, name="Master-copy.csv")
    assert (again["accepted"], again["new"], again["duplicate"], again["duplicate_percent"]) == (6, 0, 6, 100.0)
    assert await balanced(sources) == {"pbx": (12, 5, 1, 0, 6)}
    calls = (await api.get("/usage-calls", params={"service_id": line.service_id})).json()["items"]
    assert [(c["number"], c["duration_s"]) for c in calls] == [("49891234", 65)] * 5


async def test_what_no_call_can_be_waits_with_line_number_and_reason_and_the_rest_is_taken(
    world: BillingWorld, api: httpx2.AsyncClient, sources: SourceService
) -> None:
    line = await world.activate(VOICE)
    await pbx(api)
    await owns(api, "4930555100", line, berlin(2026, 9, 1, 8))
    at = berlin(2026, 9, 1, 9)
    world.clock.move_to(berlin(2026, 9, 1, 10))
    good = cdr(1, at, 65, "0891234")
    bad = {
        "malformed": '"","030555100","089","unterminated',
        "negative": cdr(2, at, 65, "0891234").replace(",69,65,", ",69,-65,"),
        "absurd": cdr(3, at - timedelta(days=3), 200_000, "0891234"),
        "clock-jump": cdr(4, at, 65, "0891234").replace(",69,65,", ",4000,3900,"),
        "unknown-service": cdr(5, at, 30, "0891234", src="030999"),
        "no-price": cdr(6, at, 30, "00441234"),
        "conflict": cdr(1, at, 66, "0891234"),
    }
    future = cdr(7, at + timedelta(days=2), 30, "0891234")
    found = await send(api, good, *bad.values(), future)
    assert (found["rated"], found["suspense"]) == (1, 8)
    items = await waiting(api)
    assert sorted(i["reason"] for i in items) == sorted([*bad, "clock-jump"])
    malformed = next(i for i in items if i["reason"] == "malformed")
    assert malformed["detail"].startswith("line 2: ")
    assert malformed["source"] == "pbx"
    # 30 s and an increment more, at most at the dearest destination: 0.06 a minute.
    no_price = next(i for i in items if i["reason"] == "no-price")
    assert no_price["value"] == {"amount": "0.09", "currency": "EUR"}
    assert no_price["username"] == "4930555100", "who called, not who was called"
    assert "441234" in no_price["detail"]
    totals = {t["reason"]: t for t in (await api.get("/suspense/totals")).json()["totals"]}
    assert totals["no-price"]["values"] == [{"amount": "0.09", "currency": "EUR"}]
    assert await balanced(sources) == {"pbx": (9, 1, 0, 8, 0)}
    again = await send(api, good, *bad.values(), future)
    assert again["duplicate"] == again["accepted"] == 9
    assert len(await waiting(api)) == 8


async def test_a_number_found_later_takes_up_what_waited_and_the_ledger_moves_with_it(
    world: BillingWorld, api: httpx2.AsyncClient, sources: SourceService
) -> None:
    line = await world.activate(VOICE)
    await pbx(api)
    world.clock.move_to(berlin(2026, 9, 1, 10))
    await send(api, *(cdr(n, berlin(2026, 9, 1, 9, n), 60, "0891234") for n in range(3)))
    assert await balanced(sources) == {"pbx": (3, 0, 0, 3, 0)}
    item = (await waiting(api))[0]
    assert item["value"] == {"amount": "0.12", "currency": "EUR"}, (
        "nobody's calls are valued by the plan that most have"
    )
    body = {"action": "map", "service_id": line.service_id, "reason": "it is theirs"}
    released = await told(await api.post(f"/suspense/{item['suspense_id']}/release", json=body), 200)
    assert released["items"] == 3
    assert await waiting(api) == []
    assert await balanced(sources) == {"pbx": (3, 3, 0, 0, 0)}
    await send(api, cdr(8, berlin(2026, 9, 1, 9, 40), 60, "0891234", src="030777"))
    (other,) = await waiting(api)
    body = {"action": "write-off", "reason": "nobody's"}
    await told(await api.post(f"/suspense/{other['suspense_id']}/release", json=body), 200)
    assert await balanced(sources) == {"pbx": (4, 3, 1, 0, 0)}
    await send(api, cdr(9, berlin(2026, 9, 1, 9, 50), 60, "0891234", src="030888"))
    given = {
        "kind": "phone", "identifier": "4930888", "since": berlin(2026, 9, 1, 9).isoformat(),
        "service_id": line.service_id, "reason": "ported in",
    }  # fmt: skip
    answer = await told(await api.post("/usage-identifiers", json=given))
    assert (answer["taken_up"], answer["booked_before"]) == (1, 0)
    assert await balanced(sources) == {"pbx": (5, 4, 1, 0, 0)}
    again = given | {"since": berlin(2026, 9, 1, 9, 30).isoformat()}
    assert (await told(await api.post("/usage-identifiers", json=again)))["booked_before"] == 1


async def test_a_call_before_its_activation_waits_and_is_charged_when_the_plan_comes_to_cover_its_day(
    world: BillingWorld, api: httpx2.AsyncClient, sources: SourceService
) -> None:
    line = await world.activate(VOICE, deliver=False)
    await pbx(api)
    await world.activate(VOICE)  # billing knows another line meanwhile
    world.clock.move_to(berlin(2026, 9, 1, 10))
    await send(api, cdr(1, berlin(2026, 9, 1, 9), 60, "0891234"))
    await world.bus.drain()
    item = (await waiting(api))[0]
    body = {"action": "map", "service_id": line.service_id, "reason": "theirs"}
    await told(await api.post(f"/suspense/{item['suspense_id']}/release", json=body), 200)
    assert await balanced(sources) == {"pbx": (1, 1, 0, 0, 0)}
    await world.terminate(line)  # on the same day: the whole day has no plan any more
    (back,) = await waiting(api)
    assert (back["reason"], back["duration_s"]) == ("not-entitled", 60)
    assert await balanced(sources) == {"pbx": (1, 0, 0, 1, 0)}


async def test_a_second_source_of_a_service_is_compared_and_never_added(
    world: BillingWorld, api: httpx2.AsyncClient, sources: SourceService
) -> None:
    line = await world.activate(DATA)
    body = {"name": "snmp", "title": "Ports", "measure": "octets", "identifier_kind": "port", "bills": False}
    await told(await api.post("/usage-sources", json=body))
    await owns(api, "sw1/ge-0/0/1", line, berlin(2026, 9, 1), kind="port")
    await world.account_for(line, (berlin(2026, 9, 1, 9), 0, 0), (berlin(2026, 9, 1, 10), 200, 5000))
    await world.mediation.catch_up(await world.usage.watermark())
    world.clock.move_to(berlin(2026, 9, 1, 11))
    event = {
        "id": "1", "time": berlin(2026, 9, 1, 9).isoformat(), "subject": "sw1/ge-0/0/1",
        "data": {"until": berlin(2026, 9, 1, 10).isoformat(), "downstream_octets": 5100, "upstream_octets": 210},
    }  # fmt: skip
    found = await told(await api.post("/usage-sources/snmp/events", json={"events": [event]}))
    assert found["unrated"] == 1
    query = {"service_id": line.service_id, "since_on": "2026-09-01", "until_on": "2026-09-02"}
    days = (await api.get("/usage-comparison", params=query)).json()["days"]
    assert [(d["source"], d["bills"], d["downstream_octets"]) for d in days] == [
        ("billed", True, 5000), ("snmp", False, 5100),
    ]  # fmt: skip
    assert await balanced(sources) == {"radius": (2, 1, 1, 0, 0), "snmp": (1, 0, 1, 0, 0)}


async def test_two_sources_that_claim_the_calls_of_one_service_are_not_summed(
    world: BillingWorld, api: httpx2.AsyncClient, sources: SourceService
) -> None:
    line = await world.activate(VOICE)
    await pbx(api)
    await owns(api, "4930555100", line, berlin(2026, 9, 1, 8))
    body = {"name": "sbc", "title": "SBC", "measure": "calls", "identifier_kind": "phone"}
    await told(await api.post("/usage-sources", json=body))
    world.clock.move_to(berlin(2026, 9, 1, 10))
    await send(api, cdr(1, berlin(2026, 9, 1, 9), 65, "0891234"))
    event = {
        "id": "x", "time": berlin(2026, 9, 1, 9).isoformat(), "subject": "4930555100",
        "data": {"duration_s": 65, "number": "+49891234"},
    }  # fmt: skip
    await told(await api.post("/usage-sources/sbc/events", json={"events": [event]}))
    (item,) = await waiting(api)
    assert item["reason"] == "second-source"
    assert "pbx already tells" in item["detail"]
    assert await balanced(sources) == {"pbx": (1, 1, 0, 0, 0), "sbc": (1, 0, 0, 1, 0)}


async def test_a_record_that_somebody_changed_with_sql_is_found(
    world: BillingWorld, api: httpx2.AsyncClient, sources: SourceService
) -> None:
    await pbx(api)
    world.clock.move_to(berlin(2026, 9, 1, 10))
    await send(api, cdr(1, berlin(2026, 9, 1, 9), 65, "0891234"))
    await send(api, cdr(2, berlin(2026, 9, 1, 9), 65, "0891234"))
    assert await sources.faults() == []
    async with world.database.begin() as conn:
        await conn.execute(update(record).where(record.c.record_id == 1).values(duration_s=6))
    assert await sources.faults() == ["record 1 of pbx: its digest does not cover what is stored"]


async def test_a_ledger_that_misses_records_of_the_usage_log_is_found(
    world: BillingWorld, sources: SourceService
) -> None:
    line = await world.activate(DATA)
    await world.account_for(line, (berlin(2026, 9, 1, 9), 0, 0), (berlin(2026, 9, 1, 10), 200, 5000))
    await world.mediation.catch_up(await world.usage.watermark())
    assert await sources.faults() == []
    async with world.database.begin() as conn:
        await conn.execute(
            update(usage_hour).where(usage_hour.c.unrated_records == 1).values(accepted_records=0, unrated_records=0)
        )
    assert await sources.faults() == ["radius: the ledger says 1 accepted, 2 of the usage log are mediated"]


async def test_the_ledger_counts_beyond_what_fits_into_64_bits_and_no_nonsense_breaks_it(database: Database) -> None:
    at = berlin(2026, 9, 1)
    for hour in range(3):
        tally = Tally()
        for _ in range(9_000):
            tally.accept("radius", at + timedelta(hours=hour), "rated", 2**63 - 1)
        async with database.begin() as conn:
            await tally.write(conn)
    async with database.read() as conn:
        (found,) = await ledger.sums(conn)
        assert await ledger.unbalanced(conn) == []
    assert (found.accepted, found.rated) == ((27_000, 27 * 10**18), (27_000, 27 * 10**18))


async def test_a_delivery_that_breaks_off_leaves_nothing_and_the_next_one_takes_all_of_it(
    world: BillingWorld, sources: SourceService
) -> None:
    class Away(Sessions):
        async def held(
            self, conn: object, address: str, since: datetime, until: datetime
        ) -> Sequence[tuple[datetime, ServiceId | None]]:
            if address == "100.64.0.2":
                raise ConnectionError("killed in the middle")
            return await super().held(conn, address, since, until)

    line, settings = await world.activate(DATA), BillingSettings(zone=BERLIN)
    held = berlin(2026, 9, 1, 8), line.service_id
    world.clock.move_to(berlin(2026, 9, 1, 13))
    noon = berlin(2026, 9, 1, 12)
    flows = [MeasuredOctets(f"k-{n}", f"100.64.0.{n}", noon, noon + timedelta(minutes=1), 1, 1) for n in (1, 2)]
    for holders in (Away(held), Sessions(held)):
        feed = MeasuredIntake(
            world.database, world.clock, sources, Intake(world.database, world.clock, settings, holders)
        )
        with suppress(ConnectionError):
            await feed.measured("ipfix", "address", flows, title="Flows", complete_until=None)
    assert await balanced(sources) == {"ipfix": (2, 0, 1, 1, 0)}
    assert [r.number for r in await sources.deliveries("ipfix", None, 10)] == [1]
