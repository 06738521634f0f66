"""Which addresses a pool consists of, and how a lease lives."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.errors import RuleError
from radius.pools import lease as rules
from radius.pools import model
from radius.pools.lease import FREE, HELD, LEASED, Lease, Owner, Tenant
from radius.pools.model import Pool

SECOND = 1_000_000


def pool(kind: str, *ranges: str, prefix_length: int = 32) -> Pool:
    return Pool("p" * 32, "homes", kind, ranges, prefix_length, 60)


@pytest.mark.parametrize(
    ("kind", "text", "length", "size", "first", "last"),
    [
        ("ipv4", "192.0.2.0/25", 32, 126, "192.0.2.1", "192.0.2.126"),
        ("ipv4", "192.0.2.10-192.0.2.12", 32, 3, "192.0.2.10", "192.0.2.12"),
        ("ipv4", "192.0.2.8/31", 32, 2, "192.0.2.8", "192.0.2.9"),
        ("delegated", "2001:db8::/40", 56, 65_536, "2001:db8::/56", "2001:db8:ff:ff00::/56"),
        ("ipv6", "2001:db8:1::/62", 64, 4, "2001:db8:1::/64", "2001:db8:1:3::/64"),
        ("ipv6", "2001:db8:2::/126", 128, 3, "2001:db8:2::1/128", "2001:db8:2::3/128"),
    ],
)
def test_a_range_gives_its_addresses(kind: str, text: str, length: int, size: int, first: str, last: str) -> None:
    made = model.checked(pool(kind, text, prefix_length=length))
    assert made.size == size
    assert list(made.addresses(0, 1)) == [(0, first)]
    assert list(made.addresses(size - 1, 9)) == [(size - 1, last)]


def test_positions_go_on_from_range_to_range() -> None:
    made = pool("ipv4", "192.0.2.0/30", "198.51.100.7-198.51.100.8")
    assert list(made.addresses(1, 2)) == [(1, "192.0.2.2"), (2, "198.51.100.7")]


@pytest.mark.parametrize(
    ("kind", "ranges", "length", "words"),
    [
        ("ipv4", ["192.0.2.1/25"], 32, "host bits"),
        ("ipv4", ["192.0.2.9-192.0.2.1"], 32, "ends before it begins"),
        ("ipv4", ["2001:db8::/40"], 32, "no range"),
        ("ipv6", ["192.0.2.0/25"], 64, "no range"),
        ("delegated", ["2001:db8::/60"], 56, "no /56 in it"),
        ("ipv4", ["192.0.2.0/25", "192.0.2.5-192.0.2.6"], 32, "overlaps"),
        ("ipv6", ["2001:db8::/32"], 128, "can be kept"),
        ("ipv4", [], 32, "at least one range"),
        ("ipv5", ["192.0.2.0/25"], 32, "none of"),
    ],
)
def test_what_cannot_be_a_pool_is_refused_in_words(kind: str, ranges: list[str], length: int, words: str) -> None:
    with pytest.raises(RuleError, match=words):
        model.checked(pool(kind, *ranges, prefix_length=length))


def test_an_address_is_in_one_pool() -> None:
    homes, more = pool("ipv4", "192.0.2.0/25"), replace(pool("ipv4", "192.0.2.100-192.0.2.140"), pool_id="q" * 32)
    assert model.overlap(more, [homes]) is homes
    assert model.overlap(pool("ipv4", "192.0.2.128/25"), [homes]) is None
    assert model.overlap(pool("ipv6", "::192.0.2.0/127", prefix_length=128), [homes]) is None


# --- the life of a lease ---

NOW = 1_000 * SECOND
ANNA = Owner("a" * 32, "020000000001", "n" * 32, "g1")


def lease(**changes: object) -> Lease:
    made = Lease("p" * 32, 0, "192.0.2.1", FREE, 0, None, "", None, None, None, None, None)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def session(key: str = "s1", started_us: int = NOW, **changes: object) -> Tenant:
    return replace(Tenant(key, ANNA.service_id, ANNA.station, started_us, "192.0.2.1"), **changes)


def held(owner: Owner = ANNA) -> Lease:
    made = lease()
    rules.hold(made, owner, NOW, 60)
    return made


def test_an_accept_holds_and_its_start_commits() -> None:
    made = held()
    assert (made.state, rules.own([made], ANNA)) == (HELD, made)
    assert rules.settle([made], [session()], NOW + SECOND) == [made]
    assert (made.state, made.session_key, made.held_until_us) == (LEASED, "s1", None)
    assert rules.settle([made], [session()], NOW + 2 * SECOND) == []


def test_a_stop_frees_and_the_same_subscriber_gets_it_back() -> None:
    made = held()
    rules.settle([made], [session()], NOW + SECOND)
    rules.settle([made], [], NOW + 2 * SECOND)
    assert (made.state, made.session_key, made.service_id) == (FREE, None, ANNA.service_id)
    assert rules.own([made], replace(ANNA, station="another")) is made
    assert rules.own([made], replace(ANNA, service_id="b" * 32)) is None


def test_a_hold_that_nobody_came_for_ends() -> None:
    made = held()
    assert rules.settle([made], [], NOW + 59 * SECOND) == []
    assert rules.settle([made], [], NOW + 60 * SECOND) == [made]
    assert made.state == FREE


@pytest.mark.parametrize("stop_first", [True, False])
def test_the_late_stop_of_the_old_session_does_not_free_what_the_new_one_has(stop_first: bool) -> None:
    made, old, new = held(), session(), session("s2", NOW + 100 * SECOND)
    rules.settle([made], [old], NOW + SECOND)
    rules.hold(made, replace(ANNA, grant_id="g2"), NOW + 100 * SECOND, 60)
    assert (made.state, made.session_key) == (LEASED, "s1")
    steps = [[], [new]] if stop_first else [[old, new], [new]]
    for sessions in steps:
        rules.settle([made], sessions, NOW + 101 * SECOND)
        assert made.state != FREE
    assert (made.state, made.session_key) == (LEASED, "s2")


def test_a_login_that_was_never_used_leaves_the_live_session_its_address() -> None:
    made = held()
    rules.settle([made], [session()], NOW + SECOND)
    rules.hold(made, ANNA, NOW + 100 * SECOND, 60)
    rules.settle([made], [session()], NOW + 500 * SECOND)
    assert (made.state, made.session_key) == (LEASED, "s1")


def test_a_start_that_came_after_the_hold_takes_the_address_back() -> None:
    made = held()
    rules.settle([made], [], NOW + 61 * SECOND)
    assert rules.settle([made], [session()], NOW + 62 * SECOND) == [made]
    assert made.state == LEASED


def test_two_stations_of_one_service_have_an_address_each() -> None:
    one = held()
    assert rules.own([one], replace(ANNA, station="020000000002")) is None


def test_without_a_station_what_is_leased_is_not_given_again_and_what_is_held_is() -> None:
    nobody = replace(ANNA, station="")
    one = held(nobody)
    assert rules.own([one], nobody) is one
    assert rules.own([one], replace(nobody, nas_id="m" * 32)) is None
    rules.settle([one], [session(station="")], NOW + SECOND)
    assert rules.own([one], nobody) is None


def test_a_prefix_follows_the_session_of_its_station() -> None:
    prefix = lease(address="2001:db8::/56")
    rules.hold(prefix, ANNA, NOW, 60)
    assert rules.settle([prefix], [session(station="another")], NOW) == []
    rules.settle([prefix], [session()], NOW)
    assert (prefix.state, prefix.session_key) == (LEASED, "s1")
    rules.settle([prefix], [], NOW)
    assert rules.settle([prefix], [session()], NOW) == [], "it may be another's by now, and nothing says it is not"


@given(st.lists(st.sampled_from(["hold", "start1", "stop1", "start2", "stop2", "tick"]), max_size=30))
def test_whatever_happens_an_address_in_use_is_leased_and_one_that_is_not_gets_free(steps: list[str]) -> None:
    made, live, now = lease(), dict[str, Tenant](), NOW
    for step in steps:
        now += SECOND
        if step == "hold":
            rules.hold(made, ANNA, now, 60)
        elif step.startswith("start") and made.service_id is not None:
            live[step[-1]] = session(f"s{step[-1]}", now)
        elif step.startswith("stop"):
            live.pop(step[-1], None)
        else:
            now += 30 * SECOND
        rules.settle([made], list(live.values()), now)
        assert (made.state == LEASED) == bool(live)
    rules.settle([made], [], now + 61 * SECOND)
    assert made.state == FREE
