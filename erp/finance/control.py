"""Once a night: what customers owe, added up from documents, payments and their matches, is the receivables account.

Every document posts itself, so the two agree at every commit. That they do is counted anew all the same: a row that
somebody wrote past the program is told of in the morning, and not when the year is closed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import structlog
from prometheus_client import Gauge

from controller.domain.clock import Clock, local_date
from controller.domain.identity import EntityId
from controller.domain.money import Money
from erp.crm.service import CrmService
from erp.finance.books import BooksService

log = structlog.get_logger()
_apart = Gauge(
    "headend_finance_control_accounts_apart", "Receivables of an entity and currency that their subledger differs from"
)


@dataclass(frozen=True, slots=True)
class Apart:
    """A control account that is not the sum of its subledger at the end of a day."""

    entity_id: EntityId
    as_of: date
    subledger: Money
    ledger: Money


class ControlAccounts:
    def __init__(self, clock: Clock, crm: CrmService, books: BooksService) -> None:
        self._clock = clock
        self._crm = crm
        self._books = books

    async def look(self) -> list[Apart]:
        """What differs, of every legal entity and currency, at the end of yesterday: that day changes no more."""
        found = []
        for entity in await self._crm.entities():
            day = local_date(self._clock.now(), entity.zone_info) - timedelta(days=1)
            for aged, posted in await self._books.aged_totals(day, entity.entity_id):
                if aged.total != posted.balance:
                    found.append(Apart(entity.entity_id, day, aged.total, posted.balance))
        _apart.set(len(found))
        for apart in found:
            log.error(
                "finance.control_account_apart", entity_id=apart.entity_id, as_of=apart.as_of.isoformat(),
                subledger=str(apart.subledger), ledger=str(apart.ledger),
                hint="compare `headend finance ageing` of earlier days: the first that differs names the night",
            )  # fmt: skip
        return found
