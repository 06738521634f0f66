"""The trace shows one subscriber's packets by name, says why, keeps passwords to itself, and ends."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from controller.domain.clock import SystemClock
from controller.domain.errors import RuleError
from controller.domain.ports import CoaOutcome
from controller.store import audit
from controller.store.engine import Database
from radius.ports import LiveSession
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import ACCOUNTING_REQUEST, COA_REQUEST, Attr
from radius.protocol.packet import Packet, attribute
from radius.proxy.model import HomeServer
from radius.proxy.upstream import Reply
from radius.tables import trace as trace_table
from radius.tables import trace_event
from radius.trace import Traces
from radius.trace_routes import endpoints
from radius.tracing import Target, Trace
from tests.support.api import api_client
from tests.support.radius import SECRET, RunningRoom, nas, running_room
from tests.unit.radius.test_listener import all_is_read, client_socket

SHARED = SharedSecret(SECRET)


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    """SQLite alone: what is in the tables of traces is simple."""
    return sqlite_database


def login(
    name: bytes = b"anna", password: bytes = b"hunter2", shared: SharedSecret = SHARED, more: bytes = b""
) -> bytes:
    authenticator = (name + password).ljust(16, b".")[:16]
    body = attribute(Attr.USER_NAME, name) + attribute(Attr.USER_PASSWORD, shared.hide(password, authenticator))
    return shared.access_request(1, authenticator, body + more)


def record(session: bytes = b"s1", name: bytes = b"anna") -> bytes:
    body = attribute(Attr.USER_NAME, name) + attribute(Attr.ACCT_SESSION_ID, session)
    body += attribute(Attr.ACCT_STATUS_TYPE, b"\0\0\0\1") + attribute(Attr.FRAMED_IP_ADDRESS, bytes((100, 64, 0, 7)))
    return SHARED.request(ACCOUNTING_REQUEST, 2, body, signed=False)


async def told(trace: Trace, running: RunningRoom, *datagrams: bytes, accounting: bytes = b"") -> list[dict[str, Any]]:
    """What the trace shows of these, sent one after the other."""
    await send(running, *datagrams, accounting=accounting)
    return await shown_by(trace)


async def shown_by(trace: Trace) -> list[dict[str, Any]]:
    trace.close()
    return [event async for name, event in trace.events() if name == "packet"]


async def send(running: RunningRoom, *datagrams: bytes, accounting: bytes = b"") -> None:
    listener, client = running.room.listener, client_socket()
    with client:
        for datagram in datagrams:
            client.sendto(datagram, ("127.0.0.1", listener.auth_port))
        if accounting:
            client.sendto(accounting, ("127.0.0.1", listener.acct_port))
            await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 4096), 5)
    with client_socket() as other:
        await all_is_read(other, listener.auth_port)


async def test_a_login_is_shown_by_name_in_both_directions_and_no_password_is(
    database: Database, tmp_path: Path
) -> None:
    async with running_room(database, tmp_path) as running:
        trace = await running.room.traces.open("anna", seconds=60, packets=10, actor="user:test")
        asked, answered = await told(trace, running, login(), login(b"berta"))
    assert (asked["direction"], asked["code"], asked["nas"]) == ("in", "Access-Request", "bras")
    assert ["User-Name", "anna"] in asked["attributes"]
    assert ["User-Password", "***"] in asked["attributes"]
    assert (answered["direction"], answered["code"], answered["result"]) == ("out", "Access-Accept", "accept")
    assert ["Framed-IP-Address", "100.64.0.7"] in answered["attributes"]
    shown = json.dumps([asked, answered])
    assert "hunter2" not in shown
    assert SECRET.decode() not in shown


async def test_every_reject_and_every_silence_has_its_reason_in_words(database: Database, tmp_path: Path) -> None:
    forged = login(shared=SharedSecret(b"wrong"))
    async with running_room(database, tmp_path) as running:
        trace = await running.room.traces.open("anna", seconds=60, packets=10, actor="user:test")
        _, rejected, dropped = await told(trace, running, login(password=b"guess"), forged)
        trace = await running.room.traces.open("nobody", seconds=60, packets=10, actor="user:test")
        _, unknown = await told(trace, running, login(b"nobody"))
    assert (rejected["code"], rejected["reason"]) == ("Access-Reject", "wrong password")
    assert (dropped["direction"], dropped["result"]) == ("in", "message-authenticator")
    assert dropped["reason"], "a silent drop says why"
    assert (unknown["code"], unknown["reason"]) == ("Access-Reject", "unknown user")


async def test_a_record_and_its_answer_are_shown_and_an_address_leads_to_its_user(
    database: Database, tmp_path: Path
) -> None:
    async with running_room(database, tmp_path) as running:
        trace = await running.room.traces.open("100.64.0.7", seconds=60, packets=10, actor="user:test")
        shown = await told(trace, running, accounting=record())
        assert [(e["direction"], e["code"], e["result"]) for e in shown] == [
            ("in", "Accounting-Request", "record"),
            ("out", "Accounting-Response", "response"),
        ]
        assert trace.target.names == {b"100.64.0.7", b"anna"}


async def test_a_coa_that_names_only_the_session_is_shown_with_its_error_cause(
    database: Database, tmp_path: Path
) -> None:
    async with running_room(database, tmp_path) as running:
        trace = await running.room.traces.open("anna", seconds=60, packets=10, actor="user:test")
        sent = SHARED.request(COA_REQUEST, 3, attribute(Attr.ACCT_SESSION_ID, b"s1"), signed=False)
        other = SHARED.request(COA_REQUEST, 4, attribute(Attr.ACCT_SESSION_ID, b"s2"), signed=False)
        listener, client = running.room.listener, client_socket()
        with client:
            client.sendto(record(), ("127.0.0.1", listener.acct_port))
            await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 4096), 5)
        assert running.room.coa.tap is not None
        running.room.coa.tap(nas(), sent, CoaOutcome("nak", 503))
        running.room.coa.tap(nas(), other, CoaOutcome("ack"))
        trace.close()
        shown = [event async for name, event in trace.events() if name == "packet"]
    assert [event["code"] for event in shown] == ["Accounting-Request", "Accounting-Response", "CoA-Request"]
    assert (shown[2]["result"], shown[2]["reason"]) == ("nak", "Error-Cause 503 (Session-Context-Not-Found)")


async def test_a_session_that_was_there_before_the_trace_is_known_when_it_is_asked_for_something(
    database: Database, tmp_path: Path
) -> None:
    live = LiveSession("k", nas().nas_id, b"s7", "anna", None, "100.64.0.7", None, None, None)
    sent = SHARED.request(COA_REQUEST, 3, attribute(Attr.ACCT_SESSION_ID, b"s7"), signed=False)
    traces = Traces(database, SystemClock(), lambda _traces: None)
    for target, told in (("anna", 1), ("100.64.0.7", 1), ("berta", 0)):
        trace = await traces.open(target, seconds=60, packets=10, actor="user:test")
        traces.see_session(nas(), live)
        traces.see_dynamic(nas(), sent, CoaOutcome("ack"))
        assert len(await shown_by(trace)) == told, target


async def test_it_is_bounded_in_number_audited_and_costs_nothing_when_it_is_over(
    database: Database, tmp_path: Path
) -> None:
    async with running_room(database, tmp_path) as running:
        assert running.room.listener.tap is None
        trace = await running.room.traces.open("anna", seconds=60, packets=1, actor="user:test")
        assert len(await told(trace, running, login(), login(password=b"guess"))) == 1
        assert (running.room.listener.tap, running.room.coa.tap) == (None, None)
        for _ in range(8):
            await running.room.traces.open("anna", seconds=60, packets=1, actor="user:test")
        with pytest.raises(RuleError, match="end one of them"):
            await running.room.traces.open("anna", seconds=60, packets=1, actor="user:test")
        async with database.read() as conn:
            entry = (await audit.entries(conn, before=None, limit=1))[0]
        assert (entry["action"], entry["object"], entry["actor"]) == ("radius.trace", "trace:anna", "user:test")
    assert not running.room.traces.is_watched, "it ends with the room"


async def test_what_is_read_too_slowly_is_lost_and_counted() -> None:
    trace = Trace(Target("anna"), seconds=60, packets=10_000, forget=lambda _: None)
    for number in range(510):
        trace.add({"number": number})
    events = trace.events()
    first = await anext(events)
    assert first == ("packet", {"number": 0})
    assert (trace.seen, trace.lost) == (500, 10)
    await events.aclose()


async def test_it_ends_when_its_time_is_up() -> None:
    trace = Trace(Target("anna"), seconds=0, packets=10, forget=lambda _: None)
    assert [event async for event in trace.events()] == [("end", {"why": "the time is up", "packets": 0, "lost": 0})]


async def test_the_stream_over_http_ends_with_its_reason_and_needs_the_scope(
    database: Database, tmp_path: Path
) -> None:
    async with running_room(database, tmp_path) as running:
        routes = endpoints(running.room.traces)
        async with api_client(routes) as api:
            answer = await api.get("/radius/trace", params={"target": "anna", "seconds": "1"})
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.text.splitlines()[-3:] == [
            "event: end", 'data: {"why":"the time is up","packets":0,"lost":0}', ""
        ]  # fmt: skip
        async with api_client(routes, scopes={"crm:read"}) as api:
            assert (await api.get("/radius/trace", params={"target": "anna"})).status_code == 403
        async with api_client(routes) as api:
            assert (await api.get("/radius/trace", params={"target": "anna", "seconds": "99999"})).status_code == 422


@pytest.mark.parametrize("written", ["02:00:5e:10:00:01", "0200.5e10.0001", "02-00-5E-10-00-01"])
def test_a_station_is_meant_in_any_notation(written: str) -> None:
    seen = Packet.decode(login(more=attribute(Attr.CALLING_STATION_ID, b"0200.5E10.0001")))
    other = Packet.decode(login(more=attribute(Attr.CALLING_STATION_ID, b"0200.5E10.0002")))
    assert Target(written).means(seen, None, ("10.0.0.1", 1))
    assert not Target(written).means(other, None, ("10.0.0.1", 1))


async def test_packets_that_another_process_sees_are_shown_and_what_it_learnt_is_known(
    database: Database, tmp_path: Path
) -> None:
    async with running_room(database, tmp_path) as running:
        elsewhere = Traces(database, SystemClock(), lambda _traces: None)
        trace = await elsewhere.open("anna", seconds=60, packets=10, actor="user:test")
        await running.room.traces.sharing.turn()
        assert running.room.listener.tap is not None, "this process collects for the other one"
        await send(running, login(password=b"guess"))
        for traces in (running.room.traces, elsewhere):
            await traces.sharing.turn()
        shown = await shown_by(trace)
        assert [(event["code"], event["reason"]) for event in shown] == [
            ("Access-Request", ""),
            ("Access-Reject", "wrong password"),
        ]
        for traces in (elsewhere, running.room.traces):
            await traces.sharing.turn()
        assert running.room.listener.tap is None, "nobody traces any more"
        async with database.read() as conn:
            left = [await conn.scalar(select(func.count()).select_from(table)) for table in (trace_table, trace_event)]
        assert left == [0, 0]


async def test_a_session_that_another_process_saw_leads_to_its_coa_here(database: Database, tmp_path: Path) -> None:
    async with running_room(database, tmp_path) as running:
        elsewhere = Traces(database, SystemClock(), lambda _traces: None)
        trace = await elsewhere.open("anna", seconds=60, packets=10, actor="user:test")
        await running.room.traces.sharing.turn()
        await send(running, accounting=record())
        for traces in (running.room.traces, elsewhere):
            await traces.sharing.turn()
        asked = SHARED.request(COA_REQUEST, 1, attribute(Attr.ACCT_SESSION_ID, b"s1"), signed=False)
        elsewhere.see_dynamic(nas(), asked, CoaOutcome("nak", 503, "Session Context Not Found"))
        shown = await shown_by(trace)
        assert [event["code"] for event in shown] == ["Accounting-Request", "Accounting-Response", "CoA-Request"]


async def test_what_goes_to_a_home_server_and_comes_back_is_shown(database: Database) -> None:
    traces = Traces(database, SystemClock(), lambda _traces: None)
    trace = await traces.open("bob@isp-b.example", seconds=60, packets=10, actor="user:test")
    server = HomeServer("isp-b-1", "isp-b", "udp", "192.0.2.1", 1812, 1813)
    asked = [(1, b"bob@isp-b.example"), (2, b"sesame")]
    traces.see_forwarded(server, 1, asked, Reply(3, [(18, b"no")]), "")
    traces.see_forwarded(server, 1, asked, None, "no answer from 192.0.2.1")
    traces.see_forwarded(server, 1, [(1, b"eve@isp-b.example")], None, "")
    shown = await shown_by(trace)
    assert [(event["direction"], event["code"], event["result"], event["peer"]) for event in shown] == [
        ("out", "Access-Request", "forwarded", "192.0.2.1:1812"),
        ("in", "Access-Reject", "answered", "192.0.2.1:1812"),
        ("out", "Access-Request", "no-answer", "192.0.2.1:1812"),
    ]
    assert shown[2]["reason"] == "to home server isp-b-1 over udp: no answer from 192.0.2.1"
    assert ["User-Password", "***"] in shown[0]["attributes"]
