"""Terms of a service as they are written down (JSON in its row, the API's words) and as logins use them.

    {"pool": "residential", "ipv6_pool": …, "delegated_pool": …, "vlan": 117,
     "upstream_filter": …, "downstream_filter": …, "session_timeout_s": 0, "idle_timeout_s": 900,
     "interim_interval_s": 600,
     "simultaneous_use": 1, "nas_ids": […], "nas_port_id": …, "calling_station_id": …,
     "hours": ["mo-fr 08:00-18:00"], "reply_attributes": [{"name": "Framed-MTU", "value": "1492"}]}

Every key may be absent. What cannot be is refused when it is saved, so that what is read is right.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from controller.domain.errors import RuleError
from radius.authorization.conditions import Conditions, Window, station
from radius.authorization.plan import PLAIN, ServiceTerms
from radius.protocol.templates import encode_template
from radius.vendors.terms import Filters, Grant, Pools

_NAMES = ("pool", "ipv6_pool", "delegated_pool", "upstream_filter", "downstream_filter", "nas_port_id")
_TEXTS = (*_NAMES, "calling_station_id")
_MAX_NAME_OCTETS = 200
"""A name goes into an attribute of 253 octets, some of them with words around it."""


def read(written: Mapping[str, Any]) -> ServiceTerms:
    """Raises RuleError for what cannot be: it names the key and says why."""
    for name in _TEXTS:
        value = written.get(name)
        if value is not None and not 0 < len(value.encode()) <= _MAX_NAME_OCTETS:
            raise RuleError(f"{name} has 1 to {_MAX_NAME_OCTETS} octets")
    vlan, limit = written.get("vlan"), written.get("simultaneous_use")
    if vlan is not None and not 1 <= vlan <= 4094:
        raise RuleError(f"vlan {vlan} is none: IEEE 802.1Q has 1 to 4094")
    if limit is not None and limit < 1:
        raise RuleError("simultaneous_use is at least 1; a service that may not log in is suspended or disabled")
    caller = written.get("calling_station_id")
    return ServiceTerms(
        Grant(
            session_timeout_s=_seconds(written, "session_timeout_s"),
            idle_timeout_s=_seconds(written, "idle_timeout_s"),
            interim_interval_s=_interim(written),
            pools=Pools(written.get("pool"), written.get("ipv6_pool"), written.get("delegated_pool")),
            filters=Filters(written.get("upstream_filter"), written.get("downstream_filter")),
            vlan=vlan,
            extra=encode_template(written.get("reply_attributes") or ()),
        ),
        Conditions(
            max_sessions=limit,
            nas_ids=tuple(written.get("nas_ids") or ()),
            nas_port_id=written.get("nas_port_id"),
            calling_station=None if caller is None else station(caller),
            hours=tuple(Window.parse(text) for text in written.get("hours") or ()),
        ),
    )


def write(written: Mapping[str, Any] | None) -> str | None:
    """As stored; None for terms that say nothing. Raises RuleError."""
    said = {name: value for name, value in (written or {}).items() if value is not None and value != []}
    if not said:
        return None
    read(said)
    return json.dumps(said, sort_keys=True)


@lru_cache(maxsize=4_096)
def stored(text: str | None) -> ServiceTerms:
    """From a row. Equal terms are one object: a hundred thousand rows of one text are read once."""
    return PLAIN if text is None else read(json.loads(text))


def _interim(written: Mapping[str, Any]) -> int | None:
    value = written.get("interim_interval_s")
    # "The value of Acct-Interim-Interval MUST NOT be smaller than 60" (RFC 2869 §5.16).
    if value is not None and not 60 <= value <= 86_400:
        raise RuleError("interim_interval_s is 60 to 86400 seconds")
    return None if value is None else int(value)


def _seconds(written: Mapping[str, Any], name: str) -> int | None:
    value = written.get(name)
    if value is None:
        return None
    if not 0 <= value <= 0xFFFF_FFFF:
        raise RuleError(f"{name} is 0 (none) to 4294967295 seconds")
    return int(value)
