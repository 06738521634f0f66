"""What a vendor profile is: how a plan's speed is written in its attributes, and read back from its accounting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from controller.domain.service import SpeedProfile


@dataclass(frozen=True, slots=True)
class SessionTerms:
    """Timers of a session, in seconds; 0 leaves the attribute out."""

    session_timeout_s: int
    idle_timeout_s: int
    interim_interval_s: int


@dataclass(frozen=True, slots=True)
class Rates:
    """bit/s in the subscriber's directions."""

    downstream_bps: int
    upstream_bps: int


@dataclass(frozen=True, slots=True)
class Vendor:
    """`speed_attributes` encodes a speed, in Access-Accept and CoA-Request alike.

    `rate_attribute` is the (vendor id, type) in which the NAS may report the rate it applies; `read_rate` reads its
    text and returns None for what it cannot read. `class_proves_speed` is what a NAS of this vendor is registered with
    unless an operator says otherwise: whether the Class of a CoA, coming back in accounting, is evidence enough of the
    new speed. A box that is documented to report its rates should be asked for them.

    `names_user`: CoA and Disconnect name the session by User-Name, not by Acct-Session-Id. A NAS matches every
    attribute it is sent, so only one is. `needs_session_timeout`: a CoA-Request without Session-Timeout is refused.
    """

    name: str
    speed_attributes: Callable[[SpeedProfile], bytes]
    rate_attribute: tuple[int, int] | None
    read_rate: Callable[[str], Rates | None] | None
    class_proves_speed: bool
    names_user: bool = False
    needs_session_timeout: bool = False
