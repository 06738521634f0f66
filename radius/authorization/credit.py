"""A login of a prepaid service: a slice of its balance, told to the NAS as limits, or why there is none.

slice of octets     the vendor's limit of volume, where it has one
slice of seconds    Session-Timeout, unless a shorter one holds
nothing left        a reject that says so, or the walled garden, as the product has it
"""

from __future__ import annotations

from controller.domain.credit import FinalAction, NoCredit, Slice
from controller.domain.identity import ServiceId
from controller.domain.ports import CreditControl
from radius.authorization.directory import Subscriber
from radius.pools.owner import station_in
from radius.protocol.behind import nas_id_of
from radius.protocol.cause import Cause
from radius.protocol.codes import ACCESS_ACCEPT, ACCESS_REJECT, Attr
from radius.protocol.nas import Nas
from radius.protocol.packet import Packet, attribute, integer_attribute
from radius.protocol.server import Decision
from radius.vendors import reply
from radius.vendors.mark import service_in

USED_UP = "Your prepaid balance is used up. Top it up to go on."
"""What the subscriber is told (Reply-Message, RFC 2865 §5.18)."""
_EAP_MESSAGE = int(Attr.EAP_MESSAGE)


class Credit:
    """`control` reserves; what it raises leaves the login unanswered, and the NAS asks again."""

    def __init__(self, control: CreditControl) -> None:
        self._control = control

    async def ask(
        self, subscriber: Subscriber, packet: Packet, nas: Nas, accept: bytes, reject: bytes, decision: Decision
    ) -> Decision:
        """`decision` is an accept that holds if there is credit; `accept` and `reject` are the method's own part."""
        nas_id = str(nas_id_of(packet, nas))
        service_id = service_in(subscriber.attributes)
        found = await self._control.reserve(ServiceId(service_id), station_in(packet, nas_id), nas_id)
        if isinstance(found, Slice):
            return Decision(ACCESS_ACCEPT, _limited(decision.attributes, found, nas), decision.result)
        return _refused(subscriber, nas, found, accept, reject)


def _limited(attributes: bytes, found: Slice, nas: Nas) -> bytes:
    """An accept with the limits of a slice."""
    if found.octets is not None:
        attributes += reply.vendor(nas.vendor).volume_limit(found.octets)
    if found.seconds is None:
        return attributes
    told = [int.from_bytes(octets[2:], "big") for kind, octets in reply.walked(attributes) if kind == _TIMEOUT]
    ends_in_s = min([*told, found.seconds])
    return reply.without(attributes, (_TIMEOUT,)) + integer_attribute(Attr.SESSION_TIMEOUT, ends_in_s)


_TIMEOUT = int(Attr.SESSION_TIMEOUT)


def _refused(subscriber: Subscriber, nas: Nas, found: NoCredit, accept: bytes, reject: bytes) -> Decision:
    plan = subscriber.plan
    if found.action is FinalAction.GARDEN and plan.garden is not None:
        service_id = service_in(subscriber.attributes)
        # Class comes first among a subscriber's own, and names the garden in place of the plan.
        own = subscriber.attributes[subscriber.attributes[1] :]
        marked = reply.class_attribute(service_id, plan.garden.profile) + own
        told = _message(accept)
        return Decision(ACCESS_ACCEPT, accept + plan.encode(nas, walled=True) + marked + told, "accept", found.reason)
    return Decision(ACCESS_REJECT, reject + _message(reject), "reject", Cause.EXHAUSTED.because(found.reason))


def _message(beside: bytes) -> bytes:
    """Not beside EAP-Message: "The Reply-Message attribute SHOULD NOT be included in any RADIUS message containing an
    EAP-Message attribute" (RFC 3579 §2.6.5)."""
    if any(kind == _EAP_MESSAGE for kind, _ in reply.walked(beside)):
        return b""
    return attribute(Attr.REPLY_MESSAGE, USED_UP.encode())
