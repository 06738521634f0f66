"""What dunning takes from a service, as a NAS sees it: live sessions by CoA, new logins by their answer, and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.domain.credit import Standing
from controller.domain.restriction import FREE, Measure, Restriction
from controller.domain.service import SpeedProfile
from controller.store import audit
from controller.store.engine import Database
from radius import repository
from radius.accounting.views import live_sessions
from radius.authorization import restriction, throttle
from radius.authorization.restriction import Held
from radius.authorization.throttle import Throttle
from radius.dynamic.model import Kind, Wanted
from radius.protocol.codes import ACCESS_ACCEPT, ACCESS_REJECT, DISCONNECT_REQUEST, Attr
from radius.vendors.terms import GARDEN_PROFILE
from tests.support.radius import GOLD, SERVICE, RecordingRoom
from tests.unit.radius.test_access import Bras, class_of, world

SLOW = SpeedProfile("arrears", 1_000_000, 500_000)
THROTTLED, GARDEN = Restriction(Measure.THROTTLE, SLOW), Restriction(Measure.GARDEN)
SUSPENDED = Restriction(Measure.SUSPEND)


async def restrict(running: RecordingRoom, database: Database, wanted: Restriction) -> bool:
    """As dunning does, and then what the room's own tasks do within a second."""
    room = running.room
    async with database.begin() as conn:
        changed = await room.restricting.put(conn, SERVICE, wanted, actor="system:dunning", reason="invoice 7")
    await room.follower.refresh_subscribers()
    await room.sessions.changes.work()
    return changed


async def begun(bras: Bras) -> None:
    accept = await bras.login()
    assert class_of(accept) == GOLD.name
    await bras.account(1, accept.get(Attr.CLASS) or b"")


async def told(bras: Bras, count: int) -> None:
    """The newest of so many requests was taken over: the NAS accounts under its Class."""
    assert len(bras.changes) == count
    await bras.account(3, bras.changes[-1].get(Attr.CLASS) or b"", 10 * count)


async def test_every_measure_reaches_the_live_session_and_the_next_login_and_is_taken_back(
    database: Database, tmp_path: Path
) -> None:
    async with world(database, tmp_path) as (bras, client, running):
        await begun(bras)
        assert await restrict(running, database, THROTTLED)
        assert (bras.changes[-1].vendor(14988, 8), class_of(bras.changes[-1])) == (b"500k/1M", SLOW.name)
        await told(bras, 1)
        assert class_of(await bras.login()) == SLOW.name
        assert not await restrict(running, database, THROTTLED)
        assert len(bras.changes) == 1, "what is so already is not asked for again"

        assert await restrict(running, database, GARDEN)
        assert (class_of(bras.changes[-1]), bras.changes[-1].vendor(14988, 19)) == (GARDEN_PROFILE, b"garden")
        await told(bras, 2)
        assert class_of(await bras.login()) == GARDEN_PROFILE
        assert (await client.get(f"/services/{SERVICE}/access")).json()["restriction"] == "garden"
        assert (await client.post(f"/services/{SERVICE}/resume", json={})).json()["sessions"] == []
        assert (len(bras.changes), class_of(await bras.login())) == (2, GARDEN_PROFILE), (
            "an operator lifts only his own"
        )

        assert await restrict(running, database, FREE)
        assert (class_of(bras.changes[-1]), bras.changes[-1].vendor(14988, 8)) == (GOLD.name, b"20M/100M")
        await told(bras, 3)
        assert class_of(await bras.login()) == GOLD.name
        async with database.read() as conn:
            said = [e for e in await audit.entries(conn, before=None, limit=50) if "restri" in e["action"]]
        assert {(e["actor"], e["reason"]) for e in said} == {("system:dunning", "invoice 7")}


async def test_a_suspension_ends_the_session_and_refuses_the_next_until_it_is_taken_back(
    database: Database, tmp_path: Path
) -> None:
    async with world(database, tmp_path) as (bras, _, running):
        await begun(bras)
        await restrict(running, database, SUSPENDED)
        assert bras.changes[-1].code == DISCONNECT_REQUEST
        await bras.account(2, b"", 10)
        assert (await bras.login()).code == ACCESS_REJECT
        await restrict(running, database, FREE)
        assert (await bras.login()).code == ACCESS_ACCEPT


async def test_a_session_accepted_just_before_is_asked_at_the_next_look(database: Database, tmp_path: Path) -> None:
    async with world(database, tmp_path) as (bras, _, running):
        accept = await bras.login()
        await restrict(running, database, GARDEN)
        assert bras.changes == []
        await bras.account(1, accept.get(Attr.CLASS) or b"")
        assert not await restrict(running, database, GARDEN)
        assert [class_of(change) for change in bras.changes] == [GARDEN_PROFILE]


async def test_a_suspension_by_an_operator_outlives_what_dunning_took(database: Database, tmp_path: Path) -> None:
    async with world(database, tmp_path) as (bras, client, running):
        await begun(bras)
        await restrict(running, database, GARDEN)
        await told(bras, 1)
        await client.post(f"/services/{SERVICE}/suspend", json={"reason": "moves house"})
        await restrict(running, database, FREE)
        assert class_of(await bras.login()) == GARDEN_PROFILE
        await client.post(f"/services/{SERVICE}/resume", json={})
        assert class_of(await bras.login()) == GOLD.name


