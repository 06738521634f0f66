"""Where the halves of the room meet: what the listener needs of accounting, what CoA needs of the session table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from controller.domain.identity import NasId
from radius.protocol.duplicates import Source
from radius.protocol.nas import Nas
from radius.protocol.packet import Packet
from radius.protocol.server import Verdict


class Tap(Protocol):
    """Is shown what becomes of every datagram (radius.trace)."""

    def __call__(self, verdict: Verdict, source: Source, answers_later: bool = False) -> None:
        """`answers_later`: the request was shown before, and this is its answer. Raises nothing."""
        ...


class Recorder(Protocol):
    """Stores accounting packets, many in one commit."""

    def submit(self, packet: Packet, nas: Nas, received_us: int, respond: Callable[[], None]) -> None:
        """Take a verified Accounting-Request that is not a duplicate.

        `received_us` is the arrival in UTC microseconds since 1970. `respond` sends the Accounting-Response; it is
        called once, on the event loop's thread, and only after the record is durable (RFC 2866 §4.1: "the server MUST
        transmit an Accounting-Response … only after it successfully records"). Not calling it leaves the NAS to
        retransmit. Raises PeerError for a packet that cannot be a record (no Acct-Status-Type, no Acct-Session-Id):
        the listener counts and drops it.
        """
        ...

    def prove(self, respond: Callable[[], None]) -> None:
        """Call `respond` when a commit made from now on has succeeded, and never when it does not (RFC 5997)."""
        ...


@dataclass(frozen=True, slots=True)
class LiveSession:
    """A live session as CoA needs it. `last_class` and `last_rate` are what the newest accounting record carried.

    `session_time_s` and `octets` of both directions are its totals by then, `heard_at` when that came. `last_class` is
    the raw Class value (see radius.vendors.rfc), `last_rate` the text of the vendor's rate attribute
    such as Mikrotik-Rate-Limit, `evidence_at` the arrival of the record that carried them. `interim_s`: how often it
    reports.
    """

    session_key: str
    nas_id: NasId
    acct_session_id: bytes
    username: str
    service_id: str | None
    framed_ipv4: str | None
    last_class: bytes | None
    last_rate: str | None
    evidence_at: datetime | None
    interim_s: int = 0
    session_time_s: int = 0
    octets: int = 0
    heard_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Occupied:
    """A live session as a limit on sessions sees it. `is_suspect`: its NAS restarted since it was heard of. Which line
    it is of says its Calling-Station-Id, else its port (radius.pools.owner)."""

    session_key: str
    calling_station_id: str | None
    last_seen_at: datetime
    interim_s: int
    is_suspect: bool
    nas_id: str = ""
    nas_port_id: str | None = None


class Accepts(Protocol):
    """Logins of limited services that some process accepted, and whose sessions have not begun yet."""

    async def claim(self, service_id: str, line: str, now: datetime, until: datetime) -> list[str]:
        """Keep that this line was accepted, and tell which others were. Raises what the database raises."""
        ...

    async def withdraw(self, service_id: str, line: str) -> None:
        """It was refused after all."""
        ...


class Grants(Protocol):
    """Addresses out of pools of ours, for logins of plans that name one."""

    async def give(self, pools: Sequence[tuple[str, str]], own: bytes, packet: Packet, nas: Nas) -> bytes | str:
        """Encoded reply attributes, held until the Accounting-Start; or why there are none, in words for operators.

        `pools` are (kind, pool id); `own` is the subscriber's part of the reply, which says who it is and which
        addresses it has for good. Raises what the database raises.
        """
        ...


class Occupancy(Protocol):
    """The session table, read by logins with a limit on sessions."""

    async def occupied(self, service_id: str) -> list[Occupied]:
        """Live sessions of a service, in any process and on any NAS."""
        ...


class Sessions(Occupancy, Protocol):
    """The session table, read by CoA and Disconnect."""

    async def live_session(self, session_key: str) -> LiveSession | None:
        """None when the session is unknown or has ended."""
        ...

    async def live_sessions_of(self, service_id: str) -> list[LiveSession]: ...
