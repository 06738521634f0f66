"""Realms of user names: stripped, renamed, left alone; and what is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.clock import SystemClock
from controller.domain.errors import RuleError
from controller.store.engine import Database
from radius.authorization.realm import Realms, checked, split
from radius.follower import Follower, Registry
from radius.protocol.codes import ACCESS_ACCEPT, ACCESS_REJECT
from radius.realms import RealmService, endpoints
from tests.support.api import api_client
from tests.support.door import Door, login_as
from tests.support.radius import directory, nas, secret_box, subscriber


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (b"anna@isp.example", (b"anna", "isp.example")),
        (b"anna@ISP.Example", (b"anna", "isp.example")),
        (b"ISP\\anna", (b"anna", "isp")),
        (b"a@b@isp.example", (b"a@b", "isp.example")),
        (b"\xff\xfe@isp.example", (b"\xff\xfe", "isp.example")),
        (b"anna", None),
        (b"@isp.example", None),
        (b"anna@", None),
        (b"anna@-isp", None),
        (b"anna@isp..example", None),
        (b"anna@\xc3\xbc.example", None),
    ],
)
def test_rfc7542_2_2_a_realm_stands_behind_the_last_at(name: bytes, parts: tuple[bytes, str] | None) -> None:
    assert split(name) == parts


@given(st.binary(max_size=253))
def test_any_octets_have_a_realm_or_none(name: bytes) -> None:
    parts = split(name)
    assert parts is None or checked(parts[1]) == parts[1]


@pytest.mark.parametrize("realm", ["", "isp example", "isp.", "ü.example", "a" * 64, "-isp.example", "*"])
def test_what_is_no_realm_is_refused_when_it_is_saved(realm: str) -> None:
    with pytest.raises(RuleError):
        checked(realm)


def test_a_realm_is_stripped_or_renamed_and_others_are_left_alone() -> None:
    realms = Realms()
    assert realms.local(b"anna@isp.example") is None
    realms.apply("isp.example", "")
    realms.apply("old.example", "new.example")
    assert realms.local(b"anna@isp.example") == b"anna"
    assert realms.local(b"anna@OLD.example") == b"anna@new.example"
    assert realms.local(b"anna@other.example") is None
    realms.apply("isp.example", None)
    assert realms.local(b"anna@isp.example") is None


async def test_a_login_with_a_stripped_realm_is_the_login_without_and_a_whole_name_comes_first() -> None:
    made = Door(subscriber())
    assert (await made.decide(login_as(b"anna@isp.example"))).code == ACCESS_REJECT
    made.directory.realms.apply("isp.example", "")
    assert (await made.decide(login_as(b"anna@isp.example"))).code == ACCESS_ACCEPT
    made.directory.apply(subscriber("anna@isp.example", password="another"))
    assert (await made.decide(login_as(b"anna@isp.example"))).reason == "wrong password"
    assert made.directory.service_of(b"anna@isp.example") is not None
    assert nas().vendor == "mikrotik"


async def test_realms_are_kept_and_followed_by_other_processes(database: Database, tmp_path: Path) -> None:
    mine, theirs = directory(), directory()
    followers = [Follower(database, secret_box(tmp_path), Registry(), known) for known in (mine, theirs)]
    service = RealmService(database, SystemClock(), followers[0])
    async with api_client(endpoints(service)) as client:
        assert (await client.put("/radius/realms/ISP.example", json={})).json() == {
            "realm": "isp.example",
            "becomes": "",
        }
        await client.put("/radius/realms/old.example", json={"becomes": "new.example"})
        assert (await client.put("/radius/realms/new.example", json={"becomes": "new.example"})).status_code >= 400
        assert [one["realm"] for one in (await client.get("/radius/realms")).json()["items"]] == [
            "isp.example",
            "old.example",
        ]
        assert mine.realms.local(b"anna@isp.example") == b"anna"
        await followers[1].refresh_realms()
        assert theirs.realms.local(b"anna@old.example") == b"anna@new.example"
        assert (await client.delete("/radius/realms/isp.example")).status_code == 204
        assert (await client.delete("/radius/realms/isp.example")).status_code == 404
        assert mine.realms.local(b"anna@isp.example") is None
        await followers[1].refresh_realms()
        assert theirs.realms.local(b"anna@isp.example") is None
