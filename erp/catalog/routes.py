"""Product offerings over HTTP."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated

from pydantic import Field, StringConstraints

from controller.domain.identity import OfferingId
from controller.domain.money import Money
from controller.domain.service import SpeedProfile
from controller.domain.tariff import TariffVersion
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import Currency, In, Instant, MoneyOut, Name, Octets, Out, RateBps, ShortText
from erp.catalog.model import Offering, Version, VersionTerms, profile_name
from erp.catalog.service import CatalogService

Price = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=6, examples=["39.90"])]
Percent = Annotated[Decimal, Field(ge=0, le=100, max_digits=6, decimal_places=3, examples=["19"])]


class VersionIn(In):
    """One immutable version. Prices are net, in major units; `profile_name` defaults to one made of the rates."""

    effective_on: date
    currency: Currency = "EUR"
    monthly_fee: Price
    included_octets: Annotated[Octets, Field(le=2**62)] | None = None
    overage_price: Price = Decimal(0)
    overage_unit: Annotated[str, StringConstraints(max_length=8)] = "GB"
    tax_percent: Percent
    downstream_bps: RateBps
    upstream_bps: RateBps
    profile_name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,32}$")] | None = None

    def terms(self) -> VersionTerms:
        name = self.profile_name or profile_name(self.downstream_bps, self.upstream_bps)
        return VersionTerms(
            effective_on=self.effective_on,
            currency=self.currency,
            monthly_fee=self.monthly_fee,
            included_octets=self.included_octets,
            overage_price=self.overage_price,
            overage_unit=self.overage_unit,
            tax_percent=self.tax_percent,
            profile=SpeedProfile(name, self.downstream_bps, self.upstream_bps),
        )


class OfferingIn(VersionIn):
    """An offering with its first version."""

    name: Name
    description: ShortText = ""


class VersionOut(Out):
    version_id: str
    number: int
    effective_on: date
    monthly_fee: MoneyOut
    included_octets: int | None
    overage_price: str
    overage_unit: str
    tax_percent: str
    profile_name: str
    downstream_bps: int
    upstream_bps: int
    created_at: Instant
    used_at: Instant | None

    @classmethod
    def of(cls, version: Version) -> VersionOut:
        tariff: TariffVersion = version.tariff
        return cls(
            version_id=tariff.version_id,
            number=tariff.number,
            effective_on=tariff.effective_on,
            monthly_fee=MoneyOut.of(Money.exact(tariff.monthly_fee, tariff.currency)),
            included_octets=tariff.included_octets,
            overage_price=f"{tariff.overage_price:f}",
            overage_unit=tariff.overage_unit,
            tax_percent=f"{tariff.tax_percent:f}",
            profile_name=tariff.profile.name,
            downstream_bps=tariff.profile.downstream_bps,
            upstream_bps=tariff.profile.upstream_bps,
            created_at=version.created_at,
            used_at=version.used_at,
        )


class OfferingOut(Out):
    offering_id: str
    name: str
    description: str
    created_at: Instant
    versions: list[VersionOut]

    @classmethod
    def of(cls, offering: Offering) -> OfferingOut:
        return cls(
            offering_id=offering.offering_id,
            name=offering.name,
            description=offering.description,
            created_at=offering.created_at,
            versions=[VersionOut.of(version) for version in offering.versions],
        )


def endpoints(catalog: CatalogService) -> list[Endpoint]:
    async def create(call: Call) -> OfferingOut:
        body = call.body_as(OfferingIn)
        made = await catalog.create_offering(body.name, body.description, body.terms(), actor=call.actor)
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

    return [
        Endpoint(
            "POST",
            "/offerings",
            scope="catalog:write",
            handler=create,
            summary="Create an offering with its first version",
            body=OfferingIn,
            returns=OfferingOut,
            status=201,
        ),
        Endpoint(
            "GET",
            "/offerings",
            scope="catalog:read",
            handler=index,
            summary="Offerings with all their versions",
            query=PageQuery,
            returns=OfferingOut,
            paged=True,
        ),
        Endpoint(
            "GET",
            "/offerings/{offering_id}",
            scope="catalog:read",
            handler=show,
            summary="One offering with all its versions",
            returns=OfferingOut,
        ),
        Endpoint(
            "POST",
            "/offerings/{offering_id}/versions",
            scope="catalog:write",
            handler=add_version,
            summary="Add a version; existing subscriptions keep theirs",
            body=VersionIn,
            returns=OfferingOut,
            status=201,
        ),
    ]
