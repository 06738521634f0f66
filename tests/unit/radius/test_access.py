"""What services and offerings are given, over HTTP and in the next login; suspension as a NAS sees it."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from controller.domain.identity import ServiceId
from controller.domain.ports import Secret
from controller.domain.service import SpeedProfile
from controller.store.engine import Database
from radius import access_routes, repository, routes
from radius.authorization import throttle
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import (
    ACCESS_ACCEPT,
    ACCESS_REJECT,
    ACCOUNTING_REQUEST,
    COA_ACK,
    COA_REQUEST,
    DISCONNECT_ACK,
    DISCONNECT_REQUEST,
    Attr,
)
from radius.protocol.packet import Packet, attribute, integer_attribute
from radius.vendors.mark import read_class
from radius.vendors.terms import GARDEN_PROFILE
from tests.support.api import api_client
from tests.support.radius import GOLD, SECRET, SERVICE, RecordingRoom, recording_room, register
from tests.support.vendor_replies import lines_of

SHARED = SharedSecret(SECRET)
OTHER = ServiceId("0190a1b2c3d47e5f8a9b0c1d2e3f4a5c")
MAC = attribute(Attr.CALLING_STATION_ID, b"02-00-00-00-00-01")

_TAKEN = {COA_REQUEST: COA_ACK, DISCONNECT_REQUEST: DISCONNECT_ACK}


@dataclass
class Bras(asyncio.DatagramProtocol):
    """A NAS on one socket: logs in, accounts, and takes every CoA and Disconnect."""

    ports: tuple[int, int]
    changes: list[Packet] = field(default_factory=list)
    answers: asyncio.Queue[Packet] = field(default_factory=asyncio.Queue)
    _identifier: int = 0

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        packet = Packet.decode(data)
        if packet.code not in _TAKEN:
            self.answers.put_nowait(packet)
            return
        SHARED.check_request_authenticator(packet)
        self.changes.append(packet)
        self._transport.sendto(SHARED.response(_TAKEN[packet.code], packet, b"", signed=False), addr)

    async def login(self, more: bytes = MAC) -> Packet:
        self._identifier += 1
        authenticator = bytes([self._identifier]) * 16
        body = attribute(1, b"anna") + attribute(2, SHARED.hide(b"hunter2", authenticator)) + more
        self._transport.sendto(SHARED.access_request(self._identifier, authenticator, body), self._to(0))
        return await asyncio.wait_for(self.answers.get(), 5)

    async def account(self, status: int, given: bytes, seconds: int = 0, session: bytes = b"s1") -> None:
        self._identifier += 1
        body = attribute(44, session) + integer_attribute(Attr.ACCT_STATUS_TYPE, status) + attribute(1, b"anna") + MAC
        body += integer_attribute(Attr.ACCT_SESSION_TIME, seconds)
        body += integer_attribute(Attr.EVENT_TIMESTAMP, int(time.time())) + attribute(Attr.CLASS, given)
        datagram = SHARED.request(ACCOUNTING_REQUEST, self._identifier, body, signed=False)
        self._transport.sendto(datagram, self._to(1))
        await asyncio.wait_for(self.answers.get(), 5)

    def _to(self, port: int) -> tuple[str, int]:
        return "127.0.0.1", self.ports[port]

    def close(self) -> None:
        self._transport.close()


@asynccontextmanager
async def world(
    database: Database, data_dir: Path, vendor: str = "mikrotik"
) -> AsyncIterator[tuple[Bras, httpx2.AsyncClient, RecordingRoom]]:
    async with recording_room(database, data_dir) as running:
        room = running.room
        bras = Bras((room.listener.auth_port, room.listener.acct_port))
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.bind(("127.0.0.1", 0))
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: bras, sock=opened)
        await register(room, address="127.0.0.1", vendor=vendor, coa_port=opened.getsockname()[1])
        every = [*access_routes.endpoints(room.access), *routes.endpoints(room.nas, room.sessions)]
        async with api_client(every) as client:
            try:
                yield bras, client, running
            finally:
                bras.close()


def class_of(packet: Packet) -> str:
    mark = read_class(packet.get(Attr.CLASS))
    assert mark is not None
    return mark.profile_name


async def test_a14_a_suspended_session_is_in_the_garden_and_back_within_seconds_and_without_a_re_dial(
    database: Database, tmp_path: Path
) -> None:
    async with world(database, tmp_path) as (bras, client, running):
        accept = await bras.login()
        assert (accept.code, class_of(accept)) == (ACCESS_ACCEPT, GOLD.name)
        await bras.account(1, accept.get(Attr.CLASS) or b"")
        begun = time.monotonic()

        answer = (await client.post(f"/services/{SERVICE}/suspend", json={"reason": "overdue"})).json()
        (session,) = answer["sessions"]
        assert (answer["suspended"], session["result"]) == (True, "ack")
        closing = bras.changes[-1]
        assert (closing.vendor(14988, 8), closing.vendor(14988, 19)) == (b"1M/1M", b"garden")
        assert closing.get(Attr.ACCT_SESSION_ID) == b"s1"
        await bras.account(3, closing.get(Attr.CLASS) or b"", 10)
        (live,) = await running.sessions.live_sessions_of(SERVICE)
        assert (read_class(live.last_class) or ("", ""))[1] == GARDEN_PROFILE, "proved by accounting, not by the ACK"
        assert class_of(await bras.login()) == GARDEN_PROFILE, "nor does a re-dial free it"

        faster = SpeedProfile("silver-50", 50_000_000, 10_000_000)
        outcome = await running.room.sessions.change_speed(live.session_key, faster)
        assert (outcome.result, len(bras.changes)) == ("nak", 1), "nor a new plan"

        answer = (await client.post(f"/services/{SERVICE}/resume", json={})).json()
        assert [one["result"] for one in answer["sessions"]] == ["ack"]
        opening = bras.changes[-1]
        assert (opening.vendor(14988, 8), opening.vendor(14988, 19)) == (b"20M/100M", b"subscribers")
        assert class_of(opening) == GOLD.name
        assert class_of(await bras.login()) == GOLD.name
        assert time.monotonic() - begun < 10


async def test_suspending_twice_is_suspending_once(database: Database, tmp_path: Path) -> None:
    async with world(database, tmp_path) as (bras, client, _):
        for _ in range(2):
            assert (await client.post(f"/services/{SERVICE}/suspend", json={})).json()["sessions"] == []
        assert (await client.get(f"/services/{SERVICE}/access")).json()["suspended"] is True
        assert (await client.post(f"/services/{OTHER}/suspend", json={})).status_code == 404
        assert bras.changes == []


async def test_terms_of_a_service_hold_for_its_next_login(database: Database, tmp_path: Path) -> None:
    async with world(database, tmp_path) as (bras, client, _):
        body = {
            "ipv6_prefix": "2001:db8:7:1::/64",
            "delegated_prefix": "2001:db8:700::/56",
            "vlan": 117,
            "idle_timeout_s": 0,
            "interim_interval_s": 1_800,
            "upstream_filter": "kids",
            "reply_attributes": [{"name": "Framed-MTU", "value": "1492"}],
        }
        answer = await client.put(f"/services/{SERVICE}/access", json=body)
        assert answer.status_code == 200, answer.text
        shown = answer.json()
        assert shown["ipv6_prefix"] == "2001:db8:7:1::/64"
        assert shown["terms"]["reply_attributes"] == body["reply_attributes"]
        given = dict(lines_of((await bras.login()).data[20:]))
        assert given["Framed-IPv6-Prefix"] == "2001:db8:7:1::/64"
        assert given["Delegated-IPv6-Prefix"] == "2001:db8:700::/56"
        assert (given["Tunnel-Private-Group-Id"], given["Filter-Id"], given["Framed-MTU"]) == ("117", "kids.in", "1492")
        assert "Idle-Timeout" not in given
        assert given["Acct-Interim-Interval"] == "1800"
        refused = await client.put(f"/services/{SERVICE}/access", json={"interim_interval_s": 59})
        assert refused.status_code == 422, "RFC 2869 §5.16: at least 60"
        assert (await client.put(f"/services/{SERVICE}/access", json={})).json()["terms"]["vlan"] is None
        assert "Framed-MTU" not in dict(lines_of((await bras.login()).data[20:]))


async def test_terms_of_an_offering_and_of_a_nas_hold_for_whoever_has_none(database: Database, tmp_path: Path) -> None:
    async with world(database, tmp_path) as (bras, client, _):
        terms = {"pool": "gold", "reply_attributes": [{"name": "Reply-Message", "value": "offering"}]}
        assert (await client.put(f"/radius/offerings/{GOLD.name}", json=terms)).status_code == 200
        (nas,) = (await client.get("/nas")).json()["items"]
        patch = {"reply_attributes": [{"name": "Reply-Message", "value": "nas"}]}
        answer = await client.patch(f"/nas/{nas['nas_id']}", json=patch)
        assert answer.json()["reply_attributes"] == patch["reply_attributes"]
        packet = await bras.login()
        assert packet.get(88) == b"gold"
        assert packet.get_all(18) == [b"nas", b"offering"]
        assert [one["profile_name"] for one in (await client.get("/radius/offerings")).json()["items"]] == [GOLD.name]
        await client.put(f"/services/{SERVICE}/access", json={"pool": "own"})
        assert (await bras.login()).get(88) == b"own"
        await client.put(f"/radius/offerings/{GOLD.name}", json={})
        assert (await client.get("/radius/offerings")).json()["items"] == []
        await client.put(f"/services/{SERVICE}/access", json={})
        assert (await bras.login()).get(88) is None


async def test_an_unknown_name_in_a_template_is_refused_when_it_is_saved(database: Database, tmp_path: Path) -> None:
    async with world(database, tmp_path) as (_, client, _running):
        wrong = {"reply_attributes": [{"name": "Mikrotik-Rate-Limits", "value": "1M/1M"}]}
        for answer in (
            await client.put(f"/services/{SERVICE}/access", json=wrong),
            await client.put(f"/radius/offerings/{GOLD.name}", json=wrong),
            await client.patch(f"/nas/{(await client.get('/nas')).json()['items'][0]['nas_id']}", json=wrong),
        ):
            assert answer.status_code in (409, 422), answer.text
            assert "did you mean Mikrotik-Rate-Limit" in answer.text
        assert (await client.get("/radius/offerings")).json()["items"] == []


async def test_a_prefix_belongs_to_one_service_and_is_written_right(database: Database, tmp_path: Path) -> None:
    async with world(database, tmp_path) as (_, client, running):
        await running.room.subscribers.put_subscriber(
            service_id=OTHER, username="bert", password=Secret("hunter3"), profile=GOLD, framed_ipv4=None,
            enabled=True, actor="user:test",
        )  # fmt: skip
        body: dict[str, Any] = {"delegated_prefix": "2001:db8:700::/56"}
        assert (await client.put(f"/services/{SERVICE}/access", json=body)).status_code == 200
        assert (await client.put(f"/services/{OTHER}/access", json=body)).status_code == 409
        host = await client.put(f"/services/{OTHER}/access", json={"delegated_prefix": "2001:db8:700::1/56"})
        assert "is no IPv6 prefix" in host.text


async def test_terms_stay_with_the_service_and_not_with_its_user_name(database: Database, tmp_path: Path) -> None:
    async with world(database, tmp_path) as (_, client, running):
        put = running.room.subscribers.put_subscriber
        same: dict[str, Any] = {
            "password": Secret("hunter2"), "profile": GOLD, "framed_ipv4": None, "enabled": True, "actor": "user:test",
        }  # fmt: skip
        await client.put(f"/services/{SERVICE}/access", json={"vlan": 117})
        await client.post(f"/services/{SERVICE}/suspend", json={})
        await put(service_id=SERVICE, username="anna.new", **same)
        shown = (await client.get(f"/services/{SERVICE}/access")).json()
        assert (shown["username"], shown["terms"]["vlan"], shown["suspended"]) == ("anna.new", 117, True)
        await put(service_id=OTHER, username="anna", **same)
        shown = (await client.get(f"/services/{OTHER}/access")).json()
        assert (shown["terms"]["vlan"], shown["suspended"]) == (None, False), "nothing of who had the name before"


async def test_a5_a_limit_counts_what_is_live_and_a_restarted_nas_locks_nobody_out(
    database: Database, tmp_path: Path
) -> None:
    async with world(database, tmp_path) as (bras, client, running):
        await client.put(f"/services/{SERVICE}/access", json={"simultaneous_use": 1})
        other = attribute(Attr.CALLING_STATION_ID, b"02-00-00-00-00-02")
        accept = await bras.login()
        await bras.account(1, accept.get(Attr.CLASS) or b"")
        assert (await bras.login(other)).code == ACCESS_REJECT
        (session,) = await running.sessions.occupied(SERVICE)
        assert (session.calling_station_id, session.is_suspect) == ("02-00-00-00-00-01", False)
        bras.answers = asyncio.Queue()
        on = integer_attribute(Attr.ACCT_STATUS_TYPE, 7) + attribute(44, b"boot")
        bras._transport.sendto(SHARED.request(ACCOUNTING_REQUEST, 250, on, signed=False), bras._to(1))
        await asyncio.wait_for(bras.answers.get(), 5)
        (session,) = await running.sessions.occupied(SERVICE)
        assert session.is_suspect
        assert (await bras.login(other)).code == ACCESS_ACCEPT


async def test_vendors_and_attributes_are_listed(database: Database, tmp_path: Path) -> None:
    async with world(database, tmp_path) as (_, client, _running):
        names = [one["name"] for one in (await client.get("/radius/vendors")).json()["items"]]
        assert names == sorted(names)
        assert {"cisco-ios-xe", "juniper", "huawei", "nokia-sros", "accel-ppp"} <= set(names)
        (found,) = (await client.get("/radius/dictionary", params={"q": "tunnel-type"})).json()["items"]
        assert (found["number"], found["tagged"], found["values"]["VLAN"]) == (64, True, 13)


async def test_what_a_nas_would_be_told_is_shown_before_anybody_logs_in(database: Database, tmp_path: Path) -> None:
    async with world(database, tmp_path) as (bras, client, _):
        await client.put(f"/radius/offerings/{GOLD.name}", json={"pool": "gold"})
        await client.put(f"/services/{SERVICE}/access", json={"vlan": 117, "ipv6_prefix": "2001:db8:7:1::/64"})
        (nas,) = (await client.get("/nas")).json()["items"]
        for _step in ("plan", "garden"):
            shown = (await client.get(f"/services/{SERVICE}/access/{nas['nas_id']}")).json()["attributes"]
            told = lines_of((await bras.login()).data[20:])
            assert [(one["name"], one["value"]) for one in shown] == told[1:], "all but Message-Authenticator"
            await client.post(f"/services/{SERVICE}/suspend", json={})
        assert (await client.get(f"/services/{SERVICE}/access/{'0' * 32}")).status_code == 404


async def test_a_service_that_fair_use_throttles_comes_out_of_the_garden_throttled(
    database: Database, tmp_path: Path
) -> None:
    async with world(database, tmp_path) as (bras, client, _):
        accept = await bras.login()
        await bras.account(1, accept.get(Attr.CLASS) or b"")
        slow = throttle.write(throttle.Throttle(SpeedProfile("gold-slow", 2_000_000, 1_000_000)))
        async with database.begin() as conn:
            await repository.update_subscriber(conn, "anna", throttle=slow)
        await client.post(f"/services/{SERVICE}/suspend", json={})
        await client.post(f"/services/{SERVICE}/resume", json={})
        assert bras.changes[-1].vendor(14988, 8) == b"1M/2M"
        assert class_of(bras.changes[-1]) == "gold-slow"
        (nas,) = (await client.get("/nas")).json()["items"]
        shown = (await client.get(f"/services/{SERVICE}/access/{nas['nas_id']}")).json()["attributes"]
        assert {"name": "Mikrotik-Rate-Limit", "value": "1M/2M"} in shown
