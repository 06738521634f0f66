"""By which names a certificate is known (RFC 6614 §2.3): subjectAltName entries and the fingerprint, never the CN.

dns:bng1.example.net    ip:192.0.2.1    uri:urn:example:bng1    sha256:9f86d081…(64 hexadecimal digits)
"""

from __future__ import annotations

import ipaddress
import re

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from controller.domain.errors import RuleError

_FINGERPRINT = re.compile(r"[0-9a-f]{64}", re.ASCII)
_HOST = re.compile(r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")


def canonical(text: str) -> str:
    """An identity as it is stored and compared. Raises RuleError saying what is expected."""
    kind, _, value = text.strip().partition(":")
    kind = kind.lower()
    if kind == "dns" and _HOST.fullmatch(value.lower()):
        return f"dns:{value.lower()}"
    if kind == "uri" and value:
        return f"uri:{value}"
    if kind == "sha256":
        digits = value.replace(":", "").lower()
        if _FINGERPRINT.fullmatch(digits):
            return f"sha256:{digits}"
    if kind == "ip":
        try:
            return f"ip:{ipaddress.ip_address(value)}"
        except ValueError:
            raise RuleError(f"{value!r} is no IP address") from None
    raise RuleError(f"{text!r} names no certificate: dns:NAME, ip:ADDRESS, uri:URI or sha256:FINGERPRINT")


def names_of(certificate: x509.Certificate) -> list[str]:
    """Every identity of a certificate, the fingerprint first: who is named by it means this very certificate."""
    names = [f"sha256:{certificate.fingerprint(SHA256()).hex()}"]
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return names
    alternative = extension.value
    names += [f"dns:{name.lower()}" for name in alternative.get_values_for_type(x509.DNSName)]
    names += [f"ip:{address}" for address in alternative.get_values_for_type(x509.IPAddress)]
    names += [f"uri:{name}" for name in alternative.get_values_for_type(x509.UniformResourceIdentifier)]
    return names
