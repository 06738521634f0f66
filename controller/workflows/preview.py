"""What would be billed, and how what is billed differs from what was shown: previews of accounts and of whole runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from billing_bridge.billing.model import BillRun, DraftTotal
from billing_bridge.billing.run_book import RunBook
from billing_bridge.billing.service import BillingService
from controller.domain.errors import Conflict
from controller.domain.identity import AccountId
from controller.domain.money import Money
from erp.finance.content import AT_ISSUE
from erp.finance.issue import Drafted
from erp.finance.service import FinanceService


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that a document says otherwise than its preview; None is nothing at all."""

    where: str
    shown: object
    now: object


@dataclass(frozen=True, slots=True)
class Difference:
    """Of one account in one currency. None where only the other run has a document."""

    account_id: AccountId
    currency: str
    shown: Money | None
    now: Money | None
    changes: tuple[Change, ...]


class Previews:
    def __init__(self, billing: BillingService, book: RunBook, finance: FinanceService) -> None:
        self._billing = billing
        self._book = book
        self._finance = finance

    async def of_account(self, account_id: AccountId, as_of: datetime | None = None) -> list[Drafted]:
        """The documents that a run would make for an account now. Raises NotFound, FutureBillRun."""
        await self._finance.require_account(account_id)
        charges = await self._billing.preview(account_id, as_of)
        return await self._finance.drafts(charges) if charges else []

    async def differences(self, run: BillRun, after: tuple[str, str] | None, limit: int) -> list[Difference]:
        """How a run differs from the preview that it names, by account. Raises Conflict when it names none.

        Of a preview that is not kept any more only the totals are known.
        """
        if run.preview_id is None:
            raise Conflict(f"bill run {run.bill_run_id} was not started from a preview")
        keys = await self._book.differing(run.bill_run_id, run.preview_id, after, limit)
        accounts = sorted({account_id for account_id, _ in keys})
        shown = _by_key(await self._book.drafts_of(run.preview_id, accounts))
        now = _by_key(await self._book.drafts_of(run.bill_run_id, accounts))
        kept = (await self._billing.bill_run(run.preview_id)).contents
        contents = await self._contents(run, keys) if kept else {}
        return [
            Difference(
                *key,
                shown[key].total if key in shown else None,
                now[key].total if key in now else None,
                tuple(_changes(shown[key].content or {} if key in shown else {}, contents.get(key, {})))
                if kept
                else (),
            )
            for key in keys
        ]

    async def _contents(
        self, run: BillRun, keys: Sequence[tuple[AccountId, str]]
    ) -> dict[tuple[AccountId, str], Mapping[str, Any]]:
        """What the run says: in its documents, or what they would say that wait."""
        accounts = sorted({account_id for account_id, _ in keys})
        found: dict[tuple[AccountId, str], Mapping[str, Any]] = {}
        for issued in await self._finance.documents_of(run.bill_run_id, accounts):
            found[issued.account_id, issued.net.currency] = await self._finance.content(issued.invoice_id)
        waiting = sorted({key[0] for key in keys if key not in found})
        charged = await self._billing.charges_of_accounts(run.bill_run_id, waiting)
        charges = [c for c in charged if (c.account_id, c.net.currency) not in found]
        for draft in await self._finance.drafts(charges) if charges else ():
            found[draft.account_id, draft.net.currency] = draft.content
        return found


def between(before: Sequence[DraftTotal], after: Sequence[DraftTotal]) -> list[Difference]:
    """How documents of an account differ from what they were, currency by currency; of the same nothing changes.

    Where it is not kept what they said, only totals are compared.
    """
    shown, now = _by_key(before), _by_key(after)
    found = []
    for key in sorted({*shown, *now}):
        old, new = shown.get(key), now.get(key)
        known = all(d is None or d.content is not None for d in (old, new))
        changes = _changes((old and old.content) or {}, (new and new.content) or {}) if known else ()
        found.append(Difference(*key, old.total if old else None, new.total if new else None, tuple(changes)))
    return found


def _by_key(drafts: Sequence[DraftTotal]) -> dict[tuple[AccountId, str], DraftTotal]:
    return {(d.account_id, d.net.currency): d for d in drafts}


def _changes(shown: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Change]:
    for key in sorted({*shown, *now} - set(AT_ISSUE)):
        yield from _differing(key, shown.get(key), now.get(key))


def _differing(where: str, shown: object, now: object) -> Iterator[Change]:
    """The leaves in which two pieces of JSON differ."""
    if isinstance(shown, dict) and isinstance(now, dict):
        for key in sorted({*shown, *now}):
            yield from _differing(f"{where}.{key}", shown.get(key), now.get(key))
    elif isinstance(shown, list) and isinstance(now, list):
        for n in range(max(len(shown), len(now))):
            yield from _differing(
                f"{where}.{n + 1}", shown[n] if n < len(shown) else None, now[n] if n < len(now) else None
            )
    elif shown != now:
        yield Change(where, shown, now)
