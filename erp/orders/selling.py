"""Which version an order gets: the one it names, or the one of the offering that is in force on the customer's day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import local_date
from controller.domain.identity import OfferingId, OfferingVersionId
from controller.domain.tariff import TariffVersion
from erp.catalog.errors import NotInForce
from erp.catalog.service import CatalogService
from erp.crm.model import Customer
from erp.orders.errors import WrongCurrency


@dataclass(frozen=True, slots=True)
class Offer:
    """Which price is ordered: a version, or the one of an offering that is in force today."""

    offering_id: OfferingId | None = None
    version_id: OfferingVersionId | None = None


async def sold(
    conn: AsyncConnection, catalog: CatalogService, offer: Offer, customer: Customer, now: datetime
) -> TariffVersion:
    """The version that `customer` gets now. Raises NoOffering, NoVersion, NotInForce, WrongCurrency."""
    today = local_date(now, customer.account.zone_info)
    if offer.version_id is not None:
        tariff = await catalog.tariff_in(conn, offer.version_id)
    else:
        assert offer.offering_id is not None
        tariff = await catalog.in_force_in(conn, offer.offering_id, today, customer.account.currency)
    if tariff.effective_on > today:
        raise NotInForce(f"version {tariff.number} is sold from {tariff.effective_on.isoformat()} on")
    if tariff.currency != customer.account.currency:
        raise WrongCurrency(f"{tariff.offering_name} is sold in {tariff.currency}, not {customer.account.currency}")
    return tariff
