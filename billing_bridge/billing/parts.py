"""The parts of a batch that can be rated alone: what one account's bill depends on, and what was known before. Pure.

An account is rated again by itself while the documents of the others of its batch are written. What belongs together is
found by who ever paid for whom, and by services that two subscriptions name; what a part counted is kept apart, so that
the tally of the batch is the sum of its parts whichever of them was rated again.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from billing_bridge.billing.model import Subscription
from billing_bridge.billing.payers import Payer
from billing_bridge.billing.tally import Recurring, Tally
from controller.domain.identity import AccountId, OfferingVersionId, SubscriptionId


@dataclass(frozen=True, slots=True)
class Before:
    """Of a subscription, as the run found it: what an earlier run had left to be rated, and its fees by then."""

    rate_from_on: date
    usage_billed_until_on: date | None
    opening: Recurring | None


@dataclass(slots=True)
class Part:
    accounts: tuple[AccountId, ...]
    before: dict[SubscriptionId, Before] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)


def together(
    subscriptions: Sequence[Subscription], paying: Mapping[str, Sequence[Payer]]
) -> list[tuple[tuple[AccountId, ...], list[Subscription]]]:
    """(accounts, subscriptions) of each part, in order of their first subscriptions."""
    heads: dict[str, str] = {}

    def head(of: str) -> str:
        while (up := heads.setdefault(of, of)) != of:
            of = up
        return of

    for s in subscriptions:
        for other in (s.service_id, *(payer.account_id for payer in paying.get(s.account_id, ()))):
            heads[head(other)] = head(s.account_id)
    found: dict[str, tuple[dict[AccountId, None], list[Subscription]]] = {}
    for s in subscriptions:
        accounts, own = found.setdefault(head(s.account_id), ({}, []))
        own.append(s)
        accounts[s.account_id] = None
        accounts.update((payer.account_id, None) for payer in paying.get(s.account_id, ()))
    return [(tuple(accounts), own) for accounts, own in found.values()]


def sum_of(parts: Iterable[Part]) -> Tally:
    found = Tally()
    for part in parts:
        found.add(part.tally)
    return found


def of_account(parts: Iterable[Part], account_id: AccountId) -> Part | None:
    return next((part for part in parts if account_id in part.accounts), None)


def packed(parts: Sequence[Part]) -> bytes:
    """As a batch keeps them."""
    told = [
        {
            "accounts": part.accounts,
            "before": {
                i: [
                    b.rate_from_on.isoformat(),
                    b.usage_billed_until_on and b.usage_billed_until_on.isoformat(),
                    b.opening and [b.opening.currency, b.opening.version_id, b.opening.quantity, b.opening.minor],
                ]
                for i, b in part.before.items()
            },
            "tally": part.tally.to_json(),
        }
        for part in parts
    ]
    return zlib.compress(json.dumps(told, separators=(",", ":")).encode(), 1)


def unpacked(kept: bytes | None) -> list[Part]:
    """None is a batch of which nothing waits any more."""
    if kept is None:
        return []
    return [
        Part(
            tuple(AccountId(i) for i in told["accounts"]),
            {SubscriptionId(i): _before(i, *values) for i, values in told["before"].items()},
            Tally.from_json(told["tally"]),
        )
        for told in json.loads(zlib.decompress(kept))
    ]


def _before(subscription_id: str, since: str, until: str | None, opening: list[object] | None) -> Before:
    known = None
    if opening is not None:
        currency, version_id, quantity, minor = opening
        known = Recurring(
            SubscriptionId(subscription_id),
            str(currency),
            OfferingVersionId(str(version_id)),
            int(str(quantity)),
            int(str(minor)),
        )
    return Before(date.fromisoformat(since), None if until is None else date.fromisoformat(until), known)
