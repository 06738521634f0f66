"""Whose an address was over a stretch of time: by sessions that had it, and nobody's where that is not certain."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime

from controller.domain.identity import ServiceId
from controller.store.engine import Database
from radius.accounting.holders import SessionHolders, timeline
from radius.protocol.codes import Attr
from radius.protocol.packet import attribute
from tests.support.accounting import accounting
from tests.support.recorder import NOW, RecorderBench

T = int(NOW.timestamp())


def at(second: int) -> datetime:
    return datetime.fromtimestamp(T + second, UTC)


def us(second: int) -> int:
    return (T + second) * 1_000_000


def test_who_had_it_alone_is_its_owner_and_of_two_at_once_nobody() -> None:
    found = timeline([(us(0), us(60), "a"), (us(60), us(100), "b"), (us(90), None, "c")])
    assert found == [(at(0), "a"), (at(60), "b"), (at(90), None), (at(100), "c")]
    assert timeline([(us(0), None, "a"), (us(0), None, None)]) == [(at(0), None)]
    assert timeline([]) == []


async def test_an_address_is_the_services_whose_session_has_it_at_that_instant(database: Database) -> None:
    bench = RecorderBench(database)
    try:
        mine = attribute(Attr.FRAMED_IP_ADDRESS, ipaddress.IPv4Address("198.51.100.9").packed)
        network = ipaddress.IPv6Network("2001:db8:ab00::/56")
        more = mine + attribute(123, bytes((0, 56)) + network.network_address.packed[:7])
        await bench.send(accounting("start", b"1", at=T, more=more))
        await bench.send(accounting("stop", b"1", at=T + 600, seconds=600, more=more))
        await bench.send(accounting("start", b"2", at=T + 900, more=mine))
        service = (await bench.one(b"1")).service_id
        assert service is not None
        async with database.read() as conn:
            holders = SessionHolders()
            held = await holders.held(conn, "198.51.100.9", at(10), at(1000))
            assert held == [(at(0), ServiceId(service)), (at(600), None), (at(900), ServiceId(service))]
            assert (await holders.held(conn, "2001:db8:ab00:12::1", at(10), at(20)))[0] == (at(0), service)
            assert await holders.held(conn, "198.51.100.8", at(10), at(20)) == []
            assert await holders.held(conn, "no address", at(10), at(20)) == ()
    finally:
        await bench.stop()
