"""Product offerings over HTTP."""

from __future__ import annotations

from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Any

from pydantic import Field, StringConstraints, WithJsonSchema

from controller.domain.identity import OfferingId
from controller.domain.money import Money
from controller.domain.price import PRICES, Cycle, ProductKind
from controller.domain.price_text import contract_words, in_words, plan_from_data, to_data, usage_words
from controller.domain.service import SpeedProfile
from controller.domain.tariff import TariffVersion
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import Currency, In, Instant, MoneyOut, Name, Out, RateBps, ShortText
from erp.catalog.model import Offering, Product, Version, VersionTerms, each_in_force, profile_name
from erp.catalog.service import CatalogService

Percent = Annotated[Decimal, Field(ge=0, le=100, max_digits=6, decimal_places=3, examples=["19"])]
_MODELS = [price.__dataclass_fields__["model"].default for price in PRICES]
PriceIn = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "description": "One price: its model, a code of its own, and what the model asks for (docs/catalogue.md). "
            "Amounts are text.",
            "required": ["model", "code"],
            "properties": {
                "model": {"type": "string", "enum": _MODELS},
                "code": {"type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,31}$"},
            },
            "examples": [{"model": "flat", "code": "fee", "amount": "39.90"}],
        }
    ),
]


class VersionIn(In):
    """One immutable version. Prices are in major units; `profile_name` defaults to one made of the rates.

    Prices are net, or with `tax_included` what is paid, the tax in it.

    `contract` binds the customer, `parts` are those of a bundle, `holidays` days that bands may name.
    """

    effective_on: date
    currency: Currency = "EUR"
    tax_percent: Percent
    tax_category: Annotated[str, StringConstraints(max_length=4)] = "S"
    tax_included: bool = False
    cycle: Cycle = "month"
    prices: Annotated[list[PriceIn], Field(max_length=50)]
    holidays: Annotated[list[date], Field(default_factory=list, max_length=400)]
    contract: dict[str, Any] | None = None
    parts: Annotated[list[dict[str, Any]], Field(default_factory=list, max_length=20)]
    downstream_bps: RateBps | None = None
    upstream_bps: RateBps | None = None
    profile_name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,32}$")] | None = None

    def terms(self) -> VersionTerms:
        """Raises BadPrice."""
        plan = {
            "prices": self.prices,
            "holidays": [day.isoformat() for day in self.holidays],
            "contract": self.contract,
            "parts": self.parts,
            "tax_included": self.tax_included,
            "cycle": self.cycle,
        }
        return VersionTerms(
            effective_on=self.effective_on,
            currency=self.currency,
            tax_percent=self.tax_percent,
            tax_category=self.tax_category,
            plan=plan_from_data(plan),
            speed=self._speed(),
        )

    def _speed(self) -> SpeedProfile | None:
        if self.downstream_bps is None or self.upstream_bps is None:
            return None
        name = self.profile_name or profile_name(self.downstream_bps, self.upstream_bps)
        return SpeedProfile(name, self.downstream_bps, self.upstream_bps)


class OfferingIn(VersionIn):
    """An offering with its first version. `names` are translations of its name, by language."""

    name: Name
    description: ShortText = ""
    kind: ProductKind = ProductKind.INTERNET
    names: Annotated[
        dict[Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Z]{2})?$")], Name],
        Field(default_factory=dict, max_length=50),
    ]

    def product(self) -> Product:
        return Product(self.name, self.description, self.kind, tuple(sorted(self.names.items())))


class PriceOut(Out):
    """A price as it was made, and in words."""

    code: str
    model: str
    text: str
    terms: dict[str, Any]


