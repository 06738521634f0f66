"""What a line of a statement is: what is certain is booked, and everything that is booked for a line is booked here.

A line stands in the ledger under "bank lines to be identified" since its import; to match it is to book from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock, local_date
from controller.domain.errors import RuleError
from controller.domain.identity import AccountId, EntityId, InvoiceId, new_id
from controller.domain.money import Money
from erp.crm import repository as parties
from erp.crm.model import Entity
from erp.finance import journal, ledger
from erp.finance import repository as documents
from erp.finance.chart import BANK_CHARGES, BANK_LINES, DIRECT_DEBITS, IN_TRANSIT
from erp.finance.journal import Entry, Posting
from erp.finance.settlement import MoneyIn, Settlement
from erp.payments import fee_rows, refund_rows
from erp.payments.bank import repository
from erp.payments.bank.matching import Match, OpenInvoices
from erp.payments.bank.repository import MATCHED, NEW, OPEN, BankLine
from erp.payments.refund_returns import came_back
from erp.payments.sepa import rows as sepa_rows
from erp.payments.sepa.service import SepaService

log = structlog.get_logger()

METHOD = "bank-statement"
_AT_A_TIME = 20
"""Lines looked at in one transaction: others write, too."""
_CHARGES = ("CHRG", "COMM", "FEES")


class Identification:
    """Works in the caller's transaction, which holds the lock of the books."""

    def __init__(self, clock: Clock, settlement: Settlement, sepa: SepaService) -> None:
        self._clock = clock
        self._settlement = settlement
        self._sepa = sepa

    async def look(
        self, conn: AsyncConnection, indexes: dict[tuple[str, str], OpenInvoices], actor: str
    ) -> tuple[int, int]:
        """Look at some new lines; (how many were looked at, how many of them are matched).

        `indexes` keeps the open invoices of each entity and currency from one call to the next.
        """
        found = await repository.lines(conn, state=NEW, limit=_AT_A_TIME)
        count = 0
        for line in found:
            (account,) = await repository.accounts(conn, bank_account_id=line.bank_account_id)
            key = account.entity_id, account.currency
            if key not in indexes:
                indexes[key] = OpenInvoices(await repository.open_invoices(conn, *key))
            if await self._try(conn, line, indexes[key], actor):
                count += 1
            else:
                await repository.set_match(conn, line.line_id, OPEN, "", "", self._clock.now(), actor)
        return len(found), count

    async def _try(self, conn: AsyncConnection, line: BankLine, owed: OpenInvoices, actor: str) -> bool:
        """One that cannot be booked is left to a person, and keeps no other from being looked at."""
        try:
            async with conn.begin_nested():
                return await self._match_one(conn, line, owed, actor)
        except RuleError as error:
            log.warning("bank.line_not_booked", line_id=line.line_id, error=str(error))
            return False

    async def _match_one(self, conn: AsyncConnection, line: BankLine, owed: OpenInvoices, actor: str) -> bool:
        """Book what is certain."""
        if line.kind == "charge" or (line.amount.minor < 0 and line.code.rpartition("/")[2] in _CHARGES):
            await self._transfer(conn, line, BANK_CHARGES, "charges", line.remittance or "charges", actor)
            return True
        if await self._match_debit(conn, line, actor):
            return True
        if line.amount.minor < 0:
            return False
        certain = owed.certain(line.amount, line.reference, f"{line.end_to_end} {line.remittance}")
        if certain is None:
            return False
        await self.receive(conn, line, AccountId(certain.account_id), await self._parts(conn, certain), actor)
        owed.settled(certain.parts)
        return True

    async def _match_debit(self, conn: AsyncConnection, line: BankLine, actor: str) -> bool:
        """Lines about files of ours: a collection that was credited, a direct debit that came back, a refund."""
        if line.amount.minor > 0:
            message = line.batch.rpartition("-")[0] or line.batch
            for found in await sepa_rows.collections(conn, message_id=message):
                # Some banks tell the sum of a file as its one transaction, which then has nobody's end-to-end id.
                if (line.kind == "batch" or not line.end_to_end) and found.state == "sent":
                    await self._transfer(conn, line, DIRECT_DEBITS, "collection", found.collection_id, actor)
                    return True
            for item in await sepa_rows.items(conn, item_id=line.end_to_end) if line.end_to_end else ():
                if item.payment_id is not None and item.amount_minor == line.amount.minor:
                    await self._transfer(conn, line, DIRECT_DEBITS, "collection", item.collection_id, actor)
                    return True
            return await self._refund_back(conn, line, actor) or await self._match_payout(conn, line, actor)
        for item in await sepa_rows.items(conn, item_id=line.end_to_end) if line.end_to_end else ():
            return await self._returned(conn, line, item, actor)
        return await self._match_refunds(conn, line, actor)

    async def _match_refunds(self, conn: AsyncConnection, line: BankLine, actor: str) -> bool:
        """A refund that was carried out, or by their sum all of a file of ours."""
        states = (refund_rows.SENT,)
        if line.end_to_end:
            found = await refund_rows.refunds(conn, refund_id=line.end_to_end, states=states)
        else:
            sent = await sepa_rows.transfer_files(conn, message_id=line.batch.removesuffix("-1")) if line.batch else ()
            found = [
                r for f in sent
                for r in await refund_rows.refunds(conn, file_id=f.file_id, states=states, limit=1_000_000)
            ]  # fmt: skip
        if not found or Money.sum((r.amount for r in found), line.amount.currency) != -line.amount:
            return False
        await self._transfer(conn, line, IN_TRANSIT, "refund", found[0].refund_id, actor)
        for refund in found:
            await refund_rows.change(conn, refund.refund_id, refund_rows.DONE, self._clock.now())
        return True

    async def _refund_back(self, conn: AsyncConnection, line: BankLine, actor: str) -> bool:
        """A refund that their bank returned."""
        for refund in await refund_rows.refunds(conn, refund_id=line.end_to_end) if line.end_to_end else ():
            if refund.amount == line.amount and (refund.way, refund.state) == ("bank", refund_rows.DONE):
                reason, now = line.return_reason or "returned", self._clock.now()
                await came_back(conn, self._settlement, refund, BANK_LINES, reason, now, actor)
                await self.matched(conn, line, "refund", refund.refund_id, actor)
                return True
        return False

    async def _match_payout(self, conn: AsyncConnection, line: BankLine, actor: str) -> bool:
        """What a gateway sent: the line takes it from what is on its way."""
        (account,) = await repository.accounts(conn, bank_account_id=line.bank_account_id)
        said = " ".join((line.party, line.remittance, line.reference, line.end_to_end, line.bank_ref))
        found = await fee_rows.credited(conn, account.entity_id, line.amount, line.booked_on, said)
        if found is None:
            return False
        await self._transfer(conn, line, IN_TRANSIT, "payout", found.payout_id, actor)
        await fee_rows.change_payout(conn, found.gateway, found.payout_id, state=fee_rows.ARRIVED, line_id=line.line_id)
        return True

    async def _returned(self, conn: AsyncConnection, line: BankLine, item: sepa_rows.Item, actor: str) -> bool:
        fee = Money(-line.amount.minor - item.amount_minor, line.amount.currency)
        if fee.minor < 0:
            return False
        reason = line.return_reason or "returned"
        claim = fee + await repository.charge_of(conn, line)
        if await self._sepa.give_back(conn, item, BANK_LINES, reason, fee or None, actor):
            await self.matched(conn, line, "return", item.item_id, actor)
            await self._sepa.claim_fee(conn, item, claim, reason, actor)
            return True
        if item.state not in (sepa_rows.RETURNED, sepa_rows.REJECTED):
            return False
        # A notification has told of it before: the money was taken from what is on its way, which is evened out here.
        entity = await self.entity(conn, line)
        chart = await ledger.ensure_chart(conn, entity.entity_id)
        postings = journal.without_zeros(
            (
                Posting(chart.code(DIRECT_DEBITS), Money(item.amount_minor, fee.currency)),
                Posting(chart.code(BANK_CHARGES), fee),
                Posting(chart.code(BANK_LINES), line.amount),
            )
        )
        await self.post(conn, entity, line, postings, f"return of {item.item_id}")
        await self.matched(conn, line, "return", item.item_id, actor)
        await self._sepa.claim_fee(conn, item, claim, reason, actor)
        return True

    async def receive(
        self,
        conn: AsyncConnection,
        line: BankLine,
        account_id: AccountId,
        parts: Sequence[tuple[InvoiceId, Money]] | None,
        actor: str,
    ) -> None:
        entity = await self.entity(conn, line)
        at = datetime.combine(line.booked_on, time(12), entity.zone_info).astimezone(UTC)
        reference = f"{line.line_id}/{line.matches + 1}"
        came = MoneyIn(
            account_id, line.amount, METHOD, reference, min(at, self._clock.now()), BANK_LINES, parts, entity.entity_id
        )
        payment, _ = await self._settlement.receive_in(conn, came, actor=actor)
        await self.matched(conn, line, "payment", payment.payment_id, actor)

    async def _transfer(
        self, conn: AsyncConnection, line: BankLine, role: str, matched: str, subject: str, actor: str
    ) -> None:
        entity = await self.entity(conn, line)
        chart = await ledger.ensure_chart(conn, entity.entity_id)
        await self.post(conn, entity, line, journal.transfer(line.amount, chart, BANK_LINES, role), matched)
        await self.matched(conn, line, matched, subject, actor)

    async def post(
        self, conn: AsyncConnection, entity: Entity, line: BankLine, postings: tuple[Posting, ...], what: str
    ) -> None:
        now = self._clock.now()
        source = f"bank-match:{line.line_id}/{line.matches + 1}"
        today = local_date(now, entity.zone_info)
        entry = Entry(new_id(now), entity.entity_id, now, today, what[:200], source, postings)
        await ledger.post(conn, [entry])

    async def matched(self, conn: AsyncConnection, line: BankLine, matched: str, subject: str, actor: str) -> None:
        await repository.set_match(conn, line.line_id, MATCHED, matched, subject, self._clock.now(), actor)

    async def entity(self, conn: AsyncConnection, line: BankLine) -> Entity:
        (account,) = await repository.accounts(conn, bank_account_id=line.bank_account_id)
        return await self.entity_of(conn, account.entity_id)

    async def entity_of(self, conn: AsyncConnection, entity_id: EntityId) -> Entity:
        found = await parties.find_entity(conn, entity_id)
        assert found is not None, "an account's entity is kept with it"
        return found

    async def _parts(self, conn: AsyncConnection, certain: Match) -> list[tuple[InvoiceId, Money]]:
        """What of it is open at this moment: what came back before in the same file may have settled some of it."""
        found = []
        for invoice_id, part in certain.parts:
            owed = await documents.get_invoice(conn, InvoiceId(invoice_id))
            left = min(part.minor, owed.open_minor) if owed is not None else 0
            if left:
                found.append((InvoiceId(invoice_id), Money(left, part.currency)))
        return found
