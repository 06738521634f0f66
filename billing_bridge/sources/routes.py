"""Sources of usage over HTTP: registering them, files and events, whose identifier is whose, and the ledger."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from billing_bridge.sources.answers import (
    CallOut,
    CallQuery,
    CheckOut,
    ComparedOut,
    ComparedQuery,
    CompleteIn,
    DeliveryOut,
    DeliveryQuery,
    EventsIn,
    FileIn,
    HourOut,
    HourQuery,
    LedgerOut,
    RecordOut,
    RecordQuery,
    RetireIn,
    SaidOut,
    SourceChangeIn,
    SourceIn,
    SourceOut,
    SourcesOut,
    UsageEventIn,
)
from billing_bridge.sources.cdr import CsvMapping, read
from billing_bridge.sources.decision_answers import (
    AssignmentIn,
    AssignmentOut,
    AssignmentQuery,
    GivenOut,
    IdentifierIn,
    IdentifierOut,
    IdentifierQuery,
    MovedBookingOut,
    MovedOut,
    MovesOut,
    MovesQuery,
)
from billing_bridge.sources.identifiers import PHONE, Wanted
from billing_bridge.sources.intake import Intake
from billing_bridge.sources.model import Fact, Source
from billing_bridge.sources.service import SourceService
from billing_bridge.suspense.service import SuspenseService
from controller.domain.errors import RuleError
from controller.http.endpoint import Call, Endpoint, Page
from controller.store.metadata import from_micros, to_micros

_LAST_US = to_micros(datetime(2200, 1, 1, tzinfo=UTC))


def endpoints(sources: SourceService, intake: Intake, suspense: SuspenseService) -> list[Endpoint]:
    return [*_registry(sources), *_deliveries(sources, intake), *_decisions(sources, suspense), *_ledger(sources)]


def _registry(sources: SourceService) -> list[Endpoint]:
    async def index(call: Call) -> SourcesOut:
        return SourcesOut(sources=[SourceOut.of(s, call.now) for s in await sources.sources()])

    async def show(call: Call) -> SourceOut:
        return SourceOut.of(await sources.source(call.path["source"]), call.now)

    async def register(call: Call) -> SourceOut:
        body = call.body_as(SourceIn)
        made = Source(
            body.name, body.title, body.measure, body.identifier_kind, body.bills, body.awaited, body.lateness_s,
            body.mapping_text(), None, 0, b"", call.now, call.actor, None,
        )  # fmt: skip
        return SourceOut.of(await sources.register(made, actor=call.actor), call.now)

    async def change(call: Call) -> SourceOut:
        body = call.body_as(SourceChangeIn)
        values: dict[str, Any] = {n: getattr(body, n) for n in body.model_fields_set - {"reason", "mapping"}}
        if any(values.get(n, "") is None for n in ("title", "bills", "awaited")):
            raise RuleError("title, bills and awaited are changed, not taken away", code="source")
        if body.mapping is not None:
            values["mapping"] = body.mapping.model_dump_json()
        if not values:
            raise RuleError("say what changes", code="source")
        return SourceOut.of(
            await sources.change(call.path["source"], actor=call.actor, reason=body.reason, **values), call.now
        )

    async def retire(call: Call) -> SourceOut:
        reason = call.body_as(RetireIn).reason
        return SourceOut.of(await sources.retire(call.path["source"], actor=call.actor, reason=reason), call.now)

    async def complete(call: Call) -> SourceOut:
        body = call.body_as(CompleteIn)
        found = await sources.complete(call.path["source"], body.until, actor=call.actor, reason=body.reason)
        return SourceOut.of(found, call.now)

    one = "/usage-sources/{source}"
    return [
        Endpoint("GET", "/usage-sources", "billing:read", index, "Sources of usage, with their watermarks",
                 returns=SourcesOut),
        Endpoint("POST", "/usage-sources", "billing:write", register, "Register a source of usage", body=SourceIn,
                 returns=SourceOut, status=201),
        Endpoint("GET", one, "billing:read", show, "One source of usage", returns=SourceOut),
        Endpoint("PATCH", one, "billing:write", change, "Change a source of usage from now on", body=SourceChangeIn,
                 returns=SourceOut),
        Endpoint("POST", f"{one}/retire", "billing:write", retire, "A source delivers no more", body=RetireIn,
                 returns=SourceOut),
        Endpoint("POST", f"{one}/complete", "billing:write", complete, "Nothing more comes of before an instant",
                 body=CompleteIn, returns=SourceOut),
    ]  # fmt: skip


def _deliveries(sources: SourceService, intake: Intake) -> list[Endpoint]:
    async def file(call: Call) -> DeliveryOut:
        body, source = call.body_as(FileIn), await sources.source(call.path["source"])
        if source.mapping is None:
            raise RuleError(f"source {source.name} has no mapping for files: PATCH it with one", code="mapping")
        mapping = CsvMapping.model_validate_json(source.mapping)
        told = list(read(body.content, mapping, phone=source.identifier_kind == PHONE, first_line=body.first_line))
        found = await intake.deliver(
            source.name, told, title=body.name, content=sha256(body.content.encode()).digest(),
            complete_until=body.complete_until, actor=call.actor,
        )  # fmt: skip
        return DeliveryOut.of(found)

    async def events(call: Call) -> DeliveryOut:
        body, source = call.body_as(EventsIn), await sources.source(call.path["source"])
        told = [_fact(event, number, source) for number, event in enumerate(body.events, 1)]
        digest = sha256("\n".join(fact.content for fact in told).encode()).digest()
        found = await intake.deliver(
            source.name, told, title=body.name, content=digest, complete_until=body.complete_until, actor=call.actor
        )
        return DeliveryOut.of(found)

    async def index(call: Call) -> Page:
        query = call.query_as(DeliveryQuery)
        found = await sources.deliveries(query.source, query.last(int), query.rows)
        return Page.of(found, query, lambda r: (r.delivery_id,), DeliveryOut.of)

    async def show(call: Call) -> DeliveryOut:
        return DeliveryOut.of(await sources.delivery(call.path_int("delivery_id")))

    async def records(call: Call) -> Page:
        query = call.query_as(RecordQuery)
        if query.delivery is not None and query.source is None:
            raise RuleError("a delivery is numbered within its source: say which", code="source")
        found = await sources.records(query.source, query.delivery, query.state, query.last(int) or 0, query.rows)
        return Page.of(found, query, lambda s: (s.record_id,), RecordOut.of)

    return [
        Endpoint("POST", "/usage-sources/{source}/files", "usage:write", file, "Import a CSV file, each line once",
                 body=FileIn, returns=DeliveryOut, status=201, problems=(413,)),
        Endpoint("POST", "/usage-sources/{source}/events", "usage:write", events,
                 "Take a batch of usage events, each id once", body=EventsIn, returns=DeliveryOut, status=201),
        Endpoint("GET", "/usage-deliveries", "usage:read", index, "Files and batches of usage, newest first",
                 query=DeliveryQuery, returns=DeliveryOut, paged=True),
        Endpoint("GET", "/usage-deliveries/{delivery_id}", "usage:read", show, "What became of one delivery",
                 returns=DeliveryOut),
        Endpoint("GET", "/usage-records", "billing:read", records, "Records of sources as they came",
                 query=RecordQuery, returns=RecordOut, paged=True),
    ]  # fmt: skip


def _fact(event: UsageEventIn, number: int, source: Source) -> Fact:
    if event.source not in (None, source.name):
        raise RuleError(f"event {event.id} is of source {event.source}, not of {source.name}", code="source")
    data, calls = event.data, source.measure == "calls"
    until = data.until
    if until is None:
        until = event.time + timedelta(seconds=min(max(data.duration_s, 0), 10**9))
    content = json.dumps(event.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    digits = data.number.removeprefix("+")
    return Fact(
        event.id, number, event.subject, event.time, until.astimezone(UTC), content,
        0 if calls else data.upstream_octets, 0 if calls else data.downstream_octets,
        data.duration_s if calls else 0, digits,
    )  # fmt: skip


def _decisions(sources: SourceService, suspense: SuspenseService) -> list[Endpoint]:
    async def identifiers(call: Call) -> Page:
        query = call.query_as(IdentifierQuery)
        last = query.last_key(str, str, int)
        after = None if last is None else (last[0], last[1], _at(last[2]))
        wanted = Wanted(query.kind, query.identifier, query.begins, query.service_id)
        found = await sources.mapped(wanted, after, query.rows)
        return Page.of(found, query, lambda m: (m.kind, m.identifier, to_micros(m.since)), IdentifierOut.of)

    async def moves(call: Call) -> MovesOut:
        query = call.query_as(MovesQuery)
        found = await sources.moves(query.kind, query.identifier)
        return MovesOut(moves=[MovedBookingOut.of(one) for one in found])

    async def map_one(call: Call) -> GivenOut:
        body = call.body_as(IdentifierIn)
        before = await sources.booked_before(body.kind, body.identifier, body.since)
        found, released = await suspense.give(
            body.kind,
            body.identifier,
            body.since,
            body.service_id,
            overrides=body.overrides,
            actor=call.actor,
            reason=body.reason,
        )
        said = IdentifierOut.of(found).model_dump()
        moved = [MovedOut.of(one) for one in released.moved]
        return GivenOut(**said, taken_up=len(released.items), booked_before=before, moved=moved)

    async def assignments(call: Call) -> Page:
        query = call.query_as(AssignmentQuery)
        last = query.last_key(str, str, int)
        after = None if last is None else (last[0], last[1], _at(last[2]))
        found = await sources.assignments(query.service_id, after, query.rows)
        return Page.of(found, query, lambda a: (a.service_id, a.measure, to_micros(a.since)), AssignmentOut.of)

    async def assign(call: Call) -> AssignmentOut:
        body = call.body_as(AssignmentIn)
        found = await sources.assign(
            body.service_id, body.measure, body.since, body.source, actor=call.actor, reason=body.reason
        )
        return AssignmentOut.of(found)

    return [
        Endpoint("GET", "/usage-identifiers", "billing:read", identifiers, "Whose each identifier is",
                 query=IdentifierQuery, returns=IdentifierOut, paged=True),
        Endpoint("POST", "/usage-identifiers", "billing:write", map_one, "Give an identifier to a service",
                 body=IdentifierIn, returns=GivenOut, status=201),
        Endpoint("GET", "/usage-moves", "billing:read", moves, "What was moved by what was said of an identifier",
                 query=MovesQuery, returns=MovesOut),
        Endpoint("GET", "/usage-assignments", "billing:read", assignments, "Which source bills which service",
                 query=AssignmentQuery, returns=AssignmentOut, paged=True),
        Endpoint("POST", "/usage-assignments", "billing:write", assign, "Let a source bill a service",
                 body=AssignmentIn, returns=AssignmentOut, status=201),
    ]  # fmt: skip


def _ledger(sources: SourceService) -> list[Endpoint]:
    async def calls(call: Call) -> Page:
        query = call.query_as(CallQuery)
        found = await sources.calls(query.service_id, query.day, query.last(int) or 0, query.rows)
        return Page.of(found, query, lambda c: (c.call_id,), CallOut.of)

    async def compared(call: Call) -> ComparedOut:
        query = call.query_as(ComparedQuery)
        if not timedelta(0) <= query.until_on - query.since_on <= timedelta(days=400):
            raise RuleError("say at most 400 days, the first one first", code="days")
        found = await sources.compared(query.service_id, query.since_on, query.until_on)
        return ComparedOut(days=[SaidOut.of(s) for s in found])

    async def hours(call: Call) -> Page:
        query = call.query_as(HourQuery)
        last = query.last_key(int, str)
        after = None if last is None else (_at(last[0]), last[1])
        found = await sources.hours(query.source, query.since, query.until, after, query.rows)
        measures = await measured()
        return Page.of(found, query, lambda h: (to_micros(h.hour), h.source), lambda h: HourOut.of(h, measures))

    async def totals(call: Call) -> LedgerOut:
        measures = await measured()
        return LedgerOut(totals=[HourOut.of(h, measures) for h in await sources.totals()])

    async def measured() -> dict[str, str]:
        return {s.name: s.measure for s in await sources.sources()}

    async def check(call: Call) -> CheckOut:
        return CheckOut(faults=await sources.faults())

    return [
        Endpoint("GET", "/usage-calls", "billing:read", calls, "Calls booked to a service", query=CallQuery,
                 returns=CallOut, paged=True),
        Endpoint("GET", "/usage-comparison", "usage:read", compared, "What every source says of a service, by day",
                 query=ComparedQuery, returns=ComparedOut),
        Endpoint("GET", "/usage-ledger", "usage:read", hours, "What has become of usage, per hour and source",
                 query=HourQuery, returns=HourOut, paged=True),
        Endpoint("GET", "/usage-ledger/totals", "usage:read", totals, "The same over all hours", returns=LedgerOut),
        Endpoint("POST", "/usage-ledger/check", "usage:read", check, "Count everything again, hash chains too",
                 returns=CheckOut),
    ]  # fmt: skip


def _at(micros: int) -> datetime:
    """The instant of a cursor; one that a caller made up lies at an end of time."""
    return from_micros(max(0, min(micros, _LAST_US)))
