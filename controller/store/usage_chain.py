"""The proof around the usage log: what a record's digest covers, and how commits are chained. Pure.

    record_sha256 = SHA-256(packet_sha256 ‖ canonical line of every stored field)
    link          = SHA-256(previous link ‖ header of this link ‖ record_sha256 …)

A line separates its fields by tabs; None is \\N; the two texts a peer chooses (username, Acct-Session-Id) are written
in hexadecimal, so no content can imitate another field. Record ids and link numbers are covered by the link, which
names the first id and the count of an unbroken range.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

FIRST_PREVIOUS = bytes(32)
"""What the first link of a writer stands on."""

Fields = tuple[str, str, str, bytes, str, str | None, int, int, int | None, int | None, int | None]
"""kind, session_key, nas_id, acct_session_id, username, service_id, event_us, received_us, session_time_s,
upstream_octets, downstream_octets: the stored fields of one record, in the order of the digest."""


def record_digest(packet_sha256: bytes, fields: Fields) -> bytes:
    """The digest that a stored record must still have."""
    kind, session_key, nas_id, acct_session_id, username, service_id, event, received, seconds, up, down = fields
    line = (
        f"{kind}\t{session_key}\t{nas_id}\t{acct_session_id.hex()}\t{username.encode().hex()}\t{service_id}"
        f"\t{event}\t{received}\t{seconds}\t{up}\t{down}"
    )
    return sha256(packet_sha256 + line.encode()).digest()


def link_digest(
    previous: bytes, writer: str, number: int, first_record_id: int, committed_us: int, digests: Sequence[bytes]
) -> bytes:
    """The link of one group commit, whose records have the ids first_record_id, first_record_id + 1 …"""
    header = f"{writer}\t{number}\t{first_record_id}\t{len(digests)}\t{committed_us}"
    return sha256(b"".join((previous, header.encode(), *digests))).digest()
