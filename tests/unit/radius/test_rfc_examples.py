"""The examples printed in the RFCs, octet for octet: decoded, verified, and encoded again from their parts.

What our server itself replies differs from the printed replies: it carries Message-Authenticator as first attribute,
which RFC 2865 does not know and CVE-2024-3596 made necessary. That difference is tested at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from radius.protocol.authenticator import SharedSecret, chap_response
from radius.protocol.codes import STATUS_SERVER, Attr
from radius.protocol.packet import Packet, encode, encode_attributes
from tests.support.radius import SOURCE, accounting_server, authentication_server, nas, subscriber

VECTORS = Path(__file__).parents[2] / "vectors" / "radius" / "rfc2865-5997.txt"


@dataclass
class Example:
    name: str
    secret: SharedSecret
    password: bytes | None
    request: bytes
    reply: bytes


def read_examples() -> list[Example]:
    examples = []
    for block in VECTORS.read_text().split("\nexample ")[1:]:
        fields: dict[str, str] = {}
        name, *lines = block.splitlines()
        key = ""
        for line in lines:
            if line and not line.startswith(" "):
                key, line = line.split(maxsplit=1)
            fields[key] = fields.get(key, "") + line
        password = None if fields["password"] == "-" else fields["password"].encode()
        request, reply = bytes.fromhex(fields["request"]), bytes.fromhex(fields["reply"])
        examples.append(Example(name, SharedSecret(fields["secret"].encode()), password, request, reply))
    return examples


EXAMPLES = read_examples()


def test_all_seven_printed_exchanges_are_here() -> None:
    assert len(EXAMPLES) == 7


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_request_decodes_and_encodes_to_the_same_octets(example: Example) -> None:
    packet = Packet.decode(example.request)
    again = encode(packet.code, packet.identifier, packet.authenticator, encode_attributes(packet.attributes()))
    assert again == example.request


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_credentials_of_the_request_are_those_the_rfc_names(example: Example) -> None:
    packet = Packet.decode(example.request)
    hidden, chap = packet.get(Attr.USER_PASSWORD), packet.get(Attr.CHAP_PASSWORD)
    if hidden is not None:
        assert example.secret.reveal(hidden, packet.authenticator) == example.password
        assert example.secret.hide(example.password or b"", packet.authenticator) == hidden
    elif chap is not None:
        assert chap[1:] == chap_response(chap[0], example.password or b"", packet.authenticator)
    else:
        assert example.secret.check_message_authenticator(packet)
        attributes = encode_attributes((k, v) for k, v in packet.attributes() if k != Attr.MESSAGE_AUTHENTICATOR)
        if not attributes:  # the printed verbose query has its Message-Authenticator last, ours comes first
            again = example.secret.signed_request(packet.code, packet.identifier, packet.authenticator, b"")
            assert again == example.request


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_reply_verifies_and_is_encoded_octet_for_octet(example: Example) -> None:
    request, reply = Packet.decode(example.request), Packet.decode(example.reply)
    example.secret.check_response(reply, request.authenticator)
    attributes = encode_attributes(reply.attributes())
    assert example.secret.response(reply.code, request, attributes, signed=False) == example.reply


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_our_server_answers_the_printed_request_with_a_signed_reply(example: Example) -> None:
    """Not the printed octets: Message-Authenticator stands first, and the attributes are our plan's."""
    known = nas(example.secret.value)
    request = Packet.decode(example.request)
    name = (request.get(Attr.USER_NAME) or b"nobody").decode()
    server = authentication_server(known, subscriber(name, (example.password or b"x").decode()))
    if request.code == STATUS_SERVER and "accounting-port" in example.name:
        answer = accounting_server(known).respond(request, known)
    else:
        verdict = server.receive(example.request, SOURCE, 0.0)
        assert verdict.reply is not None
        answer = verdict.reply
    reply = Packet.decode(answer)
    example.secret.check_response(reply, request.authenticator)
    assert reply.data[20] == Attr.MESSAGE_AUTHENTICATOR
    assert reply.code == (5 if "accounting-port" in example.name else 2)
