"""Every plain page."""

from __future__ import annotations

from controller.web.api import Api
from controller.web.office import (
    accounts,
    adjustments,
    assurance,
    bank,
    bill_runs,
    card_charges,
    cash,
    catalog,
    contract_notices,
    controls,
    corrections,
    decisions,
    direct_debits,
    disputes,
    dunning,
    entities,
    exceptions,
    family,
    forms,
    gateways,
    identifiers,
    instalments,
    items,
    ledger,
    limits,
    lines,
    mandates,
    money,
    nas,
    network,
    next_bill,
    note_matches,
    notices,
    ordering,
    orders,
    pauses,
    payments,
    payouts,
    people,
    periods,
    prepaid,
    proposals,
    receivables,
    recurring,
    rerating,
    resale,
    revenue_contracts,
    statements,
    stock,
    taxes,
    usage,
    usage_links,
    waiting,
    write_offs,
)
from controller.web.site import Site, WebPage


def pages(site: Site, api: Api) -> list[WebPage]:
    # Forms first: /orders/new is no order.
    books = (periods, revenue_contracts, statements, receivables, controls, entities, ledger)
    dunned = (dunning, decisions, instalments, notices, disputes)
    collected = (gateways, card_charges, mandates, payments, bank, payouts, cash, direct_debits)
    owed = (money, adjustments, write_offs, note_matches, *collected, *dunned, *books, taxes, resale)
    used = (usage, usage_links, identifiers, prepaid, waiting, limits, exceptions, assurance)
    lists = (network, nas, orders, contract_notices, next_bill, people, catalog, stock, *owed, *used)
    rooms = (
        accounts,
        bill_runs,
        rerating,
        recurring,
        forms,
        ordering,
        lines,
        pauses,
        family,
        corrections,
        proposals,
        items,
        *lists,
    )
    return [page for room in rooms for page in room.pages(site, api)]
