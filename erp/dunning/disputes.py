"""Disputes: an amount of an invoice that a customer contests, with the evidence as it was when he did.

    open ──upheld──▸ credit note over the amount, of the lines it is about
      └───rejected─▸ dunning of the amount goes on after the days that are given

What was decided stays decided. Where the credit note is taken back later, which is a decision of its own with its own
reason, the dispute says so, and the amount is dunned like any other: who contests it still opens another dispute.

While it is open, and on the days that are given, dunning leaves the amount alone, and only the amount. The evidence is
what the explanation of each line said when the dispute was opened, frozen with its digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from sqlalchemy import insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.errors import HeadendError
from controller.domain.identity import AccountId, InvoiceId, InvoiceLineId, new_id
from controller.domain.money import Money, allocate
from controller.store.engine import Database
from erp.dunning import repository
from erp.dunning.errors import AlreadyEnded, DisputeRefused, UnknownDispute
from erp.dunning.model import disputed_of, policy_on, working_day
from erp.dunning.records import changed
from erp.dunning.service import DunningService
from erp.dunning.tables import dispute, evidence
from erp.finance.corrections import CorrectionService
from erp.finance.crediting import Gross
from erp.finance.model import CLAIMS
from erp.finance.service import FinanceService

OPEN, UPHELD, REJECTED = "open", "upheld", "rejected"
_NOT_STORED = {"amount", "taken_back", "taken_back_by"}


class EvidenceAltered(HeadendError):
    """What was frozen no longer has its digest: somebody wrote to the database."""


@dataclass(frozen=True, slots=True)
class Dispute:
    """`amount` has the tax in it. `until_on` is the first day on which dunning of it goes on; None while open.

    `taken_back` is what of the credit note does not stand any more, by the document `taken_back_by`; nothing of it is
    stored with the dispute.
    """

    dispute_id: str
    account_id: AccountId
    invoice_id: InvoiceId
    line_id: InvoiceLineId | None
    amount: Money
    reason: str
    state: str
    opened_on: date
    opened_at: datetime
    opened_by: str
    until_on: date | None = None
    resolved_at: datetime | None = None
    resolved_by: str | None = None
    resolution: str | None = None
    credit_note_id: InvoiceId | None = None
    taken_back: Money | None = None
    taken_back_by: InvoiceId | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """`content` is JSON text; `sha256` was taken of it when the dispute was opened."""

    line_id: InvoiceLineId
    content: str
    sha256: bytes
    frozen_at: datetime

    def verify(self) -> None:
        """Raises EvidenceAltered."""
        if hashlib.sha256(self.content.encode()).digest() != self.sha256:
            raise EvidenceAltered(f"the evidence of line {self.line_id} is not what was frozen on {self.frozen_at}")


@dataclass(frozen=True, slots=True)
class DisputeRequest:
    """Of an invoice, or of one of its lines; `amount` None is all of that."""

    invoice_id: InvoiceId
    line_id: InvoiceLineId | None
    amount: Money | None
    reason: str


class DisputeService:
    def __init__(
        self,
        database: Database,
        clock: Clock,
        dunning: DunningService,
        finance: FinanceService,
        corrections: CorrectionService,
    ) -> None:
        self._database = database
        self._clock = clock
        self._dunning = dunning
        self._finance = finance
        self._corrections = corrections

    async def open(self, request: DisputeRequest, frozen: Mapping[InvoiceLineId, str], *, actor: str) -> Dispute:
        """`frozen` is the evidence of each line it is about. Raises DisputeRefused, UnknownInvoice, UnknownInvoiceLine.

        No more can be contested than what is open, less what is contested already: who has paid is owed a credit note
        or a refund, and needs no rest from dunning.
        """
        invoice = await self._finance.invoice(request.invoice_id)
        if invoice.kind not in CLAIMS:
            raise DisputeRefused(f"{invoice.number} is a credit note: nothing of it is owed")
        whole = invoice.total
        if request.line_id is not None:
            line = await self._finance.line(request.line_id)
            if line.invoice_id != request.invoice_id:
                raise DisputeRefused(f"line {request.line_id} is on another invoice")
            whole = line.net + line.tax
        now = self._clock.now()
        async with self._database.begin() as conn:
            await repository.lock_account(conn, invoice.account_id)
            standing = await self._dunning.standing_in(conn, invoice.account_id)
            today = standing.state.day
            owed = next((d.open_minor for d in standing.facts.debts if d.invoice_id == invoice.invoice_id), 0)
            free = owed - disputed_of(invoice.invoice_id, today, standing.facts.disputes)
            amount = request.amount or Money(min(whole.minor, free), whole.currency)
            if amount.currency != whole.currency:
                raise DisputeRefused(f"{invoice.number} is in {whole.currency}")
            if not 0 < amount.minor <= min(whole.minor, free):
                most = Money(max(0, min(whole.minor, free)), whole.currency)
                raise DisputeRefused(f"{amount} cannot be contested: {most} of it is open and not contested yet")
            made = Dispute(
                new_id(now), invoice.account_id, invoice.invoice_id, request.line_id, amount, request.reason, OPEN,
                today, now, actor,
            )  # fmt: skip
            await conn.execute(insert(dispute).values(_row(made)))
            if frozen:
                rows = [
                    {
                        "dispute_id": made.dispute_id,
                        "line_id": line_id,
                        "content": content,
                        "sha256": hashlib.sha256(content.encode()).digest(),
                        "frozen_at": now,
                    }
                    for line_id, content in frozen.items()
                ]
                await conn.execute(insert(evidence), rows)
            after = {"dispute_id": made.dispute_id, "invoice": invoice.number, "amount": str(amount)}
            await changed(conn, now, made.account_id, "dispute.open", actor, request.reason, None, after)
        return made

    async def uphold(self, dispute_id: str, *, resolution: str, actor: str) -> Dispute:
        """The customer is right: a credit note over the amount. Raises UnknownDispute, AlreadyEnded, OverCredit.

        The credit note is found again by its reference, so that a second try after a crash makes no second one: what
        would be credited now, of what it has left, may be shared by its lines in another way.
        """
        found, reference = await self._open(dispute_id), f"dispute-{dispute_id}"
        note = await self._corrections.made(found.invoice_id, reference)
        if note is None:
            note = await self._corrections.credit(
                found.invoice_id,
                await self._credited(found),
                reason=f"{found.reason}: {resolution}"[:200],
                reference=reference,
                actor=actor,
            )
        return await self._resolve(found, UPHELD, 0, resolution, actor, note.invoice_id)

    async def reject(self, dispute_id: str, *, days: int | None, resolution: str, actor: str) -> Dispute:
        """It stands: dunning goes on after `days`, by default the policy's. Raises UnknownDispute or AlreadyEnded."""
        found = await self._open(dispute_id)
        if days is None:
            standing = await self._dunning.standing(found.account_id)
            ladder = policy_on(standing.facts.policies, standing.state.day)
            days = 0 if ladder is None else ladder.rejected_days
        return await self._resolve(found, REJECTED, days, resolution, actor, None)

    async def dispute(self, dispute_id: str) -> tuple[Dispute, Sequence[Evidence]]:
        """With its evidence, verified. Raises UnknownDispute or EvidenceAltered."""
        async with self._database.read() as conn:
            (found,) = await self._with_credits(conn, [await _get(conn, dispute_id)])
            query = select(evidence).where(evidence.c.dispute_id == dispute_id).order_by(evidence.c.line_id)
            frozen = [
                Evidence(InvoiceLineId(row.line_id), row.content, row.sha256, row.frozen_at)
                for row in await conn.execute(query)
            ]
        for one in frozen:
            one.verify()
        return found, frozen

    async def page(
        self, *, account_id: str | None, state: str | None, after: str | None, limit: int
    ) -> Sequence[Dispute]:
        """Newest first; ids sort by time."""
        query = select(dispute).order_by(dispute.c.dispute_id.desc()).limit(limit)
        if account_id is not None:
            query = query.where(dispute.c.account_id == account_id)
        if state is not None:
            query = query.where(dispute.c.state == state)
        if after is not None:
            query = query.where(tuple_(dispute.c.dispute_id) < tuple_(after))
        async with self._database.read() as conn:
            return await self._with_credits(conn, [_dispute(row) for row in await conn.execute(query)])

    async def _with_credits(self, conn: AsyncConnection, found: Sequence[Dispute]) -> list[Dispute]:
        notes = {one.credit_note_id for one in found if one.credit_note_id is not None}
        gone = await self._corrections.taken_back(conn, notes)
        return [
            replace(one, taken_back=gone[note_id][0], taken_back_by=gone[note_id][1])
            if (note_id := one.credit_note_id) in gone and note_id is not None
            else one
            for one in found
        ]

    async def _open(self, dispute_id: str) -> Dispute:
        async with self._database.read() as conn:
            found = await _get(conn, dispute_id)
        if found.state != OPEN:
            raise AlreadyEnded(f"dispute {dispute_id} was {found.state} already")
        return found

    async def _credited(self, found: Dispute) -> dict[InvoiceLineId, Gross | None]:
        """What is credited of each line, with its tax: the contested amount, in proportion to what is left of them."""
        lines = [c for c in await self._corrections.creditable(found.invoice_id) if c.left.minor > 0]
        if found.line_id is not None:
            lines = [c for c in lines if c.line.line_id == found.line_id]
        left = [c.gross_left.minor for c in lines]
        if found.amount.minor >= sum(left):
            return {c.line.line_id: None for c in lines}
        parts = zip((c.line.line_id for c in lines), allocate(found.amount.minor, left), strict=True)
        return {line_id: Gross(Money(part, found.amount.currency)) for line_id, part in parts if part}

    async def _resolve(
        self, found: Dispute, state: str, days: int, resolution: str, actor: str, credit_note_id: InvoiceId | None
    ) -> Dispute:
        now = self._clock.now()
        async with self._database.begin() as conn:
            await repository.lock_account(conn, found.account_id)
            standing = await self._dunning.standing_in(conn, found.account_id)
            until_on = standing.state.day + timedelta(days=days)
            if state == REJECTED:
                until_on = working_day(until_on, standing.facts.is_working)
            after = replace(
                found,
                state=state,
                until_on=until_on,
                resolved_at=now,
                resolved_by=actor,
                resolution=resolution,
                credit_note_id=credit_note_id,
            )
            of_it = (dispute.c.dispute_id == found.dispute_id) & (dispute.c.state == OPEN)
            written = await conn.execute(update(dispute).where(of_it).values(_row(after)))
            if not written.rowcount:
                raise AlreadyEnded(f"dispute {found.dispute_id} was resolved in this moment")
            said = {"dispute_id": found.dispute_id, "state": state, "until_on": after.until_on}
            await changed(conn, now, found.account_id, f"dispute.{state}", actor, resolution, {"state": OPEN}, said)
        return after


async def _get(conn: AsyncConnection, dispute_id: str) -> Dispute:
    row = (await conn.execute(select(dispute).where(dispute.c.dispute_id == dispute_id))).one_or_none()
    if row is None:
        raise UnknownDispute(f"no dispute {dispute_id}")
    return _dispute(row)


def _row(found: Dispute) -> dict[str, object]:
    values = {name: getattr(found, name) for name in Dispute.__slots__ if name not in _NOT_STORED}
    return values | {"amount_minor": found.amount.minor, "currency": found.amount.currency}


def _dispute(row: object) -> Dispute:
    values = dict(row._mapping)  # type: ignore[attr-defined]
    amount = Money(values.pop("amount_minor"), values.pop("currency"))
    return Dispute(**values, amount=amount)
