"""The words of documents in the languages Headend prints, and how their numbers and dates are written. Pure.

A locale without words of its own gets English words and its own formats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from babel import Locale, UnknownLocaleError
from babel.dates import format_date
from babel.numbers import format_currency, format_decimal

from controller.domain.money import Money

_ENGLISH: Mapping[str, str] = {
    "invoice": "Invoice",
    "credit-note": "Credit note",
    "number": "Number",
    "date": "Date",
    "due": "Due",
    "customer": "Customer",
    "account": "Account",
    "position": "#",
    "what": "Description",
    "quantity": "Quantity",
    "price": "Unit price",
    "tax": "Tax",
    "amount": "Amount",
    "recurring": "Monthly fee",
    "usage": "Usage beyond the included volume",
    "one-off": "One-off charge",
    "credit": "credit",
    "adjustment": "correction of an earlier bill",
    "net": "Net",
    "vat": "VAT {percent} on {net}",
    "total": "Total",
    "pay": "Please transfer {total} by {due}, quoting {number}.",
    "pay-to": "Please transfer {total} by {due} to {iban}, quoting {number}.",
    "credited": "{total} will be set off against your open invoices.",
    "tax-id": "VAT ID",
    "page": "Page {page} of {pages}",
    "day": "days",
    "month": "month",
}

_GERMAN: Mapping[str, str] = {
    "invoice": "Rechnung",
    "credit-note": "Gutschrift",
    "number": "Nummer",
    "date": "Datum",
    "due": "Fällig am",
    "customer": "Kunde",
    "account": "Konto",
    "position": "Pos.",
    "what": "Leistung",
    "quantity": "Menge",
    "price": "Einzelpreis",
    "tax": "USt.",
    "amount": "Betrag",
    "recurring": "Monatliche Grundgebühr",
    "usage": "Verbrauch über das Inklusivvolumen hinaus",
    "one-off": "Einmalige Leistung",
    "credit": "Gutschrift",
    "adjustment": "Korrektur einer früheren Abrechnung",
    "net": "Netto",
    "vat": "Umsatzsteuer {percent} auf {net}",
    "total": "Gesamtbetrag",
    "pay": "Bitte überweisen Sie {total} bis zum {due} unter Angabe von {number}.",
    "pay-to": "Bitte überweisen Sie {total} bis zum {due} auf {iban} unter Angabe von {number}.",
    "credited": "{total} werden mit Ihren offenen Rechnungen verrechnet.",
    "tax-id": "USt-IdNr.",
    "page": "Seite {page} von {pages}",
    "day": "Tage",
    "month": "Monat",
}

_BY_LANGUAGE = {"en": _ENGLISH, "de": _GERMAN}
_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Words:
    """Words and formats of one locale, made by `words_of`."""

    locale: Locale
    texts: Mapping[str, str]

    def __getitem__(self, key: str) -> str:
        return self.texts[key]

    def money(self, minor: int, currency: str) -> str:
        return format_currency(Money(minor, currency).amount, currency, locale=self.locale)

    def price(self, amount: Decimal, currency: str) -> str:
        """A unit price, with as many decimals as it has (at least the currency's)."""
        places = max(2, -int(amount.normalize().as_tuple().exponent))
        pattern = f"#,##0.{'0' * 2}{'#' * (places - 2)}"
        return f"{format_decimal(amount, format=pattern, locale=self.locale)} {currency}"

    def number(self, value: Decimal) -> str:
        return format_decimal(value, format="#,##0.############", locale=self.locale)

    def percent(self, value: Decimal) -> str:
        return f"{self.number(value)}\u00a0%"

    def day(self, day: date) -> str:
        return format_date(day, format="medium", locale=self.locale)

    def days(self, first_on: date, until_on: date) -> str:
        """A half-open span as people write it, with its last day."""
        last = until_on - _ONE_DAY
        return self.day(first_on) if last <= first_on else f"{self.day(first_on)} – {self.day(last)}"


def words_of(locale: str) -> Words:
    """Words for a locale such as "de_DE". An unknown one reads English."""
    try:
        parsed = Locale.parse(locale, sep="_")
    except (ValueError, UnknownLocaleError):
        parsed = Locale("en")
    return Words(parsed, _BY_LANGUAGE.get(parsed.language, _ENGLISH))
