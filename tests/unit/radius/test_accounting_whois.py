"""Who held an address at an instant: framed, delegated, changed and shared ones, to the second, with evidence."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from controller.domain.errors import RuleError
from controller.store.audit import audit
from controller.store.engine import Database
from radius.accounting.whois import Holder, Whois
from radius.accounting.whois_routes import endpoints
from radius.protocol.codes import Attr
from radius.protocol.nas import Nas
from radius.protocol.packet import attribute, integer_attribute, vendor_attribute
from tests.support.accounting import NAS, accounting
from tests.support.api import api_client
from tests.support.recorder import NOW, RecorderBench

T = int(NOW.timestamp())
SHARED = "203.0.113.7"


@pytest.fixture
async def bench(database: Database) -> AsyncIterator[RecorderBench]:
    made = RecorderBench(database)
    yield made
    await made.stop()


@pytest.fixture
def whois(bench: RecorderBench) -> Whois:
    return Whois(bench.database, bench.clock, bench.reader)


def at(second: int) -> datetime:
    return datetime.fromtimestamp(T + second, UTC)


def ipv4(text: str) -> bytes:
    return attribute(Attr.FRAMED_IP_ADDRESS, ipaddress.IPv4Address(text).packed)


def prefix(kind: int, text: str) -> bytes:
    network = ipaddress.IPv6Network(text)
    octets = network.network_address.packed[: (network.prefixlen + 7) // 8]
    return attribute(kind, bytes((0, network.prefixlen)) + octets)


def port_range(first: int, last: int, *, alloc: int | None = None, address: str = SHARED) -> bytes:
    """IP-Port-Range (RFC 8045 §3.1.2): an extended attribute with TLVs."""
    tlvs = attribute(1, bytes(4)) + attribute(3, ipaddress.IPv4Address(address).packed)
    tlvs += integer_attribute(9, first) + integer_attribute(10, last)
    if alloc is not None:
        tlvs += integer_attribute(8, alloc)
    return attribute(241, bytes((6,)) + tlvs)


async def names(whois: Whois, address: str, second: int, port: int | None = None) -> list[str]:
    return [holder.username for holder in await whois.ask(address, port, at(second), actor="user:ines")]


async def one(whois: Whois, address: str, second: int, port: int | None = None) -> Holder:
    (holder,) = await whois.ask(address, port, at(second), actor="user:ines")
    return holder


async def test_the_second_in_which_an_address_changes_hands_has_one_answer(bench: RecorderBench, whois: Whois) -> None:
    mine = ipv4("198.51.100.9")
    await bench.send(accounting("start", b"1", at=T, more=mine))
    await bench.send(accounting("stop", b"1", at=T + 600, seconds=600, more=mine))
    await bench.send(accounting("start", b"2", at=T + 600, user=b"berta", more=mine))
    assert await names(whois, "198.51.100.9", -1) == []
    assert await names(whois, "198.51.100.9", 0) == ["anna"]
    assert await names(whois, "198.51.100.9", 599) == ["anna"]
    assert await names(whois, "198.51.100.9", 600) == ["berta"]
    assert await names(whois, "198.51.100.8", 600) == []
    assert await names(whois, "::ffff:198.51.100.9", 600) == ["berta"]


async def test_the_answer_names_session_and_evidence_and_is_audited(bench: RecorderBench, whois: Whois) -> None:
    mine = ipv4("198.51.100.9")
    start = accounting("start", b"1", at=T, more=mine)
    stop = accounting("stop", b"1", at=T + 600, seconds=600, more=mine)
    await bench.send(accounting("start", b"0", at=T), start, accounting("start", b"2", at=T))
    await bench.send(accounting("interim", b"1", at=T + 300, seconds=300, more=mine), stop)
    (holder,) = await whois.ask("198.51.100.9", 443, at(7), actor="user:ines", reason="request 17/26")
    session = await bench.one(b"1")
    assert (holder.session_key, holder.acct_session_id) == (session.session_key, b"1")
    assert (holder.since, holder.until) == (at(0), at(600))
    assert [(e.record_id, e.kind, e.intact) for e in holder.evidence] == [(2, "start", True), (5, "stop", True)]
    records = {r.record_id: r for r in await bench.reader.records([2, 5])}
    assert [e.packet_sha256 for e in holder.evidence] == [records[n].packet_sha256.hex() for n in (2, 5)]
    async with bench.database.read() as conn:
        (entry,) = (await conn.execute(select(audit))).all()
    assert (entry.actor, entry.action, entry.reason) == ("user:ines", "whois.ask", "request 17/26")
    assert entry.object == "address:198.51.100.9 port 443"
    assert session.session_key in entry.after


async def test_ipv6_addresses_and_prefixes_are_found_by_what_lies_in_them(bench: RecorderBench, whois: Whois) -> None:
    more = (
        prefix(97, "2001:db8:0:7::/64")
        + prefix(123, "2001:db8:ab00::/56")
        + attribute(168, ipaddress.IPv6Address("2001:db8:ffff::5").packed)
        + attribute(96, bytes.fromhex("02aabbfffeccdd01"))
    )
    await bench.send(accounting("start", b"1", at=T))
    await bench.send(accounting("interim", b"1", at=T + 300, seconds=300, more=more))
    await bench.send(accounting("stop", b"1", at=T + 600, seconds=600))
    assert await names(whois, "2001:db8:0:7::1", 299) == [], "the delegation is known from the Interim on"
    for address in ("2001:db8:0:7:1:2:3:4", "2001:db8:ab00:12::1", "2001:db8:ffff::5"):
        assert await names(whois, address, 300) == ["anna"]
        assert await names(whois, address, 600) == []
    assert await names(whois, "2001:db8:0:8::1", 300) == []
    assert (await one(whois, "2001:db8:ab00:12::1", 300)).kind == "delegated-prefix"
    assert (await one(whois, "2001:db8:ab00:12::1", 300)).network == "2001:db8:ab00::/56"


async def test_t23_a_prefix_that_the_accept_gave_is_found_though_accounting_never_names_it(database: Database) -> None:
    own = prefix(Attr.DELEGATED_IPV6_PREFIX, "2001:db8:a000::/56")
    bench = RecorderBench(database, prefixes_of=lambda login: own if login == b"anna" else b"")
    whois = Whois(bench.database, bench.clock, bench.reader)
    await bench.send(accounting("start", b"1", at=T), accounting("start", b"2", at=T, user=b"berta"))
    assert await names(whois, "2001:db8:a000:1::1", 0) == ["anna"]
    # The NAS says it late, then that it is another one: what it reports goes before what was given.
    await bench.send(accounting("interim", b"1", at=T + 300, seconds=300, more=own))
    assert await names(whois, "2001:db8:a000:1::1", 301) == ["anna"]
    other = prefix(Attr.DELEGATED_IPV6_PREFIX, "2001:db8:b000::/56")
    await bench.send(accounting("interim", b"1", at=T + 600, seconds=600, more=other))
    assert await names(whois, "2001:db8:a000:1::1", 601) == []
    assert await names(whois, "2001:db8:a000:1::1", 599) == await names(whois, "2001:db8:b000::9", 601) == ["anna"]
    await bench.stop()


async def test_a_prefix_that_changes_within_a_session_belongs_to_its_time(bench: RecorderBench, whois: Whois) -> None:
    await bench.send(accounting("start", b"1", at=T, more=prefix(123, "2001:db8:a00::/56")))
    for n in range(1, 5):
        mine = "2001:db8:a00::/56" if n in (1, 4) else "2001:db8:b00::/56"
        await bench.send(accounting("interim", b"1", at=T + 300 * n, seconds=300 * n, more=prefix(123, mine)))
    await bench.send(accounting("stop", b"1", at=T + 1300, seconds=1300))
    a = [await names(whois, "2001:db8:a00::1", s) for s in (0, 599, 600, 1199, 1200, 1299, 1300)]
    b = [await names(whois, "2001:db8:b00::1", s) for s in (0, 599, 600, 1199, 1200)]
    assert a == [["anna"], ["anna"], [], [], ["anna"], ["anna"], []]
    assert b == [[], [], ["anna"], ["anna"], []]


async def test_an_ipv4_address_that_changes_within_a_session_belongs_to_its_time(
    bench: RecorderBench, whois: Whois
) -> None:
    await bench.send(accounting("start", b"1", at=T, more=ipv4("198.51.100.1")))
    await bench.send(accounting("interim", b"1", at=T + 300, seconds=300, more=ipv4("198.51.100.2")))
    again = RecorderBench(bench.database, writer="radius-2")  # knows the session from its rows alone
    await again.send(accounting("interim", b"1", at=T + 600, seconds=600, more=ipv4("198.51.100.2")))
    await again.stop()
    assert [await names(whois, "198.51.100.1", s) for s in (0, 299, 300, 700)] == [["anna"], ["anna"], [], []]
    assert [await names(whois, "198.51.100.2", s) for s in (0, 299, 300, 700)] == [[], [], ["anna"], ["anna"]]


async def test_rfc8045_a_port_of_a_shared_address_names_one_subscriber(bench: RecorderBench, whois: Whois) -> None:
    await bench.send(accounting("start", b"1", at=T, more=ipv4("100.64.0.1") + port_range(40_000, 41_023, alloc=1)))
    await bench.send(
        accounting("start", b"2", at=T, user=b"berta", more=ipv4("100.64.0.2") + port_range(41_024, 42_047, alloc=1))
    )
    # A second block for an hour, given back and given to the other one at once.
    block = (50_000, 51_023)
    await bench.send(accounting("interim", b"1", at=T + 600, seconds=600, more=port_range(*block, alloc=1)))
    await bench.send(accounting("interim", b"1", at=T + 900, seconds=900, more=port_range(*block, alloc=2)))
    more = port_range(*block, alloc=1)
    await bench.send(accounting("interim", b"2", at=T + 900, seconds=900, user=b"berta", more=more))
    assert await names(whois, SHARED, 10, 41_022) == ["anna"]
    assert await names(whois, SHARED, 10, 41_024) == ["berta"]
    assert await names(whois, SHARED, 10, 39_999) == []
    assert [await names(whois, SHARED, s, 50_500) for s in (599, 600, 899, 900)] == [[], ["anna"], ["anna"], ["berta"]]
    assert sorted(await names(whois, SHARED, 10)) == ["anna", "berta"], "without a port, all who shared it"
    assert await names(whois, "100.64.0.1", 10) == ["anna"]
    assert (await one(whois, SHARED, 10, 41_022)).first_port == 40_000


async def test_blocks_are_told_in_whatever_order(bench: RecorderBench, whois: Whois) -> None:
    start = accounting("start", b"1", at=T)
    given = accounting("interim", b"1", at=T + 600, seconds=600, more=port_range(5000, 5999, alloc=1))
    taken = accounting("interim", b"1", at=T + 900, seconds=900, more=port_range(5000, 5999, alloc=2))
    await bench.send(start, taken, given, accounting("interim", b"1", at=T + 1200, seconds=1200))
    assert [await names(whois, SHARED, s, 5500) for s in (599, 600, 899, 900)] == [[], ["anna"], ["anna"], []]


async def test_huawei_and_nokia_name_blocks_in_words_of_their_own(bench: RecorderBench, whois: Whois) -> None:
    huawei = Nas(NAS.nas_id, "me60", "127.0.0.2", NAS.secret, vendor="huawei")
    address = ipaddress.IPv4Address(SHARED).packed
    block = vendor_attribute(2011, 161, address) + vendor_attribute(2011, 162, (1024).to_bytes(4, "big"))
    block += vendor_attribute(2011, 163, (2047).to_bytes(4, "big"))
    await bench.send(accounting("start", b"1", at=T, more=block), nas=huawei)
    nokia = Nas(NAS.nas_id, "sr", "127.0.0.2", NAS.secret, vendor="nokia-sros")
    text = f"{SHARED} 2048..3071 router base nat-policy p1".encode()
    more = vendor_attribute(6527, 121, text)
    await bench.send(accounting("start", b"2", at=T, user=b"berta", more=more), nas=nokia)
    assert await names(whois, SHARED, 0, 2047) == ["anna"]
    assert await names(whois, SHARED, 0, 2048) == ["berta"]


async def test_what_went_to_the_history_is_still_known_and_still_proved(bench: RecorderBench, whois: Whois) -> None:
    more = ipv4("198.51.100.9") + prefix(123, "2001:db8:ab00::/56")
    await bench.send(accounting("start", b"1", at=T, more=more))
    await bench.send(accounting("stop", b"1", at=T + 600, seconds=600, more=more))
    bench.clock.advance(timedelta(hours=3))
    await bench.recorder.sweep()
    await bench.send_nothing()
    for address in ("198.51.100.9", "2001:db8:ab00::77"):
        holder = await one(whois, address, 599)
        assert (holder.username, holder.until, len(holder.evidence)) == ("anna", at(600), 2)
        assert await names(whois, address, 600) == []


async def test_a_session_that_was_lost_held_its_address_until_it_was_last_heard_of(
    bench: RecorderBench, whois: Whois
) -> None:
    await bench.send(accounting("start", b"1", at=T, more=ipv4("198.51.100.9")))
    await bench.send(accounting("interim", b"1", at=T + 300, seconds=300, more=ipv4("198.51.100.9")))
    bench.clock.advance(timedelta(hours=1))
    await bench.recorder.sweep()
    await bench.send_nothing()
    holder = await one(whois, "198.51.100.9", 299)
    assert (holder.is_provisional, holder.until) == (True, at(300))
    assert await names(whois, "198.51.100.9", 300) == []
    # Evidence that comes later opens the session again, and its address with it.
    await bench.send(accounting("interim", b"1", at=T + 3600, seconds=3600, more=ipv4("198.51.100.9")))
    assert await names(whois, "198.51.100.9", 1800) == ["anna"]


async def test_what_is_no_address_is_refused_in_words(whois: Whois) -> None:
    with pytest.raises(RuleError, match=r"'203.0.113' is no IPv4 or IPv6 address"):
        await whois.ask("203.0.113", None, NOW, actor="user:ines")


async def test_over_http_a_right_of_its_own_is_needed(bench: RecorderBench, whois: Whois) -> None:
    await bench.send(accounting("start", b"1", at=T, more=ipv4("198.51.100.9")))
    asked = {"address": "198.51.100.9", "port": 443, "at": "2026-11-01T12:00:00Z"}
    async with api_client(endpoints(whois), scopes={"radius:whois"}) as api:
        answer = (await api.get("/whois", params=asked)).json()
        assert [holder["username"] for holder in answer["holders"]] == ["anna"]
        assert answer["holders"][0]["session_id"] == "1"
        assert (await api.get("/whois", params={**asked, "address": "x.y"})).status_code == 422
    async with api_client(endpoints(whois), scopes={"radius:read"}) as api:
        assert (await api.get("/whois", params=asked)).status_code == 403
