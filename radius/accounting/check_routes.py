"""HTTP of the checks: what each NAS's accounting of the last day says about the NAS."""

from __future__ import annotations

from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import Octets, Out
from radius.accounting.checks import NasChecks, NasEvidence


class NasEvidenceOut(Out):
    """`findings` are sentences, none where the NAS counts as it should; the numbers are what they rest on."""

    nas_id: str
    sessions: int
    live: int
    upstream_octets: Octets
    downstream_octets: Octets
    upstream_heavy: int
    downstream_heavy: int
    wrapped: int
    silent: int
    looks_swapped: bool
    findings: list[str]


def endpoints(checks: NasChecks) -> list[Endpoint]:
    async def index(call: Call) -> Page:
        query = call.query_as(PageQuery)
        after = query.last(str) or ""
        found = [evidence for evidence in await checks.all() if evidence.nas_id > after]
        return Page.of(found[: query.rows], query, lambda evidence: (evidence.nas_id,), _out)

    return [
        Endpoint(
            "GET",
            "/nas-checks",
            "radius:read",
            index,
            "What the accounting of the last day says about each NAS: direction, narrow counters, lost interims",
            returns=NasEvidenceOut,
            query=PageQuery,
            paged=True,
        )
    ]


def _out(found: NasEvidence) -> NasEvidenceOut:
    return NasEvidenceOut(**{name: getattr(found, name) for name in NasEvidenceOut.model_fields})
