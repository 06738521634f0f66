"""Draws the PDF of a document from its stored content, and from nothing else.

The same content gives the same octets: no clock, no random id, embedded fonts. Lines of a consolidated document stand
under the headings that they name, each with its subtotal; a page that is not the last ends with the sum so far. Where
every price has the tax in it, amounts are shown with it and the tax as part of the total; else they are net.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Flowable, Frame, KeepTogether, PageTemplate, Spacer, Table

from controller.domain.money import Money
from erp.finance.line_notes import note_of
from erp.finance.paper import (
    ACCENT,
    BOTTOM,
    FONT,
    LEFT,
    MUTED,
    RIGHT,
    RULE,
    TIGHT,
    TOP,
    WIDTH,
    printable,
    register_fonts,
    rich,
    text,
)
from erp.finance.paper_lines import CARRIED, HEADING, SUBTOTAL, LineTable, Row
from erp.finance.payment_code import Code, epc
from erp.finance.words import Words, words_of

_REASONS = {"AE": "reverse-charge", "K": "intra-community", "G": "export", "O": "no-vat", "E": "exempt"}
_CODE = 26 * mm
OF_PREPAID = {"receipt": "received", "refund": "refunded"}
"""Documents of prepaid credit, which ask for nothing, and the words that they end with."""


def render(content: dict[str, Any]) -> bytes:
    """The PDF of `content` (see content.content_of)."""
    register_fonts()
    words = words_of(content["locale"])
    out = io.BytesIO()
    template = BaseDocTemplate(
        out,
        pagesize=A4,
        leftMargin=LEFT,
        rightMargin=RIGHT,
        topMargin=TOP,
        bottomMargin=BOTTOM,
        title=f"{words[content['kind']]} {content['number']}",
        author=content["seller"]["name"],
        lang=content["locale"].replace("_", "-"),
        invariant=1,
    )
    frame = Frame(LEFT, BOTTOM, WIDTH, A4[1] - TOP - BOTTOM, 0, 0, 0, 0)
    template.addPageTemplates(PageTemplate("page", [frame]))
    template.build(_story(content, words), canvasmaker=_numbered(content, words))
    return out.getvalue()


def _story(content: dict[str, Any], words: Words) -> list[Flowable]:
    regards = "takes-back" if content.get("undoes") else "regards"
    told = ((regards, {"number": content.get("regards")}), ("reason", {"reason": content.get("reason")}))
    about = [text(words[key].format(**fact), size=9, ink=MUTED) for key, fact in told if any(fact.values())]
    return [
        _head(content, words),
        Spacer(0, 10 * mm),
        text(f"{words[content['kind']]} {content['number']}", size=17, bold=True),
        *about,
        Spacer(0, 6 * mm),
        _lines(content, words),
        Spacer(0, 5 * mm),
        KeepTogether([_sums(content, words), Spacer(0, 8 * mm), _payment(content, words)]),
    ]


def _head(content: dict[str, Any], words: Words) -> Flowable:
    """Seller and dates on the right, the buyer's address where an envelope has its window."""
    seller, buyer = content["seller"], content["buyer"]
    sender = " · ".join([seller["name"], *seller["address"].splitlines()])
    window: list[Flowable] = [text(sender, size=6.5, ink=MUTED), Spacer(0, 2 * mm), text(buyer["name"], size=10.5)]
    window += [text(line, size=10.5) for line in buyer["address"].splitlines()]
    if buyer["tax_id"]:
        window.append(text(f"{words['tax-id']} {buyer['tax_id']}", size=8, ink=MUTED))
    facts = [
        (words["number"], content["number"]),
        (words["date"], words.day(date.fromisoformat(content["issued_on"]))),
        (words["due"], words.day(date.fromisoformat(content["due_on"]))),
        (words["customer"], buyer["customer_id"][-12:]),
        (words["account"], buyer["account_id"][-12:]),
    ]
    if content["kind"] in ("credit-note", *OF_PREPAID):
        del facts[2]
    rows = [[text(name, size=8, ink=MUTED), text(value, size=8.5, right=True)] for name, value in facts]
    side: list[Flowable] = [text(seller["name"], size=12, bold=True, ink=ACCENT), Spacer(0, 12 * mm)]
    side.append(Table(rows, colWidths=[30 * mm, 40 * mm], style=[*TIGHT, ("LINEBELOW", (0, 0), (-1, -1), 0.3, RULE)]))
    sized = [[[Spacer(0, 22 * mm), *window], side]]
    return Table(sized, colWidths=[WIDTH - 70 * mm, 70 * mm], style=[*TIGHT, ("VALIGN", (0, 0), (-1, -1), "TOP")])


