"""What can go wrong with customers.

RuleError
├── NotFound
│   ├── NoEntity      no legal entity was created yet: the first start does it
│   ├── NoCustomer
│   ├── NoAccount
│   └── NoUsageLink   no such link, or it was withdrawn, or its time is over: strangers are not told which
├── OtherZone         the settings count days in another zone than the legal entity's
├── FixedZone         the zone of an account is not changed: its days would be billed twice, or not at all
├── NoZone            an account was to be opened in a zone that the IANA database does not have
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


class FixedZone(RuleError):
    code = "zone-fixed"


class NoZone(RuleError):
    code = "no-zone"


class BadParent(RuleError):
    code = "bad-parent"


class NoAccount(NotFound):
    code = "no-account"


class NoUsageLink(NotFound):
    code = "no-usage-link"
