"""The cash desk over HTTP."""

from __future__ import annotations

from controller.domain.identity import AccountId
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from erp.payments.bank.answers import (
    CashPaymentIn,
    CountIn,
    PayOutIn,
    ReceiptOut,
    ShiftDetailOut,
    ShiftOut,
    TillIn,
    TillOut,
    TillsOut,
    TransferCashIn,
)
from erp.payments.bank.routes import READ, WRITE, parts_of
from erp.payments.room import PaymentsRoom


def endpoints(room: PaymentsRoom) -> list[Endpoint]:
    return [*_tills(room), *_shifts(room), *_receipts(room)]


def _tills(room: PaymentsRoom) -> list[Endpoint]:
    async def tills(_call: Call) -> TillsOut:
        return TillsOut(tills=[TillOut.of(t) for t in await room.cash.tills()])

    async def add(call: Call) -> TillOut:
        body = call.body_as(TillIn)
        return TillOut.of(await room.cash.add_till(body.name, actor=call.actor, entity_id=body.entity))

    return [
        Endpoint("GET", "/tills", scope=READ, handler=tills, summary="Tills and what they hold", returns=TillsOut),
        Endpoint(
            "POST",
            "/tills",
            scope=WRITE,
            handler=add,
            summary="Add a till",
            body=TillIn,
            returns=TillOut,
            status=201,
        ),
    ]


def _shifts(room: PaymentsRoom) -> list[Endpoint]:
    async def open_one(call: Call) -> ShiftOut:
        body = call.body_as(CountIn)
        counted = body.counted.money()
        return ShiftOut.of(await room.cash.open(call.path["till_id"], counted, reason=body.reason, actor=call.actor))

    async def close(call: Call) -> ShiftOut:
        body = call.body_as(CountIn)
        counted = body.counted.money()
        return ShiftOut.of(await room.cash.close(call.path["shift_id"], counted, reason=body.reason, actor=call.actor))

    async def shifts(call: Call) -> Page:
        query = call.query_as(PageQuery)
        found = await room.cash.shifts(before=query.last(str), limit=query.rows)
        return Page.of(found, query, lambda s: (s.shift_id,), ShiftOut.of)

    async def shift(call: Call) -> ShiftDetailOut:
        found, receipts = await room.cash.shift(call.path["shift_id"])
        shown = [ReceiptOut.of(r) for r in receipts]
        return ShiftDetailOut(receipts=shown, **ShiftOut.of(found).model_dump())

    return [
        Endpoint(
            "POST",
            "/tills/{till_id}/shifts",
            scope=WRITE,
            handler=open_one,
            summary="Open a shift with what is counted",
            body=CountIn,
            returns=ShiftOut,
            status=201,
        ),
        Endpoint(
            "GET",
            "/shifts",
            scope=READ,
            handler=shifts,
            summary="Shifts of the cash desk, newest first",
            query=PageQuery,
            returns=ShiftOut,
            paged=True,
        ),
        Endpoint(
            "GET",
            "/shifts/{shift_id}",
            scope=READ,
            handler=shift,
            summary="A shift and its receipts",
            returns=ShiftDetailOut,
        ),
        Endpoint(
            "POST",
            "/shifts/{shift_id}/close",
            scope=WRITE,
            handler=close,
            summary="Close a shift with what is counted; a difference is booked",
            body=CountIn,
            returns=ShiftOut,
        ),
    ]


def _receipts(room: PaymentsRoom) -> list[Endpoint]:
    async def receive(call: Call) -> ReceiptOut:
        body = call.body_as(CashPaymentIn)
        made = await room.cash.receive(
            call.path["shift_id"],
            AccountId(body.account_id),
            body.amount.money(),
            request=body.request,
            actor=call.actor,
            parts=parts_of(body.invoices),
        )
        return ReceiptOut.of(made)

    async def pay_out(call: Call) -> ReceiptOut:
        refund_id = call.body_as(PayOutIn).refund_id
        return ReceiptOut.of(await room.cash.pay_out(call.path["shift_id"], refund_id, actor=call.actor))

    async def transfer(call: Call) -> ReceiptOut:
        body = call.body_as(TransferCashIn)
        made = await room.cash.transfer(
            call.path["shift_id"], body.amount.money(), request=body.request, note=body.note, actor=call.actor
        )
        return ReceiptOut.of(made)

    return [
        Endpoint(
            "POST",
            "/shifts/{shift_id}/payments",
            scope=WRITE,
            handler=receive,
            summary="Take cash of a customer",
            body=CashPaymentIn,
            returns=ReceiptOut,
            status=201,
        ),
        Endpoint(
            "POST",
            "/shifts/{shift_id}/refunds",
            scope=WRITE,
            handler=pay_out,
            summary="Hand an approved refund to the customer",
            body=PayOutIn,
            returns=ReceiptOut,
            status=201,
        ),
        Endpoint(
            "POST",
            "/shifts/{shift_id}/transfers",
            scope=WRITE,
            handler=transfer,
            summary="Move cash between the till and the bank",
            body=TransferCashIn,
            returns=ReceiptOut,
            status=201,
        ),
    ]
