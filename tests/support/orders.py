"""Controllers that are started one after the other, each killed at a point of an order."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from controller.store.engine import Database
from tests.support import zygote


class Controllers:
    """Each fulfils the orders of one database, on a network that lies in a directory."""

    def __init__(self, database: Database, directory: Path) -> None:
        self._url = database.url.render_as_string(hide_password=False)
        self._directory = directory
        self._started = 0

    async def killed_at(self, point: str) -> None:
        """Start one, and kill -9 it where it stops."""
        running = self._start(point)
        await asyncio.to_thread(running.until_printed, point)
        running.kill()
        assert await asyncio.to_thread(running.wait, 30) == -signal.SIGKILL

    async def completes(self) -> None:
        """Start one that goes on until the order is completed, or cancelled."""
        assert await asyncio.to_thread(self._start("nowhere").wait, 60) == 0

    def _start(self, point: str) -> zygote.Running:
        self._started += 1
        output = self._directory / f"said-{self._started}"
        return zygote.start("tests.support.order_child", self._url, str(self._directory), point, output=output)
