"""What rooms need of each other, as Protocols. Implementations meet their users in `controller.app.wiring` only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from controller.domain.charge import Charge
from controller.domain.credit import FinalAction, NoCredit, Prolonged, Slice, Standing
from controller.domain.identity import AccountId, BillRunId, DeviceId, OfferingVersionId, ServiceId
from controller.domain.service import AttachedService, ObservedService, Plan, SpeedProfile
from controller.domain.tariff import TariffVersion
from controller.domain.usage import Bucket, CounterSample, LoggedRecord, MeasuredOctets


class Secret:
    """A secret text that no repr, str or format shows. `reveal()` is the only way to read it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(("Secret", self._value))


@dataclass(frozen=True, slots=True)
class DeviceEndpoint:
    """How a device is reached. `secret` is plain only while a session is being opened, and its repr is masked."""

    device_id: DeviceId
    name: str
    driver: str
    """Key of `drivers.registry`: "bbf-olt", "napalm-router" …"""
    host: str
    port: int
    username: str
    secret: Secret
    host_key_sha256: str | None = None
    """Pinned SSH host key ("SHA256:…", as ssh-keygen -l prints it); None trusts on first use and records it."""


class HostKeyStore(Protocol):
    """Where SSH host keys seen for the first time are pinned, before any password is sent."""

    async def pin(self, device_id: DeviceId, host_key_sha256: str) -> str:
        """Record the key when none is pinned yet; return the pinned one: a host that shows another is refused."""
        ...


class ServiceDriver(Protocol):
    """A device family that can carry access services.

    Every method opens its own session, bounded in time, and raises TemporaryDeviceError or PermanentDeviceError.
    A service attached to the device as to another kind of device (an ONU to a router) is a PermanentDeviceError.
    `apply` leaves the device either changed and confirmed, or as it was. What `apply` returns proves nothing: callers
    `observe` afterwards and compare.
    """

    async def observe(self, device: DeviceEndpoint, service: AttachedService) -> ObservedService: ...

    def plan(self, device: DeviceEndpoint, desired: AttachedService, observed: ObservedService) -> Plan: ...

    async def apply(self, device: DeviceEndpoint, desired: AttachedService, plan: Plan) -> None: ...


@dataclass(frozen=True, slots=True)
class CoaOutcome:
    """What a NAS answered to CoA or Disconnect: "ack", "nak" (with Error-Cause, RFC 5176 §3.5) or "timeout"."""

    result: str
    error_cause: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SessionRate:
    """Evidence of the speed a live session runs at; `source` names it: Class echoed, a rate attribute …

    A rate is the NAS's own figure of what it applies. A `profile_name` without rates is weaker: the NAS returned the
    Class it was last told, which some do although they applied half of the change or nothing. `class_suffices` is the
    policy for that NAS.
    """

    session_key: str
    profile_name: str | None
    downstream_bps: int | None
    upstream_bps: int | None
    observed_at: datetime
    source: str
    class_suffices: bool = True


class SessionControl(Protocol):
    """Live sessions of a service, as provisioning sees them: change their speed, then look what is observed next."""

    async def live_sessions(self, service_id: ServiceId) -> Sequence[str]:
        """Session keys of the service's live sessions."""
        ...

    async def sessions_on_plan(self, service_id: ServiceId) -> Sequence[str]:
        """Those of them that shall have the plan's speed: none of a service that is suspended, or that fair use has
        throttled. Once it is free again, they get the plan that it has then."""
        ...

    async def change_speed(
        self, session_key: str, profile: SpeedProfile, *, actor: str = "system:provisioning"
    ) -> CoaOutcome: ...

    async def failures(self, service_id: ServiceId) -> Mapping[str, str]:
        """Live sessions whose newest change was refused, or given up after many requests, with the reason in words.

        Until then a change is pursued: what was not answered is asked again.
        """
        ...

    async def observed_rate(self, session_key: str, since: datetime) -> SessionRate | None:
        """What was seen of the session's speed after `since`; None while nothing was seen yet."""
        ...


