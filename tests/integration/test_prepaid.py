"""Prepaid services over UDP: with FreeRADIUS's client against a running controller, with the lab's BRAS, and killed."""

from __future__ import annotations

import asyncio
import re
import signal
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from billing_bridge.prepaid.model import Kind
from controller.domain.clock import SystemClock
from controller.domain.credit import FinalAction
from controller.domain.ports import Secret
from controller.store import secrets
from controller.store.engine import Database
from lab.bras.nas import Bras, BrasSettings, Rejected
from lab.bras.session import Line
from lab.clock import now
from radius.authorization.credit import USED_UP
from radius.authorization.directory import Directory
from radius.follower import Follower, Registry
from radius.subscribers import SubscriberService
from radius.vendors.mark import read_class
from radius.vendors.terms import GARDEN_PROFILE
from tests.support import zygote
from tests.support.controller import Controller
from tests.support.databases import PostgresServer, postgres_binaries
from tests.support.prepaid import ACTOR, MB, NAS, PrepaidWorld
from tests.support.prepaid import SERVICE as KILLED
from tests.support.radclient import MISSING, RADCLIENT, radclient
from tests.support.radius import GOLD, SECRET, SERVICE, RecordingRoom, recording_room, register

NAS_SECRET = "s3cret-of-the-bras"
_DATA = {"into": "cash", "reference": "shop 1"}


# --- a running controller, and a client that shares no code with it ---


@pytest.fixture
def controller(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Controller]:
    """On PostgreSQL where it is installed: there are two processes then."""
    url = ""
    if postgres_binaries() is not None:
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.create(f"prepaid{uuid.uuid4().hex}")
    running = Controller(tmp_path / "one", database_url=url)
    running.start()
    yield running
    running.stop()


async def put_login(controller: Controller, username: str) -> None:
    """As an order would, which needs a network."""
    url = controller.environment["HEADEND_DATABASE_URL"].replace("postgresql:", "postgresql+psycopg:")
    database = Database(url or f"sqlite+aiosqlite:///{controller.data_dir}/headend.db")
    box = secrets.load_or_create(controller.data_dir / "headend.key")
    logins = SubscriberService(database, SystemClock(), box, Follower(database, box, Registry(), Directory()))
    try:
        await logins.put_subscriber(
            service_id=SERVICE, username=username, password=Secret("hunter2"), profile=GOLD, framed_ipv4=None,
            enabled=True, actor="test",
        )  # fmt: skip
    finally:
        await database.close()


def login(controller: Controller, line: str) -> str:
    request = f'User-Name = "anna"\nUser-Password = "hunter2"\nCalling-Station-Id = "{line}"\n'
    return radclient(controller.auth_port, "auth", request, NAS_SECRET)


def account(controller: Controller, kind: str, octets: int, *, session: str = "1") -> None:
    said = (
        f'Acct-Status-Type = {kind}\nAcct-Session-Id = "{session}"\nUser-Name = "anna"\nNAS-IP-Address = 127.0.0.1\n'
        f"Acct-Output-Octets = {octets}\nAcct-Input-Octets = 0\nAcct-Session-Time = {octets // 1_000}\n"
    )
    answer = radclient(controller.acct_port, "acct", said, NAS_SECRET)
    assert "Accounting-Response" in answer, answer


@pytest.mark.skipif(RADCLIENT is None, reason=MISSING)
async def test_a_balance_is_sold_reserved_used_and_survives_a_kill(controller: Controller, tmp_path: Path) -> None:
    await put_login(controller, "anna")
    account_id = controller.post("/customers", {"name": "Anna Muster", "address": "Weg 1"})["account_id"]
    controller.post("/nas", {"name": "bras", "address": "127.0.0.1", "secret": NAS_SECRET, "vendor": "mikrotik"})
    path = f"/services/{SERVICE}/prepaid"
    opened = controller.put(
        path, {"account_id": account_id, "unit": "octets", "currency": "EUR", "slice": 100 * MB, "validity_s": 3_600}
    )
    assert (opened["balance"], opened["standing"]) == (0, "out")

    def refused() -> bool:
        return USED_UP in login(controller, "line-1")

    controller.until(refused, "a login with an empty balance is refused, and told why")
    bought = _DATA | {"paid": {"amount": "11.90", "currency": "EUR"}, "units": 150 * MB, "tax_percent": "19"}
    for _ in range(2):
        assert controller.post(f"{path}/top-ups", bought)["balance"] == 150 * MB
    answer = login(controller, "line-1")
    assert f"Mikrotik-Total-Limit = {100 * MB}" in answer, answer
    assert f"Mikrotik-Total-Limit = {50 * MB}" in login(controller, "line-2")
    said = login(controller, "line-3")
    assert "Access-Reject" in said
    assert USED_UP in said

    account(controller, "Start", 0)
    account(controller, "Interim-Update", 40 * MB)
    controller.until(lambda: controller.get(path)["balance"] == 110 * MB, "40 MB are debited")
    controller.kill()
    controller.start()
    account(controller, "Interim-Update", 40 * MB)
    account(controller, "Stop", 60 * MB)

    def settled() -> bool:
        found = controller.get(path)
        return (found["balance"], found["reserved"]) == (90 * MB, 50 * MB)

    controller.until(settled, "the Stop gives back what is left of its slice; line 2 has its own")
    kinds = [m["kind"] for m in controller.get(f"{path}/movements")["items"]]
    assert kinds.count(Kind.DEBIT) == 2
    assert kinds.count(Kind.TOP_UP) == 1

    def earned() -> bool:
        lines = {line["code"]: line["balance"]["amount"] for line in controller.get("/trial-balance")["accounts"]}
        return (lines.get("3530"), lines.get("4410")) == ("-6.01", "-3.99")

    # 2.66 of 10.00 by the first 40 of 150 MB, 1.33 of 7.34 by 20 of 110: the last octet will earn what is left.
    controller.until(earned, "60 of 150 MB of 10.00 are earned")


