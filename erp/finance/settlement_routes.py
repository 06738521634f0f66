"""What settles what, over HTTP: matches made and taken back, write-offs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import StringConstraints

from controller.domain.identity import InvoiceId, PaymentId
from controller.domain.money import Money
from controller.http.endpoint import Call, Endpoint
from controller.http.models import IdText, In, Instant, MoneyIn, MoneyOut, Out
from erp.finance.answers import PaymentOut
from erp.finance.receipts import Allocation, Reversal
from erp.finance.service import FinanceService

Reason = Annotated[str, StringConstraints(min_length=1, max_length=300, strip_whitespace=True)]
Reference = Annotated[str, StringConstraints(min_length=1, max_length=60, pattern=r"^[\x21-\x7e]+$")]


class ApplyIn(In):
    invoice_id: IdText
    amount: MoneyIn


class TakeBackIn(In):
    reason: Reason


class WriteOffIn(In):
    """All that is open, or `amount`. `relieve_tax`: the law gives the tax of a lost claim back. The same `reference`
    again is the same write-off."""

    reason: Reason
    reference: Reference | None = None
    amount: MoneyIn | None = None
    relieve_tax: bool = False


class AllocationOut(Out):
    """A negative one takes back the one it `reverses`; `standing` ones settle their invoice today."""

    allocation_id: int
    invoice_id: str
    number: str
    amount: MoneyOut
    at: Instant
    actor: str | None
    reason: str | None
    reverses: int | None
    standing: bool

    @classmethod
    def of(cls, row: Allocation, currency: str, number: str, standing: bool) -> AllocationOut:
        return cls(
            allocation_id=row.allocation_id,
            invoice_id=row.invoice_id,
            number=number,
            amount=MoneyOut.of(Money(row.amount_minor, currency)),
            at=row.at,
            actor=row.actor,
            reason=row.reason,
            reverses=row.reverses,
            standing=standing,
        )


class ReversalOut(Out):
    """Money of the payment that went back, or with a negative amount came again."""

    reversal_id: str
    kind: str
    reference: str
    amount: MoneyOut
    at: Instant
    reason: str
    actor: str

    @classmethod
    def of(cls, row: Reversal) -> ReversalOut:
        plain = {name: getattr(row, name) for name in cls.model_fields if name != "amount"}
        return cls(amount=MoneyOut.of(row.amount), **plain)


class PaymentDetailOut(PaymentOut):
    allocations: list[AllocationOut]
    reversals: list[ReversalOut]


async def allocations(finance: FinanceService, rows: Sequence[Allocation], currency: str) -> list[AllocationOut]:
    """All that a payment or a credit note settled, with what was taken back, in their order."""
    gone = {row.reverses for row in rows}
    numbers = {i: (await finance.invoice(i)).number for i in dict.fromkeys(row.invoice_id for row in rows)}
    return [
        AllocationOut.of(row, currency, numbers[row.invoice_id], row.reverses is None and row.allocation_id not in gone)
        for row in rows
    ]


def endpoints(finance: FinanceService) -> list[Endpoint]:
    async def detail(payment_id: PaymentId) -> PaymentDetailOut:
        made = await finance.payment(payment_id)
        rows, back = await finance.matches(payment_id)
        return PaymentDetailOut(
            **PaymentOut.of(made).model_dump(),
            allocations=await allocations(finance, rows, made.amount.currency),
            reversals=[ReversalOut.of(row) for row in back],
        )

    async def payment(call: Call) -> PaymentDetailOut:
        return await detail(PaymentId(call.path["payment_id"]))

    async def apply(call: Call) -> PaymentDetailOut:
        body = call.body_as(ApplyIn)
        payment_id = PaymentId(call.path["payment_id"])
        await finance.settlement.apply(payment_id, InvoiceId(body.invoice_id), body.amount.money(), actor=call.actor)
        return await detail(payment_id)

    async def take_back(call: Call) -> PaymentDetailOut:
        allocation_id = call.path_int("allocation_id")
        reason = call.body_as(TakeBackIn).reason
        made = await finance.settlement.unapply(allocation_id, actor=call.actor, reason=reason)
        return await detail(made.payment_id)

    async def void(call: Call) -> PaymentDetailOut:
        payment_id, reason = PaymentId(call.path["payment_id"]), call.body_as(TakeBackIn).reason
        await finance.settlement.void(payment_id, reason=reason, actor=call.actor)
        return await detail(payment_id)

    async def write_off(call: Call) -> PaymentDetailOut:
        body = call.body_as(WriteOffIn)
        made = await finance.write_offs.write_off(
            InvoiceId(call.path["invoice_id"]),
            body.amount.money() if body.amount else None,
            relieve_tax=body.relieve_tax,
            reason=body.reason,
            reference=body.reference,
            actor=call.actor,
        )
        return await detail(made.payment_id)

    async def take_back_loss(call: Call) -> PaymentDetailOut:
        payment_id, reason = PaymentId(call.path["payment_id"]), call.body_as(TakeBackIn).reason
        made = await finance.write_offs.take_back(payment_id, reason=reason, actor=call.actor)
        return await detail(made.payment_id)

    return [
        Endpoint("GET", "/payments/{payment_id}", "finance:read", payment,
                 "One payment: what it settles, what was taken back, what of it went back", returns=PaymentDetailOut),
        Endpoint("POST", "/payments/{payment_id}/allocations", "finance:write", apply,
                 "Settle an invoice of the same account with what is unapplied of a payment", body=ApplyIn,
                 returns=PaymentDetailOut, status=201),
        Endpoint("POST", "/payments/{payment_id}/void", "finance:write", void,
                 "Take back a payment that was booked by hand and never came: what it settled is owed again",
                 body=TakeBackIn, returns=PaymentDetailOut),
        Endpoint("POST", "/allocations/{allocation_id}/reverse", "finance:write", take_back,
                 "Take back that a payment settled an invoice; the row stays and one of the opposite amount follows",
                 body=TakeBackIn, returns=PaymentDetailOut),
        Endpoint("POST", "/invoices/{invoice_id}/write-off", "finance:write", write_off,
                 "Give up what is open of an invoice: a loss, less the tax in it where the law gives that back",
                 body=WriteOffIn, returns=PaymentDetailOut, status=201),
        Endpoint("POST", "/write-offs/{payment_id}/reverse", "finance:write", take_back_loss,
                 "Take back a write-off: its invoice is owed again, its loss and the tax in it are turned",
                 body=TakeBackIn, returns=PaymentDetailOut),
    ]  # fmt: skip
