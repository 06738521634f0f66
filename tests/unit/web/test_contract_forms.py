"""The forms of contracts of several promises: nothing that was written, or that remains, is left out silently."""

from __future__ import annotations

import pytest

from controller.http.problem import Problem
from controller.web.office import revenue_contracts

ON = "2026-12-01"


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
