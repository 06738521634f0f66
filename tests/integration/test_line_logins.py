"""Lines over HTTP and on the wire: a service is given its lines, and radclient, as an IPoE NAS, logs them in."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from controller.store.engine import Database
from radius import login_routes, routes
from tests.support.api import api_client
from tests.support.radclient import MISSING, radclient
from tests.support.radius import SECRET, SERVICE, RunningRoom, running_room

needs_radclient = pytest.mark.skipif(shutil.which("radclient") is None, reason=MISSING)
LINES = f"/services/{SERVICE}/lines"
MAC = {"kind": "mac", "value": "0c:42:a1:00:ff:07", "nas_id": None}
CIRCUIT = {"kind": "circuit", "value": "olt-1/1/1/4:0.100", "nas_id": None}


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    """SQLite alone: rows of either database are tested in tests/unit/radius/test_logins.py."""
    return sqlite_database


@asynccontextmanager
async def api(database: Database, data_dir: Path) -> AsyncIterator[tuple[httpx2.AsyncClient, RunningRoom]]:
    async with running_room(database, data_dir) as running:
        room = running.room
        logins = login_routes.endpoints(room.passwords, room.lines, room.subscribers)
        both = [*routes.endpoints(room.nas, room.sessions), *logins]
        async with api_client(both) as client:
            yield client, running


async def ask(running: RunningRoom, request: str, secret: str = SECRET.decode()) -> str:
    return await asyncio.to_thread(radclient, running.room.listener.auth_port, "auth", request, secret)


@needs_radclient
async def test_a_mac_and_a_circuit_log_in_where_the_nas_may_name_them(database: Database, tmp_path: Path) -> None:
    async with api(database, tmp_path) as (client, running):
        put = await client.put(LINES, json={"lines": [MAC, CIRCUIT]})
        assert put.status_code == 200, put.text
        assert put.json() == (await client.get(LINES)).json()
        by_mac = (
            'User-Name = "0C-42-A1-00-FF-07"\nUser-Password = "0c42a100ff07"\nCalling-Station-Id = "0c42.a100.ff07"\n'
            "NAS-Port-Type = Ethernet\n"
        )
        by_circuit = 'User-Name = "ipoe"\nADSL-Agent-Circuit-Id = "olt-1/1/1/4:0.100"\nMessage-Authenticator = 0x00\n'
        for request in (by_mac, by_circuit):
            assert "Received Access-Reject" in await ask(running, request), "no NAS may, until it is said"
        [nas] = (await client.get("/nas")).json()["items"]
        changed = await client.patch(f"/nas/{nas['nas_id']}", json={"line_logins": ["mac", "circuit"]})
        assert changed.json()["line_logins"] == ["circuit", "mac"]
        for request in (by_mac, by_circuit):
            answer = await ask(running, request)
            assert "Received Access-Accept" in answer, answer
            assert 'User-Name = "anna"' in answer.split("Received Access-Accept")[1]
            assert 'Mikrotik-Rate-Limit = "20M/100M"' in answer
        wrong = by_mac.replace("ff07", "ff08").replace("FF-07", "FF-08")
        assert "Received Access-Reject" in await ask(running, wrong)
        assert "Received Access-Accept" not in await ask(running, by_circuit, "wrong")


async def test_lines_and_forms_that_cannot_be_are_told_so(database: Database, tmp_path: Path) -> None:
    async with api(database, tmp_path) as (client, _):
        for wrong in (
            MAC | {"value": "0c:42"},
            CIRCUIT | {"value": "0x0g"},
            {"kind": "port", "value": "ether5"},
            {"kind": "dlci", "value": "1"},
        ):
            assert 400 <= (await client.put(LINES, json={"lines": [wrong]})).status_code < 500
        assert (await client.get("/services/nobody/lines")).status_code == 404
        assert (await client.put(LINES, json={"lines": [CIRCUIT | {"value": "0x00ff"}]})).json() == {
            "lines": [CIRCUIT | {"value": "0x00ff"}]
        }
        password = f"/services/{SERVICE}/password"
        assert (await client.patch(password, json={"form": "nt"})).status_code == 204
        refused = await client.patch(password, json={"form": "clear"})
        assert 400 <= refused.status_code < 500
        assert "set the password anew" in refused.text
        assert (await client.patch(password, json={"form": "md5"})).status_code in (400, 422)


@needs_radclient
async def test_a_password_that_must_be_changed_is_error_648_to_ms_chap(database: Database, tmp_path: Path) -> None:
    async with api(database, tmp_path) as (client, running):
        await client.patch(f"/services/{SERVICE}/password", json={"expired": True, "form": "nt"})
        answer = await ask(running, 'User-Name = "anna"\nMS-CHAP-Password = "hunter2"\n')
        assert "Received Access-Reject" in answer
        assert "E=648 R=0" in answer
        await client.patch(f"/services/{SERVICE}/password", json={"expired": False})
        answer = await ask(running, 'User-Name = "anna"\nMS-CHAP-Password = "hunter2"\n')
        assert "Received Access-Accept" in answer
