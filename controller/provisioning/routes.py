"""Devices and services over HTTP. Secrets go in and never come out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from controller.domain.hosts import is_host
from controller.domain.identity import DeviceId, ServiceId
from controller.domain.ports import Secret
from controller.domain.service import OnuAttachment, Plan, RouterAttachment
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import In, Instant, Out, Port
from controller.provisioning.model import Device, NewDevice, SessionChange, SnmpAccess, StoredAttachment, StoredService
from controller.provisioning.service import ProvisioningService


def _reachable(text: str) -> str:
    if not is_host(text):
        raise ValueError(f"{text!r} is no address and no name that can be looked up: a label has 1 to 63 letters")
    return text


DeviceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.:_-]{1,255}$"), AfterValidator(_reachable)]
Username = Annotated[str, StringConstraints(pattern=r"^[ -~]{0,64}$")]
SecretText = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00]*$")]
HostKey = Annotated[str, StringConstraints(pattern=r"^SHA256:[A-Za-z0-9+/]{43}$")]


class SnmpIn(In):
    """Version "2c" needs `community`; version "3" a user, and keys as its protocols ask (RFC 3414, RFC 3826)."""

    port: Port = 161
    version: Literal["2c", "3"] = "2c"
    community: SecretText | None = None
    user: Username | None = None
    auth_protocol: Literal["md5", "sha", "sha256"] | None = None
    auth_key: SecretText | None = None
    priv_protocol: Literal["des", "aes"] | None = None
    priv_key: SecretText | None = None

    def access(self) -> SnmpAccess:
        return SnmpAccess(
            port=self.port,
            version=self.version,
            community=_secret(self.community),
            user=self.user,
            auth_protocol=self.auth_protocol,
            auth_key=_secret(self.auth_key),
            priv_protocol=self.priv_protocol,
            priv_key=_secret(self.priv_key),
        )


class DeviceIn(In):
    """A device. `driver` changes it ("bbf-olt", "napalm-router"); without one it is only polled."""

    name: DeviceName
    host: Host
    driver: Annotated[str, StringConstraints(max_length=32)] | None = None
    port: Port = 830
    username: Username = ""
    password: SecretText | None = None
    host_key_sha256: HostKey | None = Field(
        default=None, description="SSH host key as `ssh-keygen -l` prints it; absent trusts and pins the first one seen"
    )
    snmp: SnmpIn | None = None


class DeviceChangeIn(In):
    """Fields that are given change; `forget_host_key` lets the next session pin the key that it sees."""

    host: Host | None = None
    port: Port | None = None
    username: Username | None = None
    password: SecretText | None = None
    host_key_sha256: HostKey | None = None
    forget_host_key: bool = False
    snmp: SnmpIn | None = None

    def changes(self) -> dict[str, Any]:
        fields = {"host": self.host, "port": self.port, "username": self.username, "secret": _secret(self.password)}
        given: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
        if self.host_key_sha256 is not None or self.forget_host_key:
            given["host_key_sha256"] = self.host_key_sha256
        return given


class DeviceOut(Out):
    device_id: str
    name: str
    host: str
    driver: str | None
    port: int
    username: str
    host_key_sha256: str | None
    snmp_version: str | None
    snmp_port: int | None
    created_at: Instant

    @classmethod
    def of(cls, device: Device) -> DeviceOut:
        return cls(
            device_id=device.device_id,
            name=device.name,
            host=device.host,
            driver=device.driver,
            port=device.port,
            username=device.username,
            host_key_sha256=device.host_key_sha256,
            snmp_version=device.snmp_version,
            snmp_port=device.snmp_port,
            created_at=device.created_at,
        )


class ObservedOut(Out):
    """What a device was read to have. `details` are its own words."""

    present: bool
    downstream_bps: int | None
    upstream_bps: int | None
    onu_serial: str | None
    pon_port: str | None
    interface: str | None
    subscriber_vlan: int | None
    details: dict[str, str]


class AttachmentOut(Out):
    """A device that carries the service, and what it was last read to have.

    Of kind "onu" it has a `pon_port` and an `onu_serial`, of kind "router" an `interface`.
    """

    kind: str
    device_id: str
    pon_port: str | None
    onu_serial: str | None
    interface: str | None
    subscriber_vlan: int
    observed: ObservedOut | None
    observed_at: Instant | None

    @classmethod
    def of(cls, stored: StoredAttachment) -> AttachmentOut:
        where, seen = stored.attachment, stored.observed
        observed = None if seen is None else ObservedOut(**{n: getattr(seen, n) for n in ObservedOut.model_fields})
        return cls(
            kind=where.kind,
            device_id=where.device_id,
            pon_port=where.port if isinstance(where, OnuAttachment) else None,
            onu_serial=where.onu_serial,
            interface=where.port if isinstance(where, RouterAttachment) else None,
            subscriber_vlan=where.subscriber_vlan,
            observed=observed,
            observed_at=stored.observed_at,
        )


class SessionChangeOut(Out):
    session_key: str
    profile_name: str
    requested_at: Instant
    result: str
    error_cause: int | None
    detail: str

    @classmethod
    def of(cls, change: SessionChange) -> SessionChangeOut:
        return cls(
            session_key=change.session_key,
            profile_name=change.profile_name,
            requested_at=change.requested_at,
            result=change.outcome.result,
            error_cause=change.outcome.error_cause,
            detail=change.outcome.detail,
        )


class ServiceOut(Out):
    """A service as desired and as last seen on each device that carries it, from the subscriber inwards.

    `standing`: pending, verified, mismatch, drift or failed. Each of the `differences` begins with a device's name.
    """

    service_id: str
    present: bool
    profile_name: str
    downstream_bps: int
    upstream_bps: int
    attachments: list[AttachmentOut]
    revision: int
    desired_at: Instant
    standing: str
    differences: list[str]
    last_error: str | None
    verified_at: Instant | None
    measure: str
    """What dunning takes of it on its devices: none, throttle, garden or suspend."""

    @classmethod
    def of(cls, stored: StoredService) -> ServiceOut:
        desired = stored.desired
        return cls(
            service_id=desired.service_id,
            present=desired.present,
            profile_name=desired.profile.name,
            downstream_bps=desired.profile.downstream_bps,
            upstream_bps=desired.profile.upstream_bps,
            attachments=[AttachmentOut.of(seen) for seen in stored.seen],
            revision=stored.revision,
            desired_at=stored.desired_at,
            standing=stored.standing.value,
            differences=list(stored.differences),
            last_error=stored.last_error,
            verified_at=stored.verified_at,
            measure=stored.restriction.measure.value,
        )


class ServiceDetailOut(ServiceOut):
    """One service, with what the NAS of its live sessions answered to the last change."""

    session_changes: list[SessionChangeOut]


class StepOut(Out):
    summary: str
    rendered: str


class PlanOut(Out):
    """What would be sent to one device, exactly, and what that changes."""

    device_id: str
    is_empty: bool
    steps: list[StepOut]
    diff: str

    @classmethod
    def of(cls, plan: Plan) -> PlanOut:
        steps = [StepOut(summary=step.summary, rendered=step.rendered) for step in plan.steps]
        return cls(device_id=plan.device_id, is_empty=plan.is_empty, steps=steps, diff=plan.diff)


class PlansOut(Out):
    plans: list[PlanOut]


class ServiceQuery(PageQuery):
    standing: Literal["pending", "verified", "mismatch", "drift", "failed"] | None = None


def endpoints(provisioning: ProvisioningService) -> list[Endpoint]:
    return [*_device_endpoints(provisioning), *_service_endpoints(provisioning)]


def _device_endpoints(provisioning: ProvisioningService) -> list[Endpoint]:
    async def register(call: Call) -> DeviceOut:
        body = call.body_as(DeviceIn)
        device_id = await provisioning.register_device(
            NewDevice(
                name=body.name,
                host=body.host,
                driver=body.driver,
                port=body.port,
                username=body.username,
                secret=_secret(body.password),
                host_key_sha256=body.host_key_sha256,
                snmp=body.snmp.access() if body.snmp else None,
            ),
            actor=call.actor,
        )
        return DeviceOut.of(await provisioning.devices.get(device_id))

    async def index(call: Call) -> Page:
        query = call.query_as(PageQuery)
        found = await provisioning.devices.page(query.last(str), query.rows)
        return Page.of(found, query, lambda device: (device.name,), DeviceOut.of)

    async def show(call: Call) -> DeviceOut:
        return DeviceOut.of(await provisioning.devices.get(DeviceId(call.path["device_id"])))

    async def change(call: Call) -> DeviceOut:
        body = call.body_as(DeviceChangeIn)
        device = await provisioning.change_device(
            DeviceId(call.path["device_id"]),
            body.changes(),
            snmp=body.snmp.access() if body.snmp else None,
            actor=call.actor,
        )
        return DeviceOut.of(device)

    one = "/devices/{device_id}"
    return [
        Endpoint(
            "POST",
            "/devices",
            scope="devices:write",
            handler=register,
            summary="Register a device",
            body=DeviceIn,
            returns=DeviceOut,
            status=201,
        ),
        Endpoint(
            "GET",
            "/devices",
            scope="devices:read",
            handler=index,
            summary="Registered devices",
            query=PageQuery,
            returns=DeviceOut,
            paged=True,
        ),
        Endpoint("GET", one, scope="devices:read", handler=show, summary="One device", returns=DeviceOut),
        Endpoint(
            "PATCH",
            one,
            scope="devices:write",
            handler=change,
            summary="Change how a device is reached",
            body=DeviceChangeIn,
            returns=DeviceOut,
        ),
    ]


def _service_endpoints(provisioning: ProvisioningService) -> list[Endpoint]:
    async def index(call: Call) -> Page:
        query = call.query_as(ServiceQuery)
        found = await provisioning.page(query.last(str), query.rows, query.standing)
        return Page.of(found, query, lambda stored: (stored.desired.service_id,), ServiceOut.of)

    async def show(call: Call) -> ServiceDetailOut:
        service_id = ServiceId(call.path["service_id"])
        stored = await provisioning.get(service_id)
        changes = await provisioning.session_changes(service_id)
        return ServiceDetailOut(
            **ServiceOut.of(stored).model_dump(),
            session_changes=[SessionChangeOut.of(change) for change in changes],
        )

    async def observe(call: Call) -> ServiceOut:
        return ServiceOut.of(await provisioning.observe(ServiceId(call.path["service_id"])))

    async def plan(call: Call) -> PlansOut:
        plans = await provisioning.plan(ServiceId(call.path["service_id"]))
        return PlansOut(plans=[PlanOut.of(plan) for plan in plans])

    one = "/services/{service_id}"
    return [
        Endpoint(
            "GET",
            "/services",
            scope="services:read",
            handler=index,
            summary="Services as desired and as last seen on their devices",
            query=ServiceQuery,
            returns=ServiceOut,
            paged=True,
        ),
        Endpoint(
            "GET",
            one,
            scope="services:read",
            handler=show,
            summary="One service with the speed changes asked of its sessions",
            returns=ServiceDetailOut,
        ),
        Endpoint(
            "POST",
            f"{one}/observe",
            scope="services:write",
            handler=observe,
            summary="Read the service from its devices now",
            returns=ServiceOut,
            problems=(502, 503),
        ),
        Endpoint(
            "GET",
            f"{one}/plan",
            scope="services:read",
            handler=plan,
            summary="What converging the service would send to its devices now, one after the other",
            returns=PlansOut,
            problems=(502, 503),
        ),
    ]


def _secret(text: str | None) -> Secret | None:
    return None if text is None else Secret(text)
