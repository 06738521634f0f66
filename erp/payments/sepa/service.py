"""Direct debits: files of what is due, and what banks answer.

An invoice waits in one file at a time (the database refuses the second), a file is made once and kept as its octets,
and its payments are booked when it is sent: from then on the money is on its way. What a bank rejects or returns opens
the invoice again. Each step may be repeated after a crash: items that were booked are not booked again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock, local_date
from controller.domain.errors import RuleError
from controller.domain.identity import new_id
from controller.domain.money import Money
from controller.store import audit
from controller.store.engine import Database
from erp.crm.service import CrmService
from erp.finance import ledger, repository
from erp.finance.adjustments import Adjustment
from erp.finance.chart import DIRECT_DEBITS
from erp.finance.corrections import CorrectionService
from erp.finance.settlement import MoneyBack, MoneyIn, Settlement
from erp.payments import xml
from erp.payments.bank import repository as bank
from erp.payments.bank.matching import OpenInvoice
from erp.payments.bank.repository import BankAccount
from erp.payments.entity_settings import EntitySettings
from erp.payments.errors import UnknownBankAccount, UnknownCollection, WrongState
from erp.payments.refund_returns import rejected
from erp.payments.sepa import files, report, rows
from erp.payments.sepa.days import require_bank_day
from erp.payments.sepa.files import Debit, Party
from erp.payments.sepa.rows import (
    ACTIVE,
    DROPPED,
    ENDED,
    ENDING,
    FINAL,
    PAID,
    REJECTED,
    RETURNED,
    WAITING,
    Collection,
    Item,
    Mandate,
)
from erp.payments.settings import PaymentsSettings

_LAPSES = timedelta(days=36 * 31)
"""A mandate unused for 36 months is not used again (the scheme's rulebooks)."""
_ENDING = frozenset({"AC01", "AC04", "AC13", "MD01", "MD07"})
"""Reasons after which nothing more is collected by a mandate: account wrong or closed, no mandate, debtor dead."""
_AT_A_TIME = 200
METHOD = "direct-debit"


class SepaService:
    """The one writer of direct debit files and of what becomes of their items."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        crm: CrmService,
        settlement: Settlement,
        corrections: CorrectionService,
        settings: PaymentsSettings,
        decided: EntitySettings,
    ) -> None:
        self._corrections = corrections
        self._database = database
        self._clock = clock
        self._crm = crm
        self._settlement = settlement
        self._settings = settings
        self._decided = decided

    async def collect(
        self, bank_account_id: str, collect_on: date, form: str = files.FORMS[0], *, actor: str
    ) -> Collection:
        """Make a file of every open invoice that is due by then, has a mandate, and is in no other file.

        Raises UnknownBankAccount, RuleError where nothing is to be collected, the day is none of the banks', or the
        account has no creditor identifier.
        """
        now = self._clock.now()
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            account = await self._account(conn, bank_account_id)
            if not account.creditor_id:
                raise RuleError("the bank account has no SEPA creditor identifier", code="creditor-id")
            require_bank_day(collect_on, await self._today(account))
            wanted = await self._due(conn, account, collect_on, now)
            if not wanted:
                raise RuleError("no open invoice with a mandate is due by then", code="nothing-to-collect")
            made = await self._keep(conn, account, collect_on, form, wanted, now, actor)
        return made

    async def send(self, collection_id: str, *, actor: str) -> Collection:
        """Say that the file went to the bank: its payments are booked, the money is on its way. May be repeated.

        Raises UnknownCollection, WrongState for one that was dropped.
        """
        found = await self.collection(collection_id)
        if found.state == DROPPED:
            raise WrongState(f"collection {collection_id} was dropped")
        while True:
            async with self._database.begin() as conn:
                await ledger.lock_books(conn)
                waiting = await rows.items(conn, collection_id=collection_id, state=WAITING, limit=_AT_A_TIME)
                for item in waiting:
                    await self._pay(conn, found, item, actor)
                if not waiting:
                    if found.state != "sent":
                        await rows.set_collection(conn, collection_id, "sent", self._clock.now())
                        subject = f"collection:{collection_id}"
                        await self._audit(conn, actor, "collection.send", subject, {"total": str(found.total)})
                    break
        return await self.collection(collection_id)

    async def drop(self, collection_id: str, *, actor: str, reason: str) -> Collection:
        """Give up a file that was not sent: its invoices may stand in another. Raises UnknownCollection, WrongState."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            found = await self._collection(conn, collection_id)
            items = await rows.items(conn, collection_id=collection_id)
            if found.state != "made" or any(item.state == PAID for item in items):
                raise WrongState(f"collection {collection_id} is on its way")
            for item in items:
                await rows.set_item(conn, item.item_id, DROPPED, now, reason="not sent")
            await rows.set_collection(conn, collection_id, DROPPED, None)
            await self._audit(conn, actor, "collection.drop", f"collection:{collection_id}", {}, reason)
        return await self.collection(collection_id)

    async def collection(self, collection_id: str) -> Collection:
        """Raises UnknownCollection."""
        async with self._database.read() as conn:
            return await self._collection(conn, collection_id)

    async def collections(self, *, before: str | None, limit: int) -> list[Collection]:
        """Newest first."""
        async with self._database.read() as conn:
            return await rows.collections(conn, before=before, limit=limit)

    async def items(self, collection_id: str) -> list[Item]:
        async with self._database.read() as conn:
            return await rows.items(conn, collection_id=collection_id)

    async def report(self, raw: bytes, *, actor: str) -> int:
        """Read a pain.002; how many items are rejected by it. The same again changes nothing.

        Raises FileRefused, UnknownCollection.
        """
        # Beside the event loop, which answers RADIUS meanwhile: a file may be large.
        told = await asyncio.to_thread(report.parse, raw, self._settings.bank_file_octets)
        count = 0
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            found = await rows.collections(conn, message_id=told.message_id)
            for sent in await rows.transfer_files(conn, message_id=told.message_id):
                return await rejected(conn, self._settlement, sent.file_id, told, self._clock.now(), actor)
            if not found:
                raise UnknownCollection(f"no file of direct debits or of refunds has the id {told.message_id}")
            items = {item.item_id: item for item in await rows.items(conn, collection_id=found[0].collection_id)}
            reasons = {r.end_to_end: r.reason for r in told.rejected}
            if told.all_rejected:
                reasons |= dict.fromkeys(items, told.reason)
            for block, reason in told.blocks:
                reasons |= dict.fromkeys(_of_block(found[0], block), reason)
            for item_id, reason in reasons.items():
                if item_id in items:
                    count += await self.reject(conn, items[item_id], reason, actor)
        return count

    async def reject(self, conn: AsyncConnection, item: Item, reason: str, actor: str) -> bool:
        """A bank refused it before it was settled: no money moved. False when that is known."""
        now = self._clock.now()
        if item.state == WAITING:
            await rows.set_item(conn, item.item_id, REJECTED, now, reason=reason)
        elif item.state == PAID:
            await self._take_back(conn, item, DIRECT_DEBITS, reason, None, actor)
            await rows.set_item(conn, item.item_id, REJECTED, now, reason=reason)
            await rows.change_mandate(conn, item.mandate_id, collected=-1)
            if item.sequence == FINAL:
                await rows.change_mandate(conn, item.mandate_id, state=ENDING)  # it was not collected for the last time
        else:
            return False
        await self._judge(conn, item, reason)
        return True

    async def give_back(
        self, conn: AsyncConnection, item: Item, out_of: str, reason: str, fee: Money | None, actor: str
    ) -> bool:
        """A bank returned it after it was settled, and took `fee` with it. False when that is known."""
        if item.state != PAID:
            return False
        await self._take_back(conn, item, out_of, reason, fee, actor)
        await rows.set_item(conn, item.item_id, RETURNED, self._clock.now(), reason=reason)
        await self._judge(conn, item, reason)
        return True

    async def claim_fee(self, conn: AsyncConnection, item: Item, fee: Money, reason: str, actor: str) -> None:
        """Claim from who was to pay what the bank took for the return; once, however often it is told.

        Damages bear no VAT: nothing was supplied.
        """
        if fee.minor <= 0:
            return
        payer = await self._crm.customer_of_in(conn, item.account_id)
        if (await self._decided.of_in(conn, payer.entity_id)).claim_return_fee:
            wanted = Adjustment(
                item.account_id, fee, Decimal(0), "Bank fee for a returned direct debit", reason[:200],
                f"direct-debit-return:{item.item_id}", tax_category="O",
            )  # fmt: skip
            await self._corrections.adjust_in(conn, wanted, actor=actor)

    # What is inside

    async def _due(
        self, conn: AsyncConnection, account: BankAccount, collect_on: date, now: datetime
    ) -> list[tuple[Mandate, OpenInvoice]]:
        in_files = await rows.waiting_invoices(conn)
        by_account: dict[str, Mandate] = {}
        closing = await rows.closing_mandates(conn)
        ending = [m for m in await rows.mandates(conn, state=ENDING) if m.mandate_id not in closing]
        for found in [*ending, *await rows.mandates(conn, state=ACTIVE)]:
            lapsed = collect_on - (found.last_on or found.signed_on) > _LAPSES
            if not lapsed and (found.recurrent or not found.collected):
                by_account[found.account_id] = found
        wanted: list[tuple[Mandate, OpenInvoice]] = []
        used_once: set[str] = set()
        for owed in await bank.open_invoices(conn, account.entity_id, account.currency):
            mandate = by_account.get(owed.account_id)
            if mandate is None or owed.invoice_id in in_files or mandate.mandate_id in used_once:
                continue
            document = await repository.get_invoice(conn, owed.invoice_id)  # type: ignore[arg-type]
            if document is None or document.due_on > collect_on:
                continue
            if not mandate.recurrent:
                used_once.add(mandate.mandate_id)
            wanted.append((mandate, owed))
        return wanted

    async def _keep(
        self,
        conn: AsyncConnection,
        account: BankAccount,
        collect_on: date,
        form: str,
        wanted: Sequence[tuple[Mandate, OpenInvoice]],
        now: datetime,
        actor: str,
    ) -> Collection:
        collection_id = new_id(now)
        debits, items = [], []
        begun: set[str] = set()
        last = {mandate.mandate_id: owed for mandate, owed in wanted if mandate.state == ENDING}
        for mandate, owed in wanted:
            first = not mandate.collected and mandate.mandate_id not in begun
            begun.add(mandate.mandate_id)
            sequence = "OOFF" if not mandate.recurrent else "FRST" if first else "RCUR"
            if last.get(mandate.mandate_id) is owed:
                sequence = FINAL
            item_id = new_id(now)
            debits.append(_debit(item_id, mandate, owed, sequence))
            items.append(
                {
                    "item_id": item_id,
                    "collection_id": collection_id,
                    "mandate_id": mandate.mandate_id,
                    "sequence": sequence,
                    "invoice_id": owed.invoice_id,
                    "account_id": owed.account_id,
                    "amount_minor": owed.left.minor,
                    "state": WAITING,
                    "payment_id": None,
                    "reason": "",
                    "changed_at": now,
                }
            )
        creditor = Party(account.name, account.iban, account.bic)
        content = files.direct_debits(form, collection_id, now, creditor, account.creditor_id, collect_on, debits)
        total = sum((d.amount for d in debits), Money.zero(account.currency))
        values = {
            "collection_id": collection_id,
            "bank_account_id": account.bank_account_id,
            "message_id": collection_id,
            "form": form,
            "collect_on": collect_on,
            "items": len(items),
            "total_minor": total.minor,
            "currency": total.currency,
            "state": "made",
            "sha256": hashlib.sha256(content).digest(),
            "content": content.decode(),
            "made_at": now,
            "sent_at": None,
            "actor": actor,
        }
        await rows.add_collection(conn, values, items)
        what = {"total": str(total), "items": len(items), "collect_on": collect_on}
        await self._audit(conn, actor, "collection.make", f"collection:{collection_id}", what)
        return await self._collection(conn, collection_id)

    async def _pay(self, conn: AsyncConnection, found: Collection, item: Item, actor: str) -> None:
        amount = Money(item.amount_minor, found.total.currency)
        owed = await repository.get_invoice(conn, item.invoice_id)
        assert owed is not None, "invoices are never deleted"
        part = Money(min(amount.minor, owed.open_minor), amount.currency)
        apply = [(item.invoice_id, part)] if part else []
        came = MoneyIn(item.account_id, amount, METHOD, item.item_id, None, DIRECT_DEBITS, apply)
        payment, _ = await self._settlement.receive_in(conn, came, actor=actor)
        await rows.set_item(conn, item.item_id, PAID, self._clock.now(), payment_id=payment.payment_id)
        await rows.change_mandate(conn, item.mandate_id, collected=1, last_on=found.collect_on)
        if item.sequence == FINAL:
            await rows.change_mandate(conn, item.mandate_id, state=ENDED)

    async def _take_back(
        self, conn: AsyncConnection, item: Item, out_of: str, reason: str, fee: Money | None, actor: str
    ) -> None:
        assert item.payment_id is not None, "an item is paid by a payment"
        found = await rows.collections(conn, collection_id=item.collection_id)
        amount = Money(item.amount_minor, found[0].total.currency)
        back = MoneyBack(item.payment_id, amount, "return", item.item_id, out_of, f"direct debit: {reason}", fee)
        await self._settlement.reverse_in(conn, back, actor=actor)

    async def _judge(self, conn: AsyncConnection, item: Item, reason: str) -> None:
        if reason in _ENDING:
            await rows.change_mandate(conn, item.mandate_id, state=ENDED)

    async def _today(self, account: BankAccount) -> date:
        return local_date(self._clock.now(), (await self._crm.entity(account.entity_id)).zone_info)

    async def _account(self, conn: AsyncConnection, bank_account_id: str) -> BankAccount:
        found = await bank.accounts(conn, bank_account_id=bank_account_id)
        if not found:
            raise UnknownBankAccount(f"no bank account {bank_account_id}")
        return found[0]

    async def _collection(self, conn: AsyncConnection, collection_id: str) -> Collection:
        found = await rows.collections(conn, collection_id=collection_id)
        if not found:
            raise UnknownCollection(f"no collection {collection_id}")
        return found[0]

    async def _audit(
        self,
        conn: AsyncConnection,
        actor: str,
        action: str,
        subject: str,
        after: Mapping[str, object],
        reason: str | None = None,
    ) -> None:
        now = self._clock.now()
        await audit.record(conn, now=now, actor=actor, action=action, subject=subject, after=dict(after), reason=reason)


def _of_block(found: Collection, block: str) -> list[str]:
    """Which items stand in a payment block of a file, as it was made."""
    root = xml.parse(found.content.encode(), len(found.content) * 4)
    return [
        xml.text(debit, "PmtId/EndToEndId")
        for info in xml.all_of(root, "CstmrDrctDbtInitn/PmtInf")
        if xml.text(info, "PmtInfId") == block
        for debit in xml.all_of(info, "DrctDbtTxInf")
    ]


def _debit(item_id: str, mandate: Mandate, owed: OpenInvoice, sequence: str) -> Debit:
    debtor = Party(mandate.debtor, mandate.iban, mandate.bic)
    return Debit(
        item_id, owed.left, debtor, mandate.reference, mandate.signed_on, mandate.scheme, sequence, owed.number
    )
