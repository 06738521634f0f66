"""Usage of other sources than RADIUS: each record once, with an owner or in suspense, and all of it in the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import select, update

from billing_bridge.settings import BillingSettings
from billing_bridge.sources import ledger
from billing_bridge.sources.intake import Intake
from billing_bridge.sources.ledger import Tally
from billing_bridge.sources.measured import MeasuredIntake
from billing_bridge.sources.model import Source
from billing_bridge.sources.routes import endpoints
from billing_bridge.sources.service import SourceService
from billing_bridge.sources.tables import record, usage_hour
from billing_bridge.suspense.routes import endpoints as suspense_endpoints
from billing_bridge.tables import subscription
from controller.domain.identity import ServiceId
from controller.domain.money import Money
from controller.domain.ports import MeasuredOctets
from controller.domain.price import Calls, Destination, Flat, Percentile, PricePlan, ProductKind
from controller.domain.units import GB
from controller.store.engine import Database
from erp.finance.model import InvoiceLine
from erp.finance.model import Wanted as Invoices
from tests.support.api import api_client
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BERLIN, BillingWorld, Line, berlin

VOICE, DATA, TRANSIT = "b" * 32, "a" * 32, "c" * 32
ASTERISK = {
    "name": "pbx", "title": "PBX in Berlin", "measure": "calls", "identifier_kind": "phone", "preset": "asterisk",
    "awaited": False,
}  # fmt: skip
HEAD = '"","{src}","{dst}","ctx","""A"" <{src}>","SIP/1-{n}","SIP/2","Dial","SIP/x",'


def voice_plan() -> PricePlan:
    """65 s at 60/6 to Germany: 66 s at 0.06 a minute are 6.6 cents; 120 s a month are included to 4930."""
    destinations = (
        Destination(prefix="49", price=Decimal("0.06"), first_s=60, next_s=6),
        Destination(prefix="4930", price=Decimal("0.02"), first_s=1, next_s=1),
    )
    return PricePlan(prices=(Flat(code="fee", amount=Decimal("5.00")), Calls(code="voice", destinations=destinations)))


def cdr(n: int, at: datetime, seconds: int, dst: str, *, src: str = "030555100", answered: bool = True) -> str:
    """A line of Asterisk's cdr_csv, in Berlin's local time."""
    local = at.astimezone(BERLIN).replace(tzinfo=None)
    answer = str(local) if answered else ""
    said = "ANSWERED" if answered else "NO ANSWER"
    times = f'"{local}","{answer}","{local + timedelta(seconds=seconds)}",{seconds + 4},{seconds}'
    return HEAD.format(src=src, dst=dst, n=n) + times + f',"{said}","DOCUMENTATION","167.{n}",""'


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    voice = replace(tariff(VOICE, "5.00", name="Phone"), plan=voice_plan(), kind=ProductKind.VOICE, speed=None)
    rates = PricePlan(prices=(Percentile(code="p95", price=Decimal("2.00")),))
    transit = replace(tariff(TRANSIT, "0.00", name="Transit"), plan=rates, kind=ProductKind.HOSTING, speed=None)
    versions = [tariff(DATA, "30.00", included=10 * GB), voice, transit]
    made = BillingWorld(database, tmp_path, versions, berlin(2026, 9, 1, 8))
    await made.entity()
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
def sources(world: BillingWorld) -> SourceService:
    return SourceService(world.database, world.clock, BillingSettings(zone=BERLIN))


@pytest.fixture
async def api(world: BillingWorld, sources: SourceService) -> AsyncIterator[httpx2.AsyncClient]:
    intake = Intake(world.database, world.clock, BillingSettings(zone=BERLIN))
    found = [*endpoints(sources, intake, world.suspense), *suspense_endpoints(world.suspense)]
    async with api_client(found, clock=world.clock, actor="user:anna") as client:
        yield client


async def told(answer: httpx2.Response, status: int = 201) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()


async def pbx(api: httpx2.AsyncClient, **more: Any) -> None:
    await told(await api.post("/usage-sources", json=ASTERISK | more))
    mapping = (await api.get("/usage-sources/pbx")).json()["mapping"]
    mapping |= {"zone": "Europe/Berlin", "numbers": {"country": "49", "trunk": "0"}}
    await told(await api.patch("/usage-sources/pbx", json={"mapping": mapping, "reason": "zone"}), 200)


async def send(api: httpx2.AsyncClient, *lines: str, name: str = "Master.csv", **more: Any) -> dict[str, Any]:
    body = {"name": name, "content": "\n".join(lines) + "\n"} | more
    found: dict[str, Any] = await told(await api.post("/usage-sources/pbx/files", json=body))
    assert found["accepted"] == found["rated"] + found["unrated"] + found["suspense"] + found["duplicate"]
    return found


