"""What bill runs look like over HTTP: what is asked, and what is answered."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field, JsonValue, RootModel

from billing_bridge.billing.again_rows import RatedAgain
from billing_bridge.billing.holds import Hold
from billing_bridge.billing.model import BillRun, DraftTotal
from billing_bridge.billing.run_book import Progress
from controller.http.endpoint import PageQuery
from controller.http.models import IdText, In, Instant, MoneyOut, Out
from controller.workflows.preview import Difference, between
from erp.finance.issue import Drafted


class BillRunIn(In):
    """`as_of` defaults to now: fees of the period it lies in are charged, and usage of every period closed by then.

    A `dry` run issues nothing. With `preview_id` the run is of the instant and account of that dry run, and is compared
    with it; with `hold_changed` accounts wait that differ from it. With `hold`, a reason, the run waits as a whole
    before its first document.
    """

    as_of: Instant | None = None
    account_id: IdText | None = None
    dry: bool = False
    preview_id: IdText | None = None
    hold_changed: bool = False
    hold: str = Field(default="", max_length=400)


class ProgressOut(Out):
    """`done` is a share of 1. Speed and time left are null while nothing is known of them."""

    done: float
    phase: str
    accounts_per_s: float | None
    left_s: float | None

    @classmethod
    def of(cls, found: Progress) -> ProgressOut:
        return cls(done=found.done, phase=found.phase, accounts_per_s=found.accounts_per_s, left_s=found.left_s)


class BillRunOut(Out):
    """`state` is queued, running, held, done or failed (then `error` says why, and a redrive goes on).

    `waiting_for`: the sources of usage that are not complete yet.
    """

    bill_run_id: str
    as_of: Instant
    account_id: str | None
    state: str
    dry: bool
    preview_id: str | None
    phase: str
    usage_watermark: int
    accounts: int
    batches: int
    batches_checked: int
    batches_done: int
    charges: int
    documents: int
    actor: str
    created_at: Instant
    finished_at: Instant | None
    error: str | None
    waiting_for: str | None

    @classmethod
    def of(cls, run: BillRun) -> BillRunOut:
        return cls(
            bill_run_id=run.bill_run_id,
            as_of=run.as_of,
            account_id=run.account_id,
            state=run.state,
            dry=run.dry,
            preview_id=run.preview_id,
            phase=run.phase,
            usage_watermark=run.usage_watermark,
            accounts=run.accounts,
            batches=run.batches,
            batches_checked=run.batches_checked,
            batches_done=run.batches_done,
            charges=run.charges,
            documents=run.documents,
            actor=run.actor,
            created_at=run.created_at,
            finished_at=run.finished_at,
            error=run.error,
            waiting_for=run.waiting_for,
        )


class RunWithProgressOut(BillRunOut):
    progress: ProgressOut


class DraftOut(Out):
    """What a document of the run comes to; `sha256` leaves out what only the issue adds."""

    account_id: str
    charges: int
    net: MoneyOut
    tax: MoneyOut
    total: MoneyOut
    issued: bool
    sha256: str

    @classmethod
    def of(cls, draft: DraftTotal) -> DraftOut:
        return cls(
            account_id=draft.account_id,
            charges=draft.charges,
            net=MoneyOut.of(draft.net),
            tax=MoneyOut.of(draft.tax),
            total=MoneyOut.of(draft.total),
            issued=draft.issued,
            sha256=draft.sha256.hex(),
        )


class DraftQuery(PageQuery):
    issued: bool | None = None


class ChangeOut(Out):
    where: str
    shown: str | None
    now: str | None


class DifferenceOut(Out):
    """Of one account: what the preview came to, what the run comes to, and in what they differ."""

    account_id: str
    currency: str
    shown: MoneyOut | None
    now: MoneyOut | None
    changes: list[ChangeOut]

    @classmethod
    def of(cls, found: Difference) -> DifferenceOut:
        return cls(
            account_id=found.account_id,
            currency=found.currency,
            shown=MoneyOut.of(found.shown) if found.shown else None,
            now=MoneyOut.of(found.now) if found.now else None,
            changes=[ChangeOut(where=c.where, shown=_text(c.shown), now=_text(c.now)) for c in found.changes],
        )


class RatedAgainQuery(PageQuery):
    """With `account_id` those of one account alone."""

    account_id: IdText | None = None


class RatedAgainOut(Out):
    """An account that waited, was let go and then rated again, and how its documents differ from those that waited.

    `outcome`: `unchanged`; `changed`, and it left; `held`, because the checks had something against what it had become;
    `blocked`, because it could not be rated alone: then it waits, and leaves as it was when it is let go once more.
    """

    account_id: str
    number: int
    rated_at: Instant
    released_by: str
    release_reason: str
    outcome: str
    documents: list[DifferenceOut]

    @classmethod
    def of(cls, found: RatedAgain) -> RatedAgainOut:
        return cls(
            account_id=found.account_id,
            number=found.number,
            rated_at=found.rated_at,
            released_by=found.released_by,
            release_reason=found.release_reason,
            outcome=found.outcome or "",
            documents=[DifferenceOut.of(each) for each in between(found.before, found.after)],
        )


class HoldOut(Out):
    """`account_id` is null for a hold of the whole run. It stands until `released_at`, and `to_rate` until then.

    An account that is released waits until it was rated again: see `rated-again`.
    """

    account_id: str | None
    source: str
    reason: str
    held_at: Instant
    held_by: str
    released_at: Instant | None
    released_by: str | None
    release_reason: str | None
    to_rate: bool

    @classmethod
    def of(cls, hold: Hold) -> HoldOut:
        return cls(
            account_id=hold.account_id or None,
            source=hold.source,
            reason=hold.reason,
            held_at=hold.held_at,
            held_by=hold.held_by,
            released_at=hold.released_at,
            released_by=hold.released_by,
            release_reason=hold.release_reason,
            to_rate=hold.to_rate,
        )


class HoldsOut(Out):
    holds: list[HoldOut]


class HoldIn(In):
    """Without `account_id` the whole run."""

    account_id: IdText | None = None
    reason: str = Field(min_length=1, max_length=400)


class ReleaseIn(HoldIn):
    """What the checks found is let go in the queue of exceptions, not here."""

    source: Literal["person", "preview", "proof"] = "person"


class CertificatesOut(Out):
    """Each is the file to be checked with `headend billing verify-certificate`; oldest first."""

    certificates: list[str]


class CertificateOut(RootModel[dict[str, JsonValue]]):
    """What a run proved, as it was signed: to be kept to the octet."""


class KeyOut(Out):
    """Ed25519, in base64."""

    public_key: str


class PreviewQuery(In):
    as_of: Instant | None = None


class PreviewOut(Out):
    """`content` is what the document would say, without number and dates."""

    net: MoneyOut
    tax: MoneyOut
    total: MoneyOut
    sha256: str
    content: dict[str, Any]

    @classmethod
    def of(cls, draft: Drafted) -> PreviewOut:
        return cls(
            net=MoneyOut.of(draft.net),
            tax=MoneyOut.of(draft.tax),
            total=MoneyOut.of(draft.total),
            sha256=draft.sha256.hex(),
            content=draft.content,
        )


class PreviewsOut(Out):
    documents: list[PreviewOut]


def _text(found: object) -> str | None:
    return None if found is None else found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
