"""Who computes levies: the table of rules that is kept here, or a tax service that is asked over HTTP.

The service gets one POST with every document of a batch, and answers with the levies of each:

    {"documents": [{"entity_id", "account_id", "currency", "lines": [{"place", "area", "product", "kind", "first_on",
                                                                   "net", "count", "exempt"}]}]}
    {"documents": [{"levies": [{"place", "code", "name", "authority", "tax", "base", "rate"}]}]}

Amounts are text in major units. An answer of another shape, for another number of documents, for a line that was not
asked about or in more decimals than the currency has is refused as a whole: nothing is issued on half an answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx2
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from controller.domain.identity import EntityId
from controller.domain.money import Money
from controller.domain.ports import Secret
from controller.store.engine import Database
from erp.finance import taxes
from erp.finance.errors import LevyUnavailable
from erp.finance.levies import LevyRequest, LevyRule, levied
from erp.finance.model import Levy

_TIMEOUT_S = 10.0
"""Until the last octet of an answer."""
_MAX_ANSWER = 50_000_000
"""Octets. A batch is some hundred documents of a few levies each."""


class TableLevies:
    """LevyAdapter over the rules that the legal entity keeps."""

    asks_a_peer = False

    def __init__(self, database: Database) -> None:
        self._database = database

    async def levies(self, requests: Sequence[LevyRequest]) -> list[list[Levy]]:
        rules: dict[EntityId, list[LevyRule]] = {}
        async with self._database.read() as conn:
            for entity_id in sorted({r.entity_id for r in requests}):
                rules[entity_id] = await taxes.levy_rules(conn, entity_id)
        return [levied(rules[r.entity_id], r.lines) if rules[r.entity_id] else [] for r in requests]


class _Levied(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    place: int
    code: str = Field(min_length=1, max_length=40)
    name: str = Field(min_length=1, max_length=120)
    authority: str = Field(max_length=120)
    tax: str
    base: str
    rate: str = Field(default="", max_length=80)


class _Document(BaseModel):
    levies: list[_Levied]


class _Answer(BaseModel):
    documents: list[_Document]


class HttpLevies:
    """LevyAdapter over a tax service. Nothing is issued while it does not answer."""

    asks_a_peer = True

    def __init__(
        self,
        url: str,
        token: Secret | None,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        patience_s: float = _TIMEOUT_S,
    ) -> None:
        headers = {"Authorization": f"Bearer {token.reveal()}"} if token else {}
        self._url = url
        self._patience_s = patience_s
        self._http = httpx2.AsyncClient(timeout=_TIMEOUT_S, headers=headers, transport=transport)

    async def levies(self, requests: Sequence[LevyRequest]) -> list[list[Levy]]:
        asked = [r for r in requests if r.lines]
        if not asked:
            return [[] for _ in requests]
        try:
            # One limit for the whole answer: each octet may come just before the client's own.
            async with asyncio.timeout(self._patience_s):
                content = await self._ask({"documents": [_asked(r) for r in asked]})
            told = _Answer.model_validate_json(content)
            if len(told.documents) != len(asked):
                raise ValueError(f"{len(told.documents)} documents instead of {len(asked)}")
            found = [_read(d, r) for d, r in zip(told.documents, asked, strict=True)]
        except (httpx2.HTTPError, TimeoutError) as error:
            raise LevyUnavailable(f"the tax service does not answer: {type(error).__name__}") from error
        except (ValidationError, ValueError, ArithmeticError) as error:
            raise LevyUnavailable(f"the tax service answers what cannot be: {error}") from error
        by_request = iter(found)
        return [next(by_request) if r.lines else [] for r in requests]

    async def _ask(self, question: dict[str, Any]) -> bytes:
        async with self._http.stream("POST", self._url, json=question) as answer:
            answer.raise_for_status()
            content = bytearray()
            async for part in answer.aiter_bytes():
                content += part
                if len(content) > _MAX_ANSWER:
                    raise ValueError(f"more than {_MAX_ANSWER} octets")
            return bytes(content)

    async def close(self) -> None:
        await self._http.aclose()


def _asked(request: LevyRequest) -> dict[str, Any]:
    return {
        "entity_id": request.entity_id,
        "account_id": request.account_id,
        "currency": request.lines[0].net.currency,
        "lines": [
            {
                "place": line.place,
                "area": line.area,
                "product": line.product,
                "kind": line.kind,
                "first_on": line.first_on.isoformat(),
                "net": str(line.net.amount),
                "count": line.count,
                "exempt": line.exempt,
            }
            for line in request.lines
        ],
    }


def _read(told: _Document, request: LevyRequest) -> list[Levy]:
    """Raises ValueError for what was not asked."""
    currency = request.lines[0].net.currency
    places = {line.place for line in request.lines}
    seen: set[tuple[int, str]] = set()
    found = []
    for levy in told.levies:
        if levy.place not in places or (levy.place, levy.code) in seen:
            raise ValueError(f"levy {levy.code} on line {levy.place}")
        seen.add((levy.place, levy.code))
        tax, base = Money.exact(levy.tax, currency), Money.exact(levy.base, currency)
        found.append(Levy(levy.place, levy.code, levy.name, levy.authority, tax, base, levy.rate))
    return found
