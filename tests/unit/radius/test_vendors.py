"""One service in the attributes of every kind of NAS: golden files, and the units and directions that go wrong.

A golden file in tests/vectors/radius/vendors names its source and shows each reply twice: decoded by the dictionaries,
and as octets. `python -m tests.support.vendor_replies` prints what the builder makes now, for a person to compare with
the source.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.domain.errors import RuleError
from controller.domain.service import SpeedProfile
from controller.web.office import forms
from radius.protocol.packet import Packet
from radius.protocol.templates import encode_template
from radius.vendors import reply
from radius.vendors.terms import Filters, Grant, Timers
from tests.support.vendor_replies import GOLD, lines_of, packet_of, replies

VECTORS = Path("tests/vectors/radius/vendors")
SILVER = SpeedProfile("silver-50", 50_000_000, 10_000_000)
EVERY = sorted(reply.VENDORS)


@pytest.mark.parametrize("name", EVERY)
def test_replies_are_those_of_the_golden_file(name: str) -> None:
    text = (VECTORS / f"{name}.txt").read_text()
    assert text.startswith("# ")
    assert "\n# Source: " in text, "a golden file says where its words come from"
    golden = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert golden == [line for line in replies(name).splitlines() if line]


def shared(name: str, profile: SpeedProfile) -> list[tuple[str, str]]:
    grant = Grant(filters=Filters("20", "21"), vlan=117)
    body = reply.shared_attributes(reply.vendor(name), profile, grant, Timers(86_400, 3_600, 300))
    return lines_of(body)


def test_what_a_template_says_is_not_said_twice() -> None:
    extra = encode_template([{"name": "Session-Timeout", "value": "60"}, {"name": "Filter-Id", "value": "more"}])
    grant = Grant(filters=Filters("kids", "kids"), extra=extra)
    body = reply.shared_attributes(reply.vendor("rfc"), SILVER, grant, Timers(86_400, 3_600, 300))
    said = lines_of(body)
    assert [value for name, value in said if name == "Session-Timeout"] == ["60"]
    assert [value for name, value in said if name == "Filter-Id"] == ["kids", "more"]
    assert dict(said)["Idle-Timeout"] == "3600"


RATE_ATTRIBUTES = {
    "accel-ppp": {"Filter-Id"},
    "cisco-ios-xe": {"Cisco-AVPair"},
    "cisco-ios-xr": {"Cisco-AVPair"},
    "huawei": {"Huawei-Input-Average-Rate", "Huawei-Output-Average-Rate"},
    "juniper": {"ERX-CoS-Shaping-Pmt-Type", "ERX-Ingress-Policy-Name"},
    "mikrotik": {"Mikrotik-Rate-Limit"},
    "nokia-sros": {"Alc-Subscriber-QoS-Override"},
    "rfc": set(),
    "strongswan": set(),
    "ubiquiti": {"UBNT-Data-Rate-DL", "UBNT-Data-Rate-UL"},
    "wispr": {"WISPr-Bandwidth-Max-Up", "WISPr-Bandwidth-Max-Down"},
}


@pytest.mark.parametrize("name", EVERY)
def test_a2_another_plan_changes_the_rate_attributes_and_nothing_else(name: str) -> None:
    before, after = shared(name, GOLD), shared(name, SILVER)
    assert len(before) == len(after)
    changed = {one[0] for one, other in zip(before, after, strict=True) if one != other}
    assert changed == RATE_ATTRIBUTES[name]


@pytest.mark.parametrize("name", EVERY)
def test_t20_a_coa_carries_every_rate_attribute_of_the_accept(name: str) -> None:
    accept, coa = shared(name, SILVER), lines_of(reply.plan_attributes(reply.vendor(name), SILVER, "s" * 32))
    assert set(lines_of(reply.speed(reply.vendor(name), SILVER))) <= set(coa) & set(accept)
    assert coa[-1][0] == "Class"


UNITS = {
    "accel-ppp": ["Filter-Id = 100000/20000"],
    "cisco-ios-xe": [
        "Cisco-AVPair = qos-policy-out=add-class(sub,(class-default),shape(100000000))",
        "Cisco-AVPair = qos-policy-in=add-class(sub,(class-default),police(20000000))",
    ],
    "cisco-ios-xr": [
        "Cisco-AVPair = qos-policy-out=add-class(sub,(class-default),shape(100000))",
        "Cisco-AVPair = qos-policy-in=add-class(sub,(class-default),police(20000))",
    ],
    "huawei": ["Huawei-Input-Average-Rate = 20000000", "Huawei-Output-Average-Rate = 100000000"],
    "juniper": ["ERX-CoS-Shaping-Pmt-Type = T02 100m", "ERX-Ingress-Policy-Name = gold-100"],
    "mikrotik": ["Mikrotik-Rate-Limit = 20M/100M"],
    "nokia-sros": ["Alc-Subscriber-QoS-Override = i:q:1:pir=20000", "Alc-Subscriber-QoS-Override = e:r:rate=100000"],
    "ubiquiti": ["UBNT-Data-Rate-DL = 100000000", "UBNT-Data-Rate-UL = 20000000"],
    "wispr": ["WISPr-Bandwidth-Max-Up = 20000000", "WISPr-Bandwidth-Max-Down = 100000000"],
}
"""100 Mbit/s to the subscriber and 20 Mbit/s from it: bit/s or kbit/s, and which of the two comes first."""


@pytest.mark.parametrize("name", sorted(UNITS))
def test_t10_every_vendor_gets_its_own_unit_and_direction(name: str) -> None:
    assert [f"{label} = {value}" for label, value in lines_of(reply.speed(reply.vendor(name), GOLD))] == UNITS[name]


@pytest.mark.parametrize(
    ("name", "profile", "expected"),
    [
        ("accel-ppp", SpeedProfile("odd", 1_536_500, 500), ["1537/1"]),
        ("nokia-sros", SpeedProfile("odd", 1_536_500, 500), ["i:q:1:pir=1", "e:r:rate=1537"]),
        ("mikrotik", SpeedProfile("odd", 1_536_500, 500), ["500/1536500"]),
        ("mikrotik", SpeedProfile("kilo", 1_536_000, 500_000), ["500k/1536k"]),
        ("juniper", SpeedProfile("odd", 1_536_500, 500), ["T02 1536500", "odd"]),
        ("huawei", SpeedProfile("xgs-10g", 10_000_000_000, 1_000_000_000), ["xgs-10g"]),
        ("huawei", SpeedProfile("most", 4_294_967_295, 1), ["1", "4294967295"]),
        ("wispr", SpeedProfile("xgs-10g", 10_000_000_000, 1_000_000_000), ["1000000000", "4294967295"]),
        ("ubiquiti", SpeedProfile("xgs-10g", 10_000_000_000, 1_000_000_000), ["4294967295", "1000000000"]),
    ],
)
def test_rates_that_a_unit_or_32_bits_cannot_carry_never_become_another_rate(
    name: str, profile: SpeedProfile, expected: list[str]
) -> None:
    assert [value for _, value in lines_of(reply.speed(reply.vendor(name), profile))] == expected


def test_nokia_takes_filters_by_number_and_says_names_in_filter_id() -> None:
    kind = reply.vendor("nokia-sros")
    assert lines_of(kind.filters(Filters("20", "21"))) == [("Alc-Subscriber-Filter", "Ingr-v4:20,Egr-v4:21")]
    assert lines_of(kind.filters(Filters("kids"))) == [("Filter-Id", "kids")]
    assert kind.filters(Filters()) == b""


def test_the_form_on_the_pages_offers_every_vendor() -> None:
    (field,) = (field for field in forms.NAS.form.fields if field.key == "vendor")
    assert sorted(choice.value for choice in field.choices) == EVERY


def test_an_unknown_vendor_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(RuleError, match="accel-ppp, cisco-ios-xe"):
        reply.vendor("cisco")


@pytest.mark.parametrize("name", EVERY)
def test_a14_the_garden_is_told_from_the_plan_in_every_vendors_words(name: str) -> None:
    """A vendor without a rate still gets a filter that closes the garden, and one that opens it."""
    text = replies(name)
    closing = text.split("[CoA-Request, suspended]")[1].split("[")[0]
    opening = text.split("[CoA-Request, resumed]")[1]
    assert "h1/0190a1b2c3d47e5f8a9b0c1d2e3f4a5b/~garden" in bytes.fromhex(_class_octets(closing)).decode()
    assert closing != opening
    assert isinstance(packet_of(b""), Packet)


def _class_octets(section: str) -> str:
    return next(line.split("| ")[1] for line in section.splitlines() if line.startswith("Class"))[4:]
