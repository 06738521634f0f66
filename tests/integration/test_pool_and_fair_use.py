"""Pools and fair use on the lab's BRAS, over UDP and HTTP; and with processes that are killed in the worst moment."""

from __future__ import annotations

import asyncio
import json
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import text

from controller.domain.allowance import Allowance, FairUseStep, PeriodKind
from controller.domain.clock import SystemClock
from controller.domain.identity import ServiceId
from controller.domain.service import SpeedProfile
from controller.store.engine import Database
from lab.bras.nas import Bras, BrasSettings, Rejected
from lab.bras.session import Line, Session
from lab.clock import now
from radius import access_routes
from radius.authorization.directory import Directory
from radius.dynamic.model import State
from radius.dynamic.repository import Asked
from radius.follower import Follower, Registry
from radius.pools import routes as pool_routes
from radius.pools.service import PoolService, PoolState
from radius.quota import routes as quota_routes
from radius.room import RadiusRoom
from tests.support import zygote
from tests.support.api import api_client
from tests.support.radius import GOLD, SECRET, SERVICE, RecordingRoom, put_login, recording_room, register, secret_box

ROOT = Path(__file__).parents[2]
MB = 1_000_000
STEPS = [{"beyond_octets": 0, "speed": {"name": "slow", "downstream_bps": 2 * MB, "upstream_bps": MB}}]
SLOW = SpeedProfile("slow", 2 * MB, MB)


@asynccontextmanager
async def bras_world(
    database: Database, directory: Path, lines: Sequence[str] = ("anna",), *, runs: bool = True
) -> AsyncIterator[tuple[RecordingRoom, Bras, httpx2.AsyncClient]]:
    """A room whose tasks run, the lab's BRAS before it, and its API; nobody has an address of his own."""
    async with recording_room(database, directory) as running:
        room = running.room
        macs = [f"02:00:00:00:{n // 256:02x}:{n % 256:02x}" for n in range(len(lines))]
        made = [Line(name, "hunter2", macs[n], n, f"e{n}") for n, name in enumerate(lines)]
        settings = BrasSettings(
            "127.0.0.2", SECRET, ("127.0.0.1", room.listener.auth_port), ("127.0.0.1", room.listener.acct_port),
            directory / "bras.json", reports_rate=True,
        )  # fmt: skip
        bras = Bras(settings, made, now)
        bras.bind()
        background = asyncio.create_task(room.run() if runs else asyncio.sleep(0))
        every = [
            *pool_routes.endpoints(room.pools),
            *quota_routes.endpoints(room.quota, "Europe/Berlin"),
            *access_routes.endpoints(room.access),
        ]
        try:
            await register(room, address="127.0.0.2", vendor="mikrotik", coa_port=bras.coa_port)
            for n, name in enumerate(lines):
                await put_login(room, name, SERVICE if name == "anna" else ServiceId(f"{n:032x}"))
            async with api_client(every) as client:
                yield running, bras, client
        finally:
            await bras.close()
            background.cancel()
            await asyncio.wait([background])


async def until(condition: Callable[[], Coroutine[Any, Any, Any]], what: str, timeout_s: float = 10) -> Any:
    """`what` is read by people."""
    async with asyncio.timeout(timeout_s):
        while not (found := await condition()):  # noqa: ASYNC110 - the condition is a NAS's, or a row's
            await asyncio.sleep(0.05)
    return found


async def create_pool(client: httpx2.AsyncClient, ranges: str) -> str:
    answer = await client.post("/radius/pools", json={"name": "homes", "kind": "ipv4", "ranges": [ranges]})
    assert answer.status_code == 201, answer.text
    assert (await client.put(f"/radius/offerings/{GOLD.name}", json={"pool": "homes"})).status_code == 200
    return str(answer.json()["pool_id"])


