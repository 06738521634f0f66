"""The router's configuration language: a tree of modes and lines, which commands exist, what they replace.

Only the commands an access router's policers need exist; any other is refused the way the real command line refuses
it. Pure: text in, tree and text out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

INDENT = "   "
PORTS = range(1, 9)
MAX_RATE_BPS = 100_000_000_000


class CliError(Exception):
    """A command the router does not take. `detail` is what the device says about it."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


@dataclass(slots=True)
class Node:
    """One mode's lines. `key` of a line is what a later line of the same meaning replaces."""

    lines: dict[str, tuple[str, Node | None]] = field(default_factory=dict)

    def copy(self) -> Node:
        return Node({key: (text, child and child.copy()) for key, (text, child) in self.lines.items()})


@dataclass(frozen=True, slots=True)
class Rule:
    """A command: its pattern, the key of the line it makes, and the mode it enters (if any)."""

    pattern: re.Pattern[str]
    key: str
    enters: str | None = None


def _rule(pattern: str, key: str, enters: str | None = None) -> Rule:
    return Rule(re.compile(pattern), key, enters)


_NAME = r"[A-Za-z0-9_.:-]{1,100}"
GRAMMAR: dict[str, tuple[Rule, ...]] = {
    "global": (
        _rule(rf"hostname (?P<name>{_NAME})", "hostname"),
        _rule(r"ip routing", "ip routing"),
        _rule(r"interface (?P<name>Ethernet\d+(?:\.\d+)?)", "interface {name}", "interface"),
        _rule(
            rf"policy-map type (?:quality-of-service|qos) (?P<name>{_NAME})",
            "policy-map type quality-of-service {name}",
            "policy-map",
        ),
    ),
    "interface": (
        _rule(r"description (?P<text>.{1,240})", "description"),
        _rule(r"no switchport", "switchport"),
        _rule(r"shutdown", "shutdown"),
        _rule(r"encapsulation dot1q vlan (?P<vlan>\d+)", "encapsulation dot1q vlan"),
        _rule(r"ip address (?P<address>\d+\.\d+\.\d+\.\d+/\d+)", "ip address"),
        _rule(rf"service-policy type qos input (?P<name>{_NAME})", "service-policy type qos input"),
        _rule(r"shape rate (?P<rate>\d+) kbps", "shape rate"),
    ),
    "policy-map": (_rule(rf"class (?P<name>{_NAME})", "class {name}", "class"),),
    "class": (
        _rule(
            r"police rate (?P<rate>\d+) (?P<unit>bps|kbps|mbps|gbps) burst-size \d+ (?:bytes|kbytes|mbytes)", "police"
        ),
        _rule(r"set traffic-class [0-7]", "set traffic-class"),
    ),
}
_UNIT = {"bps": 1, "kbps": 1_000, "mbps": 1_000_000, "gbps": 1_000_000_000}


class Editor:
    """Applies commands to a tree, keeping the mode they lead into."""

    def __init__(self, root: Node) -> None:
        self.root = root
        self._path: list[tuple[str, Node]] = [("global", root)]

    def leave_to(self, depth: int) -> None:
        """Leave modes until `depth` are left open (0 is global configuration)."""
        self._path = self._path[: depth + 1]

    def run(self, command: str) -> None:
        """Apply one configuration command. Raises CliError and changes nothing when it is none of ours."""
        words = " ".join(command.split())
        if words == "exit":
            if len(self._path) > 1:
                self._path.pop()
            return
        if words == "!" or not words:
            return
        # As on the device, a command unknown in this mode is tried in the modes above.
        for depth in range(len(self._path), 0, -1):
            mode, node = self._path[depth - 1]
            if self._apply(mode, node, words):
                self._path = self._path[:depth] + ([self._entered] if self._entered else [])
                return
        raise CliError(f"Invalid input (at token 0: '{words.split(' ')[0]}')")

    _entered: tuple[str, Node] | None = None

    def _apply(self, mode: str, node: Node, words: str) -> bool:
        self._entered = None
        for rule in GRAMMAR[mode]:
            match = rule.pattern.fullmatch(words)
            if match is not None:
                key = rule.key.format(**match.groupdict())
                _check(key, match)
                child = node.lines[key][1] if key in node.lines else (Node() if rule.enters else None)
                node.lines[key] = (key if rule.enters else words, child)
                if rule.enters is not None:
                    assert child is not None
                    self._entered = (rule.enters, child)
                return True
        return words.startswith("no ") and self._remove(mode, node, words[3:])

    def _remove(self, mode: str, node: Node, words: str) -> bool:
        """A "no" command: by the whole line or by its key. A line that is not there is removed without complaint."""
        for rule in GRAMMAR[mode]:
            match = rule.pattern.fullmatch(words)
            key = rule.key.format(**match.groupdict()) if match else rule.key
            if match or words == rule.key:
                node.lines.pop(key, None)
                return True
        return False


def _check(key: str, match: re.Match[str]) -> None:
    groups = match.groupdict()
    if key.startswith("interface "):
        port, _, sub = groups["name"].removeprefix("Ethernet").partition(".")
        if int(port) not in PORTS or (sub and not 1 <= int(sub) <= 4094):
            raise CliError(f"Invalid input (at token 1: '{groups['name']}')")
    if key == "encapsulation dot1q vlan" and not 1 <= int(groups["vlan"]) <= 4094:
        raise CliError(f"Invalid input (at token 3: '{groups['vlan']}')")
    if key == "police" and not 8_000 <= int(groups["rate"]) * _UNIT[groups["unit"]] <= MAX_RATE_BPS:
        raise CliError(f"Invalid input (at token 2: '{groups['rate']}')")
    if key == "shape rate" and not 8 <= int(groups["rate"]) <= MAX_RATE_BPS // 1000:
        raise CliError(f"Invalid input (at token 2: '{groups['rate']}')")


def show(root: Node, depth: int = 0) -> str:
    """The tree as the device prints it: modes separated by "!", children indented by three blanks."""
    out: list[str] = []
    for text, child in root.lines.values():
        if child is not None and depth == 0:
            out.append("!\n")
        out.append(f"{INDENT * depth}{text}\n")
        if child is not None:
            out.append(show(child, depth + 1))
    return "".join(out) + ("!\nend\n" if depth == 0 else "")


def parse(text: str) -> Node:
    """The tree of a configuration text. Raises CliError."""
    editor = Editor(Node())
    for line in text.splitlines():
        if line.strip() not in ("", "!", "end"):
            depth = (len(line) - len(line.lstrip())) // len(INDENT)
            editor.leave_to(depth)
            editor.run(line.strip())
    return editor.root
