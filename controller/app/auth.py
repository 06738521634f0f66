"""Users, tokens and sign-in: who a request comes from and what they may do. Every change is audited.

There is no default password. The first administrator is made at first start from HEADEND_ADMIN_PASSWORD, or by
`headend user add`. A wrong name and a wrong password are answered alike, and take the same time.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import argon2
import structlog
from prometheus_client import Counter
from sqlalchemy.exc import IntegrityError
from starlette.requests import Request

from controller.app import auth_repository as repository
from controller.app.auth_model import (
    ROLE_SCOPES,
    GuessLimiter,
    Role,
    check_name,
    check_password,
    check_scopes,
    digest,
    new_token,
    token_prefix,
)
from controller.app.auth_repository import BrowserSession, Token, User
from controller.domain.clock import Clock
from controller.domain.errors import Conflict, NotFound, RuleError
from controller.domain.identity import new_id
from controller.domain.ports import Secret
from controller.http import browser
from controller.http.browser import NewSession, SignInRefused
from controller.http.dispatch import unauthorized
from controller.http.endpoint import Principal
from controller.store import audit
from controller.store.engine import Database

log = structlog.get_logger()

SIGN_INS = Counter("headend_app_sign_ins", "Attempts to sign in at the login page.", ["result"])


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """How long a browser stays signed in, and how guessing is slowed."""

    idle: timedelta = timedelta(hours=1)
    """A session unused for this long is over. An open NOC page counts as use."""
    absolute: timedelta = timedelta(hours=12)
    """A session this old is over: one working shift."""
    touch: timedelta = timedelta(minutes=1)
    """How old the noted last use may be before it is written again: a read must not cost a write each time."""
    free_attempts_per_name: int = 5
    free_attempts_per_address: int = 20
    """More than per name: an office shares an address."""
    argon2_memory_kib: int = 65_536
    argon2_passes: int = 3
    """Work of one password check; the defaults are the low-memory choice of RFC 9106 section 4."""


class AuthService:
    """Also the Authenticator of the HTTP layer: calling it with a request gives the Principal."""

    def __init__(self, database: Database, clock: Clock, settings: AuthSettings | None = None) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings or AuthSettings()
        self._hasher = argon2.PasswordHasher(  # argon2id
            time_cost=self._settings.argon2_passes, memory_cost=self._settings.argon2_memory_kib
        )
        self._nobody_hash = self._hasher.hash(secrets.token_urlsafe(16))
        self._hashing = asyncio.Semaphore(2)  # each takes 64 MiB and a core
        self._by_name = GuessLimiter(free=self._settings.free_attempts_per_name)
        self._by_address = GuessLimiter(free=self._settings.free_attempts_per_address)

    # Requests

    async def __call__(self, request: Request) -> Principal | None:
        """Who sends `request`; None for a stranger. Raises Problem 401 for a bad token, 403 without a CSRF token."""
        authorization = request.headers.get("authorization")
        if authorization is not None:
            return await self._bearer(authorization)
        secret = browser.session_secret(request)
        if secret is None:
            return None
        session = await self.session(secret)
        if session is None:
            return None
        if request.method not in browser.SAFE_METHODS:
            given = request.headers.get(browser.CSRF_HEADER) or getattr(request.state, browser.CSRF_FIELD, None)
            browser.check_csrf(secret, given)
        return principal_of(session.user)

    async def _bearer(self, authorization: str) -> Principal:
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() != "bearer" or not value.strip():
            raise unauthorized("Send a token: Authorization: Bearer …", error="invalid_request")
        async with self._database.read() as conn:
            token = await repository.token_by_digest(conn, digest(value.strip()))
        if token is None or not token.valid(self._clock.now()):
            raise unauthorized("The token is unknown, expired or revoked.", error="invalid_token")
        return Principal(f"token:{token.name}", token.scopes)

    async def session(self, secret: str) -> BrowserSession | None:
        """The live session of a cookie's secret, its last use noted."""
        now, key = self._clock.now(), digest(secret)
        async with self._database.read() as conn:
            session = await repository.session_by_digest(conn, key)
        if session is None or not session.user.active:
            return None
        if now >= session.expires_at or now - session.seen_at >= self._settings.idle:
            return None
        if now - session.seen_at >= self._settings.touch:
            async with self._database.begin() as conn:
                await repository.touch_session(conn, key, now)
        return session

    # Signing in and out

    async def sign_in(self, name: str, password: Secret, address: str) -> NewSession:
        """A new session. Raises SignInRefused, which does not tell a wrong name from a wrong password."""
        now, name = self._clock.now(), name.strip().lower()[:64]
        wait = max(self._by_name.wait(name, now), self._by_address.wait(address, now))
        if wait:
            SIGN_INS.labels("slowed").inc()
            raise SignInRefused(
                f"Too many attempts. Try again in {max(1, round(wait.total_seconds()))} s.", wait.total_seconds()
            )
        # Noted as failed before the slow hash: attempts sent at the same time do not slip past the limit.
        self._by_name.failed(name, now)
        self._by_address.failed(address, now)
        user = await self._check_password(name, password)
        if user is None:
            SIGN_INS.labels("refused").inc()
            log.warning("auth.sign_in_refused", user_name=name, address=address)
            raise SignInRefused("That name and password do not fit together.")
        self._by_name.succeeded(name)
        self._by_address.succeeded(address)
        SIGN_INS.labels("accepted").inc()
        return await self._open_session(user, now, address)

    async def _check_password(self, name: str, password: Secret) -> User | None:
        async with self._database.read() as conn:
            found = await repository.user_by_name(conn, name)
        known_hash = found[1] if found else self._nobody_hash
        text = password.reveal()[:1000]
        async with self._hashing:
            matches = await asyncio.to_thread(self._matches, known_hash, text)
        if found is None or not matches or not found[0].active:
            return None
        return found[0]

    def _matches(self, known_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(known_hash, password.encode("utf-8", "surrogatepass"))
        except argon2.exceptions.VerificationError:
            return False

    async def _open_session(self, user: User, now: datetime, address: str) -> NewSession:
        secret = browser.new_session_secret()
        async with self._database.begin() as conn:
            await repository.forget_expired_sessions(conn, now=now, idle_since=now - self._settings.idle)
            await repository.add_session(
                conn,
                digest=digest(secret),
                user_id=user.user_id,
                now=now,
                expires_at=now + self._settings.absolute,
            )
            await audit.record(
                conn,
                now=now,
                actor=f"user:{user.name}",
                action="user.signed-in",
                subject=f"user:{user.user_id}",
                after={"address": address},
            )
        return NewSession(secret, int(self._settings.absolute.total_seconds()), user.name)

    async def sign_out(self, secret: str) -> None:
        async with self._database.begin() as conn:
            await repository.end_session(conn, digest(secret))

    # Users

    async def add_user(self, name: str, password: Secret, role: Role, *, actor: str) -> User:
        """Raises RuleError for a bad name or password, Conflict for a name that is taken."""
        now = self._clock.now()
        check_password(password.reveal(), check_name(name))
        user = User(new_id(now), name, role, True, now)
        password_hash = await self._hash(password)
        try:
            async with self._database.begin() as conn:
                await repository.add_user(conn, user, password_hash)
                await audit.record(
                    conn, now=now, actor=actor, action="user.created", subject=f"user:{user.user_id}",
                    after={"name": name, "role": role.value},
                )  # fmt: skip
        except IntegrityError as error:
            raise Conflict(f"there is a user {name!r} already", code="user-exists") from error
        return user

    async def change_user(
        self,
        user_id: str,
        *,
        actor: str,
        role: Role | None = None,
        password: Secret | None = None,
        active: bool | None = None,
    ) -> User:
        """Change what is given. A new password or a disabled user ends that user's sessions.

        Raises NotFound, or Conflict when nobody would be left who may administer.
        """
        now = self._clock.now()
        async with self._database.read() as conn:
            before = await repository.user_by_id(conn, user_id)
        if before is None:
            raise NotFound("no such user")
        new_hash = None
        if password is not None:
            check_password(password.reveal(), before.name)
            new_hash = await self._hash(password)
        async with self._database.begin() as conn:
            before = await repository.user_by_id(conn, user_id) or before
            after = User(
                user_id,
                before.name,
                before.role if role is None else role,
                before.active if active is None else active,
                before.created_at,
            )
            await repository.change_user(conn, user_id, role=after.role, active=after.active, password_hash=new_hash)
            if not await repository.active_admins(conn):
                raise Conflict("this is the last active administrator", code="last-admin")
            if new_hash is not None or not after.active:
                await repository.end_sessions_of(conn, user_id)
            await audit.record(
                conn, now=now, actor=actor, action="user.changed", subject=f"user:{user_id}",
                before={"role": before.role.value, "active": before.active},
                after={"role": after.role.value, "active": after.active, "password_changed": new_hash is not None},
            )  # fmt: skip
        return after

    async def users(self, *, after: str, limit: int) -> Sequence[User]:
        async with self._database.read() as conn:
            return await repository.users(conn, after=after, limit=limit)

    async def user(self, user_id: str) -> User:
        """Raises NotFound."""
        async with self._database.read() as conn:
            found = await repository.user_by_id(conn, user_id)
        if found is None:
            raise NotFound("no such user")
        return found

    async def _hash(self, password: Secret) -> str:
        async with self._hashing:
            return await asyncio.to_thread(self._hasher.hash, password.reveal())

    # Tokens

    async def create_token(
        self, name: str, scopes: Collection[str], *, expires_at: datetime | None, by: Principal
    ) -> tuple[Token, Secret]:
        """The token and its secret, shown once. Raises RuleError for scopes that its maker does not hold."""
        granted = check_scopes(scopes, by.scopes)
        if expires_at is not None and expires_at <= self._clock.now():
            raise RuleError("the token would have expired already", code="token-expired")
        secret = new_token()
        return await self._store_token(name, granted, secret, expires_at, by.actor), Secret(secret)

    async def _store_token(
        self, name: str, scopes: frozenset[str], secret: str, expires_at: datetime | None, actor: str
    ) -> Token:
        now = self._clock.now()
        token = Token(new_id(now), name, token_prefix(secret), scopes, actor, now, expires_at, None)
        async with self._database.begin() as conn:
            await repository.add_token(conn, token, digest(secret))
            await audit.record(
                conn, now=now, actor=actor, action="token.created", subject=f"token:{token.token_id}",
                after={"name": name, "scopes": sorted(scopes), "expires_at": expires_at},
            )  # fmt: skip
        return token

    async def revoke_token(self, token_id: str, *, actor: str) -> None:
        """From now on the token opens nothing. Revoking twice changes nothing. Raises NotFound."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            token = await repository.token_by_id(conn, token_id)
            if token is None:
                raise NotFound("no such token")
            if token.revoked_at is None:
                await repository.revoke_token(conn, token_id, now)
                await audit.record(
                    conn, now=now, actor=actor, action="token.revoked", subject=f"token:{token_id}",
                    before={"name": token.name},
                )  # fmt: skip

    async def tokens(self, *, before: str | None, limit: int) -> Sequence[Token]:
        async with self._database.read() as conn:
            return await repository.tokens(conn, before=before, limit=limit)

    # First start

    async def ensure_first_admin(self, password: Secret | None, token: Secret | None) -> None:
        """Make the user "admin" when there is no user at all, and the token of the settings when it is unknown.

        A later change of these settings changes no user: passwords are changed through the API.
        """
        if password is not None:
            async with self._database.read() as conn:
                users = await repository.count_users(conn)
            if users == 0:
                await self.add_user("admin", password, Role.ADMIN, actor="system:settings")
        if token is not None:
            if len(token.reveal()) < 24:
                raise RuleError("an admin token has at least 24 random characters", code="token-short")
            async with self._database.read() as conn:
                known = await repository.token_by_digest(conn, digest(token.reveal()))
            if known is None:
                await self._store_token("settings", frozenset({"*"}), token.reveal(), None, "system:settings")


def principal_of(user: User) -> Principal:
    return Principal(f"user:{user.name}", ROLE_SCOPES[user.role])
