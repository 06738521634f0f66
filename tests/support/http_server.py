"""Serves an ASGI app over a real socket on a free loopback port, in a thread with its own loop.

    with serving(app) as url: ...

For clients that want a socket: schemathesis, browsers. `build` makes the app inside that loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp

from controller.app.server import HttpServer


@contextmanager
def serving(build: Callable[[], Awaitable[ASGIApp]], *, on_stop: Callable[[], None] = lambda: None) -> Iterator[str]:
    """The address of the running server. It is stopped at the end of the block, within its grace time."""
    started = threading.Event()
    found: list[str] = []
    failure: list[BaseException] = []
    control: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = []

    async def main() -> None:
        server = HttpServer(await build(), host="127.0.0.1", port=0, on_stop=on_stop)
        task = asyncio.create_task(server.run())
        control.append((asyncio.get_running_loop(), task))
        found.append(server.url)
        started.set()
        try:
            await task
        except asyncio.CancelledError:
            pass

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            failure.append(error)
            started.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(30)
    if failure:
        raise failure[0]
    try:
        yield found[0]
    finally:
        loop, task = control[0]
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10)
        assert not thread.is_alive(), "the server did not stop within its grace time"
    if failure:
        raise failure[0]
