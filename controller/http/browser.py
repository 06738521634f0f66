"""A browser's session: its cookie, and the token against cross-site requests that is derived from it.

The cookie's value is a random secret; the database knows only its SHA-256. The CSRF token is an HMAC under that secret,
so it needs no storage, belongs to one session and says nothing about it. A request that changes something and is
authenticated by the cookie must carry it: in the X-CSRF-Token header, or in the form field `csrf_token`.
Bearer tokens are never sent by a browser on its own, therefore need none.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from controller.domain.errors import RuleError
from controller.domain.ports import Secret
from controller.http.problem import Problem

COOKIE = "__Host-headend"
"""`__Host-`: browsers accept it only with Secure, Path=/ and no Domain, so no neighbour can plant one.

Browsers treat http://127.0.0.1 and http://localhost as trustworthy and accept Secure cookies there (Chromium and
Firefox do, Safari does not); from any other host name, signing in needs https.
"""
CSRF_HEADER = "x-csrf-token"
CSRF_FIELD = "csrf_token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class NewSession:
    """A browser that has just signed in: `secret` goes into its cookie and nowhere else."""

    secret: str
    max_age_s: int
    user_name: str


class SignInRefused(RuleError):
    """Wrong name or password, or too many attempts: then `wait_s` says how long to wait."""

    code = "sign-in"

    def __init__(self, message: str, wait_s: float = 0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class SignIn(Protocol):
    """What the login page needs of the user directory."""

    async def sign_in(self, name: str, password: Secret, address: str) -> NewSession:
        """Raises SignInRefused, which does not tell a wrong name from a wrong password."""
        ...

    async def sign_out(self, secret: str) -> None: ...


def new_session_secret() -> str:
    return secrets.token_urlsafe(32)


def csrf_token(session_secret: str) -> str:
    """The token that proves a form or script came from a page of this session."""
    return hmac.new(session_secret.encode(), b"headend csrf v1", hashlib.sha256).hexdigest()


def session_secret(request: Request) -> str | None:
    """The cookie's value, when it could be one of ours."""
    value = request.cookies.get(COOKIE, "")
    return value if 20 <= len(value) <= 100 and value.isascii() else None


def check_csrf(session_secret: str, given: str | None) -> None:
    """Raises Problem 403 when the token does not belong to the session."""
    if given is None or not hmac.compare_digest(csrf_token(session_secret).encode(), given.encode()):
        raise Problem(403, "The request lacks the token of its page; reload the page and try again.", code="csrf")


def set_session(response: Response, secret: str, *, max_age_s: int) -> None:
    """SameSite=Lax: following a link to a page keeps the session; a form or script of another site never sends it."""
    response.set_cookie(COOKIE, secret, max_age=max_age_s, path="/", secure=True, httponly=True, samesite="lax")


def clear_session(response: Response) -> None:
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")
