"""What a notice says: one content from which both the e-mail and the letter are written. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from erp.crm.model import Entity
from erp.dunning.model import disputed_of
from erp.dunning.standing import Standing
from erp.dunning.words import Language, language_of
from erp.finance.words import Words, words_of


@dataclass(frozen=True, slots=True)
class Written:
    """The content as canonical JSON, and its digest."""

    content: str
    sha256: bytes


def content_of(
    standing: Standing, notice_text: str, fee_minor: int, *, seller: Entity, iban: str, locale: str
) -> dict[str, Any]:
    """What is overdue of the account now, and what it is told about that."""
    state, facts, customer = standing.state, standing.facts, standing.customer
    contact = customer.contact
    return {
        "version": 1,
        "text": notice_text,
        "day": state.day.isoformat(),
        "locale": locale,
        "currency": customer.account.currency,
        "seller": {"name": seller.name, "address": seller.address, "tax_id": seller.tax_id, "iban": iban},
        "buyer": {
            "name": contact.name,
            "address": contact.address,
            "tax_id": contact.tax_id,
            "customer_id": customer.customer_id,
            "account_id": standing.account_id,
        },
        "items": [
            {
                "number": debt.number,
                "due_on": debt.since.isoformat(),
                "open_minor": debt.open_minor,
                "disputed_minor": min(debt.open_minor, disputed_of(debt.invoice_id, state.day, facts.disputes)),
            }
            for debt in facts.debts
            if debt.since < state.day
        ],
        "fee_minor": fee_minor,
        "total_minor": state.claimed_minor,
    }


def canonical(content: Mapping[str, Any]) -> Written:
    said = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return Written(said, hashlib.sha256(said.encode()).digest())


def subject(content: Mapping[str, Any]) -> str:
    """In one line."""
    language = language_of(content["locale"])
    return language.texts[content["text"]].subject.format(number=first(content))


def plain(content: Mapping[str, Any]) -> str:
    """The e-mail."""
    language, words = language_of(content["locale"]), words_of(content["locale"])
    rows = [
        (language.invoice, language.due, language.open),
        *(cells(i, content, language, words) for i in content["items"]),
    ]
    widths = [max(len(row[n]) for row in rows) for n in range(3)]
    table = [
        f"{number:<{widths[0]}}  {due:<{widths[1]}}  {amount:>{widths[2]}}".rstrip() for number, due, amount in rows
    ]
    paragraphs = [
        language.greeting.format(name=content["buyer"]["name"]),
        language.texts[content["text"]].body,
        "\n".join(table),
        *about(content, language, words),
        language.closing,
        "\n".join([content["seller"]["name"], *content["seller"]["address"].splitlines()]),
    ]
    return "\n\n".join(paragraphs) + "\n"


def about(content: Mapping[str, Any], language: Language, words: Words) -> list[str]:
    """What it costs, where to pay, and what if it was paid."""
    currency, iban = content["currency"], content["seller"]["iban"]
    total = words.money(content["total_minor"], currency)
    pay = language.pay_to if iban else language.pay
    fee = [language.fee.format(amount=words.money(content["fee_minor"], currency))] if content["fee_minor"] else []
    return [*fee, pay.format(total=total, iban=iban, number=first(content)), language.paid]


def cells(
    item: Mapping[str, Any], content: Mapping[str, Any], language: Language, words: Words
) -> tuple[str, str, str]:
    """Number, due day and amount of an invoice, as it stands in the table."""
    amount = words.money(item["open_minor"], content["currency"])
    if item["disputed_minor"]:
        contested = words.money(item["disputed_minor"], content["currency"])
        amount += f" ({language.disputed.format(amount=contested)})"
    return item["number"], words.day(date.fromisoformat(item["due_on"])), amount


def first(content: Mapping[str, Any]) -> str:
    """The number of the oldest invoice, which stands for all of them."""
    items: Sequence[Mapping[str, Any]] = content["items"]
    return str(items[0]["number"])
