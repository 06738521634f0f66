"""What holds for every page that is declared, whatever it shows: who may change things, and which address is whose."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from starlette.requests import Request

from controller.domain.clock import SystemClock
from controller.http.endpoint import Principal
from controller.web.api import Api
from controller.web.office import pages as office_pages
from controller.web.radius import pages as radius_pages
from controller.web.site import Site, WebPage


class Whole(Api):
    """An API that serves everything: pages are declared by what it has, and none is asked for here."""

    def __init__(self) -> None:
        super().__init__([])

    def has(self, method: str, path: str) -> bool:
        return True


async def nobody(request: Request) -> Principal | None:
    return None


@pytest.fixture(scope="module")
def declared() -> Sequence[WebPage]:
    site, api = Site(nobody, SystemClock(), []), Whole()
    return [*radius_pages.pages(site, api), *office_pages.pages(site, api)]


def test_what_changes_something_needs_more_than_to_read(declared: Sequence[WebPage]) -> None:
    posts = [page for page in declared if page.method == "POST"]
    assert len(posts) > 60
    asked = {page.path for page in posts if not page.scope.endswith(":write")}
    assert asked == {"/whois"}, "a question that is written down, with a scope of its own"


def test_a_form_is_shown_to_whoever_may_send_it(declared: Sequence[WebPage]) -> None:
    shown = {page.path: page.scope for page in declared if page.method == "GET"}
    sent = {page.path: page.scope for page in declared if page.method == "POST"}
    both = shown.keys() & sent.keys()
    assert len(both) > 50
    assert {path: (shown[path], sent[path]) for path in both if shown[path] != sent[path]} == {}


def test_no_page_stands_behind_another(declared: Sequence[WebPage]) -> None:
    """Addresses are looked for in order: /payments/gateways is no payment, if it stands first."""
    hidden = []
    before: list[tuple[str, str, re.Pattern[str]]] = []
    for page in declared:
        example = re.sub(r"{\w+}", "0199", page.path)
        hidden += [
            (path, page.path) for method, path, shape in before if method == page.method and shape.fullmatch(example)
        ]
        before.append((page.method, page.path, re.compile(re.sub(r"{\w+}", "[^/]+", page.path))))
    assert hidden == []


def test_a_page_is_declared_once(declared: Sequence[WebPage]) -> None:
    named = [(page.method, page.path) for page in declared]
    assert sorted(name for name in set(named) if named.count(name) > 1) == []
