"""A thousand logins by every method, right and wrong in every way, against what they were made to be."""

from __future__ import annotations

import random

import pytest

from radius.authorization import mschap
from radius.authorization.line import MAC, line
from radius.authorization.mppe import MICROSOFT
from radius.protocol.authenticator import SharedSecret, chap_response
from radius.protocol.codes import ACCESS_ACCEPT, ACCESS_REJECT, Attr
from radius.protocol.mschap import NtPassword, challenge_hash, nt_hash
from radius.protocol.packet import Packet, attribute, vendor_attribute
from radius.protocol.server import AuthenticationServer
from tests.support.eap_login import EapLogin, md5_response, mschapv2_response
from tests.support.radius import SECRET, SOURCE, authentication_server, nas, subscriber

USERS = {f"user{number:03d}": f"pässword-{number}" for number in range(40)}
SHARED, WRONG_SECRET = SharedSecret(SECRET), SharedSecret(b"another secret")
STATION = b"0c:42:a1:00:ff:07"
AUTHENTICATOR = bytes(range(16))


def credentials(method: str, name: bytes, password: str, secret: SharedSecret, draw: random.Random) -> bytes:
    authenticator, octets = AUTHENTICATOR, password.encode()
    if method == "pap":
        return attribute(Attr.USER_PASSWORD, secret.hide(octets, authenticator))
    if method == "chap":
        challenge = draw.randbytes(16)
        answer = b"\x07" + chap_response(7, octets, challenge)
        return attribute(Attr.CHAP_PASSWORD, answer) + attribute(Attr.CHAP_CHALLENGE, challenge)
    proof = NtPassword(nt_hash(password))
    if method == "mschap":
        challenge = draw.randbytes(8)
        value, kind = b"\x07\x01" + bytes(24) + proof.response(challenge), mschap.RESPONSE
    else:
        challenge, peer = draw.randbytes(16), draw.randbytes(16)
        value = b"\x07\0" + peer + bytes(8) + proof.response(challenge_hash(peer, challenge, name))
        kind = mschap.RESPONSE_2
    return vendor_attribute(MICROSOFT, mschap.CHALLENGE, challenge) + vendor_attribute(MICROSOFT, kind, value)


def eap(server: AuthenticationServer, method: str, name: bytes, password: str) -> int:
    """The code of the last reply."""
    login = EapLogin(server, name)
    login.identify()
    assert login.request is not None
    if method == "eap-md5":
        login.respond(3, b"\x04")
        login.respond(4, md5_response(login.request, password.encode()))
    else:
        login.respond(26, mschapv2_response(login.request, name, password))
        login.respond(26, login.request.data[:1])
    assert login.reply is not None
    return login.reply.code


@pytest.mark.parametrize("seed", range(4))
def test_every_accept_and_reject_is_what_the_login_was_made_to_be(seed: int) -> None:
    draw = random.Random(seed)
    rows = [subscriber(name, password) for name, password in USERS.items()]
    server = authentication_server(nas(line_logins=(MAC,)), *rows, subscriber(), lines=(line(MAC, STATION),))
    for number in range(250):
        method = draw.choice(("pap", "chap", "mschap", "mschapv2", "eap-md5", "eap-mschapv2", "mac"))
        fault = draw.choice(("", "", "password", "user", "secret"))
        name, password = draw.choice(list(USERS.items()))
        name = "stranger" if fault == "user" else name
        password = password + draw.choice(("x", " ", "\u00e4")) if fault == "password" else password
        expected = ACCESS_REJECT if fault else ACCESS_ACCEPT
        if method.startswith("eap"):
            if fault != "secret":
                assert eap(server, method, name.encode(), password) == expected, (number, method, fault)
            continue
        secret = WRONG_SECRET if fault == "secret" else SHARED
        if method == "mac":
            claimed = b"0c:42:a1:00:ff:08" if fault == "user" else STATION
            said = b"wrong" if fault == "password" else claimed
            hidden = attribute(Attr.USER_PASSWORD, secret.hide(said, AUTHENTICATOR))
            body = attribute(Attr.USER_NAME, claimed) + hidden + attribute(Attr.CALLING_STATION_ID, claimed)
        else:
            body = attribute(Attr.USER_NAME, name.encode()) + credentials(method, name.encode(), password, secret, draw)
        datagram = secret.access_request(number, AUTHENTICATOR, body)
        source = (SOURCE[0], 1_024 + number)
        verdict = server.receive(datagram, source, 0.0)
        if fault == "secret":
            assert verdict.reply is None, (number, method)
            continue
        assert verdict.reply is not None
        assert Packet.decode(verdict.reply).code == expected, (number, method, fault, verdict)
        again = server.receive(datagram, source, 1.0)
        assert (again.result, again.reply) == ("duplicate", verdict.reply), "octet by octet"
