"""Provisioning: desired state in, converged devices out, and never a word believed that was not read back.

    set_desired ─ converge: observe → plan → apply → observe → compare ─ verdict stored

Converging twice changes nothing the second time. While a device is being changed it is held by a lease; no database
transaction is open while a device is spoken to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog
from prometheus_client import Counter, Histogram

from controller.domain.clock import Clock
from controller.domain.errors import PermanentDeviceError, TemporaryDeviceError
from controller.domain.identity import DeviceId, ServiceId
from controller.domain.ports import DeviceEndpoint, Plan, ServiceDriver, SessionControl, SnmpTarget
from controller.domain.service import DesiredService, ObservedService
from controller.provisioning import intent, repository, verify
from controller.provisioning.devices import DeviceRegistry
from controller.provisioning.leases import DeviceLease, DeviceLeases
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

        Raises BadIntent, UnknownDevice, SerialBound, VlanTaken or NoFreeVlan.
        """
        desired = _normal(desired)
        now = self._clock.now()
        async with self._database.begin() as conn:
            stored = await repository.find(conn, desired.service_id)
            if desired.attachment is not None:
                await repository.require_device(conn, desired.attachment.olt_id)
            desired = await repository.with_vlan(conn, desired, stored, self._settings)
            if stored is not None and stored.desired == desired:
                return
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

    async def observe(self, service_id: ServiceId) -> ObservedService:
        """Read what the service's device has, store and return it. Raises Temporary- or PermanentDeviceError."""
        stored = await self.get(service_id)
        if stored.desired.attachment is None:
            return ObservedService(service_id, present=False)
        endpoint, driver = await self._driver_for(stored.desired)
        observed = await driver.observe(endpoint, stored.desired)
        async with self._database.begin() as conn:
            await repository.put_observed(conn, observed, self._clock.now())
        return observed

    async def plan(self, service_id: ServiceId) -> Sequence[Plan]:
        """What converging the service would send now."""
        return await self._plans((await self.get(service_id)).desired)

    async def dry_run(self, desired: DesiredService) -> Sequence[Plan]:
        """What providing `desired` would send now; nothing is stored, no device is changed."""
        desired = _normal(desired)
        async with self._database.read() as conn:
            if desired.attachment is not None:
                await repository.require_device(conn, desired.attachment.olt_id)
            stored = await repository.find(conn, desired.service_id)
            if desired.attachment is not None and not desired.attachment.subscriber_vlan:
                desired = await repository.with_vlan(conn, desired, stored, self._settings, lock=False)
        return await self._plans(desired)

    async def _plans(self, desired: DesiredService) -> Sequence[Plan]:
        if desired.attachment is None:
            return ()
        endpoint, driver = await self._driver_for(desired)
        return (driver.plan(endpoint, desired, await driver.observe(endpoint, desired)),)

    # --- converging

    async def converge(self, service_id: ServiceId, *, actor: str) -> Verification:
        """Bring the service's device to what is desired, read it back, and judge.

        Raises TemporaryDeviceError (again later) or PermanentDeviceError (ask a human); either is stored as the
        service's `last_error` first. A device that took everything and yet shows something else is not an error but
        a Verification that is not `verified`.
        """
        stored = await self.get(service_id)
        desired = stored.desired
        if desired.attachment is None:
            return await self._judge(stored, None, (), (), actor)
        with _SECONDS.time():
            try:
                endpoint, driver = await self._driver_for(desired)
                async with self._leases.hold(endpoint.device_id) as lease:
                    observed, differences, plan = await _converge(driver, endpoint, desired, lease)
            except (TemporaryDeviceError, PermanentDeviceError) as error:
                await self._fail(stored, error)
                raise
        return await self._judge(stored, observed, differences, (plan,), actor)

    async def _judge(
        self,
        stored: StoredService,
        observed: ObservedService | None,
        differences: tuple[str, ...],
        plans: tuple[Plan, ...],
        actor: str,
    ) -> Verification:
        now = self._clock.now()
        verdict = Verification(not differences, now, differences, plans)
        standing = Standing.VERIFIED if verdict.verified else Standing.MISMATCH
        service_id = stored.desired.service_id
        async with self._database.begin() as conn:
            await repository.put_verdict(
                conn, stored, standing=standing, observed=observed, differences=differences, now=now
            )
            if verdict.changed or standing is not stored.standing:
                await audit.record(
                    conn,
                    now=now,
                    actor=actor,
                    action="service.provision",
                    subject=f"service:{service_id}",
                    before={"standing": stored.standing.value},
                    after={"standing": standing.value, "differences": list(differences)},
                    reason="\n".join(plan.diff for plan in plans) or None,
                )
        _CONVERGED.labels(standing.value).inc()
        log.info("service.converged", service_id=service_id, standing=standing.value, changed=verdict.changed)
        return verdict

    async def _fail(self, stored: StoredService, error: Exception) -> None:
        async with self._database.begin() as conn:
            await repository.put_verdict(
                conn,
                stored,
                standing=Standing.FAILED,
                observed=None,
                differences=(),
                now=self._clock.now(),
                error=str(error),
            )
        _CONVERGED.labels(type(error).__name__).inc()
        log.warning("service.converge-failed", service_id=stored.desired.service_id, error=str(error))

    # --- drift

    async def due_for_check(self, before: datetime, limit: int) -> list[StoredService]:
        async with self._database.read() as conn:
            return await repository.due_for_check(conn, before, limit)

    async def check(self, stored: StoredService) -> tuple[str, ...]:
        """Compare a service with its device; store drift, or that there is none (any more). Changes no device.

        Who wins is not decided here: drift is reported, and a converge would bring the desired state back.
        """
        endpoint, driver = await self._driver_for(stored.desired)
        observed = await driver.observe(endpoint, stored.desired)
        plan = driver.plan(endpoint, stored.desired, observed)
        differences = verify.remaining(stored.desired, observed, plan)
        now = self._clock.now()
        standing = Standing.DRIFT if differences else Standing.VERIFIED
        async with self._database.begin() as conn:
            written = await repository.put_verdict(
                conn,
                stored,
                standing=standing,
                observed=observed,
                differences=differences,
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
                    after={"differences": list(differences)},
                    reason=plan.diff or None,
                )
        if differences:
            log.warning("service.drift", service_id=stored.desired.service_id, differences=list(differences))
        return differences

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
        """Ask the NAS of each live session for the desired speed; every answer is recorded, a refusal too.

        An "ack" proves nothing: see `verify_live_sessions`.
        """
        profile = (await self.get(service_id)).desired.profile
        changes = []
        for key in await self._sessions.live_sessions(service_id):
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
        keys = await self._sessions.live_sessions(service_id)
        seen = [(key, await self._sessions.observed_rate(key, since)) for key in keys]
        # The newest answer of each session comes first.
        answers: dict[str, str] = {}
        for change in await self.session_changes(service_id):
            answers.setdefault(change.session_key, change.outcome.result)
        return verify.sessions(profile, seen, {key for key, result in answers.items() if result == "nak"})

    async def session_changes(self, service_id: ServiceId) -> list[SessionChange]:
        async with self._database.read() as conn:
            return await repository.session_changes(conn, service_id)

    async def _driver_for(self, desired: DesiredService) -> tuple[DeviceEndpoint, ServiceDriver]:
        assert desired.attachment is not None
        endpoint = await self.devices.endpoint(desired.attachment.olt_id)
        driver = self._drivers.get(endpoint.driver)
        if driver is None:
            raise PermanentDeviceError(f"{endpoint.name}: this process has no driver {endpoint.driver!r}")
        return endpoint, driver


