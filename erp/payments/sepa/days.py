"""Account numbers that are right, and the days on which banks settle. Pure."""

from __future__ import annotations

from datetime import date, timedelta
from functools import lru_cache

import holidays
from stdnum import bic as bics
from stdnum import iban as ibans

from controller.domain.errors import RuleError

_DAY = timedelta(days=1)


def checked_account(iban: str, bic: str) -> tuple[str, str]:
    """Both without blanks. Raises RuleError; the BIC may be empty."""
    if not ibans.is_valid(iban):
        raise RuleError("this is no IBAN: look at its check digits", code="iban")
    if bic and not bics.is_valid(bic):
        raise RuleError("this is no BIC", code="bic")
    return ibans.compact(iban), bics.compact(bic) if bic else ""


@lru_cache(maxsize=16)
def _closed(year: int) -> frozenset[date]:
    return frozenset(holidays.financial_holidays("ECB", years=year))


def is_bank_day(day: date) -> bool:
    """Whether TARGET, over which SEPA settles, is open."""
    return day.weekday() < 5 and day not in _closed(day.year)


def next_bank_day(day: date) -> date:
    """The day itself where it is one."""
    while not is_bank_day(day):
        day += _DAY
    return day


def require_bank_day(day: date, today: date) -> None:
    """Raises RuleError unless banks settle on a later day than today."""
    if day <= today:
        raise RuleError("banks want the file a day before", code="bank-day")
    if not is_bank_day(day):
        raise RuleError(f"{day} is no day on which banks settle: the next is {next_bank_day(day)}", code="bank-day")