@pytest.mark.skipif(RADCLIENT is None, reason=MISSING)
@pytest.mark.skipif(postgres_binaries() is None, reason="apt-get install postgresql")
async def test_two_processes_do_not_give_the_last_slice_twice(controller: Controller, tmp_path: Path) -> None:
    await put_login(controller, "anna")
    account_id = controller.post("/customers", {"name": "Anna Muster", "address": "Weg 1"})["account_id"]
    controller.post("/nas", {"name": "bras", "address": "127.0.0.1", "secret": NAS_SECRET, "vendor": "mikrotik"})
    path = f"/services/{SERVICE}/prepaid"
    body = {"account_id": account_id, "unit": "octets", "currency": "EUR", "slice": MB}
    controller.put(path, body)
    bought = _DATA | {"paid": {"amount": "1.00", "currency": "EUR"}, "units": 3 * MB, "tax_percent": "0"}
    controller.post(f"{path}/top-ups", bought)
    other = controller.beside(tmp_path / "two", "two")
    other.start()
    try:
        logins = [asyncio.to_thread(login, (controller, other)[n % 2], f"line-{n}") for n in range(10)]
        answers = await asyncio.gather(*logins)
    finally:
        other.stop()
    given = [int(found[1]) for a in answers if (found := re.search(r"Mikrotik-Total-Limit = (\d+)", a))]
    assert given == [MB] * 3
    assert sum("Access-Reject" in answer for answer in answers) == 7


# --- the lab's BRAS: sessions that are told what becomes of them ---


@asynccontextmanager
async def bras_world(database: Database, directory: Path) -> AsyncIterator[tuple[RecordingRoom, Bras, PrepaidWorld]]:
    """A room whose tasks run, a balance that its logins ask, and the lab's BRAS with one line."""
    async with recording_room(database, directory) as running:
        room = running.room
        world = PrepaidWorld(database, room.crediting, SystemClock())
        room.use_credit(world.prepaid)
        settings = BrasSettings(
            "127.0.0.2", SECRET, ("127.0.0.1", room.listener.auth_port), ("127.0.0.1", room.listener.acct_port),
            directory / "bras.json", reports_rate=True,
        )  # fmt: skip
        bras = Bras(settings, [Line("anna", "hunter2", "02:00:00:00:00:01", 1, "e1")], now)
        bras.bind()
        background = [asyncio.create_task(room.run()), asyncio.create_task(world.counter.run())]
        try:
            await register(room, address="127.0.0.2", vendor="mikrotik", coa_port=bras.coa_port)
            yield running, bras, world
        finally:
            await bras.close()
            for task in background:
                task.cancel()
            ended = await asyncio.gather(*background, return_exceptions=True)
            assert all(isinstance(error, asyncio.CancelledError) for error in ended), ended
            await world.log.close()


async def until(condition: Callable[[], bool | Awaitable[bool]], what: str, timeout_s: float = 20) -> None:
    """`what` is read by people."""
    async with asyncio.timeout(timeout_s):
        while True:
            found = condition()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.05)


async def test_at_the_end_of_the_balance_the_session_ends_and_its_next_login_is_told_why(
    database: Database, tmp_path: Path
) -> None:
    async with bras_world(database, tmp_path) as (_, bras, world):
        await world.open(slice_=2 * MB, service=SERVICE)
        with pytest.raises(Rejected, match=re.escape(USED_UP)):
            await bras.login("anna")
        await top_up(world, 3 * MB, "1")
        session = await bras.login("anna", wait_for_start=True)
        session.downstream_octets += 4 * MB
        await bras.interim(session)
        await until(lambda: session.ended_at is not None, "the session is ended by a Disconnect")
        with pytest.raises(Rejected, match=re.escape(USED_UP)):
            await bras.login("anna")
        found = (await world.prepaid.show(SERVICE)).wallet
        assert (found.balance, found.reserved, found.overshoot >= MB) == (0, 0, True)


