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
        ended_s, ended_cpu_s = time.monotonic(), time.process_time()
        worked_s = ended_s - self._began_s
        # As long a rest as the work was, during which the others are watched.
        await asyncio.sleep(worked_s)
        others = (time.process_time() - ended_cpu_s) / max(time.monotonic() - ended_s, 1e-9)
        share = min(0.5, max(self._share, (_FILLED - others) / 2))
        await asyncio.sleep(worked_s * (1 / share - 2))