async def test_a_new_login_of_the_service_keeps_what_was_taken(database: Database, tmp_path: Path) -> None:
    async with world(database, tmp_path) as (bras, _, running):
        await restrict(running, database, SUSPENDED)
        await running.room.subscribers.set_profile(service_id=SERVICE, profile=SLOW, actor="user:test")
        assert (await bras.login()).code == ACCESS_REJECT
        async with database.read() as conn:
            row = await repository.get_subscriber(conn, SERVICE)
            assert await running.room.restricting.in_force(conn) == {SERVICE: SUSPENDED}
            assert await running.room.restricting.in_force(conn, ["f" * 32]) == {}
        assert row is not None
        assert restriction.of_row(row).barred


NOTHING = Held(False, False, None)
CRAWL = Throttle(SpeedProfile("crawl", 64_000, 64_000))
FAIR = Throttle(SpeedProfile("fair", 2_000_000, 1_000_000))


@pytest.mark.parametrize(
    ("suspended", "fair_use", "taken", "held"),
    [
        (False, None, FREE, NOTHING),
        (True, None, FREE, Held(True, False, None)),
        (False, None, THROTTLED, Held(False, False, Throttle(SLOW))),
        (False, FAIR, THROTTLED, Held(False, False, Throttle(SLOW))),
        (False, CRAWL, THROTTLED, Held(False, False, CRAWL)),
        (False, Throttle(None), THROTTLED, Held(False, False, Throttle(None))),
        (False, FAIR, GARDEN, Held(True, False, FAIR)),
        (True, FAIR, SUSPENDED, Held(True, True, FAIR)),
    ],
)  # fmt: skip
def test_the_strictest_of_operator_fair_use_and_dunning_holds(
    suspended: bool, fair_use: Throttle | None, taken: Restriction, held: Held
) -> None:
    assert restriction.combined(suspended, fair_use, taken) == held
    assert restriction.stored(restriction.write(taken)) == taken
    assert throttle.stored(throttle.write(fair_use)) == fair_use


@pytest.mark.parametrize(
    ("was", "now", "wanted"),
    [
        (NOTHING, NOTHING, None),
        (NOTHING, Held(False, False, Throttle(SLOW)), Wanted(Kind.SPEED, SLOW)),
        (Held(False, False, Throttle(SLOW)), Held(True, False, None), Wanted(Kind.SUSPEND)),
        (Held(True, False, None), Held(False, True, None), Wanted(Kind.DISCONNECT)),
        (Held(True, False, None), Held(False, False, Throttle(SLOW)), Wanted(Kind.RESUME, SLOW)),
        (Held(True, False, None), Held(True, False, Throttle(SLOW)), None),
        (Held(True, False, None), NOTHING, Wanted(Kind.RESUME, GOLD)),
        (Held(False, False, Throttle(SLOW)), NOTHING, Wanted(Kind.SPEED, GOLD)),
        (Held(True, False, None), Held(False, False, Throttle(None)), Wanted(Kind.DISCONNECT)),
    ],
)
def test_a_live_session_is_asked_for_what_it_is_not(was: Held, now: Held, wanted: Wanted | None) -> None:
    assert restriction.asked(was, now, GOLD, has_garden=True) == wanted


def test_without_a_garden_whoever_belongs_there_is_disconnected() -> None:
    assert restriction.asked(NOTHING, Held(True, False, None), GOLD, has_garden=False) == Wanted(Kind.DISCONNECT)


async def test_a_session_without_prepaid_credit_stays_in_the_garden_while_another_one_gets_its_speed(
    database: Database, tmp_path: Path
) -> None:
    spent: set[str] = set()

    async def without_credit(_conn: object, _service_id: str) -> set[str]:
        return spent

    async with world(database, tmp_path) as (bras, _, running):
        await begun(bras)
        await bras.account(1, (await bras.login()).get(Attr.CLASS) or b"", session=b"s2")
        running.room.sessions.changes.without_credit = without_credit
        async with database.begin() as conn:
            await repository.update_subscriber(conn, "anna", credit=Standing.OPEN.value)
            both = {session.acct_session_id: session for session in await live_sessions(conn, SERVICE)}
            spent.add(both[b"s2"].session_key)
            walled = Wanted(Kind.SUSPEND)
            await running.room.sessions.changes.enqueue(conn, both[b"s2"], walled, actor="system:prepaid")
        await running.room.sessions.changes.work()
        (closing,) = bras.changes
        await bras.account(3, closing.get(Attr.CLASS) or b"", 10, session=b"s2")

        await restrict(running, database, THROTTLED)
        await restrict(running, database, FREE)
        sent = [change.get(Attr.ACCT_SESSION_ID) for change in bras.changes]
        assert sent == [b"s2", b"s1", b"s1"], "dunning opens no garden of prepaid"

        spent.clear()
        await restrict(running, database, THROTTLED)
        (opening,) = (c for c in bras.changes[3:] if c.get(Attr.ACCT_SESSION_ID) == b"s2")
        assert (class_of(opening), opening.vendor(14988, 19)) == (SLOW.name, b"subscribers"), "not its speed alone"
        spent.add(both[b"s2"].session_key)
        await restrict(running, database, SUSPENDED)
        ended = {c.get(Attr.ACCT_SESSION_ID) for c in bras.changes if c.code == DISCONNECT_REQUEST}
        assert ended == {b"s1", b"s2"}
