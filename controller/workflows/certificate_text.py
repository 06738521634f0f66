"""A certificate in words, for a terminal: what was counted, what it came to, and each thing that was proved. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from controller.domain.money import Money


def render(content: Mapping[str, Any]) -> str:
    return "\n".join(_lines(content))


def _lines(c: Mapping[str, Any]) -> Iterator[str]:
    yield f"Bill run {c['bill_run_id']}, certificate {c['number']}, as of {c['as_of']}, made at {c['made_at']}"
    octets = c["usage_octets"]
    fates = ", ".join(f"{name} {octets[name]:,}" for name in octets if name != "read" and octets[name])
    yield f"Usage: {octets['read']:,} octets read" + (f" = {fates}" if fates else "")
    for currency, found in c["recurring"].items():
        yield from _recurring(currency, found)
    for w in c["issued"]:
        total = Money(w["total"], w["currency"])
        yield f"Issued: {w['documents']} documents over {total}, of which tax {Money(w['tax'], w['currency'])}"
    waiting = c["waiting"]
    for left in waiting["drafts"]:
        yield f"Waiting: {left['documents']} documents over {Money(left['net'] + left['tax'], left['currency'])}"
    for held in waiting["listed"]:
        yield f"  {held['account_id'] or 'all'} ({held['source']}): {held['reason']}"
    for again in c.get("rated_again", ()):
        amounts = " → ".join(_totals(again[key]) for key in ("before", "after"))
        yield f"Rated again: {again['account_id']}, {again['outcome']}, {amounts}, let go by {again['released_by']}"
    for n in c["numbers"]:
        yield f"Numbers: {n['series']}, {n['documents']} of {n['first']} … {n['last']}"
    late = c["late"]
    yield (
        f"Late: {len(late['adjustments'])} adjustments listed, {late['records_after_the_watermark']} records after"
        f" the watermark, {sum(s['items'] for s in late['suspense'])} items in suspense"
    )
    for a in late["adjustments"]:
        yield (
            f"  {a['account_id']}, {a['kind']} of {a['first_on']} until {a['until_on']}: "
            f"{Money(a['net_minor'], a['currency'])}"
        )
    for s in late["suspense"]:
        yield f"  {s['items']} in suspense ({s['reason']}) since {s['since']}"
    for check in c["checks"]:
        yield f"{'holds' if check['holds'] else 'FAILS'}  {check['name']}: {check['detail']}"


def _totals(found: Mapping[str, Mapping[str, int]]) -> str:
    return ", ".join(str(Money(sums["net"] + sums["tax"], currency)) for currency, sums in found.items()) or "nothing"


def _recurring(currency: str, r: Mapping[str, Any]) -> Iterator[str]:
    def money(minor: int) -> str:
        return str(Money(minor, currency))

    moved = ", ".join(f"{name} {money(minor)}" for name, minor in r["movements"].items() if minor)
    yield f"Recurring: opening {money(r['opening'])}, {moved or 'nothing moved'}, closing {money(r['closing'])}"
    yield (
        f"  lines {money(r['recurring_lines'])} = before proration {money(r['lines_before_proration'])}"
        f" + proration {r['proration']} + earlier periods {r['earlier_periods']} + rounding {r['rounding']} minor units"
    )
    apart = {"in arrears": r["in_arrears"], "usage": r["usage"], "one-off": r["one_off"]}
    yield "  apart: " + ", ".join(f"{name} {money(minor)}" for name, minor in apart.items())
