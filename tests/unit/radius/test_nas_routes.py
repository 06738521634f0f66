"""The NAS registry over HTTP: a secret goes in and never comes out; Disconnect reports what the NAS said."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2

from controller.store.engine import Database
from radius.protocol.authenticator import SharedSecret
from radius.routes import endpoints
from tests.support.api import api_client
from tests.support.radius import RunningRoom, running_room

NEW = {"name": "bng-2", "address": "127.0.0.2", "secret": "s3cret", "vendor": "mikrotik", "coa_port": 3800}


@asynccontextmanager
async def api(database: Database, data_dir: Path) -> AsyncIterator[tuple[httpx2.AsyncClient, RunningRoom]]:
    async with running_room(database, data_dir) as running:
        routes = endpoints(running.room.nas, running.room.sessions)
        async with api_client(routes) as client:
            yield client, running


async def test_a_posted_nas_is_served_at_once_and_its_secret_is_not_shown(database: Database, tmp_path: Path) -> None:
    async with api(database, tmp_path) as (client, running):
        answer = await client.post("/nas", json=NEW)
        assert answer.status_code == 201
        assert "s3cret" not in answer.text
        known = running.room.registry.by_address["127.0.0.2"]
        assert (known.secret.value, known.coa_port, known.vendor) == (b"s3cret", 3800, "mikrotik")
        shown = (await client.get(f"/nas/{answer.json()['nas_id']}")).json()
        assert shown == answer.json()
        assert "secret" not in shown


async def test_a_patched_nas_keeps_what_is_not_named(database: Database, tmp_path: Path) -> None:
    async with api(database, tmp_path) as (client, running):
        nas_id = (await client.post("/nas", json=NEW)).json()["nas_id"]
        answer = await client.patch(f"/nas/{nas_id}", json={"secret": "other", "require_message_authenticator": True})
        assert answer.status_code == 200
        known = running.room.registry.by_address["127.0.0.2"]
        assert (known.secret.value, known.require_message_authenticator, known.coa_port) == (b"other", True, 3800)
        assert isinstance(known.secret, SharedSecret)


async def test_an_ipv4_address_written_as_ipv6_is_the_ipv4_address(database: Database, tmp_path: Path) -> None:
    async with api(database, tmp_path) as (client, running):
        answer = await client.post("/nas", json=NEW | {"address": "::ffff:127.0.0.2"})
        assert answer.json()["address"] == "127.0.0.2"
        assert "127.0.0.2" in running.room.registry.by_address


async def test_how_dynamic_requests_are_signed_and_what_proves_a_speed_is_set_for_each_nas(
    database: Database, tmp_path: Path
) -> None:
    async with api(database, tmp_path) as (client, running):
        made = (await client.post("/nas", json=NEW)).json()
        assert (made["sign_dynamic_requests"], made["class_proves_speed"]) == (False, True), "as known of RouterOS"
        strict = {"sign_dynamic_requests": True, "class_proves_speed": False, "missed_interims": 0}
        changed = (await client.patch(f"/nas/{made['nas_id']}", json=strict)).json()
        assert changed | strict == changed
        known = running.room.registry.by_address["127.0.0.2"]
        assert (known.sign_dynamic_requests, known.class_proves_speed) == (True, False)


async def test_pages_of_nas_join_without_gap(database: Database, tmp_path: Path) -> None:
    async with api(database, tmp_path) as (client, _):
        for number in range(4):
            await client.post("/nas", json=NEW | {"name": f"n{number}", "address": f"127.0.1.{number}"})
        names, after = [], None
        while True:
            page = (await client.get("/nas", params={"limit": 2} | ({"after": after} if after else {}))).json()
            names += [item["name"] for item in page["items"]]
            after = page["next"]
            if after is None:
                break
        assert names == ["bras", "n0", "n1", "n2", "n3"]


async def test_refusals_are_problems(database: Database, tmp_path: Path) -> None:
    async with api(database, tmp_path) as (client, _):
        await client.post("/nas", json=NEW)
        assert (await client.post("/nas", json=NEW)).status_code == 409
        assert (await client.post("/nas", json=NEW | {"address": "here", "name": "x"})).status_code == 422
        assert (await client.post("/nas", json=NEW | {"vendor": "nobody", "name": "x"})).status_code in (409, 422)
        assert (await client.post("/nas", json=NEW | {"unknown": 1})).status_code in (400, 422)
        assert (await client.get("/nas/none")).status_code == 404
        assert (await client.patch("/nas/none", json={})).status_code == 404
        assert (await client.post("/sessions/none/disconnect", json={})).status_code == 404


async def test_a_reader_may_not_register(database: Database, tmp_path: Path) -> None:
    async with running_room(database, tmp_path) as running:
        routes = endpoints(running.room.nas, running.room.sessions)
        async with api_client(routes, scopes={"radius:read"}) as client:
            assert (await client.get("/nas")).status_code == 200
            assert (await client.post("/nas", json=NEW)).status_code == 403


async def test_weak_nas_are_listed_and_a_rotation_shows_its_end_but_no_secret(
    database: Database, tmp_path: Path
) -> None:
    async with api(database, tmp_path) as (client, _):
        strong = NEW | {"require_message_authenticator": True, "secret": "sixteen octets and more"}
        nas_id = (await client.post("/nas", json=strong)).json()["nas_id"]
        listed = await client.get("/nas/weak")
        assert [row["name"] for row in listed.json()["items"]] == ["bras"], listed.text
        assert "CVE-2024-3596" in listed.json()["items"][0]["weaknesses"][1]
        changed = await client.patch(f"/nas/{nas_id}", json={"secret": "another of sixteen octets"})
        assert changed.json()["former_until"] is not None
        assert "another of" not in changed.text
        assert len((await client.get("/nas/weak")).json()["items"]) == 2, "two secrets are weaker than one"
        ended = await client.patch(
            f"/nas/{nas_id}", json={"secret": "the last, of sixteen octets", "secret_overlap_s": 0}
        )
        assert ended.json()["former_until"] is None
        mapped = await client.patch(f"/nas/{nas_id}", json={"tls_identity": "sha256:" + "AB:" * 31 + "AB"})
        assert mapped.json()["tls_identity"] == "sha256:" + "ab" * 32
        assert (await client.patch(f"/nas/{nas_id}", json={"tls_identity": ""})).json()["tls_identity"] is None


async def test_where_how_and_for_what_a_nas_is_asked_is_its_own_and_its_secret_for_that_stays_inside(
    database: Database, tmp_path: Path
) -> None:
    async with api(database, tmp_path) as (client, running):
        asked = {"coa_address": "192.0.2.77", "coa_secret": "the-server-key", "coa_takes": ["disconnect"]}
        made = await client.post("/nas", json=NEW | asked)
        nas_id = made.json()["nas_id"]
        assert "the-server-key" not in made.text
        known = await running.room.follower.nas(nas_id)
        assert known is not None
        assert known.coa_secret is not None
        assert (known.asked_at, known.coa_secret.value, known.coa_takes) == (
            "192.0.2.77", b"the-server-key", frozenset({"disconnect"}),
        )  # fmt: skip
        assert known.secret.value != b"the-server-key"
        for wrong in ({"coa_address": "bras.example"}, {"coa_takes": ["speed"]}, {"coa_over": "tls"}):
            assert (await client.patch(f"/nas/{nas_id}", json=wrong)).status_code in (409, 422), wrong
        again = await client.patch(f"/nas/{nas_id}", json={"coa_address": "", "coa_secret": ""})
        assert (again.status_code, again.json()["coa_address"]) == (200, None)
        known = await running.room.follower.nas(nas_id)
        assert known is not None
        assert (known.asked_at, known.coa_secret) == (known.address, None)
