"""Columns of taxes: rates over time, places, exemptions, and the built-in table of levies.

Everything here is only ever added: the triggers of `triggers` refuse to change or delete posted rows. Amounts are
integer minor units.
"""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Date, String, Table

from controller.store.metadata import ExactDecimal, Id, Instant, metadata
from erp.finance import triggers

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

triggers.forbid_changes(tax_rate)
triggers.forbid_changes(tax_exemption)
triggers.forbid_changes(tax_place)
triggers.forbid_changes(levy_rule)