async def _converge(
    driver: ServiceDriver, endpoint: DeviceEndpoint, desired: DesiredService, lease: DeviceLease
) -> tuple[ObservedService, tuple[str, ...], Plan]:
    observed = await driver.observe(endpoint, desired)
    plan = driver.plan(endpoint, desired, observed)
    if not plan.is_empty:
        await lease.renew()
        await driver.apply(endpoint, desired, plan)
        await lease.renew()
        observed = await driver.observe(endpoint, desired)
    after = driver.plan(endpoint, desired, observed)
    return observed, verify.remaining(desired, observed, after), plan


def _normal(desired: DesiredService) -> DesiredService:
    """Checked, and with its serial spelled as ITU-T spells it."""
    intent.check(desired)
    if desired.attachment is None:
        return desired
    serial = desired.attachment.onu_serial.upper()
    return replace(desired, attachment=replace(desired.attachment, onu_serial=serial))


def _shown(desired: DesiredService) -> dict[str, Any]:
    attachment = desired.attachment
    return {
        "present": desired.present,
        "profile": desired.profile.name,
        "downstream_bps": desired.profile.downstream_bps,
        "upstream_bps": desired.profile.upstream_bps,
        "device_id": attachment.olt_id if attachment else None,
        "pon_port": attachment.pon_port if attachment else None,
        "onu_serial": attachment.onu_serial if attachment else None,
        "subscriber_vlan": attachment.subscriber_vlan if attachment else None,
    }
