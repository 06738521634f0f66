"""Call records, and other usage, in CSV files: a described mapping from columns to facts. Pure.

    mapping + text → a Fact or an Unreadable per line, each with its line number

One record is one line, so a broken quote costs one record and not the rest of the file. A duration that is missing is
no zero. Local times are those of `zone`; of the hour that comes twice a year the one that the duration bears out, else
the first, and one that does not exist is unreadable. Numbers become E.164 digits by the prefixes of the country.

`PRESETS` are the layouts that are documented publicly: Asterisk's cdr_csv, FreeSWITCH's mod_cdr_csv (template
"example"), and a CSV with a header, as SIP switches with accounting in a database export it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from billing_bridge.sources import wall_time
from billing_bridge.sources.model import Fact, Told, Unreadable
from billing_bridge.sources.wall_time import Durations, NoTime, Times

_LONGEST_LINE = 4_000
_LONGEST_KEY = 190
_USER = re.compile(r"^<?(?:sips?:|tel:)", re.IGNORECASE)
"""What stands before a number in a SIP URI (RFC 3261 section 19.1) or a tel URI (RFC 3966)."""
_WHOLE = re.compile(r"-?[0-9]{1,18}")
Column = Annotated[str, Field(max_length=60)]


class Numbers(BaseModel):
    """How telephone numbers are written: 0049 30 1, 030 1 and +49 30 1 are all 49301 with "49", "00" and "0"."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    country: str = Field(default="", pattern=r"^[0-9]{0,4}$")
    international: str = Field(default="00", pattern=r"^[0-9]{0,5}$")
    trunk: str = Field(default="", pattern=r"^[0-9]{0,3}$")

    def e164(self, text: str) -> str:
        """Digits without a sign; a short code stays what it is, and what is no number becomes empty."""
        user = _USER.sub("", text.strip())
        written = re.sub(r"[ ()./-]", "", re.split(r"[@;>]", user, maxsplit=1)[0])
        digits = written.removeprefix("+")
        if not digits.isascii() or not digits.isdigit():
            return ""
        if written.startswith("+"):
            return digits
        if self.international and digits.startswith(self.international):
            return digits[len(self.international) :]
        if self.country and self.trunk and digits.startswith(self.trunk):
            return self.country + digits[len(self.trunk) :]
        return digits


