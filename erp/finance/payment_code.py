"""The QR code that a banking application reads: a SEPA credit transfer (EPC069-12, version 2). Pure.

Only for euro amounts from 0.01 to 999,999,999.99 to an IBAN; any other invoice has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from reportlab.graphics.barcode.qr import QrCodeWidget
from reportlab.platypus import Flowable

from controller.domain.money import Money
from erp.finance.paper import INK

_MOST_MINOR = 99_999_999_999
_NAME, _REMITTANCE = 70, 140
_QUIET = 4
"""Modules of white around the code (ISO/IEC 18004)."""


def epc(*, name: str, iban: str, amount: Money, number: str) -> str | None:
    """The text of the code; None for what it cannot say."""
    account = iban.replace(" ", "").upper()
    if not account or amount.currency != "EUR" or not 0 < amount.minor <= _MOST_MINOR:
        return None
    who = " ".join(name.split())[:_NAME]
    return "\n".join(
        ("BCD", "002", "1", "SCT", "", who, account, f"EUR{amount.amount}", "", "", number[:_REMITTANCE], "")
    ).rstrip("\n")


class Code(Flowable):  # type: ignore[misc]
    """The code as a square of `size` points; level M of error correction, as EPC069-12 wants it.

    Drawn module by module: a reportlab Drawing would name a font that the document does not carry.
    """

    def __init__(self, said: str, size: float) -> None:
        super().__init__()
        self.width = self.height = size
        widget: Any = QrCodeWidget(said, barLevel="M")
        widget.qr.make()
        self._code = widget.qr

    def wrap(self, width: float, height: float) -> tuple[float, float]:
        return self.width, self.height

    def draw(self) -> None:
        count = self._code.getModuleCount()
        module = self.width / (count + 2 * _QUIET)
        self.canv.setFillColor(INK)
        for row in range(count):
            top = self.height - (row + 1 + _QUIET) * module
            for first, last in _runs([self._code.isDark(row, column) for column in range(count)]):
                left = (first + _QUIET) * module
                self.canv.rect(left, top, (last - first) * module, module, stroke=0, fill=1)


def _runs(dark: list[bool]) -> Iterator[tuple[int, int]]:
    """[first, last) of each run of dark modules: drawn as one, they show no seams."""
    at = 0
    for is_dark, members in groupby(dark):
        count = len(list(members))
        if is_dark:
            yield at, at + count
        at += count