def _lines(content: dict[str, Any], words: Words) -> Flowable:
    currency = content["currency"]
    names = ("position", "what", "quantity", "price", "tax", "amount")
    head = Row([text(words[n], size=7.5, bold=True, ink=MUTED, right=i > 1) for i, n in enumerate(names)])

    def carried(minor: int, brought: bool) -> Row:
        return _summed(words["brought" if brought else "carried"], minor, CARRIED, currency, words)

    return LineTable(head, list(_rows(content, words)), carried)


def _rows(content: dict[str, Any], words: Words) -> Iterator[Row]:
    """The lines, those of one heading together in the order in which headings appear; lines without one first."""
    lines, currency, gross = content["lines"], content["currency"], shows_gross(content)
    headings = sorted({line.get("group", "") for line in lines}, key=lambda g: (bool(g), _first(lines, g)))
    position = 0
    for heading in headings:
        mine = [line for line in lines if line.get("group", "") == heading]
        if heading:
            yield Row([text(heading, size=9, bold=True), *[""] * 5], 0, HEADING)
        total = 0
        for line in mine:
            position += 1
            minor = _amount(line, gross)
            total += minor
            yield _line(position, line, minor, currency, words)
        if heading and len(headings) > 1:
            yield _summed(words["subtotal"].format(group=heading), total, SUBTOTAL, currency, words)


def _first(lines: list[dict[str, Any]], heading: str) -> int:
    return next(n for n, line in enumerate(lines) if line.get("group", "") == heading)


def shows_gross(content: dict[str, Any]) -> bool:
    """Whether every price has its tax in it, so that amounts are what the customer knows."""
    return not content.get("levies") and all(line.get("tax_included") for line in content["lines"])


def _amount(line: dict[str, Any], gross: bool) -> int:
    minor: int = line["net_minor"] + (line["tax_minor"] if gross else 0)
    return minor


def _summed(name: str, minor: int, kind: str, currency: str, words: Words) -> Row:
    bold = kind == SUBTOTAL
    amount = text(words.money(minor, currency), size=8.5, bold=bold, right=True, ink=MUTED)
    return Row(["", text(name, size=8.5, bold=bold, right=True, ink=MUTED), "", "", "", amount], 0, kind)


def _line(number: int, line: dict[str, Any], minor: int, currency: str, words: Words) -> Row:
    span = words.days(date.fromisoformat(line["first_on"]), date.fromisoformat(line["until_on"]))
    price = [text(words.price(Decimal(line["unit_price"]), currency), size=8, right=True)]
    if line.get("tax_included"):
        price.append(text(words["gross-price"], size=7, right=True, ink=MUTED))
    percent = words.percent(Decimal(line["tax_percent"])) if line.get("category", "S") != "O" else "–"
    what = [text(line["item"], size=8.5, bold=True), text(_what(line, words), size=8), text(span, size=7.5, ink=MUTED)]
    note = note_of(line, words)
    if note:
        what.append(text(note, size=7, ink=MUTED))
    return Row(
        [
            text(str(number), size=8.5),
            what,
            text(f"{words.number(Decimal(line['quantity']))} {words.unit(line['unit'])}", size=8, right=True),
            price,
            text(percent, size=8, right=True),
            text(words.money(minor, currency), size=8.5, right=True),
        ],
        minor,
    )


def _what(line: dict[str, Any], words: Words) -> str:
    """What kind of line it is, in words of the document's language."""
    off = line["net_minor"] < 0
    what = words["discount"] if off and line["kind"] == "recurring" and not line["adjustment"] else words[line["kind"]]
    if off and line["adjustment"]:
        what += f" ({words['credit']})"
    if line["adjustment"]:
        what += f" – {words['adjustment']}"
    if line.get("ends_on"):
        what += f" ({words['ends'].format(day=words.last_day(date.fromisoformat(line['ends_on'])))})"
    return what


def _sums(content: dict[str, Any], words: Words) -> Flowable:
    currency, gross = content["currency"], shows_gross(content)

    def money(minor: int, size: float = 9, bold: bool = False) -> Flowable:
        return text(words.money(minor, currency), size=size, bold=bold, right=True)

    taxes = list(_taxes(content, words, gross))
    total = [text(words["total"], size=11, bold=True), money(content["total_minor"], 11, True)]
    rows: list[list[Any]]
    if gross:
        rows = [total, *([text(n, size=8, ink=MUTED), money(m, 8) if m is not None else ""] for n, m in taxes)]
        mark = 0
    else:
        rows = [[text(words["net"], size=9), money(content["net_minor"])]]
        rows += [[text(n, size=8, ink=MUTED), ""] if m is None else [text(n, size=9), money(m)] for n, m in taxes]
        mark = len(rows)
        rows.append(total)
    if content.get("prepaid_minor"):
        rows.append([text(words["prepaid"], size=9), money(-content["prepaid_minor"])])
        rows.append([text(words["to-pay"], size=11, bold=True), money(due_minor(content), 11, True)])
    style = [*TIGHT, ("LINEABOVE", (0, mark), (-1, mark), 0.8, ACCENT), ("TOPPADDING", (0, mark), (-1, mark), 4)]
    if content.get("prepaid_minor"):
        style += [("LINEABOVE", (0, -1), (-1, -1), 0.8, ACCENT)]
    return Table(rows, colWidths=[76 * mm, 36 * mm], hAlign="RIGHT", style=style)


