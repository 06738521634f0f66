"""Reply attributes by name: right ones are encoded as their type says, wrong ones are refused with what was meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.app import questions
from controller.domain.errors import RuleError
from radius.protocol import dictionary, lookup
from radius.protocol.templates import MAX_TEMPLATE_OCTETS, encode_named, encode_template
from tests.support.vendor_replies import lines_of


@pytest.mark.parametrize(
    ("name", "value", "octets"),
    [
        ("Framed-MTU", "1492", "0c06000005d4"),
        ("Session-Timeout", "0x10", "1b0600000010"),
        ("Service-Type", "Framed-User", "060600000002"),
        ("Framed-IP-Netmask", "255.255.255.255", "0906ffffffff"),
        ("Reply-Message", "Grüße", "12094772c3bcc39f65"),
        ("Framed-IPv6-Prefix", "2001:db8::/64", "6114004020010db8000000000000000000000000"),
        ("DNS-Server-IPv6-Address", "2001:db8::53", "a91220010db8000000000000000000000053"),
        ("Framed-Interface-Id", "0:0:0:1", "600a0000000000000001"),
        ("Event-Timestamp", "2026-01-01T00:00:00+00:00", "37066955b900"),
        ("Tunnel-Type", "VLAN", "40060000000d"),
        ("Tunnel-Type:1", "VLAN", "40060100000d"),
        ("Tunnel-Private-Group-Id", "117", "5105313137"),
        ("Tunnel-Private-Group-Id:1", "117", "510601313137"),
        ("Cisco-AVPair", "ip:vrf-id=blue", "1a1600000009011069703a7672662d69643d626c7565"),
        ("ERX-Service-Activate:2", "iptv", "1a0d0000130a41070269707476"),
        ("Mikrotik-Wireless-VLANID", "7", "1a0c00003a8c1a0600000007"),
        ("ADSL-Agent-Circuit-Id", "0x0102", "1a0a00000de901040102"),
    ],
)
def test_a_value_is_encoded_as_the_type_of_its_attribute(name: str, value: str, octets: str) -> None:
    assert encode_named(name, value).hex() == octets


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("Mikrotik-Rate-Limits", "1M/1M", "did you mean Mikrotik-Rate-Limit"),
        ("WISPr-Bandwith-Max-Down", "1", "did you mean WISPr-Bandwidth-Max-Down"),
        ("Framed-MTU", "big", "is no integer"),
        ("Framed-MTU", "4294967296", "is no integer"),
        ("Framed-MTU", "-1", "is no integer"),
        ("Service-Type", "Framed", "is no integer or one of Login-User"),
        ("Framed-IP-Address", "100.64.0", "is no ipaddr"),
        ("Framed-IPv6-Prefix", "2001:db8::1/64", "is no ipv6prefix"),
        ("Filter-Id", "x" * 254, "does not fit"),
        ("Filter-Id", "", "does not fit"),
        ("Cisco-AVPair", "x" * 248, "does not fit"),
        ("Tunnel-Type:32", "VLAN", "a tag is at most 31"),
        ("Tunnel-Preference:1", "16777216", "three octets"),
        ("Framed-Pool:1", "x", "takes no tag"),
        ("Tunnel-Password:1", "secret", "no template can carry"),
        ("Class", "mine", "the server's own"),
        ("Message-Authenticator", "0x00", "the server's own"),
        ("State", "0x00", "the server's own"),
    ],
)
def test_what_a_nas_would_ignore_in_silence_is_refused_in_words(name: str, value: str, words: str) -> None:
    with pytest.raises(RuleError, match=words):
        encode_named(name, value)


def test_a_template_is_bounded_and_keeps_its_order() -> None:
    lines = [{"name": "Reply-Message", "value": "b"}, {"name": "Filter-Id", "value": "a"}]
    assert encode_template(lines).hex() == "1203620b0361"
    with pytest.raises(RuleError, match=str(MAX_TEMPLATE_OCTETS)):
        encode_template([{"name": "Reply-Message", "value": "x" * 200}] * 8)


@given(st.sampled_from(sorted(dictionary.load().attributes)), st.text(max_size=40), st.integers(0, 40))
def test_any_name_with_any_text_is_encoded_or_refused_and_nothing_else(name: str, value: str, tag: int) -> None:
    try:
        encoded = encode_named(f"{name}:{tag}" if tag else name, value)
    except RuleError:
        return
    (label, _), = lines_of(encoded)  # fmt: skip
    assert label.split(":")[0] == name


def test_no_two_attributes_of_the_dictionaries_share_a_number() -> None:
    seen: dict[tuple[int, int], str] = {}
    for name in dictionary.load().attributes:
        assert seen.setdefault(dictionary.number(name), name) == name
    assert dictionary.load().skipped_attributes == set()


@pytest.mark.parametrize(
    ("wanted", "first"),
    [
        ("framed-pool", "Framed-Pool"),
        ("44", "Acct-Session-Id"),
        ("14988.8", "Mikrotik-Rate-Limit"),
        ("mikrotik:8", "Mikrotik-Rate-Limit"),
        ("Huawei", "Huawei-Input-Burst-Size"),
        ("Framed-Poool", "Framed-Pool"),
        ("bandwidth-max", "WISPr-Bandwidth-Max-Up"),
    ],
)
def test_an_attribute_is_found_by_name_part_number_or_vendor(wanted: str, first: str) -> None:
    assert lookup.find(wanted)[0].name == first


def test_the_command_shows_vendor_number_type_and_values() -> None:
    assert questions.dictionary("Tunnel-Medium-Type").splitlines() == [
        "Tunnel-Medium-Type                   65  integer tagged",
        "         1  IPv4",
        "         2  IPv6",
        "         6  IEEE-802",
    ]
    assert questions.dictionary("4874.65") == "ERX-Service-Activate                 ERX 4874.65  string tagged"
    assert questions.dictionary("no-such-thing-at-all") == ""


def test_hidden_values_are_shown_to_nobody() -> None:
    lines = dict(lines_of(bytes.fromhex("1a0c00000137100680010203") + bytes.fromhex("45060180aabb")))
    assert lines == {"MS-MPPE-Send-Key": "***", "Tunnel-Password": "***"}