async def test_a_line_gets_an_address_of_the_pool_keeps_it_and_another_is_refused_in_words(
    database: Database, tmp_path: Path
) -> None:
    async with bras_world(database, tmp_path, ["anna", "berta"]) as (running, bras, client):
        pool_id = await create_pool(client, "192.0.2.1-192.0.2.1")

        async def pool() -> Any:
            return (await client.get(f"/radius/pools/{pool_id}")).json()

        session = await bras.login("anna", wait_for_start=True)
        assert session.framed_ip == "192.0.2.1"
        await until(lambda: states(client, pool_id, "leased"), "the Start commits the lease")
        found = await pool()
        assert (found["size"], found["leased"], found["utilisation"]) == (1, 1, 1.0)
        with pytest.raises(Rejected):
            await bras.login("berta")
        assert running.room.counters.total("reject") == 1
        await bras.logout("anna")
        await until(lambda: states(client, pool_id, "free"), "the Stop frees it")
        assert (await bras.login("berta", wait_for_start=True)).framed_ip == "192.0.2.1"
        assert (await client.delete(f"/radius/pools/{pool_id}")).status_code == 409
        taken = await client.post("/radius/pools", json={"name": "x", "kind": "ipv4", "ranges": ["192.0.2.0/25"]})
        assert (taken.status_code, "belongs to pool 'homes'" in taken.json()["detail"]) == (409, True)


async def states(client: httpx2.AsyncClient, pool_id: str, state: str) -> list[Any]:
    found: list[Any] = (await client.get(f"/radius/pools/{pool_id}/leases", params={"state": state})).json()["items"]
    return found


async def test_200_lines_dial_at_once_and_a_25_gives_126_of_them_an_address(
    sqlite_database: Database, tmp_path: Path
) -> None:
    """The whole way over UDP, on SQLite; two processes on PostgreSQL below."""
    names = [f"line-{n}" for n in range(200)]
    async with bras_world(sqlite_database, tmp_path, names) as (_, bras, client):
        await create_pool(client, "192.0.2.0/25")
        answers = await asyncio.gather(*(bras.login(name) for name in names), return_exceptions=True)
        given = [answer.framed_ip for answer in answers if isinstance(answer, Session)]
        assert (len(given), len(set(given))) == (126, 126)
        assert sum(isinstance(answer, Rejected) for answer in answers) == 74


async def test_fair_use_throttles_the_bras_and_a_top_up_frees_it_in_the_middle_of_a_session(
    database: Database, tmp_path: Path
) -> None:
    async with bras_world(database, tmp_path) as (running, bras, client):
        body = {"octets": 2 * MB, "period": "month", "steps": STEPS}
        assert (await client.put(f"/services/{SERVICE}/allowance", json=body)).status_code == 200
        session = await bras.login("anna", wait_for_start=True)
        assert session.downstream_bps == GOLD.downstream_bps
        session.downstream_octets += 3 * MB
        await bras.interim(session)

        async def speed(bps: int) -> bool:
            return session.downstream_bps == bps

        await until(lambda: speed(SLOW.downstream_bps), "the CoA throttles the session")
        await bras.logout("anna")
        session = await bras.login("anna", wait_for_start=True)
        assert (session.downstream_bps, session.upstream_bps) == (SLOW.downstream_bps, SLOW.upstream_bps)
        quota = (await client.get(f"/services/{SERVICE}/allowance")).json()
        assert (quota["step"], quota["counted_octets"] >= 3 * MB, quota["overshoot_octets"] >= MB) == (1, True, True)

        top_up = {"octets": 500 * MB, "reference": "order 7"}
        assert (await client.post(f"/services/{SERVICE}/top-ups", json=top_up)).json()["step"] == 0
        await until(lambda: speed(GOLD.downstream_bps), "the top-up frees the session")
        steps = (await client.get("/radius/fair-use-steps", params={"service_id": SERVICE})).json()["items"]
        assert [step["step"] for step in steps] == [0, 1]
        assert steps[1]["overshoot_octets"] >= MB

        async def proved() -> bool:
            await bras.interim(session)
            newest = (await running.room.sessions.changes.page(Asked(service_id=SERVICE), before=None, limit=1))[0]
            return newest.state is State.PROVED

        await until(proved, "the BRAS is seen to run at full speed", timeout_s=30)
        refused = await client.put(f"/services/{SERVICE}/allowance", json=body | {"zone": "Mars/Olympus"})
        assert (refused.status_code, "no time zone" in refused.json()["detail"]) == (422, True)


# --- killed -9 ---


def url(database: Database) -> str:
    return database.url.render_as_string(hide_password=False)


