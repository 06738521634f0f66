"""Everything RADIUS computes with MD5 and a shared secret: authenticators, Message-Authenticator, hidden passwords.

    Response Authenticator   MD5(Code+ID+Length+RequestAuth+Attributes+Secret)      RFC 2865 §3
    Accounting, CoA request  MD5(Code+ID+Length+16 zero octets+Attributes+Secret)   RFC 2866 §3, RFC 5176 §2.3
    Message-Authenticator    HMAC-MD5(Secret, packet with its own 16 octets zero)   RFC 3579 §3.2

`SharedSecret` keeps the HMAC's inner and outer states ready, so that a packet costs two copies instead of four hash
set-ups. MD5 is what the RFCs prescribe; what it is worth is said in SECURITY.md.
"""

from __future__ import annotations

from _md5 import md5  # type: ignore[import-not-found]  # the interpreter's own: half the price of OpenSSL's set-up
from hmac import compare_digest

from controller.domain.errors import PeerError
from radius.protocol.codes import Attr
from radius.protocol.packet import ZERO_AUTHENTICATOR, Packet

MESSAGE_AUTHENTICATOR_LENGTH = 18
_MESSAGE_AUTHENTICATOR = int(Attr.MESSAGE_AUTHENTICATOR)
_MESSAGE_AUTHENTICATOR_HEAD = bytes((_MESSAGE_AUTHENTICATOR, MESSAGE_AUTHENTICATOR_LENGTH))
_EMPTY_MESSAGE_AUTHENTICATOR = _MESSAGE_AUTHENTICATOR_HEAD + bytes(16)
_BLOCK = 64
_number = int.from_bytes


