"""Settings of finance."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP

from erp.crm.model import Entity


@dataclass(frozen=True, slots=True)
class FinanceSettings:
    """How documents are numbered, taxed and due."""

    invoice_series: str = "INV"
    """Prefix of invoice numbers: INV-2026-000001. A series runs per entity and calendar year, without gaps."""
    credit_note_series: str = "CN"
    """Prefix of credit notes, which have a series of their own."""
    debit_note_series: str = ""
    """Prefix of debit notes; empty: they are numbered with the invoices."""
    receipt_series: str = "RC"
    """Prefix of receipts and refunds of prepaid credit."""
    due_days: int = 14
    """Days from issue until an invoice is due."""
    tax_rounding: str = ROUND_HALF_UP
    """decimal.ROUND_* mode of tax (EN 16931 rounds commercially)."""
    tax_each_line: bool = False
    """Round the tax of each line and add it up, instead of that of each rate group, as EN 16931 has it."""
    iban: str = ""
    """Account named on invoices of the first legal entity for bank transfers; empty: none is printed."""

    def iban_of(self, seller: Entity) -> str:
        """Where who gets its documents pays to: an entity that was made later has said it itself."""
        return self.iban if seller.iban is None else seller.iban
