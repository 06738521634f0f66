"""Bank files imported once: all of a file or nothing, every line posted, then identified as far as it is certain.

The same file, or the same statement in another file, changes nothing; one that says something else under the same name,
or repeats entries of an earlier one, is refused. A notification moves no balance: it tells of what comes back, and of
what a batch is made of.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock, local_date
from controller.domain.errors import RuleError
from controller.domain.identity import new_id
from controller.domain.money import Money
from controller.store import audit
from controller.store.engine import Database
from erp.finance import ledger
from erp.finance.chart import BANK_LINES, DIRECT_DEBITS
from erp.finance.journal import Entry, Posting
from erp.payments.bank import archive, camt, repository
from erp.payments.bank.camt import Line, Statement
from erp.payments.bank.identify import Identification
from erp.payments.bank.matching import OpenInvoices
from erp.payments.bank.own import ledger_code
from erp.payments.bank.repository import NEW, BankAccount
from erp.payments.errors import FileRefused, UnknownBankAccount, WrongState
from erp.payments.sepa import rows as sepa_rows
from erp.payments.sepa.report import is_report
from erp.payments.sepa.service import SepaService
from erp.payments.settings import PaymentsSettings

_DETAILS = 1_000_000
"""Parts of a line that a notification told begin here."""
_NOTICE_HOLDS = timedelta(days=45)
"""How long a notification may be older than the statement that it details."""


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
class Member:
    """What came of one file of an archive: `imported`, how many items a report `rejected`, or why it was refused."""

    name: str
    imported: Imported | None = None
    refused: str = ""
    rejected: int | None = None


class StatementReader:
    """The one writer of files and statements."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        identify: Identification,
        sepa: SepaService,
        settings: PaymentsSettings,
    ) -> None:
        self._database = database
        self._clock = clock
        self._identify = identify
        self._sepa = sepa
        self._settings = settings

    async def look(self, *, actor: str = "system:payments") -> int:
        """Identify every new line, as far as it is certain; how many are matched."""
        indexes: dict[tuple[str, str], OpenInvoices] = {}
        count = 0
        while True:
            async with self._database.begin() as conn:
                await ledger.lock_books(conn)
                seen, matched = await self._identify.look(conn, indexes, actor)
            count += matched
            if not seen:
                return count

    async def read(self, raw: bytes, name: str, *, actor: str) -> Imported:
        """Import a file: all of it or nothing. Its lines are looked at afterwards, a few at a time.

        A process that dies between leaves them new: `look` goes on with them. Raises FileRefused, UnknownBankAccount,
        WrongState for what was told before in other words.
        """
        stored = await self._store(raw, name, actor)
        matched = await self.look(actor=actor)
        return replace(stored, matched=stored.matched + matched)

    async def read_archive(self, raw: bytes, name: str, *, actor: str) -> list[Member]:
        """Import each file of a ZIP archive for itself, in the order of their names; what came of each.

        A pain.002 among them is read as such. What is imported stays so when another is refused, and changes nothing
        when the archive is sent again. Raises FileRefused for what is no archive, or one of too many files.
        """
        packed = archive.members(raw, self._settings.bank_file_octets)
        found: list[Member] = []
        while (member := await asyncio.to_thread(next, packed, None)) is not None:
            title, content = member
            try:
                if isinstance(content, FileRefused):
                    raise content
                found.append(await self._member(title, content, name, actor))
            except RuleError as error:
                found.append(Member(title, refused=str(error)))
        return found

    async def _member(self, title: str, content: bytes, name: str, actor: str) -> Member:
        if is_report(content):
            return Member(title, rejected=await self._sepa.report(content, actor=actor))
        return Member(title, await self.read(content, f"{name}: {title}"[:120], actor=actor))

    async def _store(self, raw: bytes, name: str, actor: str) -> Imported:
        parsed = await self._parsed(raw)
        sha256 = hashlib.sha256(raw).digest()
        now = self._clock.now()
        untold = any(not line.is_told for statement in parsed.statements for line in statement.lines)
        notices = await self._notices(now) if untold else {}
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
            if any(not line.is_told for _, statement in fresh for line in statement.lines):
                for told in await repository.notices(conn, now - _NOTICE_HOLDS):
                    # One that came since they were read, above, is the only one to be read while others wait.
                    for notice in (notices.get(told) or await self._parsed(told)).statements:
                        account = await self._account_of(conn, notice)
                        kept += await self._detail(conn, account, notice, now, actor)
            what = {"name": name, "statements": len(fresh), "lines": len(kept)}
            subject = f"bank-file:{file_id}"
            await audit.record(conn, now=now, actor=actor, action="bank-file.import", subject=subject, after=what)
        return Imported(file_id, parsed.kind, bool(fresh), len(fresh), len(kept), 0, tuple(notes))

    async def _parsed(self, raw: bytes) -> camt.BankFile:
        """Large files take seconds: beside the event loop, which answers RADIUS meanwhile. Raises FileRefused."""
        return await asyncio.to_thread(camt.parse, raw, self._settings.bank_file_octets)

    async def _notices(self, now: datetime) -> dict[bytes, camt.BankFile]:
        """What notifications said, by their octets; read before the books are locked."""
        async with self._database.read() as conn:
            told = await repository.notices(conn, now - _NOTICE_HOLDS)
        return {raw: await self._parsed(raw) for raw in told}

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
        assert statement.opening is not None, "a statement has balances"
        await self._check_overlap(conn, account, statement)
        before = await repository.closing_before(conn, account.bank_account_id, statement.first_on)
        if before is not None and before != statement.opening.minor:
            closed = Money(before, account.currency)
            return [f"{statement.ident} opens with {statement.opening}, the one before closed with {closed}"]
        return []

    async def _check_overlap(self, conn: AsyncConnection, account: BankAccount, statement: Statement) -> None:
        """Refuse entries without a bank's reference that a statement of the same days has told, word for word.

        Statements that follow each other within a day do so by their balances; what repeats some days of others begins
        or ends where one of those does.
        """
        assert statement.opening is not None
        assert statement.closing is not None
        others = await repository.overlapping(conn, account.bank_account_id, statement.first_on, statement.last_on)
        opening, closing = statement.opening.minor, statement.closing.minor
        follows = any(opening == ended or closing == began for began, ended in others.values())
        repeats = any(opening == began or closing == ended for began, ended in others.values())
        if not others or (follows and not repeats):
            return
        told = await repository.told_without_ref(conn, list(others))
        for line in statement.lines:
            said = line.booked_on, line.amount.minor, line.end_to_end, line.remittance
            if not line.bank_ref and said in told:
                raise WrongState(
                    f"an entry of {line.amount} of statement {statement.ident} stands in an earlier statement already",
                    code="entry-known",
                )

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
        entity = await self._identify.entity_of(conn, account.entity_id)
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
            postings = (Posting(ledger_code(chart, account), amount), Posting(chart.code(BANK_LINES), -amount))
            source = f"bank-line:{row['line_id']}"
            regards = None if booked_on == day else day
            entries.append(Entry(new_id(now), entity.entity_id, now, booked_on, what, source, postings, regards))
        await ledger.post(conn, entries)
        return [row["line_id"] for row in found]

    async def _notified(
        self, conn: AsyncConnection, parsed: camt.BankFile, raw: bytes, name: str, now: datetime, actor: str
    ) -> Imported:
        """A notification moves no balance: what it tells of direct debits that came back is booked, once.

        Where a statement has told a sum alone, its transactions, or the one that it is, take the place of the sum.
        """
        sha256 = hashlib.sha256(raw).digest()
        returned = lines = 0
        for statement in parsed.statements:
            account = await self._account_of(conn, statement)
            lines += len(statement.lines)
            await self._detail(conn, account, statement, now, actor)
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
        """Put the transactions of a notification in the place of what a statement told as a sum; the new lines."""
        made: list[str] = []
        for position in sorted({line.position for line in notice.lines}):
            parts = [line for line in notice.lines if line.position == position and line.kind != "batch"]
            total = sum((line.amount for line in parts), Money.zero(account.currency))
            if not parts or not parts[0].bank_ref or not any(line.is_told or line.remittance for line in parts):
                continue
            for batch in await repository.open_untold(conn, account.bank_account_id, parts[0].bank_ref):
                if batch.amount != total:
                    continue
                rows = [
                    _row(line, account, batch.statement_id, now, actor)
                    | {"position": batch.position, "part": _DETAILS + line.part, "booked_on": batch.booked_on}
                    for line in parts
                ]
                await repository.add_lines(conn, rows)
                await self._identify.matched(conn, batch, "details", f"{len(parts)} transactions", actor)
                made += [row["line_id"] for row in rows]
                break
        return made


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
        "state": NEW,
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
