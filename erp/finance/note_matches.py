"""Which invoices a credit note settles: matched by the program, taken back and matched with another by people.

What a credit note takes back it settles first, and then the oldest; whoever knows better moves it. A match stays, and a
row of the opposite amount follows. What takes the credit note itself back is settled by it and by nothing else.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock, local_date
from controller.domain.errors import RuleError
from controller.domain.identity import InvoiceId
from controller.domain.money import Money
from controller.store.engine import Database
from erp.finance import credited, ledger, matching, receipts, telling
from erp.finance.errors import NotThatMuch, UnknownInvoice
from erp.finance.model import Invoice
from erp.finance.receipts import Allocation
from erp.finance.settlement import Settlement


class NoteMatches:
    def __init__(self, database: Database, clock: Clock, settlement: Settlement) -> None:
        self._database = database
        self._clock = clock
        self._settlement = settlement

    async def matches(self, invoice_id: InvoiceId) -> list[Allocation]:
        """What a credit note settled, oldest first, with what was taken back. Raises UnknownInvoice."""
        async with self._database.read() as conn:
            await self._settlement.invoice_in(conn, invoice_id)
            return await receipts.allocations(conn, credit_note_id=invoice_id)

    async def apply(self, note_id: InvoiceId, invoice_id: InvoiceId, amount: Money, *, actor: str) -> Invoice:
        """Settle an invoice of the same account with what is unapplied of a credit note.

        Raises UnknownInvoice, NotThatMuch.
        """
        now = self._clock.now()
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            note, owed = [await self._settlement.invoice_in(conn, i) for i in (note_id, invoice_id)]
            if owed.account_id != note.account_id or not owed.total.currency == note.total.currency == amount.currency:
                raise UnknownInvoice(f"{owed.number} is not one of account {note.account_id} in {amount.currency}")
            unapplied = max(0, -note.left.minor)
            if not 0 < amount.minor <= unapplied:
                raise NotThatMuch(
                    f"{Money(unapplied, amount.currency)} of {note.number} settle nothing yet, not {amount}"
                )
            if amount.minor > owed.open_minor:
                raise NotThatMuch(f"{Money(owed.open_minor, amount.currency)} of {owed.number} are open, not {amount}")
            entity = await self._settlement.entity_in(conn, note.entity_id)
            made = Allocation(0, invoice_id, None, note_id, amount.minor, now, None, actor, None)
            await receipts.add_allocation(conn, made, local_date(now, entity.zone_info))
            await self._tell(conn, note, now, actor, "credit-note.apply", {"invoice_id": invoice_id, "of": str(amount)})
            return await self._settlement.invoice_in(conn, note_id)

    async def take_back(self, allocation_id: int, *, reason: str, actor: str) -> Invoice:
        """The invoice is open again by it, and the credit unapplied; the credit note.

        Raises UnknownAllocation, also for the match of a payment, AlreadyTakenBack, RuleError where the credit note is
        taken back by that document.
        """
        now = self._clock.now()
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            row = await matching.to_take_back(conn, allocation_id, of_credit_note=True)
            assert row.credit_note_id is not None
            note = await self._settlement.invoice_in(conn, row.credit_note_id)
            if row.invoice_id in await credited.taking_back(conn, note.invoice_id):
                raise RuleError(f"that document takes {note.number} back, and is settled by it", code="undone-by-it")
            entity = await self._settlement.entity_in(conn, note.entity_id)
            await matching.take_back(conn, row, now, entity, actor, reason)
            what = {"allocation_id": allocation_id, "invoice_id": row.invoice_id, "minor": row.amount_minor}
            await self._tell(conn, note, now, actor, "credit-note.unapply", what, reason)
            return await self._settlement.invoice_in(conn, note.invoice_id)

    async def _tell(
        self,
        conn: AsyncConnection,
        note: Invoice,
        now: datetime,
        actor: str,
        action: str,
        after: dict[str, object],
        reason: str | None = None,
    ) -> None:
        await telling.audited_and_changed(
            conn, f"invoice:{note.invoice_id}", note.account_id, note.total.currency, now, actor, action, after, reason
        )
