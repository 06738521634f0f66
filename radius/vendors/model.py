"""What a vendor profile is: how the terms of a session are written in its attributes, and read back from accounting.

What a vendor does not do in its own way it does as the RFCs say (radius.vendors.standard).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from controller.domain.service import SpeedProfile
from radius.vendors import standard
from radius.vendors.terms import Filters, Garden, Pools


@dataclass(frozen=True, slots=True)
class Rates:
    """bit/s in the subscriber's directions."""

    downstream_bps: int
    upstream_bps: int


def _closed_by_filter(garden: Garden) -> bytes:
    return standard.filters(Filters(garden.name))


def _opened_by_filter(garden: Garden, filters: Filters) -> bytes:
    return standard.filters(filters if filters.upstream else Filters(garden.open_name, filters.downstream))


@dataclass(frozen=True, slots=True)
class Vendor:
    """`speed_attributes` encodes a speed, in Access-Accept and CoA-Request alike.

    `rate_attribute` is the (vendor id, type) in which the NAS may report the rate it applies; `read_rate` reads its
    text and returns None for what it cannot read. `class_proves_speed` is what a NAS of this vendor is registered with
    unless an operator says otherwise: whether the Class of a CoA, coming back in accounting, is evidence enough of the
    new speed. A box that is documented to report its rates should be asked for them.

    `volume_limit` has the NAS itself end a session after so many octets of both directions; not every NAS can.

    `pools`, `filters` and `vlan` encode what their names say. `garden` closes the walled garden around a session by
    CoA, and at login where there is no `garden_at_login`; `garden_opened` takes its part back by CoA, given the filters
    of the service itself. `garden_is_filter`: the garden stands where these filters would, and replaces them.

    `names_user`: CoA and Disconnect name the session by User-Name, not by Acct-Session-Id. A NAS matches every
    attribute it is sent, so only one is. `needs_session_timeout`: a CoA-Request without Session-Timeout is refused.
    `timeout_from_request`: the Session-Timeout of a CoA-Request counts from that on; else from the session's begin, as
    that of an Access-Accept does. RFC 5176 leaves it open.
    """

    name: str
    speed_attributes: Callable[[SpeedProfile], bytes]
    rate_attribute: tuple[int, int] | None = None
    read_rate: Callable[[str], Rates | None] | None = None
    class_proves_speed: bool = True
    pools: Callable[[Pools], bytes] = standard.pools
    filters: Callable[[Filters], bytes] = standard.filters
    vlan: Callable[[int], bytes] = standard.vlan
    volume_limit: Callable[[int], bytes] = standard.no_volume_limit
    garden: Callable[[Garden], bytes] = _closed_by_filter
    garden_at_login: Callable[[Garden], bytes] | None = None
    garden_opened: Callable[[Garden, Filters], bytes] = _opened_by_filter
    garden_is_filter: bool = True
    names_user: bool = False
    needs_session_timeout: bool = False
    timeout_from_request: bool = False


def kbps(rate_bps: int) -> int:
    """For devices that count in kbit/s (1,000 bit/s): rounded up, for 0 means no limit to most of them."""
    return -(-rate_bps // 1_000)


def u32(rate_bps: int) -> int:
    """A rate for an attribute of 32 bits. What they cannot count is their greatest number, never what is left of it."""
    return min(rate_bps, 0xFFFF_FFFF)
