"""Between the ports and those who decide: requests of other people's realms go to their home servers.

    Access-Request      local realm → the policy, at once     other realm → home server, deferred, attributes filtered
    Accounting-Request  local → recorder     mirror → recorder and queue     proxy → queue alone

Accounting is answered when it is stored here (RFC 2866 §4.1), and sent on from the queue: a home server that is away
for a day costs nobody a record. Without routes a request pays for one look at an empty dict.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from controller.domain.errors import PeerError
from radius.ports import Recorder
from radius.protocol.cause import Cause
from radius.protocol.codes import ACCESS_ACCEPT, ACCESS_CHALLENGE, ACCESS_REJECT, Attr
from radius.protocol.duplicates import PENDING, Duplicates
from radius.protocol.hidden import Attributes, covered, opened
from radius.protocol.nas import Nas
from radius.protocol.operator import named_attributes, of_operator
from radius.protocol.packet import ZERO_AUTHENTICATOR, Packet
from radius.protocol.server import Answer, Decide, Decision, Deferred
from radius.proxy.model import LOCAL, PROXY, Route, Routes, loop_of, stickiness
from radius.proxy.upstream import Reply

_USER_NAME = int(Attr.USER_NAME)
_PROXY_STATE = int(Attr.PROXY_STATE)
_RESULTS = {ACCESS_ACCEPT: "accept", ACCESS_REJECT: "reject", ACCESS_CHALLENGE: "challenge"}

_SENT_ON = b"sent on"
"""Stands for the answer to a record that went to a home server: the answer itself follows from the request."""

Stored = Callable[[], None]


class Asks(Protocol):
    """radius.proxy.pools.Pools, as far as logins need it."""

    async def ask(
        self, pool: str, code: int, attributes: Attributes, key: bytes, *, budget_s: float
    ) -> tuple[Reply, str]: ...


class Queue(Protocol):
    """radius.proxy.mirror.Mirror, as far as accounting needs it."""

    def put(self, route: Route, attributes: Attributes, received_us: int, stored: Stored) -> None: ...


class Router:
    """`decide` stands before the policy, `Forwarding` before the recorder. `mark` begins our Proxy-State."""

    def __init__(
        self, local: Decide, pools: Asks, mark: bytes, *, budget_s: float = 3.5, operator_name: str = ""
    ) -> None:
        self._local = local
        self._pools = pools
        self._budget_s = budget_s
        self._operator_name = operator_name
        self.mark = mark
        self.routes = Routes()

    def decide(self, packet: Packet, nas: Nas) -> Answer:
        """Raises PeerError, as the policy does."""
        if not self.routes:
            return self._local(packet, nas)
        route = self.route(packet)
        if route is None:
            return self._local(packet, nas)
        problem = loop_of(packet, self.mark)
        if problem is not None:
            return Decision(ACCESS_REJECT, b"", "reject", Cause.LOOP.because(problem))
        return Deferred(partial(self._forward, route, packet, nas))

    def route(self, packet: Packet) -> Route | None:
        """Whose request this is; None for ours."""
        name = packet.get(_USER_NAME)
        return None if name is None else self.routes.find(name)

    async def _forward(self, route: Route, packet: Packet, nas: Nas) -> Decision:
        attributes = [*self.named(route.request(opened(packet, nas.secret, packet.authenticator)), nas), self.state()]
        reply, server = await self._pools.ask(
            route.pool, packet.code, attributes, stickiness(packet), budget_s=self._budget_s
        )
        result = _RESULTS.get(reply.code)
        if result is None:
            raise PeerError("home-server", f"{server} answered an Access-Request with packet code {reply.code}")
        body = covered(route.reply(reply.attributes), nas.secret, packet.authenticator)
        refused = Cause.PROXY.because(f"home server {server} of realm {route.realm} refused it")
        reason = refused if result == "reject" else ""
        return Decision(reply.code, body, result, reason)

    def named(self, attributes: Attributes, nas: Nas) -> Attributes:
        """With our network and the NAS in them, so that the home server can ask for CoA (RFC 8559 §3)."""
        if not self._operator_name:
            return attributes
        kept = [one for one in attributes if not of_operator(*one)]
        return [*kept, *named_attributes(self._operator_name, nas.nas_id.encode())]

    def state(self) -> tuple[int, bytes]:
        """Our Proxy-State: by its beginning we know a request that comes back to us."""
        return _PROXY_STATE, self.mark + secrets.token_bytes(4)


class Forwarding:
    """radius.ports.Recorder in front of the true one.

    A record that was sent on and answered for is not sent on again when its NAS repeats it.
    """

    def __init__(self, recorder: Recorder, router: Router, queue: Queue) -> None:
        self._recorder = recorder
        self._router = router
        self._queue = queue
        self._forwarded = Duplicates()

    def submit(self, packet: Packet, nas: Nas, received_us: int, respond: Callable[[], None]) -> None:
        """See the port. Raises PeerError "loop" too, and "overload" when the queue is full."""
        if not self._router.routes:
            self._recorder.submit(packet, nas, received_us, respond)
            return
        route = self._router.route(packet)
        if route is None or route.accounting == LOCAL:
            self._recorder.submit(packet, nas, received_us, respond)
            return
        problem = loop_of(packet, self._router.mark)
        if problem is not None:
            raise PeerError("loop", problem)
        key = nas.nas_id.encode() + packet.authenticator
        known = self._forwarded.claim(key, time.monotonic())
        if known is not None:
            # One that is still on its way is answered when its first copy is.
            if known is not PENDING:
                respond()
            return
        try:
            self._send_on(route, packet, nas, received_us, partial(self._answer, key, respond))
        except PeerError:
            self._forwarded.forget(key)
            raise

    def _send_on(self, route: Route, packet: Packet, nas: Nas, received_us: int, respond: Callable[[], None]) -> None:
        attributes = self._router.named(route.request(opened(packet, nas.secret, ZERO_AUTHENTICATOR)), nas)
        if route.accounting == PROXY:
            self._queue.put(route, attributes, received_us, respond)
            return
        both = _Both(respond)
        # The recorder first: what it refuses is not sent on either, and comes again.
        self._recorder.submit(packet, nas, received_us, both)
        self._queue.put(route, attributes, received_us, both)

    def _answer(self, key: bytes, respond: Callable[[], None]) -> None:
        self._forwarded.answer(key, _SENT_ON)
        respond()

    def prove(self, respond: Callable[[], None]) -> None:
        self._recorder.prove(respond)


class _Both:
    """Responds when it was called a second time: the record is in the sessions and in the queue."""

    def __init__(self, respond: Callable[[], None]) -> None:
        self._respond = respond
        self._missing = 2

    def __call__(self) -> None:
        self._missing -= 1
        if not self._missing:
            self._respond()
