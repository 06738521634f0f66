"""The answer of whois for people who must sign it: who, which session, since when until when, and the records. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from controller.domain.terminal import plain
from radius.accounting.addressing import ALL_PORTS
from radius.accounting.routes import session_id_text
from radius.accounting.whois import Evidence, Holder


def render(holders: Sequence[Holder]) -> str:
    """A paragraph for each holder; the empty text for none."""
    text = "\n\n".join(_holder(holder) for holder in holders)
    return f"{len(holders)} sessions: the evidence is ambiguous\n\n{text}" if len(holders) > 1 else text


def _holder(holder: Holder) -> str:
    ports = (holder.first_port, holder.last_port)
    which = "" if ports == ALL_PORTS else f" ports {ports[0]} to {ports[1]}"
    until = "now" if holder.until is None else holder.until.isoformat()
    certainty = "  (last heard of; no Stop)" if holder.is_provisional else ""
    lines = [
        f"user name    {holder.username}",
        f"service      {holder.service_id or 'unknown'}",
        f"session      {session_id_text(holder.acct_session_id)} on NAS {holder.nas_id} ({holder.session_key})",
        f"{holder.kind:<16} {holder.network}{which}",
        f"since        {holder.since.isoformat()}",
        f"until        {until}{certainty}",
    ]
    if holder.calling_station_id is not None:
        lines.insert(3, f"line         {holder.calling_station_id}")
    for one in holder.evidence:
        lines += _evidence(one)
    return "\n".join(map(plain, lines))


def _evidence(one: Evidence) -> list[str]:
    altered = "" if one.intact else "  ALTERED"
    return [
        f"record {one.record_id}  {one.kind} of {one.event_at.isoformat()}, received {one.received_at.isoformat()}",
        f"  packet {one.packet_sha256}",
        f"  record {one.record_sha256}{altered}",
    ]
