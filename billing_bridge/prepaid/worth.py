"""What prepaid credit is worth that the books still owe in service: the subledger of customer prepayments."""

from __future__ import annotations

from collections.abc import AsyncIterator

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.prepaid.tables import UNPOSTED, day, wallet

_AT_A_TIME = 2000

Worth = tuple[str, str, int]
"""(account, currency, minor units), net."""


async def worths(conn: AsyncConnection) -> AsyncIterator[list[Worth]]:
    """Of balances what is left, some at a time, and last what of days was used or has expired and is not posted yet."""
    columns = (wallet.c.account_id, wallet.c.currency, wallet.c.worth_minor)
    query = select(wallet.c.service_id, *columns).order_by(wallet.c.service_id).limit(_AT_A_TIME)
    after = ""
    while rows := (await conn.execute(query.where(wallet.c.service_id > after))).all():
        yield [(row.account_id, row.currency, row.worth_minor) for row in rows if row.worth_minor]
        after = rows[-1].service_id
    waiting = func.sum(day.c.earned_minor - day.c.posted_minor + day.c.lapsed_minor - day.c.lapsed_posted_minor)
    unposted = (
        select(wallet.c.account_id, wallet.c.currency, waiting)
        .select_from(day)
        .join(wallet, wallet.c.service_id == day.c.service_id)
        .where(text(UNPOSTED))
        .group_by(wallet.c.account_id, wallet.c.currency)
    )
    yield [(account_id, currency, int(minor)) for account_id, currency, minor in await conn.execute(unposted)]
