"""What is kept of a subscriber's password, and what can be proved with it. Three forms, each derivable from the former:

    form     kept                            PAP, TTLS-PAP   MS-CHAP, EAP-MSCHAPv2   CHAP, EAP-MD5
    clear    the password                        yes                 yes                  yes
    nt       its NT hash (RFC 2759 §8.3)         yes                 yes                  no
    argon2   argon2id of the NT hash             yes                 no                   no

A fourth is the hash that another server kept (`foreign`): it serves what argon2 serves, nothing is made from it, and
the next password that is set takes its place.

All of them rest sealed in the database (controller.store.secrets); the form says what somebody learns who has the key
as well. A site keeps the poorest form that its methods can live with (docs/adr). None of them is shown by a repr.

argon2id takes milliseconds on purpose, so the password that was right is remembered under a key of this process: the
second login costs what a hash costs. Whoever reads that memory reads the passwords of the packets, too.
"""

from __future__ import annotations

import secrets
from hashlib import blake2b
from hmac import compare_digest
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from controller.domain.errors import RuleError
from radius.authorization import foreign
from radius.protocol.ciphers import md4
from radius.protocol.mschap import NtPassword

CLEAR: Final = "clear"
NT: Final = "nt"
ARGON2: Final = "argon2"
FORMS: Final = (CLEAR, NT, ARGON2)
"""From the richest to the poorest: a form can be made from every one before it, never from one behind it."""
FOREIGN: Final = "foreign"
"""Nobody's choice: what came from another server."""

# 10 ms and 8 MiB a login: a guess costs that much more than with the NT hash, and a whole BRAS may redial at once.
_HASHER = PasswordHasher(time_cost=2, memory_cost=8 * 1024, parallelism=1)
_MEMORY_KEY = secrets.token_bytes(32)


class HashedPassword:
    """argon2id of the NT hash, or the hash of another server. `verify` takes milliseconds of processor unless it
    `remembers` the password."""

    __slots__ = ("_encoded", "_seen")

    def __init__(self, encoded: str) -> None:
        self._encoded = encoded
        self._seen = b""

    def __repr__(self) -> str:
        return "HashedPassword(***)"

    def remembers(self, password: bytes) -> bool:
        """Whether this is the password that was right last time."""
        return compare_digest(self._seen, _fingerprint(password))

    def verify(self, password: bytes) -> bool:
        """Whether this is the password. Safe in a thread."""
        if self.remembers(password):
            return True
        if not self._fits(password):
            return False
        self._seen = _fingerprint(password)
        return True

    def _fits(self, password: bytes) -> bool:
        if not self._encoded.startswith("$argon2"):
            return foreign.fits(self._encoded, password)
        try:
            return _HASHER.verify(self._encoded, _nt_digest(password))
        except VerifyMismatchError:
            return False


Password = bytes | NtPassword | HashedPassword
"""A password in the form in which it is kept; octets are the clear one."""


def same(password: Password, claimed: bytes) -> bool:
    """Whether `claimed`, a password in clear from PAP, is the one kept. Takes milliseconds for a new HashedPassword."""
    if type(password) is bytes:
        return compare_digest(password, claimed)
    if type(password) is NtPassword:
        return compare_digest(password.digest, _nt_digest(claimed))
    assert type(password) is HashedPassword, "there are three forms"
    return password.verify(claimed)


def nt_password(password: Password) -> NtPassword | None:
    """What MS-CHAP needs; None where less is kept."""
    if type(password) is bytes:
        return NtPassword(_nt_digest(password))
    return password if type(password) is NtPassword else None


def opened(form: str, kept: str) -> Password:
    """The password from what a row keeps of it. Raises RuleError for what is none."""
    if form == CLEAR:
        return kept.encode()
    if form == NT:
        try:
            return NtPassword(bytes.fromhex(kept))
        except ValueError:
            raise RuleError("an NT hash is 32 hexadecimal digits", code="password-form") from None
    return HashedPassword(kept)


def derived(kept: str, form: str, wanted: str) -> str:
    """What is kept as `form`, turned into `wanted`. Raises RuleError where that would take a password back."""
    if form == FOREIGN:
        raise RuleError("only the hash of another server is kept: set the password anew", code="password-form")
    check_form(form)
    check_form(wanted)
    if FORMS.index(wanted) < FORMS.index(form):
        raise RuleError(
            f"a password kept as {form} cannot become {wanted}: set the password anew", code="password-form"
        )
    if form == CLEAR and wanted != CLEAR:
        kept, form = _nt_digest(kept.encode()).hex(), NT
    if form == NT and wanted == ARGON2:
        kept = _HASHER.hash(bytes.fromhex(kept))
    return kept


def check_form(form: str) -> None:
    """Raises RuleError for what is no form."""
    if form not in FORMS:
        raise RuleError(f"no password form {form!r}; known: {', '.join(FORMS)}", code="password-form")


def _nt_digest(password: bytes) -> bytes:
    """NT hash of a password as RADIUS carries it: UTF-8 (RFC 2865 §5); what is none hashes to something of its own."""
    text = password.decode("utf-8", errors="surrogateescape")
    return md4(text.encode("utf-16-le", errors="surrogatepass"))


def _fingerprint(password: bytes) -> bytes:
    return blake2b(password, digest_size=16, key=_MEMORY_KEY).digest()
