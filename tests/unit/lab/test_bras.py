"""The emulated BRAS against a RADIUS server made with pyrad."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyrad import packet as rp

from lab.bras import nas
from lab.bras.client import NoAnswer, RadiusClient, Timers
from lab.bras.codec import USER_NAME, BadPacket, access_request, accounting_request, decode
from lab.bras.nas import Bras, BrasSettings, Rejected
from lab.bras.session import Line
from tests.support.radius_peer import RadiusPeer, coa_request, reply_is_signed

SECRET = b"s3cret"
LINES = [
    Line("ada", "analytical", "02:00:00:00:00:01", 1, "ether1/vlan101"),
    Line("bob", "x" * 40, "02:00:00:00:00:02", 2, "ether1/vlan102", chap=True),
]


class Clock:
    def __init__(self) -> None:
        self.at = datetime(2026, 10, 1, 18, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
async def peer() -> AsyncIterator[RadiusPeer]:
    peer = await RadiusPeer(SECRET, {line.username: line.password for line in LINES}).start()
    yield peer
    peer.stop()


def make_bras(peer: RadiusPeer, tmp_path: Path, clock: Clock, **more: object) -> Bras:
    settings = BrasSettings("127.0.0.2", SECRET, peer.address, peer.address, tmp_path / "bras.json", **more)
    return Bras(settings, LINES, clock)


@pytest.fixture
async def clock() -> Clock:
    return Clock()


@pytest.fixture
async def bras(peer: RadiusPeer, tmp_path: Path, clock: Clock) -> AsyncIterator[Bras]:
    bras = make_bras(peer, tmp_path, clock)
    await bras.open()
    yield bras
    await bras.close()


GRANT = {
    "Mikrotik-Rate-Limit": "20M/100M",
    "Class": b"plan:fibre-100",
    "Acct-Interim-Interval": 600,
    "Framed-IP-Address": "100.127.0.9",
    "Session-Timeout": 86400,
}


@pytest.mark.parametrize("username", ["ada", "bob"])
async def test_pap_and_chap_sign_in_and_what_was_granted_is_applied(
    bras: Bras, peer: RadiusPeer, username: str
) -> None:
    peer.grant = GRANT
    session = await bras.login(username, wait_for_start=True)
    assert peer.problems == []
    assert (session.upstream_bps, session.downstream_bps) == (20_000_000, 100_000_000)
    assert (session.interim_s, session.timeout_s, session.framed_ip) == (600, 86400, "100.127.0.9")
    on, start = peer.accounting
    assert (on["Acct-Status-Type"], start["Acct-Status-Type"]) == ([7], [1])
    assert start["Acct-Session-Id"] == [session.acct_session_id]
    assert start["Class"] == [b"plan:fibre-100"]
    assert start["NAS-IP-Address"] == ["127.0.0.2"]
    assert peer.datagrams[-1][1][0] == "127.0.0.2"


async def test_a_wrong_password_is_rejected_with_the_servers_words(bras: Bras, peer: RadiusPeer) -> None:
    peer.passwords["ada"] = "other"
    with pytest.raises(Rejected, match="wrong password"):
        await bras.login("ada")
    assert bras.sessions == {}


async def test_a_reply_without_message_authenticator_counts_as_no_reply(
    peer: RadiusPeer, tmp_path: Path, clock: Clock
) -> None:
    client = RadiusClient("127.0.0.2", SECRET)
    client.open()
    peer.sign = False
    with pytest.raises(NoAnswer):
        await client.exchange(
            peer.address,
            lambda i: access_request(i, [(USER_NAME, b"ada")], SECRET, b"analytical", chap=False),
            Timers(irt_s=0.05, mrd_s=0.2),
        )
    assert client.counters.last_drop == "reply to Access-Request without Message-Authenticator"
    client.close()


async def test_totals_grow_with_gigawords_and_never_above_the_granted_rate(
    bras: Bras, peer: RadiusPeer, clock: Clock
) -> None:
    peer.grant = GRANT
    session = await bras.login("ada", wait_for_start=True)
    session.upstream_octets = 5 * 2**32 + 7
    start = clock.at
    clock.at += timedelta(hours=6)
    await bras.interim(session)
    record = peer.accounting[-1]
    upstream = record["Acct-Input-Gigawords"][0] * 2**32 + record["Acct-Input-Octets"][0]
    downstream = record["Acct-Output-Gigawords"][0] * 2**32 + record["Acct-Output-Octets"][0]
    assert upstream >= 5 * 2**32 + 7
    assert upstream == session.upstream_octets
    assert 0 < downstream <= 100_000_000 / 8 * 6 * 3600
    assert record["Acct-Session-Time"] == [6 * 3600]
    assert record["Event-Timestamp"] == [int((start + timedelta(hours=6)).timestamp())]


async def test_rfc5080_a_retransmission_is_the_same_datagram_from_the_same_port(peer: RadiusPeer) -> None:
    client = RadiusClient("127.0.0.2", SECRET, ports=3)
    client.open()
    peer.ignore_next = 2
    await client.exchange(
        peer.address, lambda i: accounting_request(i, [(44, b"1"), (40, b"\0\0\0\1")], SECRET), Timers(irt_s=0.02)
    )
    assert len(peer.datagrams) == 3
    assert len(set(peer.datagrams)) == 1
    assert client.counters.retransmitted == 2
    client.close()


async def test_many_requests_go_over_several_ports_and_all_are_answered(peer: RadiusPeer) -> None:
    client = RadiusClient("127.0.0.2", SECRET, ports=3, in_flight=600)
    client.open()

    def build(n: int):  # type: ignore[no-untyped-def]
        return lambda i: accounting_request(i, [(44, b"%d" % n), (40, b"\0\0\0\3")], SECRET)

    await asyncio.gather(*[client.exchange(peer.address, build(n), Timers(irt_s=1)) for n in range(1000)])
    assert {p["Acct-Session-Id"][0] for p in peer.accounting} == {str(n) for n in range(1000)}
    assert len({source for _, source in peer.datagrams}) == 3
    client.close()


async def test_a_second_start_goes_on_with_the_same_sessions(peer: RadiusPeer, tmp_path: Path, clock: Clock) -> None:
    first = make_bras(peer, tmp_path, clock)
    await first.open()
    session = await first.login("ada", wait_for_start=True)
    clock.at += timedelta(hours=1)
    await first.interim(session)
    await first.close()
    peer.accounting.clear()

    second = make_bras(peer, tmp_path, clock)
    await second.open()
    again = second.session_of("ada")
    assert again is not None
    assert again.to_json() == session.to_json()
    other = await second.login("bob", wait_for_start=True)
    assert other.acct_session_id != session.acct_session_id
    assert [p["Acct-Status-Type"] for p in peer.accounting] == [[1]], "no second Accounting-On"
    await second.close()


async def test_an_unacknowledged_stop_is_sent_again_by_the_next_start(
    peer: RadiusPeer, tmp_path: Path, clock: Clock
) -> None:
    first = make_bras(peer, tmp_path, clock)
    await first.open()
    session = await first.login("ada", wait_for_start=True)
    peer.ignore_next = 10**6
    ending = asyncio.ensure_future(first.logout("ada"))
    await peer.until(lambda: peer.datagrams[-1][0][0] == 4 and len(peer.datagrams) >= 4)
    ending.cancel()
    await first.close()
    peer.ignore_next = 0
    peer.accounting.clear()

    second = make_bras(peer, tmp_path, clock)
    await second.open()
    await peer.until(lambda: bool(peer.accounting))
    assert peer.accounting[0]["Acct-Status-Type"] == [2]
    assert peer.accounting[0]["Acct-Session-Id"] == [session.acct_session_id]
    await second.close()


async def test_a_session_timeout_ends_the_session_and_the_subscriber_dials_again(
    peer: RadiusPeer, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nas, "TICK_S", 0.01)
    peer.grant = {"Session-Timeout": 3600}
    bras = make_bras(peer, tmp_path, clock, redial_after_s=0.0, interim_s=600)
    await bras.open()
    session = await bras.login("ada", wait_for_start=True)
    living = asyncio.create_task(bras.run())
    clock.at += timedelta(seconds=700)
    await peer.until(lambda: peer.accounting[-1]["Acct-Status-Type"] == [3])
    clock.at += timedelta(seconds=2900)
    await peer.until(lambda: [p["Acct-Status-Type"] for p in peer.accounting[-2:]] == [[2], [1]])
    assert peer.accounting[-2]["Acct-Terminate-Cause"] == [5]
    again = bras.session_of("ada")
    assert again is not None
    assert again.acct_session_id != session.acct_session_id
    living.cancel()
    await bras.close()


# -- RFC 5176 -------------------------------------------------------------------------------------------------------


async def ask(bras: Bras, request: rp.CoAPacket, *, wait_s: float = 0.3) -> tuple[int, int | None] | None:
    """(code, Error-Cause) of the BRAS's answer to a datagram over the socket; None for silence."""
    loop = asyncio.get_running_loop()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.connect(("127.0.0.2", bras.coa_port))
    with sock:
        await loop.sock_sendall(sock, request.RequestPacket())
        try:
            data = await asyncio.wait_for(loop.sock_recv(sock, 4096), wait_s)
        except TimeoutError:
            return None
    assert reply_is_signed(data, request)
    cause = decode(data).number(101)
    return data[0], cause


