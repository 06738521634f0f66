"""Debian's Chromium under playwright, kept from talking to anyone but the server under test.

@pytest.mark.browser
def test_page(chromium: Chromium) -> None:
    page = chromium.page(width=1440)
    ...
    chromium.assert_clean()   # no console error, no request to another host
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--disable-domain-reliability",
    "--no-first-run",
    "--no-pings",
    "--disable-dev-shm-usage",
    "--disable-features=OptimizationHints,MediaRouter,Translate,CertificateTransparencyComponentUpdater",
]


PATIENCE_MS = 15_000
"""Machines that run tests are busy."""
expect.set_options(timeout=PATIENCE_MS)


DESK, TELEPHONE = 1440, 390
"""Pixels that pages are as wide as."""


class Chromium:
    """Pages of one browser; what they logged and asked for is kept."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self.complaints: list[str] = []
        self.hosts: set[str] = set()

    def page(
        self, *, width: int = 1440, height: int = 1000, dark: bool = False, locale: str = "en-GB", **options: Any
    ) -> Page:
        context = self._browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            locale=locale,
            **options,
        )
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda r: self._note(r.url))
        return page

    def _note(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob"):
            self.hosts.add(parts.netloc)

    def assert_clean(self, base_url: str) -> None:
        assert self.complaints == []
        assert self.hosts <= {urlsplit(base_url).netloc}


_SETTLED = """async (patience) => {
  const until = performance.now() + patience;
  const over = () => document.documentElement.scrollWidth - window.innerWidth;
  while (over() > 0 && performance.now() < until) await new Promise((frame) => requestAnimationFrame(frame));
  return over();
}"""
"""A chart is drawn again for a new width, a frame or two later. Our pages forbid the eval of wait_for_function."""


def assert_nothing_sticks_out(page: Page) -> None:
    """Nobody has to scroll sideways. Measured once the style sheet is there: until then a page may be of any width."""
    page.wait_for_load_state("load")
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, page.url


def assert_fits_both_widths(page: Page) -> None:
    """The same on a desk and on a telephone, of a page that is open: a long way need not be gone twice."""
    here = page.viewport_size
    assert here is not None
    for width in (DESK, TELEPHONE):
        page.set_viewport_size({"width": width, "height": here["height"]})
        page.wait_for_load_state("load")
        sticks_out = page.evaluate(_SETTLED, PATIENCE_MS)
        assert sticks_out <= 0, f"{page.url} at {width}"
    page.set_viewport_size(here)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for the tests of a file, as its start takes longer than most of them.

    Its driver ends with it: while it runs, it holds this thread's event loop, so none of them is asynchronous.
    """
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@pytest.fixture
def chromium(browser: Browser) -> Iterator[Chromium]:
    """A browser for one test: nothing of another's is in its pages, cookies or cache."""
    try:
        yield Chromium(browser)
    finally:
        for context in list(browser.contexts):
            context.close()
