"""What can go wrong with customers.

RuleError
├── NotFound
│   ├── NoEntity      no legal entity was created yet: the first start does it
│   ├── NoCustomer
│   └── NoAccount
├── OtherZone         the settings count days in another zone than the legal entity's
└── BadParent         an account cannot belong to that one
"""

from __future__ import annotations

from controller.domain.errors import NotFound, RuleError


class NoEntity(NotFound):
    code = "no-entity"


class NoCustomer(NotFound):
    code = "no-customer"


class OtherZone(RuleError):
    code = "other-zone"


class BadParent(RuleError):
    code = "bad-parent"


class NoAccount(NotFound):
    code = "no-account"
