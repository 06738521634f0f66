"""The part of the BBF model that this OLT implements, as one table: names, list keys, leaf types, references.

Each line of MODEL is `name kind`, its depth given by indentation. A kind is `container`, `presence` (a container whose
being there means something), `list(key)` or a leaf type; `mandatory` may follow a leaf type. What is not in the table
the OLT does not know, and refuses with unknown-element. The table is checked against the published modules in tests,
by giving the OLT's running configuration to yanglint.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from lab.olt.names import PREFIXES, qualified

MODEL = """
if:interfaces container
  if:interface list(name)
    if:name string
    if:description string
    if:type identity mandatory
    if:enabled boolean
    xpon:channel-group container
      xpon:polling-period uint32(1..864000)
      xpon:pon-pools container
        xpon:pon-pool list(name)
          xpon:name name64
          xpon:channel-termination-ref ref(if:interfaces/if:interface)
    xpon:channel-partition container
      xpon:channel-group-ref ref(if:interfaces/if:interface) mandatory
    xpon:channel-pair container
      xpon:channel-group-ref ref(if:interfaces/if:interface)
      xpon:channel-partition-ref ref(if:interfaces/if:interface)
      xpon:channel-pair-type identity mandatory
    xpon:channel-termination container
      xpon:channel-pair-ref ref(if:interfaces/if:interface)
      xpon:channel-termination-type identity mandatory
      xpon:xgs-pon-id uint32
      xpon:location identity
    vani:v-ani container
      vani:onu-id uint32(0..1020)
      vani:channel-partition ref(if:interfaces/if:interface)
      vani:expected-serial-number serial
      vani:preferred-channel-pair ref(if:interfaces/if:interface)
      vani:upstream-fec boolean
    vani:olt-v-enet container
      vani:lower-layer-interface ref(if:interfaces/if:interface) mandatory
    subif:subif-lower-layer container
      subif:interface ref(if:interfaces/if:interface)
    subif:inline-frame-processing container
      subif:ingress-rule container
        subif:rule list(name)
          subif:name name64
          subif:priority uint16
          subif:flexible-match container
            tagging:match-criteria container
              tagging:untagged empty
              tagging:tag list(index)
                tagging:index uint8(0..1)
                tagging:dot1q-tag container
                  tagging:tag-type identity mandatory
                  tagging:vlan-id vlan-or-any mandatory
          subif:ingress-rewrite container
            tagging:pop-tags uint8(0..2)
            tagging:push-tag list(index)
              tagging:index uint8(0..1)
              tagging:dot1q-tag container
                tagging:tag-type identity mandatory
                tagging:vlan-id vlan mandatory
                tagging:write-pbit-0 empty mandatory
                tagging:write-dei-0 empty mandatory
      subif:egress-rewrite container
        tagging:pop-tags uint8(0..2)
    tm:tm-root presence
      shaping:shaper-name ref(tm:tm-profiles/shaping:shaper-profile)
gem:xpongemtcont container
  gem:traffic-descriptor-profiles container
    gem:traffic-descriptor-profile list(name)
      gem:name string
      gem:fixed-bandwidth uint64
      gem:assured-bandwidth uint64
      gem:maximum-bandwidth uint64 mandatory
      gem:priority uint8(1..8)
      gem:weight uint8
      gem:additional-bw-eligibility-indicator enum(non-assured-sharing|best-effort-sharing|none)
  gem:tconts container
    gem:tcont list(name)
      gem:name name64
      gem:alloc-id uint16
      gem:interface-reference ref(if:interfaces/if:interface)
      gem:traffic-descriptor-profile-ref ref(gem:xpongemtcont/*/gem:traffic-descriptor-profile)
  gem:gemports container
    gem:gemport list(name)
      gem:name name64
      gem:gemport-id uint32
      gem:interface ref(if:interfaces/if:interface)
      gem:traffic-class uint8(0..7)
      gem:downstream-aes-indicator boolean
      gem:upstream-aes-indicator boolean
      gem:tcont-ref ref(gem:xpongemtcont/gem:tconts/gem:tcont)
tm:tm-profiles container
  shaping:shaper-profile list(name)
    shaping:name name64
    shaping:single-token-bucket container mandatory
      shaping:pir uint32
      shaping:pbs uint32
"""

_INTEGER = {"uint8": 2**8 - 1, "uint16": 2**16 - 1, "uint32": 2**32 - 1, "uint64": 2**64 - 1}
_PATTERNS = {
    "string": r"(?s).*",
    "name64": r"[ -~]{1,64}",
    "boolean": r"true|false",
    "empty": r"",
    "serial": r"[ -~]{4}[0-9a-fA-F]{8}",
    "vlan": r"[1-9][0-9]{0,2}|[1-3][0-9]{3}|40[0-8][0-9]|409[0-4]",
    "vlan-or-any": r"any|[1-9][0-9]{0,2}|[1-3][0-9]{3}|40[0-8][0-9]|409[0-4]",
}


@dataclass(slots=True)
class Node:
    """One node of the model. `key` is the tag of a list's key leaf; `type` is empty for containers and lists."""

    tag: str
    kind: str
    type: str = ""
    argument: str = ""
    key: str = ""
    mandatory: bool = False
    children: dict[str, Node] = field(default_factory=dict)

    @property
    def is_leaf(self) -> bool:
        return self.kind == "leaf"

    def fault(self, text: str) -> str | None:
        """What is wrong with `text` as a value of this leaf, or None. References and identities are checked later."""
        if self.type in _INTEGER:
            low, _, high = self.argument.partition("..") if self.argument else ("0", "", str(_INTEGER[self.type]))
            if not re.fullmatch(r"[0-9]{1,20}", text) or not int(low) <= int(text) <= int(high):
                return f"{text!r} is not a {self.type} in {low}..{high}"
            return None
        if self.type == "enum":
            return None if text in self.argument.split("|") else f"{text!r} is none of {self.argument}"
        pattern = _PATTERNS.get(self.type)
        if pattern is not None and not re.fullmatch(pattern, text):
            return f"{text!r} is not a valid {self.type}"
        return None


def load(model: str = MODEL) -> Node:
    """The model's tree; the root stands for the datastore itself."""
    root = Node("", "container")
    stack = [(-1, root)]
    for line in model.strip("\n").splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        node = _node(line.split())
        while stack[-1][0] >= depth:
            stack.pop()
        parent = stack[-1][1]
        parent.children[node.tag] = node
        stack.append((depth, node))
    return root


def _node(words: list[str]) -> Node:
    name, kind = words[0], words[1]
    word, _, rest = kind.partition("(")
    argument = rest.removesuffix(")")
    mandatory = "mandatory" in words[2:]
    if word == "list":
        return Node(qualified(name), "list", key=f"{{{PREFIXES[name.split(':')[0]]}}}{argument}")
    if word in ("container", "presence"):
        return Node(qualified(name), word, mandatory=mandatory)
    return Node(qualified(name), "leaf", type=word, argument=argument, mandatory=mandatory)


SCHEMA = load()
