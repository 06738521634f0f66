"""Every page with an address of its own, on a new controller: it opens, has one heading, and fits on a telephone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.requests import Request

from controller.domain.clock import SystemClock
from controller.http.endpoint import Principal
from controller.web.api import Api
from controller.web.office import pages as office_pages
from controller.web.radius import pages as radius_pages
from controller.web.site import Site
from tests.support.browser import TELEPHONE, Chromium, assert_fits_both_widths
from tests.support.controller import Controller

pytestmark = pytest.mark.browser
NO_PAGES = {"/customers/found", "/dunning/collections", "/ledger/export", "/trace/stream", "/usage/identifiers/one"}
"""Asked for by scripts, taken away as files, or of something that is named in the query."""


class Whole(Api):
    """An API that serves everything: pages are declared by what it has."""

    def __init__(self) -> None:
        super().__init__([])

    def has(self, method: str, path: str) -> bool:
        return True


async def nobody(request: Request) -> Principal | None:
    return None


def addresses() -> list[str]:
    site, api = Site(nobody, SystemClock(), []), Whole()
    declared = [*radius_pages.pages(site, api), *office_pages.pages(site, api)]
    return sorted({p.path for p in declared if p.method == "GET" and "{" not in p.path and not p.fragment} - NO_PAGES)


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    made = Controller(tmp_path / "data")
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.mark.long
def test_every_page_opens_with_nothing_to_show_and_fits(chromium: Chromium, controller: Controller) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    page.goto(f"{controller.url}/customers")
    page.get_by_label("Name").fill("admin")
    page.get_by_label("Password").fill(controller.admin_password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/customers")
    found = addresses()
    assert len(found) > 60
    wrong = []
    for path in found:
        answer = page.goto(controller.url + path)
        assert answer is not None
        if answer.status != 200 or page.locator("h1").count() != 1:
            wrong.append(f"{path}: {answer.status}, {page.locator('h1').all_inner_texts()}")
            continue
        assert_fits_both_widths(page)
    assert wrong == []
    chromium.assert_clean(controller.url)
