"""The certificate of a bill run: what was proved, before the first number was taken and after the last, and signed.

    before   octets read = accounted for · of every source accepted = rated + unrated + suspense + duplicate
             recurring lines = opening + movements + proration + earlier periods
             each period by the day · charges = drafts                                      else nothing is issued
    after    drafts less those that wait = documents = lines + tax = journal = what is to be paid · numbers complete
             each document says what its draft said · nothing else is left                  else no certificate

The file is JSON: the signed text as it was signed, and the Ed25519 signature over its octets. `read` checks it without
a controller. Sums are integer minor units; exact ones have decimals.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from billing_bridge.billing.again_rows import RatedAgain
from billing_bridge.billing.drafts import DraftSums
from billing_bridge.billing.holds import Hold
from billing_bridge.billing.model import BillRun
from billing_bridge.billing.tally import Sums, Tally, proved
from billing_bridge.sources.ledger import DISPOSITIONS, Hour
from controller.domain.errors import RuleError
from controller.store.signing import Signature, key_id, verified
from erp.finance.run_proof import RunProof, Written

VERSION = 1
LISTED = 1000
"""Accounts that are named, of those that wait and of those that were rated again."""
_PLACES = Decimal("0.000001")


class Unproven(RuleError):
    """The sums of a bill run do not agree: nothing (more) of it is issued."""

    code = "bill-run-unproven"


class BadCertificate(RuleError):
    code = "bad-certificate"


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    holds: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """What the documents said compared with their drafts; `sha256` covers all of them in order of account."""

    documents: int
    differing: int
    sha256: str


def before(tally: Tally, charged: Mapping[str, tuple[int, int]], sums: Sequence[DraftSums]) -> list[Check]:
    """What must hold before a number is taken."""
    found = [Check(*check) for check in proved(tally)]
    drafted = {s.currency: (s.charges, s.agreed) for s in sums}
    counted = {c: s.lines for c, s in tally.sums.items() if s.lines or c in charged}
    rated = {c: minor for c, (_, minor) in charged.items()}
    said = f"charges {_said(charged)}, drafts {_said(drafted)}"
    found.append(Check("charges-drafted", drafted == dict(charged), said))
    said = f"charges stored {_said(rated)}, counted while rating {_said(counted)}"
    found.append(Check("charges-counted", counted == rated, said))
    return found


def conserved(sources: Sequence[Hour], unbalanced: Sequence[Hour]) -> list[Check]:
    """Whether what every source told is accounted for, hour by hour: calls, flows, counters and RADIUS alike."""
    found = []
    for s in sources:
        wrong = [h.hour.isoformat() for h in unbalanced if h.source == s.source]
        parts = " + ".join(f"{name} {getattr(s, name)[0]} ({getattr(s, name)[1]})" for name in DISPOSITIONS)
        said = f"accepted {s.accepted[0]} records ({s.accepted[1]} octets or seconds) = {parts}"
        if wrong:
            said += f"; hours that do not add up: {', '.join(wrong[:5])}" + (" …" if len(wrong) > 5 else "")
        found.append(Check(f"usage-conserved-{s.source}", s.adds_up and not wrong, said))
    return found


def after(sums: Sequence[DraftSums], proof: RunProof, agreement: Agreement, left: int) -> list[Check]:
    """What must hold when all documents are written; `sums` are of the drafts that have theirs.

    `left` are batches with drafts that have none and wait for nobody.
    """
    found = [Check("all-else-issued", not left, f"{left} batches with drafts that neither wait nor have a document")]
    written = {w.currency: w for w in proof.written}
    for s in sums:
        w = written.get(s.currency, Written(s.currency, 0, 0, 0, 0))
        due, made = (s.documents, s.net, s.tax), (w.documents, w.net, w.tax)
        found.append(Check(f"drafts-issued-{s.currency}", due == made, f"(documents, net, tax) {due}, issued {made}"))
        charged, lined = (s.charges, s.agreed), (w.charges, w.agreed)
        found.append(Check(f"charges-on-lines-{s.currency}", charged == lined, f"charges {charged}, lines {lined}"))
    extra = sorted(written.keys() - {s.currency for s in sums})
    found.append(Check("nothing-else-issued", not extra, f"currencies without drafts: {extra or 'none'}"))
    found += [
        Check(
            f"lines-are-journal-{w.currency}",
            w.agrees,
            f"lines {w.line_net} + tax {w.line_tax}, documents {w.net} + {w.tax} = {w.total},"
            f" journal {w.receivable} = {-w.revenue} + {-w.taxes}",
        )
        for w in proof.written
    ]
    found += [
        Check(
            f"numbering-{n.series}",
            n.complete,
            f"{n.documents} of this run, {n.first} … {n.last}; ever {n.ever}, highest {n.highest},"
            f" last given {n.last_number}",
        )
        for n in proof.numbers
    ]
    found.append(
        Check(
            "documents-say-their-drafts",
            not agreement.differing,
            f"{agreement.differing} of {agreement.documents} differ",
        )
    )
    return found


def _said(by_currency: Mapping[str, object]) -> str:
    """Sums, or (number, sum), of each currency."""
    return ", ".join(f"{found} {currency}" for currency, found in sorted(by_currency.items())) or "none"


def require(checks: Iterable[Check]) -> None:
    """Raises Unproven, naming what does not hold."""
    failed = [f"{check.name}: {check.detail}" for check in checks if not check.holds]
    if failed:
        raise Unproven("; ".join(failed)[:1500])


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a certificate says."""

    run: BillRun
    number: int
    made_at: str
    tally: Tally
    sums: Sequence[DraftSums]
    issued: Sequence[DraftSums]
    proof: RunProof
    agreement: Agreement
    waiting: Sequence[Hold]
    again: Sequence[RatedAgain]
    late: Mapping[str, Any]
    sources: Sequence[Hour]
    checks: Sequence[Check]
    previous_sha256: str


