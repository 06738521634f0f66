"""Entries by hand with four eyes over HTTP."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import StringConstraints

from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import IdText, In, Instant, MoneyOut, Out
from erp.finance.books_answers import EntryIn, ReversalIn
from erp.finance.proposals import Proposal, ProposalService


class ProposalQuery(PageQuery):
    state: Literal["waiting", "posted", "refused"] | None = None


class RefusalIn(In):
    reason: Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]


class ReversalProposalIn(ReversalIn):
    """Which entry is to be taken back, and why."""

    entry_id: IdText


class ProposedPostingOut(Out):
    code: str
    amount: MoneyOut


class ProposalOut(Out):
    """`state` is waiting, posted (see `entry_id`) or refused. `reverses` is the entry it takes back, `because` why."""

    proposal_id: str
    reference: str
    description: str
    booked_on: date | None
    postings: list[ProposedPostingOut]
    at: Instant
    actor: str
    state: str
    entry_id: str | None
    decided_by: str | None
    decided_at: Instant | None
    reason: str
    reverses: str | None
    because: str

    @classmethod
    def of(cls, found: Proposal) -> ProposalOut:
        return cls(
            proposal_id=found.proposal_id,
            reference=found.reference,
            description=found.description,
            booked_on=found.booked_on,
            postings=[ProposedPostingOut(code=p.code, amount=MoneyOut.of(p.amount)) for p in found.postings],
            at=found.at,
            actor=found.actor,
            state=found.state,
            entry_id=found.entry_id,
            decided_by=found.decided_by,
            decided_at=found.decided_at,
            reason=found.reason,
            reverses=found.reverses,
            because=found.because,
        )


def endpoints(proposals: ProposalService) -> list[Endpoint]:
    return [*_proposing(proposals), *_looking(proposals), *_deciding(proposals)]


def _proposing(proposals: ProposalService) -> list[Endpoint]:
    async def propose(call: Call) -> ProposalOut:
        body = call.body_as(EntryIn)
        made = await proposals.propose(
            reference=body.reference,
            description=body.description,
            postings=[p.posting() for p in body.postings],
            booked_on=body.booked_on,
            actor=call.actor,
            entity_id=body.entity,
        )
        return ProposalOut.of(made)

    async def propose_reversal(call: Call) -> ProposalOut:
        body = call.body_as(ReversalProposalIn)
        made = await proposals.propose_reversal(
            body.entry_id, reason=body.reason, booked_on=body.booked_on, actor=call.actor
        )
        return ProposalOut.of(made)

    return [
        Endpoint(
            "POST",
            "/entry-proposals",
            scope="finance:write",
            handler=propose,
            summary="Propose an entry by hand; below the limit it is posted at once",
            body=EntryIn,
            returns=ProposalOut,
            status=201,
        ),
        Endpoint(
            "POST",
            "/entry-proposals/reversals",
            scope="finance:write",
            handler=propose_reversal,
            summary="Propose to take an entry by hand back; below the limit it is reversed at once",
            body=ReversalProposalIn,
            returns=ProposalOut,
            status=201,
        ),
    ]


def _looking(proposals: ProposalService) -> list[Endpoint]:
    async def index(call: Call) -> Page:
        query = call.query_as(ProposalQuery)
        found = await proposals.proposals(state=query.state, after=query.last(str), limit=query.rows)
        return Page.of(found, query, lambda p: (p.proposal_id,), ProposalOut.of)

    async def show(call: Call) -> ProposalOut:
        return ProposalOut.of(await proposals.proposal(call.path["proposal_id"]))

    return [
        Endpoint(
            "GET",
            "/entry-proposals",
            scope="finance:read",
            handler=index,
            summary="Entries that were proposed, newest first",
            query=ProposalQuery,
            returns=ProposalOut,
            paged=True,
        ),
        Endpoint(
            "GET",
            "/entry-proposals/{proposal_id}",
            scope="finance:read",
            handler=show,
            summary="One proposed entry",
            returns=ProposalOut,
        ),
    ]


def _deciding(proposals: ProposalService) -> list[Endpoint]:
    async def approve(call: Call) -> ProposalOut:
        return ProposalOut.of(await proposals.approve(call.path["proposal_id"], actor=call.actor))

    async def refuse(call: Call) -> ProposalOut:
        reason = call.body_as(RefusalIn).reason
        return ProposalOut.of(await proposals.refuse(call.path["proposal_id"], reason=reason, actor=call.actor))

    return [
        Endpoint(
            "POST",
            "/entry-proposals/{proposal_id}/approve",
            scope="finance:write",
            handler=approve,
            summary="Post a proposed entry; somebody else than who proposed it",
            returns=ProposalOut,
        ),
        Endpoint(
            "POST",
            "/entry-proposals/{proposal_id}/refuse",
            scope="finance:write",
            handler=refuse,
            summary="Refuse or withdraw a proposed entry",
            body=RefusalIn,
            returns=ProposalOut,
        ),
    ]
