"""Desired − read → the one edit-config that leads there, with a diff for people. Pure."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from controller.domain.service import AttachedService, Plan, Step
from drivers.bbf_olt.model import Element, Key, Names, Reading, lines, same
from drivers.bbf_olt.render import BbfOltSettings, edit_config, onu_of, service_objects, text_of
from drivers.errors import UnsuitableDevice


@dataclass(frozen=True, slots=True)
class _Change:
    key: Key
    before: Element | None
    after: Element | None

    @property
    def summary(self) -> str:
        verb = "remove" if self.after is None else "add" if self.before is None else "change"
        return f"{verb} {self.key}"


def plan(device_name: str, desired: AttachedService, found: Reading, settings: BbfOltSettings) -> Plan:
    """The steps for `desired`, none when the device is so already. Raises PermanentDeviceError where it cannot be."""
    changes = [
        _Change(key, found.objects.get(key), after)
        for key, after in _target(device_name, desired, found, settings).items()
        if not same(found.objects.get(key), after)
    ]
    if not changes:
        return Plan(desired.attachment.device_id, desired.service_id, (), "")
    operation = edit_config(
        [(c.key, c.after) for c in changes if c.after is not None], [c.key for c in changes if c.after is None]
    )
    step = Step("; ".join(c.summary for c in changes), text_of(operation))
    return Plan(desired.attachment.device_id, desired.service_id, (step,), _diff(changes))


def _target(
    device_name: str, desired: AttachedService, found: Reading, settings: BbfOltSettings
) -> dict[Key, Element | None]:
    """What each object shall be; None for those that shall not be. Profiles go when their last user goes."""
    target: dict[Key, Element | None] = {}
    if desired.present:
        pon_port = onu_of(desired).pon_port
        port = found.ports.get(pon_port)
        if port is None:
            known = ", ".join(sorted(found.ports)) or "none"
            raise UnsuitableDevice(f"{device_name} has no PON port {pon_port!r}; it has {known}")
        target.update(service_objects(desired, port, settings))
    else:
        target.update(dict.fromkeys(Names.of(desired.service_id).all))
    for key in found.objects:
        if key not in target and key not in found.used_by_others and key.name.startswith("headend-"):
            target[key] = None
    return target


def _diff(changes: list[_Change]) -> str:
    """Unified text, before → after, each object under its own name."""
    blocks: list[str] = []
    for change in changes:
        before = [] if change.before is None else list(lines(change.before))
        after = [] if change.after is None else list(lines(change.after))
        label = str(change.key)
        blocks += difflib.unified_diff(before, after, f"before: {label}", f"after: {label}", lineterm="", n=3)
    return "\n".join(blocks) + "\n"
