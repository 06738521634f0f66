"""MD4 and DES, which MS-CHAP is made of and which Python's hashlib no longer has.

The interpreter's own OpenSSL has both: called directly, three DES encryptions cost 3 µs, while pycryptodome's objects
take 35, more than a whole FreeRADIUS login is worth. An interpreter whose OpenSSL hides or lacks them gets
pycryptodome's. Neither algorithm protects anything today; SECURITY.md says what MS-CHAP is worth.
"""

from __future__ import annotations

import _ssl
import ctypes
from collections.abc import Callable

from Crypto.Cipher import ARC4, DES
from Crypto.Hash import MD4

_number = int.from_bytes
_SEVEN = 0xFF_FFFF_FFFF_FFFF
_LANES = 1 << 128 | 1 << 64 | 1
_HALVES = _LANES * 0x00FF_FFFF_F000_0000, _LANES * 0x0000_0000_0FFF_FFFF
_QUARTERS = _LANES * 0x0FFF_C000_0FFF_C000, _LANES * 0x0000_3FFF_0000_3FFF
_EIGHTHS = _LANES * 0x3F80_3F80_3F80_3F80, _LANES * 0x007F_007F_007F_007F
_SCHEDULE = 128
"""Octets of OpenSSL's DES_key_schedule."""


def spread(keys: bytes) -> bytes:
    """Three DES keys of eight octets from seven each: seven bits, and a parity bit that DES ignores (RFC 2759 §8.6).

    All three are worked on at once, in lanes of 64 bits of one number: their halves, quarters and eighths move apart.
    """
    bits = _number(keys, "big")
    lanes = bits >> 112 << 128 | (bits >> 56 & _SEVEN) << 64 | bits & _SEVEN
    lanes = (lanes & _HALVES[0]) << 4 | lanes & _HALVES[1]
    lanes = (lanes & _QUARTERS[0]) << 2 | lanes & _QUARTERS[1]
    lanes = (lanes & _EIGHTHS[0]) << 1 | lanes & _EIGHTHS[1]
    return (lanes << 1).to_bytes(24, "big")


def rc4(key: bytes, octets: bytes) -> bytes:
    """RC4, which both encrypts and decrypts: for a password that is changed by MS-CHAP, and nothing else."""
    return ARC4.new(key).encrypt(octets)


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
