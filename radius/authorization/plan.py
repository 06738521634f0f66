"""What a login is given and on which conditions, worked out when its row is loaded so that the login itself need not.

    row ─┬─ speed profile ─┐
         ├─ own terms ─────┼─► Plan: reply attributes, encoded once for each kind of NAS
         └─ suspended? ────┘         guard: None for a plain login, else what must be looked at

All logins of the same speed and terms share one plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from controller.domain.service import SpeedProfile
from radius.authorization.conditions import Conditions
from radius.authorization.throttle import Throttle
from radius.protocol.codes import Attr
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
            interim_interval_s=_first(mine.interim_interval_s, theirs.interim_interval_s),
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
    exhausted: bool = False
    """The volume of the period is used up, and no speed is left for what goes beyond it."""
    pools: tuple[tuple[str, str], ...] = ()
    """(kind, pool id) of the pools of ours that a login is given addresses from."""
    barred: bool = False
    """Kept out until its account has paid."""
    prepaid: bool = False
    """A slice of the balance is asked for."""

    @property
    def is_plain(self) -> bool:
        """Nothing has to be looked at."""
        out = self.suspended_out or self.expired or self.exhausted or self.barred
        return self.enabled and not out and not self.prepaid and not self.pools and self.conditions.is_empty


Served = Mapping[tuple[str, str], str]
"""(kind, name) of each pool of ours → its id. A pool by any other name is the NAS's own."""
NOTHING_SERVED: Served = {}


class Plan:
    """Speed and terms with their reply attributes; a suspended one has the garden's in place of its speed.

    `profile` is what was sold, `speed` what is given: less while fair use throttles it.
    """

    __slots__ = (
        "__weakref__", "_defaults", "_encoded", "_garden", "_guard", "_served", "_terms", "guard", "own_terms",
        "profile", "speed",
    )  # fmt: skip

    def __init__(
        self,
        profile: SpeedProfile,
        own_terms: ServiceTerms,
        enabled: bool,
        suspended: bool,
        defaults: Defaults,
        *,
        expired: bool = False,
        throttle: Throttle | None = None,
        barred: bool = False,
        prepaid: bool = False,
        served: Served = NOTHING_SERVED,
    ) -> None:
        self._garden = defaults.garden if suspended else None
        self._defaults = defaults
        self._terms = own_terms
        self._encoded: dict[tuple[str, int, bytes], bytes] = {}
        self._served = served
        self.profile = profile
        self.speed = profile if throttle is None or throttle.profile is None else throttle.profile
        self.own_terms = own_terms
        exhausted = throttle is not None and throttle.profile is None and self._garden is None
        out = suspended and self._garden is None
        # In the garden nothing costs: who is there for another reason takes nothing of the balance.
        asks = prepaid and not suspended
        self._guard = Guard(enabled, out, own_terms.conditions, expired, exhausted, barred=barred, prepaid=asks)
        self.guard: Guard | None = None
        self.settle(PLAIN)

    @property
    def shown(self) -> SpeedProfile:
        """The speed that Class names: the garden's while it is closed around the service."""
        return self.speed if self._garden is None else self._garden.profile

    @property
    def terms(self) -> ServiceTerms:
        """In force: the service's own over the offering's."""
        return self._terms

    def settle(self, offering: ServiceTerms) -> None:
        """Take over the terms of the offering, and which pools are ours, new or changed."""
        self._terms = self.own_terms if offering is PLAIN else self.own_terms.over(offering)
        self._encoded.clear()
        names = self._terms.grant.pools
        wanted = (("ipv4", names.ipv4), ("ipv6", names.ipv6), ("delegated", names.delegated))
        pools = tuple(
            (kind, self._served[kind, name]) for kind, name in wanted if name and (kind, name) in self._served
        )
        guard = replace(self._guard, conditions=self._terms.conditions, pools=pools)
        self.guard = None if guard.is_plain else guard

    def attributes(self, nas: Nas) -> bytes:
        """What every session of this plan is told on such a NAS."""
        key = (nas.vendor, nas.interim_interval_s, nas.reply_attributes)
        encoded = self._encoded.get(key)
        if encoded is None:
            encoded = self._encoded[key] = self.encode(nas)
        return encoded

    @property
    def garden(self) -> Garden | None:
        """That of the room, whether it is closed around the service or not."""
        return self._defaults.garden

    def encode(self, nas: Nas, *, ends_in_s: int | None = None, walled: bool = False) -> bytes:
        """`attributes`, with a Session-Timeout of at most `ends_in_s`; `walled`: with the garden closed."""
        grant, defaults = self._terms.grant, self._defaults
        session_s = defaults.session_timeout_s if grant.session_timeout_s is None else grant.session_timeout_s
        extra = nas.reply_attributes + grant.extra
        if ends_in_s is not None:
            session_s = min(session_s or ends_in_s, ends_in_s)
            extra = reply.without(extra, (Attr.SESSION_TIMEOUT,))
        idle_s = defaults.idle_timeout_s if grant.idle_timeout_s is None else grant.idle_timeout_s
        return reply.shared_attributes(
            reply.vendor(nas.vendor),
            self.speed,
            replace(grant, pools=self._told(grant.pools), extra=extra),
            Timers(session_s, idle_s, _first(grant.interim_interval_s, nas.interim_interval_s) or 0),
            defaults.garden if walled else self._garden,
        )

    def _told(self, names: Pools) -> Pools:
        """The pools that the NAS chooses from: those that are not ours."""
        if self.guard is None or not self.guard.pools:
            return names
        ours = {kind for kind, _ in self.guard.pools}
        return Pools(*(None if kind in ours else getattr(names, kind) for kind in ("ipv4", "ipv6", "delegated")))
