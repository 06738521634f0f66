"""The prices by which services are prepaid, and whether the plans that they are sold let them be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.errors import NotPrepaid, PaidTwice
from billing_bridge.prepaid import repository
from billing_bridge.prepaid.model import OCTETS, SECONDS, price_of_data
from controller.domain.identity import OfferingVersionId, ServiceId
from controller.domain.ports import TariffSource
from controller.domain.price import METERED, Calls, Percentile, PricePlan
from controller.domain.tariff import TariffVersion

UNITS = (OCTETS, SECONDS)
Ordered = Callable[[AsyncConnection, str], Awaitable[Collection[OfferingVersionId]]]
"""What a service is sold with, and what open orders are going to sell it."""


class Plans:
    """A version never changes: what was read is kept."""

    def __init__(self, tariffs: TariffSource[AsyncConnection]) -> None:
        self._tariffs = tariffs
        self._versions: dict[str, TariffVersion] = {}
        self.ordered: Ordered | None = None
        """None where nobody takes orders."""

    async def tariff(self, conn: AsyncConnection, version_id: OfferingVersionId | None) -> TariffVersion | None:
        """None of a balance of units. Raises NotFound for a version that nobody has."""
        if version_id is None:
            return None
        if version_id not in self._versions:
            self._versions[version_id] = await self._tariffs.tariff_in(conn, version_id)
        return self._versions[version_id]

    async def check(
        self, conn: AsyncConnection, unit: str, currency: str, version_id: OfferingVersionId | None
    ) -> None:
        """Raises NotPrepaid for prices by which a balance in this unit cannot be charged, and what `tariff` raises."""
        tariff = await self.tariff(conn, version_id)
        if (tariff is None) != (unit in UNITS):
            raise NotPrepaid("a balance of money has the prices of an offering version, one of octets or seconds none")
        if tariff is None:
            return
        price_of_data(tariff.plan)
        if not tariff.currency == unit == currency:
            raise NotPrepaid(f"the prices are in {tariff.currency}, and the balance would be in {unit} ({currency})")

    async def check_not_billed(self, conn: AsyncConnection, service_id: ServiceId) -> None:
        """What is used is paid once: not in advance, and on a bill of the plan the service was, or is being, sold.

        Raises NotPrepaid. Nobody sells it another plan until the caller's transaction has ended.
        """
        await repository.take_turn(conn, service_id)
        plan = await repository.plan_of(conn, service_id)
        ordered = await self.ordered(conn, service_id) if self.ordered is not None else ()
        plans = [tariff.plan for version in sorted(ordered) if (tariff := await self.tariff(conn, version))]
        for found in plans if plan is None else (plan, *plans):
            if codes := _usage_of(found):
                raise NotPrepaid(
                    f"the plan of service {service_id} bills usage too ({codes}): sell it one that does not"
                )

    async def refuse(self, conn: AsyncConnection, service_id: ServiceId, tariff: TariffVersion) -> None:
        """Before a service is sold these prices. Raises PaidTwice where it is prepaid and they bill usage.

        Nobody makes it prepaid until the caller's transaction has ended.
        """
        if not (codes := _usage_of(tariff.plan)):
            return
        await repository.take_turn(conn, service_id)
        found = await repository.get(conn, service_id)
        if found is not None and found.is_in_use:
            raise PaidTwice(
                f"service {service_id} is prepaid, and {tariff.offering_name} bills usage too ({codes}):"
                " sell it a plan that does not, or close its balance first"
            )


def _usage_of(plan: PricePlan) -> str:
    """The codes of the prices by which bills count use; the empty text where none does."""
    return ", ".join(p.code for p in plan.prices if isinstance(p, (*METERED, Percentile, Calls)))
