"""Draws the PDF of a document from its stored content, and from nothing else.

The same content gives the same octets: no clock, no random id, one embedded font (Bitstream Vera, which comes with
reportlab under a permissive licence).
"""

from __future__ import annotations

import io
import unicodedata
from datetime import date
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import reportlab
from reportlab.lib import colors
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Flowable, Frame, KeepTogether, PageTemplate, Paragraph, Spacer, Table

from erp.finance.words import Words, words_of

_FONT, _BOLD = "HeadendSans", "HeadendSans-Bold"
_INK, _MUTED, _RULE, _ACCENT = (colors.HexColor(c) for c in ("#1b2430", "#5b6675", "#d5dbe3", "#0b5fa5"))
_LEFT, _RIGHT, _TOP, _BOTTOM = 22 * mm, 18 * mm, 18 * mm, 24 * mm
_WIDTH = A4[0] - _LEFT - _RIGHT
_COLUMNS = tuple(share * _WIDTH for share in (0.06, 0.46, 0.14, 0.14, 0.07, 0.13))


def render(content: dict[str, Any]) -> bytes:
    """The PDF of `content` (see content.content_of)."""
    _register_fonts()
    words = words_of(content["locale"])
    out = io.BytesIO()
    template = BaseDocTemplate(
        out,
        pagesize=A4,
        leftMargin=_LEFT,
        rightMargin=_RIGHT,
        topMargin=_TOP,
        bottomMargin=_BOTTOM,
        title=f"{words[content['kind']]} {content['number']}",
        author=content["seller"]["name"],
        invariant=1,
    )
    frame = Frame(_LEFT, _BOTTOM, _WIDTH, A4[1] - _TOP - _BOTTOM, 0, 0, 0, 0)
    template.addPageTemplates(PageTemplate("page", [frame]))
    template.build(_story(content, words), canvasmaker=_numbered(content, words))
    return out.getvalue()


def _story(content: dict[str, Any], words: Words) -> list[Flowable]:
    sums = KeepTogether([_sums(content, words), Spacer(0, 8 * mm), _payment_note(content, words)])
    return [
        _head(content, words),
        Spacer(0, 10 * mm),
        _text(f"{words[content['kind']]} {content['number']}", size=17, bold=True),
        Spacer(0, 6 * mm),
        _lines(content, words),
        Spacer(0, 5 * mm),
        sums,
    ]


def _head(content: dict[str, Any], words: Words) -> Flowable:
    """Seller and dates on the right, the buyer's address where an envelope has its window."""
    seller, buyer = content["seller"], content["buyer"]
    sender = " · ".join([seller["name"], *seller["address"].splitlines()])
    window: list[Flowable] = [_text(sender, size=6.5, ink=_MUTED), Spacer(0, 2 * mm), _text(buyer["name"], size=10.5)]
    window += [_text(line, size=10.5) for line in buyer["address"].splitlines()]
    if buyer["tax_id"]:
        window.append(_text(f"{words['tax-id']} {buyer['tax_id']}", size=8, ink=_MUTED))
    facts = [
        (words["number"], content["number"]),
        (words["date"], words.day(date.fromisoformat(content["issued_on"]))),
        (words["due"], words.day(date.fromisoformat(content["due_on"]))),
        (words["customer"], buyer["customer_id"][-12:]),
        (words["account"], buyer["account_id"][-12:]),
    ]
    rows = [[_text(name, size=8, ink=_MUTED), _text(value, size=8.5, right=True)] for name, value in facts]
    side: list[Flowable] = [_text(seller["name"], size=12, bold=True, ink=_ACCENT), Spacer(0, 12 * mm)]
    side.append(Table(rows, colWidths=[24 * mm, 46 * mm], style=[*_TIGHT, ("LINEBELOW", (0, 0), (-1, -1), 0.3, _RULE)]))
    sized = [[[Spacer(0, 22 * mm), *window], side]]
    return Table(sized, colWidths=[_WIDTH - 70 * mm, 70 * mm], style=[*_TIGHT, ("VALIGN", (0, 0), (-1, -1), "TOP")])


_TIGHT: list[tuple[Any, ...]] = [
    ("LEFTPADDING", (0, 0), (-1, -1), 0),
    ("RIGHTPADDING", (0, 0), (-1, -1), 0),
    ("TOPPADDING", (0, 0), (-1, -1), 1.5),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5),
]


