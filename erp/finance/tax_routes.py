"""Tax rates and exemptions over HTTP."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from controller.domain.errors import RuleError
from controller.domain.identity import AccountId
from controller.domain.price import ProductKind
from controller.http.endpoint import Call, Endpoint
from controller.http.models import IdText, In, Out
from erp.finance.books_answers import Day, EntityIn, EntityQuery
from erp.finance.levies import LevyRule
from erp.finance.tax import Exemption, Place, Rate
from erp.finance.taxes import TaxService

Percent = Annotated[Decimal, Field(ge=0, le=100, max_digits=7, decimal_places=4)]


Area = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]+(-[A-Za-z0-9. ]+)*$", max_length=80)]
"""Narrower from left to right: "ES-CN", "US-TX-Austin"."""
Code = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,39}$")]


class RateIn(EntityIn):
    """From `since` on, what offerings agree at `agreed` per cent costs `percent`, in `area` or everywhere else."""

    agreed: Percent
    since: Day
    percent: Percent
    area: Area | None = None


class RateOut(Out):
    agreed: str
    since: date
    percent: str
    area: str

    @classmethod
    def of(cls, found: Rate) -> RateOut:
        return cls(agreed=f"{found.agreed:f}", since=found.since, percent=f"{found.percent:f}", area=found.area)


class RatesOut(Out):
    rates: list[RateOut]


class ExemptionIn(In):
    """A certificate for the days [first_on, until_on). `reason` is printed on documents and stands in e-invoices.

    `category` is E exempt, AE reverse charge, K intra-community, G export or O not subject to VAT; `code` of the VATEX
    list.
    """

    account_id: IdText
    first_on: Day
    until_on: Day
    reason: Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
    category: Literal["E", "AE", "K", "G", "O"] = "E"
    code: Annotated[str, StringConstraints(pattern=r"^(VATEX-[A-Z0-9-]{1,34})?$")] = ""


class ExemptionOut(Out):
    account_id: str
    first_on: date
    until_on: date
    reason: str
    category: str
    code: str

    @classmethod
    def of(cls, found: Exemption) -> ExemptionOut:
        return cls(
            account_id=found.account_id,
            first_on=found.first_on,
            until_on=found.until_on,
            reason=found.reason,
            category=found.category,
            code=found.code,
        )


class ExemptionsOut(Out):
    exemptions: list[ExemptionOut]


class PlaceIn(In):
    """The account is in the tax area `area` from the day `since` on."""

    account_id: IdText
    since: Day
    area: Area


class PlaceOut(Out):
    since: date
    area: str

    @classmethod
    def of(cls, found: Place) -> PlaceOut:
        return cls(since=found.since, area=found.area)


class PlacesOut(Out):
    places: list[PlaceOut]


class LevyRuleIn(EntityIn):
    """A communications tax or surcharge: a per cent of the amount, an amount for each line provided, or both.

    `area` is where it holds, with all that is narrower; `kinds` are kinds of product, none is all; `upon` are codes of
    levies that it is levied on, too.
    """

    code: Code
    name: Annotated[str, StringConstraints(min_length=1, max_length=120, strip_whitespace=True)]
    authority: Annotated[str, StringConstraints(max_length=120, strip_whitespace=True)] = ""
    area: Area | None = None
    since: Day
    until_on: Day | None = None
    percent: Percent = Decimal(0)
    per_line: Annotated[Decimal, Field(ge=0, le=10_000, max_digits=10, decimal_places=4)] = Decimal(0)
    kinds: Annotated[list[ProductKind], Field(default_factory=list, max_length=10)]
    upon: Annotated[list[Code], Field(default_factory=list, max_length=9)]

    def rule(self) -> LevyRule:
        """Raises RuleError for days that are none, or nothing to levy."""
        if self.until_on is not None and self.until_on <= self.since:
            raise RuleError("a levy ends after it begins", code="span")
        if not self.percent and not self.per_line:
            raise RuleError("a levy is a per cent, an amount for each line, or both", code="levy-of-nothing")
        return LevyRule(
            code=self.code,
            name=self.name,
            authority=self.authority,
            area=self.area or "",
            since=self.since,
            until_on=self.until_on,
            percent=self.percent,
            per_line=self.per_line,
            kinds=tuple(kind.value for kind in self.kinds),
            upon=tuple(self.upon),
        )


class LevyRuleOut(Out):
    code: str
    name: str
    authority: str
    area: str
    since: date
    until_on: date | None
    percent: str
    per_line: str
    rate: str
    kinds: list[str]
    upon: list[str]

    @classmethod
    def of(cls, found: LevyRule) -> LevyRuleOut:
        return cls(
            code=found.code,
            name=found.name,
            authority=found.authority,
            area=found.area,
            since=found.since,
            until_on=found.until_on,
            percent=f"{found.percent:f}",
            per_line=f"{found.per_line:f}",
            rate=found.rate,
            kinds=list(found.kinds),
            upon=list(found.upon),
        )


class LevyRulesOut(Out):
    rules: list[LevyRuleOut]


def endpoints(tax: TaxService) -> list[Endpoint]:
    async def rates(call: Call) -> RatesOut:
        found = await tax.rates(call.query_as(EntityQuery).entity)
        return RatesOut(rates=[RateOut.of(r) for r in found])

    async def add_rate(call: Call) -> RateOut:
        body = call.body_as(RateIn)
        made = Rate(body.agreed, body.since, body.percent, body.area or "")
        whose = body.entity or call.query_as(EntityQuery).entity
        return RateOut.of(await tax.add_rate(made, actor=call.actor, entity_id=whose))

    async def exemptions(call: Call) -> ExemptionsOut:
        found = await tax.exemptions(AccountId(call.path["account_id"]))
        return ExemptionsOut(exemptions=[ExemptionOut.of(e) for e in found])

    async def add_exemption(call: Call) -> ExemptionOut:
        body = call.body_as(ExemptionIn)
        if body.until_on <= body.first_on:
            raise RuleError("a certificate ends after it begins", code="span")
        made = Exemption(body.account_id, body.first_on, body.until_on, body.reason, body.category, body.code)
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
        *_places(tax),
        *_levies(tax),
    ]


def _places(tax: TaxService) -> list[Endpoint]:
    async def places(call: Call) -> PlacesOut:
        found = await tax.places(AccountId(call.path["account_id"]))
        return PlacesOut(places=[PlaceOut.of(p) for p in found])

    async def add_place(call: Call) -> PlaceOut:
        body = call.body_as(PlaceIn)
        return PlaceOut.of(await tax.add_place(Place(body.account_id, body.since, body.area), actor=call.actor))

    return [
        Endpoint(
            "GET",
            "/tax-places/{account_id}",
            scope="finance:read",
            handler=places,
            summary="In which tax area an account is, and since when",
            returns=PlacesOut,
        ),
        Endpoint(
            "POST",
            "/tax-places",
            scope="finance:write",
            handler=add_place,
            summary="An account is in a tax area from a day on",
            body=PlaceIn,
            returns=PlaceOut,
            status=201,
        ),
    ]


def _levies(tax: TaxService) -> list[Endpoint]:
    async def rules(call: Call) -> LevyRulesOut:
        found = await tax.levy_rules(call.query_as(EntityQuery).entity)
        return LevyRulesOut(rules=[LevyRuleOut.of(r) for r in found])

    async def add_rule(call: Call) -> LevyRuleOut:
        body = call.body_as(LevyRuleIn)
        whose = body.entity or call.query_as(EntityQuery).entity
        return LevyRuleOut.of(await tax.add_levy_rule(body.rule(), actor=call.actor, entity_id=whose))

    return [
        Endpoint(
            "GET",
            "/levy-rules",
            scope="finance:read",
            handler=rules,
            summary="Communications taxes of the built-in table",
            query=EntityQuery,
            returns=LevyRulesOut,
        ),
        Endpoint(
            "POST",
            "/levy-rules",
            scope="finance:write",
            handler=add_rule,
            summary="A communications tax begins or changes on a day",
            query=EntityQuery,
            body=LevyRuleIn,
            returns=LevyRuleOut,
            status=201,
        ),
    ]
