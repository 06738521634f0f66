"""IPFIX messages, laid out by hand as RFC 7011 §3 draws them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import UTC, datetime

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
T = int(NOW.timestamp())

Set = tuple[int, bytes]


def message(*sets: Set, sequence: int = 0, exported: int = T, domain: int = 7) -> bytes:
    body = b"".join(struct.pack("!HH", set_id, len(content) + 4) + content for set_id, content in sets)
    return struct.pack("!HHIII", 10, len(body) + 16, exported, sequence, domain) + body


def template(template_id: int, fields: Sequence[tuple[int, int]]) -> Set:
    content = struct.pack("!HH", template_id, len(fields))
    return 2, content + b"".join(struct.pack("!HH", *field) for field in fields)


def options_template(template_id: int, scope: int, fields: Sequence[tuple[int, int]]) -> Set:
    """The first `scope` of the fields say what the options are about."""
    content = struct.pack("!HHH", template_id, len(fields), scope)
    return 3, content + b"".join(struct.pack("!HH", *field) for field in fields)


def data(template_id: int, fields: Sequence[tuple[int, int]], *records: Sequence[int]) -> Set:
    """Records of unsigned integers."""
    return template_id, b"".join(
        value.to_bytes(length, "big") for record in records for value, (_, length) in zip(record, fields, strict=True)
    )
