"""A background task wakes up, looks again after a while, and ends when it is told to, whatever comes at once."""

from __future__ import annotations

import asyncio

import pytest

from controller.store.waking import woken


async def test_a_wake_up_is_told_from_a_rest_that_is_over() -> None:
    event = asyncio.Event()
    assert not await woken(event, 0.001)
    event.set()
    assert await woken(event, 10)


@pytest.mark.parametrize("turns", range(5))
async def test_a_cancellation_that_meets_the_wake_up_is_not_forgotten(turns: int) -> None:
    event = asyncio.Event()

    async def work() -> None:
        for _ in range(50):
            event.clear()
            await woken(event, 0.02)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    event.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