async def test_coa_changes_rate_and_class_of_the_live_session(bras: Bras, peer: RadiusPeer, clock: Clock) -> None:
    peer.grant = GRANT
    session = await bras.login("ada", wait_for_start=True)
    request = coa_request(
        SECRET,
        rp.CoARequest,
        {
            "Acct-Session-Id": session.acct_session_id,
            "User-Name": "ada",
            "Mikrotik-Rate-Limit": "50000000/300000000",
            "Class": b"plan:fibre-300",
        },
    )
    assert await ask(bras, request) == (rp.CoAACK, None)
    assert (session.upstream_bps, session.downstream_bps) == (50_000_000, 300_000_000)
    clock.at += timedelta(minutes=5)
    await bras.interim(session)
    assert peer.accounting[-1]["Class"] == [b"plan:fibre-300"]


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"Acct-Session-Id": "nope"}, 503),
        ({"User-Name": "bob"}, 503),
        ({"Calling-Station-Id": "02:00:00:00:00:99"}, 503),
        ({"NAS-IP-Address": "127.0.0.1"}, 403),
        ({"Framed-Protocol": 1}, 401),
        ({"Service-Type": 17}, 405),
        ({"Mikrotik-Rate-Limit": "fast"}, 407),
    ],
)
async def test_what_does_not_agree_is_refused_with_its_error_cause_and_changes_nothing(
    bras: Bras, peer: RadiusPeer, change: dict[str, object], cause: int
) -> None:
    peer.grant = GRANT
    session = await bras.login("ada", wait_for_start=True)
    before = session.to_json()
    wanted: dict[str, object] = {"Acct-Session-Id": session.acct_session_id, "Mikrotik-Rate-Limit": "1M/1M"}
    assert await ask(bras, coa_request(SECRET, rp.CoARequest, wanted | change)) == (rp.CoANAK, cause)
    assert session.to_json() == before


