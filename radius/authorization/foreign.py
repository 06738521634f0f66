"""Hashes of passwords that other servers kept, as FreeRADIUS's tables have them (rlm_pap), and whether one fits.

    attribute there                                what is kept here
    Crypt-Password                                 crypt $6$salt$…              whatever crypt(3) of this host knows
    MD5-, SMD5-, SHA-, SSHA-, SHA2-, SSHA2-…       sha256 <digest> <salt>       in hexadecimal
    PBKDF2-Password                                pbkdf2 sha256 <rounds> <digest> <salt>
    Password-With-Header                           as its header says

They serve PAP alone. Pure, but for crypt(3), which the C library does.
"""

from __future__ import annotations

import base64
import ctypes
import hashlib
import re
import threading
from functools import cache
from hmac import compare_digest

from controller.domain.errors import RuleError

_SIZES = {"md5": 16, "sha1": 20, "sha224": 28, "sha256": 32, "sha384": 48, "sha512": 64}
_BY_SIZE = {size: name for name, size in _SIZES.items() if name not in ("md5", "sha1")}
_ATTRIBUTES = {
    "MD5-Password": "md5", "SMD5-Password": "md5", "SHA-Password": "sha1", "SSHA-Password": "sha1",
    "SHA1-Password": "sha1", "SSHA1-Password": "sha1", "SHA2-Password": None, "SSHA2-Password": None,
    "SHA2-224-Password": "sha224", "SSHA2-224-Password": "sha224", "SHA2-256-Password": "sha256",
    "SSHA2-256-Password": "sha256", "SHA2-384-Password": "sha384", "SSHA2-384-Password": "sha384",
    "SHA2-512-Password": "sha512", "SSHA2-512-Password": "sha512",
}  # fmt: skip
"""The digest of each; None where its length tells. A salt stands behind the digest."""
_HEADERS = {
    "crypt": "Crypt-Password", "x-pbkdf2": "PBKDF2-Password", "md5": "MD5-Password", "smd5": "SMD5-Password",
    "sha": "SHA-Password", "ssha": "SSHA-Password", "sha2": "SHA2-Password", "ssha224": "SSHA2-224-Password",
    "sha256": "SHA2-256-Password", "ssha256": "SSHA2-256-Password", "ssha384": "SSHA2-384-Password",
    "sha512": "SHA2-512-Password", "ssha512": "SSHA2-512-Password",
    "clear": "Cleartext-Password", "cleartext": "Cleartext-Password", "nt": "NT-Password", "nthash": "NT-Password",
}  # fmt: skip
_HEADER = re.compile(r"\{([\w-]+)\}(.*)", re.ASCII | re.DOTALL)
_CRYPT = re.compile(r"[./0-9A-Za-z]{13}|_[./0-9A-Za-z]{19}|\$\w+\$[\x21-\x7e]+", re.ASCII)
_PBKDF2 = re.compile(r"HMACSHA(1|2\+(?:224|256|384|512))" + 3 * ":([A-Za-z0-9+/=]+)", re.ASCII)
_MOST_ROUNDS = 10_000_000
ATTRIBUTES = frozenset({*_ATTRIBUTES, "Crypt-Password", "PBKDF2-Password"})
"""Names of what `kept` takes."""


def opened(value: str) -> tuple[str, str]:
    """(attribute, value) that a Password-With-Header means; without a header it is the password in clear."""
    match = _HEADER.fullmatch(value)
    attribute = None if match is None else _HEADERS.get(match[1].lower())
    return ("Cleartext-Password", value) if match is None or attribute is None else (attribute, match[2])


def kept(attribute: str, value: str) -> str:
    """What is kept of such a hash. Raises RuleError for what is none, or for one that this host cannot verify."""
    if attribute == "Crypt-Password":
        if _CRYPT.fullmatch(value) is None or _crypt(b"probe", value.encode()) is None:
            raise RuleError(f"{attribute}: not a hash that crypt(3) of this host verifies")
        return f"crypt {value}"
    if attribute == "PBKDF2-Password":
        return _pbkdf2(value)
    octets = _octets(value)
    algorithm = _ATTRIBUTES[attribute] or _BY_SIZE.get(len(octets), "")
    size = _SIZES.get(algorithm)
    is_salted = attribute.startswith(("SS", "SMD5"))
    if size is None or (len(octets) <= size if is_salted else len(octets) != size):
        raise RuleError(f"{attribute}: {len(octets)} octets are no such hash")
    return f"{algorithm} {octets[:size].hex()} {octets[size:].hex()}".rstrip()


def fits(hashed: str, password: bytes) -> bool:
    """Whether this is the password. Takes as long as whoever chose the hash wanted; safe in a thread."""
    algorithm, _, rest = hashed.partition(" ")
    if algorithm == "crypt":
        found = _crypt(password, rest.encode())
        return found is not None and compare_digest(found, rest.encode())
    if algorithm == "pbkdf2":
        name, rounds, digest, salt = rest.split(" ")
        expected = bytes.fromhex(digest)
        return compare_digest(
            hashlib.pbkdf2_hmac(name, password, bytes.fromhex(salt), int(rounds), len(expected)), expected
        )
    digest, _, salt = rest.partition(" ")
    found = hashlib.new(algorithm, password + bytes.fromhex(salt), usedforsecurity=False).digest()
    return compare_digest(found, bytes.fromhex(digest))


def _octets(value: str) -> bytes:
    """Hexadecimal, or base64 as LDAP writes it: rlm_pap takes either."""
    text = value.removeprefix("0x")
    try:
        return bytes.fromhex(text)
    except ValueError:
        pass  # base64, then
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        raise RuleError("neither hexadecimal nor base64") from None


def _pbkdf2(value: str) -> str:
    """`HMACSHA2+256:rounds:salt:digest`, each in base64, the rounds as four octets."""
    match = _PBKDF2.fullmatch(value)
    if match is None:
        raise RuleError("PBKDF2-Password: not of the form HMACSHA2+256:rounds:salt:digest")
    name = "sha1" if match[1] == "1" else "sha" + match[1][2:]
    rounds, salt, digest = (_octets_of_base64(match[n]) for n in (2, 3, 4))
    if len(rounds) != 4 or not 0 < int.from_bytes(rounds, "big") <= _MOST_ROUNDS or not digest:
        raise RuleError("PBKDF2-Password: its rounds or its digest cannot be")
    return f"pbkdf2 {name} {int.from_bytes(rounds, 'big')} {digest.hex()} {salt.hex()}"


def _octets_of_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise RuleError("PBKDF2-Password: a part of it is no base64") from None


@cache
def _library() -> ctypes.CDLL | None:
    """libcrypt of this host: the interpreter's own module for it is gone from Python 3.13."""
    for name in ("libcrypt.so.1", "libcrypt.so.2"):
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.crypt.restype = ctypes.c_char_p
        library.crypt.argtypes = (ctypes.c_char_p, ctypes.c_char_p)
        return library
    return None


_TURN = threading.Lock()
"""crypt(3) answers in memory of its own."""


def _crypt(password: bytes, setting: bytes) -> bytes | None:
    """None where this host does not know the method, or for a password that no C string can be."""
    library = _library()
    if library is None or b"\0" in password:
        return None
    with _TURN:
        found: bytes | None = library.crypt(password, setting)
    return None if found is None or found.startswith(b"*") else found
