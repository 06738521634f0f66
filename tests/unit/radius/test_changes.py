"""Changes of live sessions are pursued until observed, given up visibly, and survive the process that asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import REGISTRY

from controller.domain.clock import MovableClock
from controller.domain.identity import NasId
from controller.domain.ports import CoaOutcome
from controller.domain.service import SpeedProfile
from controller.store.engine import Database
from radius.coa import CoaClient
from radius.dynamic.model import PREPAID, Change, Kind, Patience, State, Wanted
from radius.dynamic.repository import Asked
from radius.ports import LiveSession
from radius.protocol.codes import COA_REQUEST, DISCONNECT_REQUEST
from radius.protocol.nas import Nas
from radius.sessions import SessionController
from radius.vendors.mark import class_value
from radius.vendors.terms import GARDEN_PROFILE, Garden
from tests.support.radius import EPHEMERAL, GOLD, SERVICE, FakeSessions, nas

START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SILVER = SpeedProfile("silver-50", 50_000_000, 10_000_000)
KEY = "a" * 32
SESSION = LiveSession(KEY, nas().nas_id, b"8000001", "anna", SERVICE, "100.64.0.7", None, None, None)
ACK, TIMEOUT = CoaOutcome("ack"), CoaOutcome("timeout", detail="no answer to 4 transmissions")
GONE_503 = CoaOutcome("nak", 503, "Session Context Not Found")
BUSY_506 = CoaOutcome("nak", 506, "Resources Unavailable")


class Answers(CoaClient):
    """Answers in the order given, the last again and again; keeps what it was asked for."""

    def __init__(self, answers: Sequence[CoaOutcome], clock: MovableClock) -> None:
        super().__init__(EPHEMERAL, clock)
        self.left = list(answers)
        self.sent: list[tuple[int, bytes]] = []
        self.asked = asyncio.Event()

    async def send(self, nas: Nas, code: int, attributes: bytes) -> CoaOutcome:
        self.sent.append((code, attributes))
        self.asked.set()
        return self.left.pop(0) if len(self.left) > 1 else self.left[0]

    @property
    def codes(self) -> list[int]:
        return [code for code, _ in self.sent]


@dataclass
class World:
    database: Database
    client: Answers
    clock: MovableClock = field(default_factory=lambda: MovableClock(START))
    sessions: FakeSessions = field(default_factory=lambda: FakeSessions({KEY: SESSION}))
    known: Nas = field(default_factory=nas)
    suspended: bool = False

    @classmethod
    def of(cls, database: Database, *answers: CoaOutcome, **changes: object) -> World:
        clock = MovableClock(START)
        return cls(database, Answers(answers or (ACK,), clock), clock, known=nas(**changes))  # type: ignore[arg-type]

    def controller(self, process: str = "") -> SessionController:
        """A process: another one is another controller on the same database."""

        async def find_nas(nas_id: NasId) -> Nas | None:
            return self.known if nas_id == self.known.nas_id else None

        async def is_suspended(service_id: str) -> bool:
            return self.suspended

        return SessionController(
            self.database, self.clock, find_nas, self.sessions, self.client, garden=Garden(),
            is_suspended=is_suspended, patience=Patience(tries=3), process=process,
        )  # fmt: skip

    def report(self, profile: str | None = None, rate: str | None = None) -> None:
        """An accounting record that arrives now."""
        mark = None if profile is None else class_value(SERVICE, profile)
        self.sessions.live[KEY] = replace(SESSION, last_class=mark, last_rate=rate, evidence_at=self.clock.now())

    async def later(self, seconds: float, process: SessionController) -> Change:
        self.clock.advance(timedelta(seconds=seconds))
        await process.changes.work()
        return await newest(process)


async def newest(process: SessionController) -> Change:
    [change, *_] = await process.changes.page(Asked(), before=None, limit=10)
    return change


async def test_an_ack_is_no_success_until_accounting_shows_it(database: Database) -> None:
    world = World.of(database)
    process = world.controller()
    assert (await process.change_speed(KEY, SILVER)).result == "ack"
    assert (await newest(process)).state is State.ACKNOWLEDGED
    assert (await world.later(5, process)).state is State.ACKNOWLEDGED
    world.clock.advance(timedelta(seconds=60))
    world.report("silver-50", "10M/50M")
    proved = await world.later(30, process)
    assert proved.state is State.PROVED
    assert "rate attribute" in (proved.words or "")
    assert world.client.codes == [COA_REQUEST]


async def test_an_ack_after_which_nothing_is_heard_is_given_up_visibly(database: Database) -> None:
    world = World.of(database)
    process = world.controller()
    await process.change_speed(KEY, SILVER)
    given_up = await world.later(3 * world.known.interim_interval_s + 61, process)
    assert (given_up.state, "no accounting record" in (given_up.words or "")) == (State.GIVEN_UP, True)
    assert "no accounting record" in (await process.failures(SERVICE))[KEY]


async def test_an_acknowledged_change_that_accounting_belies_is_sent_again(database: Database) -> None:
    world = World.of(database)
    process = world.controller()
    await process.change_speed(KEY, SILVER)
    world.clock.advance(timedelta(seconds=10))
    world.report("silver-50", "10M/100M")
    belied = await world.later(1, process)
    assert belied.state is State.WAITING
    assert "downstream was 100 Mbit/s instead of 50 Mbit/s" in (belied.words or "")
    assert (await world.later(10, process)).tries == 2
    assert len(world.client.sent) == 2


@pytest.mark.parametrize("first", [TIMEOUT, BUSY_506])
async def test_what_passes_is_asked_again_with_back_off_and_another_process_goes_on(
    database: Database, first: CoaOutcome
) -> None:
    world = World.of(database, first, ACK)
    assert await world.controller().change_speed(KEY, SILVER) == first
    other = world.controller()
    assert (await world.later(1, other)).state is State.WAITING, "not yet its time"
    assert (await world.later(5, other)).state is State.ACKNOWLEDGED
    assert len(world.client.sent) == 2


async def test_silence_is_given_up_after_the_last_try(database: Database) -> None:
    world = World.of(database, TIMEOUT)
    process = world.controller()
    await process.change_speed(KEY, SILVER)
    for _ in range(3):
        change = await world.later(400, process)
    assert (change.state, change.tries) == (State.GIVEN_UP, 3)
    assert (await process.failures(SERVICE))[KEY] == "no answer to 4 transmissions; given up after 3 requests"


async def test_a_refusal_is_final_and_told_in_words(database: Database) -> None:
    world = World.of(database, GONE_503)
    process = world.controller()
    await process.change_speed(KEY, SILVER)
    assert (await newest(process)).state is State.REFUSED
    assert await process.failures(SERVICE) == {KEY: "NAK 503: Session Context Not Found"}
    await world.later(1_000, process)
    assert len(world.client.sent) == 1


async def test_a_killed_process_leaves_its_claim_to_time(database: Database) -> None:
    """Written before it is sent: what died with the request under way is sent by whoever looks next."""

    class Dies(Answers):
        async def send(self, nas: Nas, code: int, attributes: bytes) -> CoaOutcome:
            self.sent.append((code, attributes))
            raise asyncio.CancelledError

    world = World.of(database)
    survivor = world.controller()
    world.client = Dies([ACK], world.clock)
    with pytest.raises(asyncio.CancelledError):
        await world.controller().change_speed(KEY, SILVER)
    world.client = Answers([ACK], world.clock)
    assert (await world.later(30, survivor)).tries == 1, "its claim still holds"
    again = await world.later(31, survivor)
    assert (again.state, again.tries) == (State.ACKNOWLEDGED, 2)


async def test_a_killed_process_that_is_back_goes_on_at_once_and_leaves_alone_what_others_hold(
    database: Database,
) -> None:
    class Dies(Answers):
        async def send(self, nas: Nas, code: int, attributes: bytes) -> CoaOutcome:
            self.sent.append((code, attributes))
            raise asyncio.CancelledError

    world = World.of(database)
    world.client = Dies([ACK], world.clock)
    with pytest.raises(asyncio.CancelledError):
        await world.controller("one").change_speed(KEY, SILVER)
    world.client = Answers([ACK], world.clock)
    other, again = world.controller("two"), world.controller("one")
    await other.changes.start()
    assert (await world.later(1, other)).tries == 1
    await again.changes.start()
    changed = await world.later(1, again)
    assert (changed.state, changed.tries, changed.claimed_by) == (State.ACKNOWLEDGED, 2, None)
    assert len(world.client.sent) == 1


async def test_two_processes_do_not_send_the_same_change(database: Database) -> None:
    world = World.of(database, TIMEOUT, ACK)
    one, two = world.controller(), world.controller()
    await one.change_speed(KEY, SILVER)
    world.clock.advance(timedelta(seconds=6))
    await asyncio.gather(one.changes.work(), two.changes.work())
    assert len(world.client.sent) == 2


async def test_a_newer_plan_replaces_an_older_one_and_the_end_of_a_session_both(database: Database) -> None:
    world = World.of(database, TIMEOUT)
    process = world.controller()
    await process.change_speed(KEY, SILVER)
    await process.change_speed(KEY, GOLD)
    await process.disconnect(KEY, actor="user:test")
    refused = await process.change_speed(KEY, SILVER)
    assert "being ended" in refused.detail
    found = await process.changes.page(Asked(), before=None, limit=10)
    assert sorted((c.wanted.kind.value, c.state.value) for c in found) == [
        ("disconnect", "waiting"), ("speed", "superseded"), ("speed", "superseded"),
    ]  # fmt: skip
    assert len(world.client.sent) == 3


async def test_the_same_wish_again_is_the_same_change_asked_at_once(database: Database) -> None:
    world = World.of(database, TIMEOUT, ACK)
    process = world.controller()
    await process.change_speed(KEY, SILVER)
    assert (await process.change_speed(KEY, SILVER)).result == "ack"
    [change] = await process.changes.page(Asked(), before=None, limit=10)
    assert (change.tries, change.state) == (2, State.ACKNOWLEDGED)


async def test_a_session_that_ends_meanwhile_ends_the_change(database: Database) -> None:
    world = World.of(database, TIMEOUT)
    process = world.controller()
    await process.change_speed(KEY, SILVER)
    world.sessions.live.clear()
    assert (await world.later(6, process)).state is State.GONE
    assert len(world.client.sent) == 1


async def test_a_disconnect_is_proved_by_the_end_of_the_session_and_asked_again_until_then(database: Database) -> None:
    world = World.of(database)
    process = world.controller()
    await process.disconnect(KEY, actor="user:test")
    world.clock.advance(timedelta(seconds=40))
    world.report("gold-100")
    assert "accounting goes on" in ((await world.later(1, process)).words or "")
    await world.later(10, process)
    assert world.client.codes == [DISCONNECT_REQUEST, DISCONNECT_REQUEST]
    world.sessions.live.clear()
    assert (await world.later(30, process)).state is State.PROVED


@pytest.mark.parametrize("allowed", [True, False])
async def test_a_refused_change_ends_the_session_only_where_the_policy_of_the_nas_says_so(
    database: Database, allowed: bool
) -> None:
    world = World.of(database, CoaOutcome("nak", 401, "Unsupported Attribute"), ACK, disconnect_when_refused=allowed)
    before = REGISTRY.get_sample_value("headend_radius_change_fallbacks_total", {"nas": "bras"}) or 0
    process = world.controller()
    await process.change_speed(KEY, SILVER)
    await world.later(1, process)
    assert world.client.codes == ([COA_REQUEST, DISCONNECT_REQUEST] if allowed else [COA_REQUEST])
    counted = REGISTRY.get_sample_value("headend_radius_change_fallbacks_total", {"nas": "bras"}) or 0
    assert counted - before == int(allowed)
    if not allowed:
        return
    assert await process.failures(SERVICE) == {}
    world.sessions.live.clear()
    done = await world.later(5, process)
    assert (done.state, done.by_disconnect) == (State.PROVED, True)
    assert done.words == "NAK 401: Unsupported Attribute; Disconnect: ACK; the session has ended"


@pytest.mark.parametrize("allowed", [True, False])
async def test_what_a_nas_does_not_take_is_not_sent_and_is_refused_at_once_or_forced_by_policy(
    database: Database, allowed: bool
) -> None:
    takes = frozenset({"filter", "disconnect"})
    world = World.of(database, ACK, coa_takes=takes, disconnect_when_refused=allowed)
    process = world.controller()
    assert "takes no rate" in (await process.change_speed(KEY, SILVER)).detail
    changed = await world.later(1, process)
    assert world.client.codes == ([DISCONNECT_REQUEST] if allowed else [])
    assert changed.state is (State.ACKNOWLEDGED if allowed else State.REFUSED)
    assert "nothing was sent: by coa_takes this NAS takes no rate" in (changed.words or "")


async def test_suspension_is_proved_by_the_name_of_the_garden_and_overtakes_a_plan(database: Database) -> None:
    world = World.of(database, TIMEOUT, ACK)
    process = world.controller()
    await process.change_speed(KEY, SILVER)
    world.suspended = True
    await world.later(6, process)
    overtaken = await newest(process)
    assert (overtaken.state, overtaken.words) == (State.SUPERSEDED, "the service was suspended meanwhile")
    await process.close_garden(KEY)
    world.clock.advance(timedelta(seconds=60))
    world.report(GARDEN_PROFILE)
    proved = await world.later(1, process)
    assert (proved.wanted, proved.state) == (Wanted(Kind.SUSPEND), State.PROVED)


async def test_what_a_transaction_wants_is_sent_when_it_is_committed(database: Database) -> None:
    world = World.of(database)
    process = world.controller()
    async with database.begin() as conn:
        await process.changes.enqueue(conn, SESSION, Wanted(Kind.SPEED, SILVER), actor="system:quota")
        assert world.client.sent == []
    async with running(process):
        await asyncio.wait_for(world.client.asked.wait(), 5)
    [change] = await process.changes.page(Asked(service_id=SERVICE), before=None, limit=10)
    assert change.requested_by == "system:quota"


@asynccontextmanager
async def running(process: SessionController) -> AsyncIterator[None]:
    task = asyncio.create_task(process.changes.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_who_was_about_to_be_let_out_of_the_garden_is_let_out_at_the_speed_asked_for_since(
    database: Database,
) -> None:
    world = World.of(database, TIMEOUT)
    process = world.controller()
    await process.open_garden(KEY, GOLD)
    world.clock.advance(timedelta(seconds=1))
    await process.change_speed(KEY, SILVER)
    assert (await newest(process)).wanted == Wanted(Kind.RESUME, SILVER)
    world.report(GARDEN_PROFILE)
    for ask in (process.close_garden(KEY), process.change_speed(KEY, GOLD)):
        world.clock.advance(timedelta(seconds=1))
        await ask
    assert (await newest(process)).wanted == Wanted(Kind.RESUME, GOLD), "its Class shows it there"


async def test_nobody_but_prepaid_lets_a_session_out_that_no_credit_is_left_for(database: Database) -> None:
    world = World.of(database)
    process = world.controller()

    async def without_credit(_conn: object, _service_id: str) -> set[str]:
        return {KEY}

    process.changes.without_credit = without_credit
    for asked in (process.change_speed(KEY, SILVER), process.open_garden(KEY, GOLD)):
        outcome = await asked
        assert (outcome.result, "no prepaid credit" in outcome.detail) == ("nak", True)
    assert world.client.sent == []
    assert (await process.close_garden(KEY)).result == "ack"
    world.clock.advance(timedelta(seconds=1))
    await process.open_garden(KEY, GOLD, actor=PREPAID)
    assert (await newest(process)).wanted == Wanted(Kind.RESUME, GOLD)
