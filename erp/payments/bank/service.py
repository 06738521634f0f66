"""Our bank accounts and the lines of their statements: what they say, and what a person says that they are.

A line is posted when it is imported, against "bank lines to be identified": the bank account in the ledger is what the
bank says, and what is not identified yet is the balance of that account, line by line with its age.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy.ext.asyncio import AsyncConnection
from stdnum.eu import at_02

from controller.domain.clock import Clock
from controller.domain.errors import RuleError
from controller.domain.identity import AccountId, EntityId, InvoiceId, PaymentId, new_id
from controller.domain.money import Money
from controller.store import audit
from controller.store.engine import Database
from erp.crm.service import CrmService
from erp.finance import ledger
from erp.finance.chart import BANK, BANK_LINES, Account, Chart
from erp.finance.errors import ControlAccount, NoSuchAccount
from erp.finance.journal import Posting
from erp.finance.settlement import MoneyBack, Settlement
from erp.payments.bank import repository
from erp.payments.bank.identify import Identification
from erp.payments.bank.matching import OpenInvoices, Proposal
from erp.payments.bank.own import ledger_code, role_of
from erp.payments.bank.repository import MATCHED, OPEN, BankAccount, BankLine, KeptStatement
from erp.payments.errors import UnknownBankAccount, UnknownLine, WrongState
from erp.payments.sepa.days import checked_account


@dataclass(frozen=True, slots=True)
class Position:
    """A bank account: the last closing balance, what its ledger account says, and what is not identified yet."""

    account: BankAccount
    ledger_code: str
    last_on: date | None
    closing: Money
    ledger: Money
    unidentified: Money
    open_lines: int


class BankService:
    """The one writer of bank accounts, and of matches by hand."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        crm: CrmService,
        settlement: Settlement,
        identify: Identification,
    ) -> None:
        self._database = database
        self._clock = clock
        self._crm = crm
        self._settlement = settlement
        self._identify = identify

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

    async def set_ledger_account(self, bank_account_id: str, code: str | None, *, actor: str) -> None:
        """Post its lines to an account of their own from now on, which is made where it is not there; None: to BANK.

        What was posted before stays where it is. Raises UnknownBankAccount, NoSuchAccount, ControlAccount, WrongState
        for an account that plays another role, RuleError for one that is no asset.
        """
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            found = await repository.accounts(conn, bank_account_id=bank_account_id)
            if not found:
                raise UnknownBankAccount(f"no bank account {bank_account_id}")
            (account,) = found
            chart = await ledger.ensure_chart(conn, account.entity_id)
            role = role_of(account)
            if code is not None and code not in chart.accounts:
                above = chart.account(chart.code(BANK))
                made = Account(code, f"Bank, {account.iban[-4:]} {account.name}"[:80], above.kind, above.parent)
                await ledger.add_account(conn, account.entity_id, made)
            elif code is not None:
                _require_own(chart, code, role)
            await ledger.set_role(conn, account.entity_id, None if code == chart.code(BANK) else code, role)
            await audit.record(
                conn,
                now=self._clock.now(),
                actor=actor,
                action="bank-account.ledger",
                subject=f"bank-account:{bank_account_id}",
                before={"code": ledger_code(chart, account)},
                after={"code": code or chart.code(BANK)},
            )

    async def positions(self) -> list[Position]:
        """Every account with its balance at the bank and in the ledger (where those without their own share one)."""
        async with self._database.read() as conn:
            found = []
            waiting = await repository.lines(conn, state=OPEN)
            for account in await repository.accounts(conn):
                last = await repository.statements(conn, account.bank_account_id, 1)
                own = [line for line in waiting if line.bank_account_id == account.bank_account_id]
                zero = Money.zero(account.currency)
                found.append(
                    Position(
                        account,
                        ledger_code(await ledger.chart(conn, account.entity_id), account),
                        last[0].last_on if last else None,
                        last[0].closing if last else zero,
                        await self._in_ledger(conn, account),
                        sum((line.amount for line in own), zero),
                        len(own),
                    )
                )
        return found

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
            if found.state == MATCHED or found.amount.minor <= 0:
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
            await self._identify.receive(conn, found, account_id, parts, actor)
            await self._audit(conn, found, actor, "bank-line.match", {"account_id": account_id})
            return await self._line(conn, line_id)

    async def book(self, line_id: str, code: str, *, reason: str, actor: str) -> BankLine:
        """Book a line that is no customer's to an account of the ledger: rent, interest, a supplier.

        Raises UnknownLine, WrongState, NoSuchAccount, ControlAccount.
        """
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            found = await self._open_line(conn, line_id)
            entity = await self._identify.entity(conn, found)
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
            await self._identify.post(conn, entity, found, postings, reason)
            await self._identify.matched(conn, found, "ledger", code, actor)
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

    async def _line(self, conn: AsyncConnection, line_id: str) -> BankLine:
        found = await repository.lines(conn, line_id=line_id)
        if not found:
            raise UnknownLine(f"no bank line {line_id}")
        return found[0]

    async def _open_line(self, conn: AsyncConnection, line_id: str) -> BankLine:
        found = await self._line(conn, line_id)
        if found.state == MATCHED:
            raise WrongState(f"line {line_id} is matched with {found.matched} {found.subject}")
        return found

    async def _in_ledger(self, conn: AsyncConnection, account: BankAccount) -> Money:
        chart = await ledger.chart(conn, account.entity_id)
        span = ledger.Span(account.entity_id, currency=account.currency)
        code = ledger_code(chart, account)
        found = [b.balance for b in await ledger.balances(conn, span) if b.code == code]
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


def _require_own(chart: Chart, code: str, role: str) -> None:
    """Whether an account of the ledger may stand for one bank account."""
    found = chart.account(code)
    if code in chart.headings:
        raise NoSuchAccount(f"{code} {found.name} is a heading")
    if found.control is not None:
        raise ControlAccount(f"{code} {found.name} is the sum of {found.control}")
    if found.role not in (None, role, BANK):
        raise WrongState(f"{code} {found.name} is the account for {found.role}: name another", code="ledger-role")
    if found.kind != chart.account(chart.code(BANK)).kind:
        raise RuleError(f"{code} {found.name} is of kind {found.kind}: a bank account is an asset", code="ledger-kind")
