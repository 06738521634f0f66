"""What every page shares: who looks at it, the layout, forms with their CSRF token, and pages for what went wrong.

A page is declared like an endpoint (method, path, scope, handler) and reads the same public API (`Api`). Strangers are
sent to the login page; a page never shows more than its viewer's token could fetch.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from controller.domain.clock import Clock
from controller.http import browser
from controller.http.content import check_path, read_body
from controller.http.dispatch import Authenticator, require
from controller.http.endpoint import PUBLIC, Principal
from controller.http.problem import Problem, from_error, log_failure
from controller.web.templating import STATIC, entity_locale, missing_assets, render

MAX_FORM_OCTETS = 65_536
_NO_PATH: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Visit:
    """One request for a page, its viewer known and allowed."""

    request: Request
    principal: Principal
    now: datetime
    path: Mapping[str, str]
    form: Mapping[str, str]
    csrf: str

    def query(self, name: str) -> str:
        """A parameter of the address, as far as it is text that we would look for."""
        return self.request.query_params.get(name, "").replace("\x00", "").strip()[:200]


PageHandler = Callable[[Visit], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class WebPage:
    """`path` is from the root. `fragment` pages answer scripts: a stranger gets 401 there instead of the login page."""

    method: str
    path: str
    scope: str
    handler: PageHandler
    fragment: bool = False


@dataclass(frozen=True, slots=True)
class NavItem:
    """A place in the navigation. `tabs` are the pages of that place, itself the first of them."""

    label: str
    href: str
    scope: str
    tabs: Sequence[NavItem] = ()
    needs: str = ""
    """A path of the API that is read there: a process that does not serve it has no such page."""
    keeps: Sequence[str] = ()
    """Parameters of the address that go with the viewer from tab to tab, such as the day of a statement."""
    also: Sequence[str] = ()
    """Other addresses that belong here, by how they begin."""

    def nearness(self, here: str) -> int:
        """How much of the address `here` is this place's; 0 where it is another's."""
        own = [self.href, *self.also]
        mine = max((len(href) for href in own if here == href or here.startswith(f"{href}/")), default=0)
        return max([mine, *(tab.nearness(here) for tab in self.tabs)])

    def address(self, visit: Visit) -> str:
        kept = [f"{name}={quote(visit.query(name))}" for name in self.keeps if visit.query(name)]
        return f"{self.href}?{'&'.join(kept)}" if kept else self.href


@dataclass(frozen=True, slots=True)
class Site:
    """Turns pages into routes and renders templates in the layout."""

    authenticator: Authenticator
    clock: Clock
    nav: Sequence[NavItem]
    isp_name: str = "Headend"
    locale: str = "en"
    """Of the legal entity: how amounts are written."""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def routes(self, pages: Sequence[WebPage]) -> list[BaseRoute]:
        """Routes of the pages and of the static files."""
        by_path: dict[str, dict[str, WebPage]] = {}
        for page in pages:
            by_path.setdefault(page.path, {})[page.method] = page
        found: list[BaseRoute] = [
            Route(path, self._handle(methods), methods=list(methods)) for path, methods in by_path.items()
        ]
        return [*found, Mount("/static", StaticFiles(directory=STATIC), name="static")]

    def html(self, visit: Visit, template: str, *, status: int = 200, **context: Any) -> Response:
        """A page in the layout, with the viewer's navigation."""
        request = visit.request
        allowed = [item for item in self.nav if visit.principal.may(item.scope)]
        place = _nearest(allowed, request.url.path)
        around = [tab for tab in place.tabs if visit.principal.may(tab.scope)] if place else []
        tab = _nearest(around, request.url.path)
        content = render(
            template,
            isp_name=self.isp_name,
            nav=[(item.label, item.href, item is place) for item in allowed],
            tabs=[(each.label, each.address(visit), each is tab) for each in around] if len(around) > 1 else [],
            at_tab=tab is not None and tab.href == request.url.path,
            here=request.url.path,
            viewer=visit.principal.actor.partition(":")[2],
            signed_in=visit.principal.actor != "anonymous",
            csrf=visit.csrf,
            csrf_field=browser.CSRF_FIELD,
            may=visit.principal.may,
            now=visit.now,
            missing_assets=missing_assets(),
            **context,
        )
        return HTMLResponse(content, status_code=status)

    async def on_error(self, request: Request, error: Exception) -> Response:
        """A page for what went wrong outside a page handler: unknown addresses and methods."""
        try:
            principal = await self.authenticator(request)
        except Problem:
            principal = None
        problem = _problem(error)
        return self._error_page(self._visit(request, principal or _STRANGER, {}), problem)

    def _handle(self, methods: Mapping[str, WebPage]) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            entity_locale.set(self.locale)
            page = methods["GET" if request.method == "HEAD" else request.method]
            visit = self._visit(request, _STRANGER, {})
            try:
                visit = await self._admit(page, request)
                return await page.handler(visit)
            except Exception as error:
                return self._refuse(page, visit, error)

        return handle

    async def _admit(self, page: WebPage, request: Request) -> Visit:
        form = await _read_form(request) if request.method == "POST" else {}
        setattr(request.state, browser.CSRF_FIELD, form.get(browser.CSRF_FIELD))
        path = check_path(request.path_params)
        if page.scope == PUBLIC:
            return self._visit(request, _STRANGER, form, path)
        principal = await self.authenticator(request)
        if principal is None:
            raise Problem(401, "Sign in first.", code="unauthorized")
        require(principal, page.scope)
        return self._visit(request, principal, form, path)

    def _visit(
        self, request: Request, principal: Principal, form: Mapping[str, str], path: Mapping[str, str] = _NO_PATH
    ) -> Visit:
        secret = browser.session_secret(request)
        return Visit(
            request=request,
            principal=principal,
            now=self.clock.now(),
            path=path,
            form=form,
            csrf=browser.csrf_token(secret) if secret else "",
        )

    def _refuse(self, page: WebPage, visit: Visit, error: Exception) -> Response:
        problem = _problem(error)
        if problem.status == 401 and not page.fragment:
            address = visit.request.url.path + (f"?{visit.request.url.query}" if visit.request.url.query else "")
            return RedirectResponse(f"/login?next={quote(address)}", status_code=303)
        return self._error_page(visit, problem)

    def _error_page(self, visit: Visit, problem: Problem) -> Response:
        return self.html(
            visit, "error.html", status=problem.status, problem=problem, title=HTTPStatus(problem.status).phrase
        )


