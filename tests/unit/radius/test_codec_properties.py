"""Our codec and pyrad's, which share no code, must agree on every packet and every secret."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyrad import packet as pyrad_packet
from pyrad.dictionary import Dictionary

from controller.domain.errors import PeerError
from radius.protocol import dictionary
from radius.protocol.authenticator import SharedSecret, chap_response
from radius.protocol.codes import ACCESS_ACCEPT, ACCESS_REQUEST, ACCOUNTING_REQUEST, COA_REQUEST
from radius.protocol.packet import Packet, attribute, encode, encode_attributes, vendor_attribute
from radius.protocol.salted import conceal, fresh_salt, uncover

SECRETS = st.binary(min_size=1, max_size=100)
AUTHENTICATORS = st.binary(min_size=16, max_size=16)
PLAIN_TYPES = st.integers(1, 255).filter(lambda kind: kind not in (26, 79, 80))
ATTRIBUTES = st.lists(st.tuples(PLAIN_TYPES, st.binary(min_size=1, max_size=253)), max_size=12)
EMPTY = Dictionary()


@given(st.integers(0, 255), st.integers(0, 255), AUTHENTICATORS, ATTRIBUTES)
def test_decode_undoes_encode(code: int, identifier: int, authenticator: bytes, attributes: list) -> None:
    packet = Packet.decode(encode(code, identifier, authenticator, encode_attributes(attributes)))
    assert (packet.code, packet.identifier, packet.authenticator) == (code, identifier, authenticator)
    assert list(packet.attributes()) == attributes
    for kind, _ in attributes:
        values = [value for found, value in attributes if found == kind]
        assert packet.get(kind) == values[0]
        assert packet.get_all(kind) == values


@given(AUTHENTICATORS, ATTRIBUTES, SECRETS)
def test_pyrad_reads_what_we_encode(authenticator: bytes, attributes: list, secret: bytes) -> None:
    datagram = SharedSecret(secret).access_request(7, authenticator, encode_attributes(attributes))
    theirs = pyrad_packet.AuthPacket(secret=secret, dict=EMPTY, packet=datagram)
    assert theirs.verify_message_authenticator()
    assert theirs.id == 7
    for kind, _ in attributes:
        assert theirs[kind] == [value for found, value in attributes if found == kind]


@given(AUTHENTICATORS, ATTRIBUTES, SECRETS)
def test_we_read_what_pyrad_encodes(authenticator: bytes, attributes: list, secret: bytes) -> None:
    theirs = pyrad_packet.AuthPacket(secret=secret, id=9, authenticator=authenticator, dict=EMPTY)
    for kind, value in attributes:
        theirs.setdefault(kind, []).append(value)
    theirs.add_message_authenticator()
    packet = Packet.decode(theirs.RequestPacket())
    assert SharedSecret(secret).check_message_authenticator(packet)
    for kind, _ in attributes:
        assert packet.get_all(kind) == [value for found, value in attributes if found == kind]


@given(st.binary(min_size=1, max_size=128).filter(lambda p: not p.endswith(b"\0")), AUTHENTICATORS, SECRETS)
def test_hidden_passwords_agree(password: bytes, authenticator: bytes, secret: bytes) -> None:
    theirs = pyrad_packet.AuthPacket(secret=secret, authenticator=authenticator, dict=EMPTY)
    ours = SharedSecret(secret)
    hidden = ours.hide(password, authenticator)
    assert hidden == theirs.PwCrypt(password)
    assert ours.reveal(hidden, authenticator) == password


@given(st.integers(0, 255), st.binary(min_size=1, max_size=60), st.binary(min_size=1, max_size=60))
def test_chap_agrees(identifier: int, password: bytes, challenge: bytes) -> None:
    theirs = pyrad_packet.AuthPacket(secret=b"s", dict=dictionary.load())
    theirs[60] = [challenge]
    response = bytes((identifier,)) + chap_response(identifier, password, challenge)
    theirs[3] = [response]
    assert theirs.VerifyChapPasswd(password)


@given(st.integers(0, 255), ATTRIBUTES, SECRETS)
def test_accounting_authenticators_agree(identifier: int, attributes: list, secret: bytes) -> None:
    datagram = SharedSecret(secret).request(ACCOUNTING_REQUEST, identifier, encode_attributes(attributes), signed=False)
    theirs = pyrad_packet.AcctPacket(secret=secret, dict=EMPTY, packet=datagram)
    assert theirs.VerifyAcctRequest()
    SharedSecret(secret).check_request_authenticator(Packet.decode(datagram))


@given(st.integers(0, 255), ATTRIBUTES, SECRETS)
def test_coa_authenticators_agree(identifier: int, attributes: list, secret: bytes) -> None:
    datagram = SharedSecret(secret).request(COA_REQUEST, identifier, encode_attributes(attributes), signed=False)
    assert pyrad_packet.CoAPacket(secret=secret, dict=EMPTY, packet=datagram).VerifyCoARequest()


@given(AUTHENTICATORS, ATTRIBUTES.map(lambda found: [item for item in found if item[0] != 33]), SECRETS)
def test_replies_verify_with_pyrad(authenticator: bytes, attributes: list, secret: bytes) -> None:
    ours = SharedSecret(secret)
    datagram = ours.access_request(3, authenticator, b"")
    reply = ours.response(ACCESS_ACCEPT, Packet.decode(datagram), encode_attributes(attributes), signed=True)
    request = pyrad_packet.AuthPacket(secret=secret, id=3, authenticator=authenticator, dict=EMPTY)
    theirs = pyrad_packet.Packet(dict=EMPTY, secret=secret, packet=reply)
    assert request.VerifyReply(theirs, reply)
    assert theirs.verify_message_authenticator(secret=secret, original_authenticator=authenticator)
    ours.check_response(Packet.decode(reply), authenticator)


@given(SECRETS, st.binary(max_size=300))
def test_hmac_is_the_standard_librarys(secret: bytes, message: bytes) -> None:
    assert SharedSecret(secret).hmac(message) == hmac.digest(secret, message, hashlib.md5)


@given(AUTHENTICATORS, SECRETS, st.data())
def test_every_changed_bit_of_a_signed_request_is_seen(
    authenticator: bytes, secret: bytes, data: st.DataObject
) -> None:
    ours = SharedSecret(secret)
    datagram = bytearray(ours.access_request(1, authenticator, attribute(1, b"anna")))
    bit = data.draw(st.integers(0, len(datagram) * 8 - 1))
    datagram[bit // 8] ^= 1 << bit % 8
    try:
        signed = ours.check_message_authenticator(Packet.decode(bytes(datagram)))
    except PeerError:
        return
    # Only the type of Message-Authenticator itself can turn it into another attribute: then there is none.
    assert not signed


@given(st.integers(1, 2**24 - 1), st.integers(0, 255), st.binary(max_size=247))
def test_vendor_attributes_are_found(vendor_id: int, kind: int, value: bytes) -> None:
    other = vendor_attribute(vendor_id ^ 1, kind, b"other")
    packet = Packet.decode(encode(1, 1, bytes(16), other + vendor_attribute(vendor_id, kind, value)))
    assert packet.vendor(vendor_id, kind) == value


@given(st.binary(max_size=600))
def test_decode_raises_nothing_but_peer_error(datagram: bytes) -> None:
    try:
        packet = Packet.decode(datagram)
    except PeerError:
        return
    by_kind = [(kind, value) for kind in range(256) for value in packet.get_all(kind)]
    assert sorted(by_kind) == sorted(packet.attributes())
    assert all((packet.vendor(14988, kind) or b"") in datagram for kind in range(256))


def test_padding_behind_the_length_is_ignored() -> None:
    datagram = encode(ACCESS_REQUEST, 1, bytes(16), attribute(1, b"anna"))
    assert Packet.decode(datagram + b"padding").data == datagram


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"", "short"),
        (bytes(19), "short"),
        (bytes.fromhex("01000013") + bytes(16), "length"),
        (bytes.fromhex("01000015") + bytes(16), "length"),
        (bytes.fromhex("01000015") + bytes(17), "attribute-length"),
        (bytes.fromhex("01000016") + bytes(16) + b"\x01\x01", "attribute-length"),
        (bytes.fromhex("01000016") + bytes(16) + b"\x01\x03", "attribute-length"),
        (bytes.fromhex("01001001") + bytes(4093), "length"),
    ],
)
def test_malformed_packets_are_named(datagram: bytes, reason: str) -> None:
    with pytest.raises(PeerError) as error:
        Packet.decode(datagram)
    assert error.value.reason == reason


def test_an_integer_of_another_size_is_the_peers_fault() -> None:
    packet = Packet.decode(encode(4, 1, bytes(16), attribute(40, b"\0\0\1")))
    with pytest.raises(PeerError):
        packet.integer(40)
    assert packet.integer(41) is None


def test_an_empty_secret_is_refused() -> None:
    with pytest.raises(ValueError):
        SharedSecret(b"")


def test_a_secret_is_not_shown() -> None:
    assert "hunter2" not in repr(SharedSecret(b"hunter2"))


def test_names_and_numbers_come_from_the_dictionary() -> None:
    assert dictionary.number("Mikrotik-Rate-Limit") == (14988, 8)
    assert dictionary.name(46) == "Acct-Session-Time"
    assert dictionary.value_name("Acct-Status-Type", 2) == "Stop"
    assert dictionary.value_name("Acct-Status-Type", 99) == "99"


def test_a_described_packet_hides_what_is_secret() -> None:
    body = attribute(1, b"anna") + attribute(2, bytes(16)) + attribute(40, b"\0\0\0\2") + attribute(8, b"\x64\x40\0\7")
    lines = dictionary.describe(Packet.decode(encode(4, 1, bytes(16), body + vendor_attribute(14988, 8, b"1M/2M"))))
    assert lines == [
        ("User-Name", "anna"),
        ("User-Password", "***"),
        ("Acct-Status-Type", "Stop"),
        ("Framed-IP-Address", "100.64.0.7"),
        ("Mikrotik-Rate-Limit", "1M/2M"),
    ]


@given(st.binary(max_size=239), AUTHENTICATORS, SECRETS)
def test_pyrad_and_we_agree_on_salted_values(value: bytes, authenticator: bytes, secret: bytes) -> None:
    theirs = pyrad_packet.AuthPacket(secret=secret, authenticator=authenticator, dict=EMPTY)
    assert theirs.SaltDecrypt(conceal(value, fresh_salt(), secret, authenticator)) == value
    assert uncover(theirs.SaltCrypt(value), secret, authenticator) == value
