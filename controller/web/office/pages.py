"""Every plain page."""

from __future__ import annotations

from controller.web.api import Api
from controller.web.office import (
    assurance,
    bank,
    bill_runs,
    cash,
    catalog,
    corrections,
    decisions,
    disputes,
    dunning,
    exceptions,
    family,
    forms,
    items,
    ledger,
    lines,
    money,
    nas,
    network,
    notices,
    ordering,
    orders,
    pauses,
    payments,
    people,
    periods,
    proposals,
    receivables,
    statements,
    stock,
    usage,
    waiting,
)
from controller.web.site import Site, WebPage


def pages(site: Site, api: Api) -> list[WebPage]:
    # Forms first: /orders/new is no order.
    books = (periods, statements, receivables, ledger)
    dunned = (dunning, decisions, notices, disputes)
    owed = (money, payments, bank, cash, *dunned, *books)
    lists = (network, nas, orders, people, catalog, stock, *owed, usage, waiting, exceptions, assurance)
    rooms = (bill_runs, forms, ordering, lines, pauses, family, corrections, proposals, items, *lists)
    return [page for room in rooms for page in room.pages(site, api)]
