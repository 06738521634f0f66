"""The next commit in the making: records become rows for the log and changes of sessions, in memory alone.

Sessions that records touched lately are kept here. That is a cache of committed rows and of what is on its way to
them: any worker can make it from the tables, and when a commit fails it is forgotten, read again and done again.
"""

from __future__ import annotations

import secrets
from bisect import insort
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from operator import attrgetter

from controller.store.bulk import Row
from controller.store.usage_log import log_row
from radius.accounting import address_store, addressing, tenure
from radius.accounting.address_store import AddressChanges
from radius.accounting.addressing import Said
from radius.accounting.lives import begin, place, repeats_older
from radius.accounting.metering import Fastest, Observed, port_speed, release
from radius.accounting.quarantine import HeldRow, QuarantineChanges, ReleasedRow
from radius.accounting.record import EVENT, AccountingRecord
from radius.accounting.repository import Key, Restart, SessionChanges, changes_of
from radius.accounting.session import ENDED, VOID, Session, observe
from radius.accounting.tenure import Stretch
from radius.protocol.nas import Nas
from radius.protocol.packet import Packet
from radius.vendors.mark import read_class

Respond = Callable[[], None]
Pending = tuple[AccountingRecord, Respond]
Staged = tuple[Packet, Nas, int, Respond]
"""What a record that is in the batch was made from, with the instant of its arrival: should it be staged again. The
record itself is let go while it is near the processor; a batch of them would not fit there."""
ServiceOf = Callable[[bytes], str | None]
"""User name → service id at this instant; None for a name that is nobody's."""
InterimOf = Callable[[bytes], int | None]
"""User name → the interim interval that its service has in place of the NAS's, in seconds."""
PrefixesOf = Callable[[bytes], bytes]
"""User name → the attributes of the IPv6 prefixes that it has for good."""

SESSIONLESS = ""
"""Session key in the log of what belongs to a NAS: Accounting-On and -Off, and events that are about no session."""

RELEASE = "release"
"""Kind of the record in the log that says: octets that were held count from here on."""

OF_A_NAS = ("on", "off", EVENT)
"""Kinds of record that are about a NAS, not about a session."""
_RECENT_OCTETS = 64
_EVENTS_KNOWN = 4_096
"""Events whose repetitions are recognised: those of a minute from a few hundred LNS."""
_KEY_BITS = 2**62 - 1
_VARIANT = 1 << 63
_by_beginning = attrgetter("started_us")


@dataclass(frozen=True, slots=True)
class Batch:
    """One commit: `rows` for the log, `changes` of sessions, and `pending`, who is answered afterwards.

    `over` are the sessions that ended by a Stop in it.
    """

    pending: list[Staged]
    rows: list[Row]
    changes: SessionChanges
    quarantine: QuarantineChanges
    addresses: AddressChanges
    over: list[Session]


def made_again(staged: Iterable[Staged]) -> list[Pending]:
    """Records of a batch that was not written, to be staged again."""
    return [(AccountingRecord(packet, nas, received_us), respond) for packet, nas, received_us, respond in staged]


