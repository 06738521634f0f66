"""What can go wrong with customers.

RuleError
└── NotFound
    ├── NoEntity      no legal entity was created yet: the first start does it
    ├── NoCustomer
    └── NoAccount
"""

from __future__ import annotations

from controller.domain.errors import NotFound


class NoEntity(NotFound):
    code = "no-entity"


class NoCustomer(NotFound):
    code = "no-customer"


class NoAccount(NotFound):
    code = "no-account"
