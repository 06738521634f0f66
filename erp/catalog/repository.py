"""Rows of the catalogue as frozen values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.identity import OfferingId, OfferingVersionId
from controller.domain.price import ProductKind
from controller.domain.price_text import plan_from_json, plan_to_json
from controller.domain.service import SpeedProfile
from controller.domain.tariff import TariffVersion
from erp.catalog.model import Offering, Product, Version
from erp.catalog.tables import offering, version

_VERSIONS = select(version, offering.c.name, offering.c.kind, offering.c.names).join(
    offering, offering.c.offering_id == version.c.offering_id
)


async def add_offering(conn: AsyncConnection, offering_id: OfferingId, product: Product, now: datetime) -> None:
    await conn.execute(
        insert(offering).values(
            offering_id=offering_id,
            name=product.name,
            description=product.description,
            kind=product.kind.value,
            names=json.dumps(product.names),
            created_at=now,
        )
    )


async def add_version(conn: AsyncConnection, made: TariffVersion, now: datetime) -> None:
    await conn.execute(
        insert(version).values(
            version_id=made.version_id,
            offering_id=made.offering_id,
            number=made.number,
            effective_on=made.effective_on,
            currency=made.currency,
            tax_percent=made.tax_percent,
            tax_category=made.tax_category,
            plan=plan_to_json(made.plan),
            profile_name=made.speed.name if made.speed else None,
            downstream_bps=made.speed.downstream_bps if made.speed else None,
            upstream_bps=made.speed.upstream_bps if made.speed else None,
            created_at=now,
        )
    )


async def next_number(conn: AsyncConnection, offering_id: OfferingId) -> int:
    highest = await conn.scalar(select(func.max(version.c.number)).where(version.c.offering_id == offering_id))
    return int(highest or 0) + 1


async def name_exists(conn: AsyncConnection, name: str) -> bool:
    return await conn.scalar(select(offering.c.offering_id).where(offering.c.name == name)) is not None


async def mark_used(conn: AsyncConnection, version_id: OfferingVersionId, now: datetime) -> None:
    """From here on the database refuses every change of the version."""
    await conn.execute(
        update(version).where(version.c.version_id == version_id, version.c.used_at.is_(None)).values(used_at=now)
    )


async def find_version(conn: AsyncConnection, version_id: OfferingVersionId) -> TariffVersion | None:
    row = (await conn.execute(_VERSIONS.where(version.c.version_id == version_id))).one_or_none()
    return None if row is None else _tariff(row)


async def tariffs(conn: AsyncConnection, offering_id: OfferingId) -> Sequence[TariffVersion]:
    rows = await conn.execute(_VERSIONS.where(version.c.offering_id == offering_id))
    return [_tariff(row) for row in rows]


async def profiles_named(conn: AsyncConnection, name: str) -> Sequence[SpeedProfile]:
    rows = await conn.execute(
        select(version.c.profile_name, version.c.downstream_bps, version.c.upstream_bps)
        .where(version.c.profile_name == name)
        .distinct()
    )
    return [SpeedProfile(*row) for row in rows]


async def find_offering(conn: AsyncConnection, offering_id: OfferingId) -> Offering | None:
    found = await _offerings(conn, offering.c.offering_id == offering_id, 1)
    return found[0] if found else None


async def list_offerings(conn: AsyncConnection, after: str | None, limit: int) -> Sequence[Offering]:
    """In order of creation: ids sort by time."""
    return await _offerings(conn, offering.c.offering_id > (after or ""), limit)


async def _offerings(conn: AsyncConnection, condition: Any, limit: int) -> list[Offering]:
    rows = list(await conn.execute(select(offering).where(condition).order_by(offering.c.offering_id).limit(limit)))
    by_offering: dict[str, list[Version]] = {row.offering_id: [] for row in rows}
    query = _VERSIONS.where(version.c.offering_id.in_(by_offering)).order_by(version.c.number)
    for row in await conn.execute(query):
        by_offering[row.offering_id].append(Version(_tariff(row), row.created_at, row.used_at))
    return [
        Offering(row.offering_id, _product(row), row.created_at, tuple(by_offering[row.offering_id])) for row in rows
    ]


def _product(row: Row[Any]) -> Product:
    return Product(row.name, row.description, ProductKind(row.kind), names_of(row.names))


def names_of(text: str) -> tuple[tuple[str, str], ...]:
    """Translations of an offering's name, as the table keeps them: (language, name)."""
    return tuple((language, name) for language, name in json.loads(text))


def _tariff(row: Row[Any]) -> TariffVersion:
    speed = None
    if row.profile_name is not None:
        speed = SpeedProfile(row.profile_name, row.downstream_bps, row.upstream_bps)
    return TariffVersion(
        version_id=row.version_id,
        offering_id=row.offering_id,
        offering_name=row.name,
        number=row.number,
        effective_on=row.effective_on,
        currency=row.currency,
        tax_percent=row.tax_percent,
        tax_category=row.tax_category,
        plan=plan_from_json(row.plan),
        speed=speed,
        kind=ProductKind(row.kind),
        names=names_of(row.names),
    )
