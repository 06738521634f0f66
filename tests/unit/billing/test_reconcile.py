"""Three counts of a service and day: a difference is explained by name; one per cent that nothing explains is found."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from billing_bridge.checks.reconcile import (
    AGREES,
    DIFFERS,
    EXPLAINED,
    NO_COUNTER,
    Counted,
    Overhead,
    overhead_of,
    reconcile,
)
from billing_bridge.checks.recount import Totals, count
from billing_bridge.mediation.growth import SessionState, follow
from billing_bridge.zones import Zones
from tests.support.billing_fakes import record

GB = 10**9
KNOWN = Overhead(0.031, 0.005, "the days before")
BERLIN = ZoneInfo("Europe/Berlin")


def day(**values: int | None) -> Counted:
    made = {"radius": 10 * GB, "billed": 10 * GB, "charged": 10 * GB, "counter": round(10.31 * GB)} | values
    return Counted("s" * 32, **made)  # type: ignore[arg-type]


def test_a_counter_above_radius_by_its_frames_agrees() -> None:
    found = reconcile(day(), KNOWN)
    assert (found.verdict, found.unexplained) == (EXPLAINED, 0)
    assert found.reasons[0].octets == round(0.31 * GB)


def test_one_per_cent_that_radius_lost_is_found() -> None:
    found = reconcile(day(radius=9_900_000_000, billed=9_900_000_000, charged=0), KNOWN)
    assert found.verdict == DIFFERS
    assert found.unexplained > 90_000_000


def test_one_octet_that_billing_lost_is_found() -> None:
    found = reconcile(day(billed=10 * GB - 1, counter=None), KNOWN)
    assert (found.verdict, found.unexplained) == (DIFFERS, 1)


def test_what_waits_in_suspense_or_was_given_away_explains_what_is_not_billed() -> None:
    found = reconcile(day(billed=7 * GB, suspended=2 * GB, given_away=GB, counter=None), KNOWN)
    assert (found.verdict, found.unexplained) == (EXPLAINED, 0)
    assert [r.octets for r in found.reasons if r.between == "RADIUS and billed"] == [2 * GB, GB]


def test_usage_of_another_source_explains_what_is_billed_above_radius() -> None:
    assert reconcile(day(billed=11 * GB, from_sources=GB, counter=None), KNOWN).unexplained == 0


def test_hours_without_a_sample_and_held_readings_explain_a_low_counter() -> None:
    counter = round(10.31 * GB * 18 / 24)
    assert reconcile(day(counter=counter), KNOWN).verdict == DIFFERS
    assert reconcile(day(counter=counter, missing_hours=6), KNOWN).verdict == EXPLAINED
    assert reconcile(day(counter=9 * GB, held=round(1.31 * GB)), KNOWN).verdict == EXPLAINED


def test_an_open_session_that_was_not_heard_of_explains_a_low_radius() -> None:
    low = day(radius=9 * GB, billed=9 * GB, charged=0, counter=round(10.3 * GB))
    assert reconcile(low, KNOWN).verdict == DIFFERS
    assert reconcile(replace(low, open_s=7200), KNOWN).verdict == EXPLAINED


def test_without_a_counter_two_counts_agree_or_differ() -> None:
    assert reconcile(day(counter=None), KNOWN).verdict == NO_COUNTER
    open_period = reconcile(day(counter=None, charged=0), KNOWN)
    assert open_period.reasons[-1].between == "billed and charged"


def test_overhead_is_known_from_the_service_then_from_others_then_from_packets() -> None:
    own, others = [0.031, 0.030, 0.032, 0.031, 0.031], [0.05] * 9
    assert overhead_of(own, others).share == 0.031
    assert overhead_of(own[:2], others).share == 0.05
    assert overhead_of((), ()).source == "packets of usual size"
    assert overhead_of((), ()).slack > overhead_of(own, others).slack


def test_counts_that_are_the_same_agree() -> None:
    same = Overhead(0.0, 0.005, "the days before")
    assert reconcile(day(counter=10 * GB), replace(same)).verdict == AGREES


steps = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]), st.integers(0, 5000), st.integers(0, 60), st.integers(0, 60), st.integers(0, 400)
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_the_second_count_is_mediations_sum_in_any_order_of_arrival(
    drawn: list[tuple[str, int, int, int, int]],
) -> None:
    """Neither knows the other's arithmetic; over late, repeated and shuffled records they come to the same octets."""
    start, memory = datetime(2026, 9, 1, 20, tzinfo=UTC), timedelta(days=100)
    records = [
        record(f"ffff{name}", start + timedelta(minutes=m), up, down, arrived=start + timedelta(minutes=m + late))
        for name, m, up, down, late in drawn
    ]
    sums = count(records, {}, Zones(BERLIN), memory)
    states: dict[str, SessionState] = {}
    mediated = 0
    for r in records:
        state, growth = follow(states.get(r.session_key), r, memory)
        if state is not None:
            states[r.session_key] = state
        if growth is not None:
            mediated += growth.upstream_octets + growth.downstream_octets
    assert sum(octets for octets, _ in sums.values()) == mediated
    assert all(0 <= late <= octets for octets, late in sums.values())


def test_the_second_count_goes_on_where_it_stood_and_skips_what_was_altered() -> None:
    known: dict[str, Totals] = {}
    at = datetime(2026, 9, 1, 10, tzinfo=UTC)
    memory = timedelta(days=100)
    first = count([record("ffff", at, 5, 5)], known, Zones(BERLIN), memory)
    altered = replace(record("ffff", at + timedelta(hours=1), 500, 500), intact=False)
    again = count([altered, record("ffff", at + timedelta(hours=2), 6, 9)], known, Zones(BERLIN), memory)
    assert sum(o for o, _ in first.values()) == 10
    assert again == {("svc-1", date(2026, 9, 1)): (5, 0)}


def test_a_counter_that_began_anew_explains_some_minutes_of_its_traffic() -> None:
    low = day(counter=round(10.31 * GB) - 80_000_000)
    assert reconcile(low, KNOWN).verdict == DIFFERS
    found = reconcile(replace(low, resets=1), KNOWN)
    assert found.verdict == EXPLAINED
    assert any("began anew" in reason.text for reason in found.reasons)
    assert reconcile(replace(low, counter=8 * GB, resets=1), KNOWN).verdict == DIFFERS, "not any loss"
