"""On which days people work: weekends and public holidays of a country, as the holidays library knows them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import lru_cache

import holidays

from controller.domain.errors import RuleError

Works = Callable[[date], bool]
"""Whether people work on a day."""


def check(country: str, subdivision: str) -> None:
    """Raises RuleError for a country or a part of it that the library does not know."""
    known = holidays.list_supported_countries()
    if country and country not in known:
        raise RuleError(f"no holidays are known of {country!r}; give an ISO 3166 code such as DE, or leave it empty")
    if subdivision and subdivision not in known.get(country, ()):
        parts = ", ".join(known.get(country, ())) or "none"
        raise RuleError(
            f"{country or 'no country'} has no part {subdivision!r} with holidays of its own; known: {parts}"
        )


@lru_cache(maxsize=64)
def working(country: str, subdivision: str) -> Works:
    """A function that tells whether a day is one; "" for a country knows of Saturdays and Sundays alone."""
    if not country:
        return lambda day: day.weekday() < 5
    known = holidays.country_holidays(country, subdiv=subdivision or None)
    return lambda day: bool(known.is_working_day(day))
