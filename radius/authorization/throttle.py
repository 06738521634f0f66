"""What fair use leaves of a service's speed until its period ends or its volume is topped up."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import lru_cache

from controller.domain.service import SpeedProfile


@dataclass(frozen=True, slots=True)
class Throttle:
    """`profile` holds in place of the plan's; None: the volume is used up, and nothing is left."""

    profile: SpeedProfile | None


def write(throttle: Throttle | None) -> str | None:
    """As stored in the row of the login."""
    if throttle is None:
        return None
    return json.dumps(None if throttle.profile is None else asdict(throttle.profile), sort_keys=True)


@lru_cache(maxsize=1_024)
def stored(text: str | None) -> Throttle | None:
    """From a row. Equal texts are one object."""
    if text is None:
        return None
    said = json.loads(text)
    return Throttle(None if said is None else SpeedProfile(**said))
