"""The configuration an OLT leaves the workshop with: its PON ports and its uplink, no subscriber yet."""

from __future__ import annotations

from lxml import etree

from lab.olt.datastore import edited, empty
from lab.olt.names import NC, PREFIXES, Element
from lab.olt.validation import validate

_PORT = """
<interface><name>channelgroup-{n}</name><type>xponift:channel-group</type>
  <channel-group xmlns="{xpon}"><polling-period>100</polling-period><pon-pools><pon-pool><name>pool-{n}</name>
    <channel-termination-ref>pon-{n}</channel-termination-ref></pon-pool></pon-pools></channel-group></interface>
<interface><name>channelpartition-{n}</name><type>xponift:channel-partition</type>
  <channel-partition xmlns="{xpon}"><channel-group-ref>channelgroup-{n}</channel-group-ref>
  </channel-partition></interface>
<interface><name>channelpair-{n}</name><type>xponift:channel-pair</type>
  <channel-pair xmlns="{xpon}"><channel-group-ref>channelgroup-{n}</channel-group-ref>
    <channel-partition-ref>channelpartition-{n}</channel-partition-ref>
    <channel-pair-type>xpont:xgs</channel-pair-type></channel-pair></interface>
<interface><name>pon-{n}</name><type>xponift:channel-termination</type>
  <channel-termination xmlns="{xpon}"><channel-pair-ref>channelpair-{n}</channel-pair-ref>
    <channel-termination-type>xpont:xgs</channel-termination-type><xgs-pon-id>{n}</xgs-pon-id>
    <location>xpont:inside-olt</location></channel-termination></interface>
"""

_DEVICE = """
<config xmlns="{nc}"><interfaces xmlns="{if}" xmlns:xponift="{xponift}" xmlns:xpont="{xpon-types}"
    xmlns:bbfift="{bbfift}" xmlns:ianaift="{ianaift}" xmlns:dot1qt="{dot1qt}">
<interface><name>uplink-1</name><type>ianaift:ethernetCsmacd</type><enabled>true</enabled></interface>
<interface><name>network-1</name><type>bbfift:vlan-sub-interface</type>
  <subif-lower-layer xmlns="{subif}"><interface>uplink-1</interface></subif-lower-layer>
  <inline-frame-processing xmlns="{subif}"><ingress-rule><rule><name>any</name><priority>100</priority>
    <flexible-match><match-criteria xmlns="{tagging}"><tag><index>0</index><dot1q-tag>
      <tag-type>dot1qt:c-vlan</tag-type><vlan-id>any</vlan-id></dot1q-tag></tag></match-criteria></flexible-match>
  </rule></ingress-rule></inline-frame-processing></interface>
{ports}</interfaces></config>
"""


def factory(pon_ports: int) -> Element:
    """The configuration of an OLT with `pon_ports` XGS-PON ports named pon-1, pon-2, …"""
    text = _DEVICE
    for prefix, uri in PREFIXES.items():
        text = text.replace("{" + prefix + "}", uri)
    ports = "".join(_PORT.format(n=n, xpon=PREFIXES["xpon"]) for n in range(1, pon_ports + 1))
    config = edited(empty(), etree.fromstring(text.replace("{nc}", NC).replace("{ports}", ports)))
    validate(config)
    return config
