from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from starlette.requests import Request

from controller.app.auth import AuthService, AuthSettings
from controller.app.auth_model import Role, digest
from controller.app.auth_tables import browser_session, token, user
from controller.domain.clock import MovableClock
from controller.domain.errors import Conflict, NotFound, RuleError
from controller.domain.ports import Secret
from controller.http.browser import COOKIE, SignInRefused, csrf_token
from controller.http.endpoint import Principal
from controller.http.problem import Problem
from controller.store import audit
from controller.store.engine import Database

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
PASSWORD = Secret("correct horse battery")
ADMIN = Principal("user:root", frozenset({"*"}))


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock(NOW)


@pytest.fixture
async def auth(database: Database, clock: MovableClock) -> AuthService:
    return AuthService(database, clock, AuthSettings(free_attempts_per_name=2, argon2_memory_kib=64, argon2_passes=1))


def request(method: str = "GET", **headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": method, "path": "/", "headers": raw, "query_string": b"", "state": {}})


async def test_no_secret_is_stored_in_the_clear(auth: AuthService, database: Database) -> None:
    await auth.add_user("anna", PASSWORD, Role.NOC, actor="system:test")
    session = await auth.sign_in("anna", PASSWORD, "192.0.2.1")
    _, api_token = await auth.create_token("scripts", ["crm:read"], expires_at=None, by=ADMIN)
    async with database.read() as conn:
        for table in (user, token, browser_session, audit.audit):
            stored = repr((await conn.execute(select(table))).all())
            for secret in (PASSWORD.reveal(), session.secret, api_token.reveal()):
                assert secret not in stored
        assert (await conn.scalar(select(user.c.password_hash))).startswith("$argon2id$")
        assert await conn.scalar(select(token.c.digest)) == digest(api_token.reveal())


async def test_there_is_no_default_password(auth: AuthService) -> None:
    await auth.ensure_first_admin(None, None)
    assert not await auth.users(after="", limit=10)


async def test_the_first_admin_comes_from_the_settings_and_only_the_first(auth: AuthService) -> None:
    first, second = Secret("first start password"), Secret("later other password")
    await auth.ensure_first_admin(first, Secret("t" * 24))
    await auth.ensure_first_admin(second, Secret("t" * 24))
    assert await auth.sign_in("admin", first, "192.0.2.1")
    assert [u.role for u in await auth.users(after="", limit=10)] == [Role.ADMIN]
    with pytest.raises(SignInRefused):
        await auth.sign_in("admin", second, "192.0.2.1")
    assert [t.scopes for t in await auth.tokens(before=None, limit=10)] == [frozenset({"*"})]
    with pytest.raises(RuleError):
        await auth.ensure_first_admin(None, Secret("short"))


async def test_a_bearer_token_opens_what_its_scopes_say_until_revoked(auth: AuthService) -> None:
    made, secret = await auth.create_token("scripts", ["crm:read"], expires_at=None, by=ADMIN)
    principal = await auth(request(authorization=f"Bearer {secret.reveal()}"))
    assert principal == Principal("token:scripts", frozenset({"crm:read"}))
    await auth.revoke_token(made.token_id, actor="user:root")
    await auth.revoke_token(made.token_id, actor="user:root")
    with pytest.raises(Problem) as refused:
        await auth(request(authorization=f"Bearer {secret.reveal()}"))
    assert refused.value.status == 401
    assert 'error="invalid_token"' in refused.value.headers["WWW-Authenticate"]


async def test_an_expired_token_opens_nothing(auth: AuthService, clock: MovableClock) -> None:
    _, secret = await auth.create_token("brief", ["*"], expires_at=NOW + timedelta(hours=1), by=ADMIN)
    assert await auth(request(authorization=f"Bearer {secret.reveal()}"))
    clock.advance(timedelta(hours=1))
    with pytest.raises(Problem):
        await auth(request(authorization=f"Bearer {secret.reveal()}"))


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Basic YTpi", "Bearer hd_unknown", "nonsense"])
async def test_a_wrong_authorization_header_is_refused_even_beside_a_cookie(auth: AuthService, header: str) -> None:
    await auth.add_user("anna", PASSWORD, Role.NOC, actor="system:test")
    session = await auth.sign_in("anna", PASSWORD, "192.0.2.1")
    with pytest.raises(Problem) as refused:
        await auth(request(authorization=header, cookie=f"{COOKIE}={session.secret}"))
    assert refused.value.status == 401


async def test_nobody_grants_more_than_they_hold(auth: AuthService) -> None:
    noc = Principal("user:noc", frozenset({"radius:read", "radius:write"}))
    await auth.create_token("both", ["radius:*"], expires_at=None, by=noc)
    for beyond in (["*"], ["finance:read"], ["radius:read", "admin:write"], ["nonsense:read"], []):
        with pytest.raises(RuleError):
            await auth.create_token("more", beyond, expires_at=None, by=noc)


async def test_a_session_ends_when_idle_and_at_its_absolute_age(auth: AuthService, clock: MovableClock) -> None:
    await auth.add_user("anna", PASSWORD, Role.NOC, actor="system:test")
    idle = await auth.sign_in("anna", PASSWORD, "192.0.2.1")
    clock.advance(timedelta(minutes=61))
    assert await auth.session(idle.secret) is None
    used = await auth.sign_in("anna", PASSWORD, "192.0.2.1")
    for _ in range(23):
        clock.advance(timedelta(minutes=30))
        assert await auth.session(used.secret) is not None
    clock.advance(timedelta(minutes=30))
    assert await auth.session(used.secret) is None


async def test_signing_out_ends_the_session(auth: AuthService) -> None:
    await auth.add_user("anna", PASSWORD, Role.NOC, actor="system:test")
    session = await auth.sign_in("anna", PASSWORD, "192.0.2.1")
    await auth.sign_out(session.secret)
    assert await auth(request(cookie=f"{COOKIE}={session.secret}")) is None


async def test_a_cookie_alone_may_read_but_changes_need_the_csrf_token(auth: AuthService) -> None:
    await auth.add_user("anna", PASSWORD, Role.NOC, actor="system:test")
    mine = await auth.sign_in("anna", PASSWORD, "192.0.2.1")
    other = await auth.sign_in("anna", PASSWORD, "192.0.2.1")
    cookie = f"{COOKIE}={mine.secret}"
    principal = await auth(request(cookie=cookie))
    assert principal is not None
    assert principal.actor == "user:anna"
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        for given in ({}, {"x_csrf_token": "0" * 64}, {"x_csrf_token": csrf_token(other.secret)}):
            with pytest.raises(Problem) as refused:
                await auth(request(method, cookie=cookie, **given))
            assert refused.value.code == "csrf"
        assert await auth(request(method, cookie=cookie, x_csrf_token=csrf_token(mine.secret)))


async def test_a_wrong_name_and_a_wrong_password_read_alike(auth: AuthService) -> None:
    await auth.add_user("anna", PASSWORD, Role.NOC, actor="system:test")
    said = []
    for name, password in (("anna", "wrong"), ("nobody", "wrong")):
        with pytest.raises(SignInRefused) as refused:
            await auth.sign_in(name, Secret(password), "192.0.2.1")
        said.append((str(refused.value), refused.value.wait_s))
    assert said[0] == said[1]


async def test_guessing_is_slowed_and_the_right_password_waits_too(auth: AuthService, clock: MovableClock) -> None:
    await auth.add_user("anna", PASSWORD, Role.NOC, actor="system:test")
    for _ in range(3):
        with pytest.raises(SignInRefused):
            await auth.sign_in("anna", Secret("wrong"), "192.0.2.1")
    with pytest.raises(SignInRefused) as slowed:
        await auth.sign_in("anna", PASSWORD, "198.51.100.7")
    assert slowed.value.wait_s == 2
    clock.advance(timedelta(seconds=slowed.value.wait_s))
    assert await auth.sign_in("anna", PASSWORD, "198.51.100.7")


async def test_a_new_password_and_a_disabled_user_end_sessions(auth: AuthService) -> None:
    await auth.add_user("root", PASSWORD, Role.ADMIN, actor="system:test")
    anna = await auth.add_user("anna", PASSWORD, Role.NOC, actor="system:test")
    session = await auth.sign_in("anna", PASSWORD, "192.0.2.1")
    await auth.change_user(anna.user_id, actor="user:root", password=Secret("another good password"))
    assert await auth.session(session.secret) is None
    session = await auth.sign_in("anna", Secret("another good password"), "192.0.2.1")
    await auth.change_user(anna.user_id, actor="user:root", active=False)
    assert await auth.session(session.secret) is None
    with pytest.raises(SignInRefused):
        await auth.sign_in("anna", Secret("another good password"), "192.0.2.1")


async def test_the_last_admin_stays(auth: AuthService) -> None:
    root = await auth.add_user("root", PASSWORD, Role.ADMIN, actor="system:test")
    for change in ({"active": False}, {"role": Role.NOC}):
        with pytest.raises(Conflict):
            await auth.change_user(root.user_id, actor="user:root", **change)
    assert await auth.sign_in("root", PASSWORD, "192.0.2.1")
    with pytest.raises(NotFound):
        await auth.change_user("0" * 32, actor="user:root", active=True)


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("anna", "short"),
        ("anna", "a" * 20),
        ("anna", "anna has a password"),
        ("Anna", "x" * 5 + "correct horse"),
        ("", "correct horse"),
    ],
)
async def test_weak_passwords_and_odd_names_are_refused(auth: AuthService, name: str, password: str) -> None:
    with pytest.raises(RuleError):
        await auth.add_user(name, Secret(password), Role.NOC, actor="system:test")


async def test_a_name_is_given_once(auth: AuthService) -> None:
    await auth.add_user("anna", PASSWORD, Role.NOC, actor="system:test")
    with pytest.raises(Conflict):
        await auth.add_user("anna", PASSWORD, Role.NOC, actor="system:test")


async def test_every_change_is_audited_in_an_intact_chain(auth: AuthService, database: Database) -> None:
    await auth.add_user("root", PASSWORD, Role.ADMIN, actor="system:test")
    anna = await auth.add_user("anna", PASSWORD, Role.NOC, actor="user:root")
    await auth.change_user(anna.user_id, actor="user:root", role=Role.BILLING)
    await auth.sign_in("anna", PASSWORD, "192.0.2.1")
    made, _ = await auth.create_token("t", ["*"], expires_at=None, by=ADMIN)
    await auth.revoke_token(made.token_id, actor="user:root")
    async with database.read() as conn:
        entries = await audit.entries(conn, before=None, limit=20)
        assert await audit.verify(conn) == []
    assert [e["action"] for e in reversed(entries)] == [
        "user.created", "user.created", "user.changed", "user.signed-in", "token.created", "token.revoked",
    ]  # fmt: skip
