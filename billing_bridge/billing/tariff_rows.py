"""Copies of offering versions, as they were when a subscription first used them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.tables import (
    tariff,
)
from controller.domain.identity import (
    OfferingId,
    OfferingVersionId,
)
from controller.domain.price import ProductKind
from controller.domain.price_text import plan_from_json, plan_to_json
from controller.domain.service import SpeedProfile
from controller.domain.tariff import TariffVersion


async def put_tariff(conn: AsyncConnection, version: TariffVersion) -> None:
    """Keep a copy of a version; a second copy changes nothing."""
    values = {
        "version_id": version.version_id,
        "offering_id": version.offering_id,
        "offering_name": version.offering_name,
        "number": version.number,
        "effective_on": version.effective_on,
        "currency": version.currency,
        "tax_percent": version.tax_percent,
        "tax_category": version.tax_category,
        "kind": version.kind.value,
        "cycle": version.plan.cycle,
        "plan": plan_to_json(version.plan),
        "names": json.dumps(version.names),
        "profile_name": version.speed.name if version.speed else None,
        "downstream_bps": version.speed.downstream_bps if version.speed else None,
        "upstream_bps": version.speed.upstream_bps if version.speed else None,
    }
    insert = pg_insert if conn.dialect.name == "postgresql" else sqlite_insert
    await conn.execute(insert(tariff).values(**values).on_conflict_do_nothing())


async def tariffs(conn: AsyncConnection, version_ids: Iterable[str]) -> dict[OfferingVersionId, TariffVersion]:
    rows = await conn.execute(select(tariff).where(tariff.c.version_id.in_(sorted(set(version_ids)))))
    return {OfferingVersionId(row.version_id): _tariff(row) for row in rows}


def _tariff(row: Row[Any]) -> TariffVersion:
    speed = None
    if row.profile_name is not None:
        speed = SpeedProfile(row.profile_name, row.downstream_bps, row.upstream_bps)
    return TariffVersion(
        version_id=OfferingVersionId(row.version_id),
        offering_id=OfferingId(row.offering_id),
        offering_name=row.offering_name,
        number=row.number,
        effective_on=row.effective_on,
        currency=row.currency,
        tax_percent=row.tax_percent,
        tax_category=row.tax_category,
        kind=ProductKind(row.kind),
        plan=plan_from_json(row.plan),
        names=tuple((language, name) for language, name in json.loads(row.names)),
        speed=speed,
    )
