"""Rows of users, tokens and browser sessions, as frozen values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.app.auth_model import Role
from controller.app.auth_tables import browser_session, token, user


@dataclass(frozen=True, slots=True)
class User:
    user_id: str
    name: str
    role: Role
    active: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Token:
    """A token without its secret: `prefix` is what people tell it by."""

    token_id: str
    name: str
    prefix: str
    scopes: frozenset[str]
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    def valid(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class BrowserSession:
    user: User
    seen_at: datetime
    expires_at: datetime


async def add_user(conn: AsyncConnection, added: User, password_hash: str) -> None:
    await conn.execute(
        insert(user).values(
            user_id=added.user_id,
            name=added.name,
            password_hash=password_hash,
            role=added.role,
            state=_state(added.active),
            created_at=added.created_at,
        )
    )


async def change_user(
    conn: AsyncConnection, user_id: str, *, role: Role, active: bool, password_hash: str | None
) -> None:
    values: dict[str, Any] = {"role": role, "state": _state(active)}
    if password_hash is not None:
        values["password_hash"] = password_hash
    await conn.execute(update(user).where(user.c.user_id == user_id).values(**values))


async def user_by_id(conn: AsyncConnection, user_id: str) -> User | None:
    row = (await conn.execute(select(user).where(user.c.user_id == user_id))).one_or_none()
    return None if row is None else _user(row)


async def user_by_name(conn: AsyncConnection, name: str) -> tuple[User, str] | None:
    """The user and the password hash."""
    row = (await conn.execute(select(user).where(user.c.name == name))).one_or_none()
    return None if row is None else (_user(row), row.password_hash)


async def users(conn: AsyncConnection, *, after: str, limit: int) -> Sequence[User]:
    query = select(user).where(user.c.name > after).order_by(user.c.name).limit(limit)
    return [_user(row) for row in await conn.execute(query)]


async def active_admins(conn: AsyncConnection) -> int:
    query = select(func.count()).select_from(user).where(user.c.role == Role.ADMIN, user.c.state == "active")
    return int((await conn.execute(query)).scalar_one())


async def count_users(conn: AsyncConnection) -> int:
    return int((await conn.execute(select(func.count()).select_from(user))).scalar_one())


async def add_token(conn: AsyncConnection, added: Token, digest: bytes) -> None:
    await conn.execute(
        insert(token).values(
            token_id=added.token_id,
            name=added.name,
            prefix=added.prefix,
            digest=digest,
            scopes=" ".join(sorted(added.scopes)),
            created_by=added.created_by,
            created_at=added.created_at,
            expires_at=added.expires_at,
        )
    )


async def token_by_digest(conn: AsyncConnection, digest: bytes) -> Token | None:
    row = (await conn.execute(select(token).where(token.c.digest == digest))).one_or_none()
    return None if row is None else _token(row)


async def token_by_id(conn: AsyncConnection, token_id: str) -> Token | None:
    row = (await conn.execute(select(token).where(token.c.token_id == token_id))).one_or_none()
    return None if row is None else _token(row)


async def tokens(conn: AsyncConnection, *, before: str | None, limit: int) -> Sequence[Token]:
    """Newest first."""
    query = select(token).order_by(token.c.token_id.desc()).limit(limit)
    if before is not None:
        query = query.where(token.c.token_id < before)
    return [_token(row) for row in await conn.execute(query)]


async def revoke_token(conn: AsyncConnection, token_id: str, now: datetime) -> None:
    await conn.execute(update(token).where(token.c.token_id == token_id).values(revoked_at=now))


async def add_session(
    conn: AsyncConnection, *, digest: bytes, user_id: str, now: datetime, expires_at: datetime
) -> None:
    await conn.execute(
        insert(browser_session).values(
            digest=digest, user_id=user_id, created_at=now, seen_at=now, expires_at=expires_at
        )
    )


async def session_by_digest(conn: AsyncConnection, digest: bytes) -> BrowserSession | None:
    query = (
        select(user, browser_session.c.seen_at, browser_session.c.expires_at)
        .join(browser_session, browser_session.c.user_id == user.c.user_id)
        .where(browser_session.c.digest == digest)
    )
    row = (await conn.execute(query)).one_or_none()
    return None if row is None else BrowserSession(_user(row), row.seen_at, row.expires_at)


async def touch_session(conn: AsyncConnection, digest: bytes, now: datetime) -> None:
    await conn.execute(update(browser_session).where(browser_session.c.digest == digest).values(seen_at=now))


async def end_session(conn: AsyncConnection, digest: bytes) -> None:
    await conn.execute(delete(browser_session).where(browser_session.c.digest == digest))


async def end_sessions_of(conn: AsyncConnection, user_id: str) -> None:
    await conn.execute(delete(browser_session).where(browser_session.c.user_id == user_id))


async def forget_expired_sessions(conn: AsyncConnection, *, now: datetime, idle_since: datetime) -> None:
    await conn.execute(
        delete(browser_session).where((browser_session.c.expires_at <= now) | (browser_session.c.seen_at <= idle_since))
    )


def _state(active: bool) -> str:
    return "active" if active else "disabled"


def _user(row: Row[Any]) -> User:
    return User(
        user_id=row.user_id,
        name=row.name,
        role=Role(row.role),
        active=row.state == "active",
        created_at=row.created_at,
    )


def _token(row: Row[Any]) -> Token:
    return Token(
        token_id=row.token_id,
        name=row.name,
        prefix=row.prefix,
        scopes=frozenset(row.scopes.split()),
        created_by=row.created_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )
