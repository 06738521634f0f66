"""Values hidden under a salt: MS-MPPE keys (RFC 2548 §2.4.2) and Tunnel-Password (RFC 2868 §3.5) alike.

plain = length octet ‖ value ‖ zero octets up to a multiple of 16
c(1) = p(1) xor MD5(secret ‖ request authenticator ‖ salt), c(i) = p(i) xor MD5(secret ‖ c(i-1))
"""

from __future__ import annotations

import secrets
from _md5 import md5  # type: ignore[import-not-found]  # the interpreter's own: half the price of OpenSSL's set-up
from itertools import count

from controller.domain.errors import PeerError

_number = int.from_bytes


_salts = count(secrets.randbits(15))


def fresh_salt() -> bytes:
    """A salt unlike the 32,767 before it, leftmost bit set: RFC 2548 §2.4.2 wants those of a packet to differ."""
    return (0x8000 | next(_salts) & 0x7FFF).to_bytes(2, "big")


def conceal(value: bytes, salt: bytes, secret: bytes, request_authenticator: bytes) -> bytes:
    """Salt and cipher text of `value`. Raises ValueError above 239 octets: no attribute could carry it."""
    size = len(value) + 1
    if size > 240:
        raise ValueError(f"{len(value)} octets do not fit into a salted attribute")
    plain = (bytes((size - 1,)) + value).ljust((size + 15) // 16 * 16, b"\0")
    concealed, previous = salt, request_authenticator + salt
    for start in range(0, len(plain), 16):
        mask = md5(secret + previous).digest()
        previous = (_number(plain[start : start + 16], "big") ^ _number(mask, "big")).to_bytes(16, "big")
        concealed += previous
    return concealed


def uncover(concealed: bytes, secret: bytes, request_authenticator: bytes) -> bytes:
    """The value again, for clients and tests. Raises PeerError "salted" when it cannot be one."""
    size = len(concealed) - 2
    if size < 16 or size % 16:
        raise PeerError("salted", f"{len(concealed)} octets")
    plain, previous = b"", request_authenticator + concealed[:2]
    for start in range(2, len(concealed), 16):
        block = concealed[start : start + 16]
        mask = md5(secret + previous).digest()
        plain += (_number(block, "big") ^ _number(mask, "big")).to_bytes(16, "big")
        previous = block
    if plain[0] >= len(plain):
        raise PeerError("salted", "its length octet is above its length: another secret?")
    return plain[1 : 1 + plain[0]]
