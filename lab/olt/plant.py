"""The glass outside the OLT: which ONUs are plugged in, how much light arrives, and how many octets they moved."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(slots=True)
class Onu:
    """One ONU on the fibre. Counters start at plugging in; `rx_tenth_dbm` is what the OLT receives, in 0.1 dBm."""

    serial: str
    pon_port: str
    rx_tenth_dbm: int
    fiber_m: int
    upstream_octets: int = 0
    downstream_octets: int = 0


class Plant:
    """ONUs by serial number. With `auto_plug` every ONU that a v-ani expects is there as soon as it is expected."""

    def __init__(self, *, auto_plug: bool = True, seed: int = 1) -> None:
        self.auto_plug = auto_plug
        self._random = random.Random(seed)
        self._onus: dict[str, Onu] = {}
        self._unplugged: set[str] = set()

    def plug(self, serial: str, pon_port: str) -> Onu:
        onu = Onu(serial, pon_port, -self._random.randint(150, 260), self._random.randint(200, 15_000))
        self._onus[serial.upper()] = onu
        self._unplugged.discard(serial.upper())
        return onu

    def unplug(self, serial: str) -> None:
        self._onus.pop(serial.upper(), None)
        self._unplugged.add(serial.upper())

    def expected(self, serial: str, pon_port: str) -> Onu | None:
        """The ONU that a v-ani on `pon_port` waits for, or None while it is dark or on another port."""
        onu = self._onus.get(serial.upper())
        if onu is None and self.auto_plug and serial.upper() not in self._unplugged:
            onu = self.plug(serial, pon_port)
        return onu if onu is not None and onu.pon_port == pon_port else None

    def on_port(self, pon_port: str) -> list[Onu]:
        return [onu for onu in self._onus.values() if onu.pon_port == pon_port]

    def carry(self, serial: str, upstream_octets: int, downstream_octets: int) -> None:
        """Count traffic of one ONU; a dark ONU carries nothing."""
        onu = self._onus.get(serial.upper())
        if onu is not None:
            onu.upstream_octets += upstream_octets
            onu.downstream_octets += downstream_octets
