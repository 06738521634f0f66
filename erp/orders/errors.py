"""What can go wrong with orders.

RuleError
├── NotFound
│   ├── NoContract        the version binds nobody
│   ├── NoItem
│   ├── NoOrder
│   ├── NoPause
│   └── NoSubscription
├── Conflict
│   ├── NotAllowed        the order's or subscription's state forbids it
│   ├── OrderOpen         the subscription has an open order
│   └── UsernameTaken
├── NothingToChange       the subscription has that version already
├── NotAnItem             the offering is a line, sold by an order
├── BadTime               an item or a pause cannot begin, change or end then
├── WrongCurrency         the offering is not sold in the account's currency
└── KeyReused             the Idempotency-Key was used with another body
"""

from __future__ import annotations

from controller.domain.errors import Conflict, NotFound, RuleError


class NoOrder(NotFound):
    code = "no-order"


class NoPause(NotFound):
    code = "no-pause"


class NoContract(NotFound):
    code = "no-contract"


class NoItem(NotFound):
    code = "no-item"


class NotAnItem(RuleError):
    code = "not-an-item"


class BadTime(RuleError):
    code = "bad-time"


class NoSubscription(NotFound):
    code = "no-subscription"


class NotAllowed(Conflict):
    code = "not-allowed-in-state"


class OrderOpen(Conflict):
    code = "order-open"


class UsernameTaken(Conflict):
    code = "username-taken"


class NothingToChange(RuleError):
    code = "nothing-to-change"


class WrongCurrency(RuleError):
    code = "wrong-currency"


class KeyReused(RuleError):
    code = "idempotency-key-reused"
