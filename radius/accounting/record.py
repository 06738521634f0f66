"""Packet → what it says about a session. Pure; the words input and output stop here.

`Acct-Input-Octets` counts "octets … received from the port over the course of this service being provided" (RFC 2866
§5.3): what came from the subscriber, which is upstream; some NAS count the other way round (`Nas.swaps_octets`). Absent
counters stay None: absent is not zero. IPv6 counters of a vendor are a part of the standard ones and not read, unless
`Nas.adds_ipv6_octets` says that they come on top.
"""

from __future__ import annotations

from hashlib import sha256
from struct import Struct

from controller.domain.errors import PeerError
from radius.protocol.codes import Attr
from radius.protocol.layout import Integers
from radius.protocol.nas import Nas
from radius.protocol.packet import Packet
from radius.vendors import ipv6_counters, reply
from radius.vendors.mark import OURS

KINDS = {1: "start", 2: "stop", 3: "interim", 7: "on", 8: "off"}
"""Acct-Status-Type (RFC 2866 §5.1) to controller.domain.usage.RecordKind's values."""
EVENT = "event"
"""Every other type: of tunnels and their links (RFC 2867 §3.1), Failed, a vendor's own. Stored and acknowledged, as its
NAS would else send it for ever; what it counts is no session's."""

TERMINATE_CAUSES = {
    1: "user-request", 2: "lost-carrier", 3: "lost-service", 4: "idle-timeout", 5: "session-timeout", 6: "admin-reset",
    7: "admin-reboot", 8: "port-error", 9: "nas-error", 10: "nas-request", 11: "nas-reboot", 12: "port-unneeded",
    13: "port-preempted", 14: "port-suspended", 15: "service-unavailable", 16: "callback", 17: "user-error",
    18: "host-request",
}  # fmt: skip
"""Acct-Terminate-Cause (RFC 2866 §5.10)."""

_STATUS, _SESSION, _USER, _CLASS = (
    int(Attr.ACCT_STATUS_TYPE),
    int(Attr.ACCT_SESSION_ID),
    int(Attr.USER_NAME),
    int(Attr.CLASS),
)
_TIMESTAMP, _DELAY, _TIME = int(Attr.EVENT_TIMESTAMP), int(Attr.ACCT_DELAY_TIME), int(Attr.ACCT_SESSION_TIME)
_INPUT, _OUTPUT = int(Attr.ACCT_INPUT_OCTETS), int(Attr.ACCT_OUTPUT_OCTETS)
_INPUT_GIGA, _OUTPUT_GIGA = int(Attr.ACCT_INPUT_GIGAWORDS), int(Attr.ACCT_OUTPUT_GIGAWORDS)
_VENDOR = int(Attr.VENDOR_SPECIFIC)
_NUMBER_KINDS = (_STATUS, _DELAY, _TIMESTAMP, _TIME, _INPUT, _INPUT_GIGA, _OUTPUT, _OUTPUT_GIGA)
_NUMBERS = Integers(*_NUMBER_KINDS)

_MAX_OCTETS = 2**60 - 1
_CLOCK_SET_S = 1_262_304_000  # 2010-01-01: a clock that shows less was never set
AHEAD_US = 300_000_000
"""How far ahead of its arrival an Event-Timestamp is believed: what a clock without NTP is off, and no more. Usage that
a NAS stamps with tomorrow would be billed tomorrow, and at the end of a month in the wrong period."""

_u32 = Struct(">I").unpack_from


