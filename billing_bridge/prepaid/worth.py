"""What prepaid credit is worth that the books still owe in service: the subledger of customer prepayments.

A balance that its last movement did not leave so was changed past the program: what it is worth is what can be used of
it, and the books know nothing of the difference.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import Row, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.prepaid.tables import UNPOSTED, day, movement, wallet

_AT_A_TIME = 2000

Worth = tuple[str, str, int]
"""(account, currency, minor units), net."""


async def worths(conn: AsyncConnection) -> AsyncIterator[list[Worth]]:
    """Of balances what is left, some at a time, and last what of days was used or has expired and is not posted yet."""
    moved = select(movement.c.balance_after).where(movement.c.service_id == wallet.c.service_id)
    left = moved.order_by(movement.c.sequence.desc()).limit(1).scalar_subquery()
    query = select(wallet, func.coalesce(left, 0).label("left")).order_by(wallet.c.service_id).limit(_AT_A_TIME)
    after = ""
    while rows := (await conn.execute(query.where(wallet.c.service_id > after))).all():
        yield [(row.account_id, row.currency, minor) for row in rows if (minor := _worth(row))]
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


def _worth(row: Row[Any]) -> int:
    if row.balance == row.left:
        return int(row.worth_minor)
    return int(row.worth_minor * row.balance // row.left if row.left else row.balance)
