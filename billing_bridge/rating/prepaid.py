"""Prepaid by the postpaid price: octets are granted while money lasts, and debited as they are reported. Pure.

A balance may be units instead of money, octets or seconds: one of them then costs one.

    grant   session may use n more octets: what all open grants come to, with what was used, must be affordable
    report  running total of a session: what is new of it is used, and the price of all that was used is debited
    expire  a session that went silent gives back what it did not report

What was debited is always the rounded price of everything used, so the last debit of a period brings the sum to what
a postpaid bill would say, to the minor unit, whatever the order. Two sessions cannot spend the same money, because a
grant counts against the balance until it is used or given back. A report repeated, or late after its grant expired,
debits what is new of it and nothing twice; a crash between two of these steps loses nothing: the state is all there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal

from billing_bridge.rating.metered import Share, cost
from controller.domain.money import Money, exponent
from controller.domain.price import Metered, Volume

_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Units:
    """The price of a unit where the balance is such units: one."""


@dataclass(frozen=True, slots=True)
class Grant:
    """`reported` octets of a session were debited; until `expires_at` it may bring that to `until`."""

    reported: int
    until: int
    expires_at: datetime

    @property
    def open(self) -> int:
        return max(0, self.until - self.reported)


@dataclass(frozen=True, slots=True)
class Prepaid:
    """A balance in one period. `debited_minor` is the price of `used` octets.

    `balance_minor` is what was paid in less what was debited: below zero only by what a network let through beyond a
    grant.
    """

    price: Metered | Units
    share: Share
    currency: str
    rounding: str
    balance_minor: int
    used: int = 0
    debited_minor: int = 0
    sessions: Mapping[str, Grant] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.price, Volume):
            raise ValueError("a volume price falls with use: what is left of a balance cannot be told from it")

    @property
    def granted(self) -> int:
        """Octets that sessions may still use."""
        return sum(grant.open for grant in self.sessions.values())

    def price_of(self, octets: int) -> int:
        """Minor units that so many octets of the period cost: what a postpaid bill would say."""
        if isinstance(self.price, Units):
            return octets
        return Money.rounded(cost(self.price, octets, self.share).exact, self.currency, self.rounding).minor

    def affordable(self, octets: int) -> bool:
        """Whether so many octets more, beside all that is granted, can be paid.

        What rounds to nothing is not free: or an empty balance would last for ever, a part of a cent at a time. Where
        nothing is left, only what costs nothing at all can be had.
        """
        granted = self.used + self.granted
        there_is, before, after = (
            self.debited_minor + self.balance_minor,
            self._exact(granted),
            self._exact(granted + octets),
        )
        if self.balance_minor <= 0 or self.price_of(granted) >= there_is:
            return after == before
        return after <= there_is

    def _exact(self, octets: int) -> Decimal:
        """`price_of`, not rounded."""
        if isinstance(self.price, Units):
            return Decimal(octets)
        return cost(self.price, octets, self.share).exact.scaleb(exponent(self.currency))


def grant(state: Prepaid, session: str, wanted: int, until: datetime) -> tuple[Prepaid, int]:
    """Let a session use as much of `wanted` octets more as is affordable, until the instant `until`.

    What it had open is given back first: asking again does not add up. The second value is what it got; 0 is no.
    """
    known = state.sessions.get(session, Grant(0, 0, until))
    closed = replace(state, sessions={**state.sessions, session: replace(known, until=known.reported)})
    got = _most(closed, wanted)
    made = Grant(known.reported, known.reported + got, until)
    return replace(closed, sessions={**closed.sessions, session: made}), got


def report(state: Prepaid, session: str, total: int) -> tuple[Prepaid, int]:
    """The running total of a session. The second value is what was debited for it, in minor units."""
    known = state.sessions.get(session, Grant(0, 0, _NEVER))
    new = max(0, total - known.reported)
    used = state.used + new
    debit = state.price_of(used) - state.debited_minor
    after = replace(
        state,
        used=used,
        debited_minor=state.debited_minor + debit,
        balance_minor=state.balance_minor - debit,
        sessions={**state.sessions, session: replace(known, reported=known.reported + new)},
    )
    return after, debit


def expire(state: Prepaid, now: datetime) -> Prepaid:
    """Give back what sessions did not report in time. They stay known, so that a late report counts from there."""
    kept = {
        name: replace(known, until=known.reported) if known.expires_at <= now else known
        for name, known in state.sessions.items()
    }
    return replace(state, sessions=kept)


def top_up(state: Prepaid, minor: int) -> Prepaid:
    """More money. Raises ValueError unless it is positive."""
    if minor <= 0:
        raise ValueError("a top-up is a positive amount")
    return replace(state, balance_minor=state.balance_minor + minor)


def _most(state: Prepaid, wanted: int) -> int:
    """The most octets up to `wanted` that are affordable; the price never falls, so halving finds it."""
    if wanted <= 0 or not state.affordable(0):
        return 0
    low, high = 0, wanted
    while low < high:
        middle = (low + high + 1) // 2
        if state.affordable(middle):
            low = middle
        else:
            high = middle - 1
    return low
