"""The emulated OLT's edit-config, filters and framing by RFC section, without any socket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from lab.olt.datastore import edited
from lab.olt.errors import RpcError
from lab.olt.filtering import filtered
from lab.olt.framing import END_OF_MESSAGE, Framer, FramingError
from lab.olt.names import NC, PREFIXES
from lab.olt.topology import factory
from lab.olt.validation import validate

IF, GEM, VANI = PREFIXES["if"], PREFIXES["gem"], PREFIXES["vani"]
SHAPER = (
    f'<tm-profiles xmlns="{PREFIXES["tm"]}"><shaper-profile xmlns="{PREFIXES["shaping"]}" %s>%s'
    "</shaper-profile></tm-profiles>"
)


def config(body: str) -> etree._Element:
    return etree.fromstring(f'<config xmlns="{NC}" xmlns:nc="{NC}">{body}</config>')


def shaper(operation: str = "", name: str = "s", pir: str = "1") -> etree._Element:
    attribute = f'nc:operation="{operation}"' if operation else ""
    return config(
        SHAPER % (attribute, f"<name>{name}</name><single-token-bucket><pir>{pir}</pir></single-token-bucket>")
    )


def v_ani(name: str, serial: str, onu_id: int | None = None) -> str:
    number = "" if onu_id is None else f"<onu-id>{onu_id}</onu-id>"
    return (
        f'<interface><name>{name}</name><type xmlns:x="{PREFIXES["xponift"]}">x:v-ani</type><v-ani xmlns="{VANI}">'
        f"{number}<channel-partition>channelpartition-1</channel-partition><expected-serial-number>{serial}"
        "</expected-serial-number><preferred-channel-pair>channelpair-1</preferred-channel-pair></v-ani></interface>"
    )


def interfaces(*bodies: str) -> etree._Element:
    return config(f'<interfaces xmlns="{IF}">{"".join(bodies)}</interfaces>')


def profile(**bandwidth: int) -> etree._Element:
    leaves = "".join(f"<{kind}-bandwidth>{value}</{kind}-bandwidth>" for kind, value in bandwidth.items())
    return config(
        f'<xpongemtcont xmlns="{GEM}"><traffic-descriptor-profiles><traffic-descriptor-profile><name>p</name>{leaves}'
        "</traffic-descriptor-profile></traffic-descriptor-profiles></xpongemtcont>"
    )


def pir(tree: etree._Element) -> str | None:
    text: str | None = tree.findtext(".//{*}shaper-profile/{*}single-token-bucket/{*}pir")
    return text


def tag_of(edit: etree._Element, *, base: etree._Element | None = None) -> str:
    with pytest.raises(RpcError) as caught:
        validate(edited(factory(1) if base is None else base, edit))
    assert caught.value.path, "the error says where"
    return caught.value.tag


def test_rfc6241_7_2_merge_and_replace() -> None:
    one = edited(factory(1), shaper(pir="1"))
    assert pir(edited(one, shaper(pir="2"))) == "2"
    bare = config(SHAPER % ('nc:operation="replace"', "<name>s</name>"))
    assert pir(edited(one, bare)) is None


def test_rfc6241_7_2_create_and_delete_know_what_exists() -> None:
    base = factory(1)
    one = edited(base, shaper("create"))
    assert tag_of(shaper("create"), base=one) == "data-exists"
    assert pir(edited(one, shaper("delete"))) is None
    assert tag_of(shaper("delete")) == "data-missing"
    assert etree.tostring(edited(base, shaper("remove"))) == etree.tostring(base)


def test_an_edit_that_fails_changes_nothing() -> None:
    base = factory(1)
    before = etree.tostring(base)
    with pytest.raises(RpcError):
        edited(base, config((SHAPER % ("", "<name>new</name>")) + '<nonsense xmlns="urn:x"/>'))
    assert etree.tostring(base) == before


@pytest.mark.parametrize(
    ("edit", "tag"),
    [
        (config('<nonsense xmlns="urn:unknown"/>'), "unknown-namespace"),
        (interfaces("<interface><name>x</name><colour>red</colour></interface>"), "unknown-element"),
        (interfaces("<interface><description>no key</description></interface>"), "missing-element"),
        (interfaces("<interface><name>x</name></interface>"), "data-missing"),
        (interfaces("<interface><name>pon-1</name><enabled>maybe</enabled></interface>"), "invalid-value"),
        (interfaces("<interface><name>pon-1</name><type>nameless:thing</type></interface>"), "invalid-value"),
        (interfaces(v_ani("v", "TOOSHORT")), "invalid-value"),
        (interfaces(v_ani("v", "ABCD00000001").replace("channelpair-1", "channelpair-7")), "data-missing"),
        (interfaces(v_ani("v", "ABCD00000001").replace("channelpartition-1", "pon-1")), "operation-failed"),
        (interfaces(v_ani("v", "ABCD00000001"), v_ani("w", "abcd00000001")), "operation-failed"),
        (interfaces(v_ani("v", "ABCD00000001", 5), v_ani("w", "ABCD00000002", 5)), "operation-failed"),
        (interfaces(v_ani("v", "ABCD00000001", 1021)), "invalid-value"),
        (profile(fixed=5, assured=6, maximum=10), "operation-failed"),
        (profile(fixed=5), "data-missing"),
        (profile(maximum=2**64), "invalid-value"),
        (shaper("frobnicate"), "bad-attribute"),
        (shaper(pir="-1"), "invalid-value"),
    ],
)
def test_wrong_payloads_are_refused_with_tag_and_path(edit: etree._Element, tag: str) -> None:
    assert tag_of(edit) == tag


def test_a_tcont_needs_its_profile_and_a_gemport_its_tcont() -> None:
    base = edited(factory(1), interfaces(v_ani("v", "ABCD00000001")))
    tcont = "<tconts><tcont><name>t</name><interface-reference>{}</interface-reference>{}</tcont></tconts>"
    reference = "<traffic-descriptor-profile-ref>{}</traffic-descriptor-profile-ref>"
    good = edited(base, profile(maximum=10))
    whole = f'<xpongemtcont xmlns="{GEM}">' + tcont.format("v", reference.format("p"))
    gemport = "<gemports><gemport><name>g</name><interface>{}</interface><tcont-ref>{}</tcont-ref></gemport></gemports>"
    validate(edited(good, config(whole + gemport.format("v", "t") + "</xpongemtcont>")))
    refused = [
        tag_of(config(f'<xpongemtcont xmlns="{GEM}">{body}</xpongemtcont>'), base=good)
        for body in (
            tcont.format("v", reference.format("nobody")),
            tcont.format("nobody", reference.format("p")),
            tcont.format("pon-1", reference.format("p")),
            tcont.format("v", ""),
            tcont.format("v", reference.format("p")) + gemport.format("v", "nobody"),
            tcont.format("v", reference.format("p")) + gemport.format("pon-1", "t"),
        )
    ]
    missing, failed = "data-missing", "operation-failed"
    assert refused == [missing, missing, failed, failed, missing, failed]


def select(subtree: str) -> str:
    wanted = etree.fromstring(f"<filter>{subtree}</filter>")
    return "".join(etree.tostring(e, method="c14n").decode() for e in filtered(factory(2), wanted))


def test_rfc6241_6_2_5_content_match_selects_the_entry() -> None:
    text = select(f'<interfaces xmlns="{IF}"><interface><name>pon-2</name></interface></interfaces>')
    assert "channelpair-2" in text
    assert "pon-1" not in text


def test_rfc6241_6_2_4_selection_nodes_pick_one_part() -> None:
    text = select(f'<interfaces xmlns="{IF}"><interface><name>pon-2</name><type/></interface></interfaces>')
    assert "channel-termination<" in text
    assert "channel-pair-ref" not in text


def test_rfc6241_6_3_an_empty_filter_selects_nothing_and_no_filter_everything() -> None:
    assert filtered(factory(1), etree.Element("filter")) == []
    assert len(filtered(factory(1), None)) == len(factory(1))


def test_two_filters_for_one_list_select_both_entries() -> None:
    names = "".join(f"<interface><name>pon-{n}</name></interface>" for n in (1, 2))
    text = select(f'<interfaces xmlns="{IF}">{names}</interfaces>')
    assert "<name>pon-1</name>" in text
    assert "<name>pon-2</name>" in text
    assert "uplink-1" not in text


messages = st.lists(st.binary(min_size=1, max_size=200).filter(lambda m: END_OF_MESSAGE not in m), max_size=5)


@given(messages, st.booleans(), st.integers(1, 50))
def test_rfc6242_framing_undoes_itself_however_it_arrives(sent: list[bytes], chunked: bool, size: int) -> None:
    framer = Framer()
    framer.chunked = chunked
    if not chunked:
        sent = [m for m in sent if not (m + END_OF_MESSAGE).find(END_OF_MESSAGE) < len(m)]
    wire = b"".join(framer.frame(message) for message in sent)
    received = []
    for start in range(0, len(wire), size):
        framer.feed(wire[start : start + size])
        while (message := framer.next_message()) is not None:
            received.append(message)
    assert received == sent


@given(st.binary(max_size=300))
def test_rfc6242_4_2_garbage_raises_framing_error_only_and_becomes_no_more_than_was_there(data: bytes) -> None:
    framer, read = Framer(), 0
    framer.chunked = True
    try:
        framer.feed(data)
        while (message := framer.next_message()) is not None:
            read += len(message) + len(b"\n##\n")
    except FramingError:
        pass
    assert read <= len(data)


@pytest.mark.parametrize(
    "header", [b"\n#0\n", b"\n#01\nx", b"\n#4294967296\n", b"#3\nabc", b"\n#x\n", b"\n#99999999999999"]
)
def test_rfc6242_4_2_bad_chunk_headers(header: bytes) -> None:
    framer = Framer()
    framer.chunked = True
    framer.feed(header)
    with pytest.raises(FramingError):
        framer.next_message()
