"""Our mark in the Class attribute: which service, under which speed profile, a session was authorised for.

A NAS returns Class unmodified in every accounting record (RFC 2865 §5.25). So the next record after a CoA proves
which profile the session has, and a record names its service without a look-up by user name.
"""

from __future__ import annotations

from typing import NamedTuple

OURS = b"h1/"
"""What every Class of ours begins with."""
_ID_AT = 2 + len(OURS)


class ServiceMark(NamedTuple):
    """Made for every accounting record: a frozen dataclass would take longer to make than the Class to read."""

    service_id: str
    profile_name: str


def class_value(service_id: str, profile_name: str) -> bytes:
    """`h1/<service id>/<profile>`: text, so that it reads in a packet dump; at most 68 octets."""
    return OURS + f"{service_id}/{profile_name}".encode()


def service_in(attributes: bytes) -> str:
    """The service id in reply attributes of ours that begin with Class: cut out, not searched, once a record."""
    return attributes[_ID_AT : attributes.index(b"/", _ID_AT)].decode()


def read_class(value: bytes | None) -> ServiceMark | None:
    """The mark in a Class value; None for a Class that is not ours."""
    if value is None or not value.startswith(OURS):
        return None
    try:
        service_id, separator, profile_name = value[len(OURS) :].decode("ascii").partition("/")
    except UnicodeDecodeError:
        return None
    return ServiceMark(service_id, profile_name) if separator and service_id and profile_name else None
