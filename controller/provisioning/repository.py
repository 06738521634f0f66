"""Services: rows → domain values, and the few writes. Every function runs in the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.identity import DeviceId, ServiceId
from controller.domain.ports import CoaOutcome
from controller.domain.service import DesiredService, ObservedService, OnuAttachment, SpeedProfile
from controller.provisioning import intent
from controller.provisioning.errors import SerialBound, UnknownDevice, UnknownService, VlanTaken
from controller.provisioning.model import SessionChange, Standing, StoredService
from controller.provisioning.settings import ProvisioningSettings
from controller.provisioning.tables import device, service, session_change


async def find(conn: AsyncConnection, service_id: ServiceId) -> StoredService | None:
    row = (await conn.execute(select(service).where(service.c.service_id == service_id))).one_or_none()
    return None if row is None else _stored(row)


async def get(conn: AsyncConnection, service_id: ServiceId) -> StoredService:
    """Raises UnknownService."""
    found = await find(conn, service_id)
    if found is None:
        raise UnknownService(f"no service {service_id!r} is to be provisioned")
    return found


async def page(conn: AsyncConnection, after: str | None, limit: int, standing: str | None) -> list[StoredService]:
    """Services by id, from the one after `after`."""
    query = select(service).order_by(service.c.service_id).limit(limit)
    if after is not None:
        query = query.where(service.c.service_id > after)
    if standing is not None:
        query = query.where(service.c.standing == standing)
    return [_stored(row) for row in await conn.execute(query)]


async def with_vlan(
    conn: AsyncConnection,
    desired: DesiredService,
    stored: StoredService | None,
    settings: ProvisioningSettings,
    *,
    lock: bool = True,
) -> DesiredService:
    """`desired` with a VLAN where it names none: the one it has on that OLT, else the lowest free one.

    With `lock` the OLT's row is held until the end of the transaction: no two services are given the same number.
    """
    attachment = desired.attachment
    if attachment is None or attachment.subscriber_vlan:
        return desired
    has = stored.desired.attachment if stored is not None else None
    keeps = stored is not None and (stored.is_bound or not desired.present)
    if has is not None and has.olt_id == attachment.olt_id and keeps:
        return replace(desired, attachment=replace(attachment, subscriber_vlan=has.subscriber_vlan))
    if lock:
        await conn.execute(select(device.c.device_id).where(device.c.device_id == attachment.olt_id).with_for_update())
    query = select(service.c.bound_vlan).where(service.c.device_id == attachment.olt_id)
    taken = {vlan for vlan in await conn.scalars(query) if vlan is not None}
    vlan = intent.free_vlan(taken, settings.vlan_first, settings.vlan_last)
    return replace(desired, attachment=replace(attachment, subscriber_vlan=vlan))


async def require_device(conn: AsyncConnection, device_id: DeviceId) -> None:
    """Raises UnknownDevice."""
    if await conn.scalar(select(device.c.device_id).where(device.c.device_id == device_id)) is None:
        raise UnknownDevice(f"no device {device_id!r}")


async def put_desired(
    conn: AsyncConnection, desired: DesiredService, *, revision: int, now: datetime, actor: str
) -> None:
    """Write the desired state as a new revision. Raises SerialBound or VlanTaken."""
    attachment = desired.attachment
    row = {
        "service_id": desired.service_id,
        "present": desired.present,
        "profile_name": desired.profile.name,
        "downstream_bps": desired.profile.downstream_bps,
        "upstream_bps": desired.profile.upstream_bps,
        "device_id": attachment.olt_id if attachment else None,
        "pon_port": attachment.pon_port if attachment else None,
        "onu_serial": attachment.onu_serial if attachment else None,
        "subscriber_vlan": attachment.subscriber_vlan if attachment else None,
        "bound_serial": attachment.onu_serial if attachment else None,
        "bound_vlan": attachment.subscriber_vlan if attachment else None,
        "revision": revision,
        "desired_at": now,
        "desired_by": actor,
        "standing": Standing.PENDING.value,
        "differences": "[]",
        "last_error": None,
    }
    try:
        async with conn.begin_nested():
            if revision == 1:
                await conn.execute(insert(service).values(row))
            else:
                await conn.execute(update(service).where(service.c.service_id == desired.service_id).values(row))
    except IntegrityError:
        await _explain_conflict(conn, desired)
        raise


async def _explain_conflict(conn: AsyncConnection, desired: DesiredService) -> None:
    attachment = desired.attachment
    if attachment is None:
        return
    others = service.c.service_id != desired.service_id
    holder = await conn.scalar(
        select(service.c.service_id).where(service.c.bound_serial == attachment.onu_serial, others)
    )
    if holder is not None:
        raise SerialBound(f"ONU {attachment.onu_serial} is bound to service {holder}: terminate that one first")
    holder = await conn.scalar(
        select(service.c.service_id).where(
            service.c.device_id == attachment.olt_id, service.c.bound_vlan == attachment.subscriber_vlan, others
        )
    )
    if holder is not None:
        raise VlanTaken(f"VLAN {attachment.subscriber_vlan} of this OLT belongs to service {holder}")


async def put_verdict(
    conn: AsyncConnection,
    stored: StoredService,
    *,
    standing: Standing,
    observed: ObservedService | None,
    differences: Sequence[str],
    now: datetime,
    error: str | None = None,
    only_from: Sequence[Standing] = tuple(Standing),
) -> bool:
    """Store what was found for the revision that was looked at; False when something newer is desired by now.

    `only_from` guards the drift check: it never overwrites the verdict of a change under way.
    """
    values: dict[str, Any] = {
        "standing": standing.value,
        "differences": json.dumps(list(differences)),
        "last_error": error,
        "checked_at": now,
    }
    if observed is not None:
        values |= {"observed": json.dumps(seen(observed)), "observed_at": now}
    if standing is Standing.VERIFIED:
        values["verified_at"] = now
        if not stored.desired.present:  # gone for good: its serial and VLAN may be used again
            values |= {"bound_serial": None, "bound_vlan": None}
    statement = (
        update(service)
        .where(service.c.service_id == stored.desired.service_id, service.c.revision == stored.revision)
        .where(service.c.standing.in_([s.value for s in only_from]))
        .values(values)
    )
    return (await conn.execute(statement)).rowcount == 1


async def put_observed(conn: AsyncConnection, observed: ObservedService, now: datetime) -> None:
    """Store a look at the device that judges nothing."""
    values = {"observed": json.dumps(seen(observed)), "observed_at": now}
    await conn.execute(update(service).where(service.c.service_id == observed.service_id).values(values))


async def due_for_check(conn: AsyncConnection, before: datetime, limit: int) -> list[StoredService]:
    """Services that stood as desired, or had drifted, and were last looked at before `before`; oldest first."""
    query = (
        select(service)
        .where(service.c.standing.in_([Standing.VERIFIED.value, Standing.DRIFT.value]))
        .where(service.c.device_id.is_not(None), service.c.bound_serial.is_not(None))
        .where(service.c.checked_at < before)
        .order_by(service.c.checked_at)
        .limit(limit)
    )
    return [_stored(row) for row in await conn.execute(query)]


async def put_checked(conn: AsyncConnection, service_id: ServiceId, now: datetime) -> None:
    await conn.execute(update(service).where(service.c.service_id == service_id).values(checked_at=now))


async def count_by_standing(conn: AsyncConnection) -> dict[Standing, int]:
    query = select(service.c.standing, func.count()).group_by(service.c.standing)
    counted = {Standing(standing): count for standing, count in await conn.execute(query)}
    return {standing: counted.get(standing, 0) for standing in Standing}


async def add_session_changes(conn: AsyncConnection, changes: Sequence[SessionChange]) -> None:
    if not changes:
        return
    await conn.execute(
        insert(session_change),
        [
            {
                "service_id": c.service_id,
                "session_key": c.session_key,
                "profile_name": c.profile_name,
                "requested_at": c.requested_at,
                "result": c.outcome.result,
                "error_cause": c.outcome.error_cause,
                "detail": c.outcome.detail,
            }
            for c in changes
        ],
    )


async def session_changes(conn: AsyncConnection, service_id: ServiceId, limit: int = 20) -> list[SessionChange]:
    """The newest asked changes of the service's sessions, newest first."""
    query = (
        select(session_change)
        .where(session_change.c.service_id == service_id)
        .order_by(session_change.c.change_id.desc())
        .limit(limit)
    )
    return [
        SessionChange(
            row.service_id,
            row.session_key,
            row.profile_name,
            row.requested_at,
            CoaOutcome(row.result, row.error_cause, row.detail),
        )
        for row in await conn.execute(query)
    ]


