"""Draws the PDF of a document from its stored content, and from nothing else: the same content, the same octets."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from reportlab.lib.units import mm
from reportlab.platypus import Flowable, KeepTogether, Spacer, Table

from erp.finance import paper
from erp.finance.paper import ACCENT, MUTED, RULE, TIGHT, WIDTH, text
from erp.finance.words import Words, words_of

_COLUMNS = tuple(share * WIDTH for share in (0.06, 0.46, 0.14, 0.14, 0.07, 0.13))


def render(content: dict[str, Any]) -> bytes:
    """The PDF of `content` (see content.content_of)."""
    paper.ready()
    words = words_of(content["locale"])
    title = f"{words[content['kind']]} {content['number']}"
    return paper.draw(_story(content, words), words, title=title, mark=content["number"], seller=content["seller"])


def _story(content: dict[str, Any], words: Words) -> list[Flowable]:
    sums = KeepTogether([_sums(content, words), Spacer(0, 8 * mm), _payment_note(content, words)])
    return [
        paper.head(content["seller"], content["buyer"], _facts(content, words), words),
        Spacer(0, 10 * mm),
        text(f"{words[content['kind']]} {content['number']}", size=17, bold=True),
        Spacer(0, 6 * mm),
        _lines(content, words),
        Spacer(0, 5 * mm),
        sums,
    ]


def _facts(content: dict[str, Any], words: Words) -> list[tuple[str, str]]:
    buyer = content["buyer"]
    return [
        (words["number"], content["number"]),
        (words["date"], words.day(date.fromisoformat(content["issued_on"]))),
        (words["due"], words.day(date.fromisoformat(content["due_on"]))),
        (words["customer"], buyer["customer_id"][-12:]),
        (words["account"], buyer["account_id"][-12:]),
    ]


def _lines(content: dict[str, Any], words: Words) -> Flowable:
    names = ("position", "what", "quantity", "price", "tax", "amount")
    rows: list[list[Flowable]] = [
        [text(words[n], size=7.5, bold=True, ink=MUTED, right=i > 1) for i, n in enumerate(names)]
    ]
    rows += [_line(n, line, content["currency"], words) for n, line in enumerate(content["lines"], 1)]
    style = [
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 2),
        ("TOPPADDING", (0, 0), (-1, -1), 4),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 4),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LINEBELOW", (0, 0), (-1, 0), 0.8, ACCENT),
        ("LINEBELOW", (0, 1), (-1, -1), 0.3, RULE),
    ]
    return Table(rows, colWidths=_COLUMNS, repeatRows=1, style=style)


def _line(number: int, line: dict[str, Any], currency: str, words: Words) -> list[Flowable]:
    span = words.days(date.fromisoformat(line["first_on"]), date.fromisoformat(line["until_on"]))
    what = words[line["kind"]]
    if line["net_minor"] < 0:
        what += f" ({words['credit']})"
    if line["adjustment"]:
        what += f" – {words['adjustment']}"
    quantity = Decimal(line["quantity"])
    unit = words.texts.get(line["unit"], line["unit"])
    return [
        text(str(number), size=8.5),
        [text(line["item"], size=8.5, bold=True), text(what, size=8), text(span, size=7.5, ink=MUTED)],
        text(f"{words.number(quantity)} {unit}", size=8, right=True),
        text(words.price(Decimal(line["unit_price"]), currency), size=8, right=True),
        text(words.percent(Decimal(line["tax_percent"])), size=8, right=True),
        text(words.money(line["net_minor"], currency), size=8.5, right=True),
    ]


def _sums(content: dict[str, Any], words: Words) -> Flowable:
    currency = content["currency"]
    rows = [[text(words["net"], size=9), text(words.money(content["net_minor"], currency), size=9, right=True)]]
    for group in content["taxes"]:
        percent, net = words.percent(Decimal(group["percent"])), words.money(group["net_minor"], currency)
        name = words["vat"].format(percent=percent, net=net)
        rows.append([text(name, size=9), text(words.money(group["tax_minor"], currency), size=9, right=True)])
        if group.get("exemption"):
            rows.append([text(group["exemption"], size=8, ink=MUTED), ""])
    total = words.money(content["total_minor"], currency)
    rows.append([text(words["total"], size=11, bold=True), text(total, size=11, bold=True, right=True)])
    style = [*TIGHT, ("LINEABOVE", (0, -1), (-1, -1), 0.8, ACCENT), ("TOPPADDING", (0, -1), (-1, -1), 4)]
    return Table(rows, colWidths=[68 * mm, 34 * mm], hAlign="RIGHT", style=style)


def _payment_note(content: dict[str, Any], words: Words) -> Flowable:
    total = words.money(abs(content["total_minor"]), content["currency"])
    if content["kind"] == "credit-note":
        return text(words["credited"].format(total=total), size=9)
    iban = content["seller"]["iban"]
    due = words.day(date.fromisoformat(content["due_on"]))
    note = words["pay-to" if iban else "pay"].format(total=total, due=due, iban=iban, number=content["number"])
    return text(note, size=9)
