"""Payments as wiring puts them together, over the books of tests.support.finance."""

from __future__ import annotations

import secrets as random_secrets
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from controller.domain.identity import InvoiceId
from controller.domain.money import Money
from controller.domain.ports import Secret
from controller.store.engine import Database
from controller.store.secrets import SecretBox
from erp.finance import receivables
from erp.finance.control import ControlAccounts
from erp.payments import subledgers
from erp.payments.room import PaymentsRoom
from erp.payments.settings import PaymentsSettings
from lab.stripe import StripeEmulator
from tests.support.finance import Books, made_entity

WEBHOOK_SECRET = "whsec_test_of_the_lab"
API_KEY = "sk_test_of_the_lab"


def euro(amount: str) -> Money:
    return Money.exact(amount, "EUR")


async def no_pause(_seconds: float) -> None:
    """Retries do not wait in tests."""


class Till(Books):
    """The books, and who brings money to them. `stripe` is a gateway of the lab's, its clock ours."""

    def __init__(self, database: Database, box: SecretBox | None = None) -> None:
        super().__init__(database)
        kept = box or SecretBox([random_secrets.token_bytes(32)])
        self.room = PaymentsRoom(
            database, self.clock, kept, self.crm, self.finance, PaymentsSettings(request_timeout_s=0.5), sleep=no_pause
        )
        self.stripe = StripeEmulator(API_KEY, WEBHOOK_SECRET, int(self.clock.now().timestamp()))

    @property
    def control(self) -> ControlAccounts:
        return ControlAccounts(
            self.database, self.clock, self.crm, self.books, subledgers.SUBLEDGERS, [subledgers.by_hand]
        )

    async def gateway(self, api_base: str = "http://127.0.0.1:9", secret: str = WEBHOOK_SECRET) -> None:
        await self.room.gateways.put(
            "stripe", webhook_secret=Secret(secret), api_key=Secret(API_KEY), api_base=api_base, actor="user:test"
        )

    async def deliver(self, event: dict[str, Any]) -> bool:
        """A webhook as it comes; whether it was new."""
        at = int(self.clock.now().timestamp())
        body, header = self.stripe.signed(event, at)
        return await self.room.inbox.receive("stripe", body, header)

    async def hear(self) -> None:
        """Every event there is, again, and what is to be done about them."""
        for event in self.stripe.events:
            await self.deliver(event)
        await self.room.inbox.drain()

    async def open_of(self, invoice_id: InvoiceId) -> int:
        return (await self.finance.invoice(invoice_id)).open_minor

    async def told(self) -> list[tuple[str, str]]:
        """(type, state) of every event, oldest first."""
        found = await self.room.inbox.events(state=None, before=None, limit=500)
        return [(e.type, e.state) for e in reversed(found)]

    async def balance(self, code: str) -> int:
        found = {b.code: b.balance.minor for b in await self.books.trial_balance()}
        return found.get(code, 0)

    async def later(self, **passed: float) -> None:
        self.clock.move_to(self.clock.now() + timedelta(**passed))

    async def assert_sound(self) -> None:
        """Open items are the receivables account, and everything balances."""
        entity = await self.crm.entity()
        async with self.database.read() as conn:
            found = await receivables.totals(conn, entity.entity_id, await self.books.today())
        assert sum(t.total.minor for t in found) == await self.balance("1200")
        assert sum(b.balance.minor for b in await self.books.trial_balance()) == 0


@pytest.fixture
async def till(database: Database) -> AsyncIterator[Till]:
    made = Till(database)
    await made_entity(made)
    try:
        yield made
        await made.assert_controlled()
    finally:
        await made.room.close()
