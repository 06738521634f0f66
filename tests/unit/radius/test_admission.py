"""On which conditions a login is accepted: places, hours, sessions at once, suspension; and what each refusal says."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from controller.domain.errors import RuleError
from controller.domain.identity import NasId
from controller.store.engine import Database
from radius.accepts import SharedAccepts
from radius.authorization import terms
from radius.authorization.conditions import Window, closes_at, station
from radius.authorization.plan import Defaults
from radius.ports import Occupied
from radius.protocol.codes import ACCESS_ACCEPT, ACCESS_REJECT, Attr
from radius.protocol.packet import Packet, attribute
from radius.protocol.server import Decision
from radius.vendors.mark import read_class
from radius.vendors.terms import GARDEN_PROFILE
from tests.support.door import BERLIN, NOW, SHARED, Door, login
from tests.support.radius import GOLD, directory, nas, subscriber


def door(**written: object) -> Door:
    return Door(subscriber(terms=terms.read(written)))


def reply(decision: Decision) -> Packet:
    assert decision.code == ACCESS_ACCEPT, decision.reason
    return Packet.decode(SHARED.response(decision.code, login(), decision.attributes, signed=True))


def occupied(key: str = "s1", mac: str | None = "02:00:00:00:00:01", ago_s: float = 10, **changes: object) -> Occupied:
    return replace(Occupied(key, mac, NOW - timedelta(seconds=ago_s), 300, False), **changes)


async def test_a_plain_login_has_no_guard_and_is_never_deferred() -> None:
    made = Door(subscriber())
    found = made.directory.find(b"anna")
    assert found is not None
    assert found.plan.guard is None
    assert isinstance(made.policy.decide(login(), nas()), Decision)


@pytest.mark.parametrize(
    ("written", "packet", "reason"),
    [
        ({"nas_ids": ["x" * 32]}, login(), "bound to another NAS than bras"),
        ({"nas_port_id": "ge-0/0/1.100"}, login(attribute(87, b"ge-0/0/1.200")), "bound to port 'ge-0/0/1.100'"),
        ({"nas_port_id": "ge-0/0/1.100"}, login(), "this is None"),
        ({"nas_port_id": "17"}, login(attribute(5, bytes((0, 0, 0, 18)))), "bound to port '17', and this is '18'"),
        ({"calling_station_id": "02-00-00-00-00-01"}, login(mac="02:00:00:00:00:02"), "bound to station"),
        ({"calling_station_id": "02-00-00-00-00-01"}, login(), "this is None"),
        ({"hours": ["sa-su 00:00-24:00"]}, login(), "outside the hours of the service: sa-su 00:00-24:00 Europe/Ber"),
    ],
)
async def test_a_login_from_elsewhere_or_at_another_hour_is_refused_in_words(
    written: dict[str, object], packet: Packet, reason: str
) -> None:
    decision = await door(**written).decide(packet)
    assert decision.code == ACCESS_REJECT
    assert reason in decision.reason
    assert decision.attributes == b"", "the reason is not for the subscriber"


async def test_a_login_from_its_own_place_is_accepted_whatever_the_notation() -> None:
    made = door(nas_ids=["n" * 32], nas_port_id="ge-0/0/1.100", calling_station_id="0200.0000.00AB")
    packet = login(attribute(87, b"ge-0/0/1.100"), mac="02-00-00-00-00-ab")
    assert (await made.decide(packet)).code == ACCESS_ACCEPT
    assert station("ge-0/0/1:100") == "ge-0/0/1:100", "only what is a MAC address is read as one"


async def test_a_port_is_known_by_its_number_where_the_nas_names_none() -> None:
    made = door(nas_port_id="17")
    assert (await made.decide(login(attribute(5, bytes((0, 0, 0, 17)))))).code == ACCESS_ACCEPT
    both = login(attribute(5, bytes((0, 0, 0, 17))) + attribute(87, b"ether1"))
    assert (await made.decide(both)).code == ACCESS_REJECT, "the name counts where there is one"


def test_a_service_bound_to_a_network_of_nas_may_use_each_of_its_boxes() -> None:
    bound = terms.read({"nas_ids": ["w" * 32]}).conditions
    assert bound.refusal(login(), nas(nas_id=NasId("b" * 32), member_of=NasId("w" * 32))) is None
    assert bound.refusal(login(), nas(nas_id=NasId("b" * 32), member_of=NasId("v" * 32))) is not None


async def test_a_session_ends_with_the_hours() -> None:
    made = door(hours=["mo-fr 08:00-14:30"])
    assert reply(await made.decide()).integer(Attr.SESSION_TIMEOUT) == 90 * 60
    shorter = door(hours=["mo-fr 08:00-14:30"], session_timeout_s=600)
    assert reply(await shorter.decide()).integer(Attr.SESSION_TIMEOUT) == 600
    template = [{"name": "Session-Timeout", "value": "86400"}]
    templated = reply(await door(hours=["mo-fr 08:00-14:30"], reply_attributes=template).decide())
    assert templated.get_all(Attr.SESSION_TIMEOUT) == [(90 * 60).to_bytes(4, "big")], "no template outlasts the hours"
    unlimited = door(hours=["mo-fr 08:00-14:30"], session_timeout_s=0)
    assert reply(await unlimited.decide()).integer(Attr.SESSION_TIMEOUT) == 90 * 60


def test_hours_are_wall_clock_hours_of_the_zone() -> None:
    evening = (Window.parse("fr 22:00-06:00"),)
    assert closes_at(evening, datetime(2026, 11, 20, 20, 59, tzinfo=UTC), BERLIN) is None
    assert closes_at(evening, datetime(2026, 11, 20, 21, 0, tzinfo=UTC), BERLIN) == datetime(
        2026, 11, 21, 5, 0, tzinfo=UTC
    )
    assert closes_at(evening, datetime(2026, 11, 21, 5, 0, tzinfo=UTC), BERLIN) is None, "half-open"
    # The night in which the clocks go back has an hour more: 22:00 CEST to 06:00 CET are nine hours.
    autumn = (Window.parse("sa 22:00-06:00"),)
    opened = datetime(2026, 10, 24, 20, 0, tzinfo=UTC)
    closes = closes_at(autumn, opened, BERLIN)
    assert closes is not None
    assert closes - opened == timedelta(hours=9)


def test_hours_that_touch_are_one_and_hours_without_end_are_asked_about_again() -> None:
    weekend = (Window.parse("fr 18:00-24:00"), Window.parse("sa-su 00:00-24:00"))
    friday = datetime(2026, 11, 20, 18, 0, tzinfo=UTC)
    assert closes_at(weekend, friday, BERLIN) == datetime(2026, 11, 22, 23, 0, tzinfo=UTC)
    always = (Window.parse("mo-su 00:00-24:00"),)
    closes = closes_at(always, friday, BERLIN)
    assert closes is not None
    assert timedelta(days=7) < closes - friday < timedelta(days=10)
    assert Window.parse("fr-mo 00:00-24:00").days == {4, 5, 6, 0}


@pytest.mark.parametrize("text", ["", "mo", "mo 8-18", "xx 08:00-18:00", "mo 25:00-26:00", "mo 08:61-09:00", "mo-fr"])
def test_a_window_that_says_nothing_is_refused_when_it_is_saved(text: str) -> None:
    with pytest.raises(RuleError):
        terms.write({"hours": [text]})


async def test_more_sessions_than_allowed_are_refused_with_their_names() -> None:
    made = door(simultaneous_use=1)
    made.sessions.counted = [occupied()]
    decision = await made.decide(login(mac="02:00:00:00:00:02"))
    assert decision.code == ACCESS_REJECT
    assert decision.reason == "1 sessions at once are allowed, and live are: s1 of 02:00:00:00:00:01"
    two = door(simultaneous_use=2)
    two.sessions.counted = [occupied()]
    assert (await two.decide(login(mac="02:00:00:00:00:02"))).code == ACCESS_ACCEPT


async def test_t5_a_killed_nas_locks_nobody_out() -> None:
    made = door(simultaneous_use=1)
    again = login(mac="02-00-00-00-00-01")
    made.sessions.counted = [occupied(ago_s=1)]
    assert (await made.decide(again)).code == ACCESS_ACCEPT, "the same station dials again: its session is a ghost"
    made = door(simultaneous_use=1)
    made.sessions.counted = [occupied(ago_s=331)]
    assert (await made.decide(login(mac="02:00:00:00:00:02"))).code == ACCESS_ACCEPT, "silent for an interval"
    made = door(simultaneous_use=1)
    made.sessions.counted = [occupied(ago_s=1, is_suspect=True)]
    assert (await made.decide(login(mac="02:00:00:00:00:02"))).code == ACCESS_ACCEPT, "its NAS restarted"
    made = door(simultaneous_use=1)
    made.sessions.counted = [occupied(ago_s=329)]
    assert (await made.decide(login(mac="02:00:00:00:00:02"))).code == ACCESS_REJECT, "a late interim is no end"


async def test_two_logins_at_once_do_not_both_pass_before_the_first_start() -> None:
    made = door(simultaneous_use=1)
    assert (await made.decide(login(mac="02:00:00:00:00:01"))).code == ACCESS_ACCEPT
    second = await made.decide(login(mac="02:00:00:00:00:02"))
    assert second.code == ACCESS_REJECT
    assert "accepted a moment ago" in second.reason
    made.clock.advance(timedelta(seconds=11))
    assert (await made.decide(login(mac="02:00:00:00:00:02"))).code == ACCESS_ACCEPT, "no Start followed the first"


async def test_a_line_without_a_station_is_told_from_others_by_its_port() -> None:
    made = door(simultaneous_use=1)
    ports = [login(attribute(87, name)) for name in (b"ether1", b"ether2")]
    assert (await made.decide(ports[0])).code == ACCESS_ACCEPT
    assert (await made.decide(ports[1])).code == ACCESS_REJECT, "the first was accepted a moment ago"
    assert (await made.decide(ports[0])).code == ACCESS_ACCEPT, "the same line dials again"
    made.clock.advance(timedelta(seconds=11))
    made.sessions.counted = [replace(occupied(mac=None, ago_s=1), nas_id=str(nas().nas_id), nas_port_id="ether1")]
    assert (await made.decide(ports[0])).code == ACCESS_ACCEPT
    assert (await made.decide(ports[1])).code == ACCESS_REJECT


async def test_the_same_port_of_two_nas_behind_one_proxy_is_two_lines() -> None:
    made = door(simultaneous_use=1)
    port = attribute(87, b"ether1") + attribute(Attr.PROXY_STATE, b"x")
    one, two = (login(port + attribute(Attr.NAS_IDENTIFIER, name)) for name in (b"bng-1", b"bng-2"))
    assert (await made.decide(one)).code == ACCESS_ACCEPT
    assert (await made.decide(two)).code == ACCESS_REJECT
    assert (await made.decide(one)).code == ACCESS_ACCEPT


async def test_two_processes_that_decide_at_once_let_one_login_pass(database: Database) -> None:
    if database.is_sqlite:
        pytest.skip("on SQLite there is one process")
    doors = [Door(subscriber(terms=terms.read({"simultaneous_use": 1})), accepts=SharedAccepts(database)) for _ in "ab"]
    macs = ("02:00:00:00:00:01", "02:00:00:00:00:02")
    for _ in range(5):
        decisions = await asyncio.gather(*(made.decide(login(mac=mac)) for made, mac in zip(doors, macs, strict=True)))
        assert sorted(decision.code for decision in decisions) == [ACCESS_ACCEPT, ACCESS_REJECT]
        for made in doors:
            made.clock.advance(timedelta(seconds=11))


async def test_a14_a_suspended_service_is_given_the_garden_and_not_rejected() -> None:
    made = Door(subscriber(suspended=True))
    packet = reply(await made.decide())
    mark = read_class(packet.get(Attr.CLASS))
    assert mark is not None
    assert mark.profile_name == GARDEN_PROFILE
    assert packet.vendor(14988, 8) == b"1M/1M"
    assert packet.vendor(14988, 19) == b"garden"
    assert packet.get(Attr.FRAMED_IP_ADDRESS) == bytes((100, 64, 0, 7)), "no re-dial when the garden opens"
    made.directory.apply(subscriber())
    packet = reply(await made.decide())
    assert (packet.vendor(14988, 8), packet.vendor(14988, 19)) == (b"20M/100M", None)


async def test_without_a_garden_a_suspended_service_is_rejected_in_words() -> None:
    decision = await Door(subscriber(suspended=True), Defaults(garden=None)).decide()
    assert (decision.code, decision.reason) == (
        ACCESS_REJECT,
        "the service is suspended, and there is no walled garden",
    )
    resumed = Door(subscriber(suspended=True, terms=terms.read({"vlan": 7})), Defaults(garden=None))
    resumed.directory.apply_offering(GOLD.name, terms.read({"pool": "gold"}))
    assert (await resumed.decide()).code == ACCESS_REJECT, "terms of the offering do not free it"


async def test_a_disabled_service_is_refused_whatever_else_it_has() -> None:
    decision = await Door(subscriber(enabled=False, suspended=True)).decide()
    assert decision.reason == "the service is not enabled"


async def test_terms_of_an_offering_hold_for_all_its_services_and_a_service_may_have_its_own() -> None:
    made = directory(subscriber(), subscriber("bert", terms=terms.read({"pool": "own"})))
    made.apply_offering(GOLD.name, terms.read({"pool": "gold", "idle_timeout_s": 60, "simultaneous_use": 2}))
    anna, bert = made.find(b"anna"), made.find(b"bert")
    assert anna is not None
    assert bert is not None
    assert anna.plan.terms.grant.pools.ipv4 == "gold"
    assert bert.plan.terms.grant.pools.ipv4 == "own"
    assert bert.plan.guard is not None
    assert bert.plan.guard.conditions.max_sessions == 2
    made.apply_offering(GOLD.name, terms.read({}))
    assert anna.plan.guard is None, "taken back"


def test_logins_of_equal_terms_share_one_plan_and_terms_of_nobody_are_given_up() -> None:
    made = directory(subscriber(), subscriber("bert"), subscriber("cleo", terms=terms.read({"vlan": 9})))
    assert len(made._plans) == 2
    made.apply(subscriber("cleo"))
    assert len(made._plans) == 1


@pytest.mark.parametrize(
    ("written", "word"),
    [
        ({"vlan": 0}, "vlan"),
        ({"vlan": 4095}, "vlan"),
        ({"simultaneous_use": 0}, "simultaneous_use"),
        ({"pool": ""}, "pool"),
        ({"pool": "x" * 201}, "pool"),
        ({"session_timeout_s": -1}, "session_timeout_s"),
        ({"reply_attributes": [{"name": "Framed-Poool", "value": "x"}]}, "did you mean Framed-Pool"),
    ],
)
def test_terms_that_cannot_be_are_refused_when_they_are_saved(written: dict[str, object], word: str) -> None:
    with pytest.raises(RuleError, match=word):
        terms.write(written)
    assert terms.write({"pool": None, "hours": []}) is None, "terms that say nothing are none"
