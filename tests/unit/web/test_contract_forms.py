"""The forms of contracts of several promises: nothing that was written, or that remains, is left out silently."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from controller.http.problem import Problem
from controller.web.office import revenue_contracts

ON = "2026-12-01"
TODAY: Any = SimpleNamespace(now=datetime(2026, 12, 1, 9, tzinfo=UTC))


def planned(name: str, first_on: str, until_on: str | None, *, ends: str | None = None) -> dict[str, Any]:
    amount = {"amount": "480.00", "currency": "EUR"}
    pieces = [{"first_on": first_on, "until_on": ends or until_on or first_on, "amount": amount}]
    return {
        "name": name, "role": "revenue-recurring", "first_on": first_on, "until_on": until_on, "stand_alone": amount,
        "slices": pieces,
    }  # fmt: skip


def started(plan: list[dict[str, Any]], changed_on: str) -> dict[str, str]:
    """What stands in the fields of a fresh form of a change."""
    found = {
        "contract_id": "1", "reference": "C-1", "price": {"amount": "1", "currency": "EUR"}, "plan": plan,
        "changes": [{"version": 2, "at_on": changed_on}],
    }  # fmt: skip
    return {field.key: field.start for field in revenue_contracts._change_form(TODAY, found).fields}


def test_a_change_begins_with_all_that_remains_and_no_price_of_days_that_are_over() -> None:
    over = planned("Over", "2025-12-01", ON)
    delivered = planned("Router", "2026-11-30", None)
    running = [planned(f"Fibre {n}", "2026-06-01", "2027-06-01") for n in range(11)]
    to_come = [planned("Television", "2027-01-01", "2027-06-01"), planned("Installation", "2027-02-01", None)]
    form = started([over, delivered, *running, *to_come], "2026-06-01")
    assert form["at_on"] == ON
    names = [form[f"promises.{n}.name"] for n in range(14)]
    assert names == [*(f"Fibre {n}" for n in range(11)), "Television", "Installation", ""]
    shown = [
        tuple(form[f"promises.{n}.{key}"] for key in ("stand_alone.amount", "first_on", "until_on"))
        for n in (0, 10, 11, 12)
    ]
    assert shown == [
        ("", "", "2027-06-01"), ("", "", "2027-06-01"), ("480.00", "2027-01-01", "2027-06-01"),
        ("480.00", "2027-02-01", ""),
    ]  # fmt: skip
    assert len(form) == 4 + 14 * 5


def test_a_change_after_one_of_a_day_to_come_begins_on_that_day_with_each_promise_once() -> None:
    before = planned("Fibre", "2026-06-01", "2027-06-01", ends="2027-01-01")
    after = planned("Fibre", "2027-01-01", "2027-06-01")
    form = started([before, after], "2027-01-01")
    assert (form["at_on"], form["promises.0.until_on"], form["promises.0.first_on"]) == ("2027-01-01", "2027-06-01", "")
    assert (form["promises.0.name"], form["promises.1.name"]) == ("Fibre", "")


def test_a_row_with_a_price_and_no_name_or_a_name_and_no_price_is_refused_by_its_number() -> None:
    rows = {
        "0": {"name": "Fibre", "kind": "recurring", "stand_alone": {"amount": "480"}, "until_on": "2027-12-01"},
        "1": {"kind": "recurring", "stand_alone": {"amount": "120"}},
        "2": {"kind": "recurring"},
        "3": {"name": "Router", "kind": "equipment"},
    }
    with pytest.raises(Problem) as refused:
        revenue_contracts._promised({"promises": rows}, "EUR", ON)
    assert refused.value.status == 422
    assert [(e.pointer, e.detail[:5]) for e in refused.value.errors] == [
        ("#/promises/1/name", "row 2"),
        ("#/promises/3/stand_alone", "row 4"),
    ]
    del rows["1"], rows["3"]
    (promise,) = revenue_contracts._promised({"promises": rows}, "EUR", ON)["promises"]
    assert (promise["name"], promise["first_on"], promise["stand_alone"]["currency"]) == ("Fibre", ON, "EUR")
