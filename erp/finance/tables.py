"""Columns of finance: the chart of accounts, the journal, invoices, payments and their allocations.

Everything here but the number series is only ever added: the triggers of `triggers` refuse to change or delete posted
rows, and refuse at COMMIT a journal entry that does not balance. Amounts are integer minor units; a posting is positive
for debit and negative for credit.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from controller.store.metadata import BigId, ExactDecimal, Id, Instant, metadata
from erp.finance import triggers

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

series = Table(
    "finance_series",
    metadata,
    Column("entity_id", Id, primary_key=True),
    Column("series", String(24), primary_key=True),
    Column("last_number", BigInteger, nullable=False),
)
"""The last number given in each series. Its row is the lock under which numbers stay consecutive."""

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

invoice = Table(
    "finance_invoice",
    metadata,
    Column("invoice_id", Id, primary_key=True),
    Column("entity_id", Id, nullable=False),
    Column("series", String(24), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("number", String(40), nullable=False),
    Column("kind", String(12), nullable=False),
    Column("account_id", Id, nullable=False),
    Column("customer_id", Id, nullable=False, index=True),
    Column("bill_run_id", Id, nullable=False, index=True),
    Column("entry_id", Id, ForeignKey("finance_journal_entry.entry_id")),
    Column("issued_at", Instant, nullable=False),
    Column("issued_on", Date, nullable=False),
    Column("due_on", Date, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("net_minor", BigInteger, nullable=False),
    Column("tax_minor", BigInteger, nullable=False),
    Column("total_minor", BigInteger, nullable=False),
    Column("content", Text, nullable=False),
    Column("content_sha256", LargeBinary(32), nullable=False),
    Column("draft_sha256", LargeBinary(32), nullable=False),
    CheckConstraint("total_minor = net_minor + tax_minor", name="total"),
    UniqueConstraint("account_id", "bill_run_id", "currency", name="uq_finance_invoice_account_id_bill_run_id"),
    UniqueConstraint("entity_id", "series", "sequence", name="uq_finance_invoice_series_sequence"),
    UniqueConstraint("entity_id", "number", name="uq_finance_invoice_number"),
    Index("ix_finance_invoice_account_id_issued_at", "account_id", "issued_at"),
    Index("ix_finance_invoice_issued_at", "issued_at", "invoice_id"),
)
"""`content` is everything the paper says, as canonical JSON, and `content_sha256` its digest.

`draft_sha256` is the digest without what only the issue adds: the same as that of the preview it was made of.
"""

invoice_line = Table(
    "finance_invoice_line",
    metadata,
    Column("line_id", Id, primary_key=True),
    Column("invoice_id", Id, ForeignKey("finance_invoice.invoice_id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("charge_id", Id, nullable=False),
    Column("part", Integer, nullable=False),
    Column("subscription_id", Id, nullable=False),
    Column("service_id", Id, nullable=False),
    Column("version_id", Id, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("item", String(200), nullable=False),
    Column("description", String(400), nullable=False),
    Column("first_on", Date, nullable=False),
    Column("until_on", Date, nullable=False),
    Column("quantity", ExactDecimal, nullable=False),
    Column("unit", String(8), nullable=False),
    Column("unit_price", ExactDecimal, nullable=False),
    Column("net_minor", BigInteger, nullable=False),
    Column("tax_percent", ExactDecimal, nullable=False),
    Column("tax_minor", BigInteger, nullable=False),
    Column("exemption", String(200), nullable=False),
    Column("exemption_code", String(40), nullable=False),
    Column("tax_category", String(4), nullable=False),
    Column("tax_included", Boolean, nullable=False),
    Column("agreed_minor", BigInteger, nullable=False),
    Column("adjustment", Boolean, nullable=False),
    Column("credits_line_id", Id, ForeignKey("finance_invoice_line.line_id"), index=True),
    UniqueConstraint("invoice_id", "position"),
    UniqueConstraint("charge_id", "part"),
)
"""A charge stands on one document: on one line, or on a part for each tax that its days bear.

