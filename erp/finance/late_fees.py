"""Late fees: what a step of dunning charges, once per invoice and step, as a document of its own.

A fee for being late is damages and no turnover, so it bears no VAT. No fee is charged for a fee that is late itself.
"""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.events import DunningStepTold
from controller.domain.money import Money
from erp.finance import repository
from erp.finance.adjustments import Adjustment
from erp.finance.corrections import CorrectionService

ITEM = "Late fee"


class LateFees:
    def __init__(self, corrections: CorrectionService) -> None:
        self._corrections = corrections

    async def on_step_told(self, conn: AsyncConnection, event: DunningStepTold) -> None:
        """Charge the step's fee, however often the step is told of."""
        if event.fee_minor <= 0:
            return
        late = await repository.get_invoice(conn, event.invoice_id)
        if late is None or all(line.item == ITEM for line in await repository.lines(conn, event.invoice_id)):
            return
        await self._corrections.adjust_in(
            conn,
            Adjustment(
                account_id=event.account_id,
                net=Money(event.fee_minor, event.currency),
                tax_percent=Decimal(0),
                tax_category="O",
                item=ITEM,
                reason=f"{event.step}: invoice {late.number} was due on {late.due_on.isoformat()}",
                reference=f"late-fee:{event.invoice_id}:{event.step}",
            ),
            actor=event.actor,
        )
