"""Which account belongs to which, since when, and who pays: a company's sites, a family, the customers of a reseller.

    parent ── its sites, two levels and no more: nobody pays for whoever pays for somebody

A relation holds from a day on, until the next one of the account. The account may be billed to its parent, whose one
document then has a heading and a subtotal for it, or for itself. Arrears of the parent do not touch it unless the
relation says so. What was billed before stays with whom it was billed to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, and_, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock, local_date
from controller.domain.events import AccountParentSet
from controller.domain.identity import AccountId, new_id
from controller.store import audit, outbox
from controller.store.engine import Database
from erp.crm import repository
from erp.crm.errors import BadParent, NoAccount
from erp.crm.model import Customer
from erp.crm.tables import account, account_parent, customer

_FARTHEST_DAYS = 366


@dataclass(frozen=True, slots=True)
class Relation:
    """From `since` on the account belongs to `parent_id` (None: to nobody).

    `heading` is what stands above its lines on the parent's document, such as a site and its cost centre.
    """

    account_id: AccountId
    since: date
    parent_id: AccountId | None
    billed_to_parent: bool
    heading: str
    blocked_with_parent: bool
    changed_at: datetime
    changed_by: str


@dataclass(frozen=True, slots=True)
class Child:
    """An account that belongs to another on a day."""

    relation: Relation
    customer_id: str
    name: str


class HierarchyService:
    """Methods that take `conn` join the caller's transaction."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def set_parent(
        self,
        account_id: AccountId,
        parent_id: AccountId | None,
        *,
        since: date | None = None,
        billed_to_parent: bool = True,
        heading: str = "",
        blocked_with_parent: bool = False,
        actor: str,
    ) -> Relation:
        """From the local day `since` (None: today) on. Raises NoAccount, BadParent."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            known = await self._lock(conn, [account_id, *([parent_id] if parent_id else [])])
            child = known[account_id]
            today = local_date(now, child.account.zone_info)
            made = Relation(
                account_id,
                since or today,
                parent_id,
                billed_to_parent and parent_id is not None,
                heading or (child.contact.name if parent_id else ""),
                blocked_with_parent and parent_id is not None,
                now,
                actor,
            )
            if abs((made.since - today).days) > _FARTHEST_DAYS:
                raise BadParent(f"{made.since} is more than a year from today")
            if parent_id is not None:
                await self._check(conn, child, known[parent_id])
            await self._write(conn, made)
        return made

    async def relations(self, account_id: AccountId) -> list[Relation]:
        """All of an account, oldest first."""
        query = select(account_parent).where(account_parent.c.account_id == account_id).order_by(account_parent.c.since)
        async with self._database.read() as conn:
            return [_relation(row) for row in await conn.execute(query)]

    async def children(
        self, parent_id: AccountId, on: date | None, *, after: str | None = None, limit: int
    ) -> Sequence[Child]:
        """Accounts that belong to it on a day (None: today), in the order of their ids. Raises NoAccount."""
        async with self._database.read() as conn:
            found = await repository.find_customer_of(conn, parent_id)
            if found is None:
                raise NoAccount(f"no billing account {parent_id}")
            day = on or local_date(self._clock.now(), found.account.zone_info)
            return await children_in(conn, parent_id, day, after=after, limit=limit)

    async def _lock(self, conn: AsyncConnection, account_ids: Sequence[AccountId]) -> dict[AccountId, Customer]:
        """The accounts' customers; their rows' locks put changes of one family in order."""
        ids = sorted(set(account_ids))
        await conn.execute(select(account.c.account_id).where(account.c.account_id.in_(ids)).order_by(
            account.c.account_id
        ).with_for_update())  # fmt: skip
        found = await repository.find_customers_of(conn, ids)
        for account_id in ids:
            if account_id not in found:
                raise NoAccount(f"no billing account {account_id}")
        return found

    async def _check(self, conn: AsyncConnection, child: Customer, parent: Customer) -> None:
        if child.account.account_id == parent.account.account_id:
            raise BadParent("an account does not belong to itself")
        if (child.entity_id, child.account.currency) != (parent.entity_id, parent.account.currency):
            raise BadParent("both accounts are of one legal entity and one currency")
        belongs = account_parent.c.parent_id.is_not(None)
        of_parent = and_(account_parent.c.account_id == parent.account.account_id, belongs)
        to_child = account_parent.c.parent_id == child.account.account_id
        busy = await conn.scalar(select(func.count()).select_from(account_parent).where(or_(of_parent, to_child)))
        if busy:
            raise BadParent("there are two levels: who belongs to somebody has nobody, at no time")

    async def _write(self, conn: AsyncConnection, made: Relation) -> None:
        before = select(account_parent).where(
            account_parent.c.account_id == made.account_id, account_parent.c.since == made.since
        )
        known = (await conn.execute(before)).one_or_none()
        values = {name: getattr(made, name) for name in Relation.__slots__}
        if known is None:
            insert = pg_insert if conn.dialect.name == "postgresql" else sqlite_insert
            await conn.execute(insert(account_parent).values(**values))
        else:
            key = and_(account_parent.c.account_id == made.account_id, account_parent.c.since == made.since)
            await conn.execute(update(account_parent).where(key).values(**values))
        await audit.record(
            conn,
            now=made.changed_at,
            actor=made.changed_by,
            action="account.set-parent",
            subject=f"account:{made.account_id}",
            before=None if known is None else _said(_relation(known)),
            after=_said(made),
        )
        await outbox.append(
            conn,
            AccountParentSet(
                event_id=new_id(made.changed_at),
                at=made.changed_at,
                actor=made.changed_by,
                account_id=made.account_id,
                since=made.since,
                parent_id=made.parent_id or "",
                billed_to_parent=made.billed_to_parent,
                heading=made.heading,
            ),
        )


async def children_in(
    conn: AsyncConnection, parent_id: AccountId, day: date, *, after: str | None = None, limit: int | None = None
) -> list[Child]:
    """Accounts that belong to `parent_id` on a day."""
    latest = (
        select(account_parent.c.account_id, func.max(account_parent.c.since).label("since"))
        .where(account_parent.c.since <= day)
        .group_by(account_parent.c.account_id)
        .subquery()
    )
    same = and_(latest.c.account_id == account_parent.c.account_id, latest.c.since == account_parent.c.since)
    query = (
        select(account_parent, customer.c.customer_id, customer.c.name)
        .join(latest, same)
        .join(account, account.c.account_id == account_parent.c.account_id)
        .join(customer, customer.c.customer_id == account.c.customer_id)
        .where(account_parent.c.parent_id == parent_id)
        .order_by(account_parent.c.account_id)
    )
    if after is not None:
        query = query.where(account_parent.c.account_id > after)
    rows = await conn.execute(query if limit is None else query.limit(limit))
    return [Child(_relation(row), row.customer_id, row.name) for row in rows]


def _said(found: Relation) -> dict[str, Any]:
    return {
        "since": found.since.isoformat(),
        "parent_id": found.parent_id,
        "billed_to_parent": found.billed_to_parent,
        "heading": found.heading,
        "blocked_with_parent": found.blocked_with_parent,
    }


def _relation(row: Row[Any]) -> Relation:
    return Relation(**{name: getattr(row, name) for name in Relation.__slots__})
