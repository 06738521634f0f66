"""Every vendor's Access-Accept as FreeRADIUS's client reads it, with dictionaries of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from controller.store.engine import Database
from radius.nas_registry import NasChange
from radius.vendors import reply
from tests.support.radclient import MISSING, RADCLIENT, radclient
from tests.support.radius import GOLD, SECRET, SERVICE, running_room

pytestmark = pytest.mark.skipif(RADCLIENT is None, reason=MISSING)

REQUEST = 'User-Name = "anna"\nUser-Password = "hunter2"\nMessage-Authenticator = 0x00\n'
EVERYWHERE = [
    "Framed-IP-Address = 100.64.0.7",
    "Framed-IPv6-Prefix = 2001:db8:7:1::/64",
    "Delegated-IPv6-Prefix = 2001:db8:700::/56",
    "Tunnel-Type:0 = VLAN",
    "Tunnel-Medium-Type:0 = IEEE-802",
    'Tunnel-Private-Group-Id:0 = "117"',
    "Session-Timeout = 86400",
    "Idle-Timeout = 900",
    "Framed-MTU = 1492",
]
OWN = {
    "accel-ppp": ['Filter-Id = "100000/20000"', 'Framed-IPv6-Pool = "v6"'],
    "cisco-ios-xe": [
        'Cisco-AVPair = "qos-policy-out=add-class(sub,(class-default),shape(100000000))"',
        'Cisco-AVPair = "ip:inacl=kids"',
    ],
    "cisco-ios-xr": ['Cisco-AVPair = "qos-policy-in=add-class(sub,(class-default),police(20000))"'],
    "huawei": ["Huawei-Input-Average-Rate = 20000000", "Huawei-Output-Average-Rate = 100000000", 'Filter-Id = "kids"'],
    "juniper": [
        'ERX-CoS-Shaping-Pmt-Type = "T02 100m"',
        'ERX-Ingress-Policy-Name = "gold-100"',
        'ERX-Service-Activate:1 = "kids"',
        'ERX-IPv6-Delegated-Pool-Name = "pd"',
    ],
    "mikrotik": [
        'Mikrotik-Rate-Limit = "20M/100M"',
        'Filter-Id = "kids.in"',
        'Mikrotik-Delegated-IPv6-Pool = "pd"',
    ],
    "nokia-sros": [
        'Alc-Subscriber-QoS-Override = "i:q:1:pir=20000"',
        'Alc-Subscriber-QoS-Override = "e:r:rate=100000"',
        'Alc-Delegated-IPv6-Pool = "pd"',
    ],
    "rfc": ['Framed-Pool = "v4"', 'Framed-IPv6-Pool = "v6"', 'Delegated-IPv6-Prefix-Pool = "pd"', 'Filter-Id = "kids"'],
    "strongswan": ['Framed-Pool = "v4"'],
    "ubiquiti": [],
    "wispr": ["WISPr-Bandwidth-Max-Up = 20000000", "WISPr-Bandwidth-Max-Down = 100000000"],
}


async def test_a2_every_vendor_is_understood_by_another_decoder(sqlite_database: Database, tmp_path: Path) -> None:
    assert set(OWN) == set(reply.VENDORS)
    async with running_room(sqlite_database, tmp_path) as running:
        room = running.room
        written = {"vlan": 117, "idle_timeout_s": 900, "upstream_filter": "kids"}
        await room.access.put_terms(
            SERVICE, written, ipv6_prefix="2001:db8:7:1::/64", delegated_prefix="2001:db8:700::/56", actor="user:test"
        )
        names = {"pool": "v4", "ipv6_pool": "v6", "delegated_pool": "pd"}
        mtu = {"reply_attributes": [{"name": "Framed-MTU", "value": "1492"}]}
        await room.access.put_offering(GOLD.name, names | mtu, actor="user:test")
        [nas] = await room.nas.list(after=None, limit=2)
        for name, own in OWN.items():
            await room.nas.change(nas.nas_id, NasChange(vendor=name), actor="user:test")
            answer = await asyncio.to_thread(radclient, room.listener.auth_port, "auth", REQUEST, SECRET.decode())
            lines = [line.strip() for line in answer.split("Received Access-Accept", 1)[1].splitlines()]
            assert [line for line in [*EVERYWHERE, *own] if line not in lines] == [], (name, answer)
