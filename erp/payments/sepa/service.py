"""Direct debits: mandates, files of what is due, and what banks answer.

An invoice waits in one file at a time (the database refuses the second), a file is made once and kept as its octets,
and its payments are booked when it is sent: from then on the money is on its way. What a bank rejects or returns opens
the invoice again. Each step may be repeated after a crash: items that were booked are not booked again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache

import holidays
from sqlalchemy.ext.asyncio import AsyncConnection
from stdnum import bic as bics
from stdnum import iban as ibans

from controller.domain.clock import Clock, local_date
from controller.domain.errors import RuleError
from controller.domain.identity import AccountId, new_id
from controller.domain.money import Money
from controller.store import audit
from controller.store.engine import Database
from erp.crm.service import CrmService
from erp.finance import ledger, repository
from erp.finance.chart import DIRECT_DEBITS, IN_TRANSIT
from erp.finance.corrections import Adjustment, CorrectionService
from erp.finance.settlement import MoneyBack, MoneyIn, Settlement
from erp.payments import refund_rows, xml
from erp.payments.bank import repository as bank
from erp.payments.bank.matching import OpenInvoice
from erp.payments.bank.repository import BankAccount
from erp.payments.errors import UnknownBankAccount, UnknownCollection, UnknownMandate, WrongState
from erp.payments.sepa import files, report, rows
from erp.payments.sepa.files import Debit, Party, Transfer
from erp.payments.sepa.rows import ACTIVE, DROPPED, ENDED, PAID, REJECTED, RETURNED, WAITING, Collection, Item, Mandate
from erp.payments.settings import PaymentsSettings

_DAY = timedelta(days=1)
_LAPSES = timedelta(days=36 * 31)
"""A mandate unused for 36 months is not used again (the scheme's rulebooks)."""
_ENDING = frozenset({"AC01", "AC04", "AC13", "MD01", "MD07"})
"""Reasons after which nothing more is collected by a mandate: account wrong or closed, no mandate, debtor dead."""
_AT_A_TIME = 200
METHOD = "direct-debit"


@dataclass(frozen=True, slots=True)
class WantedMandate:
    account_id: AccountId
    reference: str
    scheme: str
    recurrent: bool
    signed_on: date
    iban: str
    debtor: str
    bic: str = ""


class SepaService:
    """The one writer of mandates and of files for banks."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        crm: CrmService,
        settlement: Settlement,
        corrections: CorrectionService,
        settings: PaymentsSettings,
    ) -> None:
        self._corrections = corrections
        self._database = database
        self._clock = clock
        self._crm = crm
        self._settlement = settlement
        self._settings = settings

    # Mandates

    async def add_mandate(self, wanted: WantedMandate, *, actor: str) -> Mandate:
        """Raises NotFound for no account, RuleError for a wrong IBAN, BIC or day, WrongState for a known reference."""
        now = self._clock.now()
        customer = await self._crm.customer_of(wanted.account_id)
        iban, bic = checked_account(wanted.iban, wanted.bic)
        if customer.account.currency != "EUR":
            raise RuleError("direct debits of SEPA are in EUR", code="currency")
        if wanted.signed_on > local_date(now, customer.account.zone_info):
            raise RuleError("a mandate is not signed in the future", code="mandate-signed")
        if wanted.reference != files.sepa_text(wanted.reference) or " " in wanted.reference:
            raise RuleError("a mandate reference is of A-Z a-z 0-9 / - ? : ( ) . , ' +", code="mandate-reference")
        made = Mandate(
            new_id(now), wanted.account_id, wanted.reference, wanted.scheme, wanted.recurrent, wanted.signed_on,
            iban, bic, wanted.debtor, ACTIVE, 0, None, now,
        )  # fmt: skip
        async with self._database.begin() as conn:
            if await rows.mandates(conn, reference=wanted.reference):
                raise WrongState(f"a mandate {wanted.reference} is there already", code="mandate-known")
            await rows.add_mandate(conn, made, actor)
            what = {"account_id": made.account_id, "reference": made.reference, "iban": f"{iban[:4]}…{iban[-4:]}"}
            await self._audit(conn, actor, "mandate.add", f"mandate:{made.mandate_id}", what)
        return made

    async def end_mandate(self, mandate_id: str, *, actor: str, reason: str) -> Mandate:
        """Raises UnknownMandate."""
        async with self._database.begin() as conn:
            if not await rows.mandates(conn, mandate_id=mandate_id):
                raise UnknownMandate(f"no mandate {mandate_id}")
            await rows.change_mandate(conn, mandate_id, state=ENDED)
            await self._audit(conn, actor, "mandate.end", f"mandate:{mandate_id}", {}, reason)
            (found,) = await rows.mandates(conn, mandate_id=mandate_id)
        return found

    async def mandates(self, *, account_id: str | None, after: str | None, limit: int) -> list[Mandate]:
        async with self._database.read() as conn:
            return await rows.mandates(conn, account_id=account_id, after=after, limit=limit)

    # Collections

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
            self._require_bank_day(collect_on, await self._today(account))
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
                todo = await rows.items(conn, collection_id=collection_id, state=WAITING, limit=_AT_A_TIME)
                for item in todo:
                    await self._pay(conn, found, item, actor)
                if not todo:
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
        told = report.parse(raw, self._settings.bank_file_octets)
        count = 0
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            found = await rows.collections(conn, message_id=told.message_id)
            if not found:
                raise UnknownCollection(f"no direct debit file {told.message_id}")
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
        if self._settings.claim_return_fee and fee.minor > 0:
            wanted = Adjustment(
                item.account_id, fee, Decimal(0), "Bank fee for a returned direct debit", reason[:200],
                f"direct-debit-return:{item.item_id}", tax_category="O",
            )  # fmt: skip
            await self._corrections.adjust_in(conn, wanted, actor=actor)

    # Refunds by bank

    async def transfer(self, bank_account_id: str, execute_on: date, *, actor: str) -> str:
        """Make a pain.001 of every approved refund by bank, and book that its money is on its way; the file's id.

        Raises UnknownBankAccount, RuleError where there is none.
        """
        now = self._clock.now()
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            account = await self._account(conn, bank_account_id)
            self._require_bank_day(execute_on, await self._today(account) - _DAY)
            todo = await refund_rows.refunds(conn, way="bank", states=(refund_rows.APPROVED,), limit=10_000)
            todo = [r for r in todo if r.amount.currency == account.currency]
            if not todo:
                raise RuleError("no refund by bank is approved and not sent", code="nothing-to-transfer")
            file_id = new_id(now)
            wanted = [Transfer(r.refund_id, r.amount, Party(r.creditor, r.iban), f"Refund: {r.reason}") for r in todo]
            content = files.transfers(file_id, now, Party(account.name, account.iban, account.bic), execute_on, wanted)
            total = sum((r.amount for r in todo), Money.zero(account.currency))
            await rows.add_transfer_file(
                conn,
                {
                    "file_id": file_id,
                    "bank_account_id": bank_account_id,
                    "message_id": file_id,
                    "items": len(todo),
                    "total_minor": total.minor,
                    "currency": total.currency,
                    "sha256": hashlib.sha256(content).digest(),
                    "content": content.decode(),
                    "made_at": now,
                    "actor": actor,
                },
            )
            for refund in todo:
                back = MoneyBack(
                    refund.payment_id, refund.amount, "refund", f"bank:{refund.refund_id}", IN_TRANSIT, refund.reason
                )
                await self._settlement.reverse_in(conn, back, actor=actor)
                await refund_rows.change(conn, refund.refund_id, refund_rows.SENT, now, file_id=file_id)
            await self._audit(conn, actor, "transfer-file.make", f"transfer-file:{file_id}", {"total": str(total)})
        return file_id

    async def transfer_content(self, file_id: str) -> bytes:
        """Raises UnknownCollection."""
        async with self._database.read() as conn:
            found = await rows.transfer_files(conn, file_id=file_id)
        if not found:
            raise UnknownCollection(f"no transfer file {file_id}")
        return str(found[0].content).encode()

    # What is inside

    async def _due(
        self, conn: AsyncConnection, account: BankAccount, collect_on: date, now: datetime
    ) -> list[tuple[Mandate, OpenInvoice]]:
        in_files = await rows.waiting_invoices(conn)
        by_account: dict[str, Mandate] = {}
        for found in await rows.mandates(conn, state=ACTIVE):
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
        for mandate, owed in wanted:
            first = not mandate.collected and mandate.mandate_id not in begun
            begun.add(mandate.mandate_id)
            sequence = "OOFF" if not mandate.recurrent else "FRST" if first else "RCUR"
            item_id = new_id(now)
            debtor = Party(mandate.debtor, mandate.iban, mandate.bic)
            debits.append(
                Debit(
                    item_id,
                    owed.left,
                    debtor,
                    mandate.reference,
                    mandate.signed_on,
                    mandate.scheme,
                    sequence,
                    owed.number,
                )
            )
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

    def _require_bank_day(self, day: date, today: date) -> None:
        if day <= today:
            raise RuleError("banks want the file a day before", code="bank-day")
        if not is_bank_day(day):
            raise RuleError(f"{day} is no day on which banks settle: the next is {next_bank_day(day)}", code="bank-day")

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


def checked_account(iban: str, bic: str) -> tuple[str, str]:
    """Both without blanks. Raises RuleError; the BIC may be empty."""
    if not ibans.is_valid(iban):
        raise RuleError("this is no IBAN: look at its check digits", code="iban")
    if bic and not bics.is_valid(bic):
        raise RuleError("this is no BIC", code="bic")
    return ibans.compact(iban), bics.compact(bic) if bic else ""


@lru_cache(maxsize=16)
def _closed(year: int) -> frozenset[date]:
    return frozenset(holidays.financial_holidays("ECB", years=year))


def is_bank_day(day: date) -> bool:
    """Whether TARGET, over which SEPA settles, is open."""
    return day.weekday() < 5 and day not in _closed(day.year)


def next_bank_day(day: date) -> date:
    """The day itself where it is one."""
    while not is_bank_day(day):
        day += _DAY
    return day


def _of_block(found: Collection, block: str) -> list[str]:
    """Which items stand in a payment block of a file, as it was made."""
    root = xml.parse(found.content.encode(), len(found.content) * 4)
    return [
        xml.text(debit, "PmtId/EndToEndId")
        for info in xml.all_of(root, "CstmrDrctDbtInitn/PmtInf")
        if xml.text(info, "PmtInfId") == block
        for debit in xml.all_of(info, "DrctDbtTxInf")
    ]
