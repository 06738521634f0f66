"""What the pages of the books share: where they are, the days they are of, and where a posting's account is shown."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from controller.web.api import Api, address
from controller.web.office.names import of_entities
from controller.web.office.view import Filter
from controller.web.site import Visit

READ = "finance:read"


def day(name: str, label: str, value: str = "") -> Filter:
    return Filter(name, label, value=value, kind="date")


def span_of(visit: Visit, *names: str) -> dict[str, str]:
    """What the address says of days, and of whose books they are: the first legal entity's where it says nothing."""
    return {name: visit.query(name) for name in names} | of_entity(visit)


def of_entity(visit: Visit) -> dict[str, str]:
    return {"entity_id": visit.query("entity_id")} if visit.query("entity_id") else {}


async def whose(api: Api, visit: Visit) -> tuple[Filter, ...]:
    """A choice of legal entities, where there are several."""
    names = await of_entities(api, visit)
    if len(names) < 2:
        return ()
    first, *others = names
    return (
        Filter(
            "entity_id", "Legal entity", choices=others, labels=names, value=visit.query("entity_id"),
            anything=names[first],
        ),
    )  # fmt: skip


def account_at(code: str, days: Mapping[str, str], currency: str) -> str:
    return address(f"/ledger/accounts/{code}", **{"currency": currency, **{k: v for k, v in days.items() if v}})


def total_of(currency: str, *amounts: Mapping[str, str]) -> dict[str, str]:
    return {"amount": str(sum(Decimal(a["amount"]) for a in amounts)), "currency": currency}
