"""Counter deltas: RFC 2863 §3.1.6 (wrap), ifCounterDiscontinuityTime, sysUpTime."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.counters import Growth, Reading, Seen, capacity, delta, restarted

T0 = datetime(2026, 5, 1, tzinfo=UTC)
GIGABIT = 10**9


def reading(seconds: float, value: int, **more: int) -> Reading:
    return Reading(T0 + timedelta(seconds=seconds), value, **more)


def grown(before: Reading, after: Reading, speed_bps: int | None = GIGABIT) -> tuple[str, int | None]:
    growth = delta(before, after, speed_bps)
    return growth.seen.value, growth.octets


def test_the_first_reading_is_no_growth() -> None:
    assert delta(None, reading(0, 10**12), GIGABIT) == Growth(Seen.FIRST)


def test_growth_is_the_difference() -> None:
    assert grown(reading(0, 100), reading(60, 250)) == ("growth", 150)
    assert grown(reading(0, 100), reading(60, 100)) == ("growth", 0)


def test_a_64_bit_counter_that_fell_was_reset_and_never_wrapped() -> None:
    assert grown(reading(0, 2**64 - 100), reading(60, 50)) == ("reset", 50)


def test_after_a_reboot_the_growth_is_the_new_value() -> None:
    before = reading(0, 10**12, uptime_ticks=8_640_000)
    assert grown(before, reading(60, 4_000, uptime_ticks=3_000)) == ("reset", 4_000)
    assert grown(reading(0, 1_000, uptime_ticks=8_640_000), reading(60, 4_000, uptime_ticks=3_000)) == ("reset", 4_000)


def test_a_reboot_shows_even_if_the_uptime_has_overtaken_the_old_one() -> None:
    before = reading(0, 10**12, uptime_ticks=1_000)
    assert grown(before, reading(3600, 4_000, uptime_ticks=300_000)) == ("reset", 4_000)


def test_an_agent_that_restarted_while_its_counters_lived_on_is_plain_growth() -> None:
    before = reading(0, 10**13, uptime_ticks=8_640_000)
    assert grown(before, reading(60, 10**13 + 500, uptime_ticks=1_000)) == ("growth", 500)


def test_sysuptime_wraps_after_497_days_without_a_restart() -> None:
    before = reading(0, 100, uptime_ticks=2**32 - 3_000)
    after = reading(60, 900, uptime_ticks=3_000)
    assert not restarted(before, after)
    assert grown(before, after) == ("growth", 800)


def test_an_announced_discontinuity_is_a_reset_even_if_the_value_rose() -> None:
    before = reading(0, 100, uptime_ticks=100_000, discontinuity_ticks=0)
    after = reading(60, 700, uptime_ticks=106_000, discontinuity_ticks=103_000)
    assert grown(before, after) == ("reset", 700)


def test_a_32_bit_counter_wraps_within_what_the_port_can_carry() -> None:
    before, after = reading(0, 2**32 - 1_000, bits=32), reading(30, 500, bits=32)
    assert grown(before, after, 10**8) == ("wrap", 1_500)


def test_a_32_bit_counter_that_fell_too_far_for_a_wrap_was_reset() -> None:
    before, after = reading(0, 3 * 10**9, bits=32), reading(30, 500, bits=32)
    assert grown(before, after, 10**8) == ("reset", 500)


def test_a_32_bit_counter_on_a_port_that_may_wrap_it_twice_is_a_gap() -> None:
    assert grown(reading(0, 100, bits=32), reading(60, 200, bits=32), 10 * GIGABIT) == ("gap", None)


def test_more_than_the_port_can_carry_is_quarantined_and_says_how_much() -> None:
    growth = delta(reading(0, 0), reading(60, 10**12), GIGABIT)
    assert (growth.seen, growth.octets, growth.refused) == (Seen.QUARANTINED, None, 10**12)


def test_a_counter_that_fell_to_an_impossible_value_is_quarantined() -> None:
    assert grown(reading(0, 10**15), reading(60, 10**14)) == ("quarantined", None)


def test_a_port_of_unknown_speed_is_held_to_the_fastest_port_there_is() -> None:
    assert grown(reading(0, 0), reading(60, 10**13), None) == ("growth", 10**13)
    assert grown(reading(0, 0), reading(60, 10**14), None) == ("quarantined", None)


def test_a_reading_that_is_not_later_is_a_gap() -> None:
    assert grown(reading(60, 5), reading(60, 9)) == ("gap", None)
    assert grown(reading(60, 5), reading(30, 9)) == ("gap", None)


def test_another_interface_index_or_width_is_another_counter() -> None:
    assert grown(reading(0, 5, index=1), reading(60, 9, index=2)) == ("gap", None)
    assert grown(reading(0, 5, bits=32), reading(60, 9)) == ("gap", None)


@pytest.mark.parametrize("missing", [1, 2, 5])
def test_missing_polls_lose_no_octets(missing: int) -> None:
    assert grown(reading(0, 100), reading(60 * (missing + 1), 700)) == ("growth", 600)


POLLS = st.lists(st.tuples(st.integers(1, 600), st.integers(0, 10**9)), min_size=1, max_size=40)


@given(POLLS, st.integers(0, 2**60), st.integers(0, 2**32 - 1))
def test_without_resets_the_sum_of_deltas_is_the_true_growth(
    polls: list[tuple[int, int]], start: int, uptime: int
) -> None:
    clock, value, readings = 0, start, [reading(0, start, uptime_ticks=uptime)]
    for seconds, share in polls:
        clock += seconds
        value += share % capacity(GIGABIT, seconds - 4)
        readings.append(reading(clock, value, uptime_ticks=(uptime + clock * 100) % 2**32))
    deltas = [delta(a, b, GIGABIT) for a, b in pairwise(readings)]
    assert {d.seen for d in deltas} == {Seen.GROWTH}
    assert sum(d.octets or 0 for d in deltas) == value - start


@given(POLLS, st.integers(0, 2**32 - 1))
def test_a_32_bit_counter_loses_nothing_however_often_it_wraps(polls: list[tuple[int, int]], start: int) -> None:
    fast_ethernet, clock, total = 10**8, 0, 0
    before, deltas = reading(0, start, bits=32), []
    for seconds, share in polls:
        step = min(seconds, 300)
        clock += step
        total += share % capacity(fast_ethernet, step - 4)
        after = reading(clock, (start + total) % 2**32, bits=32)
        deltas.append(delta(before, after, fast_ethernet))
        before = after
    assert sum(d.octets or 0 for d in deltas) == total


READINGS = st.builds(
    reading,
    st.integers(0, 10**6),
    st.integers(0, 2**64 - 1),
    bits=st.sampled_from([32, 64]),
    uptime_ticks=st.integers(0, 2**32 - 1),
    discontinuity_ticks=st.integers(0, 2**32 - 1),
    index=st.integers(1, 2),
)


@given(READINGS, READINGS, st.sampled_from([None, 10**7, GIGABIT, 400 * GIGABIT]))
def test_a_delta_is_never_negative_and_never_more_than_the_port_can_carry(
    before: Reading, after: Reading, speed_bps: int | None
) -> None:
    growth = delta(before, after, speed_bps)
    if growth.octets is not None:
        assert 0 <= growth.octets <= capacity(speed_bps, (after.at - before.at).total_seconds())
    assert (growth.refused is not None) == (growth.seen is Seen.QUARANTINED)