class CsvMapping(BaseModel):
    """Which column says what. Without `columns` the first line of a file names them.

    `start` is where charging begins (the answer), `fallback` where `start` is empty: a call that nobody answered.
    `key` columns together are the idempotency key; without any, the whole line is, and two equal lines are one.
    `time` is how instants are written ("format": as `time_format` says, in the letters of strptime). `date` is the
    column of the day where the others hold times of day; an end before its begin is then of the next day. `durations`
    are seconds, milliseconds or "clock" (0:01:05), and `decimal` is what stands before a fraction.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: tuple[Column, ...] = ()
    delimiter: str = Field(default=",", pattern=r"^[,;:|\t]$")
    identifier: Column
    start: Column
    fallback: Column = ""
    end: Column = ""
    duration: Column = ""
    number: Column = ""
    upstream: Column = ""
    downstream: Column = ""
    key: tuple[Column, ...] = ()
    time: Times = "iso"
    time_format: str = Field(default="", max_length=60)
    date: Column = ""
    durations: Durations = "seconds"
    decimal: str = Field(default=".", pattern=r"^[.,]$")
    zone: str = "UTC"
    numbers: Numbers = Numbers()
    answered: Column = ""
    """A column that says whether the call was answered; the others cost nothing whatever their duration."""
    answered_values: tuple[str, ...] = ()

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{name!r} is no zone of the IANA database") from None
        return name

    @model_validator(mode="after")
    def _named_columns(self) -> CsvMapping:
        if self.columns:
            unknown = [name for name in self.used if name not in self.columns]
            if unknown:
                raise ValueError(f"not among the columns: {', '.join(unknown)}")
        if bool(self.answered) != bool(self.answered_values):
            raise ValueError("answered and answered_values belong together")
        if (self.time == "format") != bool(self.time_format):
            raise ValueError('time_format belongs to the time "format"')
        if self.time_format:
            wall_time.check_format(self.time_format)
        if self.date and self.time not in ("iso", "format"):
            raise ValueError("an epoch has no date in another column")
        return self

    @property
    def used(self) -> tuple[str, ...]:
        """The columns that it reads."""
        one = (
            self.identifier, self.start, self.fallback, self.end, self.duration, self.number, self.upstream,
            self.downstream, self.answered, self.date,
        )  # fmt: skip
        return tuple(dict.fromkeys(name for name in (*one, *self.key) if name))


_ASTERISK = (
    "accountcode", "src", "dst", "dcontext", "clid", "channel", "dstchannel", "lastapp", "lastdata", "start", "answer",
    "end", "duration", "billsec", "disposition", "amaflags",
)  # fmt: skip
_ASTERISK_MORE = ("uniqueid", "userfield", "peeraccount", "linkedid", "sequence")
"""Logged by `loguniqueid`, `loguserfield` and, the last three, by `newcdrcolumns`; all are off by default."""

PRESETS: Mapping[str, CsvMapping] = {
    "asterisk": CsvMapping(
        columns=(*_ASTERISK, *_ASTERISK_MORE), identifier="src", number="dst", start="answer",
        fallback="start", end="end", duration="billsec", key=("uniqueid", "channel", "start"),
        answered="disposition", answered_values=("ANSWERED",),
    ),
    "freeswitch": CsvMapping(
        columns=(
            "caller_id_name", "caller_id_number", "destination_number", "context", "start_stamp", "answer_stamp",
            "end_stamp", "duration", "billsec", "hangup_cause", "uuid", "bleg_uuid", "accountcode", "read_codec",
            "write_codec",
        ),
        identifier="caller_id_number", number="destination_number", start="answer_stamp", fallback="start_stamp",
        end="end_stamp", duration="billsec", key=("uuid",),
    ),
    "sip": CsvMapping(
        identifier="caller", number="callee", start="start_time", duration="duration", key=("call_id",),
    ),
    "octets": CsvMapping(
        identifier="identifier", start="since", end="until", upstream="upstream_octets",
        downstream="downstream_octets", key=("id",),
    ),
}  # fmt: skip
"""By name. Lines of Asterisk may lack their last columns."""

_OPTIONAL_TAIL = frozenset({*_ASTERISK_MORE, "accountcode", "read_codec", "write_codec", "bleg_uuid"})


class _Wrong(Exception):
    """What is wrong with a line."""


def read(text: str, mapping: CsvMapping, *, phone: bool, first_line: int = 1) -> Iterator[Told]:
    """Every line that is not empty. `phone`: identifiers are telephone numbers. `first_line` numbers the first one."""
    names: list[str] | None = list(mapping.columns) or None
    ends = "\n" if "\n" in text else "\r"
    for number, ended in enumerate(text.removeprefix("\ufeff").split(ends), first_line):
        line = ended.removesuffix("\r")
        if not line.strip():
            continue
        if names is None:
            try:
                names = _header(line, mapping)
            except _Wrong as wrong:
                yield Unreadable(number, str(wrong), line)
                return
            continue
        try:
            yield _fact(line, number, names, mapping, phone=phone)
        except _Wrong as wrong:
            yield Unreadable(number, str(wrong)[:200], line)


def _header(line: str, mapping: CsvMapping) -> list[str]:
    names = [name.strip() for name in _cells(line, mapping)]
    missing = [name for name in mapping.used if name not in names]
    if missing:
        raise _Wrong(f"the first line does not name the columns {', '.join(missing)}")
    return names


def _cells(line: str, mapping: CsvMapping) -> list[str]:
    if len(line) > _LONGEST_LINE:
        raise _Wrong(f"longer than {_LONGEST_LINE} characters")
    try:
        return next(csv.reader([line], delimiter=mapping.delimiter, strict=True))
    except csv.Error as error:
        raise _Wrong(f"no CSV: {error}") from None


def _fact(line: str, number: int, names: list[str], mapping: CsvMapping, *, phone: bool) -> Fact:
    cells = _cells(line, mapping)
    if len(cells) > len(names) or any(name not in _OPTIONAL_TAIL for name in names[len(cells) :]):
        raise _Wrong(f"{len(cells)} fields, where {len(names)} are expected")
    row = dict(zip(names, (cell.strip() for cell in cells), strict=False))
    answered = not mapping.answered or row[mapping.answered] in mapping.answered_values
    since, until, duration = _when(row, mapping)
    if mapping.start and not _time_of(row, mapping.start, mapping):
        answered = False
    if not answered:
        duration = 0
    called = mapping.numbers.e164(row[mapping.number]) if mapping.number else ""
    if mapping.number and answered and not called:
        raise _Wrong(f"{mapping.number} {row[mapping.number]!r} is no number")
    who = mapping.numbers.e164(row[mapping.identifier]) if phone else row[mapping.identifier]
    if not who or len(who) > 253:
        raise _Wrong(f"{mapping.identifier} {row[mapping.identifier]!r} names nobody")
    return Fact(
        key=_key(line, row, mapping),
        line=number,
        identifier=who,
        since=since,
        until=until,
        content=line,
        upstream_octets=_whole(row[mapping.upstream], mapping.upstream) if mapping.upstream else 0,
        downstream_octets=_whole(row[mapping.downstream], mapping.downstream) if mapping.downstream else 0,
        duration_s=duration,
        number=called[:64],
    )


def _key(line: str, row: Mapping[str, str], mapping: CsvMapping) -> str:
    parts = [row.get(name, "") for name in mapping.key]
    if not any(parts):
        return f"line:{sha256(line.encode()).hexdigest()}"
    key = "|".join(parts)
    return key if len(key) <= _LONGEST_KEY else f"key:{sha256(key.encode()).hexdigest()}"


def _whole(text: str, name: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise _Wrong(f"{name} {text!r} is no whole number" if text else f"{name} is missing")
    return int(text)


def _when(row: Mapping[str, str], mapping: CsvMapping) -> tuple[datetime, datetime, int]:
    """Begin, end, and the duration in seconds (0 where the file has none)."""
    start, zone = mapping.start, ZoneInfo(mapping.zone)
    if not _time_of(row, start, mapping) and mapping.fallback:
        start = mapping.fallback if _time_of(row, mapping.fallback, mapping) else start
    begins = _instants(row, start, mapping, zone)
    duration = None
    if mapping.duration:
        try:
            duration = wall_time.seconds(row[mapping.duration], mapping.durations, mapping.decimal)
        except NoTime as wrong:
            raise _Wrong(
                f"{mapping.duration} {wrong}" if row[mapping.duration] else f"{mapping.duration} is missing"
            ) from None
    if mapping.end and _time_of(row, mapping.end, mapping):
        ends = _instants(row, mapping.end, mapping, zone)
        since, until = wall_time.span(begins, ends, duration, next_day=bool(mapping.date))
    else:
        since, until = begins[0], begins[0] + timedelta(seconds=max(0, min(duration or 0, 10**9)))
    return since, until, duration or 0


def _time_of(row: Mapping[str, str], name: str, mapping: CsvMapping) -> str:
    """What stands there. An epoch of 0 is how a switch writes that there was none."""
    text = row.get(name, "")
    return "" if mapping.time in ("epoch", "epoch-ms") and text.strip("0.") == "" else text


def _instants(row: Mapping[str, str], name: str, mapping: CsvMapping, zone: ZoneInfo) -> tuple[datetime, ...]:
    text = _time_of(row, name, mapping)
    if not text:
        raise _Wrong(f"{name} is missing")
    whole = f"{row[mapping.date]} {text}" if mapping.date else text
    try:
        return wall_time.instants(whole, mapping.time, mapping.time_format, zone)
    except NoTime as wrong:
        raise _Wrong(f"{name} {wrong}") from None
