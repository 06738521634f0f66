"""A PBX, hotspots and ports beside RADIUS: what such sources deliver, over the API, and what the ledger says of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2

from billing_bridge.settings import BillingSettings
from billing_bridge.sources.intake import Intake
from billing_bridge.sources.routes import endpoints
from billing_bridge.sources.service import SourceService
from billing_bridge.suspense.routes import endpoints as suspense_endpoints
from controller.domain.identity import ServiceId
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


@asynccontextmanager
async def sources_world(database: Database, directory: Path) -> AsyncIterator[BillingWorld]:
    voice = replace(tariff(VOICE, "5.00", name="Phone"), plan=voice_plan(), kind=ProductKind.VOICE, speed=None)
    rates = PricePlan(prices=(Percentile(code="p95", price=Decimal("2.00")),))
    transit = replace(tariff(TRANSIT, "0.00", name="Transit"), plan=rates, kind=ProductKind.HOSTING, speed=None)
    versions = [tariff(DATA, "30.00", included=10 * GB), voice, transit]
    made = BillingWorld(database, directory, versions, berlin(2026, 9, 1, 8))
    await made.entity()
    try:
        yield made
    finally:
        await made.close()


def source_service(world: BillingWorld) -> SourceService:
    return SourceService(world.database, world.clock, BillingSettings(zone=BERLIN))


@asynccontextmanager
async def sources_api(world: BillingWorld, sources: SourceService) -> AsyncIterator[httpx2.AsyncClient]:
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


async def lines_of(world: BillingWorld, line: Line, kind: str = "usage") -> list[InvoiceLine]:
    await world.launch()
    run_id = await world.bill()
    found = []
    for invoice in await world.finance.invoices(
        Invoices(account_ids=[line.account_id], bill_run_id=run_id), after=None, limit=9
    ):
        found += [row for row in await world.finance.lines(invoice.invoice_id) if row.kind == kind]
    return found


class Sessions:
    """An AddressHolders of one address that two sessions had one after the other."""

    def __init__(self, *timeline: tuple[datetime, ServiceId | None]) -> None:
        self.timeline = timeline

    async def held(
        self, conn: object, address: str, since: datetime, until: datetime
    ) -> Sequence[tuple[datetime, ServiceId | None]]:
        return self.timeline if address == "100.64.0.1" else ()
