"""Every page of RADIUS that this process can serve."""

from __future__ import annotations

from controller.web.api import Api
from controller.web.radius import fair_use, nas, pools, quarantine, sessions, trace, whois
from controller.web.site import Site, WebPage


def pages(site: Site, api: Api) -> list[WebPage]:
    """Literal addresses before those with parameters: /pools/new is no pool."""
    rooms = (sessions, quarantine, whois, nas, pools, fair_use, trace)
    return [page for room in rooms for page in room.pages(site, api)]
