"""Changing an expired password by MS-CHAP version 2 (RFC 2548 §2.1.8, §2.3.4; RFC 2759 §7).

    ◄─ reject   MS-CHAP-Error "E=648 R=0 C=… V=3"                 the password has expired
    ─► request  MS-CHAP2-CPW · MS-CHAP-NT-Enc-PW, in pieces · MS-CHAP-Challenge
    ◄─ accept   as for a login, proved with the new password      ◄─ reject   "E=709 …", "E=691 …", "E=648 …"

The new password comes under RC4, keyed with the NT hash of the old one, and the response is made from the new. Only a
password that has expired is changed: whoever knows another person's must not lock that person out with it. What is not
kept at least as NT hash cannot be changed here, nor can version 1.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable

from controller.domain.errors import PeerError, RuleError
from controller.domain.ports import Secret
from radius.authorization.directory import Find, Subscriber
from radius.authorization.mppe import MICROSOFT
from radius.protocol.cause import Cause
from radius.protocol.mschap import (
    ENCRYPTED_PASSWORD_LENGTH,
    NtPassword,
    challenge_hash,
    hash_under,
    new_password,
    nt_hash,
)
from radius.protocol.packet import Packet
from radius.vendors.mark import service_in

NT_ENC_PW, CHANGE = 6, 27
"""Vendor types of Microsoft (RFC 2548 §2.1.8, §2.3.4)."""
_CHANGE = struct.Struct(">BB16s16s8x24s2x")
"""Code 7, identifier, the old hash under the new, the peer's challenge with eight octets to spare, response, flags."""
_CODE, _PIECE_CODE = 7, 6
_CHALLENGE_LENGTH = 16
_MAX_PIECES = 8

Store = Callable[[str, Secret], Awaitable[None]]
"""Keep a service's new password, and know it for the next login. Raises RuleError for one that cannot be kept."""


class Wish:
    """A change as it was asked for. Raises PeerError "ms-chap" for what RFC 2548 does not allow."""

    __slots__ = ("answer", "challenge", "encrypted", "identifier", "old_hash")

    def __init__(self, value: bytes, challenge: bytes | None, packet: Packet, name: bytes) -> None:
        if len(value) != _CHANGE.size or value[0] != _CODE:
            raise PeerError("ms-chap", f"MS-CHAP2-CPW of {len(value)} octets instead of {_CHANGE.size}")
        if challenge is None or len(challenge) != _CHALLENGE_LENGTH:
            raise PeerError("ms-chap", f"MS-CHAP-Challenge has not the {_CHALLENGE_LENGTH} octets of this version")
        _, self.identifier, self.old_hash, peer, self.answer = _CHANGE.unpack(value)
        self.challenge = challenge_hash(peer, challenge, name)
        self.encrypted = _joined(packet)


def _joined(packet: Packet) -> bytes:
    """The encrypted password, its pieces put in the order of their Sequence-Numbers."""
    pieces: dict[int, bytes] = {}
    for value in packet.vendor_all(MICROSOFT, NT_ENC_PW):
        if len(value) < 5 or value[0] != _PIECE_CODE or len(pieces) == _MAX_PIECES:
            raise PeerError("ms-chap", "MS-CHAP-NT-Enc-PW is no piece of an encrypted password")
        pieces.setdefault(int.from_bytes(value[2:4], "big"), value[4:])
    joined = b"".join(pieces[number] for number in sorted(pieces))
    if len(joined) != ENCRYPTED_PASSWORD_LENGTH:
        raise PeerError("ms-chap", f"an encrypted password of {len(joined)} octets")
    return joined


class PasswordChange:
    """Judges a wish and has it kept."""

    def __init__(self, find: Find, store: Store) -> None:
        self._find = find
        self._store = store

    def judge(self, wish: Wish, subscriber: Subscriber) -> tuple[str, NtPassword] | Cause | str:
        """The new password with its hash, or why it is not taken."""
        guard = subscriber.plan.guard
        if guard is None or not guard.expired:
            return Cause.NOT_CHANGED.because("the peer wants to change a password that has not expired")
        if not guard.enabled:
            return Cause.DISABLED
        old = subscriber.nt_password()
        if old is None:
            return Cause.NOT_CHANGED.because("a change needs the NT hash of the old password, and less is kept of it")
        wanted = new_password(wish.encrypted, old)
        if wanted is None:
            return Cause.WRONG_PASSWORD.because("the new password is not encrypted under the old one")
        new = NtPassword(nt_hash(wanted))
        if hash_under(old, new) != wish.old_hash or not new.made(wish.answer, wish.challenge):
            return Cause.WRONG_PASSWORD.because("the change does not prove the old and the new password")
        return wanted, new

    async def keep(self, subscriber: Subscriber, wanted: str, name: bytes) -> Subscriber | str:
        """The subscriber as known with the new password, or why it was not kept."""
        try:
            await self._store(service_in(subscriber.attributes), Secret(wanted))
        except RuleError as error:
            return Cause.NOT_CHANGED.because(f"the new password was not taken: {error}")
        return self._find(name) or Cause.UNKNOWN_USER
