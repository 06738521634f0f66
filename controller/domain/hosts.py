"""Where a peer is: an address, or a name that can be looked up."""

from __future__ import annotations

import ipaddress


def is_host(text: str) -> bool:
    """Whether `text` is an IP address, or a name whose labels the DNS can hold (RFC 1035 §2.3.4): 1 to 63 octets each,
    253 in all, in ASCII as IDNA writes them.

    The resolver of the standard library does not answer that another name is unknown: it fails in a way of its own.
    """
    try:
        ipaddress.ip_address(text)
    except ValueError:
        try:
            return ":" not in text and 0 < len(text.encode("idna").rstrip(b".")) <= 253
        except UnicodeError:
            return False
    return True
