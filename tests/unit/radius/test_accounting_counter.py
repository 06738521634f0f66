"""Counters that wrap, fall, leap or are absent: what counts, what is held, and what never happened."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from radius.accounting.counter import RESET, TOO_FAST, WRAP, Counter, read
from radius.accounting.metering import Speeds, counters
from radius.accounting.record import AccountingRecord
from radius.accounting.session import Session
from radius.protocol.codes import Attr
from radius.protocol.nas import Nas
from radius.protocol.packet import integer_attribute, vendor_attribute
from tests.support.accounting import NAS, accounting
from tests.unit.radius.test_accounting_session import T, tell

GIB = 1 << 30
PLAN = (20_000_000, 50_000_000)
"""bit/s up and down: in 300 s at most 1.9 GiB come down, so a counter of 32 bits wraps once at most."""


def session_after(*records: AccountingRecord, plan: tuple[int, int] | None = PLAN) -> Session:
    lives: list[Session] = []
    fastest = {} if plan is None else {"fastest": lambda _record: Speeds(plan, plan)}
    for record in records:
        tell(lives, record, **fastest)
    assert len(lives) == 1
    return lives[0]


def at(second: int, down: int | None, kind: str = "interim", *, nas: Nas = NAS, more: bytes = b"") -> AccountingRecord:
    """A record of a NAS without gigawords above 2^32, unless `down` says more."""
    packet = accounting(kind, at=T + second, seconds=second, up=down and 0, down=down, more=more)
    return AccountingRecord(packet, nas, (T + second) * 1_000_000)


def test_rfc2869_5_2_nine_gib_with_gigawords_are_exact() -> None:
    steps = [at(900 * n, n * GIB) for n in range(10)]
    session = session_after(*steps, at(9100, 9 * GIB + 17, "stop"))
    assert (session.downstream_octets, session.counter_fell) == (9 * GIB + 17, False)


def test_a_counter_of_32_bits_is_followed_over_its_wraps_and_flagged() -> None:
    truth = [n * 1_200_000_000 for n in range(16)]
    session = session_after(*(at(300 * n, value % 2**32) for n, value in enumerate(truth)))
    assert session.downstream_octets == truth[-1]
    assert (session.counter_fell, session.has_wrapped) == (True, True)
    assert counters(session)[1].held == 0


def test_late_and_repeated_records_around_a_wrap_change_nothing() -> None:
    truth = [n * 1_200_000_000 for n in range(8)]
    records = [at(300 * n, value % 2**32) for n, value in enumerate(truth)]
    late = [*records[:3], *records[4:], records[3], *records[1:5]]
    assert session_after(*late).downstream_octets == truth[-1]


def test_a_late_record_from_before_the_wrap_shows_that_there_was_one() -> None:
    session = session_after(at(1200, 700_000_000), at(900, 3_300_000_000))
    assert session.downstream_octets == 2**32 + 700_000_000
    assert session.has_wrapped


def test_a_wrap_that_may_have_been_several_is_held() -> None:
    fast = (10**9, 10**9)
    session = session_after(at(300, 4_000_000_000), at(600, 1_000_000_000), at(900, 1_500_000_000), plan=fast)
    held = 1_000_000_000 + 2**32 - 4_000_000_000
    assert counters(session)[1] == Counter(4_500_000_000, held, 2**32), "what comes after it counts"
    assert session.has_wrapped


def test_a_counter_reset_inside_a_session_is_held_and_what_follows_counts() -> None:
    session = session_after(at(3000, 9 * GIB), at(3300, 400_000_000), at(3600, 500_000_000), plan=(10**8, 10**8))
    assert counters(session)[1] == Counter(9 * GIB + 100_000_000, 400_000_000, 9 * GIB)
    assert (session.counter_fell, session.has_wrapped) == (True, False)


def test_a_stop_that_reports_a_little_less_than_the_last_interim_changes_nothing() -> None:
    session = session_after(at(300, 500_000_000), at(310, 499_000_000, "stop"))
    assert (session.downstream_octets, session.counter_fell, session.counter_state) == (500_000_000, True, None)


def test_a_stop_of_zeros_lowers_nothing_and_holds_nothing() -> None:
    session = session_after(at(300, 500_000_000), at(310, 0, "stop"))
    assert (session.downstream_octets, counters(session)[1].held) == (500_000_000, 0)


def test_absent_counters_are_not_zero() -> None:
    session = session_after(at(300, 500_000_000), at(600, None), at(900, 900_000_000))
    assert (session.downstream_octets, session.counter_fell) == (900_000_000, False)


def test_more_than_the_plan_can_carry_is_held_from_the_first_value_on() -> None:
    session = session_after(at(300, 3_160_000_000), at(600, 3_260_000_000))
    assert counters(session)[1] == Counter(100_000_000, 3_160_000_000)


def test_a_leap_that_is_taken_back_never_was() -> None:
    session = session_after(at(300, 100_000_000), at(600, 90 * GIB), at(900, 300_000_000), at(1200, 400_000_000))
    assert counters(session)[1] == Counter(400_000_000)
    assert session.counter_state is None


def test_a_single_wrong_zero_does_not_shift_what_comes_after() -> None:
    session = session_after(at(300, 800_000_000), at(600, 0), at(900, 1_500_000_000))
    assert session.downstream_octets == 1_500_000_000


def test_an_interval_in_which_the_plan_changed_may_have_had_either_speed() -> None:
    lives: list[Session] = []
    tell(lives, at(300, 3_000_000_000), fastest=lambda _: Speeds((10**8, 10**8), (10**8, 10**8)))
    tell(lives, at(600, 6_000_000_000), fastest=lambda _: Speeds((10**7, 10**7), (10**7, 10**7)))
    tell(lives, at(900, 9_000_000_000), fastest=lambda _: Speeds((10**7, 10**7), (10**7, 10**7)))
    assert counters(lives[0])[1] == Counter(6_000_000_000, 3_000_000_000)


def test_a_nas_that_counts_the_other_way_round_is_turned() -> None:
    turned = Nas(NAS.nas_id, "turned", "127.0.0.9", NAS.secret, swaps_octets=True)
    packet = accounting("interim", at=T, seconds=300, up=7 << 32, down=5)
    record = AccountingRecord(packet, turned, T * 1_000_000)
    assert (record.upstream_octets, record.downstream_octets) == (5, 7 << 32)
    assert record.counts_to_32_bits() == (True, False)


JUNIPER_IPV6 = b"".join(
    vendor_attribute(4874, kind, value.to_bytes(4, "big")) for kind, value in ((151, 10), (152, 70), (155, 0), (156, 1))
)
HUAWEI_IPV6 = b"".join(vendor_attribute(2011, kind, value.to_bytes(4, "big")) for kind, value in ((144, 10), (145, 70)))
NOKIA_IPV6 = b"".join(
    vendor_attribute(6527, kind, value.to_bytes(4, "big")) for kind, value in ((195, 10), (198, 70), (196, 0), (199, 1))
)
CISCO_IPV6 = b"".join(
    vendor_attribute(9, 1, pair)
    for pair in (
        b"acct-input-octets-ipv4=99",
        b"acct-input-octets-ipv6=10",
        b"acct-output-octets-ipv6=70",
        b"acct-output-gigawords-ipv6=1",
    )
)


def test_ipv6_counters_are_a_part_of_the_standard_ones_and_never_added() -> None:
    for more in (JUNIPER_IPV6, HUAWEI_IPV6, NOKIA_IPV6, CISCO_IPV6):
        record = at(300, (1 << 32) + 100, more=more)
        assert (record.upstream_octets, record.downstream_octets) == (0, (1 << 32) + 100)


def test_a_nas_whose_standard_counters_leave_ipv6_out_has_them_added() -> None:
    separate = Nas(NAS.nas_id, "separate", "127.0.0.9", NAS.secret, adds_ipv6_octets=True)
    for more in (JUNIPER_IPV6, NOKIA_IPV6, CISCO_IPV6):
        record = at(300, 100, nas=separate, more=more)
        assert (record.upstream_octets, record.downstream_octets) == (10, 170 + (1 << 32))
    for nonsense in (b"acct-input-octets-ipv6=", b"acct-input-octets-ipv6=-1", b"acct-input-octets-ipv6=9999999999"):
        assert at(300, 100, nas=separate, more=vendor_attribute(9, 1, nonsense)).upstream_octets == 0
    plain = at(300, 100, nas=separate)
    assert (plain.upstream_octets, plain.downstream_octets) == (0, 100)
    silent = AccountingRecord(accounting("stop", at=T, seconds=5), separate, T * 1_000_000)
    assert (silent.upstream_octets, silent.downstream_octets) == (None, None), "absent is not zero"


def test_a_counter_of_nine_exabytes_is_no_measurement() -> None:
    more = integer_attribute(Attr.ACCT_INPUT_OCTETS, 1) + integer_attribute(Attr.ACCT_INPUT_GIGAWORDS, 2**32 - 1)
    packet = accounting("interim", at=T, seconds=300, more=more)
    assert AccountingRecord(packet, NAS, T * 1_000_000).upstream_octets is None


def test_reasons_say_what_is_the_matter() -> None:
    known = Counter(10**9)
    assert read(known, 2 * 10**9, later=True, limit=10**8, possible=10**8, is_32_bit=False).reason == TOO_FAST
    assert read(known, 10**6, later=True, limit=10**8, possible=10**8, is_32_bit=False).reason == RESET
    assert read(Counter(4 * 10**9), 10**6, later=True, limit=10**10, possible=10**10, is_32_bit=True).reason == WRAP
    assert read(known, 10**6, later=False, limit=10**8, possible=10**8, is_32_bit=True).counter == known


REPORTS = st.lists(st.tuples(st.integers(0, 2**34), st.integers(0, 2**33), st.booleans()), max_size=12)


@given(REPORTS)
def test_counted_octets_fall_never_and_held_ones_are_never_negative(reports: list[tuple[int, int, bool]]) -> None:
    counter = Counter(0)
    for reported, limit, later in reports:
        after = read(counter, reported, later=later, limit=limit, possible=limit, is_32_bit=reported < 2**32).counter
        assert after.counted >= counter.counted
        assert after.held >= 0
        assert after.base >= 0
        counter = after


@given(st.lists(st.integers(0, 1_800_000_000), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_a_narrow_counter_tells_the_truth_at_any_speed_its_interims_can_follow(
    growths: list[int], dice: random.Random
) -> None:
    total, records = 0, []
    for n, growth in enumerate(growths, 1):
        total += growth
        record = at(300 * n, total % 2**32)
        records += [record] * dice.choice((1, 1, 1, 2))
    session = session_after(*records)
    assert session.downstream_octets == total
