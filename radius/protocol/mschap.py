"""The arithmetic of MS-CHAP: version 1 (RFC 2433), version 2 (RFC 2759), and the MPPE keys of both (RFC 3079).

    challenge(8)  ─DES under the NT hash─►  NT-Response(24)
    version 1: the NAS's challenge;  version 2: SHA1(peer challenge ‖ authenticator challenge ‖ user name)[:8]

Everything follows from the NT hash, MD4 of the password in UTF-16: whoever has it can log in, so it is kept like a
password. `NtPassword` is made once for a subscriber, because a login must not pay for it.
"""

from __future__ import annotations

from _sha1 import sha1  # type: ignore[import-not-found]  # the interpreter's own: half the price of OpenSSL's set-up
from hmac import compare_digest

from radius.protocol.ciphers import des, md4, rc4, spread

RESPONSE_LENGTH = 24
ENCRYPTED_PASSWORD_LENGTH = 516
"""512 octets that end with the password, and its length (RFC 2759 §8.9, §8.10)."""

_SERVER_SIGNS = b"Magic server to client signing constant"
_PADS = b"Pad to make it do more than one iteration"
# Magic1, Magic2 and Magic3 of RFC 3079 §3.4.
_MASTER = b"This is the MPPE Master Key"
_CLIENT_SENDS = b"On the client side, this is the send key; on the server side, it is the receive key."
_SERVER_SENDS = b"On the client side, this is the receive key; on the server side, it is the send key."
_PAD_1 = bytes(40)
_PAD_2 = b"\xf2" * 40
_LM_MAGIC = b"KGS!@#$%"


def nt_hash(password: str) -> bytes:
    """NtPasswordHash (RFC 2759 §8.3)."""
    return md4(password.encode("utf-16-le"))


def lm_hash(password: str) -> bytes:
    """LmPasswordHash (RFC 2433 §A.3), for the LM-Key of version 1; what the code page cannot say becomes "?"."""
    key = password.upper().encode("cp437", errors="replace")[:14].ljust(21, b"\0")
    return des(spread(key)[:16], _LM_MAGIC)


class NtPassword:
    """An NT hash with what each login needs of it. It is as good as the password; its repr hides it."""

    __slots__ = ("_keys", "digest", "digest_of_digest")

    def __init__(self, digest: bytes) -> None:
        if len(digest) != 16:
            raise ValueError(f"an NT hash has 16 octets, not {len(digest)}")
        self.digest = digest
        self.digest_of_digest = md4(digest)
        self._keys = spread(digest.ljust(21, b"\0"))

    def __repr__(self) -> str:
        return "NtPassword(***)"

    def response(self, challenge: bytes) -> bytes:
        """ChallengeResponse: 24 octets for a challenge of eight (RFC 2759 §8.5, RFC 2433 §A.5)."""
        return des(self._keys, challenge)

    def made(self, response: bytes, challenge: bytes) -> bool:
        """Whether `response` was made from this password."""
        return compare_digest(des(self._keys, challenge), response)

    def authenticator_response(self, response: bytes, challenge: bytes) -> bytes:
        """`S=` and 40 hexadecimal digits: what proves us to a peer of version 2 (RFC 2759 §8.7)."""
        digest = sha1(self.digest_of_digest + response + _SERVER_SIGNS).digest()
        text: str = sha1(digest + challenge + _PADS).hexdigest()
        return b"S=" + text.upper().encode()

    def session_keys(self, response: bytes) -> tuple[bytes, bytes]:
        """Our send and our receive key of version 2, 16 octets each (RFC 3079 §3.1)."""
        master: bytes = sha1(self.digest_of_digest + response + _MASTER).digest()[:16]
        return start_key(master, _SERVER_SENDS), start_key(master, _CLIENT_SENDS)


def encrypted_password(password: str, old: NtPassword, filling: bytes) -> bytes:
    """NewPasswordEncryptedWithOldNtPasswordHash (RFC 2759 §8.9); `filling` are the random octets before it."""
    text = password.encode("utf-16-le")
    block = (filling + text)[-512:] + len(text).to_bytes(4, "little")
    return rc4(old.digest, block)


def new_password(encrypted: bytes, old: NtPassword) -> str | None:
    """What was encrypted; None for what was not made under the old password."""
    block = rc4(old.digest, encrypted)
    length = int.from_bytes(block[512:], "little")
    if not 0 < length <= 512 or length % 2:
        return None
    try:
        return block[512 - length : 512].decode("utf-16-le")
    except UnicodeDecodeError:
        return None


def hash_under(old: NtPassword, new: NtPassword) -> bytes:
    """OldNtPasswordHashEncryptedWithNewNtPasswordHash (RFC 2759 §8.12): proves that the peer knows the old hash."""
    keys = spread(new.digest[:14].ljust(21, b"\0"))
    return des(keys[:8], old.digest[:8]) + des(keys[8:16], old.digest[8:])


def start_key(master: bytes, magic: bytes, length: int = 16) -> bytes:
    """GetAsymmetricStartKey (RFC 3079 §3.4)."""
    key: bytes = sha1(master + _PAD_1 + magic + _PAD_2).digest()
    return key[:length]


def challenge_hash(peer_challenge: bytes, authenticator_challenge: bytes, user_name: bytes) -> bytes:
    """The eight octets that version 2 encrypts (RFC 2759 §8.2).

    `user_name` is "only the user name … excluding any prepended domain name": what stands before a backslash goes.
    """
    digest: bytes = sha1(peer_challenge + authenticator_challenge + user_name.rpartition(b"\\")[2]).digest()
    return digest[:8]
