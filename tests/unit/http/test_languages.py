"""Which of our languages a browser is answered in: RFC 9110 §12.5.4, looked up as RFC 4647 §3.4 has it."""

from __future__ import annotations

import pytest

from controller.http.languages import preferred

OFFERED = ("en", "de", "fr", "pl", "pt")


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("", "en"),
        ("de", "de"),
        ("PT-br", "pt"),
        ("sv, fr;q=0.3, pl;q=0.8, *;q=0.1", "pl"),
        ("sv;q=0.9, *;q=0.5, de;q=0.4", "en"),
        ("en;q=0, *", "de"),
        ("en;q=0, de;q=0.000, fr;q=0.001", "fr"),
        ("de;q=1.5, pl;q=high, fr;q=0.2", "fr"),
        ("de ; q=0.5, fr;q=0.5", "de"),
        (",,;q=1, -, \x00, *;q=0", "en"),
        ("sv", "en"),
        (",".join(["sv"] * 100 + ["de"]), "en"),
    ],
)
def test_rfc9110_12_5_4_the_language_asked_for_most_of_those_there_are(asked: str, answered: str) -> None:
    assert preferred(asked, OFFERED) == answered
