"""What orders agree, on the ledger: bundles under a contract are signed as one, and who leaves early pays what it says.

Both follow events of orders, in the transaction in which the bus delivers them, and do nothing twice. A bundle's price
for its term is allocated to its parts by their stand-alone prices (IFRS 15, ASC 606); when the bundle ends, so does the
plan. The fee for leaving is a document of its own, with the arithmetic of the contract as its reason.
"""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import local_date
from controller.domain.events import ItemHeld, ServiceTerminated
from controller.domain.identity import AccountId, OfferingId, OfferingVersionId
from controller.domain.tariff import TariffVersion
from erp.catalog.service import CatalogService
from erp.crm.service import CrmService
from erp.finance.adjustments import Adjustment
from erp.finance.bundles import promises_of, term_price
from erp.finance.contracts import is_sold
from erp.finance.corrections import CorrectionService
from erp.finance.revenue import RevenueService, Signing
from erp.finance.words import LANGUAGES, texts_of
from erp.orders.contracts import ContractService, Standing
from erp.orders.errors import NoContract

ACTOR = "system:contracts"


class Agreements:
    def __init__(
        self,
        *,
        crm: CrmService,
        catalog: CatalogService,
        contracts: ContractService,
        corrections: CorrectionService,
        revenue: RevenueService,
    ) -> None:
        self._crm = crm
        self._catalog = catalog
        self._contracts = contracts
        self._corrections = corrections
        self._revenue = revenue

    async def on_service_terminated(self, conn: AsyncConnection, event: ServiceTerminated) -> None:
        """A line has ended: what leaving on that day costs is charged."""
        on = await self._day(conn, event.account_id, event.at)
        try:
            standing = await self._contracts.of_subscription(event.subscription_id, on)
        except NoContract:
            return
        await self._charge_leaving(conn, event.account_id, event.subscription_id, standing)

    async def on_item_held(self, conn: AsyncConnection, event: ItemHeld) -> None:
        """A bundle begins or changes, or any item ends."""
        on = await self._day(conn, event.account_id, event.at)
        if event.version_id is not None:
            await self._sign(conn, event, event.version_id, on)
            return
        await self._revenue.end_in(conn, event.item_id, on, actor=ACTOR)
        try:
            standing = await self._contracts.of_item(event.item_id, on)
        except NoContract:
            return
        await self._charge_leaving(conn, event.account_id, event.item_id, standing)

    async def _sign(
        self, conn: AsyncConnection, event: ItemHeld, version_id: OfferingVersionId, signed_on: date
    ) -> None:
        """A bundle with a term is one contract. Another price or quantity later is a change of it that people make."""
        tariff = await self._catalog.tariff_in(conn, version_id)
        if tariff.plan.contract is None or not tariff.plan.parts or await is_sold(conn, event.item_id):
            return
        parts = [
            (part, await self._catalog.in_force_in(conn, OfferingId(part.offering_id), signed_on, tariff.currency))
            for part in tariff.plan.parts
        ]
        wanted = Signing(
            event.account_id,
            f"item:{event.item_id}",
            term_price(tariff, event.quantity),
            signed_on,
            promises_of(tariff, parts, signed_on, event.quantity),
            event.item_id,
        )
        await self._revenue.sign_in(conn, wanted, actor=ACTOR)

    async def _charge_leaving(
        self, conn: AsyncConnection, account_id: AccountId, subject: str, standing: Standing
    ) -> None:
        if not standing.fee.amount:
            return
        tariff = standing.tariff
        wanted = Adjustment(
            account_id,
            standing.fee.amount,
            tariff.tax_percent,
            f"{tariff.offering_name}: {texts_of('en')['early-termination']}"[:120],
            "; ".join(standing.fee.steps)[:200],
            f"early-termination:{subject}",
            tariff.tax_category,
            tariff.plan.tax_included,
            standing.on,
            names=tuple((language, _called(tariff, language)) for language in LANGUAGES),
        )
        await self._corrections.adjust_in(conn, wanted, actor=ACTOR)

    async def _day(self, conn: AsyncConnection, account_id: AccountId, at: datetime) -> date:
        account = (await self._crm.customer_of_in(conn, account_id)).account
        return local_date(at, account.zone_info)


def _called(tariff: TariffVersion, language: str) -> str:
    return f"{tariff.name_in(language)}: {texts_of(language)['early-termination']}"[:120]
