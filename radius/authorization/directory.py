"""Everyone who may log in, in memory, so that no login waits for SQL. Made from `radius_subscriber`, by revision.

Passwords rest sealed in the database and are opened when a row is loaded, in the form in which they are kept (see
`password`): the key that opens them lives in this process anyway, so keeping them sealed here would cost every login
4 µs and protect against nobody who can read this memory. They are shown by no repr, and leave the process in no log,
metric or answer.

One subscriber costs an entry, two byte strings and a share of its profile. Names are octets, compared as they are
(RFC 2865 §5.1 gives them no case folding).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from weakref import WeakValueDictionary

from controller.domain.service import SpeedProfile
from radius.authorization.line import Line
from radius.authorization.password import CLEAR, Password, nt_password, opened
from radius.authorization.plan import PLAIN, Defaults, Plan, ServiceTerms
from radius.authorization.realm import Realms
from radius.authorization.throttle import Throttle
from radius.protocol.codes import Attr
from radius.protocol.mschap import NtPassword
from radius.vendors import reply
from radius.vendors.mark import service_in
from radius.vendors.terms import Addresses

_FRAMED_IP = bytes((Attr.FRAMED_IP_ADDRESS,))


class Subscriber:
    """One login. `attributes` is the part of the reply that is this subscriber's own (Class and address).

    `password` is octets where it is kept in clear.
    """

    __slots__ = ("_nt", "attributes", "password", "plan")

    def __init__(self, password: Password, plan: Plan, attributes: bytes) -> None:
        self.password = password
        self.plan = plan
        self.attributes = attributes
        self._nt: NtPassword | None = None

    def nt_password(self) -> NtPassword | None:
        """What MS-CHAP needs, made at the first MS-CHAP login and kept; None where less is known of the password."""
        if self._nt is None:
            self._nt = nt_password(self.password)
        return self._nt

    @property
    def enabled(self) -> bool:
        return self.plan.guard is None or self.plan.guard.enabled

    def __repr__(self) -> str:
        return f"Subscriber({self.plan.profile.name}, enabled={self.enabled})"


class SubscriberRow(NamedTuple):
    """A row of `radius_subscriber` with its password opened; `withdrawn` rows leave the directory.

    A million of them are made at a start: a frozen dataclass would take four times as long to make.
    """

    username: str
    service_id: str
    password: str
    profile: SpeedProfile
    framed_ipv4: str | None
    enabled: bool
    withdrawn: bool
    revision: int
    password_form: str = CLEAR
    password_expired: bool = False
    suspended: bool = False
    ipv6_prefix: str | None = None
    delegated_prefix: str | None = None
    terms: ServiceTerms = PLAIN
    throttle: Throttle | None = None
    barred: bool = False
    """Kept out until its account has paid."""
    prepaid: bool = False
    """Each login asks for a slice of its balance."""

    def __repr__(self) -> str:
        return f"SubscriberRow({self.username!r}, {self.service_id}, {self.profile.name}, revision={self.revision})"


Find = Callable[[bytes], Subscriber | None]
"""Who has this user name."""


class Directory:
    """User name → Subscriber. `apply` is called with rows as they change; look-ups cost one dict access."""

    def __init__(self, defaults: Defaults | None = None) -> None:
        self._defaults = defaults or Defaults()
        self._subscribers: dict[bytes, Subscriber] = {}
        # Plans live as long as somebody has them: terms of a single service are given up with it.
        self._plans: WeakValueDictionary[tuple[object, ...], Plan] = WeakValueDictionary()
        self._offerings: dict[str, ServiceTerms] = {}
        self._pools: dict[tuple[str, str], str] = {}
        self._lines: dict[Line, bytes] = {}
        self.realms = Realms()
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
        plan = self._plan(row)
        addresses = Addresses(row.framed_ipv4, row.ipv6_prefix, row.delegated_prefix)
        own = reply.subscriber_attributes(row.service_id, plan.shown, addresses)
        self._subscribers[name] = Subscriber(opened(row.password_form, row.password), plan, own)

    def resolve(self, username: bytes) -> Subscriber | None:
        """`find`, and else whoever the name stands for once its realm is stripped or renamed."""
        found = self.find(username)
        if found is None:
            local = self.realms.local(username)
            found = None if local is None else self.find(local)
        return found

    def apply_offering(self, profile_name: str, terms: ServiceTerms) -> None:
        """Take over what every service of this speed profile is given besides its speed; PLAIN takes it back."""
        self._offerings[profile_name] = terms
        for plan in list(self._plans.values()):
            if plan.profile.name == profile_name:
                plan.settle(terms)

    @property
    def has_pools(self) -> bool:
        """Whether there is any pool of ours."""
        return bool(self._pools)

    def apply_pool(self, kind: str, name: str, pool_id: str | None) -> None:
        """Take over that such a name stands for a pool of ours; None for the NAS's own again."""
        if self._pools.get((kind, name)) == pool_id:
            return
        if pool_id is None:
            del self._pools[kind, name]
        else:
            self._pools[kind, name] = pool_id
        for plan in list(self._plans.values()):
            plan.settle(self._offerings.get(plan.profile.name, PLAIN))

    def apply_line(self, line: Line, username: str | None) -> None:
        """Take over whose line this is; None for nobody's any more."""
        if username is None:
            self._lines.pop(line, None)
        else:
            self._lines[line] = username.encode()

    def holder_of(self, line: Line) -> tuple[bytes, Subscriber] | None:
        """Whose line it is, as user name and subscriber."""
        username = self._lines.get(line)
        subscriber = None if username is None else self.find(username)
        return None if username is None or subscriber is None else (username, subscriber)

    def service_of(self, username: bytes) -> str | None:
        """Whose login this is, read from the Class it is given; None for nobody's."""
        subscriber = self.resolve(username)
        return None if subscriber is None else service_in(subscriber.attributes)

    def rates_of(self, username: bytes) -> tuple[int, int] | None:
        """Upstream and downstream speed of this login's plan, in bit/s; None for nobody's."""
        subscriber = self.resolve(username)
        if subscriber is None:
            return None
        profile = subscriber.plan.profile
        return profile.upstream_bps, profile.downstream_bps

    def prefixes_of(self, username: bytes) -> bytes:
        """The IPv6 prefixes that this login has for good, as its Access-Accept says them; empty for most."""
        subscriber = self.resolve(username)
        own = b"" if subscriber is None else subscriber.attributes
        # Behind Class may stand Framed-IP-Address, and behind that the prefixes.
        position = own[1] if own else 0
        if own[position : position + 1] == _FRAMED_IP:
            position += own[position + 1]
        return own[position:]

    def interim_of(self, username: bytes) -> int | None:
        """How often sessions of this login report, in seconds; None where its NAS says so, and for nobody's."""
        subscriber = self.resolve(username)
        return None if subscriber is None else subscriber.plan.terms.grant.interim_interval_s

    def _plan(self, row: SubscriberRow) -> Plan:
        # Hashing terms takes longer than all else here, and nearly every row has none of its own.
        terms = None if row.terms is PLAIN else row.terms
        key = (
            row.profile, terms, row.enabled, row.suspended, row.password_expired, row.throttle, row.barred, row.prepaid
        )  # fmt: skip
        plan = self._plans.get(key)
        if plan is None:
            plan = Plan(
                row.profile,
                row.terms,
                row.enabled,
                row.suspended,
                self._defaults,
                expired=row.password_expired,
                throttle=row.throttle,
                barred=row.barred,
                prepaid=row.prepaid,
                served=self._pools,
            )
            offering = self._offerings.get(row.profile.name)
            if offering is not None:
                plan.settle(offering)
            self._plans[key] = plan
        return plan
