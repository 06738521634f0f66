"""Bill runs over HTTP: start, look how far, see what comes out, hold and let go, and hand out the certificate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.responses import Response, StreamingResponse

from billing_bridge.billing.holds import WHOLE_RUN
from billing_bridge.billing.model import QUEUED, RUNNING
from billing_bridge.billing.service import BillingService
from controller.domain.errors import NotFound
from controller.domain.identity import AccountId, BillRunId
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.store.metadata import to_micros
from controller.workflows.bill_run import BillRuns
from controller.workflows.bill_run_answers import (
    BillRunIn,
    BillRunOut,
    CertificateOut,
    CertificatesOut,
    DifferenceOut,
    DraftOut,
    DraftQuery,
    HoldIn,
    HoldOut,
    HoldsOut,
    KeyOut,
    PreviewOut,
    PreviewQuery,
    PreviewsOut,
    ProgressOut,
    ReleaseIn,
    RunWithProgressOut,
)
from controller.workflows.certify import Certifier
from controller.workflows.preview import Previews

_LOOK_EVERY_S = 1.0


def endpoints(bill_runs: BillRuns, billing: BillingService, certifier: Certifier, previews: Previews) -> list[Endpoint]:
    book = bill_runs.book

    def run_of(call: Call) -> BillRunId:
        return BillRunId(call.path["bill_run_id"])

    async def with_progress(bill_run_id: BillRunId) -> RunWithProgressOut:
        run = await billing.bill_run(bill_run_id)
        progress = ProgressOut.of(await book.progress(run))
        return RunWithProgressOut(**BillRunOut.of(run).model_dump(), progress=progress)

    async def start(call: Call) -> BillRunOut:
        body = call.body_as(BillRunIn)
        run = await bill_runs.start(
            as_of=body.as_of,
            account_id=None if body.account_id is None else AccountId(body.account_id),
            actor=call.actor,
            dry=body.dry,
            preview_id=None if body.preview_id is None else BillRunId(body.preview_id),
            hold_changed=body.hold_changed,
            hold=body.hold,
        )
        return BillRunOut.of(run)

    async def index(call: Call) -> Page:
        query = call.query_as(PageQuery)
        found = await billing.bill_runs(query.last_key(int, str), query.rows)
        return Page.of(found, query, lambda r: (to_micros(r.created_at), str(r.bill_run_id)), BillRunOut.of)

    async def show(call: Call) -> RunWithProgressOut:
        return await with_progress(run_of(call))

    async def stream(call: Call) -> Response:
        await billing.bill_run(run_of(call))
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        if call.request.method == "HEAD":
            return Response(headers=headers, media_type="text/event-stream")
        return StreamingResponse(events(run_of(call)), headers=headers, media_type="text/event-stream")

    async def events(bill_run_id: BillRunId) -> AsyncIterator[str]:
        """How far the run is, every second, until it is not at work any more."""
        while True:
            found = await with_progress(bill_run_id)
            at_work = found.state in (QUEUED, RUNNING)
            yield f"event: {'progress' if at_work else 'end'}\ndata: {found.model_dump_json()}\n\n"
            if not at_work:
                return
            await asyncio.sleep(_LOOK_EVERY_S)

    async def redrive(call: Call) -> BillRunOut:
        return BillRunOut.of(await bill_runs.redrive(run_of(call), actor=call.actor))

    async def drafts(call: Call) -> Page:
        query = call.query_as(DraftQuery)
        await billing.bill_run(run_of(call))
        found = await book.draft_page(run_of(call), query.last_key(str, str), query.rows, issued=query.issued)
        return Page.of(found, query, lambda d: (str(d.account_id), d.net.currency), DraftOut.of)

    async def differences(call: Call) -> Page:
        query = call.query_as(PageQuery)
        run = await billing.bill_run(run_of(call))
        found = await previews.differences(run, query.last_key(str, str), query.rows)
        return Page.of(found, query, lambda d: (str(d.account_id), d.currency), DifferenceOut.of)

    async def holds(call: Call) -> HoldsOut:
        await billing.bill_run(run_of(call))
        return HoldsOut(holds=[HoldOut.of(hold) for hold in await book.holds(run_of(call))])

    async def hold(call: Call) -> HoldOut:
        body = call.body_as(HoldIn)
        account_id = AccountId(body.account_id) if body.account_id else WHOLE_RUN
        return HoldOut.of(await bill_runs.hold(run_of(call), account_id, reason=body.reason, actor=call.actor))

    async def release(call: Call) -> BillRunOut:
        body = call.body_as(ReleaseIn)
        account_id = AccountId(body.account_id) if body.account_id else WHOLE_RUN
        found = await bill_runs.release(run_of(call), account_id, body.source, reason=body.reason, actor=call.actor)
        return BillRunOut.of(found)

    async def certificates(call: Call) -> CertificatesOut:
        await billing.bill_run(run_of(call))
        return CertificatesOut(certificates=await certifier.certificates(run_of(call)))

    async def certificate(call: Call) -> Response:
        await billing.bill_run(run_of(call))
        found = await certifier.certificates(run_of(call))
        if not found:
            raise NotFound(f"bill run {run_of(call)} has no certificate", code="no-certificate")
        name = f'attachment; filename="bill-run-{run_of(call)}-{len(found)}.json"'
        return Response(found[-1], headers={"Content-Disposition": name}, media_type="application/json")

    async def key(call: Call) -> KeyOut:
        return KeyOut(public_key=await certifier.public_key())

    async def preview(call: Call) -> PreviewsOut:
        query = call.query_as(PreviewQuery)
        found = await previews.of_account(AccountId(call.path["account_id"]), query.as_of)
        return PreviewsOut(documents=[PreviewOut.of(draft) for draft in found])

    one, read, write = "/bill-runs/{bill_run_id}", "billing:read", "billing:write"
    return [
        Endpoint(
            "POST",
            "/bill-runs",
            write,
            start,
            "Bill every account, or one; or show what that would come to",
            body=BillRunIn,
            returns=BillRunOut,
            status=202,
        ),
        Endpoint(
            "GET", "/bill-runs", read, index, "Bill runs, newest first", query=PageQuery, returns=BillRunOut, paged=True
        ),
        Endpoint("GET", one, read, show, "How far a bill run is", returns=RunWithProgressOut),
        Endpoint(
            "GET",
            f"{one}/stream",
            read,
            stream,
            "Watch a bill run: events progress … and end",
            media_type="text/event-stream",
        ),
        Endpoint(
            "POST",
            f"{one}/redrive",
            write,
            redrive,
            "Go on with a bill run that failed",
            returns=BillRunOut,
            status=202,
        ),
        Endpoint(
            "GET",
            f"{one}/drafts",
            read,
            drafts,
            "What each document of a run comes to",
            query=DraftQuery,
            returns=DraftOut,
            paged=True,
        ),
        Endpoint(
            "GET",
            f"{one}/differences",
            read,
            differences,
            "How a run differs from its preview, by account",
            query=PageQuery,
            returns=DifferenceOut,
            paged=True,
            problems=(409,),
        ),
        Endpoint("GET", f"{one}/holds", read, holds, "Who waits in a run, and who was let go", returns=HoldsOut),
        Endpoint(
            "POST",
            f"{one}/hold",
            write,
            hold,
            "Let an account of a run, or all of it, wait",
            body=HoldIn,
            returns=HoldOut,
            status=201,
        ),
        Endpoint(
            "POST",
            f"{one}/release",
            write,
            release,
            "End a hold and issue what waited for it",
            body=ReleaseIn,
            returns=BillRunOut,
            status=202,
        ),
        Endpoint(
            "GET", f"{one}/certificates", read, certificates, "Every certificate of a run", returns=CertificatesOut
        ),
        Endpoint(
            "GET",
            f"{one}/certificate",
            read,
            certificate,
            "The newest certificate of a run, as the file to be checked",
            returns=CertificateOut,
        ),
        Endpoint(
            "GET", "/bill-run-certificate-key", read, key, "The key that certificates are checked with", returns=KeyOut
        ),
        Endpoint(
            "GET",
            "/accounts/{account_id}/invoice-preview",
            read,
            preview,
            "What an account would be billed now",
            query=PreviewQuery,
            returns=PreviewsOut,
        ),
    ]
