"""The rules of sessions: one id, many lives, records in any order."""

from __future__ import annotations

import random
from bisect import insort
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from radius.accounting.lives import begin, place, repeats_older
from radius.accounting.metering import Fastest, port_speed
from radius.accounting.record import AccountingRecord
from radius.accounting.session import LIVE, VOID, Session, end_provisionally, is_stale, observe
from tests.support.accounting import NAS, accounting

T = 1_790_000_000


def told(*records: AccountingRecord) -> list[Session]:
    """What is known after these records came in this order."""
    lives: list[Session] = []
    for record in records:
        tell(lives, record)
    return [life for life in lives if life.state != VOID]


def tell(lives: list[Session], record: AccountingRecord, fastest: Fastest = port_speed) -> Session:
    session = place(lives, record)
    if session is None:
        session = begin(record, lives, f"{len(lives):032x}", None)
        insort(lives, session, key=lambda life: life.started_us)
    observe(session, record, fastest)
    for other in repeats_older(lives, session, record):
        other.state = VOID
    lives.sort(key=lambda life: life.started_us)
    return session


def at(
    second: int, kind: str, *, seconds: int | None = None, up: int | None = None, down: int | None = None
) -> AccountingRecord:
    """A record of a NAS that sends Event-Timestamp."""
    packet = accounting(kind, at=T + second, seconds=seconds, up=up, down=down)
    return AccountingRecord(packet, NAS, (T + second) * 1_000_000 + 5_000)


def arriving(
    second: float, kind: str, *, seconds: int | None = None, up: int | None = None, delay: int | None = None
) -> AccountingRecord:
    """A record of a NAS that does not."""
    packet = accounting(kind, seconds=seconds, up=up, down=up, delay=delay)
    return AccountingRecord(packet, NAS, int((T + second) * 1_000_000))


def seen(lives: Sequence[Session]) -> list[tuple[int, int | None, int, int]]:
    """(began, ended, up, down) of each life, seconds after T."""
    return [
        (
            life.started_us // 1_000_000 - T,
            None if life.ended_us is None else life.ended_us // 1_000_000 - T,
            life.upstream_octets,
            life.downstream_octets,
        )
        for life in lives
    ]


def test_a_session_runs_from_start_to_stop() -> None:
    lives = told(at(0, "start"), at(300, "interim", seconds=300, up=5, down=6), at(400, "stop", seconds=400, up=7))
    assert seen(lives) == [(0, 400, 7, 6)]
    assert not lives[0].provisional


def test_a_stop_without_start_derives_the_beginning_from_its_session_time() -> None:
    assert seen(told(at(500, "stop", seconds=450, up=1, down=2))) == [(50, 500, 1, 2)]


def test_a_start_that_comes_after_its_interim_is_of_the_same_session() -> None:
    assert seen(told(at(300, "interim", seconds=300, up=1, down=1), at(0, "start"))) == [(0, None, 1, 1)]


def test_a_late_interim_raises_the_ended_session_and_opens_none() -> None:
    lives = told(at(0, "start"), at(600, "stop", seconds=600, up=10, down=10), at(590, "interim", seconds=590, up=12))
    assert seen(lives) == [(0, 600, 12, 10)]


def test_a_late_interim_of_a_nas_without_clock_opens_none_either() -> None:
    lives = told(
        arriving(0, "start"), arriving(600, "stop", seconds=600, up=10), arriving(601, "interim", seconds=590, up=9)
    )
    assert seen(lives) == [(0, 600, 10, 10)]


def test_an_id_used_again_after_its_stop_is_a_new_life() -> None:
    lives = told(
        at(0, "start"),
        at(600, "stop", seconds=600, up=10, down=10),
        at(601, "start"),
        at(901, "interim", seconds=300, up=3, down=4),
    )
    assert seen(lives) == [(0, 600, 10, 10), (601, None, 3, 4)]


def test_an_id_used_again_at_once_by_a_nas_without_clock_is_a_new_life() -> None:
    lives = told(
        arriving(0.0, "start"),
        arriving(0.1, "stop", seconds=600, up=1000),
        arriving(0.2, "start"),
        arriving(0.3, "interim", seconds=10, up=7),
        arriving(0.4, "stop", seconds=20, up=9),
    )
    assert [life.upstream_octets for life in lives] == [1000, 9]


def test_an_id_used_again_without_any_stop_is_a_new_life() -> None:
    lives = told(
        at(0, "start"), at(300, "interim", seconds=300, up=10, down=10), at(900, "interim", seconds=300, up=3, down=4)
    )
    assert seen(lives) == [(0, None, 10, 10), (600, None, 3, 4)]


def test_a_young_session_whose_records_are_repeated_unchanged_goes_on() -> None:
    """The server was away, or the line: 14 s of retransmission (RFC 5080 §2.2.1), and nothing in the packet says so."""
    lives = told(
        arriving(0, "start"), arriving(15, "interim", seconds=1, up=10), arriving(40, "stop", seconds=16, up=20)
    )
    assert seen(lives) == [(0, 40, 20, 20)]


def test_a_young_session_with_lower_counters_than_before_is_a_new_life() -> None:
    lives = told(arriving(0, "start"), arriving(5, "interim", seconds=5, up=10), arriving(30, "stop", seconds=6, up=9))
    assert [life.upstream_octets for life in lives] == [10, 9]


def test_a_record_that_says_how_long_it_waited_begins_when_it_says() -> None:
    lives = told(arriving(0, "start"), arriving(30, "stop", seconds=5, up=9, delay=2))
    assert seen(lives) == [(0, None, 0, 0), (23, 30 - 2, 9, 9)]


