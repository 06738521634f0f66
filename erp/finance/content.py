"""What a document says, as plain JSON: the parties as they were named at issue, lines, taxes and totals. Pure.

The digest of its canonical text (sorted keys, no spaces, UTF-8) is stored with the invoice, and the PDF is drawn from
this content alone: a later change of a customer's name changes no document.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from controller.domain.charge import Missing
from erp.crm.model import Customer, Entity
from erp.finance.model import Draft


def content_of(
    document: Draft,
    *,
    number: str,
    issued_on: date,
    due_on: date,
    seller: Entity,
    buyer: Customer,
    iban: str,
    prepaid_minor: int = 0,
    regards: str = "",
    reason: str = "",
    undoes: str = "",
) -> dict[str, Any]:
    """The content of an invoice, credit note or debit note.

    `prepaid_minor` is what of the total credits had paid already; `regards` is the number of the document that a note
    corrects (several with ", " between), and `reason` why. `undoes` is its kind where it is no invoice.
    """
    locale = buyer.contact.language.replace("-", "_") or seller.locale
    home = home_of(seller)
    return {
        "version": 3,
        "kind": document.kind,
        "number": number,
        "issued_on": issued_on.isoformat(),
        "due_on": due_on.isoformat(),
        "locale": locale,
        "regards": regards,
        **({"undoes": undoes} if undoes else {}),
        "reason": reason,
        "currency": document.total.currency,
        "seller": {
            "name": seller.name,
            "address": seller.address,
            "country": home,
            "tax_id": seller.tax_id,
            "iban": iban,
        },
        "buyer": {
            "name": buyer.contact.name,
            "address": buyer.contact.address,
            "country": country_of(buyer.contact.tax_id) or home,
            "tax_id": buyer.contact.tax_id,
            "customer_id": buyer.customer_id,
            "account_id": buyer.account.account_id,
        },
        "lines": _lines(document, locale.replace("_", "-"), buyer.account.zone_info),
        "taxes": [
            {
                "percent": str(g.percent),
                "exemption": g.exemption,
                "category": g.category,
                "code": g.code,
                "net_minor": g.net.minor,
                "tax_minor": g.tax.minor,
            }
            for g in document.groups
        ],
        "levies": _levies(document),
        "net_minor": document.net.minor,
        "tax_minor": document.tax.minor,
        "total_minor": document.total.minor,
        "prepaid_minor": prepaid_minor,
    }


_MOST_GAPS = 5
AT_ISSUE = ("number", "issued_on", "due_on", "prepaid_minor")
"""What a document only gets at the moment it is issued: all else was known, and could be shown, before."""


def fingerprint(content: dict[str, Any]) -> bytes:
    """SHA-256 of what a document says but for AT_ISSUE: that of a preview is that of the document made of it."""
    return canonical({key: value for key, value in content.items() if key not in AT_ISSUE})[1]


def home_of(seller: Entity) -> str:
    """The country of a legal entity: as it was said, else by its VAT number, else by its locale."""
    return seller.country or country_of(seller.tax_id) or seller.locale.replace("-", "_").partition("_")[2][:2].upper()


def country_of(tax_id: str) -> str:
    """The country whose VAT number it is, by its prefix (ISO 3166-1, but Greece writes EL); "" for any other number."""
    prefix = tax_id.strip()[:2].upper()
    return {"EL": "GR", "XI": "GB"}.get(prefix, prefix) if prefix.isascii() and prefix.isalpha() else ""


def canonical(content: dict[str, Any]) -> tuple[str, bytes]:
    """The text that is stored, and its SHA-256."""
    text = _json(content)
    return text, digest(text)


@dataclass(frozen=True, slots=True)
class Said:
    """A content before the issue, as text: all of it is written but AT_ISSUE, whose keys stand between the pieces."""

    pieces: tuple[str | tuple[str, ...], ...]
    fingerprint: bytes

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Said:
        """Whatever it says AT_ISSUE is left out."""
        pieces: list[str | tuple[str, ...]] = []
        for at_issue, group in groupby(sorted(content), AT_ISSUE.__contains__):
            keys = tuple(group)
            pieces.append(keys if at_issue else _json({key: content[key] for key in keys})[1:-1])
        known = ",".join([piece for piece in pieces if isinstance(piece, str)])
        return cls(tuple(pieces), digest(f"{{{known}}}"))

    def issued(self, **at_issue: Any) -> tuple[str, bytes]:
        """`canonical` of the whole content, with the values of AT_ISSUE."""
        written = [
            piece if isinstance(piece, str) else ",".join([f'"{key}":{_json(at_issue[key])}' for key in piece])
            for piece in self.pieces
        ]
        text = f"{{{','.join(written)}}}"
        return text, digest(text)


_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _lines(document: Draft, language: str, zone: ZoneInfo) -> list[dict[str, Any]]:
    return [
        {
            "kind": c.kind.value,
            "item": c.item_in(language),
            "group": c.group,
            "adjustment": c.adjustment,
            "first_on": c.first_on.isoformat(),
            "until_on": c.until_on.isoformat(),
            "ends_on": c.ends_on.isoformat() if c.ends_on else None,
            **({"missing": _missing(c.missing, zone)} if c.missing else {}),
            "quantity": str(c.quantity),
            "unit": c.unit,
            "unit_price": str(c.unit_price),
            "tax_included": c.tax_included,
            "tax_percent": str(c.tax_percent),
            "category": c.tax_category,
            "exemption": c.exemption,
            "agreed_minor": agreed.minor,
            "net_minor": c.net.minor,
            "tax_minor": tax.minor,
        }
        for c, tax, agreed in zip(document.charges, document.taxes, document.agreed, strict=True)
    ]


def _missing(found: Missing, zone: ZoneInfo) -> dict[str, Any]:
    """How many bins, and the first gaps in the account's time; the explanation of the line has them all."""
    shown = [
        [port, since.astimezone(zone).isoformat(), until.astimezone(zone).isoformat()]
        for port, since, until in found.gaps[:_MOST_GAPS]
    ]
    more = len(found.gaps) - len(shown)
    return {"bins": found.bins, "expected": found.expected, "gaps": shown, "more": more}


def _levies(document: Draft) -> list[dict[str, Any]]:
    """Summed over the lines, in the order in which they first appear."""
    found: dict[tuple[str, str, str, str], list[int]] = {}
    for levy in document.levies:
        sums = found.setdefault((levy.code, levy.name, levy.authority, levy.rate), [0, 0])
        sums[0] += levy.base.minor
        sums[1] += levy.tax.minor
    return [
        {"code": code, "name": name, "authority": authority, "rate": rate, "base_minor": base, "tax_minor": tax}
        for (code, name, authority, rate), (base, tax) in found.items()
    ]
