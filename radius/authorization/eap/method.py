"""What an EAP method is to the conversation that carries it. A method knows neither RADIUS nor the other methods.

    start() ──► Continue ──► respond(response) ──► Continue ──► … ──► Success │ Failure
                                               └─► Later ──► in a thread: one of the three

A method is made for one conversation and thrown away with it. It never sees Identity, Nak or retransmissions: those are
the conversation's. Malformed data raises PeerError: the packet is dropped and the method still waits for a right one,
so a method must not have changed its state by then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from radius.authorization.eap.packet import EapPacket
from radius.protocol.nas import Nas


@dataclass(frozen=True, slots=True)
class Continue:
    """Send a Request of this method with this Type-Data. It must fit into the context's `mtu`.

    `problem` says in words why this run can only fail: a peer that is told so may fall silent.
    """

    data: bytes
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Success:
    """The peer has proved itself.

    `identity` is who it proved to be, None where that is the identity that it began with. `msk` is the master session
    key of at least 64 octets, empty for a method that makes none (RFC 3748 §7.10); its repr hides it.
    """

    identity: bytes | None = None
    msk: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Failure:
    """The peer has not proved itself; `reason` in words, for operators only."""

    reason: str


Step = Continue | Success | Failure


@dataclass(frozen=True, slots=True)
class Later:
    """The step costs too much processor for the event loop (a TLS handshake, argon2): call `work` in a thread.

    Until it has returned nothing else of the method is called.
    """

    work: Callable[[], Step | Later]

    def done(self) -> Step:
        """The step, made here and now: for the thread."""
        step: Step | Later = self
        while isinstance(step, Later):
            step = step.work()
        return step


@dataclass(frozen=True, slots=True)
class Context:
    """What a method may know of the conversation that it is made for.

    `identity` is what the peer claimed in EAP-Response/Identity: routing information, not proof. `mtu` is the longest
    EAP packet in octets that the link to the peer carries (Framed-MTU, RFC 3579 §2.4).
    """

    identity: bytes
    mtu: int
    nas: Nas


class Method(Protocol):
    """One run of a method."""

    def start(self) -> Step:
        """The first Request, or Failure at once."""
        ...

    def respond(self, response: EapPacket) -> Step | Later:
        """The step after a Response of this method's type, whose identifier is right. Raises PeerError."""
        ...


MethodFactory = Callable[[Context], Method]
Offer = Callable[[Context], Method | None]
"""A run of a method, or None where it cannot be had for the time being."""
