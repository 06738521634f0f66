"""From the columns of ifTable and ifXTable to interfaces. Pure.

The interface is known by ifName: ifIndex may change with every restart (RFC 2863 §3.1.5). A speed is believed only
where the type says that the port has one: agents report 10 Mbit/s for loopback and tunnels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from collectors.counters import Reading
from collectors.snmp import names

Columns = Mapping[str, Mapping[int, object]]
"""Column OID → ifIndex → value."""

_UP = 1
# IANAifType: ethernetCsmacd, gigabitEthernet, ieee8023adLag, gpon, and the old numbers of fast Ethernet.
_TYPES_WITH_A_SPEED = frozenset({6, 62, 69, 117, 161, 250})
_MEGABIT = 10**6


@dataclass(frozen=True, slots=True)
class Interface:
    """One row. `received` and `sent` are ifInOctets and ifOutOctets as the interface sees them."""

    index: int
    name: str
    up: bool
    speed_bps: int | None
    received: Reading | None
    sent: Reading | None


@dataclass(frozen=True, slots=True)
class DevicePoll:
    """Everything one poll of one device brought."""

    at: datetime
    uptime_ticks: int
    interfaces: tuple[Interface, ...]


def interfaces(columns: Columns, at: datetime, uptime_ticks: int) -> tuple[Interface, ...]:
    """64-bit counters where the agent has them, else the 32-bit ones. Names that occur twice get their index."""
    indexes = sorted(set(columns.get(names.IF_TYPE, {})) | set(columns.get(names.IF_NAME, {})))
    called = {index: _name(columns, index) for index in indexes}
    repeated = Counter(called.values())
    return tuple(
        Interface(
            index=index,
            name=name if repeated[name] == 1 else f"{name}#{index}",
            up=columns.get(names.IF_OPER_STATUS, {}).get(index) == _UP,
            speed_bps=_speed(columns, index),
            received=_reading(columns, index, names.IF_HC_IN_OCTETS, names.IF_IN_OCTETS, at, uptime_ticks),
            sent=_reading(columns, index, names.IF_HC_OUT_OCTETS, names.IF_OUT_OCTETS, at, uptime_ticks),
        )
        for index, name in called.items()
    )


def _name(columns: Columns, index: int) -> str:
    value = columns.get(names.IF_NAME, {}).get(index)
    text = value.decode("utf-8", "replace").strip() if isinstance(value, bytes) else ""
    return text or f"if{index}"


def _speed(columns: Columns, index: int) -> int | None:
    megabits = columns.get(names.IF_HIGH_SPEED, {}).get(index)
    believed = columns.get(names.IF_TYPE, {}).get(index) in _TYPES_WITH_A_SPEED
    return megabits * _MEGABIT if believed and isinstance(megabits, int) and megabits > 0 else None


def _reading(columns: Columns, index: int, wide: str, narrow: str, at: datetime, uptime_ticks: int) -> Reading | None:
    discontinuity = columns.get(names.IF_DISCONTINUITY, {}).get(index)
    for column, bits in ((wide, 64), (narrow, 32)):
        value = columns.get(column, {}).get(index)
        if isinstance(value, int):
            ticks = discontinuity if isinstance(discontinuity, int) else None
            return Reading(at, value, bits, uptime_ticks, ticks, index)
    return None
