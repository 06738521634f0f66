"""Long computations on the event loop give way to others: RADIUS is answered by the same loop meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

_IN_A_TURN = 25
"""Of what takes up to a millisecond each, such as to rate a subscription or to draft a document."""

T = TypeVar("T")


async def in_turns(items: Iterable[T]) -> AsyncIterator[T]:
    """The items one by one; after some of them everything else that is ready runs first."""
    for n, item in enumerate(items):
        if n and n % _IN_A_TURN == 0:
            await asyncio.sleep(0)
        yield item
