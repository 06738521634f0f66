"""Every plain page."""

from __future__ import annotations

from controller.web.api import Api
from controller.web.office import (
    catalog,
    forms,
    ledger,
    lines,
    money,
    nas,
    network,
    ordering,
    orders,
    pauses,
    people,
    stock,
    usage,
    waiting,
)
from controller.web.site import Site, WebPage


def pages(site: Site, api: Api) -> list[WebPage]:
    # Forms first: /orders/new is no order.
    lists = (network, nas, orders, people, catalog, stock, money, ledger, usage, waiting)
    rooms = (forms, ordering, lines, pauses, *lists)
    return [page for room in rooms for page in room.pages(site, api)]
