"""Everyone who may log in, in memory, so that no login waits for SQL. Made from `radius_subscriber`, by revision.

Passwords rest sealed in the database and are opened when a row is loaded: CHAP needs the clear password at every
login, and the key that opens them lives in this process anyway, so keeping them sealed here would cost every login
4 µs and protect against nobody who can read this memory. They are octets in `Subscriber.password`, shown by no repr,
and leave the process in no log, metric or answer.

One subscriber costs an entry, two byte strings and a share of its profile. Names are octets, compared as they are
(RFC 2865 §5.1 gives them no case folding).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from controller.domain.service import SpeedProfile
from radius.protocol.nas import Nas
from radius.vendors import reply
from radius.vendors.mark import service_in
from radius.vendors.model import SessionTerms


class Plan:
    """A speed profile with its reply attributes, encoded once for each kind of NAS that asked."""

    __slots__ = ("_encoded", "_terms", "profile")

    def __init__(self, profile: SpeedProfile, terms: Callable[[Nas], SessionTerms]) -> None:
        self.profile = profile
        self._terms = terms
        self._encoded: dict[tuple[str, int], bytes] = {}

    def attributes(self, nas: Nas) -> bytes:
        """What every session of this profile is told on such a NAS."""
        key = (nas.vendor, nas.interim_interval_s)
        encoded = self._encoded.get(key)
        if encoded is None:
            encoded = reply.profile_attributes(reply.vendor(nas.vendor), self.profile, self._terms(nas))
            self._encoded[key] = encoded
        return encoded


class Subscriber:
    """One login. `attributes` is the part of the reply that is this subscriber's own (Class and address)."""

    __slots__ = ("attributes", "enabled", "password", "plan")

    def __init__(self, password: bytes, plan: Plan, attributes: bytes, enabled: bool) -> None:
        self.password = password
        self.plan = plan
        self.attributes = attributes
        self.enabled = enabled

    def __repr__(self) -> str:
        return f"Subscriber({self.plan.profile.name}, enabled={self.enabled})"


@dataclass(frozen=True, slots=True)
class SubscriberRow:
    """A row of `radius_subscriber` with its password opened; `withdrawn` rows leave the directory."""

    username: str
    service_id: str
    password: str
    profile: SpeedProfile
    framed_ipv4: str | None
    enabled: bool
    withdrawn: bool
    revision: int

    def __repr__(self) -> str:
        return f"SubscriberRow({self.username!r}, {self.service_id}, {self.profile.name}, revision={self.revision})"


Find = Callable[[bytes], Subscriber | None]
"""Who has this user name."""


class Directory:
    """User name → Subscriber. `apply` is called with rows as they change; look-ups cost one dict access."""

    def __init__(self, *, session_timeout_s: int = 86_400, idle_timeout_s: int = 3_600) -> None:
        self._timers = (session_timeout_s, idle_timeout_s)
        self._subscribers: dict[bytes, Subscriber] = {}
        self._plans: dict[SpeedProfile, Plan] = {}
        self.find = self._subscribers.get
        """find(username: bytes) → Subscriber or None; the dict's own method, bound once for the hot path."""

    def __len__(self) -> int:
        return len(self._subscribers)

    def apply(self, row: SubscriberRow) -> None:
        """Take over one row: a new or changed login, or the end of one."""
        name = row.username.encode()
        if row.withdrawn:
            self._subscribers.pop(name, None)
            return
        own = reply.subscriber_attributes(row.service_id, row.profile, row.framed_ipv4)
        self._subscribers[name] = Subscriber(row.password.encode(), self._plan(row.profile), own, row.enabled)

    def service_of(self, username: bytes) -> str | None:
        """Whose login this is, read from the Class it is given; None for nobody's."""
        subscriber = self.find(username)
        return None if subscriber is None else service_in(subscriber.attributes)

    def _plan(self, profile: SpeedProfile) -> Plan:
        plan = self._plans.get(profile)
        if plan is None:
            plan = self._plans[profile] = Plan(profile, self._terms)
        return plan

    def _terms(self, nas: Nas) -> SessionTerms:
        session_timeout_s, idle_timeout_s = self._timers
        return SessionTerms(session_timeout_s, idle_timeout_s, nas.interim_interval_s)
