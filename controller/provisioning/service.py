"""Provisioning: desired state in, converged devices out, and never a word believed that was not read back.

    set_desired ─ converge, on each device: observe → plan → apply → observe → compare ─ verdict stored

A service may be carried by several devices; it is verified when all of them were read as desired. Converging twice
changes nothing the second time. While a device is being changed it is held by a lease; no database
transaction is open while a device is spoken to.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import structlog
from prometheus_client import Counter, Histogram
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.errors import PermanentDeviceError, TemporaryDeviceError
from controller.domain.identity import DeviceId, ServiceId
from controller.domain.ports import DeviceEndpoint, ServiceDriver, SessionControl, SnmpTarget
from controller.domain.restriction import Measure, Restriction
from controller.domain.service import AttachedService, DesiredService, ObservedService, Plan
from controller.provisioning import intent, repository, verify
from controller.provisioning.devices import DeviceRegistry
from controller.provisioning.errors import DeviceLeased, StillAttached
from controller.provisioning.leases import DeviceLeases
from controller.provisioning.model import (
    Device,
    NewDevice,
    SessionChange,
    SessionVerification,
    SnmpAccess,
    Standing,
    StoredService,
    Verification,
)
from controller.provisioning.settings import ProvisioningSettings
from controller.store import audit
from controller.store.engine import Database

log = structlog.get_logger()

_CONVERGED = Counter("headend_provisioning_converges", "Converges by how they ended.", ["result"])
_SECONDS = Histogram(
    "headend_provisioning_converge_seconds", "Seconds a converge took, waiting for the device included."
)


class ProvisioningService:
    """The use cases of provisioning. Also PollTargets and AccessMap (controller.domain.ports) for collectors."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        devices: DeviceRegistry,
        drivers: Mapping[str, ServiceDriver],
        sessions: SessionControl,
        settings: ProvisioningSettings,
    ) -> None:
        self._database = database
        self._clock = clock
        self.devices = devices
        self._drivers = drivers
        self._sessions = sessions
        self._settings = settings
        self._leases = DeviceLeases(database, settings)

    # --- devices

    async def register_device(self, new: NewDevice, *, actor: str) -> DeviceId:
        """Raises DeviceNameTaken or BadIntent."""
        return await self.devices.register(new, actor=actor)

    async def change_device(
        self, device_id: DeviceId, changes: Mapping[str, Any], *, snmp: SnmpAccess | None = None, actor: str
    ) -> Device:
        return await self.devices.change(device_id, changes, snmp=snmp, actor=actor)

    async def snmp_targets(self) -> Sequence[SnmpTarget]:
        return await self.devices.snmp_targets()

    async def netconf_targets(self) -> Sequence[DeviceEndpoint]:
        return await self.devices.netconf_targets()

    async def services_by_onu(self) -> Mapping[str, ServiceId]:
        """AccessMap of controller.domain.ports: which service each ONU serial carries now."""
        async with self._database.read() as conn:
            return await repository.services_by_onu(conn)

    # --- intent

    async def set_desired(self, desired: DesiredService, *, actor: str) -> None:
        """Store what a service should be; a VLAN of 0 lets us choose one. Saying it twice is saying it once.

        Raises BadIntent, UnknownDevice, SerialBound, VlanTaken, NoFreeVlan or StillAttached.
        """
        desired = intent.canonical(desired)
        async with self._database.begin() as conn:
            stored = await repository.find(conn, desired.service_id)
            await repository.require_devices(conn, desired)
            desired = await repository.choose_vlan(conn, desired, stored, self._settings)
            _refuse_to_forget(desired, stored)
            await self._desire(conn, desired, stored, actor)

    async def withdraw(self, service_id: ServiceId, *, actor: str) -> bool:
        """From now on the service should be absent. False for one that was never desired: it can be nowhere."""
        async with self._database.begin() as conn:
            stored = await repository.find(conn, service_id)
            if stored is None:
                return False
            await self._desire(conn, replace(stored.desired, present=False), stored, actor)
        return True

    # --- what dunning takes of services on their devices, in the caller's transaction

    async def take_turns(self, conn: AsyncConnection, service_ids: Collection[str]) -> None:
        """Wait for other writers of these services; before the caller writes to the audit log."""
        await repository.take_turns(conn, service_ids)

    async def restrict(
        self, conn: AsyncConnection, service_id: ServiceId, wanted: Restriction, *, actor: str, reason: str
    ) -> bool:
        """From now on its devices should have less of it, or all of it again; whether that is new.

        A service that no device of ours carries has nothing to take. Who follows is told by `restricting`.
        """
        stored = await repository.find(conn, service_id)
        if stored is None or not stored.desired.attachments or not stored.desired.present:
            return False
        if stored.restriction == wanted:
            return False
        now = self._clock.now()
        await repository.put_restriction(conn, stored, wanted, now)
        await audit.record(
            conn,
            now=now,
            actor=actor,
            action="service.restrict" if wanted.measure is not Measure.NONE else "service.restore",
            subject=f"service:{service_id}",
            before={"measure": stored.restriction.measure.value},
            after={"measure": wanted.measure.value},
            reason=reason,
        )
        return True

    async def restricted(self, conn: AsyncConnection, service_ids: Collection[str]) -> set[str]:
        """Those of these services of which something is taken on their devices."""
        return await repository.restricted(conn, service_ids)

    async def restricting(self, limit: int) -> list[StoredService]:
        """Services that a converge must still bring to their restriction, or back; the longest waiting first."""
        async with self._database.read() as conn:
            return await repository.restricting(conn, limit)

    async def _desire(
        self, conn: AsyncConnection, desired: DesiredService, stored: StoredService | None, actor: str
    ) -> None:
        if stored is not None and stored.desired == desired:
            return
        now = self._clock.now()
        revision = 1 if stored is None else stored.revision + 1
        await repository.put_desired(conn, desired, revision=revision, now=now, actor=actor)
        await audit.record(
            conn,
            now=now,
            actor=actor,
            action="service.desire",
            subject=f"service:{desired.service_id}",
            before=None if stored is None else _shown(stored.desired),
            after=_shown(desired),
        )

    async def get(self, service_id: ServiceId) -> StoredService:
        """Raises UnknownService."""
        async with self._database.read() as conn:
            return await repository.get(conn, service_id)

    async def page(self, after: str | None, limit: int, standing: str | None = None) -> list[StoredService]:
        async with self._database.read() as conn:
            return await repository.page(conn, after, limit, standing)

    # --- looking

    async def observe(self, service_id: ServiceId) -> StoredService:
        """Read what the service's devices have, and store it. Raises Temporary- or PermanentDeviceError."""
        for part in (await self.get(service_id)).enforced.by_device():
            endpoint, driver = await self._driver_for(part)
            observed = await driver.observe(endpoint, part)
            async with self._database.begin() as conn:
                await repository.put_observed(conn, endpoint.device_id, observed, self._clock.now())
        return await self.get(service_id)

    async def plan(self, service_id: ServiceId) -> Sequence[Plan]:
        """What converging the service would send now, device after device."""
        return await self._plans((await self.get(service_id)).enforced)

    async def dry_run(self, desired: DesiredService) -> Sequence[Plan]:
        """What providing `desired` would send now; nothing is stored, no device is changed."""
        desired = intent.canonical(desired)
        async with self._database.read() as conn:
            await repository.require_devices(conn, desired)
            stored = await repository.find(conn, desired.service_id)
            desired = await repository.choose_vlan(conn, desired, stored, self._settings, lock=False)
        return await self._plans(desired)

    async def _plans(self, desired: DesiredService) -> Sequence[Plan]:
        plans = []
        for part in desired.by_device():
            endpoint, driver = await self._driver_for(part)
            plans.append(driver.plan(endpoint, part, await driver.observe(endpoint, part)))
        return plans

    # --- converging

    async def converge(self, service_id: ServiceId, *, actor: str) -> Verification:
        """Bring the service's devices to what is desired, one after the other, read each back, and judge.

        Ends at the first device that is not as desired: those after it stay as they were, and the next converge goes
        on there. Raises TemporaryDeviceError (again later) or PermanentDeviceError (ask a human); either is stored as
        the service's `last_error` first. A device that took everything and yet shows something else is not an error
        but a Verification that is not `verified`.
        """
        stored = await self.get(service_id)
        found = _Found()
        with _SECONDS.time():
            try:
                for part in stored.enforced.by_device():
                    await self._converge_device(part, stored.revision, found)
                    if found.differences:
                        break
            except (TemporaryDeviceError, PermanentDeviceError) as error:
                await self._fail(stored, found, error, actor)
                raise
        return await self._judge(stored, found, actor)

    async def _converge_device(self, part: AttachedService, revision: int, found: _Found) -> None:
        """Change one device and note what was planned for it and seen on it afterwards."""
        endpoint, driver = await self._driver_for(part)
        async with self._leases.hold(endpoint.device_id) as lease:
            if (await self.get(part.service_id)).revision != revision:
                raise DeviceLeased(f"something newer is desired of service {part.service_id} by now")
            observed = await driver.observe(endpoint, part)
            plan = driver.plan(endpoint, part, observed)
            if not plan.is_empty:
                await lease.renew()
                await driver.apply(endpoint, part, plan)
                found.plans.append(plan)
                await lease.renew()
                observed = await driver.observe(endpoint, part)
            after = driver.plan(endpoint, part, observed)
        found.note(endpoint, observed, verify.remaining(part, observed, after))

    async def _judge(self, stored: StoredService, found: _Found, actor: str) -> Verification:
        now = self._clock.now()
        verdict = Verification(not found.differences, now, tuple(found.differences), tuple(found.plans))
        standing = Standing.VERIFIED if verdict.verified else Standing.MISMATCH
        async with self._database.begin() as conn:
            await repository.put_verdict(
                conn, stored, standing=standing, observed=found.observed, differences=verdict.differences, now=now
            )
            if verdict.changed or standing is not stored.standing:
                await self._audit_change(conn, stored, found, standing, actor)
        _CONVERGED.labels(standing.value).inc()
        service_id = stored.desired.service_id
        log.info("service.converged", service_id=service_id, standing=standing.value, changed=verdict.changed)
        return verdict

    async def _fail(self, stored: StoredService, found: _Found, error: Exception, actor: str) -> None:
        async with self._database.begin() as conn:
            await repository.put_verdict(
                conn,
                stored,
                standing=Standing.FAILED,
                observed=found.observed,
                differences=(),
                now=self._clock.now(),
                error=str(error),
            )
            if found.plans:  # the devices before the failing one
                await self._audit_change(conn, stored, found, Standing.FAILED, actor)
        _CONVERGED.labels(type(error).__name__).inc()
        log.warning("service.converge-failed", service_id=stored.desired.service_id, error=str(error))

    async def _audit_change(
        self, conn: AsyncConnection, stored: StoredService, found: _Found, standing: Standing, actor: str
    ) -> None:
        await audit.record(
            conn,
            now=self._clock.now(),
            actor=actor,
            action="service.provision",
            subject=f"service:{stored.desired.service_id}",
            before={"standing": stored.standing.value},
            after={"standing": standing.value, "differences": found.differences},
            reason="\n".join(plan.diff for plan in found.plans) or None,
        )

    # --- drift

    async def due_for_check(self, before: datetime, limit: int) -> list[StoredService]:
        async with self._database.read() as conn:
            return await repository.due_for_check(conn, before, limit)

    async def check(self, stored: StoredService) -> tuple[str, ...]:
        """Compare a service with its devices; store drift, or that there is none (any more). Changes no device.

        Who wins is not decided here: drift is reported, and a converge would bring the desired state back.
        """
        found = _Found()
        for part in stored.enforced.by_device():
            endpoint, driver = await self._driver_for(part)
            observed = await driver.observe(endpoint, part)
            plan = driver.plan(endpoint, part, observed)
            found.note(endpoint, observed, verify.remaining(part, observed, plan))
            found.plans.append(plan)
        now = self._clock.now()
        standing = Standing.DRIFT if found.differences else Standing.VERIFIED
        async with self._database.begin() as conn:
            written = await repository.put_verdict(
                conn,
                stored,
                standing=standing,
                observed=found.observed,
                differences=found.differences,
                now=now,
                only_from=(Standing.VERIFIED, Standing.DRIFT),
            )
            if written and standing is not stored.standing:
                await audit.record(
                    conn,
                    now=now,
                    actor="system:provisioning",
                    action=f"service.{standing.value}",
                    subject=f"service:{stored.desired.service_id}",
                    after={"differences": found.differences},
                    reason="\n".join(plan.diff for plan in found.plans if plan.diff) or None,
                )
        if found.differences:
            log.warning("service.drift", service_id=stored.desired.service_id, differences=found.differences)
        return tuple(found.differences)

    async def put_off_check(self, stored: StoredService) -> None:
        """The service could not be read: let others have their turn before it is tried again."""
        async with self._database.begin() as conn:
            await repository.put_checked(conn, stored.desired.service_id, self._clock.now())

    async def standings(self) -> dict[Standing, int]:
        """How many services stand how: for pages and metrics."""
        async with self._database.read() as conn:
            return await repository.count_by_standing(conn)

    # --- live sessions

    async def change_live_sessions(self, service_id: ServiceId) -> Sequence[SessionChange]:
        """Ask the NAS of each session on its plan for the desired speed; every answer is recorded, a refusal too.

        An "ack" proves nothing: see `verify_live_sessions`.
        """
        profile = (await self.get(service_id)).desired.profile
        changes = []
        for key in await self._sessions.sessions_on_plan(service_id):
            requested_at = self._clock.now()
            outcome = await self._sessions.change_speed(key, profile)
            changes.append(SessionChange(service_id, key, profile.name, requested_at, outcome))
            log.info("session.speed-asked", service_id=service_id, session_key=key, result=outcome.result)
        async with self._database.begin() as conn:
            await repository.add_session_changes(conn, changes)
        return changes

    async def verify_live_sessions(self, service_id: ServiceId, since: datetime) -> SessionVerification:
        """Judge the service's live sessions by what was seen of their speed after `since`, never by an answer."""
        profile = (await self.get(service_id)).desired.profile
        keys = await self._sessions.sessions_on_plan(service_id)
        seen = [(key, await self._sessions.observed_rate(key, since)) for key in keys]
        return verify.sessions(profile, seen, await self._sessions.failures(service_id))

    async def session_changes(self, service_id: ServiceId) -> list[SessionChange]:
        async with self._database.read() as conn:
            return await repository.session_changes(conn, service_id)

    async def _driver_for(self, part: AttachedService) -> tuple[DeviceEndpoint, ServiceDriver]:
        endpoint = await self.devices.endpoint(part.attachment.device_id)
        driver = self._drivers.get(endpoint.driver)
        if driver is None:
            raise PermanentDeviceError(f"{endpoint.name}: this process has no driver {endpoint.driver!r}")
        return endpoint, driver


@dataclass(slots=True)
class _Found:
    """What one look at the devices of a service has brought so far."""

    observed: dict[DeviceId, ObservedService] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)

    def note(self, device: DeviceEndpoint, observed: ObservedService, differences: Sequence[str]) -> None:
        self.observed[device.device_id] = observed
        self.differences += [f"{device.name}: {difference}" for difference in differences]


def _refuse_to_forget(desired: DesiredService, stored: StoredService | None) -> None:
    """A device that the service may still be on stays in its record until it was seen without it."""
    if stored is None or not stored.is_bound:
        return
    left = set(stored.device_ids) - {attachment.device_id for attachment in desired.attachments}
    if left:
        raise StillAttached(
            f"service {desired.service_id} is attached to device {min(left)}: make it absent before it moves on"
        )


def _shown(desired: DesiredService) -> dict[str, Any]:
    return {
        "present": desired.present,
        "profile": desired.profile.name,
        "downstream_bps": desired.profile.downstream_bps,
        "upstream_bps": desired.profile.upstream_bps,
        "attachments": [
            {
                "device_id": a.device_id,
                "port": a.port,
                "onu_serial": a.onu_serial,
                "subscriber_vlan": a.subscriber_vlan,
            }
            for a in desired.attachments
        ],
    }
