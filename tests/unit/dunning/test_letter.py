"""Letters and mails in every language that invoices have: complete, filled in, and printable."""

from __future__ import annotations

import io
import re
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pypdf import PdfReader

from controller.domain.restriction import Measure
from erp.dunning import letter, letter_pdf
from erp.dunning.policy import NOTICES
from erp.dunning.words import Language, language_of
from erp.finance.words import LANGUAGES, words_of

FIELDS = [name for name in Language.__slots__ if name not in {"texts", "states"}]
LINES = {"name": "Fibre 100", "count": 2, "kind": "internet", "measure": "throttle", "downstream_bps": 1_500_000}
SERVICES: list[dict[str, Any]] = [
    {**LINES, "since": "2026-11-18"},
    {**LINES, "name": "Kabelfernsehen", "count": 1, "kind": "tv", "measure": "suspend", "downstream_bps": None,
     "since": None},
    {**LINES, "name": "Téléphone", "count": 1, "kind": "voice", "measure": "none", "downstream_bps": None,
     "since": None},
]  # fmt: skip


def content(locale: str, notice: str) -> dict[str, Any]:
    return {
        "version": 2, "text": notice, "day": "2026-11-18", "locale": locale, "currency": "EUR",
        "seller": {"name": "Testnetz", "address": "Kabelweg 1\n10115 Berlin", "tax_id": "", "iban": "DE02 1203"},
        "buyer": {"name": "Łucja Ńowak", "address": "Rua 1\n1000 Lisboa", "tax_id": "", "customer_id": "c",
                  "account_id": "a" * 32},
        "items": [{"number": "INV-2026-000007", "due_on": "2026-11-15", "open_minor": 123456, "disputed_minor": 100}],
        "services": SERVICES, "then": SERVICES if notice == "warning" else [], "fee_minor": 500, "total_minor": 123456,
    }  # fmt: skip


def placeholders(text: str) -> list[str]:
    return sorted(re.findall(r"{\w+}", text))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_says_everything_that_english_says(language: str) -> None:
    own, english = language_of(language), language_of("en")
    assert set(own.texts) == set(english.texts) == {*NOTICES, letter.SERVICES}
    assert set(own.states) == {*(measure.value for measure in Measure), "voice"}
    assert {k: placeholders(s) for k, s in own.states.items()} == {
        k: placeholders(s) for k, s in english.states.items()
    }
    for name in FIELDS:
        assert placeholders(getattr(own, name)) == placeholders(getattr(english, name)), name
        assert getattr(own, name).strip()
    for name, text in own.texts.items():
        assert placeholders(text.subject) == placeholders(english.texts[name].subject), name
        assert text.body.endswith(".")
        assert language == "en" or text.body != english.texts[name].body


@pytest.mark.parametrize("notice", [*NOTICES, letter.SERVICES])
@pytest.mark.parametrize("locale", ["fr_FR", "es_ES", "it_IT", "pl_PL", "pt_PT", "de_AT"])
def test_a_letter_is_whole_in_the_customers_language(locale: str, notice: str) -> None:
    told = content(locale, notice)
    own, words = language_of(locale), words_of(locale)
    mail = letter.plain(told)
    assert own.texts[notice].body in mail
    assert own.closing in mail
    assert words.money(123456, "EUR") in mail
    assert "{" not in mail + letter.subject(told)
    assert "INV-2026-000007" in mail
    speed = f"{words.number(Decimal('1.5'))}\xa0Mbit/s"
    since = own.since.format(day=words.day(date(2026, 11, 18)))
    told_of_each = [
        ("2 × Fibre 100", f"{own.states['throttle'].format(speed=speed)}, {since}"),
        ("Kabelfernsehen", own.states["suspend"]),
        ("Téléphone", own.states["voice"]),
    ]
    listed = "\n".join(f"- {own.service.format(name=name, state=state)}" for name, state in told_of_each)
    headings = [own.services, own.threat] if notice == "warning" else [own.services]
    assert all(f"\n\n{heading}\n{listed}\n\n" in mail for heading in headings)
    assert (own.threat in mail) is (notice == "warning")
    printed = "".join(page.extract_text() for page in PdfReader(io.BytesIO(letter_pdf.pdf(told))).pages)
    flat = re.sub(r"\s+", " ", printed)
    assert re.sub(r"\s+", " ", own.texts[notice].body) in flat
    assert "Łucja Ńowak" in flat
    for said in (*headings, *(cell.replace("\xa0", " ") for row in told_of_each for cell in row)):
        assert said.replace("\xa0", " ") in flat.replace("\xa0", " ")


def test_a_language_without_words_reads_english_with_its_own_formats() -> None:
    assert language_of("sv_SE") is language_of("en")
    assert "1\xa0234,56\xa0€" in letter.plain(content("sv_SE", "reminder"))


def test_a_notice_that_was_written_before_services_were_told_of_reads_as_it_was() -> None:
    told = content("en_GB", "throttle")
    del told["services"], told["then"]
    assert language_of("en").services not in letter.plain(told)
    assert letter_pdf.pdf(told | {"version": 1}).startswith(b"%PDF-")
