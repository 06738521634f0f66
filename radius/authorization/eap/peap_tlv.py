"""What ends PEAPv0: result and crypto binding, TLVs in an EAP packet of type 33 inside the tunnel ([MS-PEAP] §2.2.8).

    M R type(14) | Length, 2 octets | Value        Result 3: 1 success, 2 failure        Crypto-Binding 12: see below

The binding proves that the two ends of the tunnel are the two ends of the inner method: both derive the Compound MAC
Key from the tunnel's key material and the inner method's, and each signs a nonce with it ([MS-PEAP] §3.1.5.5). A peer
that answers with the binding takes the session keys from the same derivation. Pure.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from controller.domain.errors import PeerError

EXTENSIONS = 33
"""EAP Type of the packet that carries TLVs."""
_MANDATORY = 0x8000
_TYPE = 0x3FFF
_RESULT = 3
_CRYPTO_BINDING = 12
SUCCESS, FAILURE = 1, 2
_REQUEST, _RESPONSE = 0, 1
_NONCE = 32
_MAC = 20
_PEAP = b"\x19"


@dataclass(frozen=True, slots=True)
class Binding:
    """A Crypto-Binding TLV as it was received: `octets` is the whole TLV."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Ending:
    """What a peer says at the end: its result and, where it takes part, its binding."""

    result: int
    binding: Binding | None


def result(value: int) -> bytes:
    """A Result TLV."""
    return _tlv(_RESULT, value.to_bytes(2, "big"))


def decode(octets: bytes) -> Ending:
    """Read the peer's TLVs. Raises PeerError "peap-tlv" for malformed, missing or unknown mandatory ones."""
    position, end = 0, len(octets)
    said: int | None = None
    binding: Binding | None = None
    while position < end:
        if end - position < 4:
            raise PeerError("peap-tlv", f"{end - position} octets are no TLV")
        head, length = _number(octets, position), _number(octets, position + 2)
        value = octets[position + 4 : position + 4 + length]
        if len(value) != length:
            raise PeerError("peap-tlv", f"length {length} in {len(value)} octets")
        kind = head & _TYPE
        if kind == _RESULT:
            if length != 2 or said is not None:
                raise PeerError("peap-tlv", "Result is not one TLV of two octets")
            said = _number(value, 0)
        elif kind == _CRYPTO_BINDING:
            if length != 4 + _NONCE + _MAC or binding is not None:
                raise PeerError("peap-tlv", f"Crypto-Binding is not one TLV of {4 + _NONCE + _MAC} octets")
            binding = Binding(octets[position : position + 4 + length])
        elif head & _MANDATORY:
            raise PeerError("peap-tlv", f"mandatory TLV {kind}")
        position += 4 + length
    if said is None:
        raise PeerError("peap-tlv", "no Result")
    return Ending(said, binding)


@dataclass(frozen=True, slots=True)
class Compound:
    """The keys of one binding: Compound MAC Key and what the session keys are made of. Shown by no repr."""

    mac_key: bytes = field(repr=False)
    session: bytes = field(repr=False)

    @classmethod
    def derive(cls, tunnel: bytes, inner: bytes) -> Compound:
        """From the tunnel's key material (40 of its octets count) and the inner method's session key of 32 octets."""
        keys = _prf(tunnel[:40], b"Inner Methods Compound Keys", inner[:32].ljust(32, b"\0"), 60)
        return cls(keys[40:], keys[:40])

    def request(self, nonce: bytes) -> bytes:
        """Our Crypto-Binding TLV."""
        return self._signed(bytes((0, 0, 0, _REQUEST)) + nonce)

    def proves(self, binding: Binding) -> bool:
        """Whether the peer's TLV is a response that was made with the same keys."""
        value = binding.octets[4:]
        # Reserved, Version, Received Version, SubType: version 0 both ways.
        if value[1:4] != bytes((0, 0, _RESPONSE)):
            return False
        head = binding.octets[:-_MAC]
        return hmac.compare_digest(self._mac(head), binding.octets[-_MAC:])

    def msk(self) -> bytes:
        """The 64 octets of session key."""
        return _prf(self.session, b"Session Key Generating Function", b"\0", 128)[:64]

    def _signed(self, value: bytes) -> bytes:
        head = _tlv(_CRYPTO_BINDING, value + bytes(_MAC))[:-_MAC]
        return head + self._mac(head)

    def _mac(self, head: bytes) -> bytes:
        """HMAC-SHA1 over the TLV with its own MAC zero, and PEAP's EAP Type."""
        return hmac.digest(self.mac_key, head + bytes(_MAC) + _PEAP, "sha1")


def _prf(key: bytes, label: bytes, seed: bytes, length: int) -> bytes:
    """PRF+ of PEAPv0: T(n) = HMAC-SHA1(key, T(n-1) ‖ label ‖ seed ‖ n ‖ 0 ‖ 0) ([MS-PEAP] §3.1.5.5.2)."""
    made, last, counter = b"", b"", 1
    while len(made) < length:
        last = hmac.digest(key, last + label + seed + bytes((counter, 0, 0)), "sha1")
        made += last
        counter += 1
    return made[:length]


def _tlv(kind: int, value: bytes) -> bytes:
    return (_MANDATORY | kind).to_bytes(2, "big") + len(value).to_bytes(2, "big") + value


def _number(octets: bytes, position: int) -> int:
    return octets[position] << 8 | octets[position + 1]
