"""A tiny RADIUS server made with pyrad: it shares no code with what it is asked to judge."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from io import StringIO

from pyrad import packet as rp
from pyrad.client import Client
from pyrad.dictionary import Dictionary

DICTIONARY = Dictionary(
    StringIO(
        """
ATTRIBUTE User-Name 1 string
ATTRIBUTE User-Password 2 octets encrypt=1
ATTRIBUTE CHAP-Password 3 octets
ATTRIBUTE NAS-IP-Address 4 ipaddr
ATTRIBUTE NAS-Port 5 integer
ATTRIBUTE Service-Type 6 integer
ATTRIBUTE Framed-Protocol 7 integer
ATTRIBUTE Framed-IP-Address 8 ipaddr
ATTRIBUTE Reply-Message 18 string
ATTRIBUTE Class 25 octets
ATTRIBUTE Vendor-Specific 26 octets
ATTRIBUTE Session-Timeout 27 integer
ATTRIBUTE Called-Station-Id 30 string
ATTRIBUTE Calling-Station-Id 31 string
ATTRIBUTE NAS-Identifier 32 string
ATTRIBUTE Proxy-State 33 octets
ATTRIBUTE Acct-Status-Type 40 integer
ATTRIBUTE Acct-Input-Octets 42 integer
ATTRIBUTE Acct-Output-Octets 43 integer
ATTRIBUTE Acct-Session-Id 44 string
ATTRIBUTE Acct-Authentic 45 integer
ATTRIBUTE Acct-Session-Time 46 integer
ATTRIBUTE Acct-Terminate-Cause 49 integer
ATTRIBUTE Acct-Input-Gigawords 52 integer
ATTRIBUTE Acct-Output-Gigawords 53 integer
ATTRIBUTE Event-Timestamp 55 date
ATTRIBUTE CHAP-Challenge 60 octets
ATTRIBUTE NAS-Port-Type 61 integer
ATTRIBUTE Message-Authenticator 80 octets
ATTRIBUTE Acct-Interim-Interval 85 integer
ATTRIBUTE NAS-Port-Id 87 string
ATTRIBUTE Error-Cause 101 integer
VENDOR Mikrotik 14988
BEGIN-VENDOR Mikrotik
ATTRIBUTE Mikrotik-Rate-Limit 8 string
END-VENDOR Mikrotik
"""
    )
)


@dataclass
class RadiusPeer(asyncio.DatagramProtocol):
    """Answers Access-Request for `passwords` with `grant`, and every Accounting-Request it is allowed to."""

    secret: bytes
    passwords: dict[str, str] = field(default_factory=dict)
    grant: dict[str, object] = field(default_factory=dict)
    ignore_next: int = 0
    sign: bool = True
    accounting: list[rp.AcctPacket] = field(default_factory=list)
    datagrams: list[tuple[bytes, tuple[str, int]]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    on_accounting: Callable[[rp.AcctPacket], None] = lambda _: None
    address: tuple[str, int] = ("127.0.0.1", 0)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> RadiusPeer:
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, ("127.0.0.1", 0))
        self.address = self.transport.get_extra_info("sockname")
        return self

    async def until(self, condition: Callable[[], bool], timeout_s: float = 10) -> None:
        """Return when `condition` holds; it is looked at after every datagram. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._arrived.clear()
                await self._arrived.wait()

    def stop(self) -> None:
        self.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        pass

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.datagrams.append((data, addr))
        asyncio.get_running_loop().call_soon(self._arrived.set)
        if self.ignore_next:
            self.ignore_next -= 1
            return
        answer = self._auth(data) if data[0] == rp.AccessRequest else self._acct(data)
        if answer is not None:
            self.transport.sendto(answer, addr)

    def _auth(self, data: bytes) -> bytes | None:
        request = rp.AuthPacket(packet=data, secret=self.secret, dict=DICTIONARY)
        request.message_authenticator = True
        if not request.verify_message_authenticator():
            self.problems.append("Message-Authenticator")
            return None
        if data[20] != 80:
            self.problems.append("Message-Authenticator is not first")
        password = self.passwords.get(request["User-Name"][0])
        reply = request.CreateReply(**{})
        good = password is not None and (
            request.VerifyChapPasswd(password)
            if "CHAP-Password" in request
            else request.PwDecrypt(request["User-Password"][0]) == password
        )
        reply.code = rp.AccessAccept if good else rp.AccessReject
        if good:
            for name, value in self.grant.items():
                reply[name] = value
        else:
            reply["Reply-Message"] = "wrong password"
        if self.sign:
            reply.add_message_authenticator()
        else:
            reply.message_authenticator = None
            reply.pop("Message-Authenticator", None)
        return reply.ReplyPacket()

    def _acct(self, data: bytes) -> bytes | None:
        request = rp.AcctPacket(packet=data, secret=self.secret, dict=DICTIONARY)
        if not request.VerifyAcctRequest():
            self.problems.append("Request Authenticator")
            return None
        self.accounting.append(request)
        self.on_accounting(request)
        return request.CreateReply().ReplyPacket()


def coa_request(secret: bytes, code: int, attributes: dict[str, object]) -> rp.CoAPacket:
    """A CoA- or Disconnect-Request made by pyrad."""
    request = rp.CoAPacket(code=code, secret=secret, dict=DICTIONARY, id=7)
    for name, value in attributes.items():
        request[name] = value
    return request


def reply_is_signed(reply: bytes, request: rp.Packet) -> bool:
    """Whether the Response Authenticator of `reply` is the one RFC 2865 §3 asks for."""
    digest = hashlib.md5(reply[:4] + request.authenticator + reply[20:] + request.secret).digest()
    return digest == reply[4:20]


__all__ = ["DICTIONARY", "Client", "RadiusPeer", "coa_request", "reply_is_signed"]
