"""Explanations of invoice lines over HTTP."""

from __future__ import annotations

from datetime import date

from controller.domain.price_text import in_words, usage_words
from controller.domain.tariff import TariffVersion
from controller.http.endpoint import Call, Endpoint
from controller.http.models import Instant, MoneyOut, Out
from controller.workflows.explain import Explainer, Explanation, RecordEvidence
from controller.workflows.explain_text import render


class PriceOut(Out):
    version_id: str
    offering_name: str
    number: int
    effective_on: date
    monthly_fee: MoneyOut
    beyond: str
    prices: list[str]

    @classmethod
    def of(cls, tariff: TariffVersion) -> PriceOut:
        return cls(
            version_id=tariff.version_id,
            offering_name=tariff.offering_name,
            number=tariff.number,
            effective_on=tariff.effective_on,
            monthly_fee=MoneyOut(amount=f"{tariff.monthly_fee:f}", currency=tariff.currency),
            beyond=usage_words(tariff.plan, tariff.currency),
            prices=[in_words(price, tariff.currency, tariff.plan.cycle) for price in tariff.plan.prices],
        )


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
    """`intact` is true when every figure was found again from its evidence; else `faults` names what does not hold.

    `price` is null where the line belongs to no offering: a fee, a goodwill, what a person charged.
    """

    line_id: str
    invoice_id: str
    number: str
    charge_id: str
    description: str
    net: MoneyOut
    price: PriceOut | None
    steps: list[str]
    records: list[EvidenceOut]
    intact: bool
    faults: list[str]
    text: str

    @classmethod
    def of(cls, found: Explanation) -> ExplanationOut:
        return cls(
            line_id=found.line.line_id,
            invoice_id=found.invoice.invoice_id,
            number=found.invoice.number,
            charge_id=found.line.charge_id,
            description=found.line.description,
            net=MoneyOut.of(found.line.net),
            price=None if found.detail is None else PriceOut.of(found.detail.tariff),
            steps=list(found.steps),
            records=[EvidenceOut.of(evidence) for evidence in found.records],
            intact=found.intact,
            faults=list(found.faults),
            text=render(found),
        )


def endpoints(explainer: Explainer) -> list[Endpoint]:
    async def explanation(call: Call) -> ExplanationOut:
        return ExplanationOut.of(await explainer.explain(call.path["line_id"]))

    return [
        Endpoint(
            "GET",
            "/invoice-lines/{line_id}/explanation",
            scope="billing:read",
            handler=explanation,
            summary="Where a line comes from: price, arithmetic and every usage record, added up again",
            returns=ExplanationOut,
        ),
    ]
