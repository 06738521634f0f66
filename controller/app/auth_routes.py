"""/users and /tokens: who may use the controller."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, SecretStr, StringConstraints

from controller.app.auth import AuthService
from controller.app.auth_model import MAX_PASSWORD_LENGTH, Role
from controller.app.auth_repository import Token, User
from controller.domain.ports import Secret
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import In, Instant, Name, Out

Password = Annotated[SecretStr, Field(min_length=1, max_length=MAX_PASSWORD_LENGTH)]


class UserIn(In):
    name: Annotated[str, StringConstraints(min_length=1, max_length=63)]
    password: Password
    role: Role


class UserChange(In):
    """Only what is given is changed."""

    role: Role | None = None
    password: Password | None = None
    active: bool | None = None


class UserOut(Out):
    user_id: str
    name: str
    role: Role
    active: bool
    created_at: Instant

    @classmethod
    def of(cls, user: User) -> UserOut:
        return cls(user_id=user.user_id, name=user.name, role=user.role, active=user.active, created_at=user.created_at)


class TokenIn(In):
    name: Name
    scopes: Annotated[list[str], Field(min_length=1, max_length=50)]
    expires_at: Instant | None = None


class TokenOut(Out):
    token_id: str
    name: str
    prefix: str
    scopes: list[str]
    created_by: str
    created_at: Instant
    expires_at: Instant | None
    revoked_at: Instant | None


class TokenMade(TokenOut):
    """The one answer that holds the token itself."""

    token: str


def endpoints(auth: AuthService) -> list[Endpoint]:
    async def list_users(call: Call) -> Page:
        query = call.query_as(PageQuery)
        after = query.last(str) or ""
        rows = await auth.users(after=after, limit=query.rows)
        return Page.of(rows, query, lambda user: (user.name,), UserOut.of)

    async def add_user(call: Call) -> UserOut:
        body = call.body_as(UserIn)
        password = Secret(body.password.get_secret_value())
        return UserOut.of(await auth.add_user(body.name, password, body.role, actor=call.actor))

    async def show_user(call: Call) -> UserOut:
        return UserOut.of(await auth.user(call.path["user_id"]))

    async def change_user(call: Call) -> UserOut:
        body = call.body_as(UserChange)
        password = None if body.password is None else Secret(body.password.get_secret_value())
        changed = await auth.change_user(
            call.path["user_id"], actor=call.actor, role=body.role, password=password, active=body.active
        )
        return UserOut.of(changed)

    async def list_tokens(call: Call) -> Page:
        query = call.query_as(PageQuery)
        before = query.last(str)
        rows = await auth.tokens(before=before, limit=query.rows)
        return Page.of(rows, query, lambda token: (token.token_id,), lambda token: TokenOut(**_fields(token)))

    async def create_token(call: Call) -> TokenMade:
        body = call.body_as(TokenIn)
        token, secret = await auth.create_token(body.name, body.scopes, expires_at=body.expires_at, by=call.principal)
        return TokenMade(**_fields(token), token=secret.reveal())

    async def revoke_token(call: Call) -> None:
        await auth.revoke_token(call.path["token_id"], actor=call.actor)

    read, write = "admin:read", "admin:write"
    return [
        Endpoint("GET", "/users", read, list_users, "List users", returns=UserOut, query=PageQuery, paged=True),
        Endpoint("POST", "/users", write, add_user, "Add a user", returns=UserOut, body=UserIn, status=201),
        Endpoint("GET", "/users/{user_id}", read, show_user, "Show a user", returns=UserOut),
        Endpoint(
            "PATCH", "/users/{user_id}", write, change_user, "Change role, password or state of a user",
            returns=UserOut, body=UserChange,
        ),
        Endpoint("GET", "/tokens", read, list_tokens, "List API tokens", returns=TokenOut, query=PageQuery, paged=True),
        Endpoint(
            "POST", "/tokens", write, create_token, "Create an API token",
            returns=TokenMade, body=TokenIn, status=201,
        ),
        Endpoint("DELETE", "/tokens/{token_id}", write, revoke_token, "Revoke an API token"),
    ]  # fmt: skip


def _fields(token: Token) -> dict[str, Any]:
    return {
        "token_id": token.token_id,
        "name": token.name,
        "prefix": token.prefix,
        "scopes": sorted(token.scopes),
        "created_by": token.created_by,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
    }
