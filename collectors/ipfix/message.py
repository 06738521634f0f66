"""Reads IPFIX messages (RFC 7011): templates, options, and the few fields of data records that usage needs. Pure.

    datagram + templates known of this exporter → data sets → records: {element: octets}

A field of variable length (§7) and one of an enterprise are walked over like any other; those of a biflow (RFC 5103)
are kept apart by their enterprise number. A data set whose template has not come yet cannot be read: it is counted,
and the exporter sends its templates again (§8.4). Raises PeerError for what is no message; nothing is half believed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache

from controller.domain.errors import PeerError

VERSION = 10
REVERSE = 29_305
"""Private Enterprise Number of the reverse direction, RFC 5103 §6.1."""
_HEADER = struct.Struct("!HHIII")
_TEMPLATES, _OPTIONS = 2, 3
_FIRST_DATA_SET = 256
_VARIABLE = 65_535
_ENTERPRISE_BIT = 0x8000
_MOST_TEMPLATES = 4_096
"""Of one exporter; one that announces more is broken, or no exporter."""

Element = tuple[int, int]
"""Enterprise number (0: IANA's) and element id."""
Record = dict[Element, bytes]
Fields = tuple[tuple[Element, int], ...]
"""Elements of a template in their order, with their lengths."""
Row = tuple[bytes, ...]
"""The fields of one record, in the order of its template."""


@dataclass(frozen=True, slots=True)
class Template:
    """The first `scope` fields of an options template say what its records are about (§3.4.2.1); flows have none."""

    fields: Fields
    scope: int
    order: tuple[Element, ...]
    elements: frozenset[Element]
    layout: struct.Struct | None
    """Of records whose length is always the same."""


@dataclass(slots=True)
class Templates:
    """What one exporter announced, by observation domain and template id."""

    known: dict[tuple[int, int], Template] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DataSet:
    """Records of one template. An element that a record has twice is twice in its row, and once in the record."""

    template: Template
    rows: list[Row]

    @property
    def records(self) -> Iterator[Record]:
        order = self.template.order
        return (dict(zip(order, row, strict=True)) for row in self.rows)


@dataclass(frozen=True, slots=True)
class Message:
    """`announced` are options templates; `unreadable` data sets came before their template."""

    domain: int
    sequence: int
    exported_at: datetime
    announced: list[Template]
    sets: list[DataSet]
    unreadable: int

    @property
    def records(self) -> list[Record]:
        return [record for data in self.sets for record in data.records]

    @property
    def count(self) -> int:
        """Of records, those of options too: what sequence numbers count (§3.1)."""
        return sum(len(data.rows) for data in self.sets)


def decode(datagram: bytes, templates: Templates) -> Message:
    """One datagram of one exporter; takes note of its templates. Raises PeerError."""
    if len(datagram) < _HEADER.size:
        raise PeerError("short", f"{len(datagram)} octets")
    version, length, exported, sequence, domain = _HEADER.unpack_from(datagram)
    if version != VERSION:
        raise PeerError("version", str(version))
    if length != len(datagram):
        raise PeerError("length", f"says {length}, is {len(datagram)}")
    sets: list[DataSet] = []
    fresh: dict[tuple[int, int], Template | None] = {}
    unreadable = 0
    for set_id, content in _sets(datagram):
        if set_id in (_TEMPLATES, _OPTIONS):
            for template_id, template in _announced(content, options=set_id == _OPTIONS):
                fresh[domain, template_id] = template
        elif set_id >= _FIRST_DATA_SET:
            known = fresh.get((domain, set_id)) or templates.known.get((domain, set_id))
            if known is None:
                unreadable += 1
            else:
                sets.append(DataSet(known, _rows(content, known)))
    if len(templates.known.keys() | fresh.keys()) > _MOST_TEMPLATES:
        raise PeerError("templates", f"more than {_MOST_TEMPLATES}")
    announced = []
    for key, template in fresh.items():
        if template is None:  # withdrawn, §8.1
            templates.known.pop(key, None)
            continue
        templates.known[key] = template
        if template.scope:
            announced.append(template)
    return Message(domain, sequence, datetime.fromtimestamp(exported, UTC), announced, sets, unreadable)


def _sets(datagram: bytes) -> Iterator[tuple[int, bytes]]:
    at = _HEADER.size
    while at < len(datagram):
        if len(datagram) - at < 4:
            raise PeerError("set", "no room for its header")
        set_id, length = struct.unpack_from("!HH", datagram, at)
        if length < 4 or at + length > len(datagram):
            raise PeerError("set", f"of {length} octets")
        yield set_id, datagram[at + 4 : at + length]
        at += length


def _announced(content: bytes, *, options: bool) -> Iterator[tuple[int, Template | None]]:
    """Templates of a set, None for one that is withdrawn; padding is shorter than a template's header."""
    at = 0
    while len(content) - at >= 4:
        template_id, count = struct.unpack_from("!HH", content, at)
        at += 4
        if template_id < _FIRST_DATA_SET:
            if not any(content[at - 4 :]):
                return  # padding
            if template_id in (_TEMPLATES, _OPTIONS) and not count:
                continue  # all are withdrawn (§8.1), which UDP does not have: what is announced anew replaces them
            raise PeerError("template", f"has the id {template_id}")
        scope = 0
        if options and count:
            # At least one is (§3.4.2.2); an exporter that says none is heard all the same.
            scope = max(int.from_bytes(content[at : at + 2], "big"), 1)
            at += 2
        fields: list[tuple[Element, int]] = []
        for _ in range(count):
            if len(content) - at < 4:
                raise PeerError("template", "ends within a field")
            element, length = struct.unpack_from("!HH", content, at)
            at += 4
            enterprise = 0
            if element & _ENTERPRISE_BIT:
                if len(content) - at < 4:
                    raise PeerError("template", "ends within an enterprise number")
                (enterprise,) = struct.unpack_from("!I", content, at)
                at += 4
            fields.append(((enterprise, element & ~_ENTERPRISE_BIT), length))
        if fields and not sum(length for _, length in fields):
            raise PeerError("template", "of records without octets")
        yield template_id, _template(tuple(fields), scope) if fields else None


@lru_cache(maxsize=_MOST_TEMPLATES)
def _template(fields: Fields, scope: int) -> Template:
    """Templates come again and again (§8.4): the same one is the same object."""
    order = tuple(element for element, _ in fields)
    fixed = all(length != _VARIABLE for _, length in fields)
    layout = struct.Struct("".join(f"{length}s" for _, length in fields)) if fixed else None
    return Template(fields, scope, order, frozenset(order), layout)


def _rows(content: bytes, template: Template) -> list[Row]:
    """Records of a data set; what is shorter than the shortest record is padding (§3.3.1)."""
    if template.layout is not None:
        whole = len(content) - len(content) % template.layout.size
        return list(template.layout.iter_unpack(content[:whole]))
    shortest = sum(1 if length == _VARIABLE else length for _, length in template.fields)
    at = 0
    rows = []
    while len(content) - at >= shortest:
        row = []
        for _, length in template.fields:
            if length == _VARIABLE:
                at, length = _length(content, at)
            if at + length > len(content):
                raise PeerError("record", "ends within a field")
            row.append(content[at : at + length])
            at += length
        rows.append(tuple(row))
    return rows


def _length(content: bytes, at: int) -> tuple[int, int]:
    """Where a field of variable length begins, and its length."""
    if at < len(content) and content[at] < 255:
        return at + 1, content[at]
    if at + 3 > len(content):
        raise PeerError("record", "ends within a length")
    return at + 3, int.from_bytes(content[at + 1 : at + 3], "big")


def whole(octets: bytes) -> int:
    """An unsigned integer, of reduced size too (§6.2)."""
    return int.from_bytes(octets[:8], "big")
