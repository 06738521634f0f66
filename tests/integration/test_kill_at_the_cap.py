"""kill -9 of `headend serve` between reaching the cap and the CoA: it is sent once, and a re-login stays throttled.

    Interim over the cap ─ step committed ─ KILLED ─ started again ─ CoA ─ ACK ─ Interim ─ proved ─ Stop, login: slow

The NAS opens its CoA port after the kill only, so nothing that was asked before has reached it.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import text

from controller.domain.clock import SystemClock
from controller.domain.ports import Secret
from controller.store import secrets
from controller.store.engine import Database
from lab.bras.client import NoAnswer
from lab.bras.nas import Bras, BrasSettings, Rejected
from lab.bras.session import Line
from lab.clock import now
from radius.authorization.directory import Directory
from radius.follower import Follower, Registry
from radius.subscribers import SubscriberService
from tests.support.killing import TOKEN, Controller, wait_for
from tests.support.radius import GOLD, SECRET, SERVICE

MB = 1_000_000
ALLOWANCE = {
    "octets": 2 * MB, "period": "month",
    "steps": [{"beyond_octets": 0, "speed": {"name": "slow", "downstream_bps": 2 * MB, "upstream_bps": MB}}],
}  # fmt: skip
CHANGES = "SELECT kind, state FROM radius_change ORDER BY change_id"


def bras_at(controller: Controller, directory: Path, coa_port: int = 0) -> Bras:
    """The BRAS as its state file has it; without a `coa_port` nobody reaches it."""
    settings = BrasSettings(
        "127.0.0.2", SECRET, ("127.0.0.1", controller.auth_port), ("127.0.0.1", controller.acct_port),
        directory / "bras.json", coa_port=coa_port, reports_rate=True,
    )  # fmt: skip
    made = Bras(settings, [Line("anna", "hunter2", "02:00:00:00:00:01", 1, "e1")], now)
    made.bind()
    return made


async def put_anna(database: Database, directory: Path) -> None:
    box = secrets.load_or_create(directory / "data" / "headend.key")
    follower = Follower(database, box, Registry(), Directory())
    await SubscriberService(database, SystemClock(), box, follower).put_subscriber(
        service_id=SERVICE, username="anna", password=Secret("hunter2"), profile=GOLD, framed_ipv4=None, enabled=True,
        actor="test",
    )  # fmt: skip


async def rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    async with database.read() as conn:
        return [tuple(row) for row in await conn.execute(text(query))]


async def until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + 40
    while not await condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.002)


def healthy(api: httpx2.Client) -> bool:
    try:
        return api.get("/healthz").status_code == 200
    except httpx2.TransportError:
        return False


async def test_a_controller_killed_at_the_cap_sends_the_coa_once_and_the_re_login_stays_throttled(
    tmp_path: Path,
) -> None:
    controller = Controller(tmp_path, "")
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/data/headend.db")
    nobody = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    nobody.bind(("127.0.0.2", 0))
    coa_port = nobody.getsockname()[1]
    headers = {"Authorization": f"Bearer {TOKEN}"}
    api = httpx2.Client(base_url=f"http://127.0.0.1:{controller.http_port}", headers=headers, trust_env=False)
    bras: Bras | None = None
    try:
        controller.start()
        wait_for(lambda: healthy(api), "the controller is ready")
        nas = {"name": "bras", "address": "127.0.0.2", "secret": SECRET.decode(), "vendor": "mikrotik"}
        assert api.post("/api/v1/nas", json=nas | {"coa_port": coa_port}).status_code == 201
        await put_anna(database, tmp_path)
        assert api.put(f"/api/v1/services/{SERVICE}/allowance", json=ALLOWANCE).status_code == 200
        bras = bras_at(controller, tmp_path)
        session = await logged_in(bras)
        assert session.downstream_bps == GOLD.downstream_bps
        session.downstream_octets += 3 * MB
        await bras.interim(session)

        async def stepped() -> bool:
            return await rows(database, "SELECT step FROM radius_quota") == [(1,)]

        await until(stepped, "the cap is reached")
        controller.kill()
        await bras.close()
        assert await rows(database, "SELECT count(*) FROM radius_change WHERE last_result = 'ack'") == [(0,)]

        nobody.close()
        bras = bras_at(controller, tmp_path, coa_port)
        asked = count_requests(bras)
        session = bras.session_of("anna")
        assert session is not None
        assert session.downstream_bps == GOLD.downstream_bps
        controller.start()

        async def throttled() -> bool:
            return session.downstream_bps == 2 * MB

        await until(throttled, "the CoA arrives")

        async def proved() -> bool:
            await bras.interim(session)
            return await rows(database, CHANGES) == [("speed", "proved")]

        await until(proved, "accounting shows the new speed")
        assert len(asked) == 1, "the CoA was sent once"
        await bras.logout("anna")
        session = await logged_in(bras)
        assert (session.downstream_bps, session.upstream_bps) == (2 * MB, MB)
        assert await rows(database, CHANGES) == [("speed", "proved")]
        (taken,) = api.get("/api/v1/radius/fair-use-steps").json()["items"]
        assert (taken["step"], taken["overshoot_octets"] >= MB) == (1, True)
    finally:
        nobody.close()
        if bras is not None:
            await bras.close()
        api.close()
        controller.close()
        await database.close()


async def logged_in(bras: Bras) -> Any:
    """A subscriber that was made by another process is known to the controller within a second: dial until then."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return await bras.login("anna", wait_for_start=True)
        except (Rejected, NoAnswer):
            assert time.monotonic() < deadline, "anna signs in"
            await asyncio.sleep(0.1)


def count_requests(bras: Bras) -> set[bytes]:
    """The authenticators of all requests that reach the BRAS: a repetition of one bears the same."""
    seen: set[bytes] = set()
    handle = bras.dynauth.handle

    def counting(datagram: bytes, source: tuple[str, int], at: Any) -> bytes | None:
        seen.add(datagram[4:20])
        return handle(datagram, source, at)

    bras.dynauth.handle = counting  # type: ignore[method-assign]
    return seen
