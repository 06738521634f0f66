"""Documents about to be issued: how their lines are taxed, their parties, numbers, postings and what settles them.

Three steps. `addressed` decides amounts and may ask a tax service over the network, and `prepared` makes all that needs
no number: neither holds a lock. `issue_in` runs in the caller's transaction, who has the books or these accounts for
himself: it writes all of a document at once, and takes the numbers late, since all others wait for the next ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import groupby

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.charge import Charge
from controller.domain.identity import BillRunId, EntityId, new_id
from controller.store import audit, outbox
from controller.store.engine import Database
from controller.store.turns import in_turns
from erp.crm import repository as parties
from erp.crm.model import Entity
from erp.crm.service import CrmService
from erp.finance import contracts, deferral, ledger, repository, taxes
from erp.finance.issue import (
    LINE_COLUMNS,
    Addressed,
    Booked,
    Issue,
    Prepared,
    earning_rows,
    entry_of,
    invoice_row,
    issued,
    levy_rows,
    prepared,
)
from erp.finance.levies import LevyAdapter, LevyLine, LevyRequest
from erp.finance.model import CREDIT_NOTE, DEBIT_NOTE, Draft, Levy, Open, draft, settle, split_by_account
from erp.finance.settings import FinanceSettings
from erp.finance.tax import TaxTable


class Issuer:
    def __init__(self, database: Database, crm: CrmService, settings: FinanceSettings, levies: LevyAdapter) -> None:
        self._database = database
        self._crm = crm
        self._settings = settings
        self._levies = levies

    @property
    def asks_a_peer(self) -> bool:
        """Whether `addressed` waits for an answer over the network."""
        return self._levies.asks_a_peer

    async def addressed(self, charges: Sequence[Charge]) -> list[Addressed]:
        """The document of each account and currency, its lines taxed. Raises LevyUnavailable, NoAccount."""
        split = split_by_account(charges)
        async with self._database.read() as conn:
            buyers = await self._crm.customers_of_in(conn, {account_id for account_id, _ in split})
            entities = {i: await entity_of(conn, i) for i in sorted({b.entity_id for b in buyers.values()})}
            tables = {i: await taxes.table(conn, i, buyers) for i in entities}
        found = []
        async for (account_id, _), own in in_turns(split.items()):
            buyer = buyers[account_id]
            taxed = tables[buyer.entity_id].apply(own)
            found.append(Addressed(self._draft(taxed), entities[buyer.entity_id], buyer, tuple(taxed)))
        async with self._database.read() as conn:
            found = [await _with_originals(conn, a) for a in found]
        levied = await self._levies.levies([_request(a, tables[a.seller.entity_id]) for a in found])
        return [self._with_levies(a, levies) for a, levies in zip(found, levied, strict=True)]

    def _with_levies(self, found: Addressed, levies: Sequence[Levy]) -> Addressed:
        if not levies:
            return found
        return replace(found, document=self._draft(found.taxed, levies))

    def _draft(self, taxed: Sequence[Charge], levies: Sequence[Levy] = ()) -> Draft:
        return draft(taxed, self._settings.tax_rounding, levies, each_line=self._settings.tax_each_line)

    async def prepared(self, due: Sequence[Addressed], now: datetime) -> list[Prepared]:
        """What `issue_in` takes, with ids and days of the instant `now`."""
        return [prepared(a, now, iban=self._settings.iban_of(a.seller)) async for a in in_turns(due)]

    async def issue_in(
        self, conn: AsyncConnection, bill_run_id: BillRunId, due: Sequence[Prepared], now: datetime, actor: str
    ) -> list[Issue]:
        """Number, write, post, settle and tell. The caller has the books, or these accounts, for himself."""
        matched = await self._matched(conn, due)
        booked = await self._booked(conn, due, now)
        await _add_lines(conn, [p for p in due if not p.addressed.credits])
        issues = await self._numbered(conn, booked)
        await self._write(conn, bill_run_id, issues, matched, now)
        days = {f"invoice:{i.invoice_id}": i.prepared.issued_on for i in issues}
        by_credit = {f"{CREDIT_NOTE}:{i.invoice_id}": i.prepared.issued_on for i in issues}
        for applied_on in sorted({*days.values()}):
            some = [m for m in matched if (days.get(m[0]) or by_credit.get(m[1])) == applied_on]
            await repository.add_allocations(conn, some, now, applied_on)
        await audit.record_all(conn, [_change(issue) for issue in issues], now=now, actor=actor)
        await outbox.append(conn, *(issued(issue, now, actor) for issue in issues))
        return issues

    async def _booked(self, conn: AsyncConnection, due: Sequence[Prepared], now: datetime) -> list[Booked]:
        """Give each document its postings, in the order in which they are numbered."""
        entity_ids = sorted({p.seller.entity_id for p in due})
        charts = {entity_id: await ledger.ensure_chart(conn, entity_id) for entity_id in entity_ids}
        contract_of = await contracts.of_subscriptions(conn, [c for p in due for c in p.document.charges])
        positions = await contracts.positions(conn, set(contract_of.values()))
        found = []
        async for p in in_turns(sorted(due, key=lambda p: (p.seller.entity_id, self._series(p)))):
            chart = charts[p.seller.entity_id]
            later = deferral.apart(p.document.charges, p.waiting, contract_of)
            postings = deferral.postings(p.document, chart, later, positions)
            found.append(Booked(p, new_id(now) if postings else None, postings, later, chart))
        return found

    async def _numbered(self, conn: AsyncConnection, booked: Sequence[Booked]) -> list[Issue]:
        """Give each document the next number of its series."""
        issues: list[Issue] = []
        of_series = groupby(booked, lambda b: (b.prepared.seller.entity_id, self._series(b.prepared)))
        for (entity_id, series), group in of_series:
            members = list(group)
            first = await repository.take_numbers(conn, entity_id, series, len(members))
            issues += [Issue(b, f"{series}-{n:06d}", series, n) for n, b in enumerate(members, first)]
        return issues

    def _series(self, found: Prepared) -> str:
        settings = self._settings
        prefix = {
            CREDIT_NOTE: settings.credit_note_series,
            DEBIT_NOTE: settings.debit_note_series,
        }.get(found.document.kind) or settings.invoice_series
        return f"{prefix}-{found.issued_on.year}"

    async def _matched(self, conn: AsyncConnection, due: Sequence[Prepared]) -> list[tuple[str, str, int]]:
        """Which credits (payments, credit notes, these among them) settle which invoices, once these are written."""
        found = []
        for currency in sorted({p.document.total.currency for p in due}):
            mine = [p for p in due if p.document.total.currency == currency]
            items = await repository.open_items(conn, [p.buyer.account.account_id for p in mine], currency)
            for p in mine:
                invoices, credits = items[p.buyer.account.account_id]
                minor = p.document.total.minor
                if minor > 0:
                    own = Open(f"invoice:{p.invoice_id}", minor)
                    taken = _first(own, f"{CREDIT_NOTE}:{p.addressed.settles}", credits, invoices)
                    found += [(claim, credit, part) for credit, claim, part in taken]
                elif minor < 0:
                    own = Open(f"{CREDIT_NOTE}:{p.invoice_id}", -minor)
                    found += _first(own, f"invoice:{p.addressed.settles}", invoices, credits)
            found += [m for invoices, credits in items.values() for m in settle(invoices, credits)]
        return found

    async def _write(
        self,
        conn: AsyncConnection,
        bill_run_id: BillRunId,
        issues: Sequence[Issue],
        matched: Sequence[tuple[str, str, int]],
        now: datetime,
    ) -> None:
        await ledger.post(conn, [entry_of(i, now) for i in issues if i.booked.entry_id is not None])
        due_in = timedelta(days=self._settings.due_days)
        paid: dict[str, int] = {}
        for key, _, minor in matched:
            paid[key] = paid.get(key, 0) + minor
        rows = [
            invoice_row(
                i,
                bill_run_id,
                now,
                due_on=i.prepared.issued_on + due_in,
                prepaid_minor=paid.get(f"invoice:{i.invoice_id}", 0),
            )
            async for i in in_turns(issues)
        ]
        await repository.add_invoices(conn, rows)
        await _add_lines(conn, [i.prepared for i in issues if i.prepared.addressed.credits])
        await repository.add_levies(conn, [row for i in issues for row in levy_rows(i.prepared)])
        await contracts.add_earnings(conn, [row for i in issues for row in earning_rows(i)])
        for issue in issues:
            if issue.booked.entry_id is not None:
                await contracts.add_movements(conn, issue.booked.entry_id, billed=issue.booked.deferred.billed)


async def _add_lines(conn: AsyncConnection, of: Sequence[Prepared]) -> None:
    await repository.add_lines(conn, LINE_COLUMNS, [row for p in of for row in p.lines])


async def entity_of(conn: AsyncConnection, entity_id: EntityId) -> Entity:
    """The legal entity, read in the caller's transaction."""
    found = await parties.find_entity(conn, entity_id)
    assert found is not None, "a customer's entity is a foreign key"
    return found


