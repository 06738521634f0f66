"""The key that certificates are signed with."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from controller.domain.clock import MovableClock
from controller.store.engine import Database
from controller.store.secrets import load_or_create
from controller.store.signing import Signer, verified

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


async def test_who_signs_first_at_the_same_time_signs_with_one_key(database: Database, tmp_path: Path) -> None:
    signer = Signer(load_or_create(tmp_path / "headend.key"), MovableClock(NOW), "test")
    looked = asyncio.Barrier(1 if database.is_sqlite else 2)

    async def sign(content: bytes) -> tuple[str, str]:
        async with database.begin() as conn:
            await looked.wait()
            made = await signer.sign(conn, content)
        return made.public_key, made.value

    contents = [b"one", b"two"]
    signed = await asyncio.gather(*(sign(content) for content in contents))
    assert len({key for key, _ in signed}) == 1
    assert [verified(key, content, value) for (key, value), content in zip(signed, contents, strict=True)] == [True] * 2
