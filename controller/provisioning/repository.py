"""Services: rows → domain values, and the few writes. Every function runs in the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, and_, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain import restriction
from controller.domain.identity import DeviceId, ServiceId
from controller.domain.ports import CoaOutcome
from controller.domain.restriction import Restriction
from controller.domain.service import (
    Attachment,
    DesiredService,
    ObservedService,
    SpeedProfile,
    attachment_of,
)
from controller.provisioning import intent
from controller.provisioning.errors import SerialBound, UnknownDevice, UnknownService, VlanTaken
from controller.provisioning.model import SessionChange, Standing, StoredAttachment, StoredService
from controller.provisioning.settings import ProvisioningSettings
from controller.provisioning.tables import attachment, device, service, session_change


async def find(conn: AsyncConnection, service_id: ServiceId) -> StoredService | None:
    found = await _services(conn, select(service).where(service.c.service_id == service_id))
    return found[0] if found else None


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
    return await _services(conn, query)


async def choose_vlan(
    conn: AsyncConnection,
    desired: DesiredService,
    stored: StoredService | None,
    settings: ProvisioningSettings,
    *,
    lock: bool = True,
) -> DesiredService:
    """`desired` with one VLAN wherever it names none: the one it has, else the lowest that is free on all of them.

    With `lock` the devices' rows are held until the end of the transaction: no two services are given the same number.
    """
    unnamed = [a for a in desired.attachments if not a.subscriber_vlan]
    if not unnamed:
        return desired
    vlan = intent.named_vlan(desired.attachments)
    if not vlan and stored is not None and (stored.is_bound or not desired.present):
        devices = {a.device_id for a in unnamed}
        vlan = intent.named_vlan(a for a in stored.desired.attachments if a.device_id in devices)
    if not vlan:
        if lock:
            ids = sorted(a.device_id for a in unnamed)  # in one order everywhere, so that nobody waits in a circle
            query = select(device.c.device_id).where(device.c.device_id.in_(ids)).order_by(device.c.device_id)
            await conn.execute(query.with_for_update())
        vlan = intent.free_vlan(await _taken_vlans(conn, unnamed), settings.vlan_first, settings.vlan_last)
    return intent.with_vlan(desired, vlan)


async def _taken_vlans(conn: AsyncConnection, wanted: Sequence[Attachment]) -> set[int]:
    places = (and_(attachment.c.device_id == a.device_id, attachment.c.vlan_space == a.vlan_space) for a in wanted)
    query = select(attachment.c.bound_vlan).where(or_(*places), attachment.c.bound_vlan.is_not(None))
    return set(await conn.scalars(query))


async def require_devices(conn: AsyncConnection, desired: DesiredService) -> None:
    """Raises UnknownDevice."""
    for wanted in desired.attachments:
        if await conn.scalar(select(device.c.device_id).where(device.c.device_id == wanted.device_id)) is None:
            raise UnknownDevice(f"no device {wanted.device_id!r}")


async def put_desired(
    conn: AsyncConnection, desired: DesiredService, *, revision: int, now: datetime, actor: str
) -> None:
    """Write the desired state as a new revision. Raises SerialBound or VlanTaken."""
    row = {
        "service_id": desired.service_id,
        "present": desired.present,
        "profile_name": desired.profile.name,
        "downstream_bps": desired.profile.downstream_bps,
        "upstream_bps": desired.profile.upstream_bps,
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
            await _put_attachments(conn, desired)
    except IntegrityError:
        await _explain_conflict(conn, desired)
        raise


async def _put_attachments(conn: AsyncConnection, desired: DesiredService) -> None:
    """Write where the service is attached; what was seen on a device that stays is kept."""
    ours = attachment.c.service_id == desired.service_id
    kept = [wanted.device_id for wanted in desired.attachments]
    await conn.execute(delete(attachment).where(ours, attachment.c.device_id.not_in(kept)))
    for position, wanted in enumerate(desired.attachments):
        row = _attachment_row(wanted) | {"position": position}
        changed = await conn.execute(
            update(attachment).where(ours, attachment.c.device_id == wanted.device_id).values(row)
        )
        if not changed.rowcount:
            await conn.execute(insert(attachment).values(row | {"service_id": desired.service_id}))


async def _explain_conflict(conn: AsyncConnection, desired: DesiredService) -> None:
    others = attachment.c.service_id != desired.service_id
    for wanted in desired.attachments:
        if wanted.onu_serial is not None:
            holder = await conn.scalar(
                select(attachment.c.service_id).where(attachment.c.bound_serial == wanted.onu_serial, others)
            )
            if holder is not None:
                raise SerialBound(f"ONU {wanted.onu_serial} is bound to service {holder}: terminate that one first")
        holder = await conn.scalar(
            select(attachment.c.service_id).where(
                attachment.c.device_id == wanted.device_id,
                attachment.c.vlan_space == wanted.vlan_space,
                attachment.c.bound_vlan == wanted.subscriber_vlan,
                others,
            )
        )
        if holder is not None:
            raise VlanTaken(f"VLAN {wanted.subscriber_vlan} of device {wanted.device_id} belongs to service {holder}")


async def take_turns(conn: AsyncConnection, service_ids: Collection[str]) -> None:
    """Hold the rows of services until the transaction ends, in one order everywhere; before the audit log's turn."""
    query = select(service.c.service_id).where(service.c.service_id.in_(sorted(service_ids)))
    await conn.execute(query.order_by(service.c.service_id).with_for_update())


