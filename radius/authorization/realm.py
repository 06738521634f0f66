"""The realm of a user name (RFC 7542), and what becomes of it before anybody is looked up.

    anna@isp.example        user anna, realm isp.example
    ISP\\anna                the same words the other way round, as Windows writes them

A realm is stripped (anna), renamed (anna@other.example), or left alone. That is looked at only when nobody has the
whole name, so a login by the name that is in the directory pays nothing. Realms are compared without case, as domain
names are (RFC 7542 §2.4); user names are octets.
"""

from __future__ import annotations

import re

from controller.domain.errors import RuleError

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_REALM = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)


def checked(realm: str) -> str:
    """A realm as it is compared: ASCII, a domain name in its A-label form. Raises RuleError."""
    lower = realm.strip().lower()
    if len(lower) > 253 or not _REALM.fullmatch(lower):
        raise RuleError(f"{realm!r} is no realm: write a domain name such as isp.example (RFC 7542 §2.2)")
    return lower


def split(name: bytes) -> tuple[bytes, str] | None:
    """(user, realm) of a name; None for a name without a realm, or with what can be none."""
    user, at, realm = name.rpartition(b"@")
    if not at:
        realm, backslash, user = name.partition(b"\\")
        if not backslash:
            return None
    try:
        text = realm.decode("ascii").lower()
    except UnicodeDecodeError:
        return None
    return (user, text) if user and _REALM.fullmatch(text) else None


class Realms:
    """Realm → what it becomes: "" strips it, another realm takes its place."""

    __slots__ = ("_becomes",)

    def __init__(self) -> None:
        self._becomes: dict[str, str] = {}

    def apply(self, realm: str, becomes: str | None) -> None:
        """Take over a realm; None leaves names with it as they are."""
        if becomes is None:
            self._becomes.pop(realm, None)
        else:
            self._becomes[realm] = becomes

    def local(self, name: bytes) -> bytes | None:
        """The name to look up in place of this one; None when there is no other."""
        if not self._becomes:
            return None
        parts = split(name)
        becomes = None if parts is None else self._becomes.get(parts[1])
        if parts is None or becomes is None:
            return None
        return parts[0] + b"@" + becomes.encode() if becomes else parts[0]
