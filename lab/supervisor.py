"""`headend serve` as a child: started, watched, started again when it dies, stopped within a grace time.

The kernel kills the child when this process dies (PR_SET_PDEATHSIG), however it dies. The child has a session of its
own, so that Ctrl-C at the terminal reaches the lab only, which then stops things in order.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import httpx2

GRACE_S = 6.0
READY_S = 60.0
MAX_RESTARTS = 5
"""Within one minute; a child that dies faster than that will not be helped by another start."""

_PR_SET_PDEATHSIG = 1


class ServerFailed(Exception):
    """The child did not come up, or died too often. The message carries the end of its log."""


def die_with_parent() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def serve_command() -> list[str]:
    """The installed `headend` beside this interpreter."""
    installed = Path(sys.executable).parent / "headend"
    return [str(installed), "serve"] if installed.exists() else [sys.executable, "-m", "controller.app.cli", "serve"]


@dataclass(slots=True)
class Supervisor:
    """One child at a time. `say` gets a sentence when something happens that the user did not ask for."""

    environment: dict[str, str]
    health_url: str
    log_file: Path
    say: Callable[[str], None]
    command: list[str] = field(default_factory=serve_command)
    restarts: list[float] = field(default_factory=list)
    _child: asyncio.subprocess.Process | None = None
    _stopping: bool = False

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None and self._child.returncode is None else None

    async def start(self) -> None:
        """Start the child and return when it answers /healthz with 200. Raises ServerFailed."""
        await self._spawn()
        try:
            await self._until_ready()
        except BaseException:
            await self.stop()
            raise

    async def watch(self) -> None:
        """Start the child again whenever it dies. Runs until cancelled; raises ServerFailed when it dies too often."""
        loop = asyncio.get_running_loop()
        while True:
            assert self._child is not None, "not started"
            code = await self._child.wait()
            if self._stopping:
                return
            now = loop.time()
            self.restarts = [at for at in self.restarts if now - at < 60] + [now]
            if len(self.restarts) > MAX_RESTARTS:
                raise ServerFailed(f"the controller died {len(self.restarts)} times in a minute.\n{self.log_tail()}")
            self.say(f"The controller ended unexpectedly ({_how(code)}); starting it again. Its log: {self.log_file}")
            await self.start()
            self.say("The controller is back.")

    async def stop(self, grace_s: float = GRACE_S) -> bool:
        """SIGTERM, then SIGKILL after `grace_s`. True when it stopped by itself with status 0."""
        self._stopping = True
        child = self._child
        if child is None:
            return True
        if child.returncode is None:
            child.terminate()
            try:
                async with asyncio.timeout(grace_s):
                    await child.wait()
            except TimeoutError:
                self.say(f"The controller did not stop within {grace_s:.0f} s and is killed. Its log: {self.log_file}")
                child.kill()
                await child.wait()
        return child.returncode == 0

    def log_tail(self, lines: int = 15) -> str:
        if not self.log_file.exists():
            return ""
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])

    async def _spawn(self) -> None:
        self._stopping = False
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self._child = await self._create(log)

    async def _create(self, log: IO[bytes]) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self.command,
            env={**os.environ, **self.environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )

    async def _until_ready(self) -> None:
        assert self._child is not None
        died = asyncio.ensure_future(self._child.wait())
        try:
            async with asyncio.timeout(READY_S), httpx2.AsyncClient(timeout=2.0, trust_env=False) as http:
                while not await self._is_healthy(http):
                    await asyncio.wait({died}, timeout=0.1)
                    if died.done():
                        raise ServerFailed(f"the controller did not start ({_how(died.result())}).\n{self.log_tail()}")
        except TimeoutError:
            raise ServerFailed(f"the controller was not ready within {READY_S:.0f} s.\n{self.log_tail()}") from None
        finally:
            died.cancel()

    async def _is_healthy(self, http: httpx2.AsyncClient) -> bool:
        try:
            return (await http.get(self.health_url)).status_code == 200
        except httpx2.TransportError:
            return False


def _how(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    return f"signal {signal.Signals(-code).name}" if -code in set(signal.Signals) else f"signal {-code}"
