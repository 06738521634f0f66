"""How papers look: fonts, colours, measures, and text as flowables. What they say is `document`'s.

DejaVu Sans is fetched by `make web` and covers the letters of Europe; without it Bitstream Vera, which comes with
reportlab, prints those of its west, and others without their accents. What neither has, as other scripts and most
emoji, is printed as a mark for each character, so that a reader sees that something stands there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
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
_MISSING = "\ufffd?"
"""Marks in the place of a character that cannot be printed: the first one that the font has."""
_TONES = "".join(map(chr, range(0x1F3FB, 0x1F400)))
"""Of skin, after an emoji."""
_BEYOND = re.compile(r"<([0-9A-F]{5,6})>")
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
    return Paragraph(_marked(value, bold), _style(size, bold, right, ink))


def rich(pieces: list[tuple[str, bool]], *, size: float) -> Flowable:
    """One paragraph of pieces, some of them bold."""
    marked = (f"<b>{_marked(t, bold)}</b>" if bold else _marked(t, bold) for t, bold in pieces)
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
    """Characters the font lacks lose their accents, and where that does not help a mark says that one is missing.

    Only what has no shape of its own is left out: controls, format characters, marks and tones of what stands before.
    """
    known = pdfmetrics.getFont(FONT).face.charToGlyph
    if all(ord(c) in known for c in value):
        return value
    return "".join(c if ord(c) in known else _instead(c, known) for c in value)


def _instead(character: str, known: Mapping[int, int]) -> str:
    """What is printed for a character that is not `known`: of 株 in brackets, brackets around a mark."""
    missing = next(mark for mark in _MISSING if ord(mark) in known)
    return "".join(
        part if ord(part) in known else " " if part.isspace() else "" if _is_shapeless(part) else missing
        for part in unicodedata.normalize("NFKD", character)
    )


def _is_shapeless(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Mn", "Mc", "Me") or character in _TONES


def _marked(value: str, bold: bool) -> str:
    """As markup; what the bold font lacks is printed in the other one."""
    said = printable(value)
    thick = pdfmetrics.getFont(BOLD).face.charToGlyph
    if not bold or all(ord(c) in thick for c in said):
        return escape(said)
    return "".join(escape(c) if ord(c) in thick else f'<font name="{FONT}">{escape(c)}</font>' for c in said)


class _Font(TTFont):  # type: ignore[misc]
    """Whose text is copied right beyond U+FFFF, too: there reportlab writes five digits, which is another character."""

    def addObjects(self, doc: Any) -> None:
        super().addObjects(doc)
        for name, found in doc.idToObject.items():
            if name.startswith("toUnicodeCMap:"):
                found.content = _BEYOND.sub(_in_utf_16, found.content)


def _in_utf_16(digits: re.Match[str]) -> str:
    return f"<{chr(int(digits[1], 16)).encode('utf-16-be').hex()}>"


@lru_cache(maxsize=1)
def register_fonts() -> None:
    fetched = Path(str(resources.files("erp.finance"))) / "fonts"
    folder, names = fetched, ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf")
    if not all((folder / name).exists() for name in names):
        folder, names = Path(reportlab.__file__).parent / "fonts", ("Vera.ttf", "VeraBd.ttf")
    for font, name in zip((FONT, BOLD), names, strict=True):
        pdfmetrics.registerFont(_Font(font, folder / name))
    pdfmetrics.registerFontFamily(FONT, normal=FONT, bold=BOLD, italic=FONT, boldItalic=BOLD)