class Staging:
    """`stage` applies records one by one, `take` closes the batch that they made."""

    def __init__(
        self,
        service_of: ServiceOf,
        max_sessions: int,
        fastest: Fastest = port_speed,
        *,
        by_port: bool = False,
        interim_of: InterimOf = lambda _username: None,
        prefixes_of: PrefixesOf = lambda _username: b"",
    ) -> None:
        """`fastest` and `by_port` as `session.observe` has them."""
        self._counter = secrets.randbits(62)
        self._service_of = service_of
        self._max_sessions = max_sessions
        self._fastest = fastest
        self._by_port = by_port
        self._interim_of = interim_of
        self._prefixes_of = prefixes_of
        self._lives: dict[Key, list[Session]] = {}
        self._restarts: dict[str, Restart] = {}
        self._events: dict[bytes, None] = {}
        self.duplicates = 0
        self._renew()

    def __len__(self) -> int:
        return len(self._lives)

    @property
    def is_empty(self) -> bool:
        return not (self._pending or self._touched)

    def knows(self, key: Key) -> bool:
        return key in self._lives

    def learn(self, lives: dict[Key, list[Session]], needed: Container[Key] = ()) -> None:
        """Take over what was read from the tables; `needed` ids are not forgotten for it."""
        self._lives.update(lives)
        excess = len(self._lives) - self._max_sessions
        if excess > 0:
            self._evict(excess, keep=(lives, needed))

    def learn_restarts(self, restarts: dict[str, Restart]) -> None:
        self._restarts = restarts

    def lives(self, key: Key) -> list[Session]:
        return self._lives.get(key, [])

    def forget(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._lives.pop(key, None)

    def let_go(self, sessions: Iterable[Session]) -> None:
        """Forget what is over and committed, but for what was touched again meanwhile.

        Hardly anything is heard of it any more, and memory that is used again at once stays near the processor: with a
        hundred thousand ended sessions beside it a record costs a tenth more.
        """
        lives, touched = self._lives, self._touched
        for session in sessions:
            key = (session.nas_id, session.acct_session_id)
            if len(lives.get(key, ())) > 1:
                if not self.is_touched(key):
                    del lives[key]
            elif session not in touched:
                lives.pop(key, None)

    def touch(self, session: Session) -> None:
        """Have a session written with the next commit."""
        self._touched[session] = None

    def is_touched(self, key: Key) -> bool:
        return any(session in self._touched for session in self.lives(key))

    def stage(self, record: AccountingRecord, respond: Respond) -> bool:
        """Apply one record; False, and nothing done, where the lives of its id must be learnt first.

        A datagram seen before is answered with the rest and not stored.
        """
        if record.kind in OF_A_NAS:
            self._pending.append((record.packet, record.nas, record.received_us, respond))
            self._stage_of_nas(record)
            return True
        lives = self._lives.get(record.key)
        if lives is None:
            return False
        self._pending.append((record.packet, record.nas, record.received_us, respond))
        digest = record.packet_sha256[:8]
        for life in lives:
            if digest in life.recent:
                self.duplicates += 1
                return True
        session, prefixes = place(lives, record), b""
        service_id = self._service(record) if session is None or session.service_id is None else session.service_id
        if session is None:
            session = begin(record, lives, self._new_key(record.received_us // 1000), service_id)
            prefixes = self._prefixes_of(record.login)
            own_s = self._interim_of(record.login)
            if own_s is not None and own_s > session.interim_s:
                session.interim_s = own_s
            if lives:
                insort(lives, session, key=_by_beginning)
            else:
                lives.append(session)
        elif session.service_id is None and service_id is not None:
            session.service_id, session.touched, session.renamed = service_id, True, True
        began_us = session.started_us
        observed = observe(session, record, self._fastest, by_port=self._by_port)
        if observed is not None:
            self._quarantine(session, record, observed)
        if prefixes:
            self._give_prefixes(session, record, prefixes)
        said = addressing.raw(record)
        if said and (said != session.addressing or addressing.EVENTS in record.packet.offsets):
            self._follow_addresses(session, record, said)
        self._touched[session] = None
        if len(lives) > 1:
            self._settle_lives(lives, session, record)
            if session.started_us != began_us:
                lives.sort(key=_by_beginning)
        self._log(record, session.session_key, service_id)
        return True

    def _service(self, record: AccountingRecord) -> str | None:
        """Whose session it is: what our Class says, for a user name may be another's by now."""
        return _service_by_class(record) or self._service_of(record.login)

    def _new_key(self, now_ms: int) -> str:
        """A UUIDv7 whose random part counts up from anywhere (RFC 9562 §6.2), so keys ascend as they are made."""
        self._counter = (self._counter + 1) & _KEY_BITS
        return f"{now_ms:012x}7000{_VARIANT | self._counter:016x}"

    def take(self) -> Batch:
        """Close the batch: whatever is staged from now on belongs to the next one."""
        changes = changes_of(list(self._touched), list(self._restarted.values()))
        over = [session for session in self._touched if session.state == ENDED and not session.provisional]
        addresses = address_store.changes_of(self._moved)
        batch = Batch(self._pending, self._rows, changes, self._quarantined, addresses, over)
        self._renew()
        return batch

    def reset(self) -> list[Pending]:
        """Forget everything, and return the records of the batch in the making: they must be staged again."""
        pending = self._pending
        self._lives.clear()
        self._events.clear()
        self._restarts = {}
        self._renew()
        return made_again(pending)

    def restart(self, nas_id: str) -> Restart | None:
        """The newest Accounting-On or -Off of a NAS."""
        return self._restarts.get(nas_id)

    def _renew(self) -> None:
        self._pending: list[Staged] = []
        self._rows: list[Row] = []
        self._touched: dict[Session, None] = {}
        self._restarted: dict[str, Restart] = {}
        self._quarantined = QuarantineChanges()
        self._moved: dict[Stretch, str] = {}

    def release(self, session: Session, row: ReleasedRow, now_us: int) -> None:
        """Count what somebody has released, with the record that reported it as its evidence."""
        if not release(session, row.upstream_octets, row.downstream_octets):
            self._quarantined.gone.append(row.quarantine_id)
            return
        self._touched[session] = None
        self._quarantined.counted.append(row.quarantine_id)
        said = (session.upstream_octets, session.downstream_octets)
        identity = (session.nas_id, session.acct_session_id, session.username, session.service_id)
        fields = (RELEASE, session.session_key, *identity, row.event_us, now_us, None, *said)
        self._rows.append(log_row(row.packet_sha256, fields))

    def _quarantine(self, session: Session, record: AccountingRecord, observed: Observed) -> None:
        if observed.retracted:
            self._quarantined.retract(session.session_key)
        if observed.held is not None:
            row = HeldRow(
                quarantine_id=self._new_key(record.received_us // 1000),
                session_key=session.session_key,
                nas_id=session.nas_id,
                acct_session_id=session.acct_session_id,
                username=session.username,
                service_id=session.service_id,
                held=observed.held,
                session_time_s=record.session_time_s,
                event_us=record.event_us,
                received_us=record.received_us,
                packet_sha256=record.packet_sha256,
            )
            self._quarantined.held.append(row)

    def _follow_addresses(self, session: Session, record: AccountingRecord, octets: bytes) -> None:
        """The record speaks of other addresses than the session did before, or the session was not in memory."""
        is_newest = record.event_us >= session.last_event_us
        if is_newest:
            session.addressing = octets
        if len(octets) == addressing.IPV4_ALONE and not session.addresses:
            # Nearly every Start: the first record of a session is where its address was just taken from.
            address = session.framed_ipv4 if session.is_first_heard else record.framed_ipv4()
            if address is None or address == session.framed_ipv4:
                return
        said = addressing.read(record.packet)
        framed = next((one for one in said if one.kind == addressing.FRAMED_IPV4), None)
        if framed is not None and not self._has_moved(session, framed, record):
            said.remove(framed)
        if not said:
            return
        statement = tenure.Statement(
            said,
            event_us=record.event_us,
            since_us=record.event_us if session.start_seen and record.kind != "start" else session.started_us,
            received_us=record.received_us,
            packet_sha256=record.packet_sha256,
            is_newest=is_newest,
        )
        for stretch in tenure.follow(session.addresses, statement):
            self._moved[stretch] = session.session_key

    def _give_prefixes(self, session: Session, record: AccountingRecord, prefixes: bytes) -> None:
        """What the Access-Accept said is held from the beginning; what the NAS reports later goes before it."""
        statement = tenure.Statement(
            addressing.given(prefixes, record.packet),
            event_us=session.started_us,
            since_us=session.started_us,
            received_us=record.received_us,
            packet_sha256=record.packet_sha256,
            is_newest=False,
        )
        for stretch in tenure.follow(session.addresses, statement):
            self._moved[stretch] = session.session_key

    def _has_moved(self, session: Session, framed: Said, record: AccountingRecord) -> bool:
        """Whether the session's IPv4 address is, or was once, another: then its stretches are told one by one."""
        if any(stretch.kind == addressing.FRAMED_IPV4 for stretch in session.addresses):
            return True
        held = f"{session.framed_ipv4}/32"
        if framed.network == held:
            return False
        first = Stretch(
            kind=addressing.FRAMED_IPV4,
            network=held,
            first_port=addressing.ALL_PORTS[0],
            last_port=addressing.ALL_PORTS[1],
            since_us=session.started_us,
            until_us=None,
            received_us=record.received_us,
            packet_sha256=record.packet_sha256,
        )
        session.addresses.append(first)
        self._moved[first] = session.session_key
        return True

    def _settle_lives(self, lives: list[Session], session: Session, record: AccountingRecord) -> None:
        for other in repeats_older(lives, session, record):
            other.state, other.touched = VOID, True
            self._touched[other] = None

    def _stage_of_nas(self, record: AccountingRecord) -> None:
        """Accounting-On and -Off: one row for the NAS, however many sessions it has. Other events are just kept."""
        digest = record.packet_sha256[:8]
        if record.kind == EVENT:
            self._stage_event(record, digest)
            return
        known = self._restarts.get(record.nas_id)
        if known is not None and digest in known.recent:
            self.duplicates += 1
            return
        recent = ((b"" if known is None else known.recent) + digest)[-_RECENT_OCTETS:]
        restart = Restart(record.nas_id, record.event_us, record.received_us, record.kind, recent)
        if known is not None and known.boundary_us > restart.boundary_us:
            restart = Restart(known.nas_id, known.boundary_us, known.seen_us, known.kind, recent)
        self._restarts[record.nas_id] = self._restarted[record.nas_id] = restart
        self._log(record, SESSIONLESS, None)

    def _stage_event(self, record: AccountingRecord, digest: bytes) -> None:
        """Kept once, as far as memory reaches: after a restart a repetition is one more row, which counts nothing."""
        if digest in self._events:
            self.duplicates += 1
            return
        if len(self._events) >= _EVENTS_KNOWN:
            del self._events[next(iter(self._events))]
        self._events[digest] = None
        self._log(record, SESSIONLESS, None)

    def _log(self, record: AccountingRecord, session_key: str, service_id: str | None) -> None:
        counted = record.counted
        self._rows.append(
            log_row(
                record.packet_sha256,
                (
                    record.kind,
                    session_key,
                    record.nas_id,
                    record.acct_session_id,
                    record.username,
                    service_id,
                    record.event_us,
                    record.received_us,
                    record.session_time_s,
                    record.upstream_octets if counted is None else counted[0],
                    record.downstream_octets if counted is None else counted[1],
                ),
            )
        )

    def _evict(self, count: int, keep: tuple[Container[Key], ...]) -> None:
        """Forget the ids that were learnt first and that nothing is waiting to be written for."""
        chosen: list[Key] = []
        for key in self._lives:
            if len(chosen) >= count:
                break
            if not any(key in kept for kept in keep) and not self.is_touched(key):
                chosen.append(key)
        self.forget(chosen)


def _service_by_class(record: AccountingRecord) -> str | None:
    """The service that our own Class names: what the session was authorised for."""
    mark = read_class(record.class_value)
    return None if mark is None or len(mark.service_id) > 32 else mark.service_id
