"""Columns of the books: accounts, entries and their postings, closed periods, entries by hand that wait.

Everything here is only ever added: the triggers of `triggers` refuse to change or delete posted rows. Amounts are
integer minor units; a posting is positive for debit and negative for credit.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from controller.store.metadata import BigId, Id, Instant, metadata
from erp.finance import triggers

BY_HAND = "substr(source, 1, 7) = 'manual:'"
"""Entries that people made: few of many, so they have an index of their own."""

account = Table(
    "finance_account",
    metadata,
    Column("entity_id", Id, primary_key=True),
    Column("code", String(8), primary_key=True),
    Column("name", String(80), nullable=False),
    Column(
        "kind",
        String(16),
        CheckConstraint("kind IN ('asset', 'liability', 'equity', 'revenue', 'expense')", name="kind"),
        nullable=False,
    ),
    Column("parent", String(8)),
    Column("role", String(32)),
    Column("control", String(32)),
    ForeignKeyConstraint(["entity_id", "parent"], ["finance_account.entity_id", "finance_account.code"]),
    UniqueConstraint("entity_id", "role"),
)
"""The chart of accounts of each legal entity. An account holds every currency; each balances by itself."""

journal_entry = Table(
    "finance_journal_entry",
    metadata,
    Column("entry_id", Id, primary_key=True),
    Column("entity_id", Id, nullable=False),
    Column("posted_at", Instant, nullable=False),
    Column("booked_on", Date, nullable=False),
    Column("regards_on", Date),
    Column("description", String(200), nullable=False),
    Column("source", String(80), nullable=False, unique=True),
    Column("postings", Integer, CheckConstraint("postings >= 2", name="two_sides"), nullable=False),
    UniqueConstraint("entry_id", "entity_id", "booked_on", name="uq_finance_journal_entry_entity_day"),
    Index("ix_finance_journal_entry_posted_at", "posted_at", "entry_id"),
    Index("ix_finance_journal_entry_by_hand", "entity_id", sqlite_where=text(BY_HAND), postgresql_where=text(BY_HAND)),
)
"""`source` names the document as "kind:id": a document is posted once. `postings` fixes how many lines it has.

`regards_on` is a day of the period an entry is about, where that is not the one it was booked in.
"""

posting = Table(
    "finance_posting",
    metadata,
    Column("entry_id", Id, primary_key=True),
    Column("line", Integer, primary_key=True),
    Column("entity_id", Id, nullable=False),
    Column("booked_on", Date, nullable=False),
    Column("code", String(8), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("amount_minor", BigInteger, CheckConstraint("amount_minor <> 0", name="not_zero"), nullable=False),
    ForeignKeyConstraint(
        ["entry_id", "entity_id", "booked_on"],
        ["finance_journal_entry.entry_id", "finance_journal_entry.entity_id", "finance_journal_entry.booked_on"],
    ),
    ForeignKeyConstraint(["entity_id", "code"], ["finance_account.entity_id", "finance_account.code"]),
    Index("ix_finance_posting_entity_id", "entity_id", "code", "currency", "booked_on", "amount_minor"),
)
"""Entity and day are the entry's, held so by the foreign key; the index alone answers what an account amounts to."""

period_change = Table(
    "finance_period_change",
    metadata,
    Column("change_id", BigId, primary_key=True, autoincrement=True),
    Column("entity_id", Id, nullable=False),
    Column("closed_until", Date, nullable=False),
    Column("at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("reason", String(200), nullable=False),
    Index("ix_finance_period_change_entity_id", "entity_id", "change_id"),
    sqlite_autoincrement=True,
)
"""Each closing and reopening. The last one of an entity says it: nothing is booked before `closed_until`."""

entry_proposal = Table(
    "finance_entry_proposal",
    metadata,
    Column("proposal_id", Id, primary_key=True),
    Column("entity_id", Id, nullable=False),
    Column("reference", String(60), nullable=False),
    Column("description", String(200), nullable=False),
    Column("booked_on", Date),
    Column("postings", Text, nullable=False),
    Column("reverses", Id, ForeignKey("finance_journal_entry.entry_id"), index=True),
    Column("because", String(200), nullable=False),
    Column("at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
    UniqueConstraint("entity_id", "reference"),
)
"""An entry by hand that waits for a second person. `postings` is JSON: account, minor units, currency.

One that takes another entry back `reverses` it, and says `because` of what.
"""

entry_decision = Table(
    "finance_entry_decision",
    metadata,
    Column("proposal_id", Id, ForeignKey("finance_entry_proposal.proposal_id"), primary_key=True),
    Column("entry_id", Id, ForeignKey("finance_journal_entry.entry_id")),
    Column("reason", String(200), nullable=False),
    Column("at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
)
"""Approved with its entry, or refused without one."""

zero = Table(
    "finance_zero",
    metadata,
    Column("z", BigInteger, CheckConstraint("z = 0", name="zero"), primary_key=True, autoincrement=False),
)

balance = Table(
    "finance_balance",
    metadata,
    Column("entry_id", Id, primary_key=True),
    Column("what", String(3), primary_key=True),
    Column(
        "amount",
        BigInteger,
        ForeignKey("finance_zero.z", deferrable=True, initially="DEFERRED"),
        nullable=False,
    ),
)
"""SQLite only: what an entry still lacks to be balanced; must be 0, a row of finance_zero, when COMMIT looks."""

triggers.forbid_changes(journal_entry)
triggers.forbid_changes(posting)
triggers.forbid_changes(entry_proposal, ("entity_id", "reference"))
triggers.forbid_changes(entry_decision)
triggers.forbid_changes(period_change)
triggers.forbid_closed_period(journal_entry=journal_entry, period_change=period_change)
triggers.require_balance(journal_entry=journal_entry, posting=posting, zero=zero, balance=balance)
