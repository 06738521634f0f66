"""What is said inside the tunnels: AVPs of EAP-TTLS, TLVs and crypto binding of PEAP."""

from __future__ import annotations

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.errors import PeerError
from radius.authorization.eap import avp, peap_tlv
from radius.authorization.eap.avp import Avp

AVPS = st.lists(
    st.builds(
        Avp,
        code=st.integers(0, 2**32 - 1),
        data=st.binary(max_size=300),
        vendor=st.integers(0, 2**32 - 1),
        mandatory=st.booleans(),
    ),
    max_size=10,
)


@given(AVPS)
def test_avps_are_what_they_were(avps: list[Avp]) -> None:
    assert avp.decode(b"".join(one.encode() for one in avps)) == avps


def test_rfc5281_10_1_an_avp_is_padded_to_four_octets_and_its_length_is_not() -> None:
    assert Avp(1, b"anna1").encode() == bytes.fromhex("00000001 40 00000d") + b"anna1" + bytes(3)
    assert Avp(26, b"x", vendor=311).encode() == bytes.fromhex("0000001a c0 00000d 00000137") + b"x" + bytes(3)


def test_the_padding_of_the_last_avp_may_be_missing() -> None:
    assert avp.decode(Avp(1, b"anna1").encode()[:-3]) == [Avp(1, b"anna1")]


@pytest.mark.parametrize(
    "octets",
    [
        "00000001400000",  # seven octets
        "0000000140000007",  # shorter than its header
        "0000000140000009",  # longer than what is there
        "000000018000000b000001",  # a vendor that is cut off
        "0000000140000008" * 65,
    ],
)
def test_a_broken_avp_is_refused(octets: str) -> None:
    with pytest.raises(PeerError):
        avp.decode(bytes.fromhex(octets))


@given(st.binary(max_size=200))
def test_no_avps_raise_anything_but_peer_error_and_what_is_read_reads_the_same_again(octets: bytes) -> None:
    try:
        found = avp.decode(octets)
    except PeerError:
        return
    assert avp.decode(b"".join(one.encode() for one in found)) == found


@given(st.binary(max_size=200))
def test_no_tlvs_raise_anything_but_peer_error_and_a_binding_is_as_it_was_sent(octets: bytes) -> None:
    try:
        ending = peap_tlv.decode(octets)
    except PeerError:
        return
    assert ending.binding is None or ending.binding.octets in octets


def test_an_avp_shows_no_password() -> None:
    assert "hunter2" not in repr(Avp(2, b"hunter2"))


def _response(compound: peap_tlv.Compound, nonce: bytes = bytes(32)) -> bytes:
    """What a peer signs: SubType 1."""
    head = bytes.fromhex("800c0038 00000001") + nonce
    return head + hmac.digest(compound.mac_key, head + bytes(20) + b"\x19", "sha1")


def test_a_binding_made_with_the_same_keys_is_believed_and_no_other() -> None:
    ours = peap_tlv.Compound.derive(bytes(range(60)), b"k" * 64)
    ending = peap_tlv.decode(peap_tlv.result(peap_tlv.SUCCESS) + _response(ours))
    assert ending.result == peap_tlv.SUCCESS
    assert ending.binding is not None
    assert ours.proves(ending.binding)
    assert not peap_tlv.Compound.derive(bytes(60), b"k" * 64).proves(ending.binding), "another tunnel"
    assert not peap_tlv.Compound.derive(bytes(range(60)), b"l" * 64).proves(ending.binding), "another inner method"


def test_our_own_binding_sent_back_is_not_believed() -> None:
    ours = peap_tlv.Compound.derive(bytes(range(60)), b"k" * 64)
    ending = peap_tlv.decode(peap_tlv.result(peap_tlv.SUCCESS) + ours.request(b"n" * 32))
    assert ending.binding is not None
    assert not ours.proves(ending.binding)


@given(st.binary(min_size=1, max_size=3), st.integers(0, 59))
def test_a_changed_binding_is_not_believed(noise: bytes, at: int) -> None:
    ours = peap_tlv.Compound.derive(bytes(range(60)), b"k" * 64)
    genuine = _response(ours)
    changed = genuine[:at] + noise + genuine[at + len(noise) :]
    try:
        ending = peap_tlv.decode(peap_tlv.result(peap_tlv.SUCCESS) + changed)
    except PeerError:
        return
    assert ending.binding is None or not ours.proves(ending.binding) or changed == genuine


@pytest.mark.parametrize(
    "tlvs",
    [
        "",  # no Result
        "8003",  # cut off
        "800300020001 800300020001",  # twice
        "80030001 01",  # one octet
        "8003000400010000",  # four octets
        "800300020001 8009 0001 00",  # mandatory and unknown
        "800300020001 800c 0004 00000001",  # a binding of four octets
    ],
)
def test_broken_tlvs_are_refused(tlvs: str) -> None:
    with pytest.raises(PeerError):
        peap_tlv.decode(bytes.fromhex(tlvs))


def test_an_optional_tlv_that_nobody_knows_is_passed_over() -> None:
    assert peap_tlv.decode(bytes.fromhex("000900010a 800300020002")) == peap_tlv.Ending(peap_tlv.FAILURE, None)


def test_compound_keys_are_shown_by_no_repr() -> None:
    assert repr(peap_tlv.Compound(b"secret", b"secret")) == "Compound()"
