"""What the pages of the books share: where they are, the days they are of, and where a posting's account is shown."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from controller.web.api import address
from controller.web.office.view import Filter
from controller.web.site import Visit

READ = "finance:read"


def day(name: str, label: str, value: str = "") -> Filter:
    return Filter(name, label, value=value, kind="date")


def span_of(visit: Visit, *names: str) -> dict[str, str]:
    return {name: visit.query(name) for name in names}


def account_at(code: str, days: Mapping[str, str], currency: str) -> str:
    return address(f"/ledger/accounts/{code}", **{"currency": currency, **{k: v for k, v in days.items() if v}})


def total_of(currency: str, *amounts: Mapping[str, str]) -> dict[str, str]:
    return {"amount": str(sum(Decimal(a["amount"]) for a in amounts)), "currency": currency}
