"""A process that is told of a card payment and is killed: once it is stored, inside its booking, or right after it.

python -m tests.support.webhook_child DATABASE_URL KEY_FILE ACCOUNT_ID stored|booking|booked
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from controller.store import secrets
from controller.store.engine import Database
from tests.support.payments import Till


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def main(url: str, key_file: Path, account_id: str, when: str) -> None:
    till = Till(Database(url), secrets.load_or_create(key_file))
    till.stripe.paid(3570, metadata={"account_id": account_id})
    await till.deliver(till.stripe.events[0])
    if when == "stored":
        die()
    if when == "booking":
        till.room.settlement.receive_in = killed_after(till.room.settlement.receive_in)  # type: ignore[method-assign]
    await till.room.inbox.drain()
    die()


def killed_after(real: Callable[..., Any]) -> Callable[..., Any]:
    async def wrapped(*args: Any, **known: Any) -> Any:
        await real(*args, **known)
        die()

    return wrapped


if __name__ == "__main__":
    _, database_url, key, account, moment = sys.argv
    asyncio.run(main(database_url, Path(key), account, moment))
