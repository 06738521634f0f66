"""Writes an explanation as text, for a terminal: what `headend explain LINE_ID` prints. Pure."""

from __future__ import annotations

from controller.domain.price_text import in_words
from controller.workflows.explain import Explanation


def render(found: Explanation) -> str:
    """The whole explanation, one fact per line, the verdict last."""
    return "\n".join([*_head(found), *_price(found), *_arithmetic(found), *_records(found), *_verdict(found)]) + "\n"


def _head(found: Explanation) -> list[str]:
    line, invoice = found.line, found.invoice
    return [
        f"{invoice.kind} {invoice.number} of {invoice.issued_on}, line {line.position}: {line.description}",
        f"  days       {line.first_on} until {line.until_on} (exclusive)",
        f"  quantity   {line.quantity} {line.unit} × {line.unit_price} {line.net.currency}",
        f"  net        {line.net}   tax {line.tax_percent} % {line.tax}",
        f"  account    {invoice.account_id}   subscription {line.subscription_id}   service {line.service_id}",
        f"  charge     {line.charge_id}" + ("   (corrects an earlier bill)" if line.adjustment else ""),
    ]


def _price(found: Explanation) -> list[str]:
    if found.detail is None:
        return ["", "Price: none, it belongs to no offering"]
    tariff = found.detail.tariff
    return [
        "",
        f"Price: {tariff.offering_name}, version {tariff.number} ({tariff.version_id}) of {tariff.effective_on}",
        *(f"  {price.code}: {in_words(price, tariff.currency, tariff.plan.cycle)}" for price in tariff.plan.prices),
    ]


def _arithmetic(found: Explanation) -> list[str]:
    steps = [f"  {step}" for step in found.steps]
    if found.detail is None:
        return ["", "Arithmetic:", *steps]
    period = found.detail.rated.period
    return ["", f"Arithmetic for {period.first_on} until {period.until_on}:", *steps]


def _records(found: Explanation) -> list[str]:
    if not found.records:
        return []
    lines = ["", f"Usage records ({len(found.records)}), running totals as sent, and what each added on these days:"]
    for evidence in found.records:
        r = evidence.record
        lines.append(
            f"  {r.record_id}  {r.kind:<7} session {r.session_key} ({_session_id(r.acct_session_id)})"
            f"  up {r.upstream_octets} down {r.downstream_octets}"
            f"  +{evidence.upstream_octets}/+{evidence.downstream_octets}"
            f"  at {r.event_at.isoformat()} arrived {r.received_at.isoformat()}"
            f"  sha256 {r.packet_sha256.hex()}{'' if r.intact else '  ALTERED'}"
        )
    up = sum(e.upstream_octets for e in found.records)
    down = sum(e.downstream_octets for e in found.records)
    return [*lines, f"  sum from the records: up {up} + down {down} = {up + down} octets"]


def _session_id(octets: bytes) -> str:
    """A NAS's Acct-Session-Id as its operator knows it: text where it is printable, else hexadecimal after 0x."""
    text = octets.decode("ascii", errors="replace")
    return text if octets.isascii() and text.isprintable() else f"0x{octets.hex()}"


def _verdict(found: Explanation) -> list[str]:
    if found.intact:
        return ["", "Intact: every figure was found again from its evidence."]
    return ["", "NOT INTACT:", *(f"  {fault}" for fault in found.faults)]
