"""Bill runs and explanations over HTTP."""

from __future__ import annotations

from datetime import date

from billing_bridge.billing.model import BillRun
from billing_bridge.billing.service import BillingService
from controller.domain.identity import AccountId, BillRunId
from controller.domain.price_text import in_words, usage_words
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import IdText, In, Instant, MoneyOut, Out
from controller.store.metadata import to_micros
from controller.workflows.bill_run import BillRuns
from controller.workflows.explain import Explainer, Explanation, RecordEvidence
from controller.workflows.explain_text import render


class BillRunIn(In):
    """`as_of` defaults to now: fees of the period it lies in are charged, and usage of every period closed by then."""

    as_of: Instant | None = None
    account_id: IdText | None = None


class BillRunOut(Out):
    """`state` is queued, running, done or failed (then `error` says why, and a redrive goes on).

    `waiting_for`: the sources of usage that are not complete yet.
    """

    bill_run_id: str
    as_of: Instant
    account_id: str | None
    state: str
    usage_watermark: int
    accounts: int
    batches: int
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
            usage_watermark=run.usage_watermark,
            accounts=run.accounts,
            batches=run.batches,
            batches_done=run.batches_done,
            charges=run.charges,
            documents=run.documents,
            actor=run.actor,
            created_at=run.created_at,
            finished_at=run.finished_at,
            error=run.error,
            waiting_for=run.waiting_for,
        )


class PriceOut(Out):
    version_id: str
    offering_name: str
    number: int
    effective_on: date
    monthly_fee: MoneyOut
    beyond: str
    prices: list[str]


class EvidenceOut(Out):
    """A usage record, and what it added on the days of the line, computed from the records."""

    record_id: int
    kind: str
    session_key: str
    acct_session_id: str
    event_at: Instant
    received_at: Instant
    upstream_octets: int | None
    downstream_octets: int | None
    added_upstream_octets: int
    added_downstream_octets: int
    packet_sha256: str
    record_sha256: str
    intact: bool

    @classmethod
    def of(cls, evidence: RecordEvidence) -> EvidenceOut:
        record = evidence.record
        return cls(
            record_id=record.record_id,
            kind=record.kind,
            session_key=record.session_key,
            acct_session_id=record.acct_session_id.decode(errors="backslashreplace"),
            event_at=record.event_at,
            received_at=record.received_at,
            upstream_octets=record.upstream_octets,
            downstream_octets=record.downstream_octets,
            added_upstream_octets=evidence.upstream_octets,
            added_downstream_octets=evidence.downstream_octets,
            packet_sha256=record.packet_sha256.hex(),
            record_sha256=record.record_sha256.hex(),
            intact=record.intact,
        )


class ExplanationOut(Out):
    """`intact` is true when every figure was found again from its evidence; else `faults` names what does not hold."""

    line_id: str
    invoice_id: str
    number: str
    charge_id: str
    description: str
    net: MoneyOut
    price: PriceOut
    steps: list[str]
    records: list[EvidenceOut]
    intact: bool
    faults: list[str]
    text: str

    @classmethod
    def of(cls, found: Explanation) -> ExplanationOut:
        tariff = found.detail.tariff
        fee = MoneyOut(amount=f"{tariff.monthly_fee:f}", currency=tariff.currency)
        return cls(
            line_id=found.line.line_id,
            invoice_id=found.invoice.invoice_id,
            number=found.invoice.number,
            charge_id=found.line.charge_id,
            description=found.line.description,
            net=MoneyOut.of(found.line.net),
            price=PriceOut(
                version_id=tariff.version_id,
                offering_name=tariff.offering_name,
                number=tariff.number,
                effective_on=tariff.effective_on,
                monthly_fee=fee,
                beyond=usage_words(tariff.plan, tariff.currency),
                prices=[in_words(price, tariff.currency, tariff.plan.cycle) for price in tariff.plan.prices],
            ),
            steps=list(found.steps),
            records=[EvidenceOut.of(evidence) for evidence in found.records],
            intact=found.intact,
            faults=list(found.faults),
            text=render(found),
        )


def endpoints(bill_runs: BillRuns, billing: BillingService, explainer: Explainer) -> list[Endpoint]:
    async def start(call: Call) -> BillRunOut:
        body = call.body_as(BillRunIn)
        account_id = None if body.account_id is None else AccountId(body.account_id)
        return BillRunOut.of(await bill_runs.start(as_of=body.as_of, account_id=account_id, actor=call.actor))

    async def index(call: Call) -> Page:
        query = call.query_as(PageQuery)
        found = await billing.bill_runs(query.last_key(int, str), query.rows)
        return Page.of(found, query, lambda r: (to_micros(r.created_at), str(r.bill_run_id)), BillRunOut.of)

    async def show(call: Call) -> BillRunOut:
        return BillRunOut.of(await billing.bill_run(BillRunId(call.path["bill_run_id"])))

    async def redrive(call: Call) -> BillRunOut:
        return BillRunOut.of(await bill_runs.redrive(BillRunId(call.path["bill_run_id"]), actor=call.actor))

    async def explanation(call: Call) -> ExplanationOut:
        return ExplanationOut.of(await explainer.explain(call.path["line_id"]))

    return [
        Endpoint(
            "POST",
            "/bill-runs",
            scope="billing:write",
            handler=start,
            summary="Bill every account, or one",
            body=BillRunIn,
            returns=BillRunOut,
            status=202,
        ),
        Endpoint(
            "GET",
            "/bill-runs",
            scope="billing:read",
            handler=index,
            summary="Bill runs, newest first",
            query=PageQuery,
            returns=BillRunOut,
            paged=True,
        ),
        Endpoint(
            "GET",
            "/bill-runs/{bill_run_id}",
            scope="billing:read",
            handler=show,
            summary="How far a bill run is",
            returns=BillRunOut,
        ),
        Endpoint(
            "POST",
            "/bill-runs/{bill_run_id}/redrive",
            scope="billing:write",
            handler=redrive,
            summary="Go on with a bill run that failed",
            returns=BillRunOut,
            status=202,
        ),
        Endpoint(
            "GET",
            "/invoice-lines/{line_id}/explanation",
            scope="billing:read",
            handler=explanation,
            summary="Where a line comes from: price, arithmetic and every usage record, added up again",
            returns=ExplanationOut,
        ),
    ]