The agreed amounts of its lines are what was charged. `credits_line_id` is the line that a line of a credit note takes
back; the database lets nobody take back more of a line than it says.
"""

adjustment_due = Table(
    "finance_adjustment_due",
    metadata,
    Column("account_id", Id, primary_key=True),
    Column("reference", String(200), primary_key=True),
    Column("net_minor", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("tax_percent", ExactDecimal, nullable=False),
    Column("item", String(200), nullable=False),
    Column("reason", String(400), nullable=False),
    Column("tax_category", String(4), nullable=False),
    Column("tax_included", Boolean, nullable=False),
    Column("first_on", Date),
    Column("subscription_id", String(32), nullable=False),
    Column("names", Text, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("noted_at", Instant, nullable=False),
    Column("next_at", Instant, nullable=False, index=True),
    Column("attempts", Integer, nullable=False),
    Column("detail", String(300), nullable=False),
)
"""An adjustment that waits for a tax service; gone when its document is issued. `names` is JSON: language, name."""

line_levy = Table(
    "finance_line_levy",
    metadata,
    Column("line_id", Id, ForeignKey("finance_invoice_line.line_id"), primary_key=True),
    Column("code", String(40), primary_key=True),
    Column("name", String(120), nullable=False),
    Column("authority", String(120), nullable=False),
    Column("rate", String(80), nullable=False),
    Column("base_minor", BigInteger, nullable=False),
    Column("tax_minor", BigInteger, nullable=False),
)
"""Taxes of a line that are no VAT, for the returns of each authority; they are part of the line's tax."""

