"""Refunds by bank: files of credit transfers (pain.001), made once and kept as their octets.

A refund whose money went since it was approved, by a chargeback, is refused and told; the file is made of the others.
That it is refused stands also where no other is left and there is no file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

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
from erp.payments.bank.repository import BankAccount
from erp.payments.errors import UnknownBankAccount, UnknownCollection
from erp.payments.refund_rows import Refund
from erp.payments.sepa import files, rows
from erp.payments.sepa.days import require_bank_day
from erp.payments.sepa.files import Party, Transfer

_DAY = timedelta(days=1)
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Made:
    """A file, and the refunds that are not in it because their money is gone: they are refused."""

    file_id: str
    refused: tuple[Refund, ...]


class RefundTransfers:
    """The one writer of transfer files."""

    def __init__(self, database: Database, clock: Clock, crm: CrmService, settlement: Settlement) -> None:
        self._database = database
        self._clock = clock
        self._crm = crm
        self._settlement = settlement

    async def make(self, bank_account_id: str, execute_on: date, *, actor: str) -> Made:
        """Make a pain.001 of every approved refund by bank, and book that its money is on its way.

        Raises UnknownBankAccount, RuleError where there is none, or none whose money is still there: those are refused.
        """
        now = self._clock.now()
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            accounts = await bank.accounts(conn, bank_account_id=bank_account_id)
            if not accounts:
                raise UnknownBankAccount(f"no bank account {bank_account_id}")
            account = accounts[0]
            require_bank_day(execute_on, local_date(now, (await self._crm.entity(account.entity_id)).zone_info) - _DAY)
            own, approved = account.entity_id, (refund_rows.APPROVED,)
            due = await refund_rows.refunds(conn, way="bank", states=approved, entity_id=own, limit=10_000)
            due = [r for r in due if r.amount.currency == account.currency]
            lost = [r for r in due if not await self._is_there(conn, r, actor)]
            gone = {r.refund_id for r in lost}
            due = [r for r in due if r.refund_id not in gone]
            file_id = await self._write(conn, account, execute_on, due, now, actor) if due else ""
        if not due:  # after the commit: that they are refused stands
            raise _nothing(lost)
        return Made(file_id, tuple(lost))

    async def _write(
        self,
        conn: AsyncConnection,
        account: BankAccount,
        execute_on: date,
        due: Sequence[Refund],
        now: datetime,
        actor: str,
    ) -> str:
        file_id = new_id(now)
        wanted = [Transfer(r.refund_id, r.amount, Party(r.creditor, r.iban), f"Refund: {r.reason}") for r in due]
        content = files.transfers(file_id, now, Party(account.name, account.iban, account.bic), execute_on, wanted)
        total = sum((r.amount for r in due), Money.zero(account.currency))
        await rows.add_transfer_file(
            conn,
            {
                "file_id": file_id,
                "bank_account_id": account.bank_account_id,
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
        now = self._clock.now()
        try:
            await self._settlement.reservations.reserve_in(
                conn, refund.payment_id, refund.amount, refund.refund_id, actor=actor, reason=refund.reason
            )
        except NotThatMuch as error:
            why = str(error)[:300]
            await refund_rows.change(conn, refund.refund_id, refund_rows.REFUSED, now, detail=why)
            subject, after = f"refund:{refund.refund_id}", {"amount": str(refund.amount), "way": refund.way}
            await audit.record(
                conn, now=now, actor=actor, action="refund.refuse", subject=subject, after=after, reason=why
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


def _nothing(lost: Sequence[Refund]) -> RuleError:
    """Why there is no file."""
    if not lost:
        return RuleError("no refund by bank is approved and not sent", code="nothing-to-transfer")
    gone = ", ".join(f"{r.amount} to {r.creditor}" for r in lost[:_MOST_NAMED])
    more = f" and {len(lost) - _MOST_NAMED} more" if len(lost) > _MOST_NAMED else ""
    return RuleError(
        "there is no file: the money of every approved refund went back otherwise, and they are refused "
        f"({gone}{more}); ask again for what is still owed",
        code="nothing-to-transfer",
    )