class SharedSecret:
    """The secret shared with one NAS. Its repr hides it."""

    __slots__ = ("_inner", "_outer", "value")

    def __init__(self, value: bytes) -> None:
        if not value:
            # "The secret MUST NOT be empty (length 0) since this would allow for packets to be trivially forged"
            # (RFC 2865 §3).
            raise ValueError("a shared secret must not be empty")
        self.value = value
        key = (value if len(value) <= _BLOCK else md5(value).digest()).ljust(_BLOCK, b"\0")
        self._inner = md5(bytes(octet ^ 0x36 for octet in key))
        self._outer = md5(bytes(octet ^ 0x5C for octet in key))

    def __repr__(self) -> str:
        return "SharedSecret(***)"

    def hmac(self, message: bytes) -> bytes:
        """HMAC-MD5 (RFC 2104)."""
        inner = self._inner.copy()
        inner.update(message)
        outer = self._outer.copy()
        outer.update(inner.digest())
        digest: bytes = outer.digest()
        return digest

    def check_message_authenticator(self, packet: Packet, authenticator: bytes | None = None) -> bool:
        """Verify a Message-Authenticator; False when the packet has none, True when it is right.

        `authenticator` stands in the header for the computation where it is not the packet's own: the request's for a
        reply, 16 zero octets for Accounting-Request and CoA-Request (RFC 3579 §3.2, RFC 5176 §3.4).
        Raises PeerError "message-authenticator" when it is wrong, malformed or there twice.
        """
        position = packet.offsets.get(_MESSAGE_AUTHENTICATOR)
        if position is None:
            return False
        data = packet.data
        start, end = position + 2, position + MESSAGE_AUTHENTICATOR_LENGTH
        if data[position + 1] != MESSAGE_AUTHENTICATOR_LENGTH:
            raise PeerError("message-authenticator", f"length {data[position + 1]}")
        if authenticator is None:
            zeroed = data[:start] + ZERO_AUTHENTICATOR + data[end:]
        else:
            zeroed = data[:4] + authenticator + data[20:start] + ZERO_AUTHENTICATOR + data[end:]
        if not compare_digest(self.hmac(zeroed), data[start:end]):
            raise PeerError("message-authenticator", "does not match the packet")
        return True

    def check_request_authenticator(self, packet: Packet) -> None:
        """Verify Accounting-, CoA- and Disconnect-Request. Raises PeerError "authenticator"."""
        data = packet.data
        expected = md5(data[:4] + ZERO_AUTHENTICATOR + data[20:] + self.value).digest()
        if not compare_digest(expected, packet.authenticator):
            raise PeerError("authenticator", "does not match the packet: another secret?")

    def check_response(self, packet: Packet, request_authenticator: bytes) -> None:
        """Verify a reply against its request. Raises PeerError "authenticator" or "message-authenticator"."""
        data = packet.data
        expected = md5(data[:4] + request_authenticator + data[20:] + self.value).digest()
        if not compare_digest(expected, packet.authenticator):
            raise PeerError("authenticator", "does not match the request: another secret?")
        self.check_message_authenticator(packet, request_authenticator)

    def response(self, code: int, request: Packet, attributes: bytes, *, signed: bool) -> bytes:
        """Encode a reply. `signed` puts Message-Authenticator before every other attribute.

        First, because an attacker who finds MD5 collisions (CVE-2024-3596) must not have a known prefix to extend.
        """
        length = 20 + len(attributes)
        if not signed:
            head = bytes((code, request.identifier, length >> 8, length & 0xFF))
            authenticator: bytes = md5(head + request.authenticator + attributes + self.value).digest()
            return head + authenticator + attributes
        length += MESSAGE_AUTHENTICATOR_LENGTH
        head = bytes((code, request.identifier, length >> 8, length & 0xFF))
        begin = head + request.authenticator
        # `hmac`, written out: this is the most travelled path of the program.
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(begin + _EMPTY_MESSAGE_AUTHENTICATOR + attributes)
        outer.update(inner.digest())
        body = _MESSAGE_AUTHENTICATOR_HEAD + outer.digest() + attributes
        response: bytes = head + md5(begin + body + self.value).digest() + body
        return response

    def request(self, code: int, identifier: int, attributes: bytes, *, signed: bool) -> bytes:
        """Encode an Accounting-, CoA- or Disconnect-Request, whose authenticator covers the packet."""
        if signed:
            attributes = _EMPTY_MESSAGE_AUTHENTICATOR + attributes
        length = 20 + len(attributes)
        head = bytes((code, identifier, length >> 8, length & 0xFF))
        if signed:
            signature = self.hmac(head + ZERO_AUTHENTICATOR + attributes)
            attributes = attributes[:2] + signature + attributes[MESSAGE_AUTHENTICATOR_LENGTH:]
        authenticator: bytes = md5(head + ZERO_AUTHENTICATOR + attributes + self.value).digest()
        return head + authenticator + attributes

    def access_request(self, identifier: int, authenticator: bytes, attributes: bytes, *, signed: bool = True) -> bytes:
        """Encode an Access-Request or Status-Server under a random `authenticator`; for clients and tests."""
        return self.signed_request(1, identifier, authenticator, attributes, signed=signed)

    def signed_request(
        self, code: int, identifier: int, authenticator: bytes, attributes: bytes, *, signed: bool = True
    ) -> bytes:
        """A request whose authenticator is random rather than computed (RFC 2865 §3, RFC 5997 §3)."""
        if signed:
            attributes = _EMPTY_MESSAGE_AUTHENTICATOR + attributes
        length = 20 + len(attributes)
        begin = bytes((code, identifier, length >> 8, length & 0xFF)) + authenticator
        if signed:
            signature = self.hmac(begin + attributes)
            attributes = attributes[:2] + signature + attributes[MESSAGE_AUTHENTICATOR_LENGTH:]
        return begin + attributes

    def hide(self, password: bytes, authenticator: bytes) -> bytes:
        """Hide a User-Password (RFC 2865 §5.2). Raises ValueError above 128 octets."""
        if len(password) > 128:
            raise ValueError(f"a User-Password has at most 128 octets, not {len(password)}")
        padded = password.ljust(max(16, (len(password) + 15) // 16 * 16), b"\0")
        hidden, previous = b"", authenticator
        for start in range(0, len(padded), 16):
            previous = _xor(padded[start : start + 16], md5(self.value + previous).digest())
            hidden += previous
        return hidden

    def reveal(self, hidden: bytes, authenticator: bytes) -> bytes:
        """The password in a User-Password, without its padding. Raises PeerError "password-length"."""
        size = len(hidden)
        if size == 16:
            mask = md5(self.value + authenticator).digest()
            return (_number(hidden, "big") ^ _number(mask, "big")).to_bytes(16, "big").rstrip(b"\0")
        if not size or size % 16 or size > 128:
            raise PeerError("password-length", f"User-Password of {size} octets")
        clear, previous = b"", authenticator
        for start in range(0, size, 16):
            block = hidden[start : start + 16]
            clear += _xor(block, md5(self.value + previous).digest())
            previous = block
        return clear.rstrip(b"\0")


def chap_response(identifier: int, password: bytes, challenge: bytes) -> bytes:
    """What follows the identifier in CHAP-Password: MD5(id ‖ password ‖ challenge) (RFC 1994 §4.1, RFC 2865 §5.3)."""
    digest: bytes = md5(bytes((identifier,)) + password + challenge).digest()
    return digest


def _xor(left: bytes, right: bytes) -> bytes:
    return (_number(left, "big") ^ _number(right, "big")).to_bytes(16, "big")
