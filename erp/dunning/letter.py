"""What a notice says: one content from which both the e-mail and the letter are written. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from controller.domain.price import ProductKind
from controller.domain.restriction import Measure
from controller.domain.units import human_rate
from erp.crm.model import Entity
from erp.dunning.effects import Effect, Effects
from erp.dunning.model import disputed_of
from erp.dunning.standing import Standing
from erp.dunning.words import Language, language_of
from erp.finance.words import Words, words_of

SERVICES = "services"
"""The text in place of one that speaks of a line alone, where more or less than that is so."""
_OF_LINES = {"throttle": Measure.THROTTLE, "garden": Measure.GARDEN, "suspension": Measure.SUSPEND}
_WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Written:
    """The content as canonical JSON, and its digest."""

    content: str
    sha256: bytes


def content_of(
    standing: Standing, notice_text: str, effects: Effects, fee_minor: int, *, seller: Entity, iban: str, locale: str
) -> dict[str, Any]:
    """What is overdue of the account now, and what it is told about that and about its services."""
    state, facts, customer = standing.state, standing.facts, standing.customer
    contact = customer.contact
    said = text_of(notice_text, effects)
    return {
        "version": 2,
        "text": said,
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
        "services": [_service(effect) for effect in effects.now],
        "then": [_service(effect) for effect in effects.then] if said == _WARNING else [],
        "fee_minor": fee_minor,
        "total_minor": state.claimed_minor,
    }


def text_of(notice_text: str, effects: Effects) -> str:
    """Which text is true: one that speaks of a line where that is all, and none of what was not taken (any more)."""
    measure = _OF_LINES.get(notice_text)
    if measure is None:
        return notice_text
    if not effects.now:
        return _WARNING
    is_all = all(e.kind is ProductKind.INTERNET and e.restriction.measure is measure for e in effects.now)
    return notice_text if is_all else SERVICES


def _service(effect: Effect) -> dict[str, Any]:
    speed = effect.restriction.profile
    return {
        "name": effect.name,
        "count": effect.count,
        "kind": effect.kind.value,
        "measure": effect.restriction.measure.value,
        "downstream_bps": None if speed is None else speed.downstream_bps,
        "since": None if effect.since is None else effect.since.isoformat(),
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
        *(_listed(heading, rows, language) for heading, rows in services(content, language, words)),
        *about(content, language, words),
        language.closing,
        "\n".join([content["seller"]["name"], *content["seller"]["address"].splitlines()]),
    ]
    return "\n\n".join(paragraphs) + "\n"


def services(content: Mapping[str, Any], language: Language, words: Words) -> list[tuple[str, list[tuple[str, str]]]]:
    """(heading, (name, what is taken of it)): how services are, and how they will be. Older notices tell of none."""
    found = [(language.services, content.get("services", [])), (language.threat, content.get("then", []))]
    return [(heading, [_told(s, language, words) for s in told]) for heading, told in found if told]


def _told(service: Mapping[str, Any], language: Language, words: Words) -> tuple[str, str]:
    name = service["name"] if service["count"] == 1 else f"{service['count']} × {service['name']}"
    telephone = service["measure"] == Measure.NONE.value and service["kind"] == ProductKind.VOICE.value
    state = language.states["voice" if telephone else service["measure"]]
    if service["downstream_bps"] is not None:
        rate, unit = human_rate(service["downstream_bps"]).split(" ")
        state = state.format(speed=f"{words.number(Decimal(rate))}\u00a0{unit}")
    if service["since"] is not None:
        state += f", {language.since.format(day=words.day(date.fromisoformat(service['since'])))}"
    return name, state


def _listed(heading: str, rows: Sequence[tuple[str, str]], language: Language) -> str:
    return "\n".join([heading, *(f"- {language.service.format(name=name, state=state)}" for name, state in rows)])


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
