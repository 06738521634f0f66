"""Signing in and out in a browser.

The login form carries a token that must equal a cookie set with the form, so that another site cannot sign a browser
in under its own name; signing out is a form of the session like every other change.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from controller.domain.ports import Secret
from controller.http import browser
from controller.http.browser import SignIn, SignInRefused
from controller.http.endpoint import PUBLIC
from controller.web.site import Site, Visit, WebPage

FORM_COOKIE = "__Host-headend-form"
_FORM_COOKIE_AGE_S = 3_600
_OWN_ADDRESS = re.compile(r"/(?![/\\])[\x21-\x7e]*")


def pages(site: Site, sign_in: SignIn) -> list[WebPage]:
    def form(visit: Visit, *, status: int = 200, message: str = "", wait_s: float = 0, name: str = "") -> Response:
        token = visit.request.cookies.get(FORM_COOKIE, "")
        if not 20 <= len(token) <= 100:
            token = secrets.token_urlsafe(32)
        response = site.html(
            visit,
            "login.html",
            status=status,
            message=message,
            name=name,
            form_token=token,
            following=own_address(visit.query("next") or visit.form.get("next", "")),
            cookies_work=cookies_work(visit.request),
        )
        if wait_s:
            response.headers["Retry-After"] = str(max(1, round(wait_s)))
        response.set_cookie(
            FORM_COOKIE, token, max_age=_FORM_COOKIE_AGE_S, path="/", secure=True, httponly=True, samesite="strict"
        )
        return response

    async def show(visit: Visit) -> Response:
        if visit.csrf and await site.authenticator(visit.request) is not None:
            return RedirectResponse(own_address(visit.query("next")), status_code=303)
        return form(visit)

    async def enter(visit: Visit) -> Response:
        name = visit.form.get("name", "")
        cookie = visit.request.cookies.get(FORM_COOKIE, "")
        given = visit.form.get(browser.CSRF_FIELD, "")
        if not cookie or not hmac.compare_digest(cookie.encode(), given.encode()):
            return form(visit, status=403, message="The form was too old, or cookies are off. Try again.", name=name)
        address = visit.request.client.host if visit.request.client else "unknown"
        try:
            session = await sign_in.sign_in(name, Secret(visit.form.get("password", "")), address)
        except SignInRefused as refused:
            status = 429 if refused.wait_s else 401
            return form(visit, status=status, message=str(refused), wait_s=refused.wait_s, name=name)
        response = RedirectResponse(own_address(visit.form.get("next", "")), status_code=303)
        browser.set_session(response, session.secret, max_age_s=session.max_age_s)
        response.delete_cookie(FORM_COOKIE, path="/", secure=True, httponly=True, samesite="strict")
        return response

    async def leave(visit: Visit) -> Response:
        secret = browser.session_secret(visit.request)
        if secret is not None:
            # Leaving needs no scope, but it is a change all the same.
            given = visit.form.get(browser.CSRF_FIELD)
            browser.check_csrf(secret, given)
            await sign_in.sign_out(secret)
        response = RedirectResponse("/login", status_code=303)
        browser.clear_session(response)
        return response

    return [
        WebPage("GET", "/login", PUBLIC, show),
        WebPage("POST", "/login", PUBLIC, enter),
        WebPage("POST", "/logout", PUBLIC, leave),
    ]


def own_address(wanted: str) -> str:
    """Where to go after signing in: an address of ours, or the front page. Never another site's."""
    return wanted if _OWN_ADDRESS.fullmatch(wanted) and not wanted.startswith(("/login", "/logout")) else "/"


def cookies_work(request: Request) -> bool:
    """Whether browsers will keep our Secure cookies: over https, or on this machine itself."""
    if request.url.scheme == "https":
        return True
    host = request.url.hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
