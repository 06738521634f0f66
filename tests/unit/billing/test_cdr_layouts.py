"""Files of call records as switches of several makes write them: dates, clocks, fractions, the hour that is twice."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from billing_bridge.sources.cdr import PRESETS, CsvMapping, Numbers, read
from billing_bridge.sources.model import Fact, Unreadable

GERMAN = CsvMapping(
    columns=("day", "began", "ended", "lasted", "from", "to"), delimiter=";", identifier="from", number="to",
    start="began", end="ended", duration="lasted", date="day", time="format", time_format="%d.%m.%Y %H:%M:%S",
    durations="clock", decimal=",", zone="Europe/Berlin",
)  # fmt: skip
PLAIN: dict[str, Any] = {"identifier": "a", "start": "s", "end": "e", "duration": "d", "number": "b"}


def told(text: str, mapping: CsvMapping) -> list[Fact | Unreadable]:
    return list(read(text, mapping, phone=True))


def fact(text: str, mapping: CsvMapping) -> Fact:
    (found,) = told(text, mapping)
    assert isinstance(found, Fact), found
    return found


def utc(year: int, month: int, day: int, hour: int, minute: int = 0, second: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)


def test_a_day_and_times_of_day_in_columns_of_their_own_with_a_decimal_comma() -> None:
    found = fact('\ufeff01.09.2026;"10:00:05";10:01:10;"0:01:04,2";4930;4989\r\n', GERMAN)
    assert (found.since, found.until, found.duration_s) == (utc(2026, 9, 1, 8, 0, 5), utc(2026, 9, 1, 8, 1, 10), 65)


def test_a_call_over_midnight_ends_on_the_next_day() -> None:
    found = fact("30.09.2026;23:59:30;00:00:35;1:05;4930;4989", GERMAN)
    assert (found.since, found.until) == (utc(2026, 9, 30, 21, 59, 30), utc(2026, 9, 30, 22, 0, 35))


@pytest.mark.parametrize(
    ("line", "since", "until"),
    [
        ("02:50:00;02:10:00;0:20:00", (0, 50), (1, 10)),  # over the moment at which the clock was put back
        ("02:50:00;03:10:00;0:20:00", (1, 50), (2, 10)),  # the second of the two hours
        ("02:50:00;03:10:00;1:20:00", (0, 50), (2, 10)),
        ("01:50:00;02:10:00;0:20:00", (23, 50), (0, 10)),
        ("02:10:00;02:20:00;0:10:00", (0, 10), (0, 20)),  # nothing says which: the first
    ],
)
def test_the_duration_says_which_of_two_equal_hours_is_meant(
    line: str, since: tuple[int, int], until: tuple[int, int]
) -> None:
    found = fact(f"25.10.2026;{line};4930;4989", GERMAN)
    assert (found.since.hour, found.since.minute) == since
    assert (found.until.hour, found.until.minute) == until
    assert (found.until - found.since).total_seconds() == found.duration_s


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_they_do_on_any_machine(end: str) -> None:
    lines = [f"01.09.2026;10:00:0{n};;0:01:05;4930;4989" for n in range(3)]
    found = told(end.join([*lines, ""]), GERMAN)
    assert [(type(one), one.line) for one in found] == [(Fact, 1), (Fact, 2), (Fact, 3)]


def test_an_hour_that_the_clock_was_put_forward_over_is_no_time() -> None:
    (found,) = told("29.03.2026;02:30:00;02:31:00;1:00;4930;4989", GERMAN)
    assert isinstance(found, Unreadable)
    assert "does not exist in Europe/Berlin" in found.detail


@pytest.mark.parametrize(
    ("written", "durations", "seconds"),
    [("65", "seconds", 65), ("65.0", "seconds", 65), ("64.001", "seconds", 65), ("0.4", "seconds", 1),
     ("-0.5", "seconds", -1), ("64001", "milliseconds", 65), ("0", "milliseconds", 0), ("00:01:05", "clock", 65),
     ("100:00:00", "clock", 360_000)],
)  # fmt: skip
def test_a_started_second_counts_whole(written: str, durations: str, seconds: int) -> None:
    mapping = CsvMapping.model_validate({**PLAIN, "end": "", "durations": durations})
    assert fact(f"a,s,e,d,b\n4930,2026-09-01T08:00:00Z,,{written},4989", mapping).duration_s == seconds


@pytest.mark.parametrize("written", ["1:5", "x", "1:05:61", "1e3", "٣", "65,5"])
def test_what_is_no_length_is_unreadable_and_told(written: str) -> None:
    mapping = CsvMapping.model_validate({**PLAIN, "durations": "clock"})
    (found,) = told(f'a,s,e,d,b\n4930,2026-09-01T08:00:00Z,,"{written}",4989', mapping)
    assert isinstance(found, Unreadable)
    assert found.detail.startswith("d ")


def test_an_epoch_of_0_is_a_call_that_nobody_answered() -> None:
    mapping = CsvMapping.model_validate({**PLAIN, "time": "epoch", "fallback": "o"})
    found = fact("a,o,s,e,d,b\n4930,1788249600,0,1788249630,0,4989", mapping)
    assert (found.since, found.duration_s) == (utc(2026, 9, 1, 8), 0)


@pytest.mark.parametrize(
    "wrong",
    [{"time": "format"}, {"time_format": "%Y"}, {"time": "format", "time_format": "%H:%M:%S"},
     {"time": "format", "time_format": "%Y-%m-%d %H:%M %Q"}, {"time": "epoch", "date": "x"}, {"decimal": ";"}],
)  # fmt: skip
def test_a_mapping_that_could_read_no_instant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CsvMapping.model_validate({**PLAIN, **wrong})


@pytest.mark.parametrize("columns", [16, 17, 18, 19, 20, 21])
def test_a_file_of_asterisk_is_read_whichever_of_its_last_columns_are_logged(columns: int) -> None:
    """cdr.conf: loguniqueid, loguserfield and, for peeraccount, linkedid and sequence, newcdrcolumns."""
    cells = [
        "", "4930555100", "4989123", "ctx", "Anna", "SIP/a-1", "SIP/b-2", "Dial", "", "2026-11-20 10:00:00",
        "2026-11-20 10:00:05", "2026-11-20 10:01:10", "70", "65", "ANSWERED", "DOCUMENTATION", "1795164000.51", "",
        "peer", "1795164000.51", "12",
    ]  # fmt: skip
    text = ",".join(f'"{cell}"' for cell in cells[:columns]) + "\n"
    (found,) = read(text, PRESETS["asterisk"], phone=True)
    assert isinstance(found, Fact)
    assert (found.duration_s, found.number) == (65, "4989123")


@pytest.mark.parametrize(
    "written",
    [
        "sip:+4989123@gw.example.org", "sip:+4989123;user=phone@gw", "<sip:+4989123@10.0.0.1:5060>;tag=1",
        "sips:004989123@gw", "tel:+49-89-123", "tel:+4989123;phone-context=example.org", "SIP:+4989123", "+49 89 123",
    ],
)  # fmt: skip
def test_a_number_is_found_in_a_uri(written: str) -> None:
    assert Numbers(country="49", trunk="0").e164(written) == "4989123"


@pytest.mark.parametrize("written", ["sip:anna@example.org", "tel:", "<>", "anna", "sip:"])
def test_a_uri_of_no_number_is_none(written: str) -> None:
    assert Numbers(country="49", trunk="0").e164(written) == ""
