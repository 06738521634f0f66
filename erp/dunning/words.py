"""What customers are told, in the languages Headend writes. Amounts and days are written by `erp.finance.words`. Pure.

The words are data: `languages/<language>.json`, each with the keys of the English file, for every language that
invoices have. A language without words of its own gets the English ones. `{…}` are filled in by `letter.content_of`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from erp.finance.words import LANGUAGES


@dataclass(frozen=True, slots=True)
class Text:
    subject: str
    body: str


@dataclass(frozen=True, slots=True)
class Language:
    """`texts` by the name of the notice, and the words around every one of them. `states` are those of a service: what
    is taken of it, and `voice` for a telephone of which nothing is."""

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
    services: str
    threat: str
    service: str
    since: str
    states: Mapping[str, str]
    texts: Mapping[str, Text]


def language_of(locale: str) -> Language:
    """Words for a locale such as "de_DE"."""
    wanted = locale.replace("-", "_").partition("_")[0].lower()
    return _read(wanted if wanted in LANGUAGES else "en")


@cache
def _read(language: str) -> Language:
    text = resources.files("erp.dunning").joinpath(f"languages/{language}.json").read_text(encoding="utf-8")
    found = json.loads(text)
    return Language(**found | {"texts": {name: Text(**told) for name, told in found["texts"].items()}})
