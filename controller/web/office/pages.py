"""Every plain page."""

from __future__ import annotations

from controller.web.api import Api
from controller.web.office import money, network, orders, people
from controller.web.site import Site, WebPage


def pages(site: Site, api: Api) -> list[WebPage]:
    return [*network.pages(site, api), *orders.pages(site, api), *people.pages(site, api), *money.pages(site, api)]
