"""What can go wrong with stock.

RuleError
├── NotFound
│   └── NoItem         no such item, or no item with that serial
├── Conflict
│   ├── SerialTaken    received already; the message names the holder
│   └── NotAvailable   not in stock; the message names the holder
└── BadSerial          not a serial of that kind
"""

from __future__ import annotations

from controller.domain.errors import Conflict, NotFound, RuleError


class NoItem(NotFound):
    code = "no-stock-item"


class SerialTaken(Conflict):
    code = "serial-taken"


class NotAvailable(Conflict):
    code = "stock-not-available"


class BadSerial(RuleError):
    code = "bad-serial"
