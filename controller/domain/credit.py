"""What is granted to a session of a prepaid service, and what becomes of one that nothing is left for (RFC 8506).

Billing keeps the balance and grants slices of it, RADIUS tells the NAS how far a session may go, and neither knows the
other.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FinalAction(StrEnum):
    """What is done once the final unit is used (RFC 8506 §8.35, Final-Unit-Action)."""

    DISCONNECT = "disconnect"
    """TERMINATE: the session ends, and the next login is refused."""
    GARDEN = "garden"
    """REDIRECT: the walled garden, in which one can top up."""


class Standing(StrEnum):
    """How the sessions and logins of a prepaid service are treated."""

    OPEN = "open"
    """Each login asks for a slice of the balance."""
    GARDEN = "garden"
    OUT = "out"


@dataclass(frozen=True, slots=True)
class Slice:
    """Reserved for one session (Granted-Service-Unit, RFC 8506 §8.17): so many octets of both directions or seconds."""

    octets: int | None = None
    seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Prolonged:
    """How far a live session may come, counted from its begin, where the NAS holds a limit: `until` octets of both
    directions or seconds, in place of `instead_of`."""

    until: Slice
    instead_of: int


@dataclass(frozen=True, slots=True)
class NoCredit:
    """Nothing is left to reserve (DIAMETER_CREDIT_LIMIT_REACHED, RFC 8506 §9.1); `reason` is for operators."""

    action: FinalAction
    reason: str
