"""Bank statements imported once, every line posted, and matched with what it is about.

A line is posted when it is imported, against "bank lines to be identified": the bank account in the ledger is what the
bank says, and what is not identified yet is the balance of that account, line by line with its age. To match a line is
to book from there. The same file, or the same statement in another file, changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection
from stdnum.eu import at_02

from controller.domain.clock import Clock, local_date
from controller.domain.errors import RuleError
from controller.domain.identity import AccountId, EntityId, InvoiceId, PaymentId, new_id
from controller.domain.money import Money
from controller.store import audit
from controller.store.engine import Database
from erp.crm import repository as parties
from erp.crm.model import Entity
from erp.crm.service import CrmService
from erp.finance import journal, ledger
from erp.finance.chart import BANK, BANK_CHARGES, BANK_LINES, DIRECT_DEBITS, IN_TRANSIT
from erp.finance.errors import ControlAccount, NoSuchAccount
from erp.finance.journal import Entry, Posting
from erp.finance.settlement import MoneyBack, MoneyIn, Settlement
from erp.payments import refund_rows
from erp.payments.bank import camt, repository
from erp.payments.bank.camt import Line, Statement
from erp.payments.bank.matching import Match, OpenInvoices, Proposal
from erp.payments.bank.repository import MATCHED, OPEN, BankAccount, BankLine, KeptStatement
from erp.payments.errors import FileRefused, UnknownBankAccount, UnknownLine, WrongState
from erp.payments.sepa import rows as sepa_rows
from erp.payments.sepa.service import SepaService, checked_account
from erp.payments.settings import PaymentsSettings

METHOD = "bank-statement"
_DETAILS = 1_000_000
"""Parts of a line that a notification told begin here."""
_NOTICE_HOLDS = timedelta(days=45)
"""How long a notification may be older than the statement that it details."""
_CHARGES = ("CHRG", "COMM", "FEES")


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of a file. `is_new` is false where all of it was known."""

    file_id: str
    kind: str
    is_new: bool
    statements: int
    lines: int
    matched: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Position:
    """A bank account: the last closing balance, what the ledger says, and what is not identified yet."""

    account: BankAccount
    last_on: date | None
    closing: Money
    ledger: Money
    unidentified: Money
    open_lines: int


