"""Ten thousand accounting packets of two BRAS, the sessions they truly tell of, and how a network delivers them:
once, twice, in any order, with loss and retransmission.

One BRAS sends Event-Timestamp; the other knows no time and says with Acct-Delay-Time how long a packet has waited
(RFC 2866 §5.2). Both lose their power in the middle, and hand out the same Acct-Session-Ids again afterwards.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from radius.protocol.nas import Nas
from radius.protocol.packet import Packet
from tests.support.accounting import NAS, OTHER_NAS, accounting

BEGIN = 1_793_534_400
"""2026-11-01 12:00 UTC, in Unix seconds."""
INTERIM_S = 300
RESTART_S = 4 * 3600
"""When both BRAS restart, seconds after BEGIN."""
_SLOTS = 70
"""Acct-Session-Ids that a BRAS has; a subscriber keeps none for longer than a session."""
_BOOT_S = 90


@dataclass(frozen=True, slots=True)
class Said:
    """One thing that a BRAS says, at `at` seconds of Unix time: the same whenever and however often it arrives."""

    nas: Nas
    at: int
    kind: str
    session: bytes | None
    seconds: int | None = None
    up: int | None = None
    down: int | None = None

    def packet(self, delay_s: int) -> Packet:
        """As it stands in a datagram sent `delay_s` after the event."""
        stamp = self.at if self.nas is NAS else None
        delay = None if self.nas is NAS else delay_s
        return accounting(
            self.kind,
            self.session,
            at=stamp,
            seconds=self.seconds,
            up=self.up,
            down=self.down,
            delay=delay,
            user=b"anna" if self.session is None else b"user-" + self.session,
            # Every new packet has the next Identifier; without it, and without time, two Starts would be one datagram.
            identifier=(self.at + delay_s) % 256,
        )


@dataclass(frozen=True, slots=True)
class Delivery:
    """A datagram as it reaches us."""

    arrived_s: int
    said: Said
    packet: Packet


Truth = tuple[str, bytes, int, int, int, int]
"""NAS, Acct-Session-Id, began, ended, upstream and downstream octets."""


def trace(packets: int, seed: int) -> tuple[list[Said], list[Truth]]:
    """What two BRAS say, in the order of time, and the sessions behind it."""
    dice = random.Random(seed)
    said: list[Said] = []
    truth: list[Truth] = []
    per_slot = packets // (2 * _SLOTS)
    for nas in (NAS, OTHER_NAS):
        said += [Said(nas, BEGIN, "on", None), Said(nas, BEGIN + RESTART_S + _BOOT_S, "on", None)]
        for n in range(_SLOTS):
            _slot(nas, b"%08x" % n, per_slot, dice, said, truth)
    said.sort(key=lambda s: s.at)
    return said, truth


def _slot(nas: Nas, session: bytes, count: int, dice: random.Random, said: list[Said], truth: list[Truth]) -> None:
    """The sessions that are given one Acct-Session-Id after another."""
    now, left, restart = BEGIN + dice.randint(5, 600), count, BEGIN + RESTART_S
    while left > 0:
        records = dice.randint(1, 24)
        began, up, down = now, 0, 0
        last = Said(nas, began, "start", session)
        said.append(last)
        for n in range(records):
            now += INTERIM_S if n < records - 1 else dice.randint(20, INTERIM_S)
            if began < restart <= now:
                now = restart + _BOOT_S + dice.randint(1, 30)
                break
            up += dice.randint(0, 60_000_000)
            down += dice.randint(0, 3_000_000_000)
            kind = "stop" if n == records - 1 else "interim"
            last = Said(nas, now, kind, session, now - began, up, down)
            said.append(last)
        truth.append((nas.nas_id, session, began, last.at, last.up or 0, last.down or 0))
        left -= records + 1
        now += dice.randint(20, 900)


def once(said: list[Said]) -> Iterator[Delivery]:
    for one in said:
        yield Delivery(one.at, one, one.packet(0))


def shuffled(said: list[Said], dice: random.Random) -> Iterator[Delivery]:
    """All of it hours later, in any order."""
    mixed = dice.sample(said, len(said))
    late = said[-1].at + 60
    for n, one in enumerate(mixed):
        arrived = late + n // 100
        yield Delivery(arrived, one, one.packet(arrived - one.at))


def buffered(said: list[Said], since_s: int, until_s: int, held_s: int) -> Iterator[Delivery]:
    """What is said between two seconds after BEGIN stays at the BRAS for `held_s` and comes then, in order, among what
    is said by then (Nokia 7750 keeps accounting for up to 25 hours)."""
    arriving = []
    for one in said:
        waited = held_s if since_s <= one.at - BEGIN < until_s else 0
        arriving.append(Delivery(one.at + waited, one, one.packet(waited)))
    yield from sorted(arriving, key=lambda d: d.arrived_s)


def lossy(said: list[Said], dice: random.Random, loss: float) -> Iterator[Delivery]:
    """Requests and answers get lost alike; the BRAS repeats until it is answered, every five seconds."""
    arriving: list[Delivery] = []
    for one in said:
        waited = 0
        while True:
            # Some BRAS repeat the datagram as it is, some say how long it has waited by now.
            packet = one.packet(waited if one.nas is OTHER_NAS else 0)
            request_lost, answer_lost = dice.random() < loss, dice.random() < loss
            if not request_lost:
                arriving.append(Delivery(one.at + waited, one, packet))
            if not (request_lost or answer_lost):
                break
            waited += 5
    yield from sorted(arriving, key=lambda d: d.arrived_s)
