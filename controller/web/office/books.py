"""What the pages of the books share: where they are, the days they are of, and where a posting's account is shown."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from controller.web.api import address
from controller.web.office.view import Filter, Link
from controller.web.site import Visit

READ = "finance:read"
PAGES = (
    Link("Trial balance", "/ledger"),
    Link("Profit and loss", "/ledger/income"),
    Link("Balance sheet", "/ledger/balance-sheet"),
    Link("Cash flow", "/ledger/cash-flow"),
    Link("Receivables", "/ledger/receivables"),
    Link("Revenue to come", "/ledger/revenue"),
    Link("Journal", "/ledger/entries"),
    Link("Entries by hand", "/ledger/proposals"),
    Link("Periods", "/ledger/periods"),
)


def others(here: str, span: Mapping[str, str]) -> list[Link]:
    """The other pages of the ledger, of the same last day."""
    return [Link(p.label, address(p.href, as_of=span.get("as_of", ""))) for p in PAGES if p.href != here]


def day(name: str, label: str, value: str = "") -> Filter:
    return Filter(name, label, value=value, kind="date")


def span_of(visit: Visit, *names: str) -> dict[str, str]:
    return {name: visit.query(name) for name in names}


def account_at(code: str, days: Mapping[str, str], currency: str) -> str:
    return address(f"/ledger/accounts/{code}", **{"currency": currency, **{k: v for k, v in days.items() if v}})


def total_of(currency: str, *amounts: Mapping[str, str]) -> dict[str, str]:
    return {"amount": str(sum(Decimal(a["amount"]) for a in amounts)), "currency": currency}