class AccountingRecord:
    """One Accounting-Request, decoded; instants are UTC microseconds.

    `exact` tells whether `event_us` is the NAS's own Event-Timestamp (RFC 2869 §5.3) or was derived from the arrival;
    `is_stamped_ahead`, that there was one, and that it lay too far ahead of the arrival to be believed.
    `key` is what all lives of its session are found under.
    `login` is User-Name as it came, `username` the same as text.
    `begun_us` is when the session must have begun by this record's own words, None when it does not say.
    `counted` are the (upstream, downstream) totals that count, None where they are just what was reported.
    """

    __slots__ = (
        "acct_session_id",
        "begun_us",
        "class_value",
        "counted",
        "delay_s",
        "downstream_octets",
        "event_us",
        "exact",
        "is_stamped_ahead",
        "key",
        "kind",
        "login",
        "nas",
        "nas_id",
        "packet",
        "packet_sha256",
        "received_us",
        "session_time_s",
        "upstream_octets",
        "username",
    )

    def __init__(self, packet: Packet, nas: Nas, received_us: int) -> None:
        """Raises PeerError: "no-status-type", "no-session-id", "attribute-value"."""
        data, offsets = packet.data, packet.offsets
        layout = packet.layout
        numbers = None if layout is None else _NUMBERS.read(data, layout)
        if numbers is None:
            numbers = tuple([_integer(data, offsets.get(kind)) for kind in _NUMBER_KINDS])
        status, delay_s, stamp_s, seconds, received, received_giga, sent, sent_giga = numbers
        self.packet = packet
        self.nas = nas
        self.nas_id: str = nas.nas_id
        self.received_us = received_us
        if status is None:
            raise PeerError("no-status-type")
        self.kind = kind = KINDS.get(status, EVENT)
        if _SESSION in offsets:
            start = offsets[_SESSION]
            self.acct_session_id = data[start + 2 : start + data[start + 1]]
        elif kind in ("on", "off", EVENT):
            self.acct_session_id = b""  # of no session; many a NAS leaves it out here
        else:
            raise PeerError("no-session-id")
        self.key = (self.nas_id, self.acct_session_id)
        if _USER in offsets:
            start = offsets[_USER]
            self.login = data[start + 2 : start + data[start + 1]]
            self.username = _text(self.login)
        else:
            self.login, self.username = b"", ""
        self.class_value: bytes | None = None
        if _CLASS in offsets:
            start = offsets[_CLASS]
            self.class_value = data[start + 2 : start + data[start + 1]]
            if not self.class_value.startswith(OURS) and (layout is None or _CLASS in layout.repeated):
                self.class_value = _our_class(packet) or self.class_value
        self.delay_s = delay_s or 0
        self.is_stamped_ahead = False
        if stamp_s is not None and stamp_s >= _CLOCK_SET_S:
            stamp_us = stamp_s * 1_000_000
            self.is_stamped_ahead = stamp_us > received_us + AHEAD_US
        if stamp_s is None or stamp_s < _CLOCK_SET_S or self.is_stamped_ahead:
            # "can be subtracted from the time of arrival on the server to find the approximate time of the event
            # generating this Accounting-Request" (RFC 2866 §5.2).
            self.event_us, self.exact = received_us - self.delay_s * 1_000_000, False
        else:
            self.event_us, self.exact = stamp_us, True
        self.session_time_s = seconds
        if seconds is not None:
            self.begun_us: int | None = self.event_us - seconds * 1_000_000
        else:
            self.begun_us = self.event_us if kind == "start" else None
        self.upstream_octets = received if received_giga is None else _octets(received, received_giga)
        self.downstream_octets = sent if sent_giga is None else _octets(sent, sent_giga)
        if nas.adds_ipv6_octets:
            self._add_ipv6()
        if nas.swaps_octets:
            self.upstream_octets, self.downstream_octets = self.downstream_octets, self.upstream_octets
        self.counted: tuple[int | None, int | None] | None = None if kind != EVENT else (None, None)
        self.packet_sha256 = sha256(data).digest()

    def _add_ipv6(self) -> None:
        received, sent = ipv6_counters.octets(self.packet)
        if self.upstream_octets is not None or received is not None:
            self.upstream_octets = (self.upstream_octets or 0) + (received or 0)
        if self.downstream_octets is not None or sent is not None:
            self.downstream_octets = (self.downstream_octets or 0) + (sent or 0)

    def counts_to_32_bits(self) -> tuple[bool, bool]:
        """Whether the upstream and the downstream counter came without gigawords (RFC 2869 §5.1, §5.2)."""
        offsets = self.packet.offsets
        received, sent = _INPUT_GIGA not in offsets, _OUTPUT_GIGA not in offsets
        return (sent, received) if self.nas.swaps_octets else (received, sent)

    def rate(self) -> str | None:
        """The vendor's rate attribute (such as Mikrotik-Rate-Limit), where the NAS sends it in accounting."""
        if _VENDOR not in self.packet.offsets:
            return None
        vendor = reply.VENDORS.get(self.nas.vendor)
        attribute = None if vendor is None else vendor.rate_attribute
        value = None if attribute is None else self.packet.vendor(*attribute)
        return None if value is None else _text(value)

    def framed_ipv4(self) -> str | None:
        value = self.packet.get(Attr.FRAMED_IP_ADDRESS)
        # 255.255.255.255 and 255.255.255.254 mean "chosen by user" and "by NAS" (RFC 2865 §5.8): no address.
        if value is None or len(value) != 4 or value[:3] == b"\xff\xff\xff":
            return None
        return f"{value[0]}.{value[1]}.{value[2]}.{value[3]}"

    def text(self, kind: int) -> str | None:
        """An attribute of people's words, such as Calling-Station-Id."""
        value = self.packet.get(kind)
        return None if value is None else _text(value)

    def terminate_cause(self) -> str:
        """Acct-Terminate-Cause by name; "unknown" when the Stop does not say."""
        value = self.packet.get(Attr.ACCT_TERMINATE_CAUSE)
        if value is None:
            return "unknown"
        code = int.from_bytes(value[-4:], "big")
        return TERMINATE_CAUSES.get(code, f"cause-{code}")


def _our_class(packet: Packet) -> bytes | None:
    """Ours among several: whoever proxies may have added one of its own in front (RFC 2865 §5.25 allows any number)."""
    return next((value for value in packet.get_all(_CLASS) if value.startswith(OURS)), None)


def _integer(data: bytes, at: int | None) -> int | None:
    """The 32-bit value of the attribute that starts at `at`; None where there is none."""
    if at is None:
        return None
    if data[at + 1] != 6:
        raise PeerError("attribute-value", f"attribute {data[at]} has {data[at + 1] - 2} octets instead of 4")
    value: int = _u32(data, at + 2)[0]
    return value


def _octets(low: int | None, gigawords: int) -> int | None:
    """A counter with its gigawords: "how many times the … counter has wrapped around 2^32" (RFC 2869 §5.1, §5.2)."""
    octets = (low or 0) | gigawords << 32
    # More than an exabyte is no measurement of a session; the packet stays in the log by its digest.
    return None if octets > _MAX_OCTETS else octets


def _text(value: bytes) -> str:
    """Text that every database takes: UTF-8 (RFC 2865 §5), what is not replaced by U+FFFD, and NUL too."""
    text = value.decode("utf-8", "replace")
    return text.replace("\x00", "\ufffd") if "\x00" in text else text
