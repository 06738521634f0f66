"""Which account of the ledger a bank account of ours is: its own, where it was given one, else that of all. Pure."""

from __future__ import annotations

from erp.finance.chart import BANK, OF_A_BANK_ACCOUNT, Chart
from erp.payments.bank.repository import BankAccount


def role_of(account: BankAccount) -> str:
    """What an account of the ledger is called that stands for this one alone."""
    return f"{OF_A_BANK_ACCOUNT}{account.bank_account_id[-24:]}"


def ledger_code(chart: Chart, account: BankAccount) -> str:
    """Where its lines are posted."""
    return chart.code_or(role_of(account), BANK)