async def owns(
    api: httpx2.AsyncClient, name: str, line: Line, since: datetime, kind: str = "phone", **more: Any
) -> None:
    body = {
        "kind": kind, "identifier": name, "since": since.isoformat(), "service_id": line.service_id,
        "reason": "order",
    } | more  # fmt: skip
    await told(await api.post("/usage-identifiers", json=body))


async def waiting(api: httpx2.AsyncClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api.get("/suspense", params={"limit": 100})).json()["items"]
    return found


async def balanced(sources: SourceService) -> dict[str, tuple[int, int, int, int, int]]:
    """Per source accepted, rated, unrated, suspense, duplicate; nothing is wrong with the ledger."""
    assert await sources.faults() == []
    return {
        h.source: (h.accepted[0], h.rated[0], h.unrated[0], h.suspense[0], h.duplicate[0])
        for h in await sources.totals()
        if h.adds_up
    }


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


async def test_octets_of_an_interval_are_split_at_the_instant_at_which_the_username_changes_hands(
    world: BillingWorld, api: httpx2.AsyncClient, sources: SourceService
) -> None:
    old, new = await world.activate(DATA), await world.activate(DATA)
    body = {"name": "wifi", "title": "Hotspots", "measure": "octets", "identifier_kind": "username"}
    await told(await api.post("/usage-sources", json=body))
    for since, line in ((berlin(2026, 9, 1, 8), old), (berlin(2026, 9, 1, 12), new)):
        await owns(api, "alice", line, since, kind="username")
    body = {"measure": "octets", "since": berlin(2026, 9, 1).isoformat(), "source": "wifi", "reason": "no RADIUS there"}
    await told(await api.post("/usage-assignments", json=body))
    world.clock.move_to(berlin(2026, 9, 1, 14))
    event = {
        "id": "e1", "time": berlin(2026, 9, 1, 11, 30).isoformat(), "subject": "alice",
        "data": {"until": berlin(2026, 9, 1, 13).isoformat(), "downstream_octets": 1000, "upstream_octets": 100},
    }  # fmt: skip
    found = await told(await api.post("/usage-sources/wifi/events", json={"events": [event]}))
    assert (found["rated"], found["duplicate"]) == (1, 0)
    repeated = await told(await api.post("/usage-sources/wifi/events", json={"events": [event, event]}))
    assert repeated["duplicate"] == 2
    said = {}
    for line in (old, new):
        query = {"service_id": line.service_id, "since_on": "2026-09-01", "until_on": "2026-09-02"}
        (day,) = (await api.get("/usage-comparison", params=query)).json()["days"]
        said[line.service_id] = (day["upstream_octets"], day["downstream_octets"], day["bills"])
    assert said == {old.service_id: (33, 333, True), new.service_id: (67, 667, True)}
    assert await balanced(sources) == {"wifi": (3, 1, 0, 0, 2)}


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


async def lines_of(world: BillingWorld, line: Line, kind: str = "usage") -> list[InvoiceLine]:
    await world.launch()
    run_id = await world.bill()
    found = []
    for invoice in await world.finance.invoices(
        Invoices(account_ids=[line.account_id], bill_run_id=run_id), after=None, limit=9
    ):
        found += [row for row in await world.finance.lines(invoice.invoice_id) if row.kind == kind]
    return found


async def test_calls_are_billed_by_the_run_with_their_records_as_evidence_and_late_ones_as_an_adjustment(
    world: BillingWorld, api: httpx2.AsyncClient, sources: SourceService
) -> None:
    line = await world.activate(VOICE)
    await pbx(api)
    await owns(api, "4930555100", line, berlin(2026, 9, 1, 8))
    world.clock.move_to(berlin(2026, 10, 1, 2))
    # 65 s at 60/6 are 66 s at 0.06 a minute: 6.6 cents each, ten of them 66 cents.
    await send(api, *(cdr(n, berlin(2026, 9, 2 + n, 9), 65, "0891234") for n in range(10)))
    (row,) = await lines_of(world, line)
    assert row.net == Money(66, "EUR")
    explained = await world.explainer.explain(row.line_id)
    assert explained.intact, explained.faults
    assert any("1 calls, 65 s: pbx/1" in step for step in explained.steps)
    assert await lines_of(world, line) == []

    world.clock.move_to(berlin(2026, 10, 3, 2))
    await send(api, cdr(77, berlin(2026, 9, 30, 23, 59), 65, "0891234"))
    (late,) = await lines_of(world, line)
    # 11 × 6.6 = 72.6 cents are 73, of which 66 were billed.
    assert (late.net, late.adjustment) == (Money(7, "EUR"), True)
    assert (late.first_on, late.until_on) == (date(2026, 9, 1), date(2026, 10, 1))
    assert (await world.explainer.explain(late.line_id)).intact

    async with world.database.begin() as conn:
        await conn.execute(update(record).where(record.c.record_id == 3).values(duration_s=6))
    explained = await world.explainer.explain(row.line_id)
    assert any("record 3 of pbx" in fault for fault in explained.faults)


