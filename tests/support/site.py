"""The whole web application over fakes, for tests of pages: real sign-in, real server, a fake network."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.types import ASGIApp

from controller.app.auth import AuthService, AuthSettings
from controller.app.auth_model import Role
from controller.app.server import Health, build_app
from controller.app.site import web_site
from controller.domain.clock import Clock, SystemClock
from controller.domain.ports import Secret
from controller.http.endpoint import Endpoint
from controller.store.engine import Database
from controller.store.stream import Stream
from controller.web.noc.feed import NocFeed
from tests.support.http_server import serving
from tests.support.noc import FakeNoc

if TYPE_CHECKING:
    from playwright.sync_api import Page

PASSWORD = "correct horse battery"
CHEAP = AuthSettings(argon2_memory_kib=64, argon2_passes=1)
"""Password checks that cost nothing: what they cost is not what is tested."""
EndpointMaker = Callable[[Database, AuthService], Sequence[Endpoint]]
Furnished = tuple[Clock, Sequence[Endpoint]]
"""By which clock the application goes, and what its API serves."""


@dataclass
class World:
    """What a test moves: the fake network and the clock. Made before the server's loop exists."""

    noc: FakeNoc = field(default_factory=FakeNoc)
    clock: Clock = field(default_factory=SystemClock)
    endpoints: EndpointMaker = lambda database, auth: []
    app: ASGIApp | None = None
    auth: AuthService | None = None
    stream: Stream | None = None
    feed: NocFeed | None = None

    async def build(self, database: Database) -> ASGIApp:
        """The application on `database`, with one user per role, all with PASSWORD, named like the role."""
        auth = self.auth = AuthService(database, self.clock, CHEAP)
        for role in Role:
            await auth.add_user(f"{role.value}-user", Secret(PASSWORD), role, actor="system:test")
        self.stream = Stream()
        self.feed = NocFeed(self.noc, self.stream)
        endpoints = self.endpoints(database, auth)

        async def health() -> Health:
            return Health(True, {"store": "ok"})

        site, pages = web_site(
            endpoints=endpoints,
            authenticator=auth,
            sign_in=auth,
            clock=self.clock,
            noc=self.noc,
            feed=self.feed,
            stream=self.stream,
            isp_name="Kabelnetz Nord",
            locale="de_DE",
        )
        self.app = build_app(
            endpoints=endpoints,
            pages=pages,
            authenticator=auth,
            clock=self.clock,
            health=health,
            on_page_error=site.on_error,
        )
        return self.app


@contextmanager
def site_over(template: Path, directory: Path, furnish: Callable[[Database], Awaitable[Furnished]]) -> Iterator[str]:
    """The address of the application over a database of its own, an empty one that `furnish` fills first."""
    shutil.copy(template, directory / "headend.db")

    async def build() -> ASGIApp:
        database = Database(f"sqlite+aiosqlite:///{directory}/headend.db")
        clock, endpoints = await furnish(database)
        return await World(endpoints=lambda *_: endpoints, clock=clock).build(database)

    with serving(build) as url:
        yield url


def sign_in(page: Page, address: str, path: str, user: str = "admin-user", password: str = PASSWORD) -> None:
    """Ask for the page at `path`, and come to it as that user."""
    page.goto(f"{address}{path}")
    page.get_by_label("Name").fill(user)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"**{path}")
