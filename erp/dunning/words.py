"""What customers are told, in the languages Headend writes. Amounts and days are written by `erp.finance.words`. Pure.

A language without words of its own gets the English ones. `{…}` are filled in by `letter.content_of`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    subject: str
    body: str


@dataclass(frozen=True, slots=True)
class Language:
    """`texts` by the name of the notice, and the words around every one of them."""

    greeting: str
    invoice: str
    due: str
    open: str
    disputed: str
    fee: str
    total: str
    pay: str
    pay_to: str
    paid: str
    closing: str
    texts: Mapping[str, Text]


_ENGLISH = Language(
    greeting="Dear {name},",
    invoice="Invoice",
    due="Due",
    open="Still open",
    disputed="of which you contest {amount}",
    fee="We charge {amount} for this letter.",
    total="Total",
    pay="Please transfer {total}, quoting {number}.",
    pay_to="Please transfer {total} to {iban}, quoting {number}.",
    paid="If you have paid in the meantime, please disregard this letter.",
    closing="With kind regards",
    texts={
        "reminder": Text(
            "A reminder of {number}",
            "we may have missed your payment, or it may have slipped your mind: the following was still open today.",
        ),
        "warning": Text(
            "{number} is overdue",
            "we have reminded you of the following and still miss your payment. If it does not arrive, we shall have"
            " to restrict your line.",
        ),
        "throttle": Text(
            "Your line is slower until {number} is paid",
            "since the following is still open, your line runs at a lower speed from today. It has its full speed"
            " again within seconds of your payment.",
        ),
        "garden": Text(
            "Your line is restricted until {number} is paid",
            "since the following is still open, only our payment page can be reached over your line from today."
            " Everything works again within seconds of your payment.",
        ),
        "suspension": Text(
            "Your line is suspended until {number} is paid",
            "since the following is still open in spite of our reminders, your line is suspended from today. It works"
            " again within seconds of your payment.",
        ),
        "termination": Text(
            "We are going to end your contract",
            "the following is still open and your line has been suspended for a while. Without your payment we shall"
            " end your contract.",
        ),
        "collections": Text(
            "We are going to hand over our claim",
            "the following is still open. Without your payment we shall hand our claim over to a collection agency,"
            " at your cost.",
        ),
    },
)

_GERMAN = Language(
    greeting="Guten Tag {name},",
    invoice="Rechnung",
    due="Fällig am",
    open="Noch offen",
    disputed="davon von Ihnen bestritten {amount}",
    fee="Für dieses Schreiben berechnen wir {amount}.",
    total="Gesamtbetrag",
    pay="Bitte überweisen Sie {total} unter Angabe von {number}.",
    pay_to="Bitte überweisen Sie {total} auf {iban} unter Angabe von {number}.",
    paid="Haben Sie inzwischen gezahlt, betrachten Sie dieses Schreiben bitte als gegenstandslos.",
    closing="Mit freundlichen Grüßen",
    texts={
        "reminder": Text(
            "Zahlungserinnerung zu {number}",
            "vielleicht haben wir Ihre Zahlung übersehen, oder sie ist Ihnen entgangen: heute war noch Folgendes"
            " offen.",
        ),
        "warning": Text(
            "Mahnung zu {number}",
            "wir haben Sie an das Folgende erinnert und vermissen Ihre Zahlung weiterhin. Geht sie nicht ein, müssen"
            " wir Ihren Anschluss einschränken.",
        ),
        "throttle": Text(
            "Ihr Anschluss ist langsamer, bis {number} bezahlt ist",
            "da Folgendes weiterhin offen ist, läuft Ihr Anschluss ab heute mit verringerter Geschwindigkeit. Sekunden"
            " nach Ihrer Zahlung hat er wieder seine volle.",
        ),
        "garden": Text(
            "Ihr Anschluss ist eingeschränkt, bis {number} bezahlt ist",
            "da Folgendes weiterhin offen ist, erreichen Sie über Ihren Anschluss ab heute nur noch unsere"
            " Zahlungsseite. Sekunden nach Ihrer Zahlung geht wieder alles.",
        ),
        "suspension": Text(
            "Ihr Anschluss ist gesperrt, bis {number} bezahlt ist",
            "da Folgendes trotz unserer Mahnungen offen ist, ist Ihr Anschluss ab heute gesperrt. Sekunden nach Ihrer"
            " Zahlung ist er wieder frei.",
        ),
        "termination": Text(
            "Wir werden Ihren Vertrag kündigen",
            "Folgendes ist weiterhin offen, und Ihr Anschluss ist seit Längerem gesperrt. Ohne Ihre Zahlung werden wir"
            " Ihren Vertrag kündigen.",
        ),
        "collections": Text(
            "Wir werden unsere Forderung abgeben",
            "Folgendes ist weiterhin offen. Ohne Ihre Zahlung werden wir unsere Forderung auf Ihre Kosten einem"
            " Inkassounternehmen übergeben.",
        ),
    },
)

_BY_LANGUAGE = {"en": _ENGLISH, "de": _GERMAN}


def language_of(locale: str) -> Language:
    """Words for a locale such as "de_DE"."""
    return _BY_LANGUAGE.get(locale.replace("-", "_").partition("_")[0].lower(), _ENGLISH)
