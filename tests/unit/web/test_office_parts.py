"""Parts of office pages that decide something by themselves: addresses, instalments, rates over time, pictures."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from controller.domain.money import Money
from controller.web.office import catalog, write_offs
from controller.web.office.bars import bars_of, bars_of_counts
from controller.web.office.form import account_id
from controller.web.office.instalments import covered, instalments
from controller.web.office.table import Column
from controller.web.office.taxes import over_time


def test_a_value_somebody_chose_stays_one_part_of_an_address() -> None:
    column = Column("User name", "username", link="/sessions?q={username}")
    assert 'href="/sessions?q=a%26b%3Dc%2F%3C"' in column.write({"username": "a&b=c/<"})
    assert "<b>" not in column.write({"username": "<b>"})


def test_an_address_of_our_own_making_is_taken_as_it_is() -> None:
    column = Column("Account", "name", link="{href}")
    assert 'href="/ledger/accounts/1200?currency=EUR"' in column.write(
        {"name": "Bank", "href": "/ledger/accounts/1200?currency=EUR"}
    )


def test_what_has_no_page_is_no_link() -> None:
    assert "<a" not in Column("Source", "source", link="{href}").write({"source": "radius", "href": ""})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"Ada (Analytics) Lovelace ({'0' * 31}1)", "0" * 31 + "1"),
        ("0" * 31 + "2", "0" * 31 + "2"),
        ("Ada Lovelace", "Ada Lovelace"),
        ("Ada (0199)", "Ada (0199)"),
    ],
)
def test_an_account_is_the_id_at_the_end_of_what_was_chosen(text: str, found: str) -> None:
    assert account_id(text) == found


@pytest.mark.parametrize(
    ("step", "days"),
    [
        ("month", ["2027-01-31", "2027-02-28", "2027-03-31"]),
        ("fortnight", ["2027-01-31", "2027-02-14", "2027-02-28"]),
        ("week", ["2027-01-31", "2027-02-07", "2027-02-14"]),
    ],
)
def test_instalments_add_up_and_fall_on_the_day_of_the_first(step: str, days: list[str]) -> None:
    parts = instalments(Money(10000, "EUR"), 3, date(2027, 1, 31), step)
    assert [part["due_on"] for part in parts] == days
    assert [part["amount"] for part in parts] == [
        {"amount": amount, "currency": "EUR"} for amount in ("33.34", "33.33", "33.33")
    ]


def test_a_plan_is_about_what_is_overdue_or_about_everything() -> None:
    row = {"day": "2026-11-22", "debts": [{"since": "2026-11-21"}, {"since": "2026-11-22"}]}
    assert covered(row, "overdue") == row["debts"][:1]
    assert covered(row, "open") == row["debts"]


def test_rates_follow_one_another_by_class_and_area() -> None:
    def rate(agreed: str, area: str, since: str, percent: str) -> dict[str, Any]:
        return {"agreed": agreed, "area": area, "since": since, "percent": percent}

    found = over_time(
        [
            rate("19", "", "2020-07-01", "16"),
            rate("19", "", "2027-01-01", "20"),
            rate("19", "", "2021-01-01", "19"),
            rate("7", "", "2020-07-01", "5"),
            rate("19", "DE-HEL", "2021-01-01", "0"),
        ],
        date(2026, 11, 22),
    )
    assert [(row["class_shown"], row["where"], row["since"], row["until"], row["state"]) for row in found] == [
        ("7 %", "everywhere else", "2020-07-01", None, "active"),
        ("19 %", "everywhere else", "2027-01-01", None, "to come"),
        ("19 %", "everywhere else", "2021-01-01", "2027-01-01", "active"),
        ("19 %", "everywhere else", "2020-07-01", "2021-01-01", "past"),
        ("19 %", "DE-HEL", "2021-01-01", None, "active"),
    ]


def test_bars_are_as_long_as_their_amounts_and_nothing_is_no_picture() -> None:
    def euro(amount: str) -> dict[str, str]:
        return {"amount": amount, "currency": "EUR"}

    (picture,) = bars_of("By age", [("not due", euro("50.00"), "good"), ("over 90", euro("-200.00"), "bad")])
    assert [(bar.label, bar.share, bar.tone) for bar in picture.rows] == [
        ("not due", 25.0, "good"),
        ("over 90", 100.0, "bad"),
    ]
    assert bars_of("By age", [("not due", euro("0.00"), "good")]) == []
    assert bars_of("By age", []) == []


def test_counts_are_drawn_like_amounts() -> None:
    (picture,) = bars_of_counts(
        "Records", [("rated", 3000, "good"), ("suspense", 30, "bad"), ("duplicate", 0, "plain")]
    )
    assert [(bar.words, bar.share) for bar in picture.rows] == [("3,000", 100.0), ("30", 1.0), ("0", 0.0)]


def test_every_form_that_writes_off_has_a_reference_of_its_own() -> None:
    row = {"number": "INV-1", "invoice_id": "i", "open": {"amount": "5.00", "currency": "EUR"}}
    first, second = [
        next(field for field in write_offs._form(row).fields if field.key == "reference") for _ in range(2)
    ]
    assert (first.kind, len(first.start)) == ("hidden", 16)
    assert first.start != second.start


def test_the_price_in_force_is_told_in_each_currency() -> None:
    def version(number: int, day: str, amount: str, currency: str) -> dict[str, object]:
        return {"number": number, "effective_on": day, "monthly_fee": {"amount": amount, "currency": currency}}

    versions = [
        version(1, "2026-01-01", "30.00", "EUR"),
        version(2, "2026-02-01", "33.00", "CHF"),
        version(3, "2026-03-01", "35.00", "EUR"),
    ]
    assert catalog.in_force(versions, date(2026, 2, 1)) == {"now": versions[0], "in_others": "33.00\u00a0CHF"}
    assert catalog.in_force(versions, date(2026, 3, 1)) == {"now": versions[2], "in_others": "33.00\u00a0CHF"}
    assert catalog.in_force(versions, date(2025, 1, 1)) == {"now": versions[0], "in_others": ""}
