"""The driver of OLTs of the BBF model: reads, plans, and changes them by candidate, validate and confirmed commit.

    lock ─ discard-changes ─ edit-config ─ validate ─ commit(confirmed) ─ read and compare ─ commit ─ unlock

Until the second commit the device goes back by itself: when the session breaks, when the time-out ends, or when what
was read back is not what was sent.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from lxml import etree

from controller.domain.errors import PermanentDeviceError, TemporaryDeviceError
from controller.domain.ports import DeviceEndpoint
from controller.domain.service import AttachedService, ObservedService, Plan
from drivers.bbf_olt import parse
from drivers.bbf_olt.model import GEM, IF, SHAPING, TM, XPON, Element, Key, Names, downstream_profile, upstream_profile
from drivers.bbf_olt.plan import plan
from drivers.bbf_olt.render import BbfOltSettings, selection
from drivers.errors import DeviceRefused
from drivers.transport.netconf import NetconfSession, NetconfTransport

REQUIRED = (":candidate", ":confirmed-commit:1.1", ":validate:1.1")

_ANSWERS = "answers"
_TOPOLOGY = (
    {f"{{{IF}}}interfaces": {f"{{{IF}}}interface": {f"{{{XPON}}}channel-termination": None}}},
    {f"{{{IF}}}interfaces": {f"{{{IF}}}interface": {f"{{{XPON}}}channel-pair": None}}},
)


class BbfOltDriver:
    """ServiceDriver (controller.domain.ports) for TR-385 OLTs."""

    def __init__(self, transport: NetconfTransport, settings: BbfOltSettings) -> None:
        self._transport = transport
        self._settings = settings

    async def observe(self, device: DeviceEndpoint, service: AttachedService) -> ObservedService:
        """Read what the OLT's running configuration has for `service`."""
        answers = await self._transport.run(device, lambda session: _read(session, service))
        return self._observed(answers, service)

    def plan(self, device: DeviceEndpoint, desired: AttachedService, observed: ObservedService) -> Plan:
        """Pure. `observed` must come from this driver's `observe` with the same service."""
        answers = parse.unpack(observed.driver_state[_ANSWERS])
        found = parse.reading(answers, desired.service_id, _profiles(answers, desired))
        return plan(device.name, desired, found, self._settings)

    async def apply(self, device: DeviceEndpoint, desired: AttachedService, plan: Plan) -> None:
        """Carry out `plan`: the device is changed and confirmed, or as it was."""
        if plan.is_empty:
            return
        operations = [etree.fromstring(step.rendered.encode()) for step in plan.steps]

        def as_planned(answers: list[Element]) -> bool:
            return self.plan(device, desired, self._observed(answers, desired)).is_empty

        await self._transport.run(
            device, lambda session: _change(session, operations, desired, as_planned, self._settings.confirm_timeout_s)
        )

    @staticmethod
    def _observed(answers: list[Element], service: AttachedService) -> ObservedService:
        found = parse.reading(answers, service.service_id, _profiles(answers, service))
        return parse.observed(found, service.service_id, {_ANSWERS: parse.pack(answers)})


def _profiles(answers: list[Element], service: AttachedService) -> set[Key]:
    """The profiles that the service has, and those it wants."""
    return _wanted(service) | parse.profiles_of(answers, service.service_id)


def _wanted(service: AttachedService) -> set[Key]:
    if not service.present:
        return set()
    return {upstream_profile(service.profile.upstream_bps), downstream_profile(service.profile.downstream_bps)}


def _read(session: NetconfSession, service: AttachedService) -> list[Element]:
    """Two reads: the service's own objects with the PON ports, then its profiles.

    Of a profile that it is about to leave, also who else uses it: only then may that answer be long.
    """
    own = session.get_config(selection(Names.of(service.service_id).all, _TOPOLOGY))
    profiles = _profiles([own], service)
    if not profiles:
        return [own]
    users = [_users_of(profile) for profile in sorted(profiles - _wanted(service))]
    return [own, session.get_config(selection(sorted(profiles), users))]


def _users_of(profile: Key) -> dict[str, object]:
    """A filter for everything that refers to `profile`."""
    if profile.kind == "shaper-profile":
        return {
            f"{{{IF}}}interfaces": {
                f"{{{IF}}}interface": {f"{{{TM}}}tm-root": {f"{{{SHAPING}}}shaper-name": profile.name}}
            }
        }
    reference = {f"{{{GEM}}}traffic-descriptor-profile-ref": profile.name}
    return {f"{{{GEM}}}xpongemtcont": {f"{{{GEM}}}tconts": {f"{{{GEM}}}tcont": reference}}}


def _change(
    session: NetconfSession,
    operations: list[Element],
    desired: AttachedService,
    as_planned: Callable[[list[Element]], bool],
    confirm_timeout_s: int,
) -> None:
    session.require(*REQUIRED)
    session.lock()
    pending = False
    try:
        session.discard()
        for operation in operations:
            session.rpc(operation)
        session.validate()
        session.commit_confirmed(confirm_timeout_s)
        pending = True
        if not as_planned(_read(session, desired)):
            raise DeviceRefused(f"{session.device.name}: read back something else than was committed; rolled back")
        session.commit()
    except (TemporaryDeviceError, PermanentDeviceError):
        _undo(session, pending)
        raise
    session.unlock()


def _undo(session: NetconfSession, pending: bool) -> None:
    """Leave the device as it was. What cannot be said any more, it does itself when the session ends."""
    with suppress(TemporaryDeviceError, PermanentDeviceError):
        if pending:
            session.cancel_commit()
        session.discard()
        session.unlock()
