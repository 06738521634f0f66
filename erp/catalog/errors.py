"""What can go wrong with the catalogue.

RuleError
├── NotFound
│   ├── NoOffering
│   └── NoVersion
├── Conflict
│   └── NameTaken      an offering of that name exists
├── BadVersion         terms that no device or invoice could carry
└── NotInForce         no version is effective on that day
"""

from __future__ import annotations

from controller.domain.errors import Conflict, NotFound, RuleError


class NoOffering(NotFound):
    code = "no-offering"


class NoVersion(NotFound):
    code = "no-version"


class NameTaken(Conflict):
    code = "offering-name-taken"


class BadVersion(RuleError):
    code = "bad-version"


class NotInForce(RuleError):
    code = "not-in-force"
