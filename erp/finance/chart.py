"""The chart of accounts of a legal entity: which accounts there are, of which kind, and who may post to them. Pure.

    kind       grows by    stands in
    asset      debit       balance sheet
    liability  credit      balance sheet
    equity     credit      balance sheet
    revenue    credit      profit and loss
    expense    debit       profit and loss

An account with children is a heading: it is added up, never posted to. A `role` is what the program looks for when it
posts a document ("receivables"); a `control` account is the sum of a subledger, and only that subledger's documents
post to it, so that the two agree at every commit. The default chart is data: chart.csv.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from erp.finance.errors import NoSuchAccount

KINDS = ("asset", "liability", "equity", "revenue", "expense")
BALANCE_SHEET = frozenset({"asset", "liability", "equity"})

RECEIVABLES, BANK, OUTPUT_TAX = "receivables", "bank", "output-tax"
LEVIES = "levies"
"""Taxes that are no VAT, collected for their authorities."""
DEFERRED, CONTRACT_ASSETS = "deferred-revenue", "contract-assets"
CASH, GATEWAY, DIRECT_DEBITS, IN_TRANSIT = "cash", "gateway", "direct-debits", "money-in-transit"
OF_A_BANK_ACCOUNT = "bank:"
"""How roles begin of accounts that stand for one bank account each; without one its lines are posted to BANK."""
BANK_LINES, UNKNOWN_PAYERS = "bank-lines", "unknown-payers"
DEPOSITS = "deposits"
"""Held for customers as security."""
PREPAYMENTS = "prepayments"
"""Paid for service that is still to be used."""
BREAKAGE = "breakage"
"""Earned by prepaid credit that expired unused."""
COMMISSIONS, PAYABLES = "commissions", "payables"
BANK_CHARGES, BAD_DEBTS, CASH_DIFFERENCES = "bank-charges", "bad-debts", "cash-differences"


@dataclass(frozen=True, slots=True)
class Account:
    """One account. `parent` is the code of its heading, None at the top; `role` and `control` are None for most."""

    code: str
    name: str
    kind: str
    parent: str | None = None
    role: str | None = None
    control: str | None = None


class Chart:
    """The accounts of one legal entity, by code and by role."""

    def __init__(self, accounts: Iterable[Account]) -> None:
        self.accounts: Mapping[str, Account] = {a.code: a for a in sorted(accounts, key=lambda a: a.code)}
        self._by_role = {a.role: a.code for a in self.accounts.values() if a.role}
        self.headings = frozenset(a.parent for a in self.accounts.values() if a.parent)

    def code(self, role: str) -> str:
        """The account with this role. Raises NoSuchAccount."""
        try:
            return self._by_role[role]
        except KeyError:
            raise NoSuchAccount(f"the chart has no account with the role {role}") from None

    def code_or(self, role: str, otherwise: str) -> str:
        """The account with this role; where there is none, the one with the other."""
        return self._by_role.get(role) or self.code(otherwise)

    def money(self) -> list[str]:
        """Bank accounts and cash: what a cash flow is the flow of."""
        return [self.code(BANK), self.code(CASH)] + [
            code for role, code in sorted(self._by_role.items()) if role.startswith(OF_A_BANK_ACCOUNT)
        ]

    def account(self, code: str) -> Account:
        """Raises NoSuchAccount."""
        try:
            return self.accounts[code]
        except KeyError:
            raise NoSuchAccount(f"the chart has no account {code}") from None

    def path(self, code: str) -> tuple[Account, ...]:
        """The account and the headings above it, topmost first."""
        found: list[Account] = []
        at: str | None = code
        while at is not None:
            found.append(self.account(at))
            at = found[-1].parent
        return tuple(reversed(found))

    def __len__(self) -> int:
        return len(self.accounts)


@cache
def default_accounts() -> Sequence[Account]:
    """What a new entity starts with, headings before what is below them."""
    text = resources.files("erp.finance").joinpath("chart.csv").read_text(encoding="utf-8")
    return tuple(
        Account(
            row["code"], row["name"], row["kind"], row["parent"] or None, row["role"] or None, row["control"] or None
        )
        for row in csv.DictReader(text.splitlines())
    )
