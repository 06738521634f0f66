"""Letters and mails in every language that invoices have: complete, filled in, and printable."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from pypdf import PdfReader

from erp.dunning import letter, letter_pdf
from erp.dunning.policy import NOTICES
from erp.dunning.words import Language, language_of
from erp.finance.words import LANGUAGES, words_of

FIELDS = [name for name in Language.__slots__ if name != "texts"]


def content(locale: str, notice: str) -> dict[str, Any]:
    return {
        "version": 1, "text": notice, "day": "2026-11-18", "locale": locale, "currency": "EUR",
        "seller": {"name": "Testnetz", "address": "Kabelweg 1\n10115 Berlin", "tax_id": "", "iban": "DE02 1203"},
        "buyer": {"name": "Łucja Ńowak", "address": "Rua 1\n1000 Lisboa", "tax_id": "", "customer_id": "c",
                  "account_id": "a" * 32},
        "items": [{"number": "INV-2026-000007", "due_on": "2026-11-15", "open_minor": 123456, "disputed_minor": 100}],
        "fee_minor": 500, "total_minor": 123456,
    }  # fmt: skip


def placeholders(text: str) -> list[str]:
    return sorted(re.findall(r"{\w+}", text))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_says_everything_that_english_says(language: str) -> None:
    own, english = language_of(language), language_of("en")
    assert set(own.texts) == set(english.texts) == set(NOTICES)
    for name in FIELDS:
        assert placeholders(getattr(own, name)) == placeholders(getattr(english, name)), name
        assert getattr(own, name).strip()
    for name, text in own.texts.items():
        assert placeholders(text.subject) == placeholders(english.texts[name].subject), name
        assert text.body.endswith(".")
        assert language == "en" or text.body != english.texts[name].body


@pytest.mark.parametrize("notice", NOTICES)
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
    printed = "".join(page.extract_text() for page in PdfReader(io.BytesIO(letter_pdf.pdf(told))).pages)
    flat = re.sub(r"\s+", " ", printed)
    assert re.sub(r"\s+", " ", own.texts[notice].body) in flat
    assert "Łucja Ńowak" in flat


def test_a_language_without_words_reads_english_with_its_own_formats() -> None:
    assert language_of("sv_SE") is language_of("en")
    assert "1\xa0234,56\xa0€" in letter.plain(content("sv_SE", "reminder"))
