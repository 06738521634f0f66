"""The catalogue's use cases. `CatalogService` is the TariffSource that rating is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, datetime

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.identity import OfferingId, OfferingVersionId, new_id
from controller.domain.price_text import to_data
from controller.domain.tariff import TariffVersion
from controller.store import audit
from controller.store.engine import Database
from erp.catalog import repository
from erp.catalog.errors import BadVersion, NameTaken, NoOffering, NoVersion
from erp.catalog.model import Offering, Product, VersionTerms, check_profile, check_terms, in_force, new_tariff


class CatalogService:
    """Methods that take `conn` join the caller's transaction."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._tariffs: dict[OfferingVersionId, TariffVersion] = {}

    async def create_offering(self, product: Product, terms: VersionTerms, *, actor: str) -> Offering:
        """An offering with its first version. Raises NameTaken, BadVersion."""
        check_terms(terms, product.kind)
        name = product.name
        now = self._clock.now()
        offering_id = OfferingId(new_id(now))
        try:
            async with self._database.begin() as conn:
                if await repository.name_exists(conn, name):
                    raise NameTaken(f"an offering {name!r} exists")
                await repository.add_offering(conn, offering_id, product, now)
                await self._add_version(conn, offering_id, product, terms, now, actor)
        except IntegrityError as error:  # another process took the name between the look and the insert
            raise NameTaken(f"an offering {name!r} exists") from error
        return await self.offering(offering_id)

    async def add_version(self, offering_id: OfferingId, terms: VersionTerms, *, actor: str) -> Offering:
        """A new price from its effective date on; existing subscriptions keep theirs. Raises NoOffering, BadVersion."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            found = await repository.find_offering(conn, offering_id)
            if found is None:
                raise NoOffering(f"no offering {offering_id}")
            check_terms(terms, found.product.kind)
            await self._add_version(conn, offering_id, found.product, terms, now, actor)
        return await self.offering(offering_id)

    async def draft(self, offering_id: OfferingId, terms: VersionTerms) -> TariffVersion:
        """The version that `add_version` would make, not written. Raises NoOffering, BadVersion."""
        found = await self.offering(offering_id)
        check_terms(terms, found.product.kind)
        return new_tariff(
            terms,
            found.product,
            version_id=OfferingVersionId(new_id(self._clock.now())),
            offering_id=offering_id,
            number=len(found.versions) + 1,
        )

    async def offering(self, offering_id: OfferingId) -> Offering:
        """Raises NoOffering."""
        async with self._database.read() as conn:
            found = await repository.find_offering(conn, offering_id)
        if found is None:
            raise NoOffering(f"no offering {offering_id}")
        return found

    async def offerings(self, after: str | None, limit: int) -> Sequence[Offering]:
        async with self._database.read() as conn:
            return await repository.list_offerings(conn, after, limit)

    async def tariff(self, version_id: OfferingVersionId) -> TariffVersion:
        """Raises NoVersion. What was read once is kept: versions never change."""
        if version_id not in self._tariffs:
            async with self._database.read() as conn:
                self._tariffs[version_id] = await self.tariff_in(conn, version_id)
        return self._tariffs[version_id]

    async def tariff_in(self, conn: AsyncConnection, version_id: OfferingVersionId) -> TariffVersion:
        found = await repository.find_version(conn, version_id)
        if found is None:
            raise NoVersion(f"no offering version {version_id}")
        return found

    async def in_force(self, offering_id: OfferingId, on: date, currency: str | None = None) -> TariffVersion:
        """The version for who subscribes on day `on`, in `currency` if there is one. Raises NoOffering, NotInForce."""
        async with self._database.read() as conn:
            return await self.in_force_in(conn, offering_id, on, currency)

    async def in_force_in(
        self, conn: AsyncConnection, offering_id: OfferingId, on: date, currency: str | None = None
    ) -> TariffVersion:
        versions = await repository.tariffs(conn, offering_id)
        if not versions:
            raise NoOffering(f"no offering {offering_id}")
        return in_force(versions, on, currency)

    async def mark_used_in(self, conn: AsyncConnection, version_id: OfferingVersionId, now: datetime) -> None:
        """In the transaction of an order: the version can no longer be changed by anyone."""
        await repository.mark_used(conn, version_id, now)

    async def _add_version(
        self,
        conn: AsyncConnection,
        offering_id: OfferingId,
        product: Product,
        terms: VersionTerms,
        now: datetime,
        actor: str,
    ) -> None:
        if terms.speed is not None:
            check_profile(terms.speed, await repository.profiles_named(conn, terms.speed.name))
        for part in terms.plan.parts:
            if part.offering_id == offering_id or not await repository.tariffs(conn, OfferingId(part.offering_id)):
                raise BadVersion(f"no offering {part.offering_id} to be a part of the bundle")
        number = await repository.next_number(conn, offering_id)
        version_id = OfferingVersionId(new_id(now))
        made = new_tariff(terms, product, version_id=version_id, offering_id=offering_id, number=number)
        await repository.add_version(conn, made, now)
        await audit.record(
            conn,
            now=now,
            actor=actor,
            action="offering.version",
            subject=f"offering:{offering_id}",
            after={
                "name": product.name,
                "version_id": version_id,
                "number": number,
                "effective_on": terms.effective_on,
                "currency": terms.currency,
                "tax_percent": terms.tax_percent,
                "tax_category": terms.tax_category,
                "speed": asdict(terms.speed) if terms.speed else None,
                "plan": to_data(terms.plan),
            },
        )
