"""On which conditions a service may log in: from where, at what hours, how many times at once. Pure.

Every refusal is a sentence for operators, with what was found and what was asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from controller.domain.errors import RuleError
from radius.protocol.codes import Attr
from radius.protocol.nas import Nas
from radius.protocol.packet import Packet

_NAS_PORT, _NAS_PORT_ID = int(Attr.NAS_PORT), int(Attr.NAS_PORT_ID)
_CALLING_STATION_ID = int(Attr.CALLING_STATION_ID)

DAYS = ("mo", "tu", "we", "th", "fr", "sa", "su")
_WINDOW = re.compile(r"(mo|tu|we|th|fr|sa|su)(?:-(mo|tu|we|th|fr|sa|su))? (\d\d):(\d\d)-(\d\d):(\d\d)", re.ASCII)
_DAY_MIN = 24 * 60
_SEPARATORS = re.compile(r"[^0-9a-f]")


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of a week: `days` are 0 (Monday) to 6, minutes count from midnight; an end of at most the start is the
    next day's. `text` is how it was written: "mo-fr 08:00-18:00"."""

    text: str
    days: frozenset[int]
    start_min: int
    end_min: int

    @classmethod
    def parse(cls, text: str) -> Window:
        """Raises RuleError."""
        match = _WINDOW.fullmatch(text.strip().lower())
        if match is None:
            raise RuleError(f"{text!r} is no time window; write one like 'mo-fr 08:00-18:00'")
        first = DAYS.index(match[1])
        last = first if match[2] is None else DAYS.index(match[2])
        start_min, end_min = int(match[3]) * 60 + int(match[4]), int(match[5]) * 60 + int(match[6])
        if start_min >= _DAY_MIN or end_min > _DAY_MIN or int(match[4]) > 59 or int(match[6]) > 59:
            raise RuleError(f"{text!r} names a time that no day has")
        days = frozenset((first + offset) % 7 for offset in range((last - first) % 7 + 1))
        return cls(match[0], days, start_min, end_min if end_min > start_min else end_min + _DAY_MIN)

    def end_after(self, local: datetime) -> datetime | None:
        """When the window that `local` lies in ends, in the same zone; None when it lies in none."""
        for back in (0, 1):
            midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0) - timedelta(days=back)
            if midnight.weekday() not in self.days:
                continue
            # Wall clock times: on the day that the clocks change the window has an hour less or more.
            start, end = midnight + timedelta(minutes=self.start_min), midnight + timedelta(minutes=self.end_min)
            if start <= local < end:
                return end
        return None


def closes_at(windows: tuple[Window, ...], now: datetime, zone: ZoneInfo) -> datetime | None:
    """When the hours end that `now` lies in; windows that touch count as one. None outside of all of them.

    At most eight days ahead: hours that never end are asked about again.
    """
    local, end = now.astimezone(zone), None
    horizon = local + timedelta(days=8)
    while local < horizon:
        ends = [found for window in windows if (found := window.end_after(local)) is not None]
        if not ends:
            break
        local = end = max(ends)
    return None if end is None else end.astimezone(UTC)


def station(value: str) -> str:
    """A Calling-Station-Id as it is compared: twelve hex digits without separators for a MAC address, else as it is."""
    digits = _SEPARATORS.sub("", value.lower())
    return digits if len(digits) == 12 else value


@dataclass(frozen=True, slots=True)
class Conditions:
    """None and empty ask for nothing. `calling_station` is in the form that `station` makes.

    `nas_port_id` is compared with NAS-Port-Id (RFC 2869 §5.17), or with the number in NAS-Port where there is none.
    """

    max_sessions: int | None = None
    nas_ids: tuple[str, ...] = ()
    nas_port_id: str | None = None
    calling_station: str | None = None
    hours: tuple[Window, ...] = ()

    @property
    def is_empty(self) -> bool:
        return self == NONE

    def over(self, others: Conditions) -> Conditions:
        """These where they ask for something, the others elsewhere."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) not in (None, ())}
        return Conditions(**{f.name: getattr(others, f.name) for f in fields(others)} | values)

    def refusal(self, packet: Packet, nas: Nas) -> str | None:
        """Why a login from this place is refused; None when it is not."""
        # A box of a registered network has an id of its own; being bound to the network is being bound to any of them.
        if self.nas_ids and nas.nas_id not in self.nas_ids and nas.member_of not in self.nas_ids:
            return f"the service is bound to another NAS than {nas.name}"
        if self.nas_port_id is not None:
            port = _text(packet, _NAS_PORT_ID) or _number(packet, _NAS_PORT)
            if port != self.nas_port_id:
                return f"the service is bound to port {self.nas_port_id!r}, and this is {port!r}"
        if self.calling_station is not None:
            caller = _text(packet, _CALLING_STATION_ID)
            if caller is None or station(caller) != self.calling_station:
                return f"the service is bound to station {self.calling_station!r}, and this is {caller!r}"
        return None


NONE = Conditions()


def _number(packet: Packet, kind: int) -> str | None:
    value = packet.get(kind)
    return None if value is None or len(value) != 4 else str(int.from_bytes(value, "big"))


def _text(packet: Packet, kind: int) -> str | None:
    value = packet.get(kind)
    return None if value is None else value.decode(errors="backslashreplace")