class VersionOut(Out):
    """Amounts are of one period of the `cycle`; `beyond` says in words what usage costs.

    `monthly_fee` is the regular fee of a month, before discounts.
    """

    version_id: str
    number: int
    effective_on: date
    monthly_fee: MoneyOut
    beyond: str
    prices: list[PriceOut]
    contract: dict[str, Any] | None
    contract_text: str | None
    parts: list[dict[str, Any]]
    holidays: list[date]
    tax_percent: str
    tax_category: str
    tax_included: bool
    cycle: str
    profile_name: str | None
    downstream_bps: int | None
    upstream_bps: int | None
    created_at: Instant
    used_at: Instant | None

    @classmethod
    def of(cls, version: Version) -> VersionOut:
        tariff: TariffVersion = version.tariff
        plan, speed = tariff.plan, tariff.speed
        return cls(
            version_id=tariff.version_id,
            number=tariff.number,
            effective_on=tariff.effective_on,
            monthly_fee=MoneyOut.of(Money.rounded(tariff.monthly_fee, tariff.currency, ROUND_HALF_UP)),
            beyond=usage_words(plan, tariff.currency),
            prices=[
                PriceOut(code=p.code, model=p.model, text=in_words(p, tariff.currency, plan.cycle), terms=to_data(p))
                for p in plan.prices
            ],
            contract=to_data(plan.contract) if plan.contract else None,
            contract_text=contract_words(plan.contract) if plan.contract else None,
            parts=[to_data(part) for part in plan.parts],
            holidays=list(plan.holidays),
            tax_percent=f"{tariff.tax_percent:f}",
            tax_category=tariff.tax_category,
            tax_included=plan.tax_included,
            cycle=plan.cycle,
            profile_name=speed.name if speed else None,
            downstream_bps=speed.downstream_bps if speed else None,
            upstream_bps=speed.upstream_bps if speed else None,
            created_at=version.created_at,
            used_at=version.used_at,
        )


class OfferingOut(Out):
    offering_id: str
    name: str
    description: str
    kind: str
    names: dict[str, str]
    created_at: Instant
    versions: list[VersionOut]

    @classmethod
    def of(cls, offering: Offering) -> OfferingOut:
        return cls(
            offering_id=offering.offering_id,
            name=offering.product.name,
            description=offering.product.description,
            kind=offering.product.kind.value,
            names=dict(offering.product.names),
            created_at=offering.created_at,
            versions=[VersionOut.of(version) for version in offering.versions],
        )


class InForceQuery(In):
    on: Annotated[date, Field(ge=date(1970, 1, 1), le=date(2199, 12, 31))]


class InForceOut(Out):
    """The version that somebody new gets on a day, in each currency; none where nothing was sold yet."""

    offering_id: str
    on: date
    versions: list[VersionOut]


def endpoints(catalog: CatalogService) -> list[Endpoint]:
    async def create(call: Call) -> OfferingOut:
        body = call.body_as(OfferingIn)
        made = await catalog.create_offering(body.product(), body.terms(), actor=call.actor)
        return OfferingOut.of(made)

    async def add_version(call: Call) -> OfferingOut:
        offering_id = OfferingId(call.path["offering_id"])
        made = await catalog.add_version(offering_id, call.body_as(VersionIn).terms(), actor=call.actor)
        return OfferingOut.of(made)

    async def index(call: Call) -> Page:
        query = call.query_as(PageQuery)
        after = query.last(str)
        found = await catalog.offerings(after, query.rows)
        return Page.of(found, query, lambda offering: (str(offering.offering_id),), OfferingOut.of)

    async def show(call: Call) -> OfferingOut:
        return OfferingOut.of(await catalog.offering(OfferingId(call.path["offering_id"])))

    async def prices(call: Call) -> InForceOut:
        on = call.query_as(InForceQuery).on
        found = await catalog.offering(OfferingId(call.path["offering_id"]))
        chosen = {v.version_id for v in each_in_force((v.tariff for v in found.versions), on)}
        versions = [VersionOut.of(v) for v in found.versions if v.tariff.version_id in chosen]
        return InForceOut(offering_id=found.offering_id, on=on, versions=versions)

    return [
        Endpoint("POST", "/offerings", "catalog:write", create, "Create an offering with its first version",
                 body=OfferingIn, returns=OfferingOut, status=201),
        Endpoint("GET", "/offerings", "catalog:read", index, "Offerings with all their versions", query=PageQuery,
                 returns=OfferingOut, paged=True),
        Endpoint("GET", "/offerings/{offering_id}", "catalog:read", show, "One offering with all its versions",
                 returns=OfferingOut),
        Endpoint("GET", "/offerings/{offering_id}/prices", "catalog:read", prices,
                 "The price in force on a day, in each currency", query=InForceQuery, returns=InForceOut),
        Endpoint("POST", "/offerings/{offering_id}/versions", "catalog:write", add_version,
                 "Add a version; existing subscriptions keep theirs", body=VersionIn, returns=OfferingOut, status=201),
    ]  # fmt: skip