def test_session_time_back_near_zero_with_lower_counters_is_a_new_life() -> None:
    lives = told(
        arriving(0, "start"), arriving(1, "interim", seconds=5000, up=1000), arriving(2, "interim", seconds=5, up=9)
    )
    assert [life.upstream_octets for life in lives] == [1000, 9]


def test_lives_are_told_apart_even_when_the_later_one_is_heard_of_first() -> None:
    lives = told(
        at(2000, "stop", seconds=1000, up=5, down=5),
        at(900, "stop", seconds=900, up=9, down=9),
        at(1300, "interim", seconds=300, up=2, down=2),
        at(0, "start"),
        at(500, "interim", seconds=500, up=4, down=4),
    )
    assert seen(lives) == [(0, 900, 9, 9), (1000, 2000, 5, 5)]


def test_rfc2866_5_2_a_repetition_with_another_delay_adds_nothing() -> None:
    lives = told(
        arriving(0, "start"),
        arriving(5, "start", delay=5),
        arriving(300, "interim", seconds=300, up=5),
        arriving(303, "interim", seconds=300, up=5, delay=3),
        arriving(400, "stop", seconds=400, up=6),
        arriving(404, "stop", seconds=400, up=6, delay=4),
        arriving(405, "start", delay=405),
    )
    assert seen(lives) == [(0, 400, 6, 6)]


def test_sessions_that_a_nas_starts_again_after_losing_its_server_go_on() -> None:
    """Some NAS send Accounting-On and every Start again although nothing restarted: the counters tell."""
    lives = told(
        at(0, "start"),
        at(300, "interim", seconds=300, up=10, down=10),
        at(400, "start"),
        at(600, "interim", seconds=600, up=20, down=20),
    )
    assert seen(lives) == [(0, None, 20, 20)]


def test_a_stop_without_octets_keeps_the_totals_and_says_so() -> None:
    lives = told(at(0, "start"), at(300, "interim", seconds=300, up=10, down=10), at(400, "stop", seconds=400))
    assert seen(lives) == [(0, 400, 10, 10)]
    assert lives[0].final_unknown
    assert not told(at(0, "start"), at(400, "stop", seconds=400, up=1, down=1))[0].final_unknown


def test_a_counter_that_wraps_at_2_to_the_32_is_flagged_and_never_lowers_the_total() -> None:
    lives = told(
        at(0, "start"), at(300, "interim", seconds=300, down=2**32 - 5), at(600, "interim", seconds=600, down=100)
    )
    assert seen(lives) == [(0, None, 0, 2**32 - 5)]
    assert lives[0].counter_fell


def test_a_silent_session_is_stale_after_its_interims_and_later_evidence_opens_it_again() -> None:
    lives = told(at(0, "start"), at(300, "interim", seconds=300, up=1, down=1))
    session = lives[0]
    silence_us = 3 * NAS.interim_interval_s * 1_000_000
    assert not is_stale(session, session.last_seen_us + silence_us, 3)
    assert is_stale(session, session.last_seen_us + silence_us + 1, 3)
    end_provisionally(session, "stale")
    assert seen(lives) == [(0, 300, 1, 1)]
    tell(lives, at(200, "interim", seconds=200, up=1, down=2))
    assert session.provisional, "a late record is no sign of life"
    tell(lives, at(1500, "interim", seconds=1500, up=2, down=2))
    assert seen(lives) == [(0, None, 2, 2)]
    assert session.state == LIVE


def test_a_stop_makes_a_provisional_end_certain() -> None:
    lives = told(at(0, "start"), at(300, "interim", seconds=300, up=1, down=1))
    end_provisionally(lives[0], "stale")
    tell(lives, at(350, "stop", seconds=350, up=3, down=3))
    assert seen(lives) == [(0, 350, 3, 3)]
    assert not lives[0].provisional


LIVES = st.lists(
    st.tuples(
        st.integers(60, 2000),  # pause before the life
        st.lists(st.integers(30, 900), min_size=1, max_size=6),  # seconds between its records
        st.booleans(),  # whether its Start arrives at all
    ),
    min_size=1,
    max_size=4,
)


def written(plan: list[tuple[int, list[int], bool]]) -> tuple[list[AccountingRecord], list[tuple[int, int, int, int]]]:
    """The records of a NAS that reuses one id, and the sessions it really had."""
    records, truth, now = [], [], 0
    for pause, steps, has_start in plan:
        began = now = now + pause
        if has_start:
            records.append(at(began, "start"))
        total = 0
        for n, step in enumerate(steps):
            now, total = now + step, total + 1000 + step
            kind = "stop" if n == len(steps) - 1 else "interim"
            records.append(at(now, kind, seconds=now - began, up=total, down=2 * total))
        truth.append((began, now, total, 2 * total))
    return records, truth


@given(LIVES)
def test_in_order_every_life_is_seen_as_it_was(plan: list[tuple[int, list[int], bool]]) -> None:
    records, truth = written(plan)
    assert seen(told(*records)) == truth


@given(LIVES, st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(plan: list[tuple[int, list[int], bool]], dice: random.Random) -> None:
    records, truth = written(plan)
    records += dice.choices(records, k=len(records))
    dice.shuffle(records)
    assert seen(told(*records)) == truth


@given(LIVES, st.randoms(use_true_random=False))
def test_totals_never_fall(plan: list[tuple[int, list[int], bool]], dice: random.Random) -> None:
    records, _ = written(plan)
    dice.shuffle(records)
    lives: list[Session] = []
    known: dict[str, tuple[int, int]] = {}
    for record in records:
        session = tell(lives, record)
        totals = (session.upstream_octets, session.downstream_octets)
        before = known.get(session.session_key, (0, 0))
        assert totals[0] >= before[0]
        assert totals[1] >= before[1]
        known[session.session_key] = totals
