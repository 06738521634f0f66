"""The port to whoever charges cards. A key makes a request one: repeated under it, it has its effect once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from controller.domain.money import Money


@dataclass(frozen=True, slots=True)
class ChargeCard:
    """Charge a card that the customer left with the gateway. `key` is ours and kept before anything is asked."""

    key: str
    amount: Money
    customer: str
    method: str
    account_id: str
    description: str


@dataclass(frozen=True, slots=True)
class RefundPayment:
    """Give back a part of a payment, or all of it."""

    key: str
    intent_id: str
    amount: Money


@dataclass(frozen=True, slots=True)
class Answer:
    """`state` is succeeded, pending or failed; the gateway's events tell the same."""

    provider_id: str
    state: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class BalanceTransaction:
    """What moved our balance at the gateway: `amount` less `fee`. `source` is what it is about, such as a charge."""

    transaction_id: str
    kind: str
    category: str
    source: str
    amount: Money
    fee: Money


class PaymentGateway(Protocol):
    """Raises GatewayDeclined for a clear no, and GatewayUnsure when it is not known whether it happened."""

    async def transaction(self, transaction_id: str) -> BalanceTransaction: ...

    async def transactions_of(self, payout_id: str, after: str | None) -> tuple[list[BalanceTransaction], bool]:
        """Some of those that a payout is made of, after the one named, and whether there are more."""
        ...

    async def charge(self, wanted: ChargeCard) -> Answer: ...

    async def refund(self, wanted: RefundPayment) -> Answer: ...
