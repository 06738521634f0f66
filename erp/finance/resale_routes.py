"""Resellers over HTTP: whose customer an account is, the statement of a month, its settlement."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated

from pydantic import Field, StringConstraints

from controller.domain.identity import AccountId
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import IdText, In, Instant, MoneyOut, Out
from erp.finance.resale import Resale, ResaleService, Sale, Statement

Month = Annotated[str, StringConstraints(pattern=r"^(19[7-9]\d|2[01]\d\d)-(0[1-9]|1[0-2])$")]
Day = Annotated[date, Field(ge=date(1970, 1, 1), le=date(2199, 12, 31))]
Percent = Annotated[str, StringConstraints(pattern=r"^(100(\.0{1,4})?|\d{1,2}(\.\d{1,4})?)$")]


class ResellerIn(In):
    """From the day `since`, today if absent, `percent` of the account's net is the reseller's; null ends it."""

    reseller_id: IdText | None
    percent: Percent = "0"
    since: Day | None = None


class ResaleOut(Out):
    account_id: str
    since: date
    reseller_id: str | None
    percent: str
    changed_at: Instant
    changed_by: str

    @classmethod
    def of(cls, found: Resale) -> ResaleOut:
        return cls(
            account_id=found.account_id,
            since=found.since,
            reseller_id=found.reseller_id,
            percent=f"{found.percent:f}",
            changed_at=found.changed_at,
            changed_by=found.changed_by,
        )


class ResalesOut(Out):
    """Oldest first; of those that have begun the last one holds."""

    assignments: list[ResaleOut]


class ResellerOut(Out):
    """`customers` are how many accounts are theirs today."""

    account_id: str
    customers: int


class ResellersOut(Out):
    resellers: list[ResellerOut]


class MonthQuery(In):
    month: Month


class SaleOut(Out):
    """One document of a customer; `net` is that of its lines of offerings."""

    invoice_id: str
    number: str
    issued_on: date
    account_id: str
    net: MoneyOut
    percent: str
    share: MoneyOut

    @classmethod
    def of(cls, found: Sale) -> SaleOut:
        return cls(
            invoice_id=found.invoice_id,
            number=found.number,
            issued_on=found.issued_on,
            account_id=found.account_id,
            net=MoneyOut.of(found.net),
            percent=f"{found.percent:f}",
            share=MoneyOut.of(found.share),
        )


class StatementOut(Out):
    """Of one currency. `settled_at` and `entry_id` are null until it was posted to trade payables."""

    net: MoneyOut
    share: MoneyOut
    sales: list[SaleOut]
    settled_at: Instant | None
    entry_id: str | None


class StatementsOut(Out):
    reseller_id: str
    month: str
    statements: list[StatementOut]

    @classmethod
    def of(cls, reseller_id: str, month: str, found: list[Statement]) -> StatementsOut:
        return cls(
            reseller_id=reseller_id,
            month=month,
            statements=[
                StatementOut(
                    net=MoneyOut.of(each.net),
                    share=MoneyOut.of(each.share),
                    sales=[SaleOut.of(sale) for sale in each.sales],
                    settled_at=each.settled_at,
                    entry_id=each.entry_id,
                )
                for each in found
            ],
        )


def endpoints(resale: ResaleService) -> list[Endpoint]:
    return [*_customers(resale), *_statements(resale)]


def _customers(resale: ResaleService) -> list[Endpoint]:
    async def assign(call: Call) -> ResaleOut:
        body = call.body_as(ResellerIn)
        reseller_id = AccountId(body.reseller_id) if body.reseller_id else None
        made = await resale.assign(
            AccountId(call.path["account_id"]), reseller_id, Decimal(body.percent), since=body.since, actor=call.actor
        )
        return ResaleOut.of(made)

    async def assignments(call: Call) -> ResalesOut:
        found = await resale.assignments(AccountId(call.path["account_id"]))
        return ResalesOut(assignments=[ResaleOut.of(each) for each in found])

    async def resellers(_call: Call) -> ResellersOut:
        found = await resale.resellers()
        return ResellersOut(resellers=[ResellerOut(account_id=r.account_id, customers=r.customers) for r in found])

    async def customers(call: Call) -> Page:
        query = call.query_as(PageQuery)
        found = await resale.customers(AccountId(call.path["account_id"]), after=query.last(str), limit=query.rows)
        return Page.of(found, query, lambda each: (each.account_id,), ResaleOut.of)

    return [
        Endpoint(
            "PUT",
            "/accounts/{account_id}/reseller",
            scope="finance:write",
            handler=assign,
            summary="Let an account be a reseller's customer from a day on",
            body=ResellerIn,
            returns=ResaleOut,
        ),
        Endpoint(
            "GET",
            "/accounts/{account_id}/reseller",
            scope="finance:read",
            handler=assignments,
            summary="Whose customer an account was, is and will be",
            returns=ResalesOut,
        ),
        Endpoint(
            "GET",
            "/resellers",
            scope="finance:read",
            handler=resellers,
            summary="Who brought customers, and how many are theirs today",
            returns=ResellersOut,
        ),
        Endpoint(
            "GET",
            "/resellers/{account_id}/customers",
            scope="finance:read",
            handler=customers,
            summary="The accounts that are a reseller's today",
            query=PageQuery,
            returns=ResaleOut,
            paged=True,
        ),
    ]


def _statements(resale: ResaleService) -> list[Endpoint]:
    async def statement(call: Call) -> StatementsOut:
        reseller_id, month = AccountId(call.path["account_id"]), call.query_as(MonthQuery).month
        found = await resale.statements(reseller_id, date.fromisoformat(f"{month}-01"))
        return StatementsOut.of(reseller_id, month, found)

    async def settle(call: Call) -> StatementsOut:
        reseller_id, month = AccountId(call.path["account_id"]), call.body_as(MonthQuery).month
        found = await resale.settle(reseller_id, date.fromisoformat(f"{month}-01"), actor=call.actor)
        return StatementsOut.of(reseller_id, month, found)

    return [
        Endpoint(
            "GET",
            "/resellers/{account_id}/statement",
            scope="finance:read",
            handler=statement,
            summary="What was sold to a reseller's customers in a month, and the share",
            query=MonthQuery,
            returns=StatementsOut,
        ),
        Endpoint(
            "POST",
            "/resellers/{account_id}/settlements",
            scope="finance:write",
            handler=settle,
            summary="Post what a reseller is owed for a month that is over, once",
            body=MonthQuery,
            returns=StatementsOut,
        ),
    ]
