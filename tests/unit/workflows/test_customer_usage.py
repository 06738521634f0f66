"""A customer's own usage: in the language of the account's documents, and each invoice looked for once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

from billing_bridge.billing.accounts import AccountBilling
from billing_bridge.reading import BillingReader
from billing_bridge.settings import BillingSettings
from controller.domain.identity import BillRunId
from controller.store.engine import Database
from controller.workflows.customer_usage import CustomerMonth, CustomerUsage
from erp.crm.model import Contact
from erp.crm.usage_links import UsageLinks
from erp.finance.run_proof import IssuedDraft
from erp.finance.service import FinanceService
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BERLIN, BillingWorld, berlin

PLAN = "a" * 32


class Asked(FinanceService):
    """The same ledger, which keeps what it was asked for."""

    def __init__(self, world: BillingWorld) -> None:
        self.__dict__ |= world.finance.__dict__
        self.runs: list[str] = []

    async def documents_of(self, bill_run_id: BillRunId, accounts: Sequence[str] | None = None) -> list[IssuedDraft]:
        self.runs.append(bill_run_id)
        return await super().documents_of(bill_run_id, accounts)


async def opened(world: BillingWorld, language: str, lines: int) -> tuple[CustomerMonth, Asked]:
    """September of an account with so many lines, each of which was used and billed in October."""
    await world.entity()
    await world.launch()
    contact = Contact("Łucja", language=language)
    account = (await world.crm.create_customer(contact, actor="user:test")).account.account_id
    for _ in range(lines):
        line = await world.activate(PLAN, account)
        at = berlin(2026, 9, 2, 9)
        await world.account_for(line, *((at + timedelta(hours=30 * n), n * 10**9, n * 10**9) for n in range(20)))
    world.clock.move_to(berlin(2026, 10, 1, 6))
    await world.bill()
    links, finance = UsageLinks(world.database, world.clock), Asked(world)
    accounts = AccountBilling(world.database, world.clock, world.crm, BillingSettings(zone=BERLIN))
    own = CustomerUsage(links, world.crm, accounts, BillingReader(world.database), finance)
    _, secret = await links.make(account, 30, actor="user:test")
    return await own.opened(secret, date(2026, 9, 1)), finance


def billing(database: Database, directory: Path) -> BillingWorld:
    made = tariff(PLAN, "30.00", included=0, overage="0.05")
    return BillingWorld(database, directory, [replace(made, names=(("pl", "Światłowód"),))], berlin(2026, 9, 1, 9))


async def test_an_invoice_is_asked_for_once_however_many_of_its_lines_there_are(
    database: Database, tmp_path: Path
) -> None:
    world = billing(database, tmp_path)
    try:
        month, finance = await opened(world, "pl-PL", 3)
        billed = [line for used in month.services for line in used.billed]
        assert len(billed) == 3
        assert len({line.number for line in billed}) == 1
        assert billed[0].number is not None
        assert len(finance.runs) == 1
        assert month.locale == "pl_PL"
        assert {used.name for used in month.services} | {line.item for line in billed} == {"Światłowód"}
    finally:
        await world.close()


async def test_who_named_no_language_reads_that_of_the_legal_entity(database: Database, tmp_path: Path) -> None:
    world = billing(database, tmp_path)
    try:
        month, _ = await opened(world, "", 1)
        assert month.locale == "de_DE"
        assert [used.name for used in month.services] == ["Fibre 100"]
    finally:
        await world.close()