async def test_octets_of_a_source_that_bills_are_on_the_bill_and_explained(
    world: BillingWorld, api: httpx2.AsyncClient
) -> None:
    line = await world.activate(DATA)
    body = {"name": "wifi", "title": "Hotspots", "measure": "octets", "identifier_kind": "service", "awaited": False}
    await told(await api.post("/usage-sources", json=body))
    body = {"measure": "octets", "since": berlin(2026, 9, 1).isoformat(), "source": "wifi", "reason": "no RADIUS there"}
    await told(await api.post("/usage-assignments", json=body))
    world.clock.move_to(berlin(2026, 10, 1, 2))
    events = [
        {
            "id": f"e{day}", "time": berlin(2026, 9, day, 23).isoformat(), "subject": line.service_id,
            "data": {"until": berlin(2026, 9, day + 1, 2).isoformat(), "downstream_octets": 7 * GB + 1},
        }
        for day in (5, 20)
    ]  # fmt: skip
    await told(await api.post("/usage-sources/wifi/events", json={"events": events}))
    (row,) = await lines_of(world, line)
    assert row.net == Money(200, "EUR")  # 14 GB and 2 octets, of which 10 GB are included, at 0.50
    explained = await world.explainer.explain(row.line_id)
    assert explained.intact, explained.faults
    days = [step for step in explained.steps if "octets in" in step]
    assert [step.rpartition(": ")[2] for step in days] == ["wifi/1", "wifi/1", "wifi/2", "wifi/2"]


async def test_a_session_that_goes_on_while_its_username_changes_hands_is_split_at_that_instant(
    world: BillingWorld, api: httpx2.AsyncClient, sources: SourceService
) -> None:
    old = await world.activate(DATA)
    await world.account_for(old, (berlin(2026, 9, 1, 11, 50), 0, 0))
    world.clock.move_to(berlin(2026, 9, 1, 12))
    new = await world.activate(DATA)
    # The NAS did not end the session; the next report says all that it carried in twenty minutes around noon.
    await world.account_for(old, (berlin(2026, 9, 1, 12, 10), 10 * GB, 20 * GB), service_id=new.service_id)
    await world.mediation.catch_up(await world.usage.watermark())
    said = {}
    for line in (old, new):
        (day,) = await sources.compared(line.service_id, date(2026, 9, 1), date(2026, 9, 2))
        said[line.service_id] = (day.upstream_octets, day.downstream_octets)
    assert said == {old.service_id: (5 * GB, 10 * GB), new.service_id: (5 * GB, 10 * GB)}
    world.clock.move_to(berlin(2026, 10, 1, 2))
    (row,) = await lines_of(world, old)
    assert row.net == Money(250, "EUR")  # 15 GB, of which 10 are included
    explained = await world.explainer.explain(row.line_id)
    assert explained.intact, explained.faults
    assert await balanced(sources) == {"radius": (2, 1, 1, 0, 0)}


async def test_a_bill_run_waits_for_a_source_that_lags_names_it_and_goes_on_when_it_has_delivered(
    world: BillingWorld, api: httpx2.AsyncClient, sources: SourceService
) -> None:
    line = await world.activate(VOICE)
    await pbx(api, lateness_s=3600, awaited=True)
    await owns(api, "4930555100", line, berlin(2026, 9, 1, 8))
    world.clock.move_to(berlin(2026, 10, 1, 6))
    await send(api, cdr(1, berlin(2026, 9, 30, 20), 65, "0891234"))
    assert [str(lag) for lag in await sources.lagging(sources.needed(world.clock.now()))] == [
        "source pbx is complete until 2026-09-30T17:01:05+00:00, needed is 2026-09-30T22:00:00+00:00"
    ]
    await world.launch()
    run = await world.runs.start(as_of=None, account_id=None, actor="user:test")
    async with asyncio.timeout(20):
        while True:  # nothing announces it
            if "pbx" in ((await world.billing.bill_run(run.bill_run_id)).waiting_for or ""):
                break
            await asyncio.sleep(0.02)
    await send(api, cdr(2, berlin(2026, 9, 30, 23, 59), 65, "0891234"), complete_until=berlin(2026, 10, 1).isoformat())
    await world.jobs.wait(f"bill-run.v1:{run.bill_run_id}")
    done = await world.billing.bill_run(run.bill_run_id)
    assert (done.state, done.waiting_for) == ("done", None)
    (charge,) = [c for c in await world.billing.charges(run.bill_run_id, 0) if c.kind == "usage"]
    assert charge.net == Money(13, "EUR")  # both calls, 13.2 cents