def _lines(content: dict[str, Any], words: Words) -> Flowable:
    names = ("position", "what", "quantity", "price", "tax", "amount")
    rows: list[list[Flowable]] = [
        [_text(words[n], size=7.5, bold=True, ink=_MUTED, right=i > 1) for i, n in enumerate(names)]
    ]
    rows += [_line(n, line, content["currency"], words) for n, line in enumerate(content["lines"], 1)]
    style = [
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 2),
        ("TOPPADDING", (0, 0), (-1, -1), 4),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 4),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LINEBELOW", (0, 0), (-1, 0), 0.8, _ACCENT),
        ("LINEBELOW", (0, 1), (-1, -1), 0.3, _RULE),
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
        _text(str(number), size=8.5),
        [_text(line["item"], size=8.5, bold=True), _text(what, size=8), _text(span, size=7.5, ink=_MUTED)],
        _text(f"{words.number(quantity)} {unit}", size=8, right=True),
        _text(words.price(Decimal(line["unit_price"]), currency), size=8, right=True),
        _text(words.percent(Decimal(line["tax_percent"])), size=8, right=True),
        _text(words.money(line["net_minor"], currency), size=8.5, right=True),
    ]


def _sums(content: dict[str, Any], words: Words) -> Flowable:
    currency = content["currency"]
    rows = [[_text(words["net"], size=9), _text(words.money(content["net_minor"], currency), size=9, right=True)]]
    for group in content["taxes"]:
        percent, net = words.percent(Decimal(group["percent"])), words.money(group["net_minor"], currency)
        name = words["vat"].format(percent=percent, net=net)
        rows.append([_text(name, size=9), _text(words.money(group["tax_minor"], currency), size=9, right=True)])
        if group.get("exemption"):
            rows.append([_text(group["exemption"], size=8, ink=_MUTED), ""])
    total = words.money(content["total_minor"], currency)
    rows.append([_text(words["total"], size=11, bold=True), _text(total, size=11, bold=True, right=True)])
    style = [*_TIGHT, ("LINEABOVE", (0, -1), (-1, -1), 0.8, _ACCENT), ("TOPPADDING", (0, -1), (-1, -1), 4)]
    return Table(rows, colWidths=[68 * mm, 34 * mm], hAlign="RIGHT", style=style)


def _payment_note(content: dict[str, Any], words: Words) -> Flowable:
    total = words.money(abs(content["total_minor"]), content["currency"])
    if content["kind"] == "credit-note":
        return _text(words["credited"].format(total=total), size=9)
    iban = content["seller"]["iban"]
    due = words.day(date.fromisoformat(content["due_on"]))
    note = words["pay-to" if iban else "pay"].format(total=total, due=due, iban=iban, number=content["number"])
    return _text(note, size=9)


def _numbered(content: dict[str, Any], words: Words) -> type[Canvas]:
    """A canvas that knows, when it writes "page 2 of 3", that there are three."""
    seller = content["seller"]
    footer = " · ".join([seller["name"], *seller["address"].splitlines(), f"{words['tax-id']} {seller['tax_id']}"])

    class Numbered(Canvas):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
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
            self.setStrokeColor(_RULE)
            self.setLineWidth(0.4)
            self.line(_LEFT, 17 * mm, A4[0] - _RIGHT, 17 * mm)
            self.setFillColor(_MUTED)
            self.setFont(_FONT, 7)
            self.drawString(_LEFT, 12.5 * mm, _printable(footer))
            self.drawRightString(A4[0] - _RIGHT, 12.5 * mm, f"{content['number']} · {page}")

    return Numbered


def _text(value: str, *, size: float, bold: bool = False, right: bool = False, ink: Any = _INK) -> Flowable:
    style = ParagraphStyle(
        "text",
        fontName=_BOLD if bold else _FONT,
        fontSize=size,
        leading=size * 1.32,
        textColor=ink,
        alignment=TA_RIGHT if right else 0,
    )
    return Paragraph(escape(_printable(value)), style)


def _printable(value: str) -> str:
    """Characters the font lacks lose their accents, and become "?" when that does not help."""
    known = pdfmetrics.getFont(_FONT).face.charToGlyph
    out = []
    for character in value:
        if ord(character) in known:
            out.append(character)
            continue
        base = "".join(c for c in unicodedata.normalize("NFKD", character) if ord(c) in known)
        out.append(base or ("" if unicodedata.category(character).startswith("C") else "?"))
    return "".join(out)


@lru_cache(maxsize=1)
def _register_fonts() -> None:
    folder = Path(reportlab.__file__).parent / "fonts"
    pdfmetrics.registerFont(TTFont(_FONT, folder / "Vera.ttf"))
    pdfmetrics.registerFont(TTFont(_BOLD, folder / "VeraBd.ttf"))
