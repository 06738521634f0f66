"""How background work that follows the usage log leaves the process to those who must answer.

While the rest of the process is busy, a follower works a small share of the time; otherwise half of it. What waits in
the log is not lost: a chart or a mediated day is late, an accounting answer is not.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType

BUSY = 0.4
"""The rest of the process counts as busy when it uses more than this share of a processor."""


class Courtesy:
    """async with courtesy: one batch of work. Rests at the end of the block, also after an error.

    `share` is what the work may take of the time while the process is busy.
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
        rested_s = time.monotonic() - ended_s
        if time.process_time() - ended_cpu_s > BUSY * rested_s:
            await asyncio.sleep(worked_s * (1 / self._share - 2))
