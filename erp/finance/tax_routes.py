"""Tax rates and exemptions over HTTP."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated

from pydantic import Field, StringConstraints

from controller.domain.errors import RuleError
from controller.domain.identity import AccountId
from controller.http.endpoint import Call, Endpoint
from controller.http.models import IdText, In, Out
from erp.finance.books_answers import Day, EntityQuery
from erp.finance.tax import Exemption, Rate
from erp.finance.taxes import TaxService

Percent = Annotated[Decimal, Field(ge=0, le=100, max_digits=7, decimal_places=4)]


class RateIn(In):
    """From `since` on, what offerings agree at `agreed` per cent is taxed at `percent`."""

    agreed: Percent
    since: Day
    percent: Percent


class RateOut(Out):
    agreed: str
    since: date
    percent: str

    @classmethod
    def of(cls, found: Rate) -> RateOut:
        return cls(agreed=f"{found.agreed:f}", since=found.since, percent=f"{found.percent:f}")


class RatesOut(Out):
    rates: list[RateOut]


class ExemptionIn(In):
    """A certificate for the days [first_on, until_on). `reason` is printed on documents and stands in e-invoices."""

    account_id: IdText
    first_on: Day
    until_on: Day
    reason: Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]


class ExemptionOut(Out):
    account_id: str
    first_on: date
    until_on: date
    reason: str

    @classmethod
    def of(cls, found: Exemption) -> ExemptionOut:
        return cls(account_id=found.account_id, first_on=found.first_on, until_on=found.until_on, reason=found.reason)


class ExemptionsOut(Out):
    exemptions: list[ExemptionOut]


def endpoints(tax: TaxService) -> list[Endpoint]:
    async def rates(call: Call) -> RatesOut:
        found = await tax.rates(call.query_as(EntityQuery).entity)
        return RatesOut(rates=[RateOut.of(r) for r in found])

    async def add_rate(call: Call) -> RateOut:
        body = call.body_as(RateIn)
        made = Rate(body.agreed, body.since, body.percent)
        return RateOut.of(await tax.add_rate(made, actor=call.actor, entity_id=call.query_as(EntityQuery).entity))

    async def exemptions(call: Call) -> ExemptionsOut:
        found = await tax.exemptions(AccountId(call.path["account_id"]))
        return ExemptionsOut(exemptions=[ExemptionOut.of(e) for e in found])

    async def add_exemption(call: Call) -> ExemptionOut:
        body = call.body_as(ExemptionIn)
        if body.until_on <= body.first_on:
            raise RuleError("a certificate ends after it begins", code="span")
        made = Exemption(body.account_id, body.first_on, body.until_on, body.reason)
        return ExemptionOut.of(await tax.add_exemption(made, actor=call.actor))

    return [
        Endpoint(
            "GET",
            "/tax-rates",
            scope="finance:read",
            handler=rates,
            summary="At what each class of tax is taxed, and since when",
            query=EntityQuery,
            returns=RatesOut,
        ),
        Endpoint(
            "POST",
            "/tax-rates",
            scope="finance:write",
            handler=add_rate,
            summary="A class of tax changes on a day",
            query=EntityQuery,
            body=RateIn,
            returns=RateOut,
            status=201,
        ),
        Endpoint(
            "GET",
            "/tax-exemptions/{account_id}",
            scope="finance:read",
            handler=exemptions,
            summary="The certificates of an account",
            returns=ExemptionsOut,
        ),
        Endpoint(
            "POST",
            "/tax-exemptions",
            scope="finance:write",
            handler=add_exemption,
            summary="An account is exempt for some days",
            body=ExemptionIn,
            returns=ExemptionOut,
            status=201,
        ),
    ]