def _taxes(content: dict[str, Any], words: Words, gross: bool) -> Iterator[tuple[str, int | None]]:
    """(words, amount or None) of each tax and of each reason why there is none."""
    currency = content["currency"]
    for group in content["taxes"]:
        category = group.get("category", "E" if group.get("exemption") else "S")
        percent, net = words.percent(Decimal(group["percent"])), words.money(group["net_minor"], currency)
        if Decimal(group["percent"]) or category not in _REASONS:
            yield words["vat-in" if gross else "vat"].format(percent=percent, net=net), group["tax_minor"]
        else:
            yield f"{group.get('exemption') or words[_REASONS[category]]} ({net})", None
    for levy in content.get("levies", ()):
        base = words.money(levy["base_minor"], currency)
        name = " · ".join(part for part in (levy["authority"], levy["name"]) if part)
        yield words["levy"].format(name=name, rate=levy["rate"], base=base), levy["tax_minor"]


def due_minor(content: dict[str, Any]) -> int:
    """What is asked for: the total less what was paid before. Nothing of a credit note."""
    asked: int = max(0, content["total_minor"] - content.get("prepaid_minor", 0))
    return asked


def _payment(content: dict[str, Any], words: Words) -> Flowable:
    """How to pay, and the code for it."""
    currency, asked = content["currency"], due_minor(content)
    if content["kind"] == "credit-note":
        return text(words["credited"].format(total=words.money(abs(content["total_minor"]), currency)), size=9)
    if content["kind"] in OF_PREPAID:
        said = words[OF_PREPAID[content["kind"]]]
        return text(said.format(total=words.money(abs(content["total_minor"]), currency)), size=9)
    if not asked:
        return text(words["paid"], size=9)
    iban = content["seller"]["iban"]
    due = words.day(date.fromisoformat(content["due_on"]))
    account = iban.replace(" ", "\u00a0")
    facts = {"total": words.money(asked, currency), "due": due, "iban": account, "number": content["number"]}
    note = rich(_emphasised(words["pay-to" if iban else "pay"], facts), size=9)
    code = epc(name=content["seller"]["name"], iban=iban, amount=Money(asked, currency), number=content["number"])
    if code is None:
        return note
    picture = [Code(code, _CODE), text(words["scan"], size=7, ink=MUTED)]
    style = [*TIGHT, ("VALIGN", (0, 0), (-1, -1), "MIDDLE")]
    return Table([[note, picture]], colWidths=[WIDTH - _CODE - 6 * mm, _CODE + 6 * mm], style=style)


def _emphasised(template: str, facts: dict[str, str]) -> list[tuple[str, bool]]:
    """The pieces of a sentence; what is filled in is bold."""
    pieces: list[tuple[str, bool]] = []
    for part in template.split("{"):
        name, closed, rest = part.partition("}")
        pieces += [(facts[name], True), (rest, False)] if closed else [(part, False)]
    return pieces


def _numbered(content: dict[str, Any], words: Words) -> type[Canvas]:
    """A canvas that knows, when it writes "page 2 of 3", that there are three."""
    seller = content["seller"]
    footer = " · ".join([seller["name"], *seller["address"].splitlines(), f"{words['tax-id']} {seller['tax_id']}"])

    class Numbered(Canvas):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            # PDF/A: else every page names Helvetica, which is not in the file.
            super().__init__(*args, **(kwargs | {"initialFontName": FONT}))
            self._held: list[dict[str, Any]] = []

        def showPage(self) -> None:
            self._held.append(dict(self.__dict__))
            self._startPage()

        def save(self) -> None:
            for number, state in enumerate(self._held, 1):
                self.__dict__.update(state)
                self._footer(words["page"].format(page=number, pages=len(self._held)))
                super().showPage()
            super().save()

        def _footer(self, page: str) -> None:
            self.setStrokeColor(RULE)
            self.setLineWidth(0.4)
            self.line(LEFT, 17 * mm, A4[0] - RIGHT, 17 * mm)
            self.setFillColor(MUTED)
            self.setFont(FONT, 7)
            self.drawString(LEFT, 12.5 * mm, printable(footer))
            self.drawRightString(A4[0] - RIGHT, 12.5 * mm, f"{content['number']} · {page}")

    return Numbered
