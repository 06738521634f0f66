"""A seeded bad line: datagrams are lost, come twice, or overtake each other. Both directions use the same dice."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Faults:
    """Probabilities, for each datagram."""

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0


class Line:
    """What becomes of a datagram: the delays after which a copy of it arrives; none when it is lost."""

    HELD_UP_S = 0.05

    def __init__(self, faults: Faults, dice: random.Random) -> None:
        self._faults = faults
        self._dice = dice
        self.lost = self.duplicated = self.reordered = 0

    def arrivals(self) -> tuple[float, ...]:
        faults, dice = self._faults, self._dice
        fate = dice.random()
        if fate < faults.loss:
            self.lost += 1
            return ()
        delay_s = 0.0
        if fate < faults.loss + faults.reorder:
            self.reordered += 1
            delay_s = dice.uniform(0, self.HELD_UP_S)
        if dice.random() < faults.duplicate:
            self.duplicated += 1
            return delay_s, dice.uniform(0, self.HELD_UP_S)
        return (delay_s,)
