"""Golden tables of text, one per price model: tests/vectors/rating."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from billing_bridge.rating.book import OctetBook, micros
from billing_bridge.rating.line import Call, Octets, Usage
from billing_bridge.rating.percentile import BIN_S
from billing_bridge.rating.proration import DaySpan, Held, Stretch
from billing_bridge.rating.rate import rate
from controller.domain.clock import start_of_day
from controller.domain.identity import OfferingVersionId
from controller.domain.price_text import plan_from_json
from controller.domain.units import OCTET_UNITS
from tests.support.billing_fakes import tariff

VECTORS = Path(__file__).parents[2] / "vectors" / "rating"
VERSION = OfferingVersionId("v")
PLACES = Decimal("1e-12")


@dataclass(frozen=True)
class Row:
    name: str
    plan: str
    period: DaySpan
    zone: ZoneInfo
    since_on: date
    held: str
    used: str
    lines: str


def rows() -> Iterator[Row]:
    for path in sorted(VECTORS.glob("*.txt")):
        said: dict[str, str] = {}
        for number, text in enumerate(path.read_text().splitlines(), 1):
            if not text.strip() or text.startswith("#"):
                continue
            word, _, rest = text.partition(": ")
            if word in ("plan", "period", "zone", "since"):
                said[word] = rest
                continue
            first, until = map(date.fromisoformat, said["period"].split())
            held, used, lines = (cell.strip() for cell in text.split("|"))
            since = date.fromisoformat(said["since"])
            zone = ZoneInfo(said["zone"])
            yield Row(f"{path.stem}:{number}", said["plan"], DaySpan(first, until), zone, since, held, used, lines)


def stretch(text: str, period: DaySpan) -> Stretch:
    days, _, pieces = text.partition("*")
    span = DaySpan(*map(date.fromisoformat, days.split(".."))) if ".." in days else period
    return Stretch(VERSION, span, int(pieces or 1))


def usage(row: Row, held: Held) -> Usage:
    book, calls, ports = OctetBook(row.zone, quarters=True), [], {}
    for number, word in enumerate(filter(None, map(str.strip, row.used.split(";")))):
        if word.startswith("call "):
            at, seconds, called = word.split()[1:]
            calls.append(Call(str(number), local(at, row.zone), int(seconds), called))
        elif word.startswith("port "):
            name, _, bins = word[5:].partition(":")
            ports[name] = dict(runs(bins, int(start_of_day(row.period.first_on, row.zone).timestamp())))
        elif "/" in word:
            interval, octets = word.split()
            since, until = (micros(local(at, row.zone)) for at in interval.split("/"))
            book.add([("s", since, until, 0, int(octets))])
        else:
            amount, _, on = word.removeprefix("up ").partition(" on ")
            count, unit = amount.split()
            octets = int(count) * OCTET_UNITS[unit]
            at = micros(start_of_day(date.fromisoformat(on) if on else held.spans[0].first_on, row.zone))
            up = word.startswith("up ")
            book.add([("s", at, at, octets if up else 0, 0 if up else octets)])
    return replace(book.usage("s"), calls=calls, ports=ports)


def local(text: str, zone: ZoneInfo) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=zone)


def runs(text: str, at: int) -> Iterator[tuple[int, Octets]]:
    for run in text.split():
        count, octets = run.split("*")
        for _ in range(int(count)):
            if octets != "-":
                yield at, Octets(0, int(octets))
            at += BIN_S


@pytest.mark.parametrize("row", list(rows()), ids=lambda row: row.name)
def test_the_rating_function_says_what_was_computed_by_hand(row: Row) -> None:
    words = row.held.replace(" *", "*").split()
    held = Held(VERSION, row.period, tuple(stretch(word, row.period) for word in words), row.since_on)
    version = replace(tariff("v", "0"), plan=plan_from_json(row.plan))
    found = {line.code: line.exact.quantize(PLACES) for line in rate(version, held, row.zone, usage(row, held))}
    wanted = {code: Decimal(amount) for code, amount in (pair.split("=") for pair in row.lines.split())}
    assert {c: a for c, a in found.items() if a} == {c: a for c, a in wanted.items() if a}
    assert set(wanted) <= set(found)


def test_a_line_says_in_words_what_it_is_for() -> None:
    zone, period = ZoneInfo("Europe/Berlin"), DaySpan(date(2026, 9, 1), date(2026, 10, 1))
    held = Held(VERSION, period, (Stretch(VERSION, period, 1),), period.first_on)
    call = Call("1", start_of_day(period.first_on, zone), 60, "49")
    used = Usage({period.first_on: Octets(0, 3 * 10**9)}, calls=[call])
    plan = (
        '{"prices": [{"model": "overage", "code": "data", "price": "1", "included": INCLUDED},'
        ' {"model": "calls", "code": "calls", "destinations": [{"prefix": "", "price": "1"}]}]}'
    )
    said = {}
    for included in ("0", "1000000000"):
        version = replace(tariff("v", "0"), plan=plan_from_json(plan.replace("INCLUDED", included)))
        said[included] = [line.label for line in rate(version, held, zone, used)]
    assert said == {"0": ["3 GB used", "1 call"], "1000000000": ["2 GB beyond the included volume", "1 call"]}
