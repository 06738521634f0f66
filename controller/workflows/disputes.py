"""Opens a dispute with the explanation of what it is about, as it stands at that moment: usage, prices, digests."""

from __future__ import annotations

import json
from collections.abc import Sequence

from controller.domain.errors import HeadendError
from controller.domain.identity import InvoiceLineId
from controller.workflows.explain import Explainer
from controller.workflows.routes_billing import ExplanationOut
from erp.dunning.disputes import Dispute, DisputeRequest, DisputeService
from erp.finance.service import FinanceService

_MOST_LINES = 200
"""Of an invoice with more, the lines that are contested must be named: each explanation is read from its records."""


class Disputes:
    def __init__(self, disputes: DisputeService, finance: FinanceService, explainer: Explainer) -> None:
        self._disputes = disputes
        self._finance = finance
        self._explainer = explainer

    async def open(self, request: DisputeRequest, *, actor: str) -> Dispute:
        """Raises what DisputeService.open does."""
        frozen = {line_id: await self._frozen(line_id) for line_id in await self._lines(request)}
        return await self._disputes.open(request, frozen, actor=actor)

    async def _lines(self, request: DisputeRequest) -> Sequence[InvoiceLineId]:
        if request.line_id is not None:
            return [request.line_id]
        return [line.line_id for line in (await self._finance.lines(request.invoice_id))[:_MOST_LINES]]

    async def _frozen(self, line_id: InvoiceLineId) -> str:
        """The explanation as canonical JSON; where there is none, why: that a line cannot be explained is evidence."""
        try:
            said = ExplanationOut.of(await self._explainer.explain(line_id)).model_dump(mode="json")
        except HeadendError as error:
            said = {"line_id": line_id, "intact": False, "faults": [str(error)]}
        return json.dumps(said, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
