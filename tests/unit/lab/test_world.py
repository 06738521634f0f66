"""The demo's people, its made-up past and its traffic: plausible, bounded, and the same each time."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from lab.bras.session import parse_rate_limit
from lab.bras.traffic import TrafficModel
from lab.history import ZONE, steps
from lab.world import PREPAID_DATA, PREPAID_LINE, RUNS_DRY, TOPPED_UP, UNKNOWN_PORT, World, make_world

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def model(username: str = "ada") -> TrafficModel:
    return TrafficModel(7, username, ZoneInfo("Europe/Berlin"))


def test_history_visits_the_first_of_each_month_at_night_and_ends_now() -> None:
    until = datetime(2026, 11, 21, 23, 30, tzinfo=UTC)
    visited = steps(date(2026, 9, 21), until)
    assert visited == sorted(set(visited))
    assert visited[-1] == until
    nights = [at.astimezone(ZONE) for at in visited if at.astimezone(ZONE).day == 1]
    assert {(at.month, at.hour) for at in nights} >= {(10, 2), (11, 2)}
    assert max(b - a for a, b in itertools.pairwise(visited)) <= timedelta(hours=7)


def test_one_subscriber_orders_what_cannot_be_built_and_the_last_ones_stay_offline() -> None:
    world = make_world(50, 5, 61)
    people = world.subscribers
    assert [s.pon_port == UNKNOWN_PORT for s in people].count(True) == 1
    assert [s.experiment for s in people] == [False] * 45 + [True] * 5
    assert all(s.ordered_on_day <= 59 for s in people)
    assert len({s.ordered_on_day for s in people}) > 10
    for distinct in ("username", "serial", "mac", "password"):
        assert len({getattr(s, distinct) for s in people}) == 50


def test_some_of_the_first_pay_in_advance_one_of_them_too_little_and_a_small_demo_has_none() -> None:
    found = [s for s in make_world(200, 10, 61).subscribers if s.prepaid]
    assert [s.prepaid for s in found] == [TOPPED_UP, RUNS_DRY, TOPPED_UP]
    assert {(s.offering, s.ordered_on_day, s.experiment) for s in found} == {(PREPAID_LINE.key, 0, False)}
    assert not [s for s in make_world(12, 2, 9).subscribers if s.prepaid]
    assert [p["model"] for p in PREPAID_DATA.body("2026-09-01")["prices"]] == ["overage"], "one price, and no fee"


def test_the_same_seed_makes_the_same_people_with_other_secrets() -> None:
    one, other = make_world(20, 2, 61), make_world(20, 2, 61)
    assert [s.name for s in one.subscribers] == [s.name for s in other.subscribers]
    assert one.token != other.token
    assert not {s.password for s in one.subscribers} & {s.password for s in other.subscribers}


def test_the_world_survives_its_file_which_only_its_owner_reads(tmp_path: Path) -> None:
    world = make_world(8, 2, 3)
    world.save(tmp_path / "world.json")
    assert (tmp_path / "world.json").stat().st_mode & 0o777 == 0o600
    assert World.load(tmp_path / "world.json") == world


def test_passwords_can_be_pasted_into_any_command() -> None:
    world = make_world(200, 10, 61)
    assert all(word.isascii() and word.isalnum() for word in [s.password for s in world.subscribers])
    assert world.nas_secret.isalnum()


@pytest.mark.parametrize("hours", [1, 6, 24])
def test_traffic_never_exceeds_the_rates(hours: int) -> None:
    until = NOON + timedelta(hours=hours)
    for n in range(50):
        up, down = model(f"user{n}").octets(NOON, until, 100_000, 200_000)
        assert up <= 100_000 / 8 * hours * 3600
        assert down <= 200_000 / 8 * hours * 3600


def test_traffic_is_the_same_when_asked_twice_and_differs_between_subscribers() -> None:
    until = NOON + timedelta(minutes=5)
    asked = [model(f"user{n}").octets(NOON, until, 10**9, 10**9) for n in range(20)]
    assert asked == [model(f"user{n}").octets(NOON, until, 10**9, 10**9) for n in range(20)]
    assert len(set(asked)) == 20


def test_evenings_are_busier_than_mornings_and_few_move_most() -> None:
    def all_of_them(at: datetime) -> list[int]:
        return [model(f"user{n}").octets(at, at + timedelta(hours=3), 10**9, 10**9)[1] for n in range(200)]

    evening = all_of_them(datetime(2026, 11, 1, 18, tzinfo=UTC))
    assert sum(evening) > 4 * sum(all_of_them(datetime(2026, 11, 1, 2, tzinfo=UTC)))
    assert sum(sorted(evening)[-20:]) > 0.3 * sum(evening)


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        (b"50M/100M", (50_000_000, 100_000_000)),
        (b"512k", (512_000, 512_000)),
        (b"20000000/1G 0/0 0/0", (20_000_000, 1_000_000_000)),
    ],
)
def test_rate_limits_are_read_as_the_router_means_them(text: bytes, rates: tuple[int, int]) -> None:
    assert parse_rate_limit(text) == rates


@pytest.mark.parametrize("text", [b"", b"fast", b"10M/", b"0/0", b"-1/2", b"\xff"])
def test_what_is_no_rate_limit_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="not a rate limit"):
        parse_rate_limit(text)
