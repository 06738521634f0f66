"""Peers that break the rules, outside and inside the tunnel: a PeerError or a Failure, never a traceback or Success."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.domain.errors import PeerError
from radius.authorization.eap import mschapv2, peap, peap_tlv, tls, ttls
from radius.authorization.eap.avp import Avp
from radius.authorization.eap.certificates import Certificates
from radius.authorization.eap.method import Continue, Failure, MethodFactory, Step, Success
from radius.authorization.eap.packet import PEAP, RESPONSE, TLS, TTLS, EapPacket
from tests.support.eap_peer import CONTEXT, TunnelPeer
from tests.support.pki import Authority, Issued, eap_directory
from tests.support.radius import directory, subscriber

OURS = Authority()
STRANGER = Authority("Somebody else's CA").issue("anna")


@pytest.fixture(scope="module")
def factories(tmp_path_factory: pytest.TempPathFactory) -> dict[int, MethodFactory]:
    certificates = Certificates(eap_directory(tmp_path_factory.mktemp("certificates") / "eap", OURS))
    find = directory(subscriber()).find
    inner = mschapv2.factory(find)
    return {
        TLS: tls.factory(find, certificates),
        PEAP: peap.factory(inner, certificates),
        TTLS: ttls.factory(find, inner, certificates),
    }


def peer(factories: dict[int, MethodFactory], kind: int, client: Issued | None = None) -> TunnelPeer:
    return TunnelPeer(factories[kind](CONTEXT), kind, client)


def _broken(body: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        return body[: rng.randrange(len(body))]
    changed = bytearray(body)
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


@pytest.mark.parametrize("kind", [TLS, PEAP, TTLS])
def test_no_broken_flight_makes_a_success_of_a_stranger(factories: dict[int, MethodFactory], kind: int) -> None:
    rng = random.Random(5216)
    ends: set[str] = set()
    for _ in range(150):
        attacker = peer(factories, kind, STRANGER)
        step: Step = factories[kind](CONTEXT).start()
        for _ in range(20):
            body = attacker.flights(step) if isinstance(step, Continue) and step.data else None
            if body is None:
                break
            for sent in (_broken(body, rng), body) if rng.random() < 0.5 else (body,):
                try:
                    step = attacker.send(sent)
                    break
                except PeerError as error:
                    ends.add(error.reason)
            if not isinstance(step, Continue):
                assert isinstance(step, Failure), step
                ends.add("failure")
                break
    assert "failure" in ends


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.binary(max_size=200), kind=st.sampled_from([PEAP, TTLS]))
def test_nothing_said_at_random_inside_the_tunnel_is_a_success(
    factories: dict[int, MethodFactory], text: bytes, kind: int
) -> None:
    talker = peer(factories, kind)
    assert talker.handshake() is None
    if kind == PEAP:
        assert talker.hear(talker.send(b"\0")) == b"\1", "asks for the identity"
    assert not isinstance(talker.say(text or b"\0"), Success)


@pytest.mark.parametrize(
    ("avps", "reason"),
    [
        ([Avp(2, b"hunter2")], "no User-Name"),
        ([Avp(1, b"anna"), Avp(1, b"nina"), Avp(2, b"hunter2")], "twice"),
        ([Avp(1, b"anna"), Avp(99, b"", vendor=9), Avp(2, b"hunter2")], "mandatory AVP 99"),
        ([Avp(1, b"anna")], "no method"),
        ([Avp(1, b"anna"), Avp(2, b"hunter2\0\0x")], "wrong password"),
        ([Avp(1, b"nobody"), Avp(2, b"hunter2")], "unknown user"),
        ([Avp(1, b"anna"), Avp(60, bytes(16)), Avp(3, bytes(17))], "not the tunnel's"),
        ([Avp(1, b"anna"), Avp(3, bytes(17))], "not the tunnel's"),
        ([Avp(1, b"anna"), Avp(11, bytes(16), 311), Avp(25, bytes(50), 311)], "not the tunnel's"),
        ([Avp(79, b"\2")], "EAP packet of 1 octets"),
    ],
)
def test_ttls_refuses_in_words(factories: dict[int, MethodFactory], avps: list[Avp], reason: str) -> None:
    talker = peer(factories, TTLS)
    assert talker.handshake() is None
    end = talker.say(b"".join(avp.encode() for avp in avps))
    assert isinstance(end, Failure)
    assert reason in end.reason
    assert "hunter2" not in end.reason


def test_ttls_takes_padding_and_an_optional_avp_that_nobody_knows(factories: dict[int, MethodFactory]) -> None:
    talker = peer(factories, TTLS)
    assert talker.handshake() is None
    said = [Avp(1, b"anna"), Avp(99, b"x", vendor=9, mandatory=False), Avp(2, b"hunter2".ljust(16, b"\0"))]
    end = talker.say(b"".join(avp.encode() for avp in said))
    assert isinstance(end, Success)
    assert end.identity == b"anna"
    assert len(end.msk) == 64
    assert repr(end.msk)[2:-1] not in repr(end)


def test_peap_never_ends_well_without_its_inner_method(factories: dict[int, MethodFactory]) -> None:
    """The result TLV is the last word, not the first."""
    for packet in (peap_tlv.result(peap_tlv.SUCCESS), b""):
        talker = peer(factories, PEAP)
        assert talker.handshake() is None
        talker.hear(talker.send(b"\0"))
        said = EapPacket(RESPONSE, 3, peap_tlv.EXTENSIONS, packet).encode() if packet else b"\3\1"
        assert isinstance(talker.say(said), Failure)


def test_a_peer_that_skips_the_handshake_is_refused(factories: dict[int, MethodFactory]) -> None:
    for kind in (TLS, PEAP, TTLS):
        talker = peer(factories, kind)
        talker.flights(factories[kind](CONTEXT).start())
        with pytest.raises(PeerError):
            talker.send(b"\0")
        assert not isinstance(talker.send(b"\0" + Avp(1, b"anna").encode() + Avp(2, b"hunter2").encode()), Success)


def test_eap_tls_tells_who_the_stranger_is_in_words(factories: dict[int, MethodFactory]) -> None:
    end = peer(factories, TLS, STRANGER).handshake()
    assert isinstance(end, Failure)
    assert "not issued by our CA" in end.reason
    end = peer(factories, TLS).handshake()
    assert isinstance(end, Failure)
    assert "certificate" in end.reason
