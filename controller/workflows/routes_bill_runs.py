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
    RatedAgainOut,
    RatedAgainQuery,
    ReleaseIn,
    RunWithProgressOut,
)
from controller.workflows.certify import Certifier
from controller.workflows.preview import Previews

_LOOK_EVERY_S = 1.0
_ONE, _READ, _WRITE = "/bill-runs/{bill_run_id}", "billing:read", "billing:write"


def endpoints(bill_runs: BillRuns, billing: BillingService, certifier: Certifier, previews: Previews) -> list[Endpoint]:
    answers = _Answers(bill_runs, billing, certifier, previews)
    return [*_of_runs(answers), *_of_holds(answers), *_of_outcome(answers)]


def _of_runs(answers: _Answers) -> list[Endpoint]:
    """Start, watch and go on."""
    return [
        Endpoint(
            "POST",
            "/bill-runs",
            _WRITE,
            answers.start,
            "Bill every account, or one; or show what that would come to",
            body=BillRunIn,
            returns=BillRunOut,
            status=202,
        ),
        Endpoint(
            "GET",
            "/bill-runs",
            _READ,
            answers.index,
            "Bill runs, newest first",
            query=PageQuery,
            returns=BillRunOut,
            paged=True,
        ),
        Endpoint("GET", _ONE, _READ, answers.show, "How far a bill run is", returns=RunWithProgressOut),
        Endpoint(
            "GET",
            f"{_ONE}/stream",
            _READ,
            answers.stream,
            "Watch a bill run: events progress … and end",
            media_type="text/event-stream",
        ),
        Endpoint(
            "POST",
            f"{_ONE}/redrive",
            _WRITE,
            answers.redrive,
            "Go on with a bill run that failed",
            returns=BillRunOut,
            status=202,
        ),
    ]


def _of_holds(answers: _Answers) -> list[Endpoint]:
    """Who waits, and who may go."""
    return [
        Endpoint(
            "GET", f"{_ONE}/holds", _READ, answers.holds, "Who waits in a run, and who was let go", returns=HoldsOut
        ),
        Endpoint(
            "POST",
            f"{_ONE}/hold",
            _WRITE,
            answers.hold,
            "Let an account of a run, or all of it, wait",
            body=HoldIn,
            returns=HoldOut,
            status=201,
        ),
        Endpoint(
            "POST",
            f"{_ONE}/release",
            _WRITE,
            answers.release,
            "End a hold and issue what waited for it",
            body=ReleaseIn,
            returns=BillRunOut,
            status=202,
        ),
    ]


def _of_outcome(answers: _Answers) -> list[Endpoint]:
    """What comes out: before it is issued, against its preview, and proved."""
    return [
        Endpoint(
            "GET",
            f"{_ONE}/drafts",
            _READ,
            answers.drafts,
            "What each document of a run comes to",
            query=DraftQuery,
            returns=DraftOut,
            paged=True,
        ),
        Endpoint(
            "GET",
            f"{_ONE}/differences",
            _READ,
            answers.differences,
            "How a run differs from its preview, by account",
            query=PageQuery,
            returns=DifferenceOut,
            paged=True,
            problems=(409,),
        ),
        Endpoint(
            "GET",
            f"{_ONE}/rated-again",
            _READ,
            answers.rated_again,
            "Who was rated again after waiting, who let them go, and what has changed",
            query=RatedAgainQuery,
            returns=RatedAgainOut,
            paged=True,
        ),
        Endpoint(
            "GET",
            f"{_ONE}/certificates",
            _READ,
            answers.certificates,
            "Every certificate of a run",
            returns=CertificatesOut,
        ),
        Endpoint(
            "GET",
            f"{_ONE}/certificate",
            _READ,
            answers.certificate,
            "The newest certificate of a run, as the file to be checked",
            returns=CertificateOut,
        ),
        Endpoint(
            "GET",
            "/bill-run-certificate-key",
            _READ,
            answers.key,
            "The key that certificates are checked with",
            returns=KeyOut,
        ),
        Endpoint(
            "GET",
            "/accounts/{account_id}/invoice-preview",
            _READ,
            answers.preview,
            "What an account would be billed now",
            query=PreviewQuery,
            returns=PreviewsOut,
        ),
    ]


