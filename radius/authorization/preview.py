"""What an Access-Accept would carry, shown to people before anybody logs in. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controller.domain.service import SpeedProfile
from radius.authorization import restriction, terms
from radius.authorization.plan import Defaults, Plan, ServiceTerms
from radius.protocol import dictionary
from radius.protocol.codes import ACCESS_ACCEPT
from radius.protocol.nas import Nas
from radius.protocol.packet import ZERO_AUTHENTICATOR, Packet, encode
from radius.vendors import reply
from radius.vendors.terms import Addresses


def attributes(row: Mapping[str, Any], offering: ServiceTerms, nas: Nas, defaults: Defaults) -> list[tuple[str, str]]:
    """(name, value) of each attribute, as `row` of radius_subscriber and the terms of its offering make them.

    Whether the login would be accepted is another question: hours and places are not asked about. An address out of
    one of our pools is chosen at the login; the name of its pool stands for it here.
    """
    profile = SpeedProfile(row["profile_name"], row["downstream_bps"], row["upstream_bps"])
    held = restriction.of_row(row)
    plan = Plan(profile, terms.stored(row["terms"]), row["enabled"], held.suspended, defaults, throttle=held.throttle)
    plan.settle(offering)
    own = Addresses(row["framed_ipv4"], row["ipv6_prefix"], row["delegated_prefix"])
    body = plan.encode(nas) + reply.subscriber_attributes(row["service_id"], plan.shown, own)
    return dictionary.describe(Packet.decode(encode(ACCESS_ACCEPT, 0, ZERO_AUTHENTICATOR, body)))
