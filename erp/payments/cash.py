"""The cash desk: shifts between two counts, receipts numbered without gaps, and what is missing or too much booked.

What a till should hold is what it held at the last count and what its receipts moved since. Cash changes hands in an
open shift only; each receipt is one movement, and asked for again by the same request it is the same receipt.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock, local_date
from controller.domain.errors import RuleError
from controller.domain.identity import AccountId, EntityId, InvoiceId, new_id
from controller.domain.money import Money
from controller.store import audit
from controller.store.engine import Database
from erp.crm import repository as parties
from erp.crm.model import Entity
from erp.crm.service import CrmService
from erp.finance import journal, ledger, receipts
from erp.finance.chart import CASH, CASH_DIFFERENCES, IN_TRANSIT
from erp.finance.errors import OtherEntity
from erp.finance.journal import Entry
from erp.finance.repository import take_numbers
from erp.finance.settlement import MoneyBack, MoneyIn, Settlement
from erp.payments import cash_rows, refund_rows
from erp.payments.cash_rows import Receipt, Shift, Till
from erp.payments.errors import UnknownRefund, UnknownShift, UnknownTill, WrongState
from erp.payments.tables import cash_receipt, shift, till

METHOD = "cash"
PAYMENT, REFUND, TRANSFER = "payment", "refund", "transfer"


class CashDesk:
    """The one writer of tills, shifts and receipts."""

    def __init__(self, database: Database, clock: Clock, crm: CrmService, settlement: Settlement) -> None:
        self._database = database
        self._clock = clock
        self._crm = crm
        self._settlement = settlement

    async def add_till(self, name: str, *, actor: str, entity_id: EntityId | None = None) -> Till:
        """Raises WrongState for a name that is taken."""
        entity = await self._crm.entity(entity_id)
        now = self._clock.now()
        till_id = new_id(now)
        async with self._database.begin() as conn:
            if (await conn.execute(select(till.c.till_id).where(till.c.name == name))).first():
                raise WrongState(f"a till {name} is there already", code="till-known")
            values = {"till_id": till_id, "entity_id": entity.entity_id, "name": name, "currency": entity.currency}
            await conn.execute(insert(till).values(values | {"created_at": now, "actor": actor}))
            await self._audit(conn, actor, "till.add", f"till:{till_id}", {"name": name})
        return Till(till_id, entity.entity_id, name, Money.zero(entity.currency), None)

    async def tills(self) -> list[Till]:
        async with self._database.read() as conn:
            rows = (await conn.execute(select(till).order_by(till.c.name))).all()
            return [await self._till(conn, row.till_id) for row in rows]

    async def open(self, till_id: str, counted: Money, *, reason: str, actor: str) -> Shift:
        """Open a shift with what is counted; what differs from the last count is booked, and needs a reason.

        Raises UnknownTill, WrongState for one with an open shift, RuleError.
        """
        now = self._clock.now()
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            found = await self._till(conn, till_id)
            if found.shift_id is not None:
                raise WrongState(f"till {found.name} has an open shift")
            self._require_count(found, counted, reason)
            shift_id = new_id(now)
            before = await conn.scalar(select(func.max(shift.c.number)).where(shift.c.till_id == till_id))
            await conn.execute(
                insert(shift).values(
                    shift_id=shift_id,
                    till_id=till_id,
                    number=(before or 0) + 1,
                    opened_at=now,
                    opened_by=actor,
                    opening_minor=counted.minor,
                    reason=reason,
                )
            )
            source, what = f"shift-opens:{shift_id}", f"Till {found.name}, counted at opening: {reason}"
            await self._book(conn, found, counted - found.holds, CASH_DIFFERENCES, source, what)
            await self._audit(conn, actor, "shift.open", f"shift:{shift_id}", {"counted": str(counted)}, reason)
            return await self._shift(conn, shift_id)

    async def close(self, shift_id: str, counted: Money, *, reason: str, actor: str) -> Shift:
        """Close a shift with what is counted; a difference is booked, and needs a reason.

        Raises UnknownShift, WrongState for a closed one, RuleError.
        """
        now = self._clock.now()
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            open_one = await self._open_shift(conn, shift_id)
            found = await self._till(conn, open_one.till_id)
            self._require_count(found, counted, reason)
            await conn.execute(
                update(shift)
                .where(shift.c.shift_id == shift_id)
                .values(
                    closed_at=now,
                    closed_by=actor,
                    expected_minor=found.holds.minor,
                    counted_minor=counted.minor,
                    reason=reason or open_one.reason,
                )
            )
            source, what = f"shift-closes:{shift_id}", f"Till {found.name}, counted at closing: {reason}"
            await self._book(conn, found, counted - found.holds, CASH_DIFFERENCES, source, what)
            after = {"counted": str(counted), "expected": str(found.holds)}
            await self._audit(conn, actor, "shift.close", f"shift:{shift_id}", after, reason)
            return await self._shift(conn, shift_id)

    async def receive(
        self,
        shift_id: str,
        account_id: AccountId,
        amount: Money,
        *,
        request: str,
        actor: str,
        parts: Sequence[tuple[InvoiceId, Money]] | None = None,
    ) -> Receipt:
        """Take cash of a customer. Raises UnknownShift, WrongState, and what a payment raises."""
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            open_one, known = await self._begin(conn, shift_id, request)
            if known is not None:
                return known
            number = await self._number(conn, open_one)
            desk = await self._till(conn, open_one.till_id)
            came = MoneyIn(account_id, amount, METHOD, number, None, CASH, parts, desk.entity_id)
            payment, _ = await self._settlement.receive_in(conn, came, actor=actor)
            return await self._add(
                conn, open_one, number, PAYMENT, amount, request, "", actor,
                account_id=account_id, payment_id=payment.payment_id,
            )  # fmt: skip

    async def pay_out(self, shift_id: str, refund_id: str, *, actor: str) -> Receipt:
        """Hand an approved refund to the customer. Raises UnknownRefund, WrongState, RuleError where cash is short."""
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            open_one, known = await self._begin(conn, shift_id, f"refund:{refund_id}")
            if known is not None:
                return known
            wanted = await refund_rows.refunds(conn, refund_id=refund_id)
            if not wanted:
                raise UnknownRefund(f"no refund {refund_id}")
            refund = wanted[0]
            if refund.way != METHOD or refund.state != refund_rows.APPROVED:
                raise WrongState(f"refund {refund_id} goes by {refund.way} and is {refund.state}")
            paid = await receipts.get_payment(conn, refund.payment_id)
            if paid is None or paid.entity_id != (await self._till(conn, open_one.till_id)).entity_id:
                raise OtherEntity("the payment was another legal entity's: hand it out at a till of that one")
            await self._require_cash(conn, open_one, refund.amount)
            number = await self._number(conn, open_one)
            # Again, where a chargeback has taken it since it was approved: cash that went out does not come back.
            await self._settlement.reservations.reserve_in(
                conn, refund.payment_id, refund.amount, refund_id, actor=actor, reason=refund.reason
            )
            back = MoneyBack(
                refund.payment_id, refund.amount, "refund", f"cash:{refund_id}", CASH, refund.reason, held=refund_id
            )
            await self._settlement.reverse_in(conn, back, actor=actor)
            await refund_rows.change(conn, refund_id, refund_rows.DONE, self._clock.now(), provider_id=number)
            return await self._add(
                conn, open_one, number, REFUND, -refund.amount, f"refund:{refund_id}", refund.reason, actor,
                account_id=refund.account_id, payment_id=refund.payment_id, refund_id=refund_id,
            )  # fmt: skip

    async def transfer(self, shift_id: str, amount: Money, *, request: str, note: str, actor: str) -> Receipt:
        """Cash from the bank (positive) or to it: it is on its way until the statement says it.

        Raises UnknownShift, WrongState, RuleError where cash is short.
        """
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            open_one, known = await self._begin(conn, shift_id, request)
            if known is not None:
                return known
            if not amount or amount.currency != open_one.opening.currency:
                raise RuleError(f"an amount of {open_one.opening.currency} is moved", code="cash-amount")
            if amount.minor < 0:
                await self._require_cash(conn, open_one, -amount)
            number = await self._number(conn, open_one)
            found = await self._till(conn, open_one.till_id)
            await self._book(conn, found, amount, IN_TRANSIT, f"cash:{number}", f"Till {found.name}: {note}")
            return await self._add(conn, open_one, number, TRANSFER, amount, request, note, actor)

    async def shifts(self, *, before: str | None, limit: int) -> list[Shift]:
        """Newest first."""
        query = cash_rows.shifts().order_by(shift.c.shift_id.desc()).limit(limit)
        if before is not None:
            query = query.where(shift.c.shift_id < before)
        async with self._database.read() as conn:
            return [cash_rows.of_shift(row) for row in await conn.execute(query)]

    async def shift(self, shift_id: str) -> tuple[Shift, list[Receipt]]:
        """A shift and its receipts, in order of their numbers. Raises UnknownShift."""
        query = select(cash_receipt).where(cash_receipt.c.shift_id == shift_id).order_by(cash_receipt.c.number)
        async with self._database.read() as conn:
            found = await self._shift(conn, shift_id)
            return found, [cash_rows.of_receipt(row) for row in await conn.execute(query)]

    async def _begin(self, conn: AsyncConnection, shift_id: str, request: str) -> tuple[Shift, Receipt | None]:
        """The open shift, and the receipt that this request made before."""
        found = await self._shift(conn, shift_id)
        query = select(cash_receipt).where(cash_receipt.c.till_id == found.till_id, cash_receipt.c.request == request)
        known = (await conn.execute(query)).one_or_none()
        if known is None and found.closed_at is not None:
            raise WrongState("the shift is closed: cash changes hands in an open one")
        return found, None if known is None else cash_rows.of_receipt(known)

    async def _number(self, conn: AsyncConnection, open_one: Shift) -> str:
        found = await self._till(conn, open_one.till_id)
        entity = await self._entity(conn, found)
        name = f"CASH-{found.name}-{local_date(self._clock.now(), entity.zone_info).year}"
        return f"{name}-{await take_numbers(conn, entity.entity_id, name, 1):06d}"

    async def _add(
        self,
        conn: AsyncConnection,
        open_one: Shift,
        number: str,
        kind: str,
        amount: Money,
        request: str,
        note: str,
        actor: str,
        **known: str,
    ) -> Receipt:
        now = self._clock.now()
        receipt_id = new_id(now)
        values = {
            "receipt_id": receipt_id,
            "till_id": open_one.till_id,
            "shift_id": open_one.shift_id,
            "number": number,
            "kind": kind,
            "amount_minor": amount.minor,
            "currency": amount.currency,
            "request": request,
            "note": note,
            "at": now,
            "actor": actor,
            **known,
        }
        await conn.execute(insert(cash_receipt).values(values))
        await self._audit(conn, actor, f"cash.{kind}", f"cash-receipt:{number}", {"amount": str(amount)})
        row = (await conn.execute(select(cash_receipt).where(cash_receipt.c.receipt_id == receipt_id))).one()
        return cash_rows.of_receipt(row)

    def _require_count(self, found: Till, counted: Money, reason: str) -> None:
        if counted.currency != found.holds.currency or counted.minor < 0:
            raise RuleError(f"count what is there, in {found.holds.currency}", code="cash-count")
        if counted != found.holds and not reason.strip():
            raise RuleError(f"{found.holds} should be there, not {counted}: say why", code="cash-difference")

    async def _require_cash(self, conn: AsyncConnection, open_one: Shift, amount: Money) -> None:
        holds = (await self._till(conn, open_one.till_id)).holds
        if amount.currency != holds.currency or amount.minor > holds.minor:
            raise RuleError(f"the till holds {holds}", code="cash-short")

    async def _till(self, conn: AsyncConnection, till_id: str) -> Till:
        row = (await conn.execute(select(till).where(till.c.till_id == till_id))).one_or_none()
        if row is None:
            raise UnknownTill(f"no till {till_id}")
        query = select(shift).where(shift.c.till_id == till_id).order_by(shift.c.number.desc()).limit(1)
        last = (await conn.execute(query)).one_or_none()
        holds, shift_id = 0, None
        if last is not None and last.closed_at is not None:
            holds = last.counted_minor
        elif last is not None:
            moved = select(func.coalesce(func.sum(cash_receipt.c.amount_minor), 0))
            in_shift = await conn.scalar(moved.where(cash_receipt.c.shift_id == last.shift_id))
            holds, shift_id = last.opening_minor + int(in_shift or 0), last.shift_id
        return Till(row.till_id, EntityId(row.entity_id), row.name, Money(holds, row.currency), shift_id)

    async def _shift(self, conn: AsyncConnection, shift_id: str) -> Shift:
        row = (await conn.execute(cash_rows.shifts().where(shift.c.shift_id == shift_id))).one_or_none()
        if row is None:
            raise UnknownShift(f"no shift {shift_id}")
        return cash_rows.of_shift(row)

    async def _open_shift(self, conn: AsyncConnection, shift_id: str) -> Shift:
        found = await self._shift(conn, shift_id)
        if found.closed_at is not None:
            raise WrongState("the shift is closed")
        return found

    async def _book(
        self, conn: AsyncConnection, found: Till, amount: Money, against: str, source: str, what: str
    ) -> None:
        if not amount:
            return
        now = self._clock.now()
        entity = await self._entity(conn, found)
        chart = await ledger.ensure_chart(conn, entity.entity_id)
        postings = journal.transfer(amount, chart, CASH, against)
        day = local_date(now, entity.zone_info)
        await ledger.post(conn, [Entry(new_id(now), entity.entity_id, now, day, what[:200], source, postings)])

    async def _entity(self, conn: AsyncConnection, found: Till) -> Entity:
        entity = await parties.find_entity(conn, found.entity_id)
        assert entity is not None, "a till's entity is kept with it"
        return entity

    async def _audit(
        self,
        conn: AsyncConnection,
        actor: str,
        action: str,
        subject: str,
        after: dict[str, str],
        reason: str | None = None,
    ) -> None:
        now = self._clock.now()
        await audit.record(
            conn, now=now, actor=actor, action=action, subject=subject, after=dict(after), reason=reason or None
        )
