"""Server-sent events (WHATWG HTML, section 9.2): a response that goes on, and ends when it should.

It ends at shutdown (the stream closes), when the viewer may no longer look, when the client has gone, and when the
client takes nothing for SEND_TIMEOUT_S.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

from starlette.types import Receive, Scope, Send

from controller.store.stream import Subscription

SEND_TIMEOUT_S = 10
RECHECK_S = 15
"""How often the viewer's session is looked at again; a comment is sent as well, which finds dead connections."""


class EventStream:
    """An ASGI response that sends each update of `subscription` as an event named `event`."""

    def __init__(self, subscription: Subscription, *, event: str, still_allowed: Callable[[], Awaitable[bool]]) -> None:
        self._subscription = subscription
        self._event = event
        self._still_allowed = still_allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._subscription:
            if scope["method"] == "HEAD":
                self._subscription.end()
            leaving = asyncio.create_task(self._until_gone(receive))
            try:
                await self._send_all(send)
            except TimeoutError:
                return  # the client takes nothing: without an end of the body the server drops the connection
            finally:
                leaving.cancel()

    async def _until_gone(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._subscription.end()

    async def _send_all(self, send: Send) -> None:
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._chunk(send, b"retry: 2000\n\n")
        loop = asyncio.get_running_loop()
        checked = loop.time()
        while True:
            try:
                update = await self._subscription.next(RECHECK_S)
            except TimeoutError:
                await self._chunk(send, b": still here\n\n")
            else:
                if update is None:
                    break
                data = json.dumps(update[1], separators=(",", ":"))
                await self._chunk(send, f"event: {self._event}\ndata: {data}\n\n".encode())
            if loop.time() - checked >= RECHECK_S:
                checked = loop.time()
                if not await self._still_allowed():
                    break
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _chunk(self, send: Send, body: bytes) -> None:
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await send({"type": "http.response.body", "body": body, "more_body": True})
