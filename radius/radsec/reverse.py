"""CoA and Disconnect down the TLS connection that a NAS opened to us: no port of its own, no firewall in the way.

    NAS ══ TLS ══► we          Access-Request, Accounting-Request, Status-Server ──►
                               ◄── CoA-Request, Disconnect-Request       (identifiers or Tokens of this direction)
                               ACK, NAK ──►

The packets of RFC 5176 under the rules of RFC 6614: secret "radsec", or no secret at all under RADIUS/1.1. Which side
opened the connection makes no difference to them (draft-ietf-radext-reverse-coa). Nothing is repeated: TCP does that.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from controller.domain.ports import CoaOutcome
from radius.protocol import version11
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import COA_ACK, COA_NAK, DISCONNECT_ACK, DISCONNECT_NAK, Attr
from radius.protocol.dynauth import DynamicAnswer, DynamicRequest, answers
from radius.protocol.outstanding import Identifiers
from radius.protocol.packet import Packet, integer_attribute

ANSWERS = frozenset({COA_ACK, COA_NAK, DISCONNECT_ACK, DISCONNECT_NAK})
RADSEC = SharedSecret(b"radsec")
"""The secret of every RADIUS/TLS connection (RFC 6614 §2.3): what protects is TLS."""


@dataclass(frozen=True, slots=True)
class _Asked:
    waiting: asyncio.Future[DynamicAnswer]
    code: int
    request: DynamicRequest | None
    """None under version 1.1: TLS alone vouches for the answer."""


class Reverse:
    """One direction of one connection; `write` puts octets on it, `signed` a Message-Authenticator into requests."""

    def __init__(self, write: Callable[[bytes], None], *, is_11: bool, signed: bool = False) -> None:
        self._write = write
        self._is_11 = is_11
        self._signed = signed
        self._identifiers: Identifiers[_Asked] = Identifiers()
        self._by_token: dict[int, _Asked] = {}
        self._token = secrets.randbits(32)

    @property
    def has_room(self) -> bool:
        return self._is_11 or self._identifiers.has_room

    async def ask(self, code: int, attributes: bytes, *, sent_at: datetime, timeout_s: float) -> CoaOutcome:
        """What the NAS answered; "timeout" when it did not, or when the connection ended before."""
        waiting: asyncio.Future[DynamicAnswer] = asyncio.get_running_loop().create_future()
        key = self._send(waiting, code, attributes, sent_at)
        try:
            async with asyncio.timeout(timeout_s):
                answer = await waiting
        except TimeoutError:
            self._give_up(key)
            return CoaOutcome("timeout", detail=f"no answer over its TLS connection in {timeout_s:g} s")
        except ConnectionResetError as error:
            return CoaOutcome("timeout", detail=str(error))
        except asyncio.CancelledError:
            self._give_up(key)
            raise
        return CoaOutcome("ack" if answer.acknowledged else "nak", answer.error_cause, answer.words)

    def answer(self, frame: bytes) -> None:
        """Take an ACK or NAK. Raises PeerError for one that does not verify: the connection ends (RFC 6613 §2.6.4)."""
        key = int.from_bytes(frame[4:8], "big") if self._is_11 else frame[1]
        asked = self._by_token.get(key) if self._is_11 else self._identifiers.find(key)
        if asked is None:
            return
        if asked.request is None:
            found = answers(Packet.decode(frame), asked.code)
            del self._by_token[key]
        else:
            found = asked.request.read(frame)
            self._identifiers.settle(key)
        if not asked.waiting.done():
            asked.waiting.set_result(found)

    def lost(self) -> None:
        """The connection has ended: nobody waits longer."""
        for asked in [*self._by_token.values(), *self._identifiers.requests()]:
            if not asked.waiting.done():
                asked.waiting.set_exception(ConnectionResetError("its TLS connection ended before the answer"))
        self._by_token.clear()

    def _send(self, waiting: asyncio.Future[DynamicAnswer], code: int, attributes: bytes, sent_at: datetime) -> int:
        if self._is_11:
            key = self._token = (self._token + 1) & 0xFFFF_FFFF
            stamped = attributes + integer_attribute(Attr.EVENT_TIMESTAMP, int(sent_at.timestamp()))
            self._by_token[key] = _Asked(waiting, code, None)
            self._write(version11.encode_body(code, key.to_bytes(4, "big"), stamped))
            return key
        key = self._identifiers.take()
        request = DynamicRequest.encode(code, key, attributes, RADSEC, sent_at=sent_at, signed=self._signed)
        self._identifiers.keep(key, _Asked(waiting, code, request))
        self._write(request.datagram)
        return key

    def _give_up(self, key: int) -> None:
        if self._is_11:
            # Its Token does not come again for 2^32 requests: a late answer finds nobody.
            self._by_token.pop(key, None)
        else:
            self._identifiers.give_up(key)
