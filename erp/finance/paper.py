"""How papers look: fonts, colours, measures, and text as flowables. What they say is `document`'s.

DejaVu Sans is fetched by `make web` and covers the letters of Europe; without it Bitstream Vera, which comes with
reportlab, prints those of its west, and others without their accents.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from importlib import resources
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
from reportlab.platypus import Flowable, Paragraph

FONT, BOLD = "HeadendSans", "HeadendSans-Bold"
INK, MUTED, RULE, ACCENT, SHADE = (colors.HexColor(c) for c in ("#1b2430", "#5b6675", "#d5dbe3", "#0b5fa5", "#f3f6f9"))
LEFT, RIGHT, TOP, BOTTOM = 22 * mm, 18 * mm, 18 * mm, 24 * mm
WIDTH = A4[0] - LEFT - RIGHT
OWN_FONT: tuple[Any, ...] = ("FONTNAME", (0, 0), (-1, -1), FONT)
"""In every table: else its cells name Helvetica, which is not in the file, and that is no PDF/A."""
TIGHT: list[tuple[Any, ...]] = [
    OWN_FONT,
    ("LEFTPADDING", (0, 0), (-1, -1), 0),
    ("RIGHTPADDING", (0, 0), (-1, -1), 0),
    ("TOPPADDING", (0, 0), (-1, -1), 1.5),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5),
]


def text(value: str, *, size: float, bold: bool = False, right: bool = False, ink: Any = INK) -> Flowable:
    """One paragraph. Only what the font can print is printed."""
    return Paragraph(escape(printable(value)), _style(size, bold, right, ink))


def rich(pieces: list[tuple[str, bool]], *, size: float) -> Flowable:
    """One paragraph of pieces, some of them bold."""
    marked = (f"<b>{escape(printable(t))}</b>" if bold else escape(printable(t)) for t, bold in pieces)
    return Paragraph("".join(marked), _style(size, False, False, INK))


@lru_cache(maxsize=64)
def _style(size: float, bold: bool, right: bool, ink: Any) -> ParagraphStyle:
    return ParagraphStyle(
        "text",
        fontName=BOLD if bold else FONT,
        fontSize=size,
        leading=size * 1.32,
        textColor=ink,
        alignment=TA_RIGHT if right else 0,
    )


def printable(value: str) -> str:
    """Characters the font lacks lose their accents, and become "?" when that does not help."""
    known = pdfmetrics.getFont(FONT).face.charToGlyph
    if all(ord(c) in known for c in value):
        return value
    out = []
    for character in value:
        if ord(character) in known:
            out.append(character)
            continue
        base = "".join(c for c in unicodedata.normalize("NFKD", character) if ord(c) in known)
        out.append(base or ("" if unicodedata.category(character).startswith("C") else "?"))
    return "".join(out)


@lru_cache(maxsize=1)
def register_fonts() -> None:
    fetched = Path(str(resources.files("erp.finance"))) / "fonts"
    folder, names = fetched, ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf")
    if not all((folder / name).exists() for name in names):
        folder, names = Path(reportlab.__file__).parent / "fonts", ("Vera.ttf", "VeraBd.ttf")
    for font, name in zip((FONT, BOLD), names, strict=True):
        pdfmetrics.registerFont(TTFont(font, folder / name))
    pdfmetrics.registerFontFamily(FONT, normal=FONT, bold=BOLD, italic=FONT, boldItalic=BOLD)