def _request(found: Addressed, table: TaxTable) -> LevyRequest:
    lines = (
        LevyLine.of(place, c, table.area(c.account_id, c.first_on)) for place, c in enumerate(found.document.charges)
    )
    return LevyRequest(found.seller.entity_id, found.buyer.account.account_id, tuple(lines))


def _first(own: Open, wanted: str, others: list[Open], like: list[Open]) -> list[tuple[str, str, int]]:
    """What takes back a document is matched with that before any of the `others`, of the other sign: (it, own, units).

    What is left of it goes to those `like` it; both lists keep what is left.
    """
    left = own.minor
    matched = []
    for n, item in enumerate(others):
        if item.key == wanted:
            part = min(left, item.minor)
            matched.append((wanted, own.key, part))
            others[n] = Open(wanted, item.minor - part)
            left -= part
    if left:
        like.append(Open(own.key, left))
    return matched


async def _with_originals(conn: AsyncConnection, found: Addressed) -> Addressed:
    """A note names the documents that it corrects."""
    if not found.document.corrects:
        return found
    numbers = await repository.numbers_of(conn, found.document.charges)
    return replace(found, about={**found.about, "regards": ", ".join(numbers)}) if numbers else found


def _change(issue: Issue) -> audit.Change:
    after = {
        "number": issue.number,
        "account_id": issue.prepared.buyer.account.account_id,
        "total": str(issue.document.total),
    }
    return audit.Change(f"{issue.document.kind}.issue", f"invoice:{issue.invoice_id}", after=after)
