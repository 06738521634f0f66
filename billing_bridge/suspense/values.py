"""What usage that waits is worth at most: by the plan it is near, and what is nobody's by the most common one.

Usage that nobody is known to have has no plan. It is valued by the one that most subscriptions were given of those that
charge for such usage, octets or calls: an estimate, so that what waits longest and costs most can be looked at first.
What says no octets and no seconds that could be believed has no value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing.tariff_rows import tariffs
from billing_bridge.suspense.model import worth, worth_of_calls
from billing_bridge.suspense.repository import Item, Sum
from billing_bridge.tables import entitlement
from controller.domain.clock import Clock
from controller.domain.identity import OfferingVersionId
from controller.domain.money import Money
from controller.domain.price import Calls
from controller.domain.tariff import TariffVersion

_KNOWN_FOR = timedelta(minutes=10)
"""How long the most common plans are taken to be the same: counting them reads the timeline of everybody."""
_LOOKED_AT = 50
"""Versions, the most common first, of which one may charge for usage."""


@dataclass(frozen=True, slots=True)
class _Common:
    """The most common plans that charge for octets, and for calls."""

    asked_at: datetime
    octets: TariffVersion | None
    calls: TariffVersion | None


class Values:
    """Amounts are rounded by `rounding`, a mode of `decimal`."""

    def __init__(self, clock: Clock, rounding: str) -> None:
        self._clock = clock
        self._rounding = rounding
        self._common: _Common | None = None

    async def of(self, conn: AsyncConnection, items: Sequence[Item]) -> list[Money | None]:
        """The value of each item; None where nothing says how much it is, or what it costs."""
        calls = [(0, 0) if item.duration_s is None else (1, item.duration_s) for item in items]
        asked = [(item.version_id, item.octets, *of) for item, of in zip(items, calls, strict=True)]
        return [values[0] if values else None for values in await self._worth(conn, asked)]

    async def by_reason(self, conn: AsyncConnection, sums: Sequence[Sum]) -> Mapping[str, tuple[Money, ...]]:
        """The values of all that waits, one amount per currency."""
        found: dict[str, dict[str, Money]] = {}
        asked = [(s.version_id, s.upstream_octets + s.downstream_octets, s.calls, s.seconds) for s in sums]
        for s, values in zip(sums, await self._worth(conn, asked), strict=True):
            own = found.setdefault(s.reason, {})
            for value in values:
                own[value.currency] = own.get(value.currency, Money.zero(value.currency)) + value
        return {reason: tuple(own.values()) for reason, own in found.items()}

    async def _worth(
        self, conn: AsyncConnection, usages: Iterable[tuple[OfferingVersionId | None, int, int, int]]
    ) -> list[list[Money]]:
        """Of each (version, octets, calls, seconds): what the octets are worth, and the calls, if there are any."""
        asked = list(usages)
        known = await tariffs(conn, [version_id for version_id, *_ in asked if version_id is not None])
        common = _Common(self._clock.now(), None, None)
        if any(version_id is None and (octets or calls) for version_id, octets, calls, _ in asked):
            common = await self._most_common(conn)
        found: list[list[Money]] = []
        for version_id, octets, calls, seconds in asked:
            plan = None if version_id is None else known[version_id]
            of_octets, of_calls = plan or common.octets, plan or common.calls
            values = []
            if of_octets is not None and (octets or (plan is not None and not calls)):
                values.append(worth(octets, of_octets, self._rounding))
            if of_calls is not None and calls:
                values.append(worth_of_calls(calls, seconds, of_calls, self._rounding))
            found.append(values)
        return found

    async def _most_common(self, conn: AsyncConnection) -> _Common:
        now = self._clock.now()
        if self._common is None or not timedelta(0) <= now - self._common.asked_at < _KNOWN_FOR:
            query = (
                select(entitlement.c.version_id)
                .where(entitlement.c.version_id.is_not(None))
                .group_by(entitlement.c.version_id)
                .order_by(func.count().desc(), entitlement.c.version_id)
                .limit(_LOOKED_AT)
            )
            ids = list(await conn.scalars(query))
            known = await tariffs(conn, ids)
            plans = [known[version_id] for version_id in ids]
            octets = next((t for t in plans if worth(10**15, t, self._rounding).minor), None)
            calls = next((t for t in plans if any(isinstance(price, Calls) for price in t.plan.prices)), None)
            self._common = _Common(now, octets, calls)
        return self._common