class SubscriberDirectory(Protocol):
    """RADIUS's own copy of who may log in. Called by workflows; passwords pass through here, never through events."""

    async def put_subscriber(
        self,
        *,
        service_id: ServiceId,
        username: str,
        password: Secret,
        profile: SpeedProfile,
        framed_ipv4: str | None,
        enabled: bool,
        actor: str,
    ) -> None: ...

    async def set_profile(self, *, service_id: ServiceId, profile: SpeedProfile, actor: str) -> None: ...

    async def set_enabled(self, *, service_id: ServiceId, enabled: bool, actor: str) -> None: ...

    async def withdraw_subscriber(self, *, service_id: ServiceId, actor: str) -> None:
        """The service has no login any more and its user name is free; one that never had a login has none left."""
        ...


class TimeSeries(Protocol):
    """Samples in, aggregates out. A write is complete when the store holds it."""

    async def write(self, samples: Sequence[CounterSample]) -> None: ...

    async def read(
        self,
        measurement: str,
        field: str,
        *,
        since: datetime,
        until: datetime,
        step_s: int,
        tags: Sequence[tuple[str, str]] = (),
        aggregate: str = "sum",
    ) -> Sequence[Bucket]:
        """Aggregate ("sum", "avg", "max", "last") over all series whose tags contain `tags`, per bucket."""
        ...

    async def close(self) -> None: ...


class UsageReader(Protocol):
    """The append-only usage log as mediation, explain and checks read it."""

    async def watermark(self) -> int:
        """Highest record id below which no record can still appear."""
        ...

    def records_after(self, record_id: int, until: int, limit: int) -> AsyncIterator[LoggedRecord]: ...

    async def records(self, record_ids: Sequence[int]) -> Sequence[LoggedRecord]: ...

    async def verify_chain(self, record_ids: Sequence[int]) -> Sequence[str]:
        """Recompute the hash-chain links that cover `record_ids`; return a sentence for each fault found."""
        ...


ConnectionT = TypeVar("ConnectionT", contravariant=True)


class TariffSource(Protocol[ConnectionT]):
    """Offering versions as rating needs them; a version never changes, so callers may keep what they got."""

    async def tariff_in(self, conn: ConnectionT, version_id: OfferingVersionId) -> TariffVersion:
        """Read within the caller's transaction: a second connection would be asked of the pool while one is held.

        Raises NotFound.
        """
        ...


class AccountDirectory(Protocol[ConnectionT]):
    """Billing accounts, as rooms that keep none see them."""

    async def require_in(self, conn: ConnectionT, account_id: AccountId) -> None:
        """Within the caller's transaction. Raises NotFound for an account that nobody has."""
        ...


@dataclass(frozen=True, slots=True)
class SnmpTarget:
    """A device that answers SNMP. Version "2c" needs `community`; "3" needs user and keys (RFC 3414, 3826)."""

    device_id: DeviceId
    name: str
    host: str
    port: int
    version: str
    community: Secret | None = None
    user: str | None = None
    auth_protocol: str | None = None
    auth_key: Secret | None = None
    priv_protocol: str | None = None
    priv_key: Secret | None = None


class PollTargets(Protocol):
    """The device registry as collectors see it."""

    async def snmp_targets(self) -> Sequence[SnmpTarget]: ...

    async def netconf_targets(self) -> Sequence[DeviceEndpoint]: ...


@dataclass(frozen=True, slots=True)
class DeviceHealth:
    """Last word about a device. `reachable` holds until `valid_until`: presence has an expiry, it is never a flag."""

    device_id: DeviceId
    reachable: bool
    checked_at: datetime
    valid_until: datetime
    detail: str
    uptime_s: int | None = None


@dataclass(frozen=True, slots=True)
class RatedBatch:
    """The accounts of one batch of a bill run with what they are charged, in order of account and period.

    `account_ids` are all that were rated, those among them too for which nothing was due.
    `dry` batches are a preview: nothing of them is stored, and no document will be made of them. Of those that were
    rated `again`, these are not what was looked at before: they are looked at once more, whatever was decided of them.
    """

    bill_run_id: BillRunId
    batch: int
    as_of: datetime
    account_ids: Sequence[AccountId]
    charges: Sequence[Charge]
    dry: bool = False
    again: frozenset[AccountId] = frozenset()


@dataclass(frozen=True, slots=True)
class Waiting:
    """An account whose documents of a bill run must not be made yet; `reason` is a sentence for people."""

    account_id: AccountId
    reason: str


