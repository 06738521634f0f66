"""Steps that are made in a thread: nobody else waits, the conversation does not step twice, and nothing is stuck."""

from __future__ import annotations

import asyncio
import threading

import pytest

from controller.domain.errors import PeerError
from radius.authorization.eap.method import Context, Continue, Failure, Later, Step, Success
from radius.authorization.eap.packet import IDENTITY, RESPONSE, TLS, EapPacket, join, split
from radius.authorization.eap.server import EapServer
from radius.authorization.eap.sessions import EapSessions
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import ACCESS_ACCEPT, ACCESS_REJECT, Attr
from radius.protocol.packet import Packet, attribute
from radius.protocol.server import Decision, Deferred
from tests.support.radius import SECRET, nas

KNOWN = nas()


class Slow:
    """A method whose only step takes as long as the test likes, in two halves."""

    def __init__(self) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.steps = 0

    def start(self) -> Step:
        return Continue(b"?")

    def respond(self, response: EapPacket) -> Step | Later:
        return Later(self._first_half)

    def _first_half(self) -> Step | Later:
        self.entered.set()
        assert self.go_on.wait(10)
        return Later(self._second_half)

    def _second_half(self) -> Step:
        self.steps += 1
        return Success(b"anna", bytes(64))


def admit(identity: bytes, packet: Packet, _nas: object, *, accept: bytes, reject: bytes) -> Decision:
    return Decision(ACCESS_ACCEPT, accept, "accept", identity.decode())


class Conversation:
    """Packets of one conversation, as the NAS forwards them."""

    def __init__(self, method: Slow) -> None:
        def make(_context: Context) -> Slow:
            return method

        self.server = EapServer({TLS: make}, EapSessions(), admit, lambda: 0.0)
        asked = self.ask(EapPacket(RESPONSE, 1, IDENTITY, b"anonymous"))
        assert isinstance(asked, Decision)
        challenge = self.decoded(asked)
        request = join(challenge)
        assert request is not None
        self.state = challenge.get(Attr.STATE) or b""
        self.identifier = EapPacket.decode(request).identifier

    state = b""

    @staticmethod
    def decoded(decision: Decision) -> Packet:
        head = bytes((decision.code, 1)) + (20 + len(decision.attributes)).to_bytes(2, "big") + bytes(16)
        return Packet.decode(head + decision.attributes)

    def ask(self, response: EapPacket) -> Decision | Deferred:
        body = attribute(Attr.USER_NAME, b"anonymous") + split(response.encode())
        body += attribute(Attr.STATE, self.state) if self.state else b""
        return self.server.decide(Packet.decode(SharedSecret(SECRET).access_request(1, bytes(16), body)), KNOWN)

    def respond(self, data: bytes = b"!") -> Decision | Deferred:
        return self.ask(EapPacket(RESPONSE, self.identifier, TLS, data))


async def test_the_loop_goes_on_while_a_step_is_made() -> None:
    method = Slow()
    conversation = Conversation(method)
    deferred = conversation.respond()
    assert isinstance(deferred, Deferred)
    made = asyncio.ensure_future(deferred.decide())
    assert await asyncio.to_thread(method.entered.wait, 10)
    assert not made.done()
    with pytest.raises(PeerError, match="eap-busy"):
        conversation.respond(b"something else")
    method.go_on.set()
    decision = await made
    assert (decision.code, decision.reason) == (ACCESS_ACCEPT, "anna")
    assert conversation.decoded(decision).get(Attr.USER_NAME) == b"anna"
    again = conversation.respond()
    assert isinstance(again, Decision)
    assert again.code == ACCESS_ACCEPT, "the same Response gets the same answer"
    assert method.steps == 1


async def test_a_step_that_is_given_up_ends_its_conversation() -> None:
    method = Slow()
    conversation = Conversation(method)
    deferred = conversation.respond()
    assert isinstance(deferred, Deferred)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await deferred.decide()
    method.go_on.set()
    refused = conversation.respond()
    assert isinstance(refused, Decision)
    assert refused.code == ACCESS_REJECT
    with pytest.raises(PeerError):
        conversation.respond(b"something else")


def test_a_failure_shows_no_key() -> None:
    assert "00" not in repr(Success(b"anna", bytes(64)))
    assert repr(Failure("wrong password")) == "Failure(reason='wrong password')"
