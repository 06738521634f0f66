"""Tells customers before a contract ends or renews, as many days before as its terms say, by e-mail and once.

A contract and its end have one notice (the database says so). One whose contract is over, or ends another day by then,
is withdrawn before it is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import local_date
from controller.domain.errors import Conflict, NotFound
from controller.domain.identity import AccountId, OfferingVersionId
from controller.domain.tariff import TariffVersion
from controller.store.many import one_of
from controller.workflows.contract_texts import told
from controller.workflows.mailed_notices import MailedNotices, Notice
from erp.catalog import repository as catalog_rows
from erp.catalog.tables import version
from erp.orders.contract import Bound, bound
from erp.orders.model import SubscriptionState
from erp.orders.tables import contract_notice, item, subscription

_PAGE = 500


class UnknownContractNotice(NotFound):
    code = "unknown-contract-notice"


class ContractNoticeSettled(Conflict):
    code = "contract-notice-settled"


@dataclass(frozen=True, slots=True)
class ContractNotice(Notice):
    """`subject` is "subscription:id" or "item:id"; `ends_on` the first day without the contract."""

    subject: str
    ends_on: date


@dataclass(frozen=True, slots=True)
class _Held:
    """A line or an item under a contract."""

    subject: str
    account_id: AccountId
    tariff: TariffVersion
    begun_at: datetime


class ContractNotices(MailedNotices[ContractNotice]):
    kind, table, actor = "contract-notice", contract_notice, "system:contracts"
    unknown, settled = UnknownContractNotice, ContractNoticeSettled

    def of_row(self, row: Row[Any]) -> ContractNotice:
        return ContractNotice(
            row.notice_id, AccountId(row.account_id), row.recipient, row.title, row.text, row.state, row.tries,
            row.words, row.created_at, row.settled_at, row.locale, row.subject, row.ends_on,
        )  # fmt: skip

    def subject(self, found: ContractNotice) -> str:
        return found.subject

    async def over(self, conn: AsyncConnection, found: ContractNotice, now: datetime) -> str | None:
        return None if await self._still(conn, found, now) else "the contract is over, or ends another day"

    async def look(self) -> int:
        """Write down who is to be told today; how many."""
        async with self._database.read() as conn:
            binding = await _binding(conn)
        made, after = 0, ""
        for table, key, since, living in (
            (subscription, subscription.c.subscription_id, subscription.c.activated_at,
             subscription.c.state == SubscriptionState.ACTIVE.value),
            (item, item.c.item_id, item.c.held_since, item.c.ended_at.is_(None)),
        ):  # fmt: skip
            after = ""
            while binding:
                query = select(key.label("id"), table.c.account_id, table.c.version_id, since.label("begun_at")).where(
                    key > after, living, since.is_not(None), one_of(conn, table.c.version_id, sorted(binding))
                )
                async with self._database.begin() as writing:
                    rows = (await writing.execute(query.order_by(key).limit(_PAGE))).all()
                    kind = "item" if table is item else "subscription"
                    held = [
                        _Held(f"{kind}:{r.id}", AccountId(r.account_id), binding[r.version_id], r.begun_at)
                        for r in rows
                    ]
                    made += await self._write_down(writing, held)
                if len(rows) < _PAGE:
                    break
                after = rows[-1].id
        return made

    async def _write_down(self, conn: AsyncConnection, held: Sequence[_Held]) -> int:
        now, made = self._clock.now(), 0
        customers = await self._crm.customers_of_in(conn, {h.account_id for h in held}) if held else {}
        for one in held:
            customer = customers[one.account_id]
            today = local_date(now, customer.account.zone_info)
            standing = _standing(one, today, customer.account.zone_info)
            if standing.ends_on is None or standing.remind_on is None or not standing.remind_on <= today:
                continue
            known = select(contract_notice.c.notice_id).where(
                contract_notice.c.subject == one.subject, contract_notice.c.ends_on == standing.ends_on
            )
            if await conn.scalar(known) is not None:
                continue
            entity = await self._crm.entity(customer.entity_id)
            locale = customer.contact.language.replace("-", "_") or entity.locale
            contract = one.tariff.plan.contract
            assert contract is not None
            assert standing.notice_on is not None
            said = told(
                locale=locale, name=one.tariff.offering_name, seller=entity.name,
                last_on=standing.ends_on - timedelta(days=1), notice_on=standing.notice_on,
                renewal_months=contract.renewal_months,
            )  # fmt: skip
            once = {"subject": one.subject, "ends_on": standing.ends_on}
            await self._write(conn, customer, said.title, said.text, locale, once)
            made += 1
        return made

    async def _still(self, conn: AsyncConnection, found: ContractNotice, now: datetime) -> bool:
        kind, _, key = found.subject.partition(":")
        if kind == "item":
            query = select(item.c.version_id, item.c.held_since.label("begun_at")).where(
                item.c.item_id == key, item.c.ended_at.is_(None)
            )
        else:
            query = select(subscription.c.version_id, subscription.c.activated_at.label("begun_at")).where(
                subscription.c.subscription_id == key, subscription.c.state == SubscriptionState.ACTIVE.value
            )
        row = (await conn.execute(query)).one_or_none()
        tariff = None if row is None else await catalog_rows.find_version(conn, OfferingVersionId(row.version_id))
        if row is None or tariff is None or tariff.plan.contract is None:
            return False
        zone = (await self._crm.customer_of_in(conn, found.account_id)).account.zone_info
        held = _Held(found.subject, found.account_id, tariff, row.begun_at)
        return _standing(held, local_date(now, zone), zone).ends_on == found.ends_on


async def _binding(conn: AsyncConnection) -> dict[str, TariffVersion]:
    """Versions by whose contract somebody is to be told."""
    found = {}
    for version_id in await conn.scalars(select(version.c.version_id).where(version.c.plan.contains('"contract"'))):
        tariff = await catalog_rows.find_version(conn, OfferingVersionId(version_id))
        if tariff is not None and tariff.plan.contract is not None and tariff.plan.contract.remind_days:
            found[version_id] = tariff
    return found


def _standing(held: _Held, today: date, zone: Any) -> Bound:
    assert held.tariff.plan.contract is not None
    return bound(held.tariff.plan.contract, local_date(held.begun_at, zone), today)
