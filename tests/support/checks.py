"""Checks over the bills of tests that are all as they should be: none of them may be held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from billing_bridge.checks.service import ChecksService
from billing_bridge.settings import BillingSettings
from controller.domain.clock import Clock
from controller.domain.identity import AccountId
from controller.domain.ports import AccountSales, RatedBatch, Waiting
from controller.store.engine import Database
from tests.support.billing_fakes import PriceList


class NobodySold:
    """A SalesBook without products: nothing to compare a timeline with."""

    async def sold_in(self, conn: object, account_ids: Sequence[AccountId]) -> Mapping[AccountId, AccountSales]:
        return {account_id: AccountSales("EUR", {}) for account_id in account_ids}


class NoneMayWait:
    """A ChargeChecker that runs every check and fails the run where one of them would hold a bill."""

    def __init__(self, database: Database, clock: Clock, settings: BillingSettings, prices: PriceList) -> None:
        self._checks = ChecksService(database, clock, settings, catalog=prices, sales=NobodySold())
        self.batches = 0

    async def check(self, batch: RatedBatch) -> Sequence[Waiting]:
        self.batches += 1
        held = await self._checks.check(replace(batch, dry=True))
        assert not held, [f"as of {batch.as_of}: {waiting.reason}" for waiting in held]
        return ()
