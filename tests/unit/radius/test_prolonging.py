"""A limit of prepaid that the NAS holds is prolonged by CoA: proved by a session that goes on beyond its former one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from controller.domain.credit import Prolonged, Slice
from controller.domain.identity import ServiceId
from controller.domain.ports import CoaOutcome, Secret
from controller.domain.service import SpeedProfile
from controller.store.engine import Database
from radius import repository
from radius.accounting.views import live_sessions
from radius.authorization import terms
from radius.authorization.directory import Directory
from radius.dynamic.model import Change, Kind, Limit, State, Wanted
from radius.dynamic.repository import Asked
from radius.follower import Follower, Registry
from radius.protocol.codes import COA_NAK, COA_REQUEST, MIKROTIK, Attr
from radius.protocol.packet import integer_attribute
from radius.subscribers import SubscriberService
from radius.vendors.reply import walked
from tests.support.radius import GOLD, SERVICE, RecordingRoom, secret_box
from tests.unit.radius import test_access
from tests.unit.radius.test_access import Bras, world
from tests.unit.radius.test_changes import KEY, SESSION, START, World, newest

SLOW = SpeedProfile("slow", 1_000_000, 500_000)


@asynccontextmanager
async def begun(database: Database, directory: Path, vendor: str) -> AsyncIterator[tuple[Bras, RecordingRoom]]:
    async with world(database, directory, vendor) as (bras, _, running):
        accept = await bras.login()
        await bras.account(1, accept.get(Attr.CLASS) or b"")
        yield bras, running


async def prolong(running: RecordingRoom, database: Database, until: Slice, former: int) -> None:
    """As billing does, and then what the room's own tasks do within a second."""
    async with database.begin() as conn:
        (session,) = await live_sessions(conn, SERVICE)
        found = {session.session_key: Prolonged(until, former)}
        await running.room.crediting.prolong(conn, ServiceId(SERVICE), found)
    await running.room.sessions.changes.work()


async def changes(running: RecordingRoom) -> list[Change]:
    return await running.room.sessions.changes.page(Asked(), before=None, limit=9)


async def test_a_longer_session_timeout_is_sent_and_proved_by_a_record_beyond_the_former_one(
    database: Database, tmp_path: Path
) -> None:
    async with begun(database, tmp_path, "rfc") as (bras, running):
        await prolong(running, database, Slice(seconds=1_200), 600)
        (sent,) = bras.changes
        assert (sent.code, sent.integer(Attr.SESSION_TIMEOUT), sent.get(Attr.CLASS)) == (COA_REQUEST, 1_200, None)
        await bras.account(3, b"", 601)
        (change,) = await changes(running)
        assert (change.wanted.kind, change.state) == (Kind.LIMIT, State.ACKNOWLEDGED), "an ACK is no proof"
        (live,) = await running.sessions.live_sessions_of(SERVICE)
        assert live.session_time_s == 601
        # No session comes further than its terms let it.
        await prolong(running, database, Slice(seconds=90_000), 1_200)
        assert bras.changes[-1].integer(Attr.SESSION_TIMEOUT) == 86_400


async def test_volume_is_prolonged_where_the_vendor_holds_it_and_of_no_other_nas_is_anything_asked(
    database: Database, tmp_path: Path
) -> None:
    async with begun(database, tmp_path, "mikrotik") as (bras, running):
        await prolong(running, database, Slice(octets=5 * 2**32 + 7), 2**32)
        (sent,) = bras.changes
        assert sent.vendor(MIKROTIK, 17) == (7).to_bytes(4, "big")
        assert sent.vendor(MIKROTIK, 18) == (5).to_bytes(4, "big")


async def test_a_nas_without_a_limit_of_volume_is_not_asked(database: Database, tmp_path: Path) -> None:
    async with begun(database, tmp_path, "rfc") as (bras, running):
        await prolong(running, database, Slice(octets=2**32), 2**30)
        assert (bras.changes, await changes(running)) == ([], [])