async def put_restriction(conn: AsyncConnection, stored: StoredService, wanted: Restriction, now: datetime) -> None:
    """A new revision: what a converge finds of the one before is no verdict any more."""
    values = {
        "restriction": restriction.written(wanted),
        "restricting_since": now,
        "revision": stored.revision + 1,
        "standing": Standing.PENDING.value,
        "differences": "[]",
        "last_error": None,
    }
    await conn.execute(update(service).where(service.c.service_id == stored.desired.service_id).values(values))


async def restricted(conn: AsyncConnection, service_ids: Collection[str]) -> set[str]:
    """Those of these services of which something is taken on their devices."""
    query = select(service.c.service_id).where(service.c.restriction.is_not(None))
    return set(await conn.scalars(query.where(service.c.service_id.in_(service_ids))))


async def restricting(conn: AsyncConnection, limit: int) -> list[StoredService]:
    """Services whose devices were not seen yet as a restriction, or its end, wants them; the longest waiting first."""
    query = select(service).where(service.c.restricting_since.is_not(None))
    return await _services(conn, query.order_by(service.c.restricting_since, service.c.service_id).limit(limit))


async def put_verdict(
    conn: AsyncConnection,
    stored: StoredService,
    *,
    standing: Standing,
    observed: Mapping[DeviceId, ObservedService],
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
    if standing is Standing.VERIFIED:
        values |= {"verified_at": now, "restricting_since": None}
    service_id = stored.desired.service_id
    statement = (
        update(service)
        .where(service.c.service_id == service_id, service.c.revision == stored.revision)
        .where(service.c.standing.in_([s.value for s in only_from]))
        .values(values)
    )
    if (await conn.execute(statement)).rowcount != 1:
        return False
    for device_id, seen in observed.items():
        await put_observed(conn, device_id, seen, now)
    if standing is Standing.VERIFIED and not stored.desired.present:
        # Gone for good, everywhere: its serial and VLANs may be used again.
        freed = {"bound_serial": None, "bound_vlan": None}
        await conn.execute(update(attachment).where(attachment.c.service_id == service_id).values(freed))
    return True


async def put_observed(conn: AsyncConnection, device_id: DeviceId, observed: ObservedService, now: datetime) -> None:
    """Store a look at a device that judges nothing."""
    values = {"observed": json.dumps(_seen(observed)), "observed_at": now}
    ours = attachment.c.service_id == observed.service_id
    await conn.execute(update(attachment).where(ours, attachment.c.device_id == device_id).values(values))


async def due_for_check(conn: AsyncConnection, before: datetime, limit: int) -> list[StoredService]:
    """Services that stood as desired, or had drifted, and were last looked at before `before`; oldest first."""
    bound = select(attachment.c.service_id).where(
        attachment.c.service_id == service.c.service_id, attachment.c.bound_vlan.is_not(None)
    )
    query = (
        select(service)
        .where(service.c.standing.in_([Standing.VERIFIED.value, Standing.DRIFT.value]))
        .where(bound.exists())
        .where(service.c.checked_at < before)
        .order_by(service.c.checked_at)
        .limit(limit)
    )
    return await _services(conn, query)


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


_SEEN = tuple(f.name for f in fields(ObservedService) if f.name not in ("service_id", "driver_state"))


def _seen(observed: ObservedService) -> dict[str, object]:
    """An observation as it is stored; the driver's own state stays out."""
    return {name: getattr(observed, name) for name in _SEEN}


async def _services(conn: AsyncConnection, query: Select[Any]) -> list[StoredService]:
    """The services of `query`, in its order, with their attachments."""
    rows = (await conn.execute(query)).all()
    attached: dict[str, list[StoredAttachment]] = {row.service_id: [] for row in rows}
    where = attachment.c.service_id.in_(attached)
    bound: set[str] = set()
    for row in await conn.execute(select(attachment).where(where).order_by(attachment.c.position)):
        attached[row.service_id].append(_stored_attachment(row))
        if row.bound_vlan is not None:
            bound.add(row.service_id)
    return [_stored(row, tuple(attached[row.service_id]), row.service_id in bound) for row in rows]


def _stored(row: Row[Any], seen: tuple[StoredAttachment, ...], is_bound: bool) -> StoredService:
    profile = SpeedProfile(row.profile_name, row.downstream_bps, row.upstream_bps)
    return StoredService(
        desired=DesiredService(row.service_id, profile, tuple(s.attachment for s in seen), row.present),
        seen=seen,
        revision=row.revision,
        desired_at=row.desired_at,
        standing=Standing(row.standing),
        verified_at=row.verified_at,
        differences=tuple(json.loads(row.differences)),
        last_error=row.last_error,
        is_bound=is_bound,
        restriction=restriction.read(row.restriction),
        restricting_since=row.restricting_since,
    )


def _stored_attachment(row: Row[Any]) -> StoredAttachment:
    where = attachment_of(row.kind, row.device_id, row.port, row.onu_serial, row.subscriber_vlan)
    observed = None if row.observed is None else ObservedService(row.service_id, **json.loads(row.observed))
    return StoredAttachment(where, observed, row.observed_at)


def _attachment_row(wanted: Attachment) -> dict[str, Any]:
    return {
        "device_id": wanted.device_id,
        "kind": wanted.kind,
        "port": wanted.port,
        "onu_serial": wanted.onu_serial,
        "bound_serial": wanted.onu_serial,
        "subscriber_vlan": wanted.subscriber_vlan,
        "bound_vlan": wanted.subscriber_vlan,
        "vlan_space": wanted.vlan_space,
    }


async def services_by_onu(conn: AsyncConnection) -> dict[str, ServiceId]:
    """Serial (upper case) → the service it is bound to."""
    query = select(attachment.c.bound_serial, attachment.c.service_id).where(attachment.c.bound_serial.is_not(None))
    return {row.bound_serial.upper(): ServiceId(row.service_id) for row in await conn.execute(query)}
