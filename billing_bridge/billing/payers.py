"""Who pays for whom: this room's copy, by event, and which accounts a bill run must keep together.

A period is paid for by whoever pays on its first day (or on the first day of the subscription, where that is later), so
what is charged for a period and what is given back of it always meet on documents of one account.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.tables import payer, subscription
from controller.domain.events import AccountParentSet
from controller.domain.identity import AccountId


@dataclass(frozen=True, slots=True)
class Payer:
    """From `since` on `account_id` pays, under a heading; "" where an account pays for itself."""

    since: date
    account_id: AccountId
    heading: str


async def add(conn: AsyncConnection, event: AccountParentSet) -> None:
    """One entry per event; of two of one day the later one holds."""
    if await conn.scalar(select(payer.c.sequence).where(payer.c.event_id == event.event_id)) is not None:
        return
    await conn.execute(
        insert(payer).values(
            account_id=event.account_id,
            since=event.since,
            payer_id=event.parent_id if event.billed_to_parent else event.account_id,
            heading=event.heading if event.billed_to_parent else "",
            event_id=event.event_id,
        )
    )


async def of_accounts(conn: AsyncConnection, account_ids: Sequence[str]) -> dict[str, list[Payer]]:
    """In order of time, for accounts for which somebody else ever paid."""
    query = select(payer).where(payer.c.account_id.in_(account_ids)).order_by(payer.c.since, payer.c.sequence)
    found: dict[str, list[Payer]] = {}
    for row in await conn.execute(query):
        found.setdefault(row.account_id, []).append(Payer(row.since, AccountId(row.payer_id), row.heading))
    return found


def on(entries: Sequence[Payer], day: date, own: AccountId) -> Payer:
    """Who pays on a day."""
    return next((entry for entry in reversed(entries) if entry.since <= day), Payer(date.min, own, ""))


async def families(conn: AsyncConnection, only: AccountId | None) -> list[list[AccountId]]:
    """Accounts with a subscription, those together that ever met on one document; in order of their first ids.

    `only` is one account, and those for which it ever paid.
    """
    query = select(subscription.c.account_id).distinct().order_by(subscription.c.account_id)
    pairs = select(payer.c.account_id, payer.c.payer_id).where(payer.c.account_id != payer.c.payer_id).distinct()
    if only is not None:
        paid_for = select(payer.c.account_id).where(payer.c.payer_id == only)
        query = query.where(or_(subscription.c.account_id == only, subscription.c.account_id.in_(paid_for)))
        return [found] if (found := [AccountId(i) for i in await conn.scalars(query)]) else []
    heads = _heads([(row.account_id, row.payer_id) for row in await conn.execute(pairs)])
    together: dict[str, list[AccountId]] = {}
    for account_id in await conn.scalars(query):
        together.setdefault(heads.get(account_id, account_id), []).append(AccountId(account_id))
    return list(together.values())


def batches(together: Sequence[Sequence[AccountId]], size: int) -> list[list[AccountId]]:
    """Families in batches of about `size` accounts; a family is never cut, however large."""
    found: list[list[AccountId]] = []
    for family in together:
        if found and len(found[-1]) + len(family) <= size:
            found[-1] += family
        else:
            found.append(list(family))
    return found


def _heads(pairs: Sequence[tuple[str, str]]) -> Mapping[str, str]:
    """One account of each family for all of its members."""
    heads: dict[str, str] = {}

    def head(account_id: str) -> str:
        while heads.get(account_id, account_id) != account_id:
            account_id = heads[account_id]
        return account_id

    for child, parent in pairs:
        first, second = sorted((head(child), head(parent)))
        heads[second] = heads[first] = first
    return {account_id: head(account_id) for account_id in [*heads]}
