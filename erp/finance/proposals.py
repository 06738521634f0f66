"""Entries by hand with four eyes: one person proposes, another approves or refuses. Small ones are posted at once.

That holds for taking an entry back as well as for making it. Approving posts the entry first and notes the decision
after it; who is killed in between approves again, and finds the entry by its reference.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, Select, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.identity import EntityId, new_id
from controller.domain.money import Money
from controller.store import audit
from controller.store.engine import Database
from erp.finance import ledger
from erp.finance.books import BooksService, reversal_source
from erp.finance.errors import AlreadyDecided, AlreadyReversed, EntryRefused, SameEyes, UnknownProposal
from erp.finance.journal import Entry, Posting
from erp.finance.journal_tables import entry_decision, entry_proposal

WAITING, POSTED, REFUSED = "waiting", "posted", "refused"


@dataclass(frozen=True, slots=True)
class Proposal:
    """`state` is waiting, posted (then `entry_id` is set) or refused. `reverses` is the entry that it takes back."""

    proposal_id: str
    entity_id: EntityId
    reference: str
    description: str
    booked_on: date | None
    postings: tuple[Posting, ...]
    at: datetime
    actor: str
    state: str
    entry_id: str | None
    decided_by: str | None
    decided_at: datetime | None
    reason: str
    reverses: str | None = None
    because: str = ""

    @property
    def source(self) -> str:
        """Of its entry, once that is posted."""
        return f"manual:{self.reference}" if self.reverses is None else reversal_source(self.reverses)


class ProposalService:
    def __init__(self, database: Database, clock: Clock, books: BooksService) -> None:
        self._database = database
        self._clock = clock
        self._books = books

    async def propose(
        self,
        *,
        reference: str,
        description: str,
        postings: Sequence[Posting],
        booked_on: date | None,
        actor: str,
        entity_id: EntityId | None = None,
    ) -> Proposal:
        """Propose an entry; one below the limit is posted at once. The same reference and content again is the same.

        Raises what posting it would raise, and EntryRefused for a reference that said something else.
        """
        await self._books.require_valid(postings, booked_on, entity_id)
        entity, now = await self._books.entity(entity_id), self._clock.now()
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            known = await _find(conn, _all().where(
                entry_proposal.c.entity_id == entity.entity_id, entry_proposal.c.reference == reference
            ))  # fmt: skip
            if known is None:
                row = {"reference": reference, "description": description, "booked_on": booked_on}
                known = await _add(conn, entity.entity_id, row, postings, now, actor)
            elif (known.description, known.booked_on, known.postings) != (description, booked_on, tuple(postings)):
                raise EntryRefused(f"{reference} was proposed and says something else", code="reference-taken")
        if known.state == WAITING and not self._books.is_above_limit(postings):
            return await self._post(known, actor)
        return known

    async def propose_reversal(self, entry_id: str, *, reason: str, booked_on: date | None, actor: str) -> Proposal:
        """Propose to take an entry back; one below the limit is reversed at once.

        Raises what reversing it would raise, and EntryRefused while another reversal of it waits.
        """
        wanted, now = await self._books.reversal(entry_id, booked_on), self._clock.now()
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            earlier = [
                _proposal(row)
                for row in await conn.execute(_all().where(entry_proposal.c.reverses == entry_id))
            ]  # fmt: skip
            known = next((p for p in earlier if p.state == WAITING), None)
            if known is None:
                reference = f"{wanted.source}:{len(earlier) + 1}"
                row = {"reference": reference, "description": wanted.description, "booked_on": booked_on}
                row |= {"reverses": entry_id, "because": reason}
                known = await _add(conn, wanted.entity_id, row, wanted.postings, now, actor)
            elif (known.because, known.booked_on) != (reason, booked_on):
                raise EntryRefused(f"a reversal of entry {entry_id} waits already: approve or refuse that one")
        if not self._books.is_above_limit(wanted.postings):
            return await self._post(known, actor)
        return known

    async def approve(self, proposal_id: str, *, actor: str) -> Proposal:
        """Post it. Raises UnknownProposal, AlreadyDecided, SameEyes, and what posting raises."""
        found = await self._open(proposal_id)
        if found.actor == actor:
            raise SameEyes("an entry above the limit is approved by somebody else than who proposed it")
        return await self._post(found, actor)

    async def refuse(self, proposal_id: str, *, reason: str, actor: str) -> Proposal:
        """Let it be; who proposed it may withdraw it so. Raises UnknownProposal, AlreadyDecided."""
        await self._open(proposal_id)
        return await self._decide(proposal_id, None, reason, actor)

    async def proposal(self, proposal_id: str) -> Proposal:
        """Raises UnknownProposal."""
        async with self._database.read() as conn:
            return await _get(conn, proposal_id)

    async def proposals(self, *, state: str | None, after: str | None, limit: int) -> list[Proposal]:
        """Newest first."""
        query = _all().order_by(entry_proposal.c.proposal_id.desc()).limit(limit)
        if state == WAITING:
            query = query.where(entry_decision.c.proposal_id.is_(None))
        elif state is not None:
            has_entry = (
                entry_decision.c.entry_id.is_not(None) if state == POSTED else entry_decision.c.entry_id.is_(None)
            )
            query = query.where(entry_decision.c.proposal_id.is_not(None), has_entry)
        if after is not None:
            query = query.where(entry_proposal.c.proposal_id < after)
        async with self._database.read() as conn:
            return [_proposal(row) for row in await conn.execute(query)]

    async def _open(self, proposal_id: str) -> Proposal:
        found = await self.proposal(proposal_id)
        if found.state != WAITING:
            raise AlreadyDecided(f"the entry was {found.state} by {found.decided_by}")
        return found

    async def _post(self, found: Proposal, actor: str) -> Proposal:
        if found.reverses is not None:
            entry = await self._reverse(found, found.reverses, actor)
        else:
            entry = await self._books.post(
                reference=found.reference,
                description=found.description,
                postings=found.postings,
                booked_on=found.booked_on,
                actor=actor,
                entity_id=found.entity_id,
                approved=True,
            )
        return await self._decide(found.proposal_id, entry.entry_id, "", actor)

    async def _reverse(self, found: Proposal, entry_id: str, actor: str) -> Entry:
        try:
            return await self._books.reverse(
                entry_id, reason=found.because, booked_on=found.booked_on, actor=actor, approved=True
            )
        except AlreadyReversed:
            known = await self._books.reversed_by(entry_id)
            if known is None:
                raise
            return known

    async def _decide(self, proposal_id: str, entry_id: str | None, reason: str, actor: str) -> Proposal:
        now = self._clock.now()
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            found = await _get(conn, proposal_id)
            if found.state != WAITING:
                if found.entry_id == entry_id:
                    return found
                raise AlreadyDecided(f"the entry was {found.state} by {found.decided_by}")
            if entry_id is None and await ledger.find_entry(conn, source=found.source) is not None:
                raise AlreadyDecided("the entry is posted: reverse it")
            row = {"entry_id": entry_id, "reason": reason}
            await conn.execute(
                insert(entry_decision).values(row | {"proposal_id": proposal_id, "at": now, "actor": actor})
            )
            action = "journal-entry.approve" if entry_id else "journal-entry.refuse"
            await _audit(conn, proposal_id, action, actor, now, row)
            return await _get(conn, proposal_id)


async def _add(
    conn: AsyncConnection,
    entity_id: EntityId,
    told: dict[str, Any],
    postings: Sequence[Posting],
    now: datetime,
    actor: str,
) -> Proposal:
    proposal_id = new_id(now)
    told = {
        "because": "",
        **told,
        "postings": json.dumps([[p.code, p.amount.minor, p.amount.currency] for p in postings]),
    }
    stamped = {"proposal_id": proposal_id, "entity_id": entity_id, "at": now, "actor": actor}
    await conn.execute(insert(entry_proposal).values(told | stamped))
    await _audit(conn, proposal_id, "journal-entry.propose", actor, now, told)
    return await _get(conn, proposal_id)


def _all() -> Select[Any]:
    decided = entry_decision
    return select(
        entry_proposal,
        decided.c.entry_id,
        decided.c.reason,
        decided.c.at.label("decided_at"),
        decided.c.actor.label("decided_by"),
    ).outerjoin(decided, decided.c.proposal_id == entry_proposal.c.proposal_id)


async def _find(conn: AsyncConnection, query: Select[Any]) -> Proposal | None:
    row = (await conn.execute(query)).one_or_none()
    return None if row is None else _proposal(row)


async def _get(conn: AsyncConnection, proposal_id: str) -> Proposal:
    found = await _find(conn, _all().where(entry_proposal.c.proposal_id == proposal_id))
    if found is None:
        raise UnknownProposal(f"no proposed entry {proposal_id}")
    return found


def _proposal(row: Row[Any]) -> Proposal:
    state = WAITING if row.decided_at is None else (POSTED if row.entry_id else REFUSED)
    return Proposal(
        row.proposal_id,
        EntityId(row.entity_id),
        row.reference,
        row.description,
        row.booked_on,
        tuple(Posting(code, Money(minor, currency)) for code, minor, currency in json.loads(row.postings)),
        row.at,
        row.actor,
        state,
        row.entry_id,
        row.decided_by,
        row.decided_at,
        row.reason or "",
        row.reverses,
        row.because,
    )


async def _audit(
    conn: AsyncConnection, proposal_id: str, action: str, actor: str, now: datetime, after: dict[str, Any]
) -> None:
    await audit.record(conn, now=now, actor=actor, action=action, subject=f"entry-proposal:{proposal_id}", after=after)
