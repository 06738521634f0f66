"""Paper: one page layout, one font and one footer for everything that is sent to customers as PDF.

The same content gives the same octets: no clock, no random id, one embedded font (Bitstream Vera, which comes with
reportlab under a permissive licence).
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Mapping, Sequence
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
from reportlab.platypus import BaseDocTemplate, Flowable, Frame, PageTemplate, Paragraph, Spacer, Table

from erp.finance.words import Words

_FONT, _BOLD = "HeadendSans", "HeadendSans-Bold"
INK, MUTED, RULE, ACCENT = (colors.HexColor(c) for c in ("#1b2430", "#5b6675", "#d5dbe3", "#0b5fa5"))
_LEFT, _RIGHT, _TOP, _BOTTOM = 22 * mm, 18 * mm, 18 * mm, 24 * mm
WIDTH = A4[0] - _LEFT - _RIGHT


def draw(story: Sequence[Flowable], words: Words, *, title: str, mark: str, seller: Mapping[str, Any]) -> bytes:
    """The PDF of a story, with the seller and `mark` at the foot of each page. Call `ready` before making flowables."""
    out = io.BytesIO()
    template = BaseDocTemplate(
        out,
        pagesize=A4,
        leftMargin=_LEFT,
        rightMargin=_RIGHT,
        topMargin=_TOP,
        bottomMargin=_BOTTOM,
        title=title,
        author=seller["name"],
        invariant=1,
    )
    frame = Frame(_LEFT, _BOTTOM, WIDTH, A4[1] - _TOP - _BOTTOM, 0, 0, 0, 0)
    template.addPageTemplates(PageTemplate("page", [frame]))
    template.build(list(story), canvasmaker=_numbered(seller, mark, words))
    return out.getvalue()


def head(
    seller: Mapping[str, Any], buyer: Mapping[str, Any], facts: Sequence[tuple[str, str]], words: Words
) -> Flowable:
    """Seller and facts on the right, the buyer's address where an envelope has its window."""
    sender = " · ".join([seller["name"], *seller["address"].splitlines()])
    window: list[Flowable] = [text(sender, size=6.5, ink=MUTED), Spacer(0, 2 * mm), text(buyer["name"], size=10.5)]
    window += [text(line, size=10.5) for line in buyer["address"].splitlines()]
    if buyer["tax_id"]:
        window.append(text(f"{words['tax-id']} {buyer['tax_id']}", size=8, ink=MUTED))
    rows = [[text(name, size=8, ink=MUTED), text(value, size=8.5, right=True)] for name, value in facts]
    side: list[Flowable] = [text(seller["name"], size=12, bold=True, ink=ACCENT), Spacer(0, 12 * mm)]
    side.append(Table(rows, colWidths=[24 * mm, 46 * mm], style=[*TIGHT, ("LINEBELOW", (0, 0), (-1, -1), 0.3, RULE)]))
    sized = [[[Spacer(0, 22 * mm), *window], side]]
    return Table(sized, colWidths=[WIDTH - 70 * mm, 70 * mm], style=[*TIGHT, ("VALIGN", (0, 0), (-1, -1), "TOP")])


TIGHT: list[tuple[Any, ...]] = [
    ("LEFTPADDING", (0, 0), (-1, -1), 0),
    ("RIGHTPADDING", (0, 0), (-1, -1), 0),
    ("TOPPADDING", (0, 0), (-1, -1), 1.5),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5),
]


def _numbered(seller: Mapping[str, Any], mark: str, words: Words) -> type[Canvas]:
    """A canvas that knows, when it writes "page 2 of 3", that there are three."""
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
            self.setStrokeColor(RULE)
            self.setLineWidth(0.4)
            self.line(_LEFT, 17 * mm, A4[0] - _RIGHT, 17 * mm)
            self.setFillColor(MUTED)
            self.setFont(_FONT, 7)
            self.drawString(_LEFT, 12.5 * mm, _printable(footer))
            self.drawRightString(A4[0] - _RIGHT, 12.5 * mm, f"{mark} · {page}")

    return Numbered


def text(value: str, *, size: float, bold: bool = False, right: bool = False, ink: Any = INK) -> Flowable:
    """A paragraph; characters that the font lacks are replaced."""
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
def ready() -> None:
    """Make the font known to reportlab, once per process."""
    folder = Path(reportlab.__file__).parent / "fonts"
    pdfmetrics.registerFont(TTFont(_FONT, folder / "Vera.ttf"))
    pdfmetrics.registerFont(TTFont(_BOLD, folder / "VeraBd.ttf"))