class BankService:
    """The one writer of statements, and of the matches of their lines."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        crm: CrmService,
        settlement: Settlement,
        sepa: SepaService,
        settings: PaymentsSettings,
    ) -> None:
        self._database = database
        self._clock = clock
        self._crm = crm
        self._settlement = settlement
        self._sepa = sepa
        self._settings = settings

    # Accounts

    async def add_account(
        self,
        *,
        name: str,
        iban: str,
        bic: str,
        creditor_id: str,
        currency: str,
        actor: str,
        entity_id: EntityId | None = None,
    ) -> BankAccount:
        """Raises RuleError for a wrong IBAN, BIC or creditor identifier, WrongState for an account that is known."""
        entity = await self._crm.entity(entity_id)
        now = self._clock.now()
        number, code = checked_account(iban, bic)
        if creditor_id and not at_02.is_valid(creditor_id):
            raise RuleError("this is no SEPA creditor identifier: look at its check digits", code="creditor-id")
        identifier = at_02.compact(creditor_id) if creditor_id else ""
        made = BankAccount(new_id(now), entity.entity_id, name, number, code, currency, identifier, now)
        async with self._database.begin() as conn:
            if await repository.accounts(conn, iban=number):
                raise WrongState(f"account {number} is there already", code="bank-account-known")
            await repository.add_account(conn, made, actor)
            subject = f"bank-account:{made.bank_account_id}"
            await audit.record(
                conn, now=now, actor=actor, action="bank-account.add", subject=subject, after={"iban": number}
            )
        return made

    async def positions(self) -> list[Position]:
        """Every account with its balance at the bank and in the ledger (which holds those of an entity together)."""
        async with self._database.read() as conn:
            found = []
            for account in await repository.accounts(conn):
                last = await repository.statements(conn, account.bank_account_id, 1)
                waiting = await repository.lines(conn, state=OPEN)
                own = [line for line in waiting if line.bank_account_id == account.bank_account_id]
                zero = Money.zero(account.currency)
                found.append(
                    Position(
                        account,
                        last[0].last_on if last else None,
                        last[0].closing if last else zero,
                        await self._in_ledger(conn, account),
                        sum((line.amount for line in own), zero),
                        len(own),
                    )
                )
        return found

    # Import

    async def read(self, raw: bytes, name: str, *, actor: str) -> Imported:
        """Import a file: all of it or nothing.

        Raises FileRefused, UnknownBankAccount, WrongState for what was told before in other words.
        """
        parsed = camt.parse(raw, self._settings.bank_file_octets)
        sha256 = hashlib.sha256(raw).digest()
        now = self._clock.now()
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            known = await repository.find_file(conn, sha256)
            if known is not None:
                return Imported(known.file_id, known.kind, False, known.statements, known.lines, 0)
            if parsed.kind == "camt.054":
                return await self._notified(conn, parsed, raw, name, now, actor)
            file_id = new_id(now)
            kept, notes, fresh = [], [], []
            for statement in parsed.statements:
                account = await self._account_of(conn, statement)
                if await self._is_known(conn, account, statement):
                    continue
                notes += await self._check_order(conn, account, statement)
                fresh.append((account, statement))
            await self._add_file(conn, file_id, parsed.kind, sha256, name, [s for _, s in fresh], now, actor)
            for account, statement in fresh:
                kept += await self._keep(conn, account, statement, file_id, now, actor)
            if any(line.kind == "batch" for _, statement in fresh for line in statement.lines):
                for told in await repository.notices(conn, now - _NOTICE_HOLDS):
                    for notice in camt.parse(told, self._settings.bank_file_octets).statements:
                        account = await self._account_of(conn, notice)
                        kept += await self._detail(conn, account, notice, now, actor)
            matched = await self._match_all(conn, kept, actor)
            what = {"name": name, "statements": len(fresh), "lines": len(kept), "matched": matched}
            subject = f"bank-file:{file_id}"
            await audit.record(conn, now=now, actor=actor, action="bank-file.import", subject=subject, after=what)
        return Imported(file_id, parsed.kind, bool(fresh), len(fresh), len(kept), matched, tuple(notes))

    # Lines

    async def statements(self, *, limit: int) -> list[KeptStatement]:
        """The latest first."""
        async with self._database.read() as conn:
            return await repository.statements(conn, None, limit)

    async def lines(
        self, *, state: str | None, statement_id: str | None, after: tuple[date, str] | None, limit: int
    ) -> list[BankLine]:
        """Oldest first."""
        async with self._database.read() as conn:
            return await repository.lines(conn, state=state, statement_id=statement_id, after=after, limit=limit)

    async def line(self, line_id: str) -> tuple[BankLine, list[Proposal]]:
        """A line, and for an open one what it may be. Raises UnknownLine."""
        async with self._database.read() as conn:
            found = await self._line(conn, line_id)
            if found.state != OPEN or found.amount.minor <= 0:
                return found, []
            (account,) = await repository.accounts(conn, bank_account_id=found.bank_account_id)
            owed = OpenInvoices(await repository.open_invoices(conn, account.entity_id, account.currency))
            paid_before = await repository.accounts_by_iban(conn, [found.party_iban])
            return found, owed.proposals(found.amount, found.party, paid_before.get(found.party_iban))

    async def match(
        self, line_id: str, account_id: AccountId, parts: Sequence[tuple[InvoiceId, Money]] | None, *, actor: str
    ) -> BankLine:
        """Book a line to a customer's account: `parts` to these invoices, None to the oldest, the rest unapplied.

        Raises UnknownLine, WrongState for one that is matched, RuleError.
        """
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            found = await self._open_line(conn, line_id)
            if found.amount.minor <= 0:
                raise RuleError("money that left the account is no payment of a customer", code="bank-line-direction")
            await self._receive(conn, found, account_id, parts, actor)
            await self._audit(conn, found, actor, "bank-line.match", {"account_id": account_id})
            return await self._line(conn, line_id)

    async def book(self, line_id: str, code: str, *, reason: str, actor: str) -> BankLine:
        """Book a line that is no customer's to an account of the ledger: rent, interest, a supplier.

        Raises UnknownLine, WrongState, NoSuchAccount, ControlAccount.
        """
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            found = await self._open_line(conn, line_id)
            entity = await self._entity(conn, found)
            chart = await ledger.ensure_chart(conn, entity.entity_id)
            target = chart.account(code)
            if target.code in chart.headings:
                raise NoSuchAccount(f"{code} {target.name} is a heading")
            if target.control is not None:
                raise ControlAccount(f"{code} {target.name} is the sum of {target.control}")
            postings = (
                Posting(chart.code(BANK_LINES), found.amount),
                Posting(code, -found.amount),
            )
            await self._post(conn, entity, found, postings, reason)
            await self._matched(conn, found, "ledger", code, actor)
            await self._audit(conn, found, actor, "bank-line.book", {"code": code}, reason)
            return await self._line(conn, line_id)

    async def unmatch(self, line_id: str, *, reason: str, actor: str) -> BankLine:
        """Take back that a line was a customer's payment: the payment is void, its invoices open, the line, too.

        Raises UnknownLine, WrongState for one that is not matched with a payment, NotThatMuch when some went back.
        """
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            found = await self._line(conn, line_id)
            if found.state != MATCHED or found.matched != "payment":
                raise WrongState(f"line {line_id} is not matched with a payment")
            back = MoneyBack(
                PaymentId(found.subject), found.amount, "void", f"{line_id}/{found.matches}", BANK_LINES, reason
            )
            await self._settlement.reverse_in(conn, back, actor=actor)
            await repository.set_match(conn, line_id, OPEN, "", "", self._clock.now(), actor)
            await self._audit(conn, found, actor, "bank-line.unmatch", {"payment_id": found.subject}, reason)
            return await self._line(conn, line_id)

    # What is inside: reading

    async def _account_of(self, conn: AsyncConnection, statement: Statement) -> BankAccount:
        found = await repository.accounts(conn, iban=statement.iban)
        if not found:
            raise UnknownBankAccount(f"account {statement.iban} is none of ours: add it as a bank account first")
        if found[0].currency != statement.currency:
            raise FileRefused(f"statement {statement.ident} is in {statement.currency}, the account is not")
        return found[0]

    async def _is_known(self, conn: AsyncConnection, account: BankAccount, statement: Statement) -> bool:
        known = await repository.find_statement(conn, account.bank_account_id, statement.ident, statement.last_on)
        if known is None:
            return False
        if known.sha256 != _digest(statement):
            raise WrongState(
                f"statement {statement.ident} until {statement.last_on} was imported with other content",
                code="statement-differs",
            )
        return True

    async def _check_order(self, conn: AsyncConnection, account: BankAccount, statement: Statement) -> list[str]:
        """What is odd about it. Raises WrongState for entries that stand in another statement already."""
        refs = [line.bank_ref for line in statement.lines if line.bank_ref]
        seen = await repository.seen_refs(conn, account.bank_account_id, refs)
        twice = [li for li in statement.lines if (li.bank_ref, li.booked_on, li.amount.minor) in seen]
        if twice:
            raise WrongState(
                f"entry {twice[0].bank_ref} of statement {statement.ident} stands in an earlier statement already",
                code="entry-known",
            )
        before = await repository.closing_before(conn, account.bank_account_id, statement.first_on)
        assert statement.opening is not None, "a statement has balances"
        if before is not None and before != statement.opening.minor:
            closed = Money(before, account.currency)
            return [f"{statement.ident} opens with {statement.opening}, the one before closed with {closed}"]
        return []

    async def _add_file(
        self,
        conn: AsyncConnection,
        file_id: str,
        kind: str,
        sha256: bytes,
        name: str,
        statements: Sequence[Statement],
        now: datetime,
        actor: str,
        content: bytes | None = None,
    ) -> None:
        await repository.add_file(
            conn,
            {
                "file_id": file_id,
                "sha256": sha256,
                "name": name[:120],
                "kind": kind,
                "statements": len(statements),
                "lines": sum(len(s.lines) for s in statements),
                "content": content,
                "received_at": now,
                "actor": actor,
            },
        )

    async def _keep(
        self,
        conn: AsyncConnection,
        account: BankAccount,
        statement: Statement,
        file_id: str,
        now: datetime,
        actor: str,
    ) -> list[str]:
        assert statement.opening is not None
        assert statement.closing is not None
        entity = await self._crm_entity(conn, account.entity_id)
        statement_id = new_id(now)
        notes = await self._check_order(conn, account, statement)
        found = [_row(line, account, statement_id, now, actor) for line in statement.lines]
        await repository.add_statement(
            conn,
            {
                "statement_id": statement_id,
                "bank_account_id": account.bank_account_id,
                "file_id": file_id,
                "ident": statement.ident,
                "first_on": statement.first_on,
                "last_on": statement.last_on,
                "opening_minor": statement.opening.minor,
                "closing_minor": statement.closing.minor,
                "sha256": _digest(statement),
                "note": "; ".join(notes)[:300],
            },
            found,
        )
        chart = await ledger.ensure_chart(conn, entity.entity_id)
        closed = await ledger.closed_until(conn, entity.entity_id)
        today = local_date(now, entity.zone_info)
        entries = []
        for row in found:
            amount = Money(row["amount_minor"], account.currency)
            day: date = row["booked_on"]
            booked_on = day if day <= today and (closed is None or day >= closed) else today
            what = f"{row['party'] or row['remittance'] or row['kind']}"[:200]
            postings = journal.transfer(amount, chart, BANK, BANK_LINES)
            source = f"bank-line:{row['line_id']}"
            regards = None if booked_on == day else day
            entries.append(Entry(new_id(now), entity.entity_id, now, booked_on, what, source, postings, regards))
        await ledger.post(conn, entries)
        return [row["line_id"] for row in found]

    async def _notified(
        self, conn: AsyncConnection, parsed: camt.BankFile, raw: bytes, name: str, now: datetime, actor: str
    ) -> Imported:
        """A notification moves no balance: what it tells of direct debits that came back is booked, once.

        Where a statement has told the sum of a batch, its transactions take the place of the sum.
        """
        sha256 = hashlib.sha256(raw).digest()
        returned = lines = 0
        for statement in parsed.statements:
            account = await self._account_of(conn, statement)
            lines += len(statement.lines)
            detailed = await self._detail(conn, account, statement, now, actor)
            returned += await self._match_all(conn, detailed, actor)
            for line in statement.lines:
                if line.amount.minor < 0 and line.end_to_end:
                    for item in await sepa_rows.items(conn, item_id=line.end_to_end):
                        reason = line.return_reason or "returned"
                        returned += await self._sepa.give_back(conn, item, DIRECT_DEBITS, reason, None, actor)
        file_id = new_id(now)
        await self._add_file(conn, file_id, parsed.kind, sha256, name, parsed.statements, now, actor, raw)
        what = {"name": name, "lines": lines, "matched": returned}
        subject = f"bank-file:{file_id}"
        await audit.record(conn, now=now, actor=actor, action="bank-file.import", subject=subject, after=what)
        return Imported(file_id, parsed.kind, True, len(parsed.statements), lines, returned)

    async def _detail(
        self, conn: AsyncConnection, account: BankAccount, notice: Statement, now: datetime, actor: str
    ) -> list[str]:
        """Put the transactions of a notification in the place of sums that a statement told; the new lines."""
        made: list[str] = []
        for position in sorted({line.position for line in notice.lines}):
            parts = [line for line in notice.lines if line.position == position and line.kind != "batch"]
            total = sum((line.amount for line in parts), Money.zero(account.currency))
            found = await repository.open_batches(conn, account.bank_account_id, parts[0].bank_ref) if parts else []
            for batch in found if parts and parts[0].bank_ref else ():
                if batch.amount != total or len(parts) < 2:
                    continue
                rows = [
                    _row(line, account, batch.statement_id, now, actor)
                    | {"position": batch.position, "part": _DETAILS + line.part, "booked_on": batch.booked_on}
                    for line in parts
                ]
                await repository.add_lines(conn, rows)
                await self._matched(conn, batch, "details", f"{len(parts)} transactions", actor)
                made += [row["line_id"] for row in rows]
                break
        return made

    # What is inside: matching

    async def _match_all(self, conn: AsyncConnection, line_ids: Sequence[str], actor: str) -> int:
        found = []
        for start in range(0, len(line_ids), 500):
            found += await repository.lines(conn, ids=line_ids[start : start + 500])
        count = 0
        indexes: dict[str, OpenInvoices] = {}
        for line in found:
            (account,) = await repository.accounts(conn, bank_account_id=line.bank_account_id)
            if account.entity_id not in indexes:
                owed = await repository.open_invoices(conn, account.entity_id, account.currency)
                indexes[account.entity_id] = OpenInvoices(owed)
            count += await self._match_one(conn, line, indexes[account.entity_id], actor)
        return count

    async def _match_one(self, conn: AsyncConnection, line: BankLine, owed: OpenInvoices, actor: str) -> bool:
        """Book what is certain."""
        if line.kind == "charge" or (line.amount.minor < 0 and line.code.rpartition("/")[2] in _CHARGES):
            await self._transfer(conn, line, BANK_CHARGES, "charges", line.remittance or "charges", actor)
            return True
        if await self._match_debit(conn, line, actor):
            return True
        if line.amount.minor < 0:
            return False
        certain = owed.certain(line.amount, line.reference, line.remittance)
        if certain is None:
            return False
        await self._receive(conn, line, AccountId(certain.account_id), _parts(certain), actor)
        owed.settled(certain.parts)
        return True

    async def _match_debit(self, conn: AsyncConnection, line: BankLine, actor: str) -> bool:
        """Lines about files of ours: a collection that was credited, a direct debit that came back, a refund."""
        if line.amount.minor > 0:
            message = line.batch.rpartition("-")[0] or line.batch
            for found in await sepa_rows.collections(conn, message_id=message):
                if line.kind == "batch" and found.state == "sent":
                    await self._transfer(conn, line, DIRECT_DEBITS, "collection", found.collection_id, actor)
                    return True
            for item in await sepa_rows.items(conn, item_id=line.end_to_end) if line.end_to_end else ():
                if item.payment_id is not None and item.amount_minor == line.amount.minor:
                    await self._transfer(conn, line, DIRECT_DEBITS, "collection", item.collection_id, actor)
                    return True
            return False
        if not line.end_to_end:
            return False
        for item in await sepa_rows.items(conn, item_id=line.end_to_end):
            return await self._returned(conn, line, item, actor)
        for refund in await refund_rows.refunds(conn, refund_id=line.end_to_end):
            if refund.amount == -line.amount and refund.state == refund_rows.SENT:
                await self._transfer(conn, line, IN_TRANSIT, "refund", refund.refund_id, actor)
                await refund_rows.change(conn, refund.refund_id, refund_rows.DONE, self._clock.now())
                return True
        return False

    async def _returned(self, conn: AsyncConnection, line: BankLine, item: sepa_rows.Item, actor: str) -> bool:
        fee = Money(-line.amount.minor - item.amount_minor, line.amount.currency)
        if fee.minor < 0:
            return False
        reason = line.return_reason or "returned"
        claim = fee + await repository.charge_of(conn, line)
        if await self._sepa.give_back(conn, item, BANK_LINES, reason, fee or None, actor):
            await self._matched(conn, line, "return", item.item_id, actor)
            await self._sepa.claim_fee(conn, item, claim, reason, actor)
            return True
        if item.state not in (sepa_rows.RETURNED, sepa_rows.REJECTED):
            return False
        # A notification has told of it before: the money was taken from what is on its way, which is evened out here.
        entity = await self._entity(conn, line)
        chart = await ledger.ensure_chart(conn, entity.entity_id)
        postings = journal.without_zeros(
            (
                Posting(chart.code(DIRECT_DEBITS), Money(item.amount_minor, fee.currency)),
                Posting(chart.code(BANK_CHARGES), fee),
                Posting(chart.code(BANK_LINES), line.amount),
            )
        )
        await self._post(conn, entity, line, postings, f"return of {item.item_id}")
        await self._matched(conn, line, "return", item.item_id, actor)
        await self._sepa.claim_fee(conn, item, claim, reason, actor)
        return True

    async def _receive(
        self,
        conn: AsyncConnection,
        line: BankLine,
        account_id: AccountId,
        parts: Sequence[tuple[InvoiceId, Money]] | None,
        actor: str,
    ) -> None:
        entity = await self._entity(conn, line)
        at = datetime.combine(line.booked_on, time(12), entity.zone_info).astimezone(UTC)
        reference = f"{line.line_id}/{line.matches + 1}"
        came = MoneyIn(account_id, line.amount, METHOD, reference, min(at, self._clock.now()), BANK_LINES, parts)
        payment, _ = await self._settlement.receive_in(conn, came, actor=actor)
        await self._matched(conn, line, "payment", payment.payment_id, actor)

    async def _transfer(
        self, conn: AsyncConnection, line: BankLine, role: str, matched: str, subject: str, actor: str
    ) -> None:
        entity = await self._entity(conn, line)
        chart = await ledger.ensure_chart(conn, entity.entity_id)
        await self._post(conn, entity, line, journal.transfer(line.amount, chart, BANK_LINES, role), matched)
        await self._matched(conn, line, matched, subject, actor)

    async def _post(
        self, conn: AsyncConnection, entity: Entity, line: BankLine, postings: tuple[Posting, ...], what: str
    ) -> None:
        now = self._clock.now()
        source = f"bank-match:{line.line_id}/{line.matches + 1}"
        today = local_date(now, entity.zone_info)
        entry = Entry(new_id(now), entity.entity_id, now, today, what[:200], source, postings)
        await ledger.post(conn, [entry])

    async def _matched(self, conn: AsyncConnection, line: BankLine, matched: str, subject: str, actor: str) -> None:
        await repository.set_match(conn, line.line_id, MATCHED, matched, subject, self._clock.now(), actor)

    async def _line(self, conn: AsyncConnection, line_id: str) -> BankLine:
        found = await repository.lines(conn, line_id=line_id)
        if not found:
            raise UnknownLine(f"no bank line {line_id}")
        return found[0]

    async def _open_line(self, conn: AsyncConnection, line_id: str) -> BankLine:
        found = await self._line(conn, line_id)
        if found.state != OPEN:
            raise WrongState(f"line {line_id} is matched with {found.matched} {found.subject}")
        return found

    async def _entity(self, conn: AsyncConnection, line: BankLine) -> Entity:
        (account,) = await repository.accounts(conn, bank_account_id=line.bank_account_id)
        return await self._crm_entity(conn, account.entity_id)

    async def _crm_entity(self, conn: AsyncConnection, entity_id: EntityId) -> Entity:
        found = await parties.find_entity(conn, entity_id)
        assert found is not None, "an account's entity is kept with it"
        return found

    async def _in_ledger(self, conn: AsyncConnection, account: BankAccount) -> Money:
        chart = await ledger.chart(conn, account.entity_id)
        span = ledger.Span(account.entity_id, currency=account.currency)
        found = [b.balance for b in await ledger.balances(conn, span) if b.code == chart.code(BANK)]
        return found[0] if found else Money.zero(account.currency)

    async def _audit(
        self,
        conn: AsyncConnection,
        line: BankLine,
        actor: str,
        action: str,
        after: dict[str, object],
        reason: str | None = None,
    ) -> None:
        now, subject = self._clock.now(), f"bank-line:{line.line_id}"
        what = {"amount": str(line.amount), **after}
        await audit.record(conn, now=now, actor=actor, action=action, subject=subject, after=what, reason=reason)


def _parts(certain: Match) -> list[tuple[InvoiceId, Money]]:
    return [(InvoiceId(invoice_id), part) for invoice_id, part in certain.parts]


def _row(line: Line, account: BankAccount, statement_id: str, now: datetime, actor: str) -> dict[str, Any]:
    return {
        "line_id": new_id(now),
        "bank_account_id": account.bank_account_id,
        "statement_id": statement_id,
        "position": line.position,
        "part": line.part,
        "booked_on": line.booked_on,
        "value_on": line.value_on,
        "amount_minor": line.amount.minor,
        "currency": line.amount.currency,
        "kind": line.kind,
        "end_to_end": line.end_to_end,
        "reference": line.reference,
        "batch": line.batch,
        "bank_ref": line.bank_ref,
        "code": line.code,
        "return_reason": line.return_reason,
        "remittance": line.remittance,
        "party": line.party,
        "party_iban": line.party_iban,
        "state": OPEN,
        "matched": "",
        "subject": "",
        "matches": 0,
        "changed_at": now,
        "actor": actor,
    }


def _digest(statement: Statement) -> bytes:
    """Of what a statement says, however its file says it."""
    lines = [[str(getattr(line, name)) for name in Line.__slots__] for line in statement.lines]
    said = [statement.ident, statement.iban, str(statement.opening), str(statement.closing), lines]
    return hashlib.sha256(json.dumps(said).encode()).digest()
