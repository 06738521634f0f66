"""Requests to Stripe's API, form-encoded under an Idempotency-Key, as published.

What may have had an effect is sent again under the same key: connections that break, no answer in time, 409 (the same
key is in flight), 429 and 5xx, with growing pauses and the server's own Retry-After and Stripe-Should-Retry. Only then
is it GatewayUnsure, and the caller may go on later with the same key: Stripe keeps keys for at least 24 hours.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import httpx2

from controller.domain.ports import Secret
from erp.payments.errors import GatewayDeclined, GatewayUnsure
from erp.payments.gateway import Answer, BalanceTransaction, ChargeCard, RefundPayment
from erp.payments.stripe import amounts

API_VERSION = "2024-06-20"
_PAUSES_S = (0.5, 1.0, 2.0, 4.0)
_LONGEST_PAUSE_S = 20.0
_MAX_ANSWER = 5_000_000
"""Octets. A list of a hundred balance transactions is some hundred thousand."""
_SUCCEEDED = {"succeeded": "succeeded", "processing": "pending", "pending": "pending", "requires_capture": "pending"}


class StripeGateway:
    """One account at Stripe, or at whoever speaks like it at `api_base`."""

    def __init__(
        self,
        client: httpx2.AsyncClient,
        api_base: str,
        api_key: Secret,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        patience_s: float = 20.0,
    ) -> None:
        """`patience_s` is how long one answer may take to its last octet."""
        self._client = client
        self._base = api_base.rstrip("/")
        self._key = api_key
        self._sleep = sleep
        self._patience_s = patience_s

    async def charge(self, wanted: ChargeCard) -> Answer:
        found = await self._post(
            "/v1/payment_intents",
            {
                "amount": amounts.written(wanted.amount),
                "currency": wanted.amount.currency.lower(),
                "customer": wanted.customer,
                "payment_method": wanted.method,
                "confirm": "true",
                "off_session": "true",
                "description": wanted.description,
                "metadata[account_id]": wanted.account_id,
                "metadata[attempt_id]": wanted.key,
            },
            wanted.key,
        )
        return _answer(found)

    async def refund(self, wanted: RefundPayment) -> Answer:
        found = await self._post(
            "/v1/refunds",
            {
                "payment_intent": wanted.intent_id,
                "amount": amounts.written(wanted.amount),
                "metadata[refund_id]": wanted.key,
            },
            wanted.key,
        )
        return _answer(found)

    async def transaction(self, transaction_id: str) -> BalanceTransaction:
        return _moved(await self._send("GET", f"/v1/balance_transactions/{quote(transaction_id, safe='')}", {}, {}))

    async def transactions_of(self, payout_id: str, after: str | None) -> tuple[list[BalanceTransaction], bool]:
        wanted = {"payout": payout_id, "limit": "100"} | ({} if after is None else {"starting_after": after})
        found = await self._send("GET", f"/v1/balance_transactions?{urlencode(wanted)}", {}, {})
        data = found.get("data")
        if not isinstance(data, list):
            raise GatewayUnsure("the gateway's answer is no list")
        return [_moved(one) for one in data], found.get("has_more") is True

    async def _post(self, path: str, form: Mapping[str, str], key: str) -> Mapping[str, Any]:
        return await self._send("POST", path, form, {"Idempotency-Key": key})

    async def _send(
        self, method: str, path: str, form: Mapping[str, str], more: Mapping[str, str]
    ) -> Mapping[str, Any]:
        headers = {"Authorization": f"Bearer {self._key.reveal()}", "Stripe-Version": API_VERSION, **more}
        why = ""
        for pause in (*_PAUSES_S, None):
            wait = pause
            try:
                # One limit for the whole answer: each octet may come just before the client's own.
                async with asyncio.timeout(self._patience_s):
                    answer, content = await self._ask(method, path, form, headers)
            except (httpx2.TransportError, TimeoutError) as error:
                why = type(error).__name__
            else:
                if not _again(answer):
                    return _read(answer, content)
                why = f"HTTP {answer.status_code}"
                wait = _pause(answer, pause)
            if pause is None or wait is None:
                break
            await self._sleep(wait * random.uniform(0.75, 1.25))
        raise GatewayUnsure(f"the gateway does not say what came of {path}: {why}")

    async def _ask(
        self, method: str, path: str, form: Mapping[str, str], headers: Mapping[str, str]
    ) -> tuple[httpx2.Response, bytes]:
        """The answer and its body. Raises GatewayUnsure for one that does not end."""
        url, data = f"{self._base}{path}", dict(form) or None
        async with self._client.stream(method, url, data=data, headers=dict(headers)) as answer:
            content = bytearray()
            async for part in answer.aiter_bytes():
                content += part
                if len(content) > _MAX_ANSWER:
                    raise GatewayUnsure(f"the gateway's answer to {path} is larger than {_MAX_ANSWER} octets")
            return answer, bytes(content)


def _again(answer: httpx2.Response) -> bool:
    said = answer.headers.get("stripe-should-retry")
    if said in ("true", "false"):
        return bool(said == "true")
    return answer.status_code in (409, 429) or answer.status_code >= 500


def _pause(answer: httpx2.Response, planned: float | None) -> float | None:
    said = answer.headers.get("retry-after", "")
    if planned is None or not said.isdecimal():
        return planned
    return min(max(planned, float(said)), _LONGEST_PAUSE_S)


def _read(answer: httpx2.Response, content: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise GatewayUnsure(f"the gateway answers HTTP {answer.status_code} with what is not JSON") from None
    if answer.is_success and isinstance(found, dict):
        return found
    error = found.get("error") if isinstance(found, dict) else None
    if not isinstance(error, dict):
        raise GatewayUnsure(f"the gateway answers HTTP {answer.status_code} without saying why")
    if answer.status_code >= 500:
        raise GatewayUnsure(f"the gateway failed: HTTP {answer.status_code}")
    why = str(error.get("decline_code") or error.get("code") or error.get("type") or "refused")[:80]
    raise GatewayDeclined(f"the gateway refuses: {str(error.get('message') or why)[:200]}", code=why)


def _answer(found: Mapping[str, Any]) -> Answer:
    provider_id, status = found.get("id"), str(found.get("status"))
    if not isinstance(provider_id, str):
        raise GatewayUnsure("the gateway's answer names no object")
    return Answer(provider_id, _SUCCEEDED.get(status, "failed"), status)


def _moved(found: Any) -> BalanceTransaction:
    """Raises GatewayUnsure for what is no balance transaction as the API documents it."""
    try:
        source = found.get("source")
        about = source.get("id") if isinstance(source, dict) else source
        return BalanceTransaction(
            str(found["id"]),
            str(found["type"]),
            str(found.get("reporting_category") or ""),
            about if isinstance(about, str) else "",
            amounts.read(found["amount"], found["currency"]),
            amounts.read(found["fee"], found["currency"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise GatewayUnsure(f"the gateway's answer is no balance transaction: {type(error).__name__} {error}") from None