async def test_a_bill_run_gives_up_on_a_source_that_never_delivers_and_says_which(
    database: Database, tmp_path: Path
) -> None:
    world = BillingWorld(database, tmp_path, [tariff(DATA, "30.00")], berlin(2026, 9, 1, 8), usage_wait_s=0)
    try:
        await world.entity()
        await world.activate(DATA)
        made = Source("msc", "MSC", "calls", "phone", True, True, None, None, None, 0, b"", world.clock.now(), "", None)
        await world.sources.register(made, actor="user:anna")
        await world.launch()
        run = await world.runs.start(as_of=None, account_id=None, actor="user:test")
        with pytest.raises(Exception, match="source msc was never complete"):
            await world.jobs.wait(f"bill-run.v1:{run.bill_run_id}")
        failed = await world.billing.bill_run(run.bill_run_id)
        assert failed.error is not None
        assert "source msc was never complete" in failed.error
        await world.sources.retire("msc", actor="user:anna", reason="it was switched off")
        again = await world.runs.redrive(run.bill_run_id, actor="user:anna")
        await world.jobs.wait(f"bill-run.v1:{again.bill_run_id}:1")
        assert (await world.billing.bill_run(run.bill_run_id)).state == "done"
    finally:
        await world.close()


class Sessions:
    """An AddressHolders of one address that two sessions had one after the other."""

    def __init__(self, *timeline: tuple[datetime, ServiceId | None]) -> None:
        self.timeline = timeline

    async def held(
        self, conn: object, address: str, since: datetime, until: datetime
    ) -> Sequence[tuple[datetime, ServiceId | None]]:
        return self.timeline if address == "100.64.0.1" else ()


async def test_flows_of_an_address_are_the_services_that_had_it_at_that_instant_and_are_compared(
    world: BillingWorld, sources: SourceService
) -> None:
    old, new = await world.activate(DATA), await world.activate(DATA)
    noon = berlin(2026, 9, 1, 12)
    holders = Sessions((berlin(2026, 9, 1, 8), old.service_id), (noon, new.service_id))
    intake = Intake(world.database, world.clock, BillingSettings(zone=BERLIN), holders)
    feed = MeasuredIntake(world.database, world.clock, sources, intake)
    world.clock.move_to(berlin(2026, 9, 1, 13))
    minute = timedelta(minutes=1)
    flows = [
        MeasuredOctets("k-1", "100.64.0.1", noon - 4 * minute, noon + minute, 50, 500),
        MeasuredOctets("k-2", "100.64.0.9", noon, noon + minute, 1, 2),
    ]
    for _ in range(2):  # the answer to the first one was lost
        await feed.measured("ipfix", "address", flows, title="Flows", complete_until=noon)
    said = {}
    for line in (old, new):
        (day,) = await sources.compared(line.service_id, date(2026, 9, 1), date(2026, 9, 2))
        said[line.service_id] = (day.source, day.bills, day.upstream_octets, day.downstream_octets)
    assert said == {old.service_id: ("ipfix", False, 40, 400), new.service_id: ("ipfix", False, 10, 100)}
    assert await balanced(sources) == {"ipfix": (4, 0, 1, 1, 2)}
    assert (await sources.source("ipfix")).complete_until == noon


