"""Finance as wiring puts it together, with a legal entity, customers, charges and a movable clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select, text

from controller.domain.charge import Charge, ChargeKind
from controller.domain.clock import MovableClock
from controller.domain.identity import (
    AccountId,
    BillRunId,
    ChargeId,
    InvoiceId,
    OfferingVersionId,
    ServiceId,
    SubscriptionId,
    new_id,
)
from controller.domain.money import Money
from controller.store.engine import Database
from erp.crm.model import Contact
from erp.crm.service import CrmService
from erp.finance.books import BooksService
from erp.finance.control import ControlAccounts
from erp.finance.journal import Entry, Posting
from erp.finance.revenue import RevenueService
from erp.finance.service import FinanceService
from erp.finance.settings import FinanceSettings
from erp.finance.tables import invoice
from erp.finance.taxes import TaxService

NOW = datetime(2026, 11, 1, 6, tzinfo=UTC)


class Books:
    BEGINS = NOW

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = MovableClock(self.BEGINS)
        self.crm = CrmService(database, self.clock)
        self.finance = FinanceService(database, self.clock, self.crm, FinanceSettings(iban="DE02120300000000202051"))
        self.books = BooksService(database, self.clock, self.crm)
        self.revenue = RevenueService(database, self.clock, self.crm)
        self.tax = TaxService(database, self.clock, self.crm)
        self.corrections = self.finance.corrections
        self.is_sound = True
        """Whether its subledgers are what the books say; a test that breaks that says so."""

    @property
    def control(self) -> ControlAccounts:
        """The comparison of every night."""
        return ControlAccounts(self.database, self.clock, self.crm, self.books)

    async def assert_controlled(self) -> None:
        """Every subledger is its account."""
        if self.is_sound:
            found = await self.control.look()
            assert [(c.name, c.subledger, c.by_hand, c.ledger) for c in found] == []

    async def account(self, name: str = "Erika Beispiel", language: str = "") -> AccountId:
        contact = Contact(name, address="Hauptstraße 5\n20095 Hamburg", language=language)
        return (await self.crm.create_customer(contact, actor="user:test")).account.account_id

    def charge(
        self,
        account_id: AccountId,
        net: str = "30.00",
        kind: ChargeKind = ChargeKind.RECURRING,
        days: Sequence[date] = (date(2026, 11, 1), date(2026, 11, 30)),
        **known: Any,
    ) -> Charge:
        first_on, until_on = days
        made = Charge(
            ChargeId(new_id(NOW)),
            BillRunId("run"),
            account_id,
            SubscriptionId(new_id(NOW)),
            ServiceId(new_id(NOW)),
            OfferingVersionId(new_id(NOW)),
            kind,
            first_on,
            until_on,
            "Fibre 100: monthly fee",
            Decimal(1),
            "month",
            Decimal("30.00"),
            Money.exact(net, "EUR"),
            Decimal(19),
            "Fibre 100",
        )
        return replace(made, **known)

    async def issue(self, account_id: AccountId, *nets: str) -> InvoiceId:
        run = BillRunId(new_id(NOW))
        (made,) = await self.finance.issue(run, [self.charge(account_id, net) for net in nets or ("30.00",)])
        return made

    async def pay(self, account_id: AccountId, amount: str, reference: str) -> tuple[str, Money]:
        paid, _ = await self.finance.receive(
            account_id=account_id,
            amount=Money.exact(amount, "EUR"),
            method="bank-transfer",
            reference=reference,
            received_at=None,
            actor="user:test",
        )
        return paid.payment_id, paid.unapplied

    async def numbers(self) -> list[str]:
        async with self.database.read() as conn:
            return sorted(await conn.scalars(select(invoice.c.number)))


async def made_entity(books: Books) -> None:
    """The legal entity, in whose zone the days are counted."""
    await books.crm.ensure_entity(
        name="Testnetz GmbH",
        zone="Europe/Berlin",
        currency="EUR",
        locale="de_DE",
        address="Kabelweg 1\n10115 Berlin",
        tax_id="DE123456788",
    )


async def manual(
    books: Books, reference: str, debit: str, credit: str, amount: str, booked_on: date | None = None
) -> Entry:
    """An entry by hand between two accounts."""
    euro = Money.exact(amount, "EUR")
    return await books.books.post(
        reference=reference,
        description=reference,
        postings=[Posting(debit, euro), Posting(credit, -euro)],
        booked_on=booked_on,
        actor="user:anna",
    )


async def past_the_triggers(database: Database, statement: str) -> None:
    """What somebody does who owns the database and means it."""
    async with database.begin() as conn:
        if database.is_sqlite:
            for name in list(await conn.scalars(text("SELECT name FROM sqlite_master WHERE type = 'trigger'"))):
                await conn.execute(text(f"DROP TRIGGER {name}"))
        else:
            await conn.execute(text("SET session_replication_role = replica"))
        await conn.execute(text(statement))
        if not database.is_sqlite:
            await conn.execute(text("SET session_replication_role = origin"))


@pytest.fixture
async def books(database: Database) -> AsyncIterator[Books]:
    """Whatever a test did to them, its subledgers are their accounts at its end."""
    made = Books(database)
    await made_entity(made)
    yield made
    await made.assert_controlled()
