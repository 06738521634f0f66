"""Disputes with their evidence, and a look at everybody who owes, over HTTP."""

from __future__ import annotations

from controller.domain.identity import InvoiceId, InvoiceLineId
from controller.http.endpoint import Call, Endpoint, Page
from controller.http.models import Out
from controller.workflows.disputes import Disputes
from controller.workflows.dunning import DunningWork
from erp.dunning.dispute_answers import (
    DisputeIn,
    DisputeOut,
    DisputeQuery,
    DisputeWithEvidenceOut,
    EvidenceOut,
    RejectIn,
    UpholdIn,
)
from erp.dunning.disputes import DisputeRequest, DisputeService


class JobOut(Out):
    """The night's work that is under way, or done: see GET /dunning/runs."""

    job_id: str


def endpoints(disputes: DisputeService, opening: Disputes, work: DunningWork) -> list[Endpoint]:
    return [*_runs(disputes, opening, work), *_disputes(disputes, opening, work), *_deciding(disputes, opening, work)]


def _runs(disputes: DisputeService, opening: Disputes, work: DunningWork) -> list[Endpoint]:
    async def begin(_call: Call) -> JobOut:
        return JobOut(job_id=await work.begin())

    return [
        Endpoint(
            "POST",
            "/dunning/runs",
            scope="finance:write",
            handler=begin,
            summary="Look at everybody who owes now, and take the steps that are due",
            returns=JobOut,
            status=202,
        ),
    ]


def _disputes(disputes: DisputeService, opening: Disputes, work: DunningWork) -> list[Endpoint]:
    async def open_dispute(call: Call) -> DisputeOut:
        body = call.body_as(DisputeIn)
        request = DisputeRequest(
            InvoiceId(body.invoice_id),
            None if body.line_id is None else InvoiceLineId(body.line_id),
            None if body.amount is None else body.amount.money(),
            body.reason,
        )
        return DisputeOut.of(await opening.open(request, actor=call.actor))

    async def page(call: Call) -> Page:
        query = call.query_as(DisputeQuery)
        found = await disputes.page(
            account_id=query.account_id, state=query.state, after=query.last(str), limit=query.rows
        )
        return Page.of(found, query, lambda d: (d.dispute_id,), DisputeOut.of)

    async def show(call: Call) -> DisputeOut:
        found, evidence = await disputes.dispute(call.path["dispute_id"])
        return DisputeWithEvidenceOut.of(found, evidence=[EvidenceOut.of(one) for one in evidence])

    return [
        Endpoint(
            "GET",
            "/disputes",
            scope="finance:read",
            handler=page,
            summary="What customers contest, newest first",
            query=DisputeQuery,
            returns=DisputeOut,
            paged=True,
        ),
        Endpoint(
            "POST",
            "/disputes",
            scope="finance:write",
            handler=open_dispute,
            summary="A customer contests an amount: dunning leaves it alone, and its evidence is frozen",
            body=DisputeIn,
            returns=DisputeOut,
            status=201,
        ),
        Endpoint(
            "GET",
            "/disputes/{dispute_id}",
            scope="finance:read",
            handler=show,
            summary="A dispute with the evidence as it was when it was opened",
            returns=DisputeWithEvidenceOut,
        ),
    ]


def _deciding(disputes: DisputeService, opening: Disputes, work: DunningWork) -> list[Endpoint]:
    async def uphold(call: Call) -> DisputeOut:
        body = call.body_as(UpholdIn)
        return DisputeOut.of(
            await disputes.uphold(call.path["dispute_id"], resolution=body.resolution, actor=call.actor)
        )

    async def reject(call: Call) -> DisputeOut:
        body = call.body_as(RejectIn)
        return DisputeOut.of(
            await disputes.reject(call.path["dispute_id"], days=body.days, resolution=body.resolution, actor=call.actor)
        )

    return [
        Endpoint(
            "POST",
            "/disputes/{dispute_id}/uphold",
            scope="finance:write",
            handler=uphold,
            summary="The customer is right: a credit note over the amount",
            body=UpholdIn,
            returns=DisputeOut,
        ),
        Endpoint(
            "POST",
            "/disputes/{dispute_id}/reject",
            scope="finance:write",
            handler=reject,
            summary="The invoice stands: dunning goes on after the days given",
            body=RejectIn,
            returns=DisputeOut,
        ),
    ]
