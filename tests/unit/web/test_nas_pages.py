"""The forms of NAS over HTTP: every setting of the API is on them, and one that is sent as it came changes nothing."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2

from controller.store.engine import Database
from controller.web.office import nas
from radius.routes import NasIn, NasPatch, endpoints
from tests.support.radius import RunningRoom, running_room
from tests.support.site import PASSWORD, World


def hidden(page: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found is not None
    return found[1]


def filled(page: str) -> dict[str, str]:
    """What a browser would send of the form as it is shown."""
    values = {
        name: html.unescape(value)
        for name, value in re.findall(r'<input id="field-[^"]+" name="([^"]+)" value="([^"]*)"', page)
    }
    for name, options in re.findall(r'<select id="field-[^"]+" name="([^"]+)"[^>]*>(.*?)</select>', page, re.DOTALL):
        chosen = re.search(r'value="([^"]*)" selected', options) or re.search(r'value="([^"]*)"', options)
        assert chosen is not None
        values[name] = chosen[1]
    values |= {
        name: html.unescape(text)
        for name, text in re.findall(
            r'<textarea id="field-[^"]+" name="([^"]+)"[^>]*>(.*?)</textarea>', page, re.DOTALL
        )
    }
    return values


@asynccontextmanager
async def office(database: Database, directory: Path) -> AsyncIterator[tuple[httpx2.AsyncClient, RunningRoom]]:
    async with running_room(database, directory) as running:
        world = World(endpoints=lambda _database, _auth: endpoints(running.room.nas, running.room.sessions))
        transport = httpx2.ASGITransport(app=await world.build(database))
        async with httpx2.AsyncClient(transport=transport, base_url="https://headend.test") as client:
            token = hidden((await client.get("/login")).text)
            await client.post("/login", data={"name": "admin-user", "password": PASSWORD, "csrf_token": token})
            yield client, running


def test_the_forms_have_every_setting_of_the_api() -> None:
    assert {field.key for field in nas.REGISTER.fields} == NasIn.model_fields.keys() - {"enabled"}
    assert {field.key for field in nas.CHANGE} == NasPatch.model_fields.keys()


async def test_a_nas_is_registered_with_its_switches_and_shown(sqlite_database: Database, tmp_path: Path) -> None:
    async with office(sqlite_database, tmp_path) as (client, running):
        form = (await client.get("/nas/new")).text
        sent = filled(form) | {
            "name": "bng-2", "address": "198.51.100.0/24", "secret": "s3cret", "vendor": "huawei",
            "port_speed_bps": "2500", "disconnect_when_refused": "yes", "adds_ipv6_octets": "yes",
            "line_logins": "circuit, mac", "reply_attributes": "Framed-MTU = 1492\r\n", "csrf_token": hidden(form),
        }  # fmt: skip
        assert (await client.post("/nas/new", data=sent)).status_code == 303
        row = next(one for one in await running.room.nas.list(after=None, limit=9) if one.name == "bng-2")
        assert (row.vendor, row.port_speed_bps, row.line_logins) == ("huawei", 2_500_000_000, "circuit mac")
        assert (row.disconnect_when_refused, row.adds_ipv6_octets, row.swaps_octets) == (True, True, False)
        assert row.class_proves_speed, "left open, it is what is known of the vendor"
        page = (await client.get(f"/nas/{row.nas_id}")).text
        assert "Framed-MTU = 1492" in page
        assert "s3cret" not in page
        assert f'href="/nas/{row.nas_id}"' in (await client.get("/nas")).text
        assert "NAS checks" not in page
        assert (await client.get("/nas/weak")).status_code == 200, "no NAS is called weak"


async def test_a_form_sent_as_it_came_changes_nothing_and_an_emptied_field_takes_away(
    sqlite_database: Database, tmp_path: Path
) -> None:
    async with office(sqlite_database, tmp_path) as (client, running):
        (first,) = await running.room.nas.list(after=None, limit=9)
        template = {
            "reply_attributes": "Framed-MTU = 1492\nIdle-Timeout = 60", "line_logins": "port", "coa_over": "tls",
            "tls_identity": "dns:bras.example.net", "swaps_octets": "yes",
        }  # fmt: skip
        address = f"/nas/{first.nas_id}/change"

        async def send(**changed: str) -> httpx2.Response:
            form = (await client.get(address)).text
            return await client.post(address, data=filled(form) | changed | {"csrf_token": hidden(form)})

        assert (await send(**template)).status_code == 303
        changed = await running.room.nas.show(first.nas_id)
        assert (changed.swaps_octets, changed.tls_identity, changed.coa_over) == (True, "dns:bras.example.net", "tls")
        assert (await send()).status_code == 303
        again = await running.room.nas.show(first.nas_id)
        assert {**vars_of(again), "updated_at": None} == {**vars_of(changed), "updated_at": None}
        assert running.room.registry.by_address["127.0.0.1"].secret.value == b"testing123", "an empty secret is none"
        assert (await send(tls_identity="", coa_over="", line_logins="", reply_attributes="")).status_code == 303
        bare = await running.room.nas.show(first.nas_id)
        assert (bare.tls_identity, bare.coa_over, bare.line_logins, bare.reply_attributes) == (None, None, "", None)
        wrong = await send(reply_attributes="Framed-MTU 1492")
        assert wrong.status_code == 422
        assert "is no line such as Framed-MTU = 1492" in wrong.text


def vars_of(row: object) -> dict[str, object]:
    return {name: getattr(row, name) for name in row.__dataclass_fields__}  # type: ignore[attr-defined]
