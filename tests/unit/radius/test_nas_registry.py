"""Secrets in rotation, networks as NAS, policy on Message-Authenticator and Proxy-State, and the audit list."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from controller.domain.clock import MovableClock, SystemClock
from controller.domain.errors import Conflict, PeerError, RuleError
from controller.domain.identity import NasId
from controller.domain.ports import Secret
from controller.store.engine import Database
from radius import member_routes
from radius.authorization.directory import Directory
from radius.coa import CoaClient
from radius.dynamic.reach import identity
from radius.follower import Follower, Registry
from radius.nas_registry import NasChange, NasService
from radius.ports import LiveSession
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import (
    ACCESS_ACCEPT,
    ACCESS_REJECT,
    ACCOUNTING_REQUEST,
    ACCOUNTING_RESPONSE,
    COA_ACK,
    COA_REQUEST,
    Attr,
)
from radius.protocol.duplicates import Duplicates, InFlight
from radius.protocol.nas import Nas, Rotation
from radius.protocol.packet import Packet, attribute, encode
from radius.protocol.server import (
    AccountingServer,
    AuthenticationServer,
    Decision,
    Deferred,
    DeferredVerdict,
    Verdict,
)
from radius.protocol.sources import Sources, member_id
from radius.reporting import Reporting
from radius.vendors import reply
from tests.support.api import api_client
from tests.support.radius import EPHEMERAL, FakeRecorder, authentication_server, nas, secret_box, subscriber

NEW, OLD = SharedSecret(b"the new secret of it"), SharedSecret(b"the old secret of it")
UNTIL = datetime(2026, 1, 1, tzinfo=UTC)
SOURCE = ("127.0.0.1", 40_000)


def rotating() -> Nas:
    return Rotation.between(nas(NEW.value), OLD, UNTIL)


def login(
    secret: SharedSecret, identifier: int, *, signed: bool, password: bytes = b"hunter2", more: bytes = b""
) -> bytes:
    authenticator = bytes([identifier]) * 16
    body = attribute(1, b"anna") + attribute(2, secret.hide(password, authenticator)) + more
    return secret.access_request(identifier, authenticator, body, signed=signed)


def code_of(verdict: Verdict, secret: SharedSecret, datagram: bytes) -> int:
    assert verdict.reply is not None, verdict
    reply = Packet.decode(verdict.reply)
    secret.check_response(reply, datagram[4:20])
    return reply.code


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("secret", [NEW, OLD])
def test_a_login_under_either_secret_is_answered_under_the_same(secret: SharedSecret, signed: bool) -> None:
    server = authentication_server(rotating(), subscriber())
    datagram = login(secret, 1, signed=signed)
    assert code_of(server.receive(datagram, SOURCE, 0.0), secret, datagram) == ACCESS_ACCEPT


def test_an_unsigned_reject_is_made_with_the_secret_last_seen() -> None:
    known = rotating()
    server = authentication_server(known, subscriber())
    server.receive(login(NEW, 1, signed=True), SOURCE, 0.0)
    datagram = login(NEW, 2, signed=False, password=b"wrong")
    assert code_of(server.receive(datagram, SOURCE, 0.0), NEW, datagram) == ACCESS_REJECT


def test_a_third_secret_is_nobodys() -> None:
    server = authentication_server(rotating(), subscriber())
    verdict = server.receive(login(SharedSecret(b"another"), 1, signed=True), SOURCE, 0.0)
    assert (verdict.result, verdict.reply) == ("message-authenticator", None)


async def test_a_deferred_login_is_answered_under_the_secret_that_opened_its_password() -> None:
    def decide(packet: Packet, found: Nas) -> Deferred:
        async def later() -> Decision:
            hidden = packet.get(Attr.USER_PASSWORD)
            assert hidden is not None
            right = found.secret.reveal(hidden, packet.authenticator) == b"hunter2"
            return Decision(ACCESS_ACCEPT if right else ACCESS_REJECT, b"", "accept" if right else "reject")

        return Deferred(later)

    for last in (NEW, OLD):
        known = rotating()
        server = AuthenticationServer({known.address: known}, decide, Duplicates())
        server.receive(login(last, 9, signed=True), SOURCE, 0.0)
        for secret in (NEW, OLD):
            datagram = login(secret, 1, signed=False)
            verdict = server.receive(datagram, (SOURCE[0], len(secret.value) + (secret is OLD)), 0.0)
            assert isinstance(verdict, DeferredVerdict)
            answered = server.answer(verdict, await verdict.decide(), SOURCE)
            assert code_of(answered, secret, datagram) == ACCESS_ACCEPT


@pytest.mark.parametrize("secret", [NEW, OLD])
def test_accounting_under_either_secret_is_answered_under_the_same(secret: SharedSecret) -> None:
    known = rotating()
    server = AccountingServer({known.address: known}, InFlight())
    datagram = secret.request(ACCOUNTING_REQUEST, 1, attribute(44, b"s") + attribute(40, b"\0\0\0\1"), signed=False)
    verdict = server.receive(datagram, SOURCE, 0.0)
    assert verdict.packet is not None
    assert verdict.nas is not None
    reply = Packet.decode(server.respond(verdict.packet, verdict.nas))
    secret.check_response(reply, datagram[4:20])
    assert reply.code == ACCOUNTING_RESPONSE


def registered(address: str, number: int, **changes: Any) -> Nas:
    return replace(nas(), nas_id=NasId(f"{number:032x}"), name=f"n{number}", address=address, **changes)


def test_the_longest_prefix_wins_and_a_host_is_before_every_network() -> None:
    sources = Sources()
    for number, address in enumerate(("10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "2001:db8::/32")):
        sources.put(registered(address, number))
    found = {address: sources[address].name for address in ("10.9.9.9", "10.1.9.9", "10.1.2.3", "2001:db8::1")}
    assert found == {"10.9.9.9": "n0", "10.1.9.9": "n1", "10.1.2.3": "n2", "2001:db8::1": "n3"}
    with pytest.raises(KeyError):
        sources["192.0.2.1"]


def test_boxes_of_a_network_are_different_nas() -> None:
    sources = Sources()
    sources.put(registered("10.0.0.0/8", 1))
    one, two = sources["10.0.0.1"], sources["10.0.0.2"]
    assert (one.address, two.address) == ("10.0.0.1", "10.0.0.2")
    assert one.nas_id == member_id(NasId(f"{1:032x}"), "10.0.0.1") != two.nas_id
    assert sources["10.0.0.1"] is one, "resolved once"


def test_a_disabled_host_stays_refused_inside_an_enabled_network() -> None:
    sources = Sources()
    sources.put(registered("10.0.0.0/8", 1))
    host = registered("10.0.0.5", 2, enabled=False)
    sources.put(host)
    with pytest.raises(KeyError):
        sources["10.0.0.5"]
    sources.drop(host)
    assert sources["10.0.0.5"].name == "n1"


def test_what_was_resolved_is_resolved_anew_after_a_change_and_never_grows_beyond_its_bound() -> None:
    sources = Sources(capacity=10)
    wide = registered("10.0.0.0/8", 1)
    sources.put(wide)
    for number in range(100):
        assert sources[f"10.0.1.{number}"].name == "n1"
    assert len(sources) <= 10
    sources.put(registered("10.0.1.0/24", 2))
    assert sources["10.0.1.99"].name == "n2"
    sources.drop(wide)
    with pytest.raises(KeyError):
        sources["10.200.0.1"]


def test_a_box_of_a_network_in_rotation_speaks_either_secret() -> None:
    sources = Sources()
    sources.put(replace(Rotation.between(registered("127.0.0.0/8", 1, secret=NEW), OLD, UNTIL)))
    server = AuthenticationServer(sources, lambda _packet, _nas: Decision(ACCESS_ACCEPT, b"", "accept"), Duplicates())
    for identifier, secret in enumerate((NEW, OLD)):
        datagram = login(secret, identifier, signed=True)
        assert code_of(server.receive(datagram, SOURCE, 0.0), secret, datagram) == ACCESS_ACCEPT


def test_cve_2024_3596_proxy_state_without_signature_is_dropped_where_limited() -> None:
    server = authentication_server(nas(limit_proxy_state=True), subscriber())
    state = attribute(Attr.PROXY_STATE, b"x")
    secret = nas().secret
    assert server.receive(login(secret, 1, signed=False, more=state), SOURCE, 0.0).result == "proxy-state-unsigned"
    assert server.receive(login(secret, 2, signed=True, more=state), SOURCE, 0.0).result == "accept"
    assert server.receive(login(secret, 3, signed=False), SOURCE, 0.0).result == "accept"


class Site:
    """A registry service on a database, without sockets."""

    def __init__(self, database: Database, directory: Path) -> None:
        self.clock = MovableClock(datetime(2026, 1, 1, tzinfo=UTC))
        self.registry = Registry()
        box = secret_box(directory)
        self.follower = Follower(database, box, self.registry, Directory(), clock=self.clock)
        self.service = NasService(database, self.clock, box, self.follower)

    async def register(self, address: str = "10.0.0.1", **values: Any) -> str:
        made = await self.service.register(
            **{"name": address, "address": address, "secret": Secret(OLD.value.decode()), "actor": "test"} | values
        )
        return made.nas_id


async def test_a_former_secret_ends_with_its_window(database: Database, tmp_path: Path) -> None:
    site = Site(database, tmp_path)
    nas_id = await site.register()
    change = NasChange(secret=Secret(NEW.value.decode()), secret_overlap_s=60)
    row = await site.service.change(nas_id, change, actor="test")
    assert row.former_until == site.clock.now() + timedelta(seconds=60)
    known = site.registry.by_address["10.0.0.1"]
    assert known.secret.value == NEW.value
    assert known.rotation is not None
    assert known.rotation.former.secret.value == OLD.value
    site.clock.move_to(row.former_until)
    site.registry.end_rotations(site.clock.now())
    assert site.registry.by_address["10.0.0.1"].rotation is None
    later = Site(database, tmp_path)
    later.clock.move_to(row.former_until)
    await later.follower.refresh_nas()
    assert later.registry.by_address["10.0.0.1"].rotation is None


async def test_a_leaked_secret_ends_at_once(database: Database, tmp_path: Path) -> None:
    site = Site(database, tmp_path)
    nas_id = await site.register()
    await site.service.change(nas_id, NasChange(secret=Secret("another one")), actor="test")
    await site.service.change(nas_id, NasChange(secret=Secret("a third"), secret_overlap_s=0), actor="test")
    assert site.registry.by_address["10.0.0.1"].rotation is None


async def test_another_change_in_the_window_keeps_both_secrets(database: Database, tmp_path: Path) -> None:
    site = Site(database, tmp_path)
    nas_id = await site.register()
    await site.service.change(nas_id, NasChange(secret=Secret(NEW.value.decode())), actor="test")
    await site.service.change(nas_id, NasChange(coa_port=1700), actor="test")
    rotation = site.registry.by_address["10.0.0.1"].rotation
    assert rotation is not None
    assert (rotation.current.secret.value, rotation.former.secret.value) == (NEW.value, OLD.value)


async def test_networks_are_registered_in_canonical_form_and_their_boxes_are_found_by_any_process(
    database: Database, tmp_path: Path
) -> None:
    site = Site(database, tmp_path)
    await site.register("10.1.0.0/16")
    with pytest.raises(RuleError):
        await site.register("10.1.2.0/16")
    with pytest.raises(Conflict):
        await site.register("10.1.0.0/16", name="twin")
    box = site.registry.by_address["10.1.2.3"]
    site.follower.members.seen(box)
    assert await site.follower.nas(box.nas_id) == box, "though it has only just reported"
    other = Site(database, tmp_path)
    found = await other.follower.nas(box.nas_id)
    assert found is not None
    assert (found.address, found.member_of) == ("10.1.2.3", box.member_of)
    async with api_client(member_routes.endpoints(other.follower.members), scopes={"radius:read"}) as api:
        (shown,) = (await api.get(f"/nas/{box.member_of}/boxes")).json()["items"]
        assert (shown["nas_id"], shown["address"], shown["said"]) == (box.nas_id, "10.1.2.3", "")
        assert (await api.get(f"/nas/{'f' * 32}/boxes")).json()["items"] == []
    assert await other.follower.nas(NasId("f" * 32)) is None


class _Keeps(FakeRecorder):
    """Whom records were put down to."""

    def __init__(self) -> None:
        super().__init__()
        self.nas: list[Nas] = []

    def submit(self, packet: Packet, nas: Nas, received_us: int, respond: Callable[[], None]) -> None:
        self.nas.append(nas)


async def test_nas_behind_a_proxy_are_told_apart_and_found_by_any_process(database: Database, tmp_path: Path) -> None:
    site = Site(database, tmp_path)
    await site.register("10.1.0.0/16")
    proxy, recorder = site.registry.by_address["10.1.2.3"], _Keeps()
    reporting = Reporting(site.follower.members, recorder)

    def sent(*attributes: bytes) -> Nas:
        packet = Packet.decode(encode(ACCOUNTING_REQUEST, 0, bytes(16), b"".join(attributes)))
        reporting.submit(packet, proxy, 0, lambda: None)
        return recorder.nas[-1]

    state = attribute(Attr.PROXY_STATE, b"any")
    one, two = (attribute(Attr.NAS_IDENTIFIER, name) for name in (b"bng-1", b"bng-2"))
    address = attribute(Attr.NAS_IP_ADDRESS, bytes((192, 0, 2, 1)))
    assert sent(one, address) is proxy
    assert sent(state) is proxy
    first, second = sent(state, one, address), sent(address, two, state)
    assert sent(address, one, attribute(Attr.PROXY_STATE, b"other")) is first
    assert len({proxy.nas_id, first.nas_id, second.nas_id}) == 3
    theirs = sent(state, attribute(126, b"1isp.example"), one, address)
    assert theirs.nas_id not in {first.nas_id, second.nas_id}

    await site.follower.members.write(site.clock.now())
    other = Site(database, tmp_path)
    found = await other.follower.nas(second.nas_id)
    assert found is not None
    assert (found.address, found.member_of, found.names) == ("10.1.2.3", proxy.member_of, address + two)
    async with api_client(member_routes.endpoints(other.follower.members), scopes={"radius:read"}) as api:
        shown = (await api.get(f"/nas-boxes/{second.nas_id}")).json()
        assert (shown["registered_nas_id"], shown["said"]) == (proxy.member_of, "192.0.2.1 bng-2")
        assert (await api.get(f"/nas-boxes/{'f' * 32}")).status_code == 404
    session = LiveSession("k", second.nas_id, b"7", "anna", None, None, None, None, None)
    kind = reply.vendor("rfc")
    assert identity(kind, session, b"", found.names) == attribute(Attr.ACCT_SESSION_ID, b"7") + address + two


async def test_the_identity_of_a_certificate_is_canonical_and_belongs_to_one(
    database: Database, tmp_path: Path
) -> None:
    site = Site(database, tmp_path)
    await site.register("10.0.0.1", tls_identity="dns:BNG1.example.net")
    with pytest.raises(Conflict):
        await site.register("10.0.0.2", tls_identity="dns:bng1.example.net")
    with pytest.raises(RuleError):
        await site.register("10.0.0.2", tls_identity="bng1.example.net")
    found = site.registry.by_identity(["sha256:00", "dns:bng1.example.net"])
    assert found is not None
    assert found.address == "10.0.0.1"


async def test_the_audit_list_names_weaknesses_and_what_to_do(database: Database, tmp_path: Path) -> None:
    site = Site(database, tmp_path)
    await site.register("10.0.0.1")
    await site.register("10.0.0.2", limit_proxy_state=True, secret=Secret("short"))
    await site.register("10.0.0.3", require_message_authenticator=True)
    site.registry.by_address["10.0.0.1"].seen.signed = True
    first, second = await site.service.weak()
    assert "CVE-2024-3596" in first.weaknesses[1]
    assert (first.requests_seen, first.advice.partition(":")[0]) == ("signed", "set require_message_authenticator")
    assert [words.partition(" is ")[2] for words in second.weaknesses[1:]] == ["shorter than 16 octets (RFC 2865 §3)"]


class BoxWithOneSecret(asyncio.DatagramProtocol):
    """Answers CoA under the secret it has, and drops the rest, as RFC 5176 §2.3 says."""

    def __init__(self, secret: SharedSecret) -> None:
        self._secret = secret
        self.dropped = 0

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        packet = Packet.decode(data)
        try:
            self._secret.check_request_authenticator(packet)
        except PeerError:
            self.dropped += 1
            return
        self._transport.sendto(self._secret.response(COA_ACK, packet, b"", signed=False), addr)


@pytest.mark.parametrize("secret", [NEW, OLD])
async def test_coa_reaches_a_nas_that_has_either_secret(secret: SharedSecret) -> None:
    loop = asyncio.get_running_loop()
    transport, box = await loop.create_datagram_endpoint(lambda: BoxWithOneSecret(secret), ("127.0.0.1", 0))
    try:
        known = replace(nas(NEW.value), coa_port=transport.get_extra_info("sockname")[1])
        outcome = await CoaClient(EPHEMERAL, SystemClock()).send(
            Rotation.between(known, OLD, UNTIL), COA_REQUEST, attribute(44, b"s")
        )
    finally:
        transport.close()
    assert outcome.result == "ack"
    assert box.dropped <= 1
