"""XML from outside: no entity, no network, no document type, no more than a size. Names are found in any namespace."""

from __future__ import annotations

from typing import Any

from lxml import etree

from erp.payments.errors import FileRefused


def parse(raw: bytes, limit: int) -> Any:
    """The root element. Raises FileRefused."""
    if len(raw) > limit:
        raise FileRefused(f"the file is larger than {limit} octets")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(raw, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise FileRefused(f"the file is not well-formed XML: {str(error)[:200]}") from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise FileRefused("a file of a bank has no document type declaration")
    return root


def name_of(element: Any) -> str:
    """The local name; empty for comments and instructions."""
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def all_of(element: Any, path: str) -> list[Any]:
    """Descendants by local names: "Bal/Tp/CdOrPrtry/Cd"."""
    found = [element]
    for step in path.split("/"):
        found = [child for parent in found for child in parent if name_of(child) == step]
    return found


def one(element: Any, path: str) -> Any | None:
    found = all_of(element, path)
    return found[0] if found else None


def texts(element: Any, path: str) -> list[str]:
    """Every text at this path, each once."""
    found = (str(each.text or "").strip() for each in all_of(element, path))
    return list(dict.fromkeys(said for said in found if said))


def text(element: Any, *paths: str) -> str:
    """The text of the first of these paths that has any."""
    for path in paths:
        for found in all_of(element, path):
            if found.text and found.text.strip():
                return str(found.text).strip()
    return ""
