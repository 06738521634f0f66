"""Draws a notice as a letter: a window for the address, what is open, where to pay. Nothing but its content is used."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.platypus import BaseDocTemplate, Flowable, Frame, PageTemplate, Spacer, Table

from erp.dunning.letter import about, cells, services, subject
from erp.dunning.words import Language, language_of
from erp.finance.paper import (
    ACCENT,
    BOTTOM,
    LEFT,
    MUTED,
    RIGHT,
    RULE,
    TIGHT,
    TOP,
    WIDTH,
    register_fonts,
    text,
)
from erp.finance.words import Words, words_of

_COLUMNS = (0.34 * WIDTH, 0.22 * WIDTH, 0.44 * WIDTH)
_SERVICES = (0.42 * WIDTH, 0.58 * WIDTH)


def pdf(content: Mapping[str, Any]) -> bytes:
    """The same content gives the same octets: no clock, no random id."""
    register_fonts()
    language, words = language_of(content["locale"]), words_of(content["locale"])
    out = io.BytesIO()
    template = BaseDocTemplate(
        out,
        pagesize=A4,
        leftMargin=LEFT,
        rightMargin=RIGHT,
        topMargin=TOP,
        bottomMargin=BOTTOM,
        title=subject(content),
        author=content["seller"]["name"],
        lang=content["locale"].replace("_", "-"),
        invariant=1,
    )
    frame = Frame(LEFT, BOTTOM, WIDTH, A4[1] - TOP - BOTTOM, 0, 0, 0, 0)
    template.addPageTemplates(PageTemplate("page", [frame]))
    template.build(_story(content, language, words))
    return out.getvalue()


def _story(content: Mapping[str, Any], language: Language, words: Words) -> list[Flowable]:
    seller = content["seller"]
    before = [language.greeting.format(name=content["buyer"]["name"]), language.texts[content["text"]].body]
    after = [*about(content, language, words), language.closing, seller["name"]]
    return [
        _head(content, words),
        Spacer(0, 12 * mm),
        text(subject(content), size=14, bold=True),
        Spacer(0, 6 * mm),
        *_paragraphs(before),
        Spacer(0, 2 * mm),
        _table(content, language, words),
        Spacer(0, 6 * mm),
        *(piece for heading, rows in services(content, language, words) for piece in _services(heading, rows)),
        *_paragraphs(after),
    ]


def _paragraphs(said: Sequence[str]) -> list[Flowable]:
    return [piece for paragraph in said for piece in (text(paragraph, size=9.5), Spacer(0, 3 * mm))]


def _head(content: Mapping[str, Any], words: Words) -> Flowable:
    """The buyer's address where an envelope has its window; who writes, and when, beside it."""
    seller, buyer = content["seller"], content["buyer"]
    sender = " · ".join([seller["name"], *seller["address"].splitlines()])
    window = [text(sender, size=6.5, ink=MUTED), Spacer(0, 2 * mm)]
    window += [text(line, size=10.5) for line in [buyer["name"], *buyer["address"].splitlines()]]
    side = [
        text(seller["name"], size=12, bold=True, ink=ACCENT),
        Spacer(0, 14 * mm),
        text(words.day(date.fromisoformat(content["day"])), size=9.5, right=True),
        text(f"{words['account']} {buyer['account_id'][-12:]}", size=8, ink=MUTED, right=True),
    ]
    beside = [[[Spacer(0, 22 * mm), *window], side]]
    return Table(beside, colWidths=[WIDTH - 70 * mm, 70 * mm], style=[*TIGHT, ("VALIGN", (0, 0), (-1, -1), "TOP")])


def _table(content: Mapping[str, Any], language: Language, words: Words) -> Flowable:
    names = (language.invoice, language.due, language.open)
    rows = [[text(name, size=8, bold=True, ink=MUTED, right=n == 2) for n, name in enumerate(names)]]
    for item in content["items"]:
        said = cells(item, content, language, words)
        rows.append([text(cell, size=9, right=n == 2) for n, cell in enumerate(said)])
    total = words.money(content["total_minor"], content["currency"])
    rows.append([text(language.total, size=9.5, bold=True), "", text(total, size=9.5, bold=True, right=True)])
    style = [
        *TIGHT,
        ("LINEBELOW", (0, 0), (-1, 0), 0.8, ACCENT),
        ("LINEBELOW", (0, 1), (-1, -3), 0.3, RULE),
        ("LINEABOVE", (0, -1), (-1, -1), 0.8, ACCENT),
    ]
    return Table(rows, colWidths=_COLUMNS, style=style, repeatRows=1)


def _services(heading: str, rows: Sequence[tuple[str, str]]) -> list[Flowable]:
    told = [[text(cell, size=9) for cell in row] for row in rows]
    style = [*TIGHT, ("LINEBELOW", (0, 0), (-1, -2), 0.3, RULE), ("LINEABOVE", (0, 0), (-1, 0), 0.8, ACCENT)]
    return [
        text(heading, size=9.5, bold=True),
        Spacer(0, 1.5 * mm),
        Table(told, colWidths=_SERVICES, style=style),
        Spacer(0, 6 * mm),
    ]
