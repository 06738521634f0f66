"""A program that a test starts, reads the log of, and ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.until import until


@dataclass
class Daemon:
    """A started program with its log."""

    process: asyncio.subprocess.Process
    path: Path

    def log(self) -> str:
        return self.path.read_text(errors="replace")

    async def said(self, words: str, timeout_s: float = 15) -> None:
        """Until it has said so. Raises AssertionError with its log."""
        try:
            await until(lambda: words in self.log(), timeout_s)
        except TimeoutError:
            raise AssertionError(f"{words!r} is not in: {self.log()}") from None


@asynccontextmanager
async def daemon(path: Path, *command: str, stdin: bytes = b"") -> AsyncIterator[Daemon]:
    """Run it with what it says in `path`, until the context ends."""
    with path.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=out, stderr=asyncio.subprocess.STDOUT
        )
    assert process.stdin is not None, "it is a pipe"
    process.stdin.write(stdin)
    process.stdin.close()
    try:
        yield Daemon(process, path)
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), 10)
