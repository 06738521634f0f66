"""The pages that are served, in the order of the navigation. Wiring gives what `web_site` returns to `build_app`."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.routing import BaseRoute

from controller.domain.clock import Clock
from controller.http.browser import SignIn
from controller.http.dispatch import Authenticator
from controller.http.endpoint import Endpoint
from controller.store.stream import Stream
from controller.web import login
from controller.web.api import Api
from controller.web.noc import pages as noc_pages
from controller.web.noc.data import NocData
from controller.web.noc.feed import NocFeed
from controller.web.office import pages as office_pages
from controller.web.radius import pages as radius_pages
from controller.web.site import NavItem, Site

NAVIGATION = (
    NavItem("Network", "/noc", noc_pages.SCOPE),
    NavItem("Sessions", "/sessions", "radius:read"),
    NavItem("Orders", "/orders", "orders:read"),
    NavItem("Customers", "/customers", "crm:read"),
    NavItem("Invoices", "/invoices", "finance:read"),
    NavItem("Payments", "/payments", "finance:read"),
    NavItem("Bill runs", "/bill-runs", "billing:read"),
    NavItem("Dunning", "/dunning", "finance:read"),
    NavItem("Ledger", "/ledger", "finance:read"),
    NavItem("Usage", "/usage", "usage:read"),
    NavItem("Suspense", "/suspense", "billing:read"),
    NavItem("Checks", "/exceptions", "billing:read"),
    NavItem("Offerings", "/offerings", "catalog:read"),
    NavItem("Stock", "/stock", "inventory:read"),
    NavItem("Devices", "/devices", "devices:read"),
    NavItem("Audit", "/audit", "admin:read"),
)


def web_site(
    *,
    endpoints: Sequence[Endpoint],
    authenticator: Authenticator,
    sign_in: SignIn,
    clock: Clock,
    noc: NocData,
    feed: NocFeed,
    stream: Stream,
    isp_name: str,
    locale: str,
) -> tuple[Site, list[BaseRoute]]:
    """The site (its `on_error` is build_app's `on_page_error`) and its routes."""
    site, api = Site(authenticator, clock, NAVIGATION, isp_name, locale), Api(endpoints)
    declared = [
        *login.pages(site, sign_in),
        *noc_pages.pages(site, noc, feed, stream, authenticator),
        *radius_pages.pages(site, api),
        *office_pages.pages(site, api),
    ]
    return site, site.routes(declared)