def text_of(facts: Facts) -> str:
    """The text to be signed: canonical JSON."""
    run, tally = facts.run, facts.tally
    content = {
        "version": VERSION,
        "kind": "headend-bill-run-certificate",
        "bill_run_id": run.bill_run_id,
        "number": facts.number,
        "made_at": facts.made_at,
        "as_of": run.as_of.isoformat(),
        "account_id": run.account_id,
        "preview_id": run.preview_id,
        "watermarks": {"usage_records": run.usage_watermark, "events": run.event_watermark},
        "accounts": run.accounts,
        "usage_octets": {"read": tally.read, **tally.octets},
        "usage_sources": [_source(s) for s in facts.sources],
        "recurring": {c: _recurring(s) for c, s in sorted(tally.sums.items())},
        "drafts": [asdict(s) for s in facts.sums],
        "issued": _plain(facts.proof.written),
        "waiting": {
            "accounts": len({h.account_id for h in facts.waiting}),
            "drafts": _difference(facts.sums, facts.issued),
            "listed": [
                {"account_id": h.account_id, "source": h.source, "reason": h.reason} for h in facts.waiting[:LISTED]
            ],
        },
        "rated_again": [_again(a) for a in facts.again],
        "numbers": [asdict(n) for n in facts.proof.numbers],
        "documents_sha256": facts.agreement.sha256,
        "late": dict(facts.late),
        "checks": [asdict(check) for check in facts.checks],
        "previous_sha256": facts.previous_sha256,
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _again(found: RatedAgain) -> dict[str, Any]:
    """Who waited and was let go: what it came to then, and when it was rated again."""
    return {
        "account_id": found.account_id,
        "released_by": found.released_by,
        "reason": found.release_reason,
        "outcome": found.outcome,
        "before": {d.net.currency: {"net": d.net.minor, "tax": d.tax.minor} for d in found.before},
        "after": {d.net.currency: {"net": d.net.minor, "tax": d.tax.minor} for d in found.after},
    }


def same_documents(file: str, facts: Facts) -> bool:
    """Whether a certificate that was handed out is of these very documents."""
    signed = json.loads(json.loads(file)["signed"])
    return bool(
        signed["documents_sha256"] == facts.agreement.sha256 and signed["issued"] == _plain(facts.proof.written)
    )


def file_of(text: str, signature: Signature) -> str:
    """The certificate as it is handed out."""
    signed = {"algorithm": "Ed25519", **asdict(signature)}
    return json.dumps({"signed": text, "signature": signed}, indent=1, ensure_ascii=False) + "\n"


def read(file: str, *, public_key: str = "") -> tuple[dict[str, Any], str]:
    """(content, id of the key) of a certificate whose signature holds. Raises BadCertificate.

    Without `public_key` the key in the file is believed: that it was not altered since is shown, who signed it is not.
    """
    try:
        parsed = json.loads(file)
        text, signature = parsed["signed"], parsed["signature"]
        key, value = public_key or signature["public_key"], signature["value"]
        content = json.loads(text)
        if not isinstance(content, dict) or signature["algorithm"] != "Ed25519":
            raise BadCertificate("this is no certificate of a bill run")
        if not verified(key, text.encode(), value):
            raise BadCertificate("the signature does not hold: the text was altered, or another key has signed it")
        return content, key_id(base64.b64decode(key))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadCertificate(f"this is no certificate of a bill run: {type(error).__name__}: {error}") from None


def _source(s: Hour) -> dict[str, Any]:
    """Records, and octets or seconds, of a source over all its hours."""
    parts = ("accepted", *DISPOSITIONS)
    told = {name: {"records": getattr(s, name)[0], "amount": getattr(s, name)[1]} for name in parts}
    return {"source": s.source, "since": s.hour.isoformat(), **told}


def _plain(written: Sequence[Written]) -> list[dict[str, Any]]:
    return [asdict(w) for w in written]


def _recurring(s: Sums) -> dict[str, Any]:
    whole = {
        "subscriptions": s.subscriptions,
        "opening": s.opening,
        "movements": {"new": s.new, "up": s.up, "down": s.down, "churn": s.churn, "price": s.price},
        "closing": s.closing,
        "billed_by_earlier_runs": s.billed_before,
        "lines_before_proration": s.whole_periods,
    }
    exact = {"proration": s.proration, "earlier_periods": s.earlier, "rounding": s.rounding}
    return {
        **whole,
        **{name: f"{value.quantize(_PLACES).normalize():f}" for name, value in exact.items()},
        "recurring_lines": s.recurring,
        "in_arrears": s.arrears,
        "usage": s.usage,
        "one_off": s.one_off,
        "adjustments": {"lines": s.adjustment_lines, "minor": s.adjustments},
    }


def _difference(whole: Sequence[DraftSums], part: Sequence[DraftSums]) -> list[dict[str, Any]]:
    done = {s.currency: s for s in part}
    found = []
    for s in whole:
        o = done.get(s.currency, DraftSums(s.currency, 0, 0, 0, 0, 0))
        if s.documents != o.documents:
            left = {"documents": s.documents - o.documents, "net": s.net - o.net, "tax": s.tax - o.tax}
            found.append({"currency": s.currency, **left})
    return found
