"""GET /sessions: live and ended, found by the NAS's own id, service, user and state."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx2
import pytest
from sqlalchemy import insert

from controller.domain.identity import NasId
from controller.store.engine import Database
from radius.accounting.routes import endpoints, octets_meant, session_id_text
from radius.protocol.codes import Attr
from radius.protocol.packet import attribute
from radius.tables import nas_member
from tests.support.accounting import NAS, accounting
from tests.support.api import api_client
from tests.support.recorder import NOW, SERVICE, RecorderBench

T = int(NOW.timestamp())


@pytest.fixture
async def bench(database: Database) -> AsyncIterator[RecorderBench]:
    made = RecorderBench(database)
    yield made
    await made.stop()


@pytest.fixture
async def api(bench: RecorderBench) -> AsyncIterator[httpx2.AsyncClient]:
    async with api_client(endpoints(bench.sessions), scopes={"radius:read"}) as client:
        yield client


async def test_a_session_is_found_by_its_id_live_and_ended(bench: RecorderBench, api: httpx2.AsyncClient) -> None:
    await bench.send(accounting("start", b"8/0001", at=T))
    await bench.send(accounting("interim", b"8/0001", at=T + 300, seconds=300, up=7, down=5 << 30))
    (live,) = (await api.get("/sessions", params={"session_id": "8/0001"})).json()["items"]
    assert (live["state"], live["upstream_octets"], live["downstream_octets"]) == ("live", 7, 5 << 30)
    assert (live["username"], live["service_id"], live["ended_at"]) == ("anna", SERVICE, None)
    await bench.send(accounting("stop", b"8/0001", at=T + 400, seconds=400, up=9, down=6 << 30))
    (ended,) = (await api.get("/sessions", params={"session_id": "8/0001"})).json()["items"]
    assert (ended["state"], ended["upstream_octets"], ended["downstream_octets"]) == ("ended", 9, 6 << 30)
    assert ended["started_at"] == "2026-11-01T12:00:00Z"
    assert ended["ended_at"] == "2026-11-01T12:06:40Z"
    assert ended["session_key"] == live["session_key"]
    assert (await api.get(f"/sessions/{live['session_key']}")).json() == ended
    assert (await api.get("/sessions/" + "0" * 32)).status_code == 404


async def test_an_id_that_is_no_text_is_shown_and_found_in_hexadecimal(
    bench: RecorderBench, api: httpx2.AsyncClient
) -> None:
    await bench.send(accounting("start", b"\x00\xff\x01", at=T), accounting("start", b"00ff01", at=T))
    found = (await api.get("/sessions", params={"session_id": "00ff01"})).json()["items"]
    assert [row["session_id"] for row in found] == ["00ff01", "00ff01"]


async def test_sessions_are_chosen_by_service_user_and_state(bench: RecorderBench, api: httpx2.AsyncClient) -> None:
    await bench.send(
        accounting("start", b"a", at=T),
        accounting("start", b"b", at=T),
        accounting("stop", b"b", at=T + 5, seconds=5),
        accounting("start", b"c", at=T, user=b"berta"),
    )

    async def ids(**query: str) -> set[str]:
        return {row["session_id"] for row in (await api.get("/sessions", params=query)).json()["items"]}

    assert await ids() == {"a", "b", "c"}
    assert await ids(service_id=SERVICE) == {"a", "b"}
    assert await ids(username="berta") == {"c"}
    assert await ids(state="live") == {"a", "c"}
    assert await ids(state="ended", service_id=SERVICE) == {"b"}
    assert await ids(session_id="a", state="ended") == set()


async def test_sessions_are_chosen_by_nas_with_its_boxes_and_by_address(
    bench: RecorderBench, api: httpx2.AsyncClient
) -> None:
    network, box = replace(NAS, nas_id=NasId("c" * 32)), replace(NAS, nas_id=NasId("d" * 32))
    async with bench.database.begin() as conn:
        row = {"nas_id": box.nas_id, "network_id": network.nas_id, "address": "192.0.2.9", "names": b""}
        await conn.execute(insert(nas_member).values(**row, first_seen_at=NOW))
    delegated = attribute(Attr.DELEGATED_IPV6_PREFIX, b"\0\x38" + bytes.fromhex("20010db8aa0000"))
    framed = attribute(Attr.FRAMED_IP_ADDRESS, bytes((203, 0, 113, 7)))
    await bench.send(accounting("start", b"a", at=T, more=framed))
    await bench.send(accounting("start", b"b", at=T, more=delegated), nas=box)

    async def ids(**query: str) -> set[str]:
        return {row["session_id"] for row in (await api.get("/sessions", params=query)).json()["items"]}

    assert await ids(nas_id=NAS.nas_id) == {"a"}
    assert await ids(nas_id=network.nas_id) == await ids(nas_id=box.nas_id) == {"b"}
    assert await ids(address="203.0.113.7") == await ids(address="::ffff:203.0.113.7") == {"a"}
    assert await ids(address="2001:db8:aa00:7::1", state="live") == {"b"}
    assert await ids(address="2001:db8:ab::1") == set()
    assert (await api.get("/sessions", params={"address": "bng-1"})).status_code == 422


async def test_pages_follow_each_other_without_gap_or_repetition(bench: RecorderBench, api: httpx2.AsyncClient) -> None:
    await bench.send(*(accounting("start", b"s%d" % n, at=T) for n in range(7)))
    seen: list[str] = []
    query: dict[str, str] = {"limit": "3"}
    while True:
        page = (await api.get("/sessions", params=query)).json()
        seen += [row["session_id"] for row in page["items"]]
        if page["next"] is None:
            break
        query["after"] = page["next"]
    assert seen == [f"s{n}" for n in reversed(range(7))]


async def test_what_cannot_be_asked_is_refused(api: httpx2.AsyncClient) -> None:
    assert (await api.get("/sessions", params={"state": "sleeping"})).status_code in (400, 422)
    assert (await api.get("/sessions", params={"after": "nonsense"})).status_code == 400


def test_text_stands_for_itself_or_for_octets() -> None:
    assert session_id_text("sitzung-ä".encode()) == "sitzung-ä"
    assert session_id_text(b"line\n") == b"line\n".hex()
    for octets in (b"abc", b"\x00\x01", "é".encode(), b"\xff" * 253, b"beef"):
        assert octets in octets_meant(session_id_text(octets))
