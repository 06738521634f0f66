"""Totals by construction: lines, rate groups and documents agree to the cent, whatever the signs."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

from hypothesis import given
from hypothesis import strategies as st

from controller.domain.charge import ChargeKind
from controller.domain.money import Money
from erp.finance import deferral
from erp.finance.chart import Chart, default_accounts
from erp.finance.journal import Posting
from erp.finance.model import Draft, Open, draft, settle, tax_by_line
from tests.support.charges import charge

CHART = Chart(default_accounts())


def posted(document: Draft) -> tuple[Posting, ...]:
    """As it is posted in the month of its lines."""
    found = deferral.deferred(document.charges, date(2026, 9, 30), {})
    return deferral.postings(document, CHART, found, {})


def test_tax_of_a_group_is_rounded_once_and_given_to_the_largest_remainders() -> None:
    tax, parts = tax_by_line([Money(m, "EUR") for m in (333, 333, 334)], Decimal(19), ROUND_HALF_UP)
    assert tax.minor == 190
    assert [p.minor for p in parts] == [63, 63, 64]


def test_of_two_equal_remainders_the_earlier_line_gets_the_cent() -> None:
    """5.16 and 0.40 with 19 % in them, given back: what rounding down leaves of both is 73/119, which is no decimal."""
    credits = [replace(charge(net), tax_included=True) for net in (-516, -40)]
    assert [t.minor for t in draft(credits, ROUND_HALF_UP).taxes] == [-82, -7]


def test_credits_and_charges_share_a_group() -> None:
    made = draft([charge(-2000), charge(4000)], ROUND_HALF_UP)
    assert (made.net.minor, made.tax.minor, made.total.minor, made.kind) == (2000, 380, 2380, "invoice")


def test_negative_total_makes_a_credit_note_with_turned_postings() -> None:
    made = draft([charge(-2000)], ROUND_HALF_UP)
    assert made.kind == "credit-note"
    assert [(p.code, p.amount.minor) for p in posted(made)] == [
        ("1200", -2380),
        ("4400", 2000),
        ("3806", 380),
    ]


lines = st.lists(
    st.tuples(st.integers(-(10**9), 10**9), st.sampled_from(["0", "7", "19", "5.5"]), st.sampled_from(ChargeKind)),
    min_size=1,
    max_size=12,
)


@given(lines)
def test_lines_groups_total_and_postings_agree_to_the_cent(rows: list[tuple[int, str, ChargeKind]]) -> None:
    made = draft([charge(net, percent, kind) for net, percent, kind in rows], ROUND_HALF_UP)
    assert made.total.minor == sum(n for n, _, _ in rows) + sum(t.minor for t in made.taxes)
    assert made.tax.minor == sum(g.tax.minor for g in made.groups)
    for group in made.groups:
        exact = group.net.amount * group.percent / 100
        assert abs(group.tax.amount - exact) <= Decimal("0.005")
    for line, tax in zip(made.charges, made.taxes, strict=True):
        assert abs(tax.amount - line.net.amount * line.tax_percent / 100) < Decimal("0.01")
    assert sum(p.amount.minor for p in posted(made)) == 0


@given(st.lists(st.integers(1, 1000), max_size=6), st.lists(st.integers(1, 1000), max_size=6))
def test_settling_uses_credits_oldest_first_and_loses_nothing(owed: list[int], paid: list[int]) -> None:
    matched = settle([Open(f"i{n}", m) for n, m in enumerate(owed)], [Open(f"p{n}", m) for n, m in enumerate(paid)])
    assert sum(m for _, _, m in matched) == min(sum(owed), sum(paid))
    settled = [sum(m for i, _, m in matched if i == f"i{n}") for n in range(len(owed))]
    full = [s == o for s, o in zip(settled, owed, strict=True)]
    assert full == sorted(full, reverse=True)
    assert all(s <= o for s, o in zip(settled, owed, strict=True))
