"""How background work that follows the usage log leaves the process to those who must answer.

Two followers share what the others leave below four fifths of a processor, and take a small share where they leave
nothing. What waits in the log is not lost: a chart or a mediated day is late, an accounting answer is not.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType

_FILLED = 0.8
"""Up to this much of a processor is filled with followers' work; the rest is there for what comes suddenly."""
_LONGEST_SLICE_S = 1.0


class Courtesy:
    """async with courtesy: one batch of work. Rests at the end of the block, also after an error.

    `share` is what the work may take of the time while the rest of the process uses all of a processor.
    """

    def __init__(self, share: float) -> None:
        if not 0 < share <= 0.5:
            raise ValueError("a share is above 0 and at most 0.5")
        self._share = share
        self._began_s = 0.0

    async def __aenter__(self) -> None:
        self._began_s = time.monotonic()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        owed_s = slice_s = time.monotonic() - self._began_s
        # The others are watched slice by slice: who was busy a moment ago, as everybody is at the start, may be idle.
        while owed_s > 1e-6:
            began_s, began_cpu_s = time.monotonic(), time.process_time()
            await asyncio.sleep(slice_s)
            rested_s = max(time.monotonic() - began_s, 1e-9)
            others = (time.process_time() - began_cpu_s) / rested_s
            share = min(0.5, max(self._share, (_FILLED - others) / 2))
            owed_s -= rested_s * share / (1 - share)
            slice_s = min(2 * slice_s, _LONGEST_SLICE_S, max(owed_s, 1e-4) * (1 - share) / share)
