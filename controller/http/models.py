"""Pieces that request and response models of every room share.

Bodies derive from `In` (unknown fields are refused), answers from `Out`. `Instant` is an aware UTC instant written with
Z, `Money…` an exact amount as text: a JSON number would pass through floats on the way.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from controller.domain.errors import RuleError
from controller.domain.money import Money, exponent, is_currency

_FIRST_YEAR, _LAST_YEAR = 1970, 2199


def _to_utc(at: datetime) -> datetime:
    if not _FIRST_YEAR <= at.year <= _LAST_YEAR:
        raise ValueError(f"instants lie between {_FIRST_YEAR} and {_LAST_YEAR}")
    return at.astimezone(UTC)


def _in_use(code: str) -> str:
    if not is_currency(code):
        raise ValueError(f"{code} is no currency of ISO 4217 that is in use")
    return code


Instant = Annotated[AwareDatetime, AfterValidator(_to_utc)]
"""An ISO 8601 instant with a zone, converted to UTC; written as 2026-11-21T23:00:00Z."""

IdText = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""An id of controller.domain.identity."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=120, strip_whitespace=True)]
"""A display name."""

ShortText = Annotated[str, StringConstraints(max_length=300)]

Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$"), AfterValidator(_in_use)]
"""ISO 4217."""

RateBps = Annotated[int, Field(gt=0, le=10**13)]
"""bit/s."""

Octets = Annotated[int, Field(ge=0)]

Port = Annotated[int, Field(ge=1, le=65535)]


class In(BaseModel):
    """A request body."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Out(BaseModel):
    """A response body."""

    model_config = ConfigDict(frozen=True)


class MoneyOut(Out):
    """{"amount": "12.34", "currency": "EUR"}"""

    amount: Annotated[str, Field(examples=["12.34"])]
    currency: Annotated[str, Field(examples=["EUR"])]

    @classmethod
    def of(cls, money: Money) -> MoneyOut:
        return cls(amount=str(money.amount), currency=money.currency)


class MoneyIn(In):
    """An exact amount as text. `money()` refuses more decimals than the currency has."""

    amount: Annotated[str, StringConstraints(pattern=r"^-?[0-9]{1,15}(\.[0-9]{1,3})?$"), Field(examples=["12.34"])]
    currency: Currency

    def money(self) -> Money:
        """Raises RuleError (422)."""
        amount = Decimal(self.amount)
        if amount != round(amount, exponent(self.currency)):
            raise RuleError(f"{self.amount} {self.currency} has too many decimals", code="money-decimals")
        return Money.exact(amount, self.currency)
