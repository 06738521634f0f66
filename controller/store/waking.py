"""Waiting for a wake-up, but not for ever: how every background task rests between two looks."""

from __future__ import annotations

import asyncio


async def woken(event: asyncio.Event, within_s: float) -> bool:
    """Whether `event` was set in time.

    A cancellation always comes through. asyncio.wait_for of Python 3.11 forgets one that meets the wake-up, and the
    task, and with it the process, would not end.
    """
    try:
        async with asyncio.timeout(within_s):
            return await event.wait()
    except TimeoutError:
        return False
