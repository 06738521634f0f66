"""The words of documents, and of the page of a customer's own usage, in the languages Headend prints, and how their
numbers and dates are written. Pure.

The words are data: `languages/<language>.json`, each with the keys of the English file. A locale without words of its
own gets English words and its own formats.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from importlib import resources

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_skeleton
from babel.numbers import format_currency, format_decimal, get_currency_symbol

from controller.domain.money import Money, exponent

LANGUAGES = ("en", "de", "es", "fr", "it", "pl", "pt")
_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Words:
    """Words and formats of one locale, made by `words_of`."""

    locale: Locale
    texts: Mapping[str, str]

    @property
    def language(self) -> str:
        """One of LANGUAGES: that of the texts."""
        return self.locale.language if self.locale.language in LANGUAGES else "en"

    def __getitem__(self, key: str) -> str:
        return self.texts[key]

    def money(self, minor: int, currency: str) -> str:
        """With the decimals of ISO 4217, whatever the locale is used to."""
        return format_currency(
            Money(minor, currency).amount,
            currency,
            locale=self.locale,
            currency_digits=False,
            format=self._of(currency),
        )

    def _of(self, currency: str) -> str:
        """The locale's pattern with as many decimals as the currency has."""
        pattern: str = self.locale.currency_formats["standard"].pattern
        digits = exponent(currency)
        if pattern.startswith("¤") and get_currency_symbol(currency, self.locale).isalpha():
            pattern = pattern.replace("¤", "¤\u00a0", 1)  # letters stand apart from the amount
        return pattern.replace(".00", f".{'0' * digits}" if digits else "")

    def price(self, amount: Decimal, currency: str) -> str:
        """A unit price, with as many decimals as it has (at least the currency's)."""
        digits = exponent(currency)
        places = max(digits, -int(amount.normalize().as_tuple().exponent))
        pattern = f"#,##0.{'0' * digits}{'#' * (places - digits)}" if places else "#,##0"
        return f"{format_decimal(amount, format=pattern, locale=self.locale)} {currency}"

    def number(self, value: Decimal) -> str:
        return format_decimal(value, format="#,##0.############", locale=self.locale)

    def rounded(self, value: Decimal, places: int) -> str:
        """With that many decimals, zeros too: figures that stand below each other."""
        return format_decimal(value, format=f"#,##0.{'0' * places}" if places else "#,##0", locale=self.locale)

    def percent(self, value: Decimal) -> str:
        return f"{self.number(value)}\u00a0%"

    def day(self, day: date) -> str:
        return format_date(day, format="medium", locale=self.locale)

    def month(self, day: date) -> str:
        """The month of a day, by its name, and the year: as they stand alone, not as part of a date."""
        return format_skeleton("yMMMM", day, locale=self.locale)

    def weekday(self, day: date) -> str:
        """The day of the week, shortened, and of the month."""
        return format_skeleton("Ed", day, locale=self.locale)

    def last_day(self, until_on: date) -> str:
        """Of what ends before `until_on`."""
        return self.day(until_on - _ONE_DAY)

    def days(self, first_on: date, until_on: date) -> str:
        """A half-open span as people write it, with its last day."""
        last = until_on - _ONE_DAY
        return self.day(first_on) if last <= first_on else f"{self.day(first_on)} – {self.day(last)}"

    def unit(self, name: str) -> str:
        """The units "day", "month", "piece" and "period" in words; GB is GB everywhere."""
        return self.texts.get(f"unit-{name}", name)


def words_of(locale: str) -> Words:
    """Words for a locale such as "de_DE". An unknown one reads English."""
    try:
        parsed = Locale.parse(locale, sep="_")
    except (ValueError, UnknownLocaleError):
        parsed = Locale("en")
    return Words(parsed, texts_of(parsed.language if parsed.language in LANGUAGES else "en"))


@cache
def texts_of(language: str) -> Mapping[str, str]:
    """Key → text of one of LANGUAGES."""
    text = resources.files("erp.finance").joinpath(f"languages/{language}.json").read_text(encoding="utf-8")
    found: Mapping[str, str] = json.loads(text)
    return found