async def test_in_the_garden_a_top_up_opens_it_in_the_middle_of_the_session(database: Database, tmp_path: Path) -> None:
    async with bras_world(database, tmp_path) as (running, bras, world):
        await world.open(slice_=2 * MB, action=FinalAction.GARDEN, service=SERVICE)
        walled = await bras.login("anna", wait_for_start=True)
        assert profile(walled) == GARDEN_PROFILE, "nothing is left: the login ends in the garden, not in a refusal"
        await bras.logout("anna")
        await top_up(world, 3 * MB, "1")
        session = await bras.login("anna", wait_for_start=True)
        assert profile(session) == GOLD.name
        session.downstream_octets += 4 * MB
        await bras.interim(session)
        await until(lambda: profile(session) == GARDEN_PROFILE, "a CoA closes the garden around it")
        assert await running.room.subscribers.is_suspended(SERVICE)
        await top_up(world, 3 * MB, "2")
        await until(lambda: profile(session) == GOLD.name, "the top-up opens it, in the same session")
        assert session.ended_at is None
        assert not await running.room.subscribers.is_suspended(SERVICE)


async def test_a_session_of_a_balance_that_is_closed_is_ended_and_what_it_had_not_told_is_debited_first(
    database: Database, tmp_path: Path
) -> None:
    async with bras_world(database, tmp_path) as (_, bras, world):
        await world.open(slice_=10 * MB, service=SERVICE)
        await top_up(world, 8 * MB, "1")
        session = await bras.login("anna", wait_for_start=True)
        await until(lambda: has_begun(world), "its Start is counted")
        session.downstream_octets += 3 * MB
        async with database.begin() as conn:
            closed = await world.closing.begin_in(conn, SERVICE, pay_out=True, actor=ACTOR, reason="moves away")
        assert not closed
        await world.prepaid.follow()
        await until(lambda: session.ended_at is not None, "the session is ended by a Disconnect")
        await until(lambda: is_closed(world), "its Stop is counted, and the balance closed")
        # What it used between the request and its end costs nothing.
        left = (await world.prepaid.show(SERVICE)).wallet.balance
        assert 4 * MB < left < 8 * MB
        assert [c.service_id for c in await world.closing.unpaid()] == [SERVICE]
        again = await bras.login("anna")
        assert profile(again) == GOLD.name, "the service is prepaid no more"


async def has_begun(world: PrepaidWorld) -> bool:
    found = await world.prepaid.show(SERVICE)
    return any(s.session_key is not None for s in found.sessions)


async def is_closed(world: PrepaidWorld) -> bool:
    return (await world.prepaid.show(SERVICE)).wallet.closed_at is not None


async def top_up(world: PrepaidWorld, units: int, reference: str) -> None:
    async with world.database.begin() as conn:
        await world.prepaid.top_up_in(conn, SERVICE, units, 0, reference, actor=ACTOR)
    await world.prepaid.follow()


def profile(session: Any) -> str | None:
    mark = read_class(session.classes[0])
    return None if mark is None else mark.profile_name


# --- killed -9 ---


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_process_killed_at_the_commit_of_a_debit_debits_it_once(
    database: Database, tmp_path: Path, when: str
) -> None:
    world = PrepaidWorld(database, clock=SystemClock())
    try:
        await world.open(slice_=2 * MB)
        await world.top_up(10 * MB)
        await world.prepaid.reserve(KILLED, "line 1", NAS)
        await world.report("start")
        await world.report("interim", 3 * MB, count=False)
        url = database.url.render_as_string(hide_password=False)
        killed = zygote.start("tests.support.prepaid_child", url, when, output=tmp_path / "said")
        assert await asyncio.to_thread(killed.wait, 60) == -signal.SIGKILL, (tmp_path / "said").read_text()
        assert (await world.wallet()).balance == (10 if when == "before" else 7) * MB
        # What a restart does: read on, where it stands.
        await world.counter.catch_up()
        assert await world.amounts() == (7 * MB, 2 * MB, 0)
        await world.report("interim", 3 * MB)
        debits = [m.amount for m in await world.prepaid.movements(KILLED, before=None, limit=99) if m.amount < 0]
        assert debits == [-3 * MB]
    finally:
        await world.log.close()


async def test_processes_killed_while_a_balance_is_being_closed_leave_it_to_be_closed_with_all_that_was_used(
    database: Database, tmp_path: Path
) -> None:
    world = PrepaidWorld(database, clock=SystemClock())
    try:
        await world.open(slice_=2 * MB)
        await world.top_up(10 * MB)
        await world.prepaid.reserve(KILLED, "line 1", NAS)
        await world.report("start")
        await world.report("interim", MB)
        assert not await world.close(pay_out=True)
        await world.report("stop", MB, count=False)
        url = database.url.render_as_string(hide_password=False)
        for when in ("before", "after"):
            killed = zygote.start("tests.support.prepaid_child", url, when, output=tmp_path / "said")
            assert await asyncio.to_thread(killed.wait, 60) == -signal.SIGKILL, (tmp_path / "said").read_text()
            found = await world.prepaid.show(KILLED)
            assert (found.wallet.closed_at, found.closing is not None) == (None, True)
        await world.counter.catch_up()
        assert (await world.amounts(), (await world.wallet()).closed_at is not None) == ((9 * MB, 0, 0), True)
        assert [c.pay_out for c in await world.closing.unpaid()] == [True]
    finally:
        await world.log.close()