async def test_the_95th_percentile_of_two_ports_is_billed_from_their_bins_with_the_missing_ones_listed(
    world: BillingWorld, api: httpx2.AsyncClient, sources: SourceService
) -> None:
    world.clock.move_to(berlin(2026, 9, 30, 0))
    line = await world.activate(TRANSIT)
    for port in ("sw1/a", "sw1/b"):
        await owns(api, port, line, berlin(2026, 9, 1), kind="port")
    intake = Intake(world.database, world.clock, BillingSettings(zone=BERLIN))
    feed = MeasuredIntake(world.database, world.clock, sources, intake)
    megabit = 37_500_000  # octets of five minutes at 1 Mbit/s
    start, bins = berlin(2026, 9, 30), []
    for n in range(288):
        since = start + timedelta(minutes=5 * n)
        # Every tenth bin of port a is at 10 Mbit/s; of both ports three bins are missing.
        octets = {"sw1/a": 10 * megabit if n % 10 == 0 else megabit, "sw1/b": megabit}
        bins += [
            MeasuredOctets(f"{port}-{n}", port, since, since + timedelta(minutes=5), 1, down)
            for port, down in octets.items()
            if n not in (11, 12, 13)
        ]
    world.clock.move_to(berlin(2026, 10, 1, 2))
    late = bins.pop(0)
    await feed.measured("interfaces", "port", bins, title="Ports", complete_until=None)
    (row,) = await lines_of(world, line)
    # Of 285 bins the 271st is one of those at 11 Mbit/s: 11 × 2.00 for one of thirty days.
    assert row.net == Money(73, "EUR")
    explained = await world.explainer.explain(row.line_id)
    assert explained.intact, explained.faults
    assert any("285 of 288 bins" in step for step in explained.steps)
    assert any("missing: every port: 2026-09-29T22:55Z until 2026-09-29T23:10Z" in step for step in explained.steps)

    # What comes after the bill is rated again, and proves the first one still by the records that it had then.
    world.clock.move_to(berlin(2026, 10, 2, 2))
    burst = replace(late, downstream_octets=1000 * megabit)
    await feed.measured("interfaces", "port", [burst], title="Ports", complete_until=None)
    async with world.database.read() as conn:
        (rated_from,) = await conn.scalars(select(subscription.c.rate_from_on))
    assert rated_from == date(2026, 9, 30)
    assert await lines_of(world, line) == []
    assert (await world.explainer.explain(row.line_id)).intact
    async with world.database.begin() as conn:
        await conn.execute(update(record).where(record.c.record_id == 3).values(downstream_octets=6))
    assert any("record 3 of a port" in fault for fault in (await world.explainer.explain(row.line_id)).faults)


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


async def test_usage_of_radius_that_spans_a_handover_by_hand_is_cut_there_and_adds_up(
    world: BillingWorld, api: httpx2.AsyncClient, sources: SourceService
) -> None:
    old, new = await world.activate(DATA), await world.activate(DATA)
    noon = berlin(2026, 9, 1, 12)
    await owns(api, "alice", new, noon, kind="username", overrides=True)
    await world.account_for(
        old,
        (noon - timedelta(minutes=10), 0, 0),
        (noon + timedelta(minutes=10), 10 * GB, 20 * GB + 1),
    )
    await world.mediation.catch_up(await world.usage.watermark())
    said = {}
    for line in (old, new):
        (day,) = await sources.compared(line.service_id, date(2026, 9, 1), date(2026, 9, 2))
        said[line.service_id] = (day.upstream_octets, day.downstream_octets)
    assert said == {old.service_id: (5 * GB, 10 * GB), new.service_id: (5 * GB, 10 * GB + 1)}
    assert await balanced(sources) == {"radius": (2, 1, 1, 0, 0)}
    world.clock.move_to(berlin(2026, 10, 1, 2))
    (row,) = await lines_of(world, new)
    explained = await world.explainer.explain(row.line_id)
    assert explained.intact, explained.faults


async def test_usage_of_nobody_is_cut_where_somebody_gets_the_username_and_the_rest_waits_on(
    world: BillingWorld, api: httpx2.AsyncClient, sources: SourceService
) -> None:
    line = await world.activate(DATA)
    noon = berlin(2026, 9, 1, 12)
    begin, end = noon - timedelta(minutes=10), noon + timedelta(minutes=10)
    await world.account_for(line, (begin, 0, 0), (end, 10 * GB, 20 * GB), unmapped=True)
    await world.mediation.catch_up(await world.usage.watermark())
    (item,) = await waiting(api)
    body = {"action": "map", "service_id": line.service_id, "since": noon.isoformat(), "reason": "theirs from noon"}
    await told(await api.post(f"/suspense/{item['suspense_id']}/release", json=body), 200)
    (rest,) = await waiting(api)
    assert (rest["upstream_octets"], rest["downstream_octets"]) == (5 * GB, 10 * GB)
    assert await balanced(sources) == {"radius": (2, 0, 1, 1, 0)}
    body = {"action": "write-off", "reason": "nobody's"}
    await told(await api.post(f"/suspense/{rest['suspense_id']}/release", json=body), 200)
    (hour,) = await sources.totals()
    assert (hour.rated[1], hour.unrated[1], hour.suspense) == (15 * GB, 15 * GB, (0, 0))
    assert hour.adds_up


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
