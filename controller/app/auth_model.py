"""What roles may do, what a token looks like, when guessing is slowed down. Pure."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from controller.domain.errors import RuleError

AREAS = (
    "crm", "catalog", "inventory", "orders", "services", "devices", "radius", "usage", "billing", "finance", "admin",
)  # fmt: skip
WHOIS = "radius:whois"
"""To ask whose an address was: of no role but the administrator's, granted to a token for those who must ask."""
SCOPES = frozenset(f"{area}:{verb}" for area in AREAS for verb in ("read", "write", "*")) | {"*", WHOIS}


class Role(StrEnum):
    """What a user is for. Each role's scopes stand in ROLE_SCOPES and nowhere else."""

    ADMIN = "admin"
    NOC = "noc"
    BILLING = "billing"
    SUPPORT = "support"
    READONLY = "readonly"


def _reads(*areas: str) -> set[str]:
    return {f"{area}:read" for area in areas}


def _full(*areas: str) -> set[str]:
    return {f"{area}:{verb}" for area in areas for verb in ("read", "write")}


ROLE_SCOPES: dict[Role, frozenset[str]] = {
    Role.ADMIN: frozenset({"*"}),
    Role.NOC: frozenset(
        _full("orders", "services", "devices", "radius", "inventory") | _reads("crm", "catalog", "usage")
    ),
    Role.BILLING: frozenset(
        _full("crm", "catalog", "usage", "billing", "finance")
        | _reads("orders", "services", "devices", "radius", "inventory")
    ),
    Role.SUPPORT: frozenset(
        _full("crm", "orders", "radius")
        | _reads("catalog", "inventory", "services", "devices", "usage", "billing", "finance")
    ),
    Role.READONLY: frozenset(_reads(*(area for area in AREAS if area != "admin"))),
}

MIN_PASSWORD_LENGTH = 12
MAX_PASSWORD_LENGTH = 200  # argon2 reads all of it: a limit keeps a guess cheap for us
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_TOKEN_PREFIX_LENGTH = 9


def check_name(name: str) -> str:
    """A user's name: lower case letters, digits, dot, dash and underscore. Raises RuleError."""
    if not _NAME.fullmatch(name):
        raise RuleError("a user name is a-z, 0-9, '.', '-' and '_', at most 63 characters", code="user-name")
    return name


def check_password(password: str, name: str) -> str:
    """Length is what counts (NIST SP 800-63B section 5.1.1.2). Raises RuleError."""
    if not MIN_PASSWORD_LENGTH <= len(password) <= MAX_PASSWORD_LENGTH:
        raise RuleError(
            f"a password has {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters", code="password-length"
        )
    if name in password.lower() or len(set(password)) < 5:
        raise RuleError("the password is too easy to guess", code="password-guessable")
    return password


def check_scopes(wanted: Iterable[str], held: frozenset[str]) -> frozenset[str]:
    """The scopes of a new token: known ones, none that its maker does not hold. Raises RuleError."""
    scopes = frozenset(wanted)
    if unknown := scopes - SCOPES:
        raise RuleError(f"unknown scopes: {', '.join(sorted(unknown))}", code="scope-unknown")
    if not scopes:
        raise RuleError("a token needs at least one scope", code="scope-missing")
    if beyond := {scope for scope in scopes if not covers(held, scope)}:
        raise RuleError(f"you do not hold: {', '.join(sorted(beyond))}", code="scope-beyond")
    return scopes


def covers(held: frozenset[str], scope: str) -> bool:
    """Whether `held` grants everything that `scope` grants."""
    if "*" in held or scope in held:
        return True
    area, _, verb = scope.partition(":")
    if f"{area}:*" in held:
        return True
    return verb == "*" and {f"{area}:read", f"{area}:write"} <= held


def new_token() -> str:
    """256 bits; the "hd_" lets scanners for leaked secrets find it."""
    return "hd_" + secrets.token_urlsafe(32)


def token_prefix(token: str) -> str:
    return token[:_TOKEN_PREFIX_LENGTH]


def digest(secret: str) -> bytes:
    """What is stored of a token or session secret. They are random, so no slow hash is needed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


@dataclass(slots=True)
class _Failures:
    count: int
    blocked_until: datetime


class GuessLimiter:
    """Slows guessing: after `free` failures each further one doubles the wait, up to `longest`.

    Kept per key (a name, an address) in this process only and bounded; a success forgets the key. Someone else's
    guessing can delay a user's sign-in by `longest` at most, never lock the account.
    """

    def __init__(
        self, *, free: int, first: timedelta = timedelta(seconds=2), longest: timedelta = timedelta(minutes=5),
        size: int = 10_000,
    ) -> None:  # fmt: skip
        self._free = free
        self._first = first
        self._longest = longest
        self._size = size
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    def wait(self, key: str, now: datetime) -> timedelta:
        """How long `key` must wait before its next attempt; zero when it may try now."""
        known = self._failures.get(key)
        return timedelta(0) if known is None else max(timedelta(0), known.blocked_until - now)

    def failed(self, key: str, now: datetime) -> None:
        known = self._failures.setdefault(key, _Failures(0, now))
        known.count += 1
        beyond = known.count - self._free
        if beyond > 0:
            known.blocked_until = now + min(self._longest, self._first * 2 ** min(beyond - 1, 20))
        self._failures.move_to_end(key)
        while len(self._failures) > self._size:
            self._failures.popitem(last=False)

    def succeeded(self, key: str) -> None:
        self._failures.pop(key, None)
