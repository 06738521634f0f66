"""Money is an integer of minor units and a currency; Decimal while calculating; never a float.

One function, `Money.rounded`, turns a Decimal amount of major units into Money. Whoever calls it names the rounding
mode, so the places where cents are decided can be found by searching for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

# ISO 4217 currencies whose minor unit is not 1/100.
_EXPONENT = {
    "BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3,
    "BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "ISK": 0, "JPY": 0, "KMF": 0, "KRW": 0, "PYG": 0, "RWF": 0,
    "UGX": 0, "UYI": 0, "VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0,
}  # fmt: skip

_TENDER = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF
CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL
HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD
MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG
QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SYP SZL THB TJS TMT TND TOP TRY TTD TWD
TZS UAH UGX USD UYU UZS VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
"""
_CURRENCIES = frozenset(_TENDER.split())
"""What is paid with: no metals, funds or test codes, and none that was withdrawn."""


def is_currency(code: str) -> bool:
    """Whether `code` is a currency of ISO 4217 that is legal tender somewhere: EUR, not DEM, XAU or XXX."""
    return code in _CURRENCIES


_CODES = 200
"""More than there are currencies: whatever codes peers make up, no more are remembered."""
_SEEN: set[str] = set()
"""Codes that were found to be one, which is asked for each amount."""


def exponent(currency: str) -> int:
    """Digits after the point of `currency` (ISO 4217): 2 for EUR, 0 for JPY, 3 for KWD."""
    return _EXPONENT.get(currency, 2)


@dataclass(frozen=True, slots=True, order=False)
class Money:
    """`minor` units of `currency` (an ISO 4217 alphabetic code): Money(1999, "EUR") is 19.99 EUR."""

    minor: int
    currency: str

    def __post_init__(self) -> None:
        if self.currency not in _SEEN:
            if len(self.currency) != 3 or not self.currency.isupper():
                raise ValueError(f"{self.currency!r} is not an ISO 4217 code such as 'EUR'")
            if len(_SEEN) < _CODES:
                _SEEN.add(self.currency)

    @classmethod
    def zero(cls, currency: str) -> Money:
        return cls(0, currency)

    @classmethod
    def exact(cls, amount: Decimal | str, currency: str) -> Money:
        """`amount` major units, which must fit the currency's minor unit. Raises ValueError when it does not."""
        scaled = Decimal(amount).scaleb(exponent(currency))
        if scaled != scaled.to_integral_value():
            raise ValueError(f"{amount} {currency} has more than {exponent(currency)} decimals")
        return cls(int(scaled), currency)

    @classmethod
    def rounded(cls, amount: Decimal, currency: str, rounding: str) -> Money:
        """`amount` major units rounded to the minor unit by a `decimal.ROUND_*` mode: the one rounding."""
        scaled = amount.scaleb(exponent(currency)).quantize(Decimal(1), rounding=rounding)
        return cls(int(scaled), currency)

    @classmethod
    def sum(cls, parts: Iterable[Money], currency: str) -> Money:
        """What parts of one currency come to; nothing of it when there are none."""
        minor = 0
        for part in parts:
            if part.currency != currency:
                raise ValueError(f"cannot combine {currency} with {part.currency}")
            minor += part.minor
        return cls(minor, currency)

    @property
    def amount(self) -> Decimal:
        """Major units, with the currency's number of decimals."""
        return Decimal(self.minor).scaleb(-exponent(self.currency))

    def _same(self, other: Money) -> None:
        if self.currency != other.currency:
            raise ValueError(f"cannot combine {self.currency} with {other.currency}")

    def __add__(self, other: Money) -> Money:
        self._same(other)
        return Money(self.minor + other.minor, self.currency)

    def __sub__(self, other: Money) -> Money:
        self._same(other)
        return Money(self.minor - other.minor, self.currency)

    def __neg__(self) -> Money:
        return Money(-self.minor, self.currency)

    def __bool__(self) -> bool:
        return self.minor != 0

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"


def allocate(total: int, weights: Sequence[int]) -> list[int]:
    """Split `total` minor units in proportion to `weights` by largest remainder: the parts sum to `total` exactly.

    Ties go to the earlier part. Raises ValueError when no weight is positive or one is negative.
    """
    whole = sum(weights)
    if whole <= 0 or any(w < 0 for w in weights):
        raise ValueError("weights must be non-negative and one of them positive")
    shares = [divmod(abs(total) * w, whole) for w in weights]
    parts = [q for q, _ in shares]
    by_remainder = sorted(range(len(weights)), key=lambda i: (-shares[i][1], i))
    for i in by_remainder[: abs(total) - sum(parts)]:
        parts[i] += 1
    return parts if total >= 0 else [-p for p in parts]
