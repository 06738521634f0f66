"""A process that issues a document for each of some accounts, all at once.

    python -m tests.support.issuer_child DATABASE_URL ACCOUNT_ID…

One of several on one database; made to be killed in between.
"""

from __future__ import annotations

import asyncio
import sys

from controller.domain.identity import AccountId
from controller.store.engine import Database
from tests.support.finance import Books


async def main(url: str, accounts: list[str]) -> None:
    database = Database(url)
    books = Books(database)
    await asyncio.gather(*(books.issue(AccountId(account)) for account in accounts))
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