def _nearest(items: Sequence[NavItem], here: str) -> NavItem | None:
    """Where the viewer is, as the address says; None where that is none of `items`."""
    found = max(items, key=lambda item: item.nearness(here), default=None)
    return found if found is not None and found.nearness(here) else None


_STRANGER = Principal("anonymous", frozenset())

_PLAIN = {
    404: "There is nothing at this address.",
    405: "This address does not take that method.",
}


def _problem(error: Exception) -> Problem:
    if isinstance(error, HTTPException):
        return Problem(error.status_code, _PLAIN.get(error.status_code, error.detail), code="page")
    known = from_error(error)
    if known is not None:
        return known
    error_id = log_failure(error)
    return Problem(500, f"The page failed inside the server; its log has the cause under {error_id}.", code="internal")


async def _read_form(request: Request) -> dict[str, str]:
    """The fields of a form post. Raises Problem for anything else."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not media_type and request.headers.get("content-length", "0") == "0":
        return {}
    if media_type != "application/x-www-form-urlencoded":
        raise Problem(415, "A form is expected here.", code="media-type")
    raw = await read_body(request, MAX_FORM_OCTETS)
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=50)
    except ValueError as error:
        raise Problem(400, "The form cannot be read.", code="form") from error
    if any("\x00" in text for pair in pairs for text in pair):
        raise Problem(400, "The form holds a NUL, which is not text.", code="form")
    return dict(pairs)
