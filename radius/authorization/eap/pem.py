"""Certificates, keys and revocation lists from PEM files.

What is wrong is RuleError with the file's name and what to do, never with its contents.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from controller.domain.errors import RuleError

Key = RSAPrivateKey | EllipticCurvePrivateKey
_CRL_BLOCK = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----\s*", re.DOTALL)


def certificates(path: Path) -> tuple[x509.Certificate, ...]:
    """Every certificate of a file, in its order; at least one."""
    try:
        return tuple(x509.load_pem_x509_certificates(_octets(path)))
    except ValueError:
        raise RuleError(f"{path} holds no PEM certificate (-----BEGIN CERTIFICATE-----)") from None


def private_key(path: Path) -> Key:
    """The RSA or ECDSA key of a file that only its owner and group may read."""
    octets = _octets(path, private=True)
    try:
        key = load_pem_private_key(octets, None)
    except TypeError:
        raise RuleError(f"{path} has a passphrase; it must have none, and mode 0600 instead") from None
    except (ValueError, UnsupportedAlgorithm):
        raise RuleError(f"{path} holds no PEM private key") from None
    if not isinstance(key, RSAPrivateKey | EllipticCurvePrivateKey):
        raise RuleError(f"{path}: devices know RSA and ECDSA keys only")
    return key


def revocations(path: Path, authorities: tuple[x509.Certificate, ...]) -> tuple[x509.CertificateRevocationList, ...]:
    """The revocation lists of a file, each signed by one of the authorities."""
    blocks = _CRL_BLOCK.findall(_octets(path))
    if not blocks:
        raise RuleError(f"{path} holds no PEM revocation list (-----BEGIN X509 CRL-----)")
    try:
        lists = tuple(x509.load_pem_x509_crl(block) for block in blocks)
    except ValueError:
        raise RuleError(f"{path} holds a revocation list that cannot be read") from None
    for revoked in lists:
        if not any(_signed(revoked, authority) for authority in authorities):
            raise RuleError(f"{path}: the list of {revoked.issuer.rfc4514_string()} is signed by no CA of ca.pem")
    return lists


def _signed(revoked: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    try:
        return revoked.is_signature_valid(authority.public_key())  # type: ignore[arg-type]
    except (InvalidSignature, TypeError, UnsupportedAlgorithm):
        return False


def _octets(path: Path, *, private: bool = False) -> bytes:
    try:
        with path.open("rb") as opened:
            if private and os.fstat(opened.fileno()).st_mode & stat.S_IRWXO:
                raise RuleError(f"{path} is open to every user of this machine: chmod 600 {path}")
            return opened.read()
    except FileNotFoundError:
        raise RuleError(f"{path} is missing") from None
    except OSError as error:
        raise RuleError(f"{path} cannot be read: {error.strerror}") from None


def public(holder: Key | x509.Certificate) -> bytes:
    """The public key, to be compared."""
    return holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
