"""Subtree filtering (RFC 6241 §6). Pure: marks what the filter selects, then copies only that."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterable

from lxml import etree

from lab.olt.names import Element


def filtered(data: Element, subtree: Element | None) -> list[Element]:
    """The top-level elements of `data` that `subtree` selects; without a filter, all of them."""
    if subtree is None:
        return [copy.deepcopy(child) for child in data]
    whole: set[Element] = set()
    part: set[Element] = set()
    for wanted in _elements(subtree):
        for child in data:
            _mark(child, wanted, whole, part)
    return [_copy(child, whole, part) for child in data if child in whole or child in part]


def _mark(node: Element, wanted: Element, whole: set[Element], part: set[Element]) -> bool:
    """Mark what `wanted` selects of `node`; whether anything was."""
    if not _same_name(node, wanted):
        return False
    children = _elements(wanted)
    if not children:
        whole.add(node)
        return True
    content = [c for c in children if not len(c) and (c.text or "").strip()]
    others = [c for c in children if c not in content]
    matches = [_content_match(node, c) for c in content]
    if not all(matches):
        return False
    if not others:  # only content match nodes: the entire subtree is selected (§6.2.5)
        whole.add(node)
        return True
    entries = _Children(node)
    marked = [_mark(child, other, whole, part) for other in others for child in entries.candidates(other)]
    if not content and not any(marked):
        return False
    part.add(node)
    for match in matches:
        whole.update(match)
    # A server may add the keys of list entries (§6.2.5); readers can then tell the entries apart.
    whole.update(child for child in node if child.tag.endswith("}name") and not len(child))
    return True


def _content_match(node: Element, wanted: Element) -> list[Element]:
    text = wanted.text.strip()
    return [child for child in node if _same_name(child, wanted) and (child.text or "").strip() == text]


class _Children:
    """The children of one node, found by tag and by the value of a leaf below: a list entry without a search."""

    def __init__(self, node: Element) -> None:
        self._node = node
        self._by_leaf: dict[tuple[str, str], dict[str, list[Element]]] = {}

    def candidates(self, wanted: Element) -> Iterable[Element]:
        """The children that `wanted` may select; never fewer than it does."""
        if not wanted.tag.startswith("{"):
            return list(self._node)
        leaf = next((c for c in _elements(wanted) if not len(c) and (c.text or "").strip()), None)
        if leaf is None:
            # Nothing is selected of an entry that has none of the nodes asked for.
            below = [child.tag for child in _elements(wanted)]
            if not below or not all(tag.startswith("{") for tag in below):
                return list(self._node.iterchildren(wanted.tag))
            found = self._node.iterchildren(wanted.tag)
            return [child for child in found if any(child.find(tag) is not None for tag in below)]
        if not leaf.tag.startswith("{"):
            return list(self._node.iterchildren(wanted.tag))
        key = (wanted.tag, leaf.tag)
        if key not in self._by_leaf:
            index = self._by_leaf[key] = defaultdict(list)
            for child in self._node.iterchildren(wanted.tag):
                for value in {(known.text or "").strip() for known in child.iterchildren(leaf.tag)}:
                    index[value].append(child)
        return self._by_leaf[key].get(leaf.text.strip(), ())


def _same_name(node: Element, wanted: Element) -> bool:
    if node.tag == wanted.tag:
        return True
    name: str = wanted.tag
    return not name.startswith("{") and bool(node.tag.rpartition("}")[2] == name)


def _copy(node: Element, whole: set[Element], part: set[Element]) -> Element:
    if node in whole:
        return copy.deepcopy(node)
    result = etree.Element(node.tag, nsmap=node.nsmap)
    for child in node:
        if child in whole or child in part:
            result.append(_copy(child, whole, part))
    return result


def _elements(parent: Element) -> list[Element]:
    return [child for child in parent if isinstance(child.tag, str)]
