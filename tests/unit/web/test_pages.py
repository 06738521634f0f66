"""Pages over HTTP, without a browser: who gets in, what a form needs, what headers say, what is shown."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import insert

from controller.app import record_routes
from controller.app.auth_tables import browser_session, token, user
from controller.app.bus import Bus
from controller.domain.clock import SystemClock
from controller.http.browser import COOKIE
from controller.http.endpoint import Endpoint
from controller.store.audit import audit
from controller.store.engine import Database
from controller.store.metadata import metadata
from controller.store.outbox import outbox, parked
from controller.web import templating
from controller.web.login import own_address
from tests.support import sample_api
from tests.support.site import PASSWORD, World

HELD = "0" * 31 + "1"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """Pages do not know which database there is: one suffices."""
    opened = Database(f"sqlite+aiosqlite:///{tmp_path}/pages.db")
    tables = [user, token, browser_session, audit, outbox, parked]
    async with opened.begin() as connection:
        await connection.run_sync(lambda sync: metadata.create_all(sync, tables=tables))
    yield opened
    await opened.close()


@pytest.fixture
def asked() -> list[str]:
    """What pages asked the API to change."""
    return []


@pytest.fixture
def world(asked: list[str]) -> World:
    def endpoints(database: Database, auth: object) -> list[Endpoint]:
        return [*sample_api.endpoints(asked), *record_routes.endpoints(database, Bus(database, SystemClock(), {}))]

    return World(endpoints=endpoints)


@pytest.fixture
async def stranger(world: World, database: Database) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app=await world.build(database))
    async with httpx2.AsyncClient(transport=transport, base_url="https://headend.test") as client:
        yield client


async def sign_in(
    client: httpx2.AsyncClient, role: str, password: str = PASSWORD, following: str = ""
) -> httpx2.Response:
    form = (await client.get("/login")).text
    fields = {"name": f"{role}-user", "password": password, "csrf_token": hidden(form), "next": following}
    return await client.post("/login", data=fields)


def hidden(page: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found is not None
    return found[1]


async def test_a_stranger_is_sent_to_the_login_page_and_back(stranger: httpx2.AsyncClient) -> None:
    sent = await stranger.get("/sessions?q=sub001")
    assert sent.status_code == 303
    assert sent.headers["location"] == "/login?next=/sessions%3Fq%3Dsub001"
    form = await stranger.get(sent.headers["location"])
    assert 'name="next" value="/sessions?q=sub001"' in form.text
    entered = await sign_in(stranger, "noc", following="/sessions?q=sub001")
    assert (entered.status_code, entered.headers["location"]) == (303, "/sessions?q=sub001")
    assert (await stranger.get("/sessions")).status_code == 200


@pytest.mark.parametrize("path", ["/noc/stream", "/noc/recent", "/noc/throughput?range=1h"])
async def test_a_stranger_gets_no_figures(stranger: httpx2.AsyncClient, path: str) -> None:
    assert (await stranger.get(path)).status_code == 401


async def test_the_session_cookie_is_for_this_host_over_tls_and_not_for_scripts(stranger: httpx2.AsyncClient) -> None:
    entered = await sign_in(stranger, "noc")
    session = next(c for c in entered.headers.get_list("set-cookie") if c.startswith(COOKIE + "="))
    attributes = {part.strip().lower() for part in session.split(";")[1:]}
    assert {"secure", "httponly", "samesite=lax", "path=/"} <= attributes
    assert not any(a.startswith("domain") for a in attributes)
    assert session.startswith("__Host-")


async def test_a_wrong_password_is_401_and_guessing_is_429(stranger: httpx2.AsyncClient) -> None:
    statuses = [(await sign_in(stranger, "noc", "wrong")).status_code for _ in range(7)]
    assert statuses[:5] == [401] * 5
    slowed = await sign_in(stranger, "noc")
    assert slowed.status_code == 429
    assert int(slowed.headers["retry-after"]) >= 1
    assert "__Host-headend=" not in str(slowed.headers.get_list("set-cookie"))


async def test_the_login_form_of_another_site_is_refused(stranger: httpx2.AsyncClient) -> None:
    fields = {"name": "noc-user", "password": PASSWORD, "csrf_token": "x" * 43, "next": "/"}
    assert (await stranger.post("/login", data=fields)).status_code == 403
    await stranger.get("/login")
    assert (await stranger.post("/login", data=fields)).status_code == 403


@pytest.mark.parametrize(
    ("wanted", "goes_to"),
    [
        ("/orders?state=held", "/orders?state=held"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/login?next=/login", "/"),
        ("/a\r\nSet-Cookie: x", "/"),
        ("", "/"),
    ],
)
def test_after_signing_in_nobody_is_sent_to_another_site(wanted: str, goes_to: str) -> None:
    assert own_address(wanted) == goes_to


async def test_a_button_works_with_its_token_and_not_without(stranger: httpx2.AsyncClient, asked: list[str]) -> None:
    await sign_in(stranger, "noc")
    page = await stranger.get(f"/orders/{HELD}")
    assert "OLT shows 100 Mbit/s, 300 wanted" in page.text
    for fields in ({}, {"csrf_token": "0" * 64}):
        refused = await stranger.post(f"/orders/{HELD}/redrive", data=fields)
        assert refused.status_code == 403
    assert asked == []
    done = await stranger.post(f"/orders/{HELD}/redrive", data={"csrf_token": hidden(page.text)})
    assert (done.status_code, asked) == (303, [f"redrive {HELD} by user:noc-user"])


async def test_an_order_shows_what_carries_it_and_is_cancelled_after_a_question(
    stranger: httpx2.AsyncClient, asked: list[str]
) -> None:
    await sign_in(stranger, "noc")
    page = (await stranger.get(f"/orders/{HELD}")).text
    assert all(
        word in page for word in ("Carried by", "LABX00000001", "Ethernet1", ">olt-1.ber</a>", ">" + "f" * 32 + "</a>")
    )
    assert 'data-confirm="Cancel this order?' in page
    done = await stranger.post(f"/orders/{HELD}/cancel", data={"csrf_token": hidden(page)})
    assert (done.status_code, asked) == (303, [f"cancel {HELD} by user:noc-user"])
    assert "Cancel this order?" not in (await stranger.get("/orders/" + "0" * 31 + "2")).text, "it is completed"


async def test_the_api_takes_the_cookie_only_with_the_token(stranger: httpx2.AsyncClient, asked: list[str]) -> None:
    await sign_in(stranger, "noc")
    path = f"/api/v1/orders/{HELD}/redrive"
    assert (await stranger.get("/api/v1/orders")).status_code == 200
    refused = await stranger.post(path)
    assert (refused.status_code, refused.json()["code"]) == (403, "csrf")
    token_of_page = hidden((await stranger.get("/noc")).text)
    assert (await stranger.post(path, headers={"X-CSRF-Token": token_of_page})).status_code == 200
    assert len(asked) == 1


async def test_signing_out_needs_the_token_and_ends_the_session(stranger: httpx2.AsyncClient) -> None:
    await sign_in(stranger, "noc")
    page = (await stranger.get("/noc")).text
    assert (await stranger.post("/logout", data={"csrf_token": "0" * 64})).status_code == 403
    assert (await stranger.get("/noc")).status_code == 200
    kept = dict(stranger.cookies)
    assert (await stranger.post("/logout", data={"csrf_token": hidden(page)})).status_code == 303
    stranger.cookies.update(kept)
    assert (await stranger.get("/noc")).status_code == 303


async def test_roles_see_only_their_pages(stranger: httpx2.AsyncClient) -> None:
    await sign_in(stranger, "noc")
    page = (await stranger.get("/noc")).text
    assert 'href="/sessions"' in page
    assert 'href="/invoices"' not in page
    refused = await stranger.get("/invoices")
    assert refused.status_code == 403
    assert "finance:read" in refused.text


async def test_a_viewer_who_may_not_change_sees_no_button(stranger: httpx2.AsyncClient) -> None:
    await sign_in(stranger, "readonly")
    assert "Disconnect" not in (await stranger.get("/sessions")).text
    page = (await stranger.get(f"/orders/{HELD}")).text
    assert "Drive on" not in page
    assert "Cancel this order?" not in page
    refused = await stranger.post(f"/orders/{HELD}/redrive", data={"csrf_token": hidden(page)})
    assert refused.status_code == 403


async def test_unknown_addresses_are_a_page_here_and_a_problem_in_the_api(stranger: httpx2.AsyncClient) -> None:
    page = await stranger.get("/nowhere")
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert (await stranger.get("/api/v1/nowhere")).headers["content-type"] == "application/problem+json"
    assert (await stranger.get("/static/../pages.py")).status_code == 404
    assert (await stranger.put("/noc")).status_code == 405


async def test_what_people_typed_is_shown_as_text(stranger: httpx2.AsyncClient) -> None:
    await sign_in(stranger, "support")
    page = (await stranger.get("/customers")).text
    assert "Bäckerei Krüger &amp; &lt;Söhne&gt;" in page
    assert '"><script>' not in (await stranger.get("/sessions", params={"q": '"><script>alert(1)</script>'})).text


async def test_every_answer_tells_browsers_to_be_strict(stranger: httpx2.AsyncClient) -> None:
    for path in ("/login", "/nowhere", "/static/headend.css", "/api/v1/orders", "/healthz", "/openapi.json"):
        headers = (await stranger.get(path)).headers
        policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == "'self'"
        assert policy["frame-ancestors"] == "'none'"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"]


async def test_no_page_names_another_host_or_runs_inline_script(stranger: httpx2.AsyncClient) -> None:
    await sign_in(stranger, "admin")
    for path in ("/noc", "/sessions", f"/orders/{HELD}", "/customers", "/devices", "/invoices", "/audit", "/nowhere"):
        page = (await stranger.get(path)).text
        assert not re.search(r'(?:src|href|action)="(?:https?:)?//', page)
        assert not re.search(r"<script(?![^>]*(?:src=|application/json))", page)
        assert not re.search(r'\s(?:on\w+|style)="', page)


async def test_sessions_are_found_by_what_is_typed(stranger: httpx2.AsyncClient) -> None:
    await sign_in(stranger, "noc")
    for typed in ("sub007@isp.example", "8a3f0007", f"{7:032x}"):
        page = (await stranger.get("/sessions", params={"q": typed})).text
        assert "sub007@isp.example" in page
        assert "sub008@isp.example" not in page
    assert "No session fits." in (await stranger.get("/sessions", params={"q": "nobody"})).text
    ended = (await stranger.get("/sessions", params={"state": "ended"})).text
    assert "sub004@isp.example" in ended
    assert "sub001@isp.example" not in ended


async def test_a_customer_page_shows_invoices_only_to_who_may_see_them(stranger: httpx2.AsyncClient) -> None:
    await sign_in(stranger, "noc")
    page = (await stranger.get("/customers/" + "d" * 32)).text
    assert "Orders</h2>" in page
    assert "Invoices</h2>" not in page


async def test_orders_and_invoices_name_their_customers_and_are_found_by_them(stranger: httpx2.AsyncClient) -> None:
    await sign_in(stranger, "admin")
    for path in ("/orders", "/orders?q=krüger", "/invoices"):
        assert "Bäckerei Krüger" in (await stranger.get(path)).text, path
    assert "No order fits." in (await stranger.get("/orders?q=nobody")).text
    totals = (await stranger.get("/invoices")).text
    assert "2.500,00\u00a0EUR" in totals
    assert "overdue" in totals


async def test_a_form_shows_what_is_wrong_beside_its_field_and_keeps_what_was_typed(
    stranger: httpx2.AsyncClient, asked: list[str]
) -> None:
    await sign_in(stranger, "admin")
    form = (await stranger.get("/customers/new")).text
    typed = {"name": "Ada <Lovelace>", "email": "nowhere", "csrf_token": hidden(form)}
    refused = await stranger.post("/customers/new", data=typed)
    assert refused.status_code == 422
    assert 'value="Ada &lt;Lovelace&gt;"' in refused.text
    note = re.search(r'id="field-email-note">([^<]*)<', refused.text)
    assert note is not None
    assert "pattern" in note[1]
    assert asked == []
    made = await stranger.post("/customers/new", data=typed | {"email": "ada@x.example"})
    assert (made.status_code, made.headers["location"]) == (303, "/customers/" + "d" * 32)
    assert asked == ["customer Ada <Lovelace>"]


async def test_a_form_needs_its_token_and_the_right_to_change(stranger: httpx2.AsyncClient, asked: list[str]) -> None:
    await sign_in(stranger, "admin")
    assert (await stranger.post("/customers/new", data={"name": "Ada"})).status_code == 403
    stranger.cookies.clear()
    await sign_in(stranger, "readonly")
    assert "New customer" not in (await stranger.get("/customers")).text
    token_of_page = hidden((await stranger.get("/noc")).text)
    assert (await stranger.get("/customers/new")).status_code == 403
    assert (await stranger.post("/customers/new", data={"name": "A", "csrf_token": token_of_page})).status_code == 403
    assert asked == []


async def test_suspense_says_whose_usage_waits_why_and_for_how_much(stranger: httpx2.AsyncClient) -> None:
    await sign_in(stranger, "admin")
    page = (await stranger.get("/suspense")).text
    assert all(
        words in page for words in ("unknown-service", "gone@isp.example", "3 days", "1,50\u00a0EUR", "7,25\u00a0EUR")
    )


async def test_usage_in_suspense_is_released_by_a_form_with_a_reason(
    stranger: httpx2.AsyncClient, asked: list[str]
) -> None:
    await sign_in(stranger, "admin")
    assert 'href="/suspense/1"' in (await stranger.get("/suspense")).text
    assert 'href="/suspense/1/release"' in (await stranger.get("/suspense/1")).text
    form = (await stranger.get("/suspense/1/release")).text
    typed = {"csrf_token": hidden(form), "action": "write-off"}
    assert (await stranger.post("/suspense/1/release", data=typed)).status_code == 422, "nobody said why"
    done = await stranger.post("/suspense/1/release", data=typed | {"reason": "a test line"})
    assert (done.status_code, done.headers["location"], asked) == (303, "/suspense/1", ["write-off 1: a test line"])


async def test_a_line_is_changed_and_ended_by_forms_that_show_what_it_means_first(
    stranger: httpx2.AsyncClient, asked: list[str]
) -> None:
    await sign_in(stranger, "admin")
    line = "/services/" + "c" * 32
    form = (await stranger.get(f"{line}/plan")).text
    chosen = {"csrf_token": hidden(form), "offering_id": "9" * 32}
    preview = await stranger.post(f"{line}/plan", data=chosen | {"do": "preview"})
    assert "What the customer pays" in preview.text
    assert "1.300,00\u00a0EUR" in preview.text
    assert asked == []
    ordered = await stranger.post(f"{line}/plan", data=chosen | {"do": "place"})
    assert (ordered.status_code, ordered.headers["location"]) == (303, f"/orders/{HELD}")
    await stranger.post(f"{line}/end", data={"csrf_token": hidden(form), "do": "place"})
    assert asked == [f"modify {'b' * 32} to {'9' * 32}", f"delete {'b' * 32}"]


async def test_parked_events_stand_with_their_error_and_a_button(
    stranger: httpx2.AsyncClient, database: Database
) -> None:
    await sign_in(stranger, "admin")
    assert "No event is parked" in (await stranger.get("/parked-events")).text
    at = datetime(2026, 11, 20, tzinfo=UTC)
    async with database.begin() as conn:
        event = {"position": 7, "event_id": "e" * 32, "name": "service.activated", "at": at, "actor": "t"}
        await conn.execute(insert(outbox).values(**event, payload="{}"))
        await conn.execute(
            insert(parked).values(subscriber="billing", position=7, error="no price <b>", attempts=5, parked_at=at)
        )
    page = (await stranger.get("/parked-events")).text
    assert "no price &lt;b&gt;" in page
    assert 'action="/parked-events/billing/7/redeliver"' in page
    stranger.cookies.clear()
    await sign_in(stranger, "noc")
    assert "redeliver" not in (await stranger.get("/parked-events")).text


async def test_missing_libraries_are_said_with_the_command(
    stranger: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(templating, "STATIC", tmp_path)
    assert "make web" in (await stranger.get("/login")).text


async def test_a_form_that_is_no_form_is_refused(stranger: httpx2.AsyncClient) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert (await stranger.post("/login", content=b"{}", headers={"content-type": "text/plain"})).status_code == 415
    assert (await stranger.post("/login", content=b"name=%ff", headers=form)).status_code == 400
    assert (await stranger.post("/login", content=b"name=%00", headers=form)).status_code == 400
    assert (await stranger.post("/login", content=b"a=1&" * 60, headers=form)).status_code == 400
    assert (await stranger.post("/login", content=b"a" * 70_000, headers=form)).status_code == 413


async def test_plain_http_from_elsewhere_is_told_why_it_cannot_sign_in(world: World, database: Database) -> None:
    transport = httpx2.ASGITransport(app=await world.build(database))
    for base, warned in (("http://headend.test", True), ("http://127.0.0.1:8080", False), ("http://localhost", False)):
        async with httpx2.AsyncClient(transport=transport, base_url=base) as client:
            assert ("keep no sign-in" in (await client.get("/login")).text) is warned


async def test_a_failing_page_tells_no_internals(stranger: httpx2.AsyncClient, world: World) -> None:
    await sign_in(stranger, "noc")
    world.noc.failing = True
    page = await stranger.get("/noc")
    assert page.status_code == 500
    assert "the store does not answer" not in page.text
