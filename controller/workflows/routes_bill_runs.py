"""Bill runs over HTTP: start, look how far, see what comes out, hold and let go, and hand out the certificate."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Literal

from pydantic import Field
from starlette.responses import Response, StreamingResponse

from billing_bridge.billing.holds import WHOLE_RUN, Hold
from billing_bridge.billing.model import QUEUED, RUNNING, BillRun, DraftTotal
from billing_bridge.billing.run_book import Progress
from billing_bridge.billing.service import BillingService
from controller.domain.errors import NotFound
from controller.domain.identity import AccountId, BillRunId
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import IdText, In, Instant, MoneyOut, Out
from controller.store.metadata import to_micros
from controller.workflows.bill_run import BillRuns
from controller.workflows.certify import Certifier
from controller.workflows.preview import Difference, Previews
from erp.finance.issue import Drafted

_LOOK_EVERY_S = 1.0


class BillRunIn(In):
    """`as_of` defaults to now: fees of the period it lies in are charged, and usage of every period closed by then.

    A `dry` run issues nothing. With `preview_id` the run is of the instant and account of that dry run, and is compared
    with it; with `hold_changed` accounts wait that differ from it. With `hold`, a reason, the run waits as a whole
    before its first document.
    """

    as_of: Instant | None = None
    account_id: IdText | None = None
    dry: bool = False
    preview_id: IdText | None = None
    hold_changed: bool = False
    hold: str = Field(default="", max_length=400)


class ProgressOut(Out):
    """`done` is a share of 1. Speed and time left are null while nothing is known of them."""

    done: float
    phase: str
    accounts_per_s: float | None
    left_s: float | None

    @classmethod
    def of(cls, found: Progress) -> ProgressOut:
        return cls(done=found.done, phase=found.phase, accounts_per_s=found.accounts_per_s, left_s=found.left_s)


class BillRunOut(Out):
    """`state` is queued, running, held, done or failed (then `error` says why, and a redrive goes on).

    `waiting_for`: the sources of usage that are not complete yet.
    """

    bill_run_id: str
    as_of: Instant
    account_id: str | None
    state: str
    dry: bool
    preview_id: str | None
    phase: str
    usage_watermark: int
    accounts: int
    batches: int
    batches_checked: int
    batches_done: int
    charges: int
    documents: int
    actor: str
    created_at: Instant
    finished_at: Instant | None
    error: str | None
    waiting_for: str | None

    @classmethod
    def of(cls, run: BillRun) -> BillRunOut:
        return cls(
            bill_run_id=run.bill_run_id,
            as_of=run.as_of,
            account_id=run.account_id,
            state=run.state,
            dry=run.dry,
            preview_id=run.preview_id,
            phase=run.phase,
            usage_watermark=run.usage_watermark,
            accounts=run.accounts,
            batches=run.batches,
            batches_checked=run.batches_checked,
            batches_done=run.batches_done,
            charges=run.charges,
            documents=run.documents,
            actor=run.actor,
            created_at=run.created_at,
            finished_at=run.finished_at,
            error=run.error,
            waiting_for=run.waiting_for,
        )


class RunWithProgressOut(BillRunOut):
    progress: ProgressOut


class DraftOut(Out):
    """What a document of the run comes to; `sha256` leaves out what only the issue adds."""

    account_id: str
    charges: int
    net: MoneyOut
    tax: MoneyOut
    total: MoneyOut
    issued: bool
    sha256: str

    @classmethod
    def of(cls, draft: DraftTotal) -> DraftOut:
        return cls(
            account_id=draft.account_id,
            charges=draft.charges,
            net=MoneyOut.of(draft.net),
            tax=MoneyOut.of(draft.tax),
            total=MoneyOut.of(draft.total),
            issued=draft.issued,
            sha256=draft.sha256.hex(),
        )


class DraftQuery(PageQuery):
    issued: bool | None = None


class ChangeOut(Out):
    where: str
    shown: str | None
    now: str | None


class DifferenceOut(Out):
    """Of one account: what the preview came to, what the run comes to, and in what they differ."""

    account_id: str
    currency: str
    shown: MoneyOut | None
    now: MoneyOut | None
    changes: list[ChangeOut]

    @classmethod
    def of(cls, found: Difference) -> DifferenceOut:
        return cls(
            account_id=found.account_id,
            currency=found.currency,
            shown=MoneyOut.of(found.shown) if found.shown else None,
            now=MoneyOut.of(found.now) if found.now else None,
            changes=[ChangeOut(where=c.where, shown=_text(c.shown), now=_text(c.now)) for c in found.changes],
        )


class HoldOut(Out):
    """`account_id` is null for a hold of the whole run. It stands until `released_at`."""

    account_id: str | None
    source: str
    reason: str
    held_at: Instant
    held_by: str
    released_at: Instant | None
    released_by: str | None
    release_reason: str | None

    @classmethod
    def of(cls, hold: Hold) -> HoldOut:
        return cls(
            account_id=hold.account_id or None,
            source=hold.source,
            reason=hold.reason,
            held_at=hold.held_at,
            held_by=hold.held_by,
            released_at=hold.released_at,
            released_by=hold.released_by,
            release_reason=hold.release_reason,
        )


class HoldsOut(Out):
    holds: list[HoldOut]


class HoldIn(In):
    """Without `account_id` the whole run."""

    account_id: IdText | None = None
    reason: str = Field(min_length=1, max_length=400)


class ReleaseIn(HoldIn):
    """What the checks found is let go in the queue of exceptions, not here."""

    source: Literal["person", "preview", "proof"] = "person"


class CertificatesOut(Out):
    """Each is the file to be checked with `headend billing verify-certificate`; oldest first."""

    certificates: list[str]


class KeyOut(Out):
    """Ed25519, in base64."""

    public_key: str


class PreviewQuery(In):
    as_of: Instant | None = None


class PreviewOut(Out):
    """`content` is what the document would say, without number and dates."""

    net: MoneyOut
    tax: MoneyOut
    total: MoneyOut
    sha256: str
    content: dict[str, Any]

    @classmethod
    def of(cls, draft: Drafted) -> PreviewOut:
        return cls(
            net=MoneyOut.of(draft.net),
            tax=MoneyOut.of(draft.tax),
            total=MoneyOut.of(draft.total),
            sha256=draft.sha256.hex(),
            content=draft.content,
        )


class PreviewsOut(Out):
    documents: list[PreviewOut]


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


def _text(found: object) -> str | None:
    return None if found is None else found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
