"""What a login is given and on which conditions, worked out when its row is loaded so that the login itself need not.

    row ─┬─ speed profile ─┐
         ├─ own terms ─────┼─► Plan: reply attributes, encoded once for each kind of NAS
         └─ suspended? ────┘         guard: None for a plain login, else what must be looked at

All logins of the same speed and terms share one plan.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeVar

from controller.domain.service import SpeedProfile
from radius.authorization.conditions import Conditions
from radius.protocol.nas import Nas
from radius.vendors import reply
from radius.vendors.terms import Filters, Garden, Grant, Pools, Timers

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ServiceTerms:
    """What a service, or every service of an offering, has besides its speed."""

    grant: Grant = field(default_factory=Grant)
    conditions: Conditions = field(default_factory=Conditions)

    def over(self, offering: ServiceTerms) -> ServiceTerms:
        """The service's own where it has them, the offering's elsewhere; templates of both, the offering's first."""
        mine, theirs = self.grant, offering.grant
        grant = Grant(
            session_timeout_s=_first(mine.session_timeout_s, theirs.session_timeout_s),
            idle_timeout_s=_first(mine.idle_timeout_s, theirs.idle_timeout_s),
            pools=Pools(
                _first(mine.pools.ipv4, theirs.pools.ipv4),
                _first(mine.pools.ipv6, theirs.pools.ipv6),
                _first(mine.pools.delegated, theirs.pools.delegated),
            ),
            filters=Filters(
                _first(mine.filters.upstream, theirs.filters.upstream),
                _first(mine.filters.downstream, theirs.filters.downstream),
            ),
            vlan=_first(mine.vlan, theirs.vlan),
            extra=theirs.extra + mine.extra,
        )
        return ServiceTerms(grant, self.conditions.over(offering.conditions))


def _first(mine: T | None, theirs: T | None) -> T | None:
    return theirs if mine is None else mine


PLAIN = ServiceTerms()


@dataclass(frozen=True, slots=True)
class Defaults:
    """Of the room: what a grant that says nothing is given, and the garden of suspended services or None."""

    session_timeout_s: int = 86_400
    idle_timeout_s: int = 3_600
    garden: Garden | None = field(default_factory=Garden)


@dataclass(frozen=True, slots=True)
class Guard:
    """What must be looked at before a login of this plan is accepted."""

    enabled: bool
    suspended_out: bool
    """Suspended, and there is no garden to go to."""
    conditions: Conditions
    expired: bool = False
    """The password must be changed first."""


class Plan:
    """Speed and terms with their reply attributes; a suspended one has the garden's in place of its speed."""

    __slots__ = ("__weakref__", "_defaults", "_encoded", "_garden", "_terms", "guard", "own_terms", "profile")

    def __init__(
        self,
        profile: SpeedProfile,
        own_terms: ServiceTerms,
        enabled: bool,
        suspended: bool,
        defaults: Defaults,
        *,
        expired: bool = False,
    ) -> None:
        self._garden = defaults.garden if suspended else None
        self._defaults = defaults
        self._terms = own_terms
        self._encoded: dict[tuple[str, int, bytes], bytes] = {}
        self.profile = profile
        self.own_terms = own_terms
        self.guard: Guard | None = None
        self._watch(Guard(enabled, suspended and self._garden is None, own_terms.conditions, expired))

    @property
    def is_in_garden(self) -> bool:
        return self._garden is not None

    @property
    def terms(self) -> ServiceTerms:
        """In force: the service's own over the offering's."""
        return self._terms

    def settle(self, offering: ServiceTerms) -> None:
        """Take over the terms of the offering, new or changed."""
        guard = self.guard or Guard(True, False, self.own_terms.conditions)
        self._terms = self.own_terms.over(offering)
        self._encoded.clear()
        self._watch(replace(guard, conditions=self._terms.conditions))

    def attributes(self, nas: Nas) -> bytes:
        """What every session of this plan is told on such a NAS."""
        key = (nas.vendor, nas.interim_interval_s, nas.reply_attributes)
        encoded = self._encoded.get(key)
        if encoded is None:
            encoded = self._encoded[key] = self.encode(nas)
        return encoded

    def encode(self, nas: Nas, *, ends_in_s: int | None = None) -> bytes:
        """`attributes`, with a Session-Timeout of at most `ends_in_s`."""
        grant, defaults = self._terms.grant, self._defaults
        session_s = defaults.session_timeout_s if grant.session_timeout_s is None else grant.session_timeout_s
        if ends_in_s is not None:
            session_s = min(session_s or ends_in_s, ends_in_s)
        idle_s = defaults.idle_timeout_s if grant.idle_timeout_s is None else grant.idle_timeout_s
        return reply.shared_attributes(
            reply.vendor(nas.vendor),
            self.profile,
            replace(grant, extra=nas.reply_attributes + grant.extra),
            Timers(session_s, idle_s, nas.interim_interval_s),
            self._garden,
        )

    def _watch(self, guard: Guard) -> None:
        plain = guard.enabled and not guard.suspended_out and not guard.expired and guard.conditions.is_empty
        self.guard = None if plain else guard
