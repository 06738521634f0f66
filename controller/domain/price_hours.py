"""Hours of the local clock: which quarters of an hour belong to a price, on weekdays and holidays.

Every offset of a time zone in use is a whole number of quarters, so a quarter by the clock is a quarter of real time,
and usage cut at quarters never needs to be cut again: on the day the clock is put back the quarters of one hour hold
twice the time, on the day it is put forward those of another hold none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

from controller.domain.price import HOLIDAY, QUARTER_MINUTES, WEEKDAYS, Band, Free, Metered

_NONE: frozenset[int] = frozenset()


class Hours:
    """The quarters (0 … 95) of the bands of one price."""

    def __init__(self, bands: Sequence[Band], holidays: Iterable[date]) -> None:
        self._holidays = frozenset(holidays)
        self._quarters: dict[str, frozenset[int]] = {}
        for band in bands:
            quarters = frozenset(range(band.from_minute // QUARTER_MINUTES, band.until_minute // QUARTER_MINUTES))
            for name in band.days:
                self._quarters[name] = self._quarters.get(name, _NONE) | quarters

    def quarters(self, day: date) -> frozenset[int]:
        return self.named(HOLIDAY if day in self._holidays else WEEKDAYS[day.weekday()])

    def named(self, name: str) -> frozenset[int]:
        """The quarters of a weekday, or of a holiday."""
        return self._quarters.get(name, _NONE)


def hours_of(price: Metered, prices: Sequence[Metered], holidays: Sequence[date]) -> Hours | None:
    """The hours of `price`; None when all of them are its own. A plan that names no holiday has none."""
    if not price.bands:
        return None
    named = any(HOLIDAY in band.days for other in prices for band in other.bands)
    return Hours(price.bands, holidays if named else ())


def uncovered(prices: Sequence[Metered]) -> list[str]:
    """What is wrong with the hours of the prices of one meter: each quarter of a week belongs to exactly one price."""
    if len(prices) == 1 and not prices[0].bands:
        return ["nothing but free hours"] if isinstance(prices[0], Free) else []
    wrong = [f"{p.code} has no hours, and another price charges for the same octets" for p in prices if not p.bands]
    named = any(HOLIDAY in band.days for p in prices for band in p.bands)
    for day in (*WEEKDAYS, *((HOLIDAY,) if named else ())):
        owners: dict[int, list[str]] = {quarter: [] for quarter in range(24 * 60 // QUARTER_MINUTES)}
        for price in prices:
            for quarter in Hours(price.bands, ()).named(day):
                owners.setdefault(quarter, []).append(price.code)
        for quarter, codes in sorted(owners.items()):
            if len(codes) != 1:
                at = f"{day} {quarter // 4:02d}:{quarter % 4 * 15:02d}"
                wrong.append(f"{at} belongs to {' and '.join(codes) if codes else 'no price'}")
                break
    return wrong
