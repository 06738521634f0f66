"""Refunds by bank: files of credit transfers (pain.001), made once and kept as their octets."""

from __future__ import annotations

import hashlib
from datetime import date, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock, local_date
from controller.domain.errors import RuleError
from controller.domain.identity import new_id
from controller.domain.money import Money
from controller.store import audit
from controller.store.engine import Database
from erp.crm.service import CrmService
from erp.finance import ledger
from erp.finance.chart import IN_TRANSIT
from erp.finance.errors import NotThatMuch
from erp.finance.settlement import MoneyBack, Settlement
from erp.payments import refund_rows
from erp.payments.bank import repository as bank
from erp.payments.errors import UnknownBankAccount, UnknownCollection
from erp.payments.refund_rows import Refund
from erp.payments.sepa import files, rows
from erp.payments.sepa.days import require_bank_day
from erp.payments.sepa.files import Party, Transfer

_DAY = timedelta(days=1)


class RefundTransfers:
    """The one writer of transfer files."""

    def __init__(self, database: Database, clock: Clock, crm: CrmService, settlement: Settlement) -> None:
        self._database = database
        self._clock = clock
        self._crm = crm
        self._settlement = settlement

    async def make(self, bank_account_id: str, execute_on: date, *, actor: str) -> str:
        """Make a pain.001 of every approved refund by bank, and book that its money is on its way; the file's id.

        Raises UnknownBankAccount, RuleError where there is none.
        """
        now = self._clock.now()
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            accounts = await bank.accounts(conn, bank_account_id=bank_account_id)
            if not accounts:
                raise UnknownBankAccount(f"no bank account {bank_account_id}")
            account = accounts[0]
            require_bank_day(execute_on, local_date(now, (await self._crm.entity(account.entity_id)).zone_info) - _DAY)
            due = await refund_rows.refunds(conn, way="bank", states=(refund_rows.APPROVED,), limit=10_000)
            due = [r for r in due if r.amount.currency == account.currency and await self._is_there(conn, r, actor)]
            if not due:
                raise RuleError(
                    "no refund by bank is approved, not sent, and still covered", code="nothing-to-transfer"
                )
            file_id = new_id(now)
            wanted = [Transfer(r.refund_id, r.amount, Party(r.creditor, r.iban), f"Refund: {r.reason}") for r in due]
            content = files.transfers(file_id, now, Party(account.name, account.iban, account.bic), execute_on, wanted)
            total = sum((r.amount for r in due), Money.zero(account.currency))
            await rows.add_transfer_file(
                conn,
                {
                    "file_id": file_id,
                    "bank_account_id": bank_account_id,
                    "message_id": file_id,
                    "items": len(due),
                    "total_minor": total.minor,
                    "currency": total.currency,
                    "sha256": hashlib.sha256(content).digest(),
                    "content": content.decode(),
                    "made_at": now,
                    "actor": actor,
                },
            )
            for refund in due:
                back = MoneyBack(
                    refund.payment_id, refund.amount, "refund", f"bank:{refund.refund_id}", IN_TRANSIT, refund.reason,
                    held=refund.refund_id,
                )  # fmt: skip
                await self._settlement.reverse_in(conn, back, actor=actor)
                await refund_rows.change(conn, refund.refund_id, refund_rows.SENT, now, file_id=file_id)
            subject = f"transfer-file:{file_id}"
            after = {"total": str(total), "items": len(due)}
            await audit.record(conn, now=now, actor=actor, action="transfer-file.make", subject=subject, after=after)
        return file_id

    async def _is_there(self, conn: AsyncConnection, refund: Refund, actor: str) -> bool:
        """Whether its money waits. Where a chargeback has taken it since it was approved, it is refused."""
        try:
            await self._settlement.reservations.reserve_in(
                conn, refund.payment_id, refund.amount, refund.refund_id, actor=actor, reason=refund.reason
            )
        except NotThatMuch as error:
            await refund_rows.change(
                conn, refund.refund_id, refund_rows.REFUSED, self._clock.now(), detail=str(error)[:300]
            )
            return False
        return True

    async def content(self, file_id: str) -> bytes:
        """Raises UnknownCollection."""
        async with self._database.read() as conn:
            found = await rows.transfer_files(conn, file_id=file_id)
        if not found:
            raise UnknownCollection(f"no transfer file {file_id}")
        return str(found[0].content).encode()