class ChargeChecker(Protocol):
    """Looks at a batch after it is rated and before its documents are made."""

    async def check(self, batch: RatedBatch) -> Sequence[Waiting]:
        """The accounts that wait, all others go on. Called outside of any transaction, and again after a crash."""
        ...


@dataclass(frozen=True, slots=True)
class SoldProduct:
    """What orders say that a subscription or item has since `since`; `version_id` None is nothing any more."""

    version_id: OfferingVersionId | None
    quantity: int
    since: datetime


@dataclass(frozen=True, slots=True)
class AccountSales:
    """What an account was sold, by subscription or item, and the currency it is kept in."""

    currency: str
    products: Mapping[str, SoldProduct]


class SalesBook(Protocol[ConnectionT]):
    """What was sold, from whoever sold it: billing's copies are checked against it."""

    async def sold_in(self, conn: ConnectionT, account_ids: Sequence[AccountId]) -> Mapping[AccountId, AccountSales]:
        """Read within the caller's transaction. Accounts that nobody knows are left out."""
        ...


class NetconfReader(Protocol):
    """One NETCONF operation that reads, on a device: a session opened, used and closed, everything bounded in time."""

    async def read(self, device: DeviceEndpoint, operation: str) -> str:
        """`operation` and the returned <rpc-reply> are XML. Raises Temporary- or PermanentDeviceError."""
        ...


class UsageIntake(Protocol):
    """Takes what collectors measure, each key of a source once."""

    async def known(self, kind: str) -> frozenset[str]:
        """Identifiers of this kind ("port" …) that somebody gave a service."""
        ...

    async def measured(
        self, source: str, kind: str, octets: Sequence[MeasuredOctets], *, title: str, complete_until: datetime | None
    ) -> None:
        """Take them. A source of that name comes into being with the first ones, to be compared only."""
        ...


class AddressHolders(Protocol):
    """Which service's session had an address, as accounting knows it: for usage that names addresses only."""

    async def held(
        self, conn: Any, address: str, since: datetime, until: datetime
    ) -> Sequence[tuple[datetime, ServiceId | None]]:
        """(since, service or nobody) in order of time, for [since, until); read within the caller's transaction."""
        ...


class AccessMap(Protocol):
    """Which service is attached by which ONU. What is not known is not in the map; nobody guesses."""

    async def services_by_onu(self) -> Mapping[str, ServiceId]:
        """Serial number (ITU-T G.984.3 form, upper case) → service."""
        ...


class CreditControl(Protocol):
    """Balances of prepaid services, as logins ask for a slice of them."""

    async def reserve(self, service_id: ServiceId, station: str, nas_id: str) -> Slice | NoCredit:
        """Reserve a slice for a session that is about to begin, in a transaction of its own.

        `station` tells the lines of a service apart ("" where nothing does): one that asks again has lost what it was
        given before. Raises what the database raises.
        """
        ...


class CreditAccess(Protocol[ConnectionT]):
    """What an empty or refilled balance does to logins and live sessions, in the caller's transaction."""

    async def take_turn(self, conn: ConnectionT) -> None:
        """Wait for other writers of logins; before the caller writes what they write after that (the audit log)."""
        ...

    async def put(self, conn: ConnectionT, service_id: ServiceId, standing: Standing | None) -> None:
        """What holds of the service's login; None: it is not prepaid any more. May be repeated; a service without a
        login has nothing to take."""
        ...

    async def end(
        self, conn: ConnectionT, service_id: ServiceId, session_keys: Collection[str], action: FinalAction
    ) -> None:
        """These live sessions have used their final unit."""
        ...

    async def go_on(self, conn: ConnectionT, service_id: ServiceId, session_keys: Collection[str]) -> None:
        """These live sessions, which were put into the garden, have units again."""
        ...

    async def prolong(self, conn: ConnectionT, service_id: ServiceId, sessions: Mapping[str, Prolonged]) -> None:
        """These live sessions may come further than their NAS was told. One that holds no such limit is not asked."""
        ...

    async def stations(self, conn: ConnectionT, session_keys: Collection[str]) -> Mapping[str, str]:
        """Session → the station that a login asked for it with, where accounting knows one."""
        ...

    async def follow(self) -> None:
        """After the commit: this process's logins are to know at once."""
        ...
