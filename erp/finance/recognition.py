"""When what was billed is earned: allocation by stand-alone price, schedules by the month, re-planning. Pure.

ASC 606-10-25 and -32, IFRS 15: the price of a contract is allocated to what was promised in proportion to stand-alone
selling prices (32-31, 15.76); what is delivered at once is earned on that day, a service evenly over its days (25-31,
15.35); a modification that leaves distinct goods to come ends the old plan on its day and spreads what was not earned
yet, and what the change adds, over what remains (25-13a, 15.21a).

Amounts are integers of minor units. Each is split by largest remainder, so the parts are the whole for every start day,
and a month gets its share of days to the minor unit: one that begins on the 31st has its one day.

    |··· 16th ───────── month end | ── whole month ── | ─── 16th ···|      one Slice each; days are [first_on, until_on)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from controller.domain.money import allocate

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Slice:
    """What is earned on [first_on, until_on), days of one calendar month."""

    first_on: date
    until_on: date
    minor: int

    @property
    def month(self) -> date:
        """First day of its month."""
        return self.first_on.replace(day=1)

    @property
    def days(self) -> int:
        return (self.until_on - self.first_on).days


@dataclass(frozen=True, slots=True)
class Promise:
    """Something distinct that a contract promises, and its stand-alone selling price in minor units.

    Without `until_on` it is delivered at once, on `first_on`; else it is a service of the days [first_on, until_on).
    """

    name: str
    role: str
    stand_alone_minor: int
    first_on: date
    until_on: date | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """A promise with its share of the price, and when that is earned."""

    promise: Promise
    slices: tuple[Slice, ...]

    @property
    def minor(self) -> int:
        return sum(s.minor for s in self.slices)


def months(first_on: date, until_on: date) -> Iterator[tuple[date, date]]:
    """[first_on, until_on) cut where months end. Raises ValueError for no days."""
    if until_on <= first_on:
        raise ValueError(f"no day lies between {first_on} and {until_on}")
    at = first_on
    while at < until_on:
        end = min(next_month(at), until_on)
        yield at, end
        at = end


def next_month(day: date) -> date:
    """First day of the month after that of `day`."""
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def schedule(minor: int, first_on: date, until_on: date) -> tuple[Slice, ...]:
    """`minor` spread evenly over the days, a slice for each month, by largest remainder. Raises ValueError."""
    spans = list(months(first_on, until_on))
    parts = allocate(minor, [(until - first).days for first, until in spans])
    return tuple(Slice(first, until, part) for (first, until), part in zip(spans, parts, strict=True))


def plan(price_minor: int, promises: Sequence[Promise]) -> list[Planned]:
    """The price of a contract, allocated to its promises by stand-alone price, and scheduled. Raises ValueError."""
    shares = allocate(price_minor, [p.stand_alone_minor for p in promises])
    return [planned_as(promise, share) for promise, share in zip(promises, shares, strict=True)]


def earned(slices: Sequence[Slice], until: date) -> int:
    """What of them is earned before the day `until`."""
    return sum(s.minor for s in cut(slices, until)[0])


def cut(slices: Sequence[Slice], at: date) -> tuple[tuple[Slice, ...], tuple[Slice, ...]]:
    """Before and from the day `at` on. A slice with the day inside it is split by days, by largest remainder."""
    before: list[Slice] = []
    after: list[Slice] = []
    for piece in slices:
        if piece.until_on <= at:
            before.append(piece)
        elif piece.first_on >= at:
            after.append(piece)
        else:
            gone, left = allocate(piece.minor, [(at - piece.first_on).days, (piece.until_on - at).days])
            before.append(replace(piece, until_on=at, minor=gone))
            after.append(replace(piece, first_on=at, minor=left))
    return tuple(before), tuple(after)


def modify(
    planned: Sequence[Planned], at: date, added_minor: int, promises: Sequence[Promise]
) -> tuple[list[Planned], list[Planned]]:
    """A change on the day `at`: (what stays as it was planned, what is planned anew).

    What was earned before that day stays. What was not, with `added_minor` more (or less), is the price of `promises`,
    which are all that remains to be delivered. Raises ValueError when there is nothing to deliver it with, or a promise
    lies before the change.
    """
    if any(p.first_on < at for p in promises):
        raise ValueError(f"what remains is delivered on {at} or later")
    kept = [Planned(p.promise, cut(p.slices, at)[0]) for p in planned]
    unearned = sum(p.minor for p in planned) - sum(p.minor for p in kept)
    return [p for p in kept if p.slices], plan(unearned + added_minor, promises)


def planned_as(promise: Promise, share: int) -> Planned:
    """A promise that was given this share of the price."""
    if promise.until_on is None:
        return Planned(promise, (Slice(promise.first_on, promise.first_on + _DAY, share),))
    return Planned(promise, schedule(share, promise.first_on, promise.until_on))
