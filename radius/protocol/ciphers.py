"""MD4 and DES, which MS-CHAP is made of and which Python's hashlib no longer has.

The interpreter's own OpenSSL has both: called directly, three DES encryptions cost 3 µs, while pycryptodome's objects
take 35, more than a whole FreeRADIUS login is worth. An interpreter whose OpenSSL hides or lacks them gets
pycryptodome's. Neither algorithm protects anything today; SECURITY.md says what MS-CHAP is worth.
"""

from __future__ import annotations

import _ssl
import ctypes
from collections.abc import Callable

from Crypto.Cipher import DES
from Crypto.Hash import MD4

_number = int.from_bytes
_SCHEDULE = 128
"""Octets of OpenSSL's DES_key_schedule."""


def spread(key: bytes) -> bytes:
    """DES keys of eight octets from seven each: seven bits and a parity bit, which DES ignores (RFC 2759 §8.6)."""
    keys = b""
    for start in range(0, len(key), 7):
        # Halves, quarters and eighths of 56 bits, each time moved one bit further apart per octet above.
        bits = _number(key[start : start + 7], "big")
        bits = (bits & 0xFFFFFFF0000000) << 4 | bits & 0x0000000FFFFFFF
        bits = (bits & 0x0FFFC0000FFFC000) << 2 | bits & 0x00003FFF00003FFF
        bits = (bits & 0x3F803F803F803F80) << 1 | bits & 0x007F007F007F007F
        keys += (bits << 1).to_bytes(8, "big")
    return keys


def pycryptodome_md4(octets: bytes) -> bytes:
    """MD4 (RFC 1320)."""
    return MD4.new(octets).digest()  # noqa: S303 - what MS-CHAP is made of


def pycryptodome_des(keys: bytes, block: bytes) -> bytes:
    """One block of eight octets under each of the keys, one cipher text behind the other."""
    cipher_text = b""
    for start in range(0, len(keys), 8):
        cipher_text += DES.new(keys[start : start + 8], DES.MODE_ECB).encrypt(block)  # noqa: S304 - as above
    return cipher_text


def _openssl() -> tuple[Callable[[bytes], bytes], Callable[[bytes, bytes], bytes]]:
    """MD4 and DES of the libcrypto that the interpreter is linked with. Raises OSError or AttributeError without."""
    library = ctypes.PyDLL(_ssl.__file__)
    set_key, encrypt, digest = library.DES_set_key_unchecked, library.DES_ecb_encrypt, library.MD4
    set_key.argtypes, set_key.restype = [ctypes.c_char_p, ctypes.c_void_p], None
    encrypt.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
    encrypt.restype = None
    digest.argtypes, digest.restype = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p], ctypes.c_void_p
    addressof, make_digest, make_work = ctypes.addressof, ctypes.c_char * 16, ctypes.c_char * (24 + _SCHEDULE)

    def md4(octets: bytes) -> bytes:
        out = make_digest()
        digest(octets, len(octets), out)
        return out.raw

    def des(keys: bytes, block: bytes) -> bytes:
        work = make_work()
        out = addressof(work)
        schedule = out + 24
        for start in range(0, len(keys), 8):
            set_key(keys[start:], schedule)
            encrypt(block, out + start, schedule, 1)
        return work.raw[: len(keys)]

    if md4(b"") != pycryptodome_md4(b"") or des(bytes(24), bytes(8)) != pycryptodome_des(bytes(24), bytes(8)):
        raise OSError("this libcrypto computes something else")
    return md4, des


try:
    md4, des = _openssl()
except (OSError, AttributeError):
    md4, des = pycryptodome_md4, pycryptodome_des