def seen(observed: ObservedService) -> dict[str, object]:
    """An observation as it is stored and shown; the driver's own state stays out."""
    return {
        "present": observed.present,
        "downstream_bps": observed.downstream_bps,
        "upstream_bps": observed.upstream_bps,
        "onu_serial": observed.onu_serial,
        "pon_port": observed.pon_port,
        "subscriber_vlan": observed.subscriber_vlan,
        "details": observed.details,
    }


def _stored(row: Row[Any]) -> StoredService:
    attachment = None
    if row.device_id is not None:
        attachment = OnuAttachment(row.device_id, row.pon_port, row.onu_serial, row.subscriber_vlan)
    profile = SpeedProfile(row.profile_name, row.downstream_bps, row.upstream_bps)
    return StoredService(
        desired=DesiredService(row.service_id, profile, attachment, row.present),
        revision=row.revision,
        desired_at=row.desired_at,
        standing=Standing(row.standing),
        observed=None if row.observed is None else json.loads(row.observed),
        observed_at=row.observed_at,
        verified_at=row.verified_at,
        differences=tuple(json.loads(row.differences)),
        last_error=row.last_error,
        is_bound=row.bound_vlan is not None,
    )


async def services_by_onu(conn: AsyncConnection) -> dict[str, ServiceId]:
    """Serial (upper case) → the service it is bound to."""
    query = select(service.c.bound_serial, service.c.service_id).where(service.c.bound_serial.is_not(None))
    return {row.bound_serial.upper(): ServiceId(row.service_id) for row in await conn.execute(query)}
