"""Logins without a password: by MAC address, circuit or port, where a NAS was registered for it, and nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.errors import RuleError
from radius.authorization.line import CIRCUIT, KINDS, MAC, PORT, REMOTE, Line, line, mac
from radius.protocol.authenticator import SharedSecret, chap_response
from radius.protocol.codes import ACCESS_ACCEPT, Attr
from radius.protocol.packet import Packet, attribute, integer_attribute, vendor_attribute
from radius.protocol.server import Verdict
from tests.support.radius import SECRET, SOURCE, authentication_server, nas, subscriber

SHARED = SharedSecret(SECRET)
AUTHENTICATOR = bytes(range(16))
ADDRESS = b"0c:42:a1:00:ff:07"
STATION = attribute(Attr.CALLING_STATION_ID, b"0C-42-A1-00-FF-07")
CIRCUIT_ID = vendor_attribute(3561, 1, b"olt-1/1/1/4:0.100")
NAS = "n" * 32
LINES = (
    line(MAC, ADDRESS),
    line(CIRCUIT, b"olt-1/1/1/4:0.100"),
    line(REMOTE, b"cpe-77", NAS),
    line(PORT, b"ether5", NAS),
)


def login(
    body: bytes,
    *,
    lines: tuple[Line, ...] = LINES,
    allowed: tuple[str, ...] = KINDS,
    signed: bool = True,
    secret: SharedSecret = SHARED,
    **changes: object,
) -> tuple[Verdict, Packet | None]:
    server = authentication_server(nas(line_logins=allowed), subscriber(**changes), lines=lines)
    verdict = server.receive(secret.access_request(1, AUTHENTICATOR, body, signed=signed), SOURCE, 0.0)
    return verdict, None if verdict.reply is None else Packet.decode(verdict.reply)


def named(name: bytes = ADDRESS, password: bytes | None = None, secret: SharedSecret = SHARED) -> bytes:
    hidden = b"" if password is None else attribute(Attr.USER_PASSWORD, secret.hide(password, AUTHENTICATOR))
    return attribute(Attr.USER_NAME, name) + hidden


@pytest.mark.parametrize(
    "spelling",
    [b"0c:42:a1:00:ff:07", b"0C-42-A1-00-FF-07", b"0c42.a100.ff07", b"0C42A100FF07", b"0c42a1-00ff07"],
)
def test_every_usual_spelling_of_a_mac_address_is_the_same_line(spelling: bytes) -> None:
    assert mac(spelling) == b"0c42a100ff07"
    _, reply = login(named(spelling, spelling) + STATION)
    assert reply is not None
    assert reply.code == ACCESS_ACCEPT
    assert reply.get(Attr.USER_NAME) == b"anna", "the NAS accounts under the name of the service"


@pytest.mark.parametrize("name", [b"0c42a100ff0", b"0c:42:a1:00:ff:0g", b"0c:42:a1-00:ff:07", b"0c42a100ff07 ", b""])
def test_what_is_nearly_a_mac_address_is_none(name: bytes) -> None:
    assert mac(name) is None


def test_another_mac_address_is_refused() -> None:
    other = b"0c:42:a1:00:ff:08"
    verdict, _ = login(named(other, other) + attribute(Attr.CALLING_STATION_ID, other))
    assert verdict.result == "reject"
    assert "no line of this NAS" in verdict.reason


@pytest.mark.parametrize("station", [b"", attribute(Attr.CALLING_STATION_ID, b"0c:42:a1:00:ff:08")])
def test_a_mac_login_from_another_station_is_refused(station: bytes) -> None:
    assert login(named(ADDRESS, ADDRESS) + station)[0].result == "reject"


def test_a_mac_login_with_a_wrong_password_is_refused() -> None:
    assert "neither empty nor the address" in login(named(ADDRESS, b"hunter2") + STATION)[0].reason
    assert login(named(ADDRESS, b"") + STATION)[0].result == "accept"
    chap = b"\x01" + chap_response(1, ADDRESS, AUTHENTICATOR)
    assert login(named() + attribute(Attr.CHAP_PASSWORD, chap) + STATION)[0].result == "accept"
    assert login(named() + attribute(Attr.CHAP_PASSWORD, bytes(17)) + STATION)[0].result == "reject"


def test_another_shared_secret_is_never_accepted() -> None:
    wrong = SharedSecret(b"wrong")
    for password in (b"", ADDRESS):
        body = named(ADDRESS, password, wrong) + STATION
        assert login(body, secret=wrong)[0].result == "message-authenticator"
        assert login(body, secret=wrong, signed=False)[0].result == "reject"
    verdict, _ = login(named() + STATION + CIRCUIT_ID, secret=wrong, signed=False)
    assert verdict.reason.startswith("a line login must be signed")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (CIRCUIT, CIRCUIT_ID),
        (CIRCUIT, vendor_attribute(9, 1, b"connect=x") + vendor_attribute(9, 1, b"circuit-id-tag=olt-1/1/1/4:0.100")),
        (REMOTE, vendor_attribute(3561, 2, b"cpe-77")),
        (REMOTE, vendor_attribute(9, 1, b"remote-id-tag=cpe-77")),
        (PORT, attribute(Attr.NAS_PORT_ID, b"ether5")),
        (MAC, STATION),
    ],
)
def test_each_kind_is_served_where_the_nas_may_name_it_and_nowhere_else(kind: str, body: bytes) -> None:
    assert login(named() + body, allowed=(kind,))[0].result == "accept"
    others = tuple(other for other in KINDS if other != kind)
    assert login(named() + body, allowed=others)[0].result == "reject"
    assert login(named() + body, allowed=())[0].result == "reject"


def test_the_circuit_says_whose_line_it_is_before_the_mac_address_does() -> None:
    lines = (line(MAC, ADDRESS), line(CIRCUIT, b"olt-1/1/1/4:0.100", "m" * 32))
    assert login(named() + CIRCUIT_ID + STATION, lines=lines, allowed=(CIRCUIT,))[0].result == "reject", (
        "a circuit of another NAS"
    )
    assert login(named() + CIRCUIT_ID + STATION, lines=lines)[0].result == "accept"


def test_ppp_is_left_to_passwords() -> None:
    ppp = integer_attribute(Attr.FRAMED_PROTOCOL, 1)
    assert login(named() + STATION + ppp)[0].result == "reject"
    assert login(attribute(Attr.USER_NAME, b"nobody") + CIRCUIT_ID + ppp)[0].result == "reject"


def test_a_known_user_with_a_wrong_password_is_not_let_in_by_its_line() -> None:
    assert login(named(b"anna", b"wrong") + CIRCUIT_ID)[0].reason == "wrong password"


def test_a_service_that_is_not_enabled_has_no_line_either() -> None:
    assert login(named() + CIRCUIT_ID, enabled=False)[0].reason == "the service is not enabled"


@pytest.mark.parametrize(
    ("kind", "value", "nas_id", "why"),
    [
        ("dlci", b"1", "", "known: circuit"),
        (MAC, b"no address", "", "no MAC address"),
        (PORT, b"ether5", "", "name it"),
        (CIRCUIT, b"", "", "1 to 247 octets"),
    ],
)
def test_what_cannot_be_a_line_is_refused_when_it_is_written(kind: str, value: bytes, nas_id: str, why: str) -> None:
    with pytest.raises(RuleError, match=why):
        line(kind, value, nas_id)


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_no_octets_are_accepted_or_end_in_a_traceback(name: bytes, extra: bytes) -> None:
    body = attribute(Attr.USER_NAME, name) + attribute(Attr.VENDOR_SPECIFIC, (3561).to_bytes(4, "big") + extra)
    body += attribute(Attr.VENDOR_SPECIFIC, b"\0\0\0\x09\x01" + extra)
    verdict, _ = login(body + attribute(Attr.CALLING_STATION_ID, extra))
    assert verdict.result == "reject"