async def pool_of(database: Database, directory: Path, hold_s: int = 60) -> tuple[PoolService, PoolState]:
    follower = Follower(database, secret_box(directory), Registry(), Directory())
    service = PoolService(database, SystemClock(), follower)
    made = await service.create(
        name="homes", kind="ipv4", ranges=["192.0.2.0/25"], prefix_length=32, hold_s=hold_s, actor="user:test"
    )
    return service, made


async def answers_of(directory: Path, *arguments: tuple[str, ...], dies: bool = False) -> list[Any]:
    """Have processes ask that all begin at once, and wait for what they say."""
    turn = Path(tempfile.mkdtemp(dir=directory))
    processes = [
        zygote.start("tests.support.pool_child", *each, str(turn / "begin"), *["die"] * dies, output=turn / f"{n}")
        for n, each in enumerate(arguments)
    ]
    for process in processes:
        await asyncio.to_thread(process.until_printed, "ready")
    (turn / "begin").touch()
    for process in processes:
        assert await asyncio.to_thread(process.wait, 60) == (-signal.SIGKILL if dies else 0)
    return [answer for process in processes for answer in json.loads(process.output.read_text().splitlines()[-1])]


async def test_a8_two_processes_give_200_logins_126_addresses_and_none_twice(
    database: Database, tmp_path: Path
) -> None:
    service, made = await pool_of(database, tmp_path)
    pool_id = made.pool.pool_id
    answers = await answers_of(tmp_path, *((url(database), pool_id, first, "100") for first in ("1", "101")))
    given = [answer for answer in answers if isinstance(answer, str)]
    assert (len(given), len(set(given))) == (126, 126)
    refused = [answer[0] for answer in answers if not isinstance(answer, str)]
    assert ["is exhausted" in said for said in refused] == [True] * 74
    state = await service.show(pool_id)
    assert (state.held, state.free) == (126, 0)


async def test_a_process_killed_between_hold_and_start_loses_nothing_for_ever(
    database: Database, tmp_path: Path
) -> None:
    service, made = await pool_of(database, tmp_path, hold_s=1)
    asked = (url(database), made.pool.pool_id)
    assert len(set(await answers_of(tmp_path, (*asked, "1", "126"), dies=True))) == 126
    assert (await service.show(made.pool.pool_id)).held == 126, "what was answered is on disk"

    async def all_are_given_again() -> bool:
        again = await answers_of(tmp_path, (*asked, "1001", "126"))
        return len([answer for answer in again if isinstance(answer, str)]) == 126

    await until(all_are_given_again, "the holds run out", timeout_s=30)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_process_killed_as_the_cap_is_reached_leaves_one_coa_to_be_sent_and_the_re_login_throttled(
    database: Database, tmp_path: Path, when: str
) -> None:
    async with bras_world(database, tmp_path, runs=False) as (running, bras, _):
        room = running.room
        allowance = Allowance(2 * MB, PeriodKind.MONTH, (FairUseStep(0, SLOW),), "Europe/Berlin")
        await room.quota.put_allowance(SERVICE, allowance, actor="user:test")
        session = await bras.login("anna", wait_for_start=True)
        session.downstream_octets += 3 * MB
        await bras.interim(session)
        killed = zygote.start("tests.support.quota_child", url(database), when, output=tmp_path / "said")
        assert await asyncio.to_thread(killed.wait, 60) == -signal.SIGKILL
        async with database.read() as conn:
            changes = await conn.scalar(text("SELECT count(*) FROM radius_change"))
        assert changes == (1 if when == "after" else 0)
        assert session.downstream_bps == GOLD.downstream_bps
        # What a restart does: read what there is, and count on.
        await room.quota_counter.catch_up()
        await room.follower.refresh()
        assert profile_of_re_login(room) == SLOW.name
        await room.sessions.changes.work()
        assert session.downstream_bps == SLOW.downstream_bps
        changed = await room.sessions.changes.page(Asked(service_id=SERVICE), before=None, limit=9)
        assert [(change.state, change.tries) for change in changed] == [(State.ACKNOWLEDGED, 1)]


def profile_of_re_login(room: RadiusRoom) -> str:
    found = room.directory.find(b"anna")
    assert found is not None
    return found.plan.speed.name