class _Answers:
    """What the endpoints do."""

    def __init__(self, bill_runs: BillRuns, billing: BillingService, certifier: Certifier, previews: Previews) -> None:
        self._runs = bill_runs
        self._billing = billing
        self._certifier = certifier
        self._previews = previews

    async def _with_progress(self, bill_run_id: BillRunId) -> RunWithProgressOut:
        run = await self._billing.bill_run(bill_run_id)
        progress = ProgressOut.of(await self._runs.book.progress(run))
        return RunWithProgressOut(**BillRunOut.of(run).model_dump(), progress=progress)

    async def start(self, call: Call) -> BillRunOut:
        body = call.body_as(BillRunIn)
        run = await self._runs.start(
            as_of=body.as_of,
            account_id=None if body.account_id is None else AccountId(body.account_id),
            actor=call.actor,
            dry=body.dry,
            preview_id=None if body.preview_id is None else BillRunId(body.preview_id),
            hold_changed=body.hold_changed,
            hold=body.hold,
        )
        return BillRunOut.of(run)

    async def index(self, call: Call) -> Page:
        query = call.query_as(PageQuery)
        found = await self._billing.bill_runs(query.last_key(int, str), query.rows)
        return Page.of(found, query, lambda r: (to_micros(r.created_at), str(r.bill_run_id)), BillRunOut.of)

    async def show(self, call: Call) -> RunWithProgressOut:
        return await self._with_progress(_run_of(call))

    async def stream(self, call: Call) -> Response:
        await self._billing.bill_run(_run_of(call))
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        if call.request.method == "HEAD":
            return Response(headers=headers, media_type="text/event-stream")
        return StreamingResponse(self._events(_run_of(call)), headers=headers, media_type="text/event-stream")

    async def _events(self, bill_run_id: BillRunId) -> AsyncIterator[str]:
        """How far the run is, every second, until it is not at work any more."""
        while True:
            found = await self._with_progress(bill_run_id)
            at_work = found.state in (QUEUED, RUNNING)
            yield f"event: {'progress' if at_work else 'end'}\ndata: {found.model_dump_json()}\n\n"
            if not at_work:
                return
            await asyncio.sleep(_LOOK_EVERY_S)

    async def redrive(self, call: Call) -> BillRunOut:
        return BillRunOut.of(await self._runs.redrive(_run_of(call), actor=call.actor))

    async def drafts(self, call: Call) -> Page:
        query = call.query_as(DraftQuery)
        await self._billing.bill_run(_run_of(call))
        found = await self._runs.book.draft_page(
            _run_of(call), query.last_key(str, str), query.rows, issued=query.issued
        )
        return Page.of(found, query, lambda d: (str(d.account_id), d.net.currency), DraftOut.of)

    async def differences(self, call: Call) -> Page:
        query = call.query_as(PageQuery)
        run = await self._billing.bill_run(_run_of(call))
        found = await self._previews.differences(run, query.last_key(str, str), query.rows)
        return Page.of(found, query, lambda d: (str(d.account_id), d.currency), DifferenceOut.of)

    async def rated_again(self, call: Call) -> Page:
        query = call.query_as(RatedAgainQuery)
        await self._billing.bill_run(_run_of(call))
        found = await self._runs.again.rated_again(
            _run_of(call), query.last_key(str, int), query.rows, query.account_id
        )
        return Page.of(found, query, lambda a: (str(a.account_id), a.number), RatedAgainOut.of)

    async def holds(self, call: Call) -> HoldsOut:
        await self._billing.bill_run(_run_of(call))
        return HoldsOut(holds=[HoldOut.of(hold) for hold in await self._runs.book.holds(_run_of(call))])

    async def hold(self, call: Call) -> HoldOut:
        body = call.body_as(HoldIn)
        account_id = AccountId(body.account_id) if body.account_id else WHOLE_RUN
        return HoldOut.of(await self._runs.hold(_run_of(call), account_id, reason=body.reason, actor=call.actor))

    async def release(self, call: Call) -> BillRunOut:
        body = call.body_as(ReleaseIn)
        account_id = AccountId(body.account_id) if body.account_id else WHOLE_RUN
        found = await self._runs.release(_run_of(call), account_id, body.source, reason=body.reason, actor=call.actor)
        return BillRunOut.of(found)

    async def certificates(self, call: Call) -> CertificatesOut:
        await self._billing.bill_run(_run_of(call))
        return CertificatesOut(certificates=await self._certifier.certificates(_run_of(call)))

    async def certificate(self, call: Call) -> Response:
        await self._billing.bill_run(_run_of(call))
        found = await self._certifier.certificates(_run_of(call))
        if not found:
            raise NotFound(f"bill run {_run_of(call)} has no certificate", code="no-certificate")
        name = f'attachment; filename="bill-run-{_run_of(call)}-{len(found)}.json"'
        return Response(found[-1], headers={"Content-Disposition": name}, media_type="application/json")

    async def key(self, call: Call) -> KeyOut:
        return KeyOut(public_key=await self._certifier.public_key())

    async def preview(self, call: Call) -> PreviewsOut:
        query = call.query_as(PreviewQuery)
        found = await self._previews.of_account(AccountId(call.path["account_id"]), query.as_of)
        return PreviewsOut(documents=[PreviewOut.of(draft) for draft in found])


def _run_of(call: Call) -> BillRunId:
    return BillRunId(call.path["bill_run_id"])
