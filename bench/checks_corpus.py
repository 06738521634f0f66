"""A seeded ISP with its bills, and errors put into some of them: what `billing_bridge.checks` is judged by."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from decimal import Decimal

from bench.checks_faults import (
    a_day_too_many,
    after_the_end,
    both_in_full,
    charged_again,
    credit_too_large,
    does_not_add_up,
    free_hours_charged,
    late_usage_twice,
    nothing_included,
    one_off_again,
    one_off_lines,
    other_plans_usage,
    part_for_a_whole,
    promotion_goes_on,
    raised,
    somebody_elses,
    ten_times_the_pieces,
    thirty_days,
    too_early,
    while_paused,
    whole_for_a_part,
)
from bench.checks_lines import (
    Spoiler,
    discount_lines,
    doubled,
    fee_lines,
    forgotten,
    net_times,
    never_made,
    of_offering,
    on_line,
    price_times,
    usage_lines,
)
from bench.checks_people import Draft, draft_of, people_of
from bench.checks_prices import CATALOGUE
from bench.checks_wrong_facts import (
    copied_price,
    counter_jump,
    direction_twice,
    ended_in_orders,
    lost_days,
    multiplied,
    neighbours,
    old_plan,
    old_quantity,
    spoiled_usage,
)
from billing_bridge.checks.case import Month
from billing_bridge.checks.history import cohort_of
from controller.domain.identity import OfferingId
from controller.domain.money import Money


class Corpus:
    """Accounts 0 … `size` − 1 of a seed. `each` errors of every kind are spread over them."""

    def __init__(self, seed: int, size: int, each: int) -> None:
        self.seed, self.size = seed, size
        quota = [kind for kind in KINDS for _ in range(each)]
        if len(quota) * 2 > size:
            raise ValueError(f"{len(quota)} errors need at least {2 * len(quota)} accounts")
        self._quota = quota
        months: dict[OfferingId, list[Mapping[Month, int]]] = {}
        for n in range(size):
            for sub in people_of(random.Random(f"{seed}/{n}"), n):
                version = next((c.version_id for _, c in reversed(sub.changes) if c.version_id), None)
                if version and sub.metered:
                    months.setdefault(CATALOGUE[version].offering_id, []).append(sub.months)
        self.cohorts = {offering: cohort_of(of) for offering, of in months.items()}

    def drafts(self) -> Iterator[tuple[str | None, Draft]]:
        """(kind of the error or None, bill), in order of account; some have no charge, rightly or by error."""
        rng = random.Random(f"{self.seed}/errors")
        waiting = list(self._quota)
        rng.shuffle(waiting)
        for n in range(self.size):
            draft = draft_of(self.seed, n)
            kind = None
            left = self.size - n
            if waiting and rng.random() < 1.6 * len(waiting) / left:
                kind = self._spoil(rng, draft, waiting)
            yield kind, draft

    def _spoil(self, rng: random.Random, draft: Draft, waiting: list[str]) -> str | None:
        tried: set[str] = set()
        for kind in list(waiting):
            if kind in tried:
                continue
            tried.add(kind)
            if KINDS[kind](rng, draft):
                waiting.remove(kind)
                return kind
        return None


KINDS: Mapping[str, Spoiler] = {
    "fee of zero": on_line(fee_lines, net=Money(0, "EUR"), unit_price=Decimal(0)),
    "fee with the sign turned": on_line(fee_lines, net=lambda c: -c.net, quantity=lambda c: -c.quantity),
    "fee line twice": doubled(fee_lines),
    "usage line twice": doubled(usage_lines),
    "fee line forgotten": forgotten(fee_lines),
    "usage line forgotten": forgotten(usage_lines),
    "bill never made": never_made,
    "no tax": on_line(fee_lines, tax_percent=Decimal(0)),
    "tax of another area": on_line(fee_lines, tax_percent=Decimal(20)),
    "reduced tax": on_line(usage_lines, tax_percent=Decimal(7)),
    "other currency": on_line(fee_lines, net=lambda c: Money(c.net.minor, "CHF")),
    "month charged again": charged_again,
    "month charged too early": too_early,
    "a day too many": a_day_too_many,
    "whole month for a part": whole_for_a_part,
    "part for a whole month": part_for_a_whole,
    "month divided by the wrong days": thirty_days,
    "both plans in full": both_in_full,
    "fee after the end": after_the_end,
    "fee while paused": while_paused,
    "line of somebody else": somebody_elses,
    "usage of a plan not held": other_plans_usage,
    "promotion goes on": promotion_goes_on,
    "promotion forgotten": forgotten(
        lambda d: [c for c in discount_lines(d) if CATALOGUE[c.version_id].offering_name == "home-plus"]
    ),
    "term discount forgotten": forgotten(
        lambda d: [c for c in discount_lines(d) if CATALOGUE[c.version_id].offering_name == "business"]
    ),
    "commitment not billed": forgotten(of_offering("transit")),
    "credit above the original": credit_too_large,
    "ten times the pieces": ten_times_the_pieces,
    "price ten times": on_line(fee_lines, **price_times("10")),
    "price a tenth": on_line(fee_lines, **price_times("0.1")),
    "line does not add up": does_not_add_up,
    "one-off again": one_off_again,
    "one-off forgotten": forgotten(one_off_lines),
    "included volume ignored": nothing_included,
    "GiB for GB": on_line(
        lambda d: [c for c in usage_lines(d) if c.unit == "GB"],
        quantity=lambda c: c.quantity * Decimal("0.931323"), net=lambda c: net_times(c, Decimal("0.931323")),
    ),
    "free hours charged": free_hours_charged,
    "raised once too often": raised("twice"),
    "raise forgotten": raised("never"),
    "late usage charged twice": late_usage_twice,
    "two sources summed": spoiled_usage(multiplied(2)),
    "two weeks of records lost": spoiled_usage(lost_days),
    "counter jumped": spoiled_usage(counter_jump),
    "usage of another line": spoiled_usage(neighbours),
    "downstream in both directions": spoiled_usage(direction_twice),
    "kilobytes for bytes": spoiled_usage(multiplied(1 / 1000)),
    "plan change never billed": old_plan,
    "copied price differs": copied_price,
    "old number of pieces": old_quantity,
    "ended, still billed": ended_in_orders,
}  # fmt: skip
"""What goes wrong → the function that does it to a bill; False where this bill does not lend itself to it."""
