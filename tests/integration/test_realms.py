"""Other people's realms: FreeRADIUS as home server behind us and as proxy in front; radclient and eapol_test ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.domain.ports import Secret
from controller.store.engine import Database
from radius.nas_registry import NasChange
from radius.proxy.settings import PoolSettings
from tests.support import freeradius
from tests.support.eapol import EAPOL_TEST, eapol_test, network
from tests.support.freeradius import FREERADIUS, SECRET, FreeRadius, home_server
from tests.support.ports import free_port
from tests.support.radclient import RADCLIENT, radclient
from tests.support.radius import EPHEMERAL, RunningRoom, running_room
from tests.support.until import until

pytestmark = pytest.mark.skipif(
    FREERADIUS is None or RADCLIENT is None, reason="apt-get install freeradius freeradius-utils"
)

USERS = """
bob@isp-b.example Cleartext-Password := "sesame"
    Framed-IP-Address = 192.0.2.7,
    Filter-Id = "theirs",
    Tunnel-Password:1 = "a tunnel's secret",
    Class = 0x6973702d62
"""
LOGIN = 'User-Name = "bob@isp-b.example"\nUser-Password = "sesame"\nCalling-Station-Id = "aa"\n'
START = 'User-Name = "bob@isp-b.example"\nAcct-Status-Type = Start\nAcct-Session-Id = "s-{}"\n'
QUICK = replace(EPHEMERAL, home_servers=PoolSettings(try_s=0.6, dead_after=2, check_s=0.2), refresh_s=0.2)


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    """SQLite alone: the queue is tested on both in tests/unit/radius/test_mirror.py."""
    return sqlite_database


async def ask(port: int, command: str, request: str, secret: str = "testing123") -> str:
    return await asyncio.to_thread(radclient, port, command, request, secret)


@asynccontextmanager
async def serving(
    database: Database, directory: Path, *homes: tuple[int, int], **realm: Any
) -> AsyncIterator[RunningRoom]:
    """A room that sends isp-b.example to `homes`, in this order."""
    async with running_room(database, directory, QUICK) as running:
        proxy = running.room.transports.proxy
        for priority, (auth_port, acct_port) in enumerate(homes):
            values = {
                "pool": "isp-b", "transport": "udp", "host": "127.0.0.1", "auth_port": auth_port,
                "acct_port": acct_port, "tls_identity": "", "priority": priority, "balanced": False,
                "status_checks": True, "require_message_authenticator": False, "enabled": True,
            }  # fmt: skip
            await proxy.put_server(f"home-{priority}", values, Secret(SECRET), actor="test")
        values = {"pool": "isp-b", "accounting": "mirror", "strips": False, "request_drops": [], "reply_allows": None}
        await proxy.put_realm("isp-b.example", values | realm, actor="test")
        task = asyncio.create_task(running.room.run())
        try:
            yield running
        finally:
            task.cancel()
            await asyncio.wait([task])


def ports(home: FreeRadius) -> tuple[int, int]:
    return home.auth_port, home.acct_port


async def test_two_isps_on_one_bng_are_told_apart_by_realm(database: Database, tmp_path: Path) -> None:
    async with home_server(tmp_path / "home", USERS) as home, serving(database, tmp_path, ports(home)) as running:
        port = running.room.listener.auth_port
        theirs = await ask(port, "auth", LOGIN + "Proxy-State = 0x0102\n")
        assert "Received Access-Accept" in theirs, theirs + home.log
        assert "Framed-IP-Address = 192.0.2.7" in theirs
        assert "Class = 0x6973702d62" in theirs
        assert theirs.split("Received")[1].count("Proxy-State") == 1, "the NAS's own, and not ours"
        assert 'Tunnel-Password:1 = "a tunnel\'s secret"' in theirs, "hidden anew under the NAS's secret"
        assert "Access-Reject" in await ask(port, "auth", LOGIN.replace("sesame", "wrong"))
        ours = await ask(port, "auth", 'User-Name = "anna"\nUser-Password = "hunter2"\n')
        assert "Framed-IP-Address = 100.64.0.7" in ours
        chap = LOGIN.replace("User-Password", "CHAP-Password")
        assert "Access-Accept" in await ask(port, "auth", chap), "its challenge went along"


async def test_of_a_reply_only_what_is_allowed_reaches_the_nas(database: Database, tmp_path: Path) -> None:
    allows = {"reply_allows": ["Framed-IP-Address", "Class"]}
    async with (
        home_server(tmp_path / "home", USERS) as home,
        serving(database, tmp_path, ports(home), **allows) as running,
    ):
        answer = await ask(running.room.listener.auth_port, "auth", LOGIN)
        assert "Framed-IP-Address = 192.0.2.7" in answer
        assert "Filter-Id" not in answer


@pytest.mark.skipif(EAPOL_TEST is None, reason="apt-get install eapoltest")
async def test_peap_passes_through_and_its_keys_arrive(database: Database, tmp_path: Path) -> None:
    async with home_server(tmp_path / "home", USERS) as home, serving(database, tmp_path, ports(home)) as running:
        block = network("PEAP", "bob@isp-b.example", password="sesame", phase2="auth=MSCHAPV2",
                        ca_cert=str(tmp_path / "home" / "ca.pem"))  # fmt: skip
        outcome = await eapol_test(tmp_path, running.room.listener.auth_port, block, timeout_s=15)
        assert outcome.accepted, outcome.output[-1500:] + home.log[-1500:]
        assert outcome.keys_match


async def test_the_next_server_is_asked_and_a_dead_one_comes_back(database: Database, tmp_path: Path) -> None:
    first = (free_port(), free_port())
    async with (
        home_server(tmp_path / "second", USERS) as second,
        serving(database, tmp_path, first, ports(second)) as running,
    ):
        port, health = running.room.listener.auth_port, running.room.transports.proxy.health
        for _ in range(2):
            assert "Access-Accept" in await ask(port, "auth", LOGIN)
        assert not health()["home-0"].health.is_alive
        async with home_server(tmp_path / "first", USERS, ports=first):
            await until(lambda: health()["home-0"].health.is_alive)
            answered = health()["home-0"].health.answered
            assert "Access-Accept" in await ask(port, "auth", LOGIN)
            assert health()["home-0"].health.answered > answered


async def test_accounting_is_answered_while_the_home_server_is_away_and_reaches_it_later(
    database: Database, tmp_path: Path, on_disk: Path
) -> None:
    away = (free_port(), free_port())
    async with serving(database, tmp_path, away) as running:
        port = running.room.listener.acct_port
        for number in range(5):
            assert "Accounting-Response" in await ask(port, "acct", START.format(number))
        assert len(running.recorder.packets) == 5, "and in our own sessions"
        [(count, _)] = (await running.room.transports.proxy.backlog()).values()
        assert count == 5
        async with home_server(on_disk / "home", USERS, ports=away) as home:
            await until(lambda: home.detail.count("Acct-Session-Id") == 5, 30)
            assert all(f's-{number}"' in home.detail for number in range(5))

            proxy = running.room.transports.proxy

            async def drained() -> None:
                while True:
                    if not await proxy.backlog():
                        return
                    await asyncio.sleep(0.05)

            await asyncio.wait_for(drained(), 10)


async def test_a_request_that_comes_back_to_us_is_refused(database: Database, tmp_path: Path) -> None:
    async with serving(database, tmp_path, (1, 1)) as running:
        room = running.room
        back = {
            "pool": "isp-b", "transport": "udp", "host": "127.0.0.1", "auth_port": room.listener.auth_port,
            "acct_port": room.listener.acct_port, "tls_identity": "", "priority": 0, "balanced": False,
            "status_checks": True, "require_message_authenticator": False, "enabled": True,
        }  # fmt: skip
        await room.transports.proxy.put_server("home-0", back, Secret("testing123"), actor="test")
        assert "Access-Reject" in await ask(room.listener.auth_port, "auth", LOGIN)
        await ask(room.listener.acct_port, "acct", START.format(1))
        await until(lambda: room.counters.total("loop") >= 1)
        assert len(running.recorder.packets) == 1, "what came back was not recorded twice"


async def test_freeradius_in_front_of_us_brings_its_users_and_their_accounting(
    database: Database, tmp_path: Path
) -> None:
    async with running_room(database, tmp_path) as running:
        room = running.room
        [nas] = await room.nas.list(after=None, limit=2)
        await room.nas.change(nas.nas_id, NasChange(secret=Secret(SECRET), secret_overlap_s=0), actor="test")
        await room.subscribers.put_subscriber(
            service_id="0190a1b2c3d47e5f8a9b0c1d2e3f4a5c", username="carl@headend.example", password=Secret("sesame"),
            profile=room.directory.find(b"anna").plan.profile, framed_ipv4="100.64.0.8", enabled=True, actor="test",
        )  # fmt: skip
        listener = room.listener
        async with freeradius.proxy(
            tmp_path / "proxy", listener.auth_port, listener.acct_port, client_secret="of-the-nas"
        ) as front:
            name = 'User-Name = "carl@headend.example"\n'
            answer = await ask(front.auth_port, "auth", name + 'User-Password = "sesame"\n', "of-the-nas")
            assert "Access-Accept" in answer, answer + front.log
            assert "Framed-IP-Address = 100.64.0.8" in answer
            record = name + 'Acct-Status-Type = Start\nAcct-Session-Id = "s"\n'
            assert "Accounting-Response" in await ask(front.acct_port, "acct", record, "of-the-nas")
        assert len(running.recorder.packets) == 1
