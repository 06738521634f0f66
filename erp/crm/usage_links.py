"""Links by which a customer sees what an account uses, and nothing else, without a user of this program.

The address holds a secret of 256 bits, which is shown once and kept as its digest. A link ends by itself, and is
withdrawn at once when it went to the wrong person. Who made and who withdrew one is in the audit log.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.errors import RuleError
from controller.domain.identity import AccountId, new_id
from controller.store import audit
from controller.store.engine import Database
from erp.crm import repository
from erp.crm.errors import NoAccount, NoUsageLink
from erp.crm.tables import usage_link

LONGEST_DAYS = 400
_MOST_SHOWN = 100


@dataclass(frozen=True, slots=True)
class UsageLink:
    link_id: str
    account_id: AccountId
    created_at: datetime
    created_by: str
    expires_at: datetime
    withdrawn_at: datetime | None

    def opens(self, now: datetime) -> bool:
        return self.withdrawn_at is None and now < self.expires_at


class UsageLinks:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def make(self, account_id: AccountId, days: int, *, actor: str) -> tuple[UsageLink, str]:
        """(the link, its secret, which cannot be shown again). Raises NoAccount, RuleError for 0 or too many days."""
        if not 1 <= days <= LONGEST_DAYS:
            raise RuleError(f"a link opens for 1 to {LONGEST_DAYS} days", code="days")
        now, secret = self._clock.now(), secrets.token_urlsafe(32)
        made = UsageLink(new_id(now), account_id, now, actor, now + timedelta(days=days), None)
        async with self._database.begin() as conn:
            if await repository.find_customer_of(conn, account_id) is None:
                raise NoAccount(f"no account {account_id}")
            values = {name: getattr(made, name) for name in UsageLink.__slots__}
            await conn.execute(insert(usage_link).values(**values, digest=_digest(secret)))
            await self._audit(conn, made, "usage-link.make", actor, {"expires_at": made.expires_at.isoformat()})
        return made, secret

    async def withdraw(self, link_id: str, *, actor: str) -> UsageLink:
        """It opens nothing any more; again changes nothing. Raises NoUsageLink."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            row = (await conn.execute(select(usage_link).where(usage_link.c.link_id == link_id))).one_or_none()
            if row is None:
                raise NoUsageLink(f"no usage link {link_id}")
            if row.withdrawn_at is None:
                change = update(usage_link).where(usage_link.c.link_id == link_id, usage_link.c.withdrawn_at.is_(None))
                if (await conn.execute(change.values(withdrawn_at=now))).rowcount:
                    await self._audit(conn, _link(row), "usage-link.withdraw", actor, {"withdrawn_at": now.isoformat()})
            row = (await conn.execute(select(usage_link).where(usage_link.c.link_id == link_id))).one()
        return _link(row)

    async def links(self, account_id: AccountId) -> list[UsageLink]:
        """Of an account, the newest first; at most a hundred."""
        query = select(usage_link).where(usage_link.c.account_id == account_id).order_by(usage_link.c.link_id.desc())
        async with self._database.read() as conn:
            return [_link(row) for row in await conn.execute(query.limit(_MOST_SHOWN))]

    async def account_of(self, secret: str) -> AccountId:
        """Whose usage the secret opens. Raises NoUsageLink for one that opens nothing, whyever."""
        query = select(usage_link).where(usage_link.c.digest == _digest(secret))
        async with self._database.read() as conn:
            row = (await conn.execute(query)).one_or_none()
        if row is None or not _link(row).opens(self._clock.now()):
            raise NoUsageLink("This link is not known, or its time is over. Ask for a new one.")
        return AccountId(row.account_id)

    async def _audit(
        self, conn: AsyncConnection, link: UsageLink, action: str, actor: str, after: dict[str, object]
    ) -> None:
        await audit.record(
            conn,
            now=self._clock.now(),
            actor=actor,
            action=action,
            subject=f"account:{link.account_id}",
            after={"link_id": link.link_id, **after},
        )


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _link(row: Row[Any]) -> UsageLink:
    return UsageLink(
        row.link_id, AccountId(row.account_id), row.created_at, row.created_by, row.expires_at, row.withdrawn_at
    )