async def test_a_coa_with_another_secret_or_an_old_timestamp_is_met_with_silence(
    bras: Bras, peer: RadiusPeer, clock: Clock
) -> None:
    session = await bras.login("ada", wait_for_start=True)
    wanted = {"Acct-Session-Id": session.acct_session_id, "Mikrotik-Rate-Limit": "1M/1M"}
    assert await ask(bras, coa_request(b"wrong", rp.CoARequest, wanted), wait_s=0.1) is None
    stale = wanted | {"Event-Timestamp": int(clock.at.timestamp()) - 301}
    assert await ask(bras, coa_request(SECRET, rp.CoARequest, stale), wait_s=0.1) is None
    assert session.downstream_bps == 1_000_000_000
    assert bras.dynauth.dropped == 2


async def test_rfc5080_a_repeated_coa_is_answered_from_the_cache_and_applied_once(bras: Bras, clock: Clock) -> None:
    session = await bras.login("ada")
    request = coa_request(
        SECRET, rp.CoARequest, {"Acct-Session-Id": session.acct_session_id, "Mikrotik-Rate-Limit": "1M/2M"}
    )
    datagram = request.RequestPacket()
    source = ("127.0.0.1", 5555)
    first = bras.dynauth.handle(datagram, source, clock.at)
    session.downstream_bps = 5
    assert bras.dynauth.handle(datagram, source, clock.at) == first
    assert session.downstream_bps == 5


async def test_disconnect_ends_the_session_with_a_stop(bras: Bras, peer: RadiusPeer) -> None:
    session = await bras.login("ada", wait_for_start=True)
    request = coa_request(SECRET, rp.DisconnectRequest, {"Acct-Session-Id": session.acct_session_id})
    assert await ask(bras, request) == (rp.DisconnectACK, None)
    await peer.until(lambda: peer.accounting[-1]["Acct-Status-Type"] == [2])
    assert peer.accounting[-1]["Acct-Terminate-Cause"] == [6]
    assert bras.session_of("ada") is None


async def test_faults_lie_the_way_real_equipment_does(bras: Bras, peer: RadiusPeer) -> None:
    peer.grant = GRANT
    session = await bras.login("ada", wait_for_start=True)
    wanted = {"Acct-Session-Id": session.acct_session_id, "Mikrotik-Rate-Limit": "50M/300M"}

    bras.dynauth.faults.ack_without_applying = True
    assert await ask(bras, coa_request(SECRET, rp.CoARequest, wanted)) == (rp.CoAACK, None)
    assert session.downstream_bps == 100_000_000
    bras.dynauth.faults.ack_without_applying = False

    bras.dynauth.faults.nak_after_half = True
    assert await ask(bras, coa_request(SECRET, rp.CoARequest, wanted)) == (rp.CoANAK, None)
    assert (session.upstream_bps, session.downstream_bps) == (1_000_000_000, 300_000_000)
    bras.dynauth.faults.nak_after_half = False

    bras.dynauth.faults.ignore = True
    assert await ask(bras, coa_request(SECRET, rp.CoARequest, wanted), wait_s=0.1) is None


def test_random_octets_raise_nothing_but_bad_packet() -> None:
    refused = 0
    for _ in range(5_000):
        try:
            decode(os.urandom(40))
        except BadPacket:
            refused += 1
    assert refused > 4_000