async def test_a_nas_that_refuses_is_visible_and_its_session_is_not_ended_for_that(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(test_access._TAKEN, COA_REQUEST, COA_NAK)
    async with begun(database, tmp_path, "rfc") as (bras, running):
        await prolong(running, database, Slice(seconds=1_200), 600)
        (change,) = await changes(running)
        assert (change.state, len(bras.changes)) == (State.REFUSED, 1)
        assert change.words == "NAK: no Error-Cause given; the session ends at its former limit, and dials again"
        assert await running.sessions.live_sessions_of(SERVICE) != []


LIMIT, FURTHER = Limit(None, 1_200, 600), Limit(None, 1_800, 1_200)


async def test_a_limit_and_a_speed_are_wanted_together_and_a_limit_is_looked_at_until_it_is_passed(
    database: Database,
) -> None:
    of = World.of(database)
    process = of.controller()
    await process.changes.ask(KEY, Wanted(Kind.LIMIT, limit=LIMIT), actor="system:prepaid")
    of.clock.advance(timedelta(hours=5))
    assert (await of.later(1, process)).state is State.ACKNOWLEDGED, "who uses nothing comes to no limit"
    await process.changes.ask(KEY, Wanted(Kind.LIMIT, limit=FURTHER), actor="system:prepaid")
    limit = Limit(None, 1_800, 600)
    assert (await newest(process)).wanted == Wanted(Kind.LIMIT, limit=limit), "the first was not seen yet"
    of.clock.advance(timedelta(seconds=1))
    await process.change_speed(KEY, SLOW)
    assert (await newest(process)).wanted == Wanted(Kind.SPEED, SLOW, limit)
    of.clock.advance(timedelta(seconds=1))
    await process.close_garden(KEY)
    assert (await newest(process)).wanted == Wanted(Kind.SUSPEND)
    refused = await process.changes.ask(KEY, Wanted(Kind.LIMIT, limit=LIMIT), actor="system:prepaid")
    assert refused is not None
    assert "put into the garden" in refused.detail
    of.clock.advance(timedelta(seconds=1))
    await process.open_garden(KEY, GOLD)
    of.clock.advance(timedelta(seconds=1))
    await process.changes.ask(KEY, Wanted(Kind.LIMIT, limit=LIMIT), actor="system:prepaid")
    assert (await newest(process)).wanted == Wanted(Kind.RESUME, GOLD, LIMIT)


@pytest.mark.parametrize(("seconds", "state"), [(600, State.ACKNOWLEDGED), (601, State.PROVED)])
async def test_a_session_beyond_its_former_limit_proves_the_new_one(
    database: Database, seconds: int, state: State
) -> None:
    of = World.of(database)
    process = of.controller()
    await process.changes.ask(KEY, Wanted(Kind.LIMIT, limit=LIMIT), actor="system:prepaid")
    live = of.sessions.live[KEY]
    assert live is not None
    of.sessions.live[KEY] = type(live)(**{n: getattr(live, n) for n in live.__slots__} | {"session_time_s": seconds})
    found = await of.later(2, process)
    assert found.state is state
    del of.sessions.live[KEY]
    if state is State.ACKNOWLEDGED:
        gone = await of.later(600, process)
        assert (gone.state, "before it was seen beyond" in (gone.words or "")) == (State.GONE, True)


async def test_no_answer_is_given_up_and_said(database: Database) -> None:
    of = World.of(database, CoaOutcome("timeout", detail="no answer to 4 transmissions"), disconnect_when_refused=True)
    process = of.controller()
    await process.changes.ask(KEY, Wanted(Kind.LIMIT, limit=LIMIT), actor="system:prepaid")
    for _ in range(3):
        change = await of.later(600, process)
    assert change.state is State.GIVEN_UP
    assert "no answer" in (change.words or "")
    assert "ends at its former limit" in (change.words or "")
    assert set(of.client.codes) == {COA_REQUEST}, "it is not disconnected for that"


NO_CHANGE = CoaOutcome("nak", 401, "Unsupported Attribute")
NEW_LIMIT, NEW_SPEED = Wanted(Kind.LIMIT, limit=LIMIT), Wanted(Kind.SPEED, SLOW)


async def test_a_refused_limit_is_no_failure_of_the_speed_and_a_limit_taken_hides_none(database: Database) -> None:
    refusing = World.of(database, NO_CHANGE).controller()
    await refusing.changes.ask(KEY, NEW_LIMIT, actor="system:prepaid")
    assert await refusing.failures(SERVICE) == {}
    of = World.of(database, NO_CHANGE, CoaOutcome("ack"))
    process = of.controller()
    of.clock.advance(timedelta(seconds=1))
    await process.changes.ask(KEY, NEW_SPEED, actor="system:provisioning")
    of.clock.advance(timedelta(seconds=1))
    await process.changes.ask(KEY, NEW_LIMIT, actor="system:prepaid")
    assert await process.failures(SERVICE) == {KEY: "NAK 401: Unsupported Attribute"}


async def test_a_session_that_is_ended_because_it_refused_is_not_prolonged(database: Database) -> None:
    of = World.of(database, NO_CHANGE, CoaOutcome("timeout"), disconnect_when_refused=True)
    process = of.controller()
    await process.changes.ask(KEY, NEW_SPEED, actor="system:provisioning")
    of.clock.advance(timedelta(seconds=1))
    refused = await process.changes.ask(KEY, NEW_LIMIT, actor="system:prepaid")
    assert refused is not None
    assert "being ended" in refused.detail
    (change,) = await process.changes.page(Asked(), before=None, limit=9)
    assert (change.state, change.by_disconnect) == (State.WAITING, True)


@pytest.mark.parametrize("kind", [Kind.SPEED, Kind.RESUME])
async def test_a_nas_that_refuses_a_limit_is_asked_for_the_speed_alone(database: Database, kind: Kind) -> None:
    answers = (CoaOutcome("timeout"), NO_CHANGE, CoaOutcome("ack"))
    of = World.of(database, *answers, disconnect_when_refused=True)
    process = of.controller()
    await process.changes.ask(KEY, NEW_LIMIT, actor="system:prepaid")
    of.clock.advance(timedelta(seconds=1))
    await process.changes.ask(KEY, Wanted(kind, SLOW), actor="system:prepaid")
    change = await of.later(1, process)
    assert (change.wanted, change.state, change.tries) == (Wanted(kind, SLOW), State.ACKNOWLEDGED, 1)
    assert set(of.client.codes) == {COA_REQUEST}, "it is not disconnected for a limit"


DAY_LONG = Limit(None, 86_400, 600)


@pytest.mark.parametrize(
    ("given", "of_nas", "longest"),
    [
        ({}, 0, 86_400),
        ({"session_timeout_s": 7_200}, 0, 7_200),
        ({"session_timeout_s": 7_200, "reply_attributes": [{"name": "Session-Timeout", "value": "3600"}]}, 0, 3_600),
        ({"session_timeout_s": 7_200}, 1_800, 1_800),
        # START is noon in the hours' zone; the session has lasted 1,100 s by then.
        ({"hours": ["sa 08:00-13:00"]}, 1_800, 3_600 + 1_100),
        ({"hours": ["sa 08:00-13:00"], "session_timeout_s": 900}, 0, 900),
        ({"hours": ["su 08:00-13:00"]}, 0, 1_100),
    ],
    ids=["default", "terms", "template", "template of the NAS", "hours", "terms within hours", "out of hours"],
)
async def test_no_session_is_prolonged_beyond_what_a_login_would_be_given(
    database: Database, tmp_path: Path, given: dict[str, Any], of_nas: int, longest: int
) -> None:
    of = World.of(database, reply_attributes=integer_attribute(Attr.SESSION_TIMEOUT, of_nas) if of_nas else b"")
    await lasting_1100_s(of, tmp_path, given)
    await of.controller().changes.ask(KEY, Wanted(Kind.LIMIT, limit=DAY_LONG), actor="system:prepaid")
    ((_, body),) = of.client.sent
    assert integer_attribute(Attr.SESSION_TIMEOUT, longest) in body


async def lasting_1100_s(of: World, tmp_path: Path, given: dict[str, Any]) -> None:
    """A session of a service of these terms."""
    database = of.database
    subscribers = SubscriberService(
        database, of.clock, box := secret_box(tmp_path), Follower(database, box, Registry(), Directory())
    )
    await subscribers.put_subscriber(
        service_id=SERVICE, username="anna", password=Secret("hunter2"), profile=GOLD, framed_ipv4=None, enabled=True,
        actor="user:test",
    )  # fmt: skip
    async with database.begin() as conn:
        await repository.update_subscriber(conn, "anna", terms=terms.write(given), updated_at=START)
    of.sessions.live[KEY] = replace(SESSION, session_time_s=1_000, heard_at=START - timedelta(seconds=100))


@pytest.mark.parametrize(
    ("vendor", "wanted", "given", "credit_s", "left"),
    [
        ("strongswan", Kind.SPEED, {"session_timeout_s": 7_200}, None, 6_100),
        ("strongswan", Kind.RESUME, {"session_timeout_s": 7_200}, 1_800, 700),
        ("strongswan", Kind.SPEED, {}, 1_800, 700),
        ("strongswan", Kind.SPEED, {"session_timeout_s": 900}, None, 1),
        ("strongswan", Kind.SUSPEND, {"session_timeout_s": 7_200}, 1_800, 6_100),
        ("strongswan", Kind.SPEED, {}, None, None),
        ("rfc", Kind.SPEED, {"session_timeout_s": 7_200}, 1_800, None),
    ],
)
async def test_a_nas_that_wants_a_session_timeout_with_a_speed_is_told_what_is_left_of_the_session(
    database: Database, tmp_path: Path, vendor: str, wanted: Kind, given: dict[str, Any], credit_s: int | None,
    left: int | None,
) -> None:  # fmt: skip
    """It counts from the request on: the limit of a login would begin anew with each change."""

    async def told(_conn: object, session_key: str) -> int | None:
        return credit_s if session_key == KEY else None

    of = World.of(database, vendor=vendor)
    await lasting_1100_s(of, tmp_path, given)
    process = of.controller()
    process.limit_by(told)
    profile = None if wanted is Kind.SUSPEND else SLOW
    await process.changes.ask(KEY, Wanted(wanted, profile), actor="system:provisioning")
    ((_, body),) = of.client.sent
    told_s = [int.from_bytes(octets[2:], "big") for code, octets in walked(body) if code == Attr.SESSION_TIMEOUT]
    assert told_s == ([] if left is None else [left])