levy_rule = Table(
    "finance_levy_rule",
    metadata,
    Column("entity_id", Id, primary_key=True),
    Column("code", String(40), primary_key=True),
    Column("since", Date, primary_key=True),
    Column("until_on", Date),
    Column("name", String(120), nullable=False),
    Column("authority", String(120), nullable=False),
    Column("area", String(80), nullable=False),
    Column("kinds", String(200), nullable=False),
    Column("percent", ExactDecimal, nullable=False),
    Column("per_line", ExactDecimal, nullable=False),
    Column("upon", String(400), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
)
"""The built-in table of levies. `area` is a prefix of those it holds in, `upon` are codes that it is also levied on."""

tax_rate = Table(
    "finance_tax_rate",
    metadata,
    Column("entity_id", Id, primary_key=True),
    Column("agreed", String(12), primary_key=True),
    Column("since", Date, primary_key=True),
    Column("area", String(80), primary_key=True),
    Column("percent", ExactDecimal, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
)
"""What an offering agrees at `agreed` per cent is taxed at `percent` from `since` on, in an area or ("") elsewhere."""

tax_place = Table(
    "finance_tax_place",
    metadata,
    Column("account_id", Id, primary_key=True),
    Column("since", Date, primary_key=True),
    Column("area", String(80), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
)
"""In which tax area an account is from a day on."""

tax_exemption = Table(
    "finance_tax_exemption",
    metadata,
    Column("exemption_id", Id, primary_key=True),
    Column("account_id", Id, nullable=False, index=True),
    Column("first_on", Date, nullable=False),
    Column("until_on", Date, nullable=False),
    Column("reason", String(200), nullable=False),
    Column("category", String(4), nullable=False),
    Column("code", String(40), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
    CheckConstraint("until_on > first_on", name="days"),
)

document = Table(
    "finance_document",
    metadata,
    Column("invoice_id", Id, ForeignKey("finance_invoice.invoice_id"), primary_key=True),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("pdf", LargeBinary, nullable=False),
    Column("rendered_at", Instant, nullable=False),
)
"""The PDF as it was first handed out. Later versions of the template do not touch it."""

payment = Table(
    "finance_payment",
    metadata,
    Column("payment_id", Id, primary_key=True),
    Column("entity_id", Id, nullable=False),
    Column("account_id", Id, nullable=False, index=True),
    Column("kind", String(16), CheckConstraint("kind IN ('payment', 'write-off')", name="kind"), nullable=False),
    Column("amount_minor", BigInteger, CheckConstraint("amount_minor > 0", name="positive"), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("method", String(32), nullable=False),
    Column("reference", String(140), nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("recorded_at", Instant, nullable=False),
    Column("entry_id", Id, ForeignKey("finance_journal_entry.entry_id"), nullable=False),
    Column("actor", String(128), nullable=False),
    UniqueConstraint("method", "reference"),
    Index("ix_finance_payment_recorded_at", "recorded_at", "payment_id"),
)
"""The same money told twice, by the same method and reference, is one payment. A write-off settles like one."""

payment_reversal = Table(
    "finance_payment_reversal",
    metadata,
    Column("reversal_id", Id, primary_key=True),
    Column("payment_id", Id, ForeignKey("finance_payment.payment_id"), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("reference", String(140), nullable=False),
    Column("amount_minor", BigInteger, CheckConstraint("amount_minor <> 0", name="not_zero"), nullable=False),
    Column("at", Instant, nullable=False),
    Column("booked_on", Date, nullable=False),
    Column("entry_id", Id, ForeignKey("finance_journal_entry.entry_id"), nullable=False),
    Column("reason", String(300), nullable=False),
    Column("actor", String(128), nullable=False),
    UniqueConstraint("kind", "reference"),
)
"""Money of a payment that went back (refund, chargeback, return), or, below zero, came again. The payment stays."""

allocation = Table(
    "finance_allocation",
    metadata,
    Column("allocation_id", BigId, primary_key=True, autoincrement=True),
    Column("invoice_id", Id, ForeignKey("finance_invoice.invoice_id"), nullable=False, index=True),
    Column("payment_id", Id, ForeignKey("finance_payment.payment_id"), index=True),
    Column("credit_note_id", Id, ForeignKey("finance_invoice.invoice_id"), index=True),
    Column("amount_minor", BigInteger, nullable=False),
    Column("at", Instant, nullable=False),
    Column("applied_on", Date, nullable=False),
    Column("reverses", BigId, ForeignKey("finance_allocation.allocation_id"), unique=True),
    Column("actor", String(128)),
    Column("reason", String(300)),
    CheckConstraint("(payment_id IS NULL) <> (credit_note_id IS NULL)", name="one_source"),
    CheckConstraint("amount_minor <> 0 AND (amount_minor < 0) = (reverses IS NOT NULL)", name="sign"),
    sqlite_autoincrement=True,
)
"""Which credit settles which invoice. What an invoice is still owed is its total less its allocations.

`applied_on` is the day of `at` in the legal entity's zone: what was open at the end of any past day is known by it. A
match is taken back, once, by a row of the opposite amount that names it; `actor` is empty where the program matched.
"""

contract = Table(
    "finance_contract",
    metadata,
    Column("contract_id", Id, primary_key=True),
    Column("entity_id", Id, nullable=False),
    Column("account_id", Id, nullable=False, index=True),
    Column("subscription_id", Id, index=True),
    Column("reference", String(60), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
    UniqueConstraint("entity_id", "reference"),
    UniqueConstraint("subscription_id"),
)
"""What was sold as one: what is billed for `subscription_id` is billed on it, and earned as its promises are kept."""

contract_change = Table(
    "finance_contract_change",
    metadata,
    Column("contract_id", Id, ForeignKey("finance_contract.contract_id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("at_on", Date, nullable=False),
    Column("added_minor", BigInteger, nullable=False),
    Column("reason", String(200), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
)
"""Version 1 is the contract as it was signed, with its price; each later one ends the plan before it on its day."""

promise = Table(
    "finance_promise",
    metadata,
    Column("promise_id", Id, primary_key=True),
    Column("contract_id", Id, nullable=False),
    Column("version", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    Column("name", String(120), nullable=False),
    Column("role", String(32), nullable=False),
    Column("stand_alone_minor", BigInteger, nullable=False),
    Column("share_minor", BigInteger, nullable=False),
    Column("first_on", Date, nullable=False),
    Column("until_on", Date),
    ForeignKeyConstraint(
        ["contract_id", "version"], ["finance_contract_change.contract_id", "finance_contract_change.version"]
    ),
    UniqueConstraint("contract_id", "version", "position"),
)

earning = Table(
    "finance_earning",
    metadata,
    Column("earning_id", BigId, primary_key=True, autoincrement=True),
    Column("entity_id", Id, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("code", String(8), nullable=False),
    Column("month", Date, nullable=False),
    Column("first_on", Date, nullable=False),
    Column("until_on", Date, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("line_id", Id, ForeignKey("finance_invoice_line.line_id"), index=True),
    Column("promise_id", Id, ForeignKey("finance_promise.promise_id"), index=True),
    Column("contract_id", Id, ForeignKey("finance_contract.contract_id"), index=True),
    CheckConstraint("(line_id IS NULL) <> (promise_id IS NULL)", name="one_source"),
    CheckConstraint("until_on > first_on", name="days"),
    ForeignKeyConstraint(["entity_id", "code"], ["finance_account.entity_id", "finance_account.code"]),
    Index("ix_finance_earning_entity_id", "entity_id", "month"),
    sqlite_autoincrement=True,
)
"""What is to be earned in a month. A change of plan adds rows that take back what it ends: the sum is the plan."""

recognition = Table(
    "finance_recognition",
    metadata,
    Column("recognition_id", BigId, primary_key=True, autoincrement=True),
    Column("entity_id", Id, nullable=False),
    Column("month", Date, nullable=False),
    Column("upto", BigInteger, nullable=False),
    Column("at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
    Index("ix_finance_recognition_entity_id", "entity_id", "recognition_id"),
    sqlite_autoincrement=True,
)
"""Everything of `month` and before it, up to the earning `upto`, was posted. Later rows of those months come later."""

contract_movement = Table(
    "finance_contract_movement",
    metadata,
    Column("contract_id", Id, ForeignKey("finance_contract.contract_id"), primary_key=True),
    Column("entry_id", Id, ForeignKey("finance_journal_entry.entry_id"), primary_key=True),
    Column("billed_minor", BigInteger, nullable=False),
    Column("earned_minor", BigInteger, nullable=False),
)
"""What an entry moved of a contract: billed less earned is what it owes in service, or, below zero, is owed for it."""

deposit = Table(
    "finance_deposit",
    metadata,
    Column("deposit_id", Id, primary_key=True),
    Column("entity_id", Id, nullable=False),
    Column("account_id", Id, nullable=False),
    Column("amount_minor", BigInteger, CheckConstraint("amount_minor > 0", name="positive"), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("reference", String(60), nullable=False),
    Column("entry_id", Id, ForeignKey("finance_journal_entry.entry_id"), nullable=False),
    Column("taken_at", Instant, nullable=False),
    Column("taken_by", String(128), nullable=False),
    UniqueConstraint("account_id", "reference"),
)
"""Money held for a customer as security."""

deposit_release = Table(
    "finance_deposit_release",
    metadata,
    Column("deposit_id", Id, ForeignKey("finance_deposit.deposit_id"), primary_key=True),
    Column("payment_id", Id, ForeignKey("finance_payment.payment_id"), nullable=False),
    Column("released_at", Instant, nullable=False),
    Column("released_by", String(128), nullable=False),
    Column("reason", String(200), nullable=False),
)
"""A deposit that was given back, as a payment of its account."""

prepayment = Table(
    "finance_prepayment",
    metadata,
    Column("prepayment_id", Id, primary_key=True),
    Column("entity_id", Id, nullable=False),
    Column("account_id", Id, nullable=False),
    Column("service_id", Id, nullable=False),
    Column("reference", String(60), nullable=False),
    Column("paid_minor", BigInteger, CheckConstraint("paid_minor > 0", name="positive"), nullable=False),
    Column("net_minor", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("tax_percent", ExactDecimal, nullable=False),
    Column("into", String(8), nullable=False),
    Column("entry_id", Id, ForeignKey("finance_journal_entry.entry_id"), nullable=False),
    Column("taken_at", Instant, nullable=False),
    Column("taken_by", String(128), nullable=False),
    UniqueConstraint("service_id", "reference"),
)
"""Money paid for service that is still to be used, with the tax in it."""

resale = Table(
    "finance_resale",
    metadata,
    Column("account_id", Id, primary_key=True),
    Column("since", Date, primary_key=True),
    Column("reseller_id", Id, index=True),
    Column("percent", ExactDecimal, nullable=False),
    Column("changed_at", Instant, nullable=False),
    Column("changed_by", String(128), nullable=False),
)
"""Whose customer an account is from `since` until its next row, and which share of its net is the reseller's."""

commission = Table(
    "finance_commission",
    metadata,
    Column("reseller_id", Id, primary_key=True),
    Column("month", Date, primary_key=True),
    Column("currency", String(3), primary_key=True),
    Column("net_minor", BigInteger, nullable=False),
    Column("share_minor", BigInteger, nullable=False),
    Column("entry_id", Id, ForeignKey("finance_journal_entry.entry_id")),
    Column("settled_at", Instant, nullable=False),
    Column("settled_by", String(128), nullable=False),
)
"""What a reseller is owed for a month, as it was posted; without an entry where that is nothing."""

for table in (contract_change, promise, earning, recognition, contract_movement):
    triggers.forbid_changes(table)
triggers.forbid_changes(contract, ("entity_id", "reference"), ("subscription_id",))
triggers.forbid_changes(journal_entry)
triggers.forbid_changes(posting)
triggers.forbid_changes(invoice, ("entity_id", "series", "sequence"), ("entity_id", "number"))
triggers.forbid_changes(invoice_line, ("charge_id", "part"), ("invoice_id", "position"))
triggers.forbid_changes(entry_proposal, ("entity_id", "reference"))
triggers.forbid_changes(entry_decision)
triggers.forbid_changes(tax_rate)
triggers.forbid_changes(tax_exemption)
triggers.forbid_changes(tax_place)
triggers.forbid_changes(levy_rule)
triggers.forbid_changes(line_levy)
triggers.forbid_over_credit(invoice=invoice, line=invoice_line)
triggers.forbid_changes(document)
triggers.forbid_changes(payment, ("method", "reference"))
triggers.forbid_changes(payment_reversal, ("kind", "reference"))
triggers.forbid_changes(allocation, ("reverses",))
triggers.forbid_changes(period_change)
triggers.forbid_changes(deposit, ("account_id", "reference"))
triggers.forbid_changes(deposit_release)
triggers.forbid_changes(prepayment, ("service_id", "reference"))
triggers.forbid_changes(resale)
triggers.forbid_changes(commission)
triggers.forbid_closed_period(journal_entry=journal_entry, period_change=period_change)
triggers.require_balance(journal_entry=journal_entry, posting=posting, zero=zero, balance=balance)
