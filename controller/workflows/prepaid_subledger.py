"""What prepaid balances are worth, beside the account of prepayments: billing keeps the rows, finance the account.

worth of all balances + what was used or has expired and stands in no books yet = customer prepayments
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.prepaid.worth import worths
from controller.domain.identity import AccountId, EntityId
from erp.crm.service import CrmService
from erp.finance.chart import PREPAYMENTS, Chart
from erp.finance.subledger import Minor, Subledger, turned


def prepaid_subledger(crm: CrmService) -> Subledger:
    async def worth(conn: AsyncConnection, entity_id: EntityId, _chart: Chart) -> Minor:
        found: dict[str, int] = defaultdict(int)
        async for some in worths(conn):
            mine = await _of_entity(conn, crm, entity_id, (account_id for account_id, _, _ in some))
            for account_id, currency, minor in some:
                if account_id in mine:
                    found[currency] += minor
        return turned(found)

    return Subledger(
        "prepayments", PREPAYMENTS, "what prepaid balances are worth, and what of it is used and not posted yet",
        "headend prepaid, of the accounts that paid since", worth,
    )  # fmt: skip


async def _of_entity(
    conn: AsyncConnection, crm: CrmService, entity_id: EntityId, account_ids: Iterable[str]
) -> set[str]:
    customers = await crm.customers_of_in(conn, {AccountId(i) for i in account_ids})
    return {account_id for account_id, customer in customers.items() if customer.entity_id == entity_id}
