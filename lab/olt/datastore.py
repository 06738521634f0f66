"""edit-config on a tree (RFC 6241 §7.2): the operations merge, replace, create, delete, remove and none.

Pure: takes a configuration and an edit, returns a new configuration or raises `RpcError`; the old one is not touched
(rollback-on-error). Every node of the edit is checked against the model on the way.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

from lxml import etree

from lab.olt.errors import RpcError
from lab.olt.names import NC, Element, short
from lab.olt.schema import SCHEMA, Node

_OPERATION = f"{{{NC}}}operation"
_OPERATIONS = frozenset({"merge", "replace", "create", "delete", "remove"})


def empty() -> Element:
    """A configuration without any node."""
    return etree.Element(f"{{{NC}}}config", nsmap={None: NC})


def edited(config: Element, edit: Element, default_operation: str = "merge") -> Element:
    """The configuration that results from applying the children of `edit` to `config`."""
    result = copy.deepcopy(config)
    if default_operation == "replace":
        result = empty()
        default_operation = "merge"
    for child in _elements(edit):
        _apply(result, child, default_operation, SCHEMA, "")
    return result


def _apply(parent: Element, edit: Element, inherited: str, schema: Node, path: str) -> None:
    node = _known(edit, schema, path)
    operation = edit.get(_OPERATION, inherited)
    if _OPERATION in edit.attrib and operation not in _OPERATIONS:
        raise RpcError(
            "bad-attribute", f"unknown operation {operation!r}", path=path, info={"bad-attribute": "operation"}
        )
    path = path + "/" + _step(edit, node, path)
    existing = find(parent, edit, node)
    if operation in ("delete", "remove"):
        if existing is not None:
            parent.remove(existing)
        elif operation == "delete":
            raise RpcError("data-missing", "there is nothing to delete", path=path)
        return
    if operation == "create" and existing is not None:
        raise RpcError("data-exists", "it exists already", path=path)
    if operation == "none" and existing is None:
        raise RpcError("data-missing", "it does not exist", path=path)
    if operation == "replace" and existing is not None:
        parent.remove(existing)
        existing = None
    if node.is_leaf:
        if operation != "none":
            _set_leaf(parent, edit, existing, node, path)
        return
    target = existing if existing is not None else _insert(parent, node)
    below = "merge" if operation in ("create", "replace") else operation
    for child in _elements(edit):
        _apply(target, child, below, node, path)
    if node.kind == "container" and not len(target):
        # A container without presence that is empty is as if it were not there (RFC 7950 §7.5.1).
        parent.remove(target)


def _known(edit: Element, schema: Node, path: str) -> Node:
    node = schema.children.get(edit.tag)
    if node is not None:
        return node
    here = path or "/"
    if edit.tag.startswith("{") and short(edit.tag) == edit.tag:
        raise RpcError("unknown-namespace", f"no module for {edit.tag}", path=here, info={"bad-element": edit.tag})
    raise RpcError("unknown-element", f"{short(edit.tag)} is not known here", path=here, info={"bad-element": edit.tag})


def _step(edit: Element, node: Node, path: str) -> str:
    name = short(edit.tag)
    if node.kind != "list":
        return name
    key = edit.findtext(node.key)
    if key is None or not key.strip():
        wanted = short(node.key)
        raise RpcError(
            "missing-element", f"{name} lacks its key {wanted}", path=f"{path}/{name}", info={"bad-element": wanted}
        )
    return f"{name}[{short(node.key)}='{key.strip()}']"


def find(parent: Element, like: Element, node: Node) -> Element | None:
    """The child of `parent` that is the same instance as `like`: same tag, and the same key where it is a list."""
    if node.kind != "list":
        return parent.find(like.tag)
    key = (like.findtext(node.key) or "").strip()
    return next((child for child in parent.findall(like.tag) if child.findtext(node.key) == key), None)


def _set_leaf(parent: Element, edit: Element, existing: Element | None, node: Node, path: str) -> None:
    if len(edit):
        raise RpcError("unknown-element", "a leaf has no children", path=path, info={"bad-element": edit[0].tag})
    text = (edit.text or "").strip()
    fault = node.fault(text)
    if fault:
        raise RpcError("invalid-value", fault, path=path)
    leaf = _identity_leaf(edit, text, path) if node.type == "identity" else _leaf(node.tag, text)
    if existing is not None:
        parent.replace(existing, leaf)
    else:
        parent.append(leaf)


def _leaf(tag: str, text: str, identities: Mapping[str | None, str] | None = None) -> Element:
    nsmap: dict[str | None, str] = {None: tag[1:].partition("}")[0], **(identities or {})}
    leaf = etree.Element(tag, nsmap=nsmap)
    leaf.text = text or None
    return leaf


def _identity_leaf(edit: Element, text: str, path: str) -> Element:
    """An identityref with its namespace declared on itself: in a copied tree no other declaration would reach it."""
    prefix, colon, name = text.rpartition(":")
    uri = edit.nsmap.get(prefix if colon else None)
    if uri is None or not name:
        raise RpcError("invalid-value", f"{text!r} is not an identity with a declared prefix", path=path)
    return _leaf(edit.tag, f"{prefix or 'id'}:{name}", {prefix or "id": uri})


def identity(leaf: Element | None) -> str:
    """An identityref leaf as "prefix:name" with our prefix; empty when it is absent."""
    if leaf is None or not leaf.text:
        return ""
    prefix, _, name = leaf.text.rpartition(":")
    return short(f"{{{leaf.nsmap.get(prefix or None, '')}}}{name}")


def _insert(parent: Element, node: Node) -> Element:
    return etree.SubElement(parent, node.tag, nsmap={None: node.tag[1:].partition("}")[0]})


def _elements(parent: Element) -> list[Element]:
    return [child for child in parent if isinstance(child.tag, str)]
