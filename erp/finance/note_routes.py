"""Which invoices credit notes settle, over HTTP: seen, moved, taken back."""

from __future__ import annotations

from controller.domain.identity import InvoiceId
from controller.http.endpoint import Call, Endpoint
from controller.http.models import MoneyOut, Out
from erp.finance.model import Invoice
from erp.finance.service import FinanceService
from erp.finance.settlement_routes import AllocationOut, ApplyIn, TakeBackIn, allocations


class NoteMatchesOut(Out):
    """`unapplied` settles nothing yet; it settles the next invoice, unless somebody matches it before."""

    invoice_id: str
    number: str
    unapplied: MoneyOut
    allocations: list[AllocationOut]


def endpoints(finance: FinanceService) -> list[Endpoint]:
    async def detail(note: Invoice) -> NoteMatchesOut:
        rows = await finance.note_matches.matches(note.invoice_id)
        return NoteMatchesOut(
            invoice_id=note.invoice_id,
            number=note.number,
            unapplied=MoneyOut.of(-note.left if note.left.minor < 0 else note.left - note.left),
            allocations=await allocations(finance, rows, note.total.currency),
        )

    async def matches(call: Call) -> NoteMatchesOut:
        return await detail(await finance.invoice(InvoiceId(call.path["invoice_id"])))

    async def apply(call: Call) -> NoteMatchesOut:
        body = call.body_as(ApplyIn)
        note_id, owed = InvoiceId(call.path["invoice_id"]), InvoiceId(body.invoice_id)
        return await detail(await finance.note_matches.apply(note_id, owed, body.amount.money(), actor=call.actor))

    async def take_back(call: Call) -> NoteMatchesOut:
        allocation_id, reason = call.path_int("allocation_id"), call.body_as(TakeBackIn).reason
        return await detail(await finance.note_matches.take_back(allocation_id, reason=reason, actor=call.actor))

    return [
        Endpoint("GET", "/invoices/{invoice_id}/allocations", "finance:read", matches,
                 "Which invoices a credit note settles, with what was taken back", returns=NoteMatchesOut),
        Endpoint("POST", "/invoices/{invoice_id}/allocations", "finance:write", apply,
                 "Settle an invoice of the same account with what is unapplied of a credit note", body=ApplyIn,
                 returns=NoteMatchesOut, status=201),
        Endpoint("POST", "/credit-allocations/{allocation_id}/reverse", "finance:write", take_back,
                 "Take back that a credit note settled an invoice: the row stays, its opposite follows",
                 body=TakeBackIn, returns=NoteMatchesOut),
    ]  # fmt: skip
