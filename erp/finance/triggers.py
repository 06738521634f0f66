"""What the database itself refuses: a changed document, an entry into a closed period, and one that does not balance.

PostgreSQL has deferred constraint triggers. SQLite has none, but it has deferred foreign keys: triggers keep, per
entry, what is missing to its balance, and that number must be found in a table whose only row is 0 at COMMIT.
Both also count the postings an entry said it would have, so nothing can be added to an entry later.

The rules hang on the tables (`after_create`), so that whoever creates the tables has them.
"""

# ruff: noqa: S608 - the statements are made of our own table names only

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import DDL, Table, event

_PERIOD_LOCK = 0x4845_4144_0011


def forbid_changes(table: Table, *unique: Sequence[str]) -> None:
    """Refuse UPDATE, DELETE and TRUNCATE; on SQLite also REPLACE, over the primary key or one of `unique`."""
    name = table.name
    message = f"{name}: posted rows are never changed or deleted"
    for action in ("UPDATE", "DELETE"):
        _on_sqlite(
            table,
            f"CREATE TRIGGER {name}_no_{action.lower()} BEFORE {action} ON {name} "
            f"BEGIN SELECT RAISE(ABORT, '{message}'); END",
        )
    # INSERT OR REPLACE deletes the old row without asking delete triggers.
    keys = [tuple(c.name for c in table.primary_key), *unique]
    clash = " OR ".join("(" + " AND ".join(f"{c} = NEW.{c}" for c in key) + ")" for key in keys)
    _on_sqlite(
        table,
        f"CREATE TRIGGER {name}_no_replace BEFORE INSERT ON {name} WHEN EXISTS (SELECT 1 FROM {name} WHERE {clash}) "
        f"BEGIN SELECT RAISE(ABORT, '{message} (UNIQUE constraint failed)'); END",
    )
    _on_postgresql(
        table,
        f"CREATE FUNCTION {name}_frozen() RETURNS trigger LANGUAGE plpgsql AS $$ "
        f"BEGIN RAISE EXCEPTION USING MESSAGE = '{message}', ERRCODE = 'restrict_violation'; END $$",
    )
    _on_postgresql(
        table,
        f"CREATE TRIGGER {name}_frozen BEFORE UPDATE OR DELETE OR TRUNCATE ON {name} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {name}_frozen()",
    )


def forbid_over_credit(*, invoice: Table, line: Table) -> None:
    """Refuse a line that takes back more of another one than that says, net or tax, all its credits together.

    A credit that was taken back does not count, as far as it was. It stands on a document of the same account and
    currency, has the other sign, and takes back nothing that takes back a credit. On PostgreSQL the credited row is
    locked first, so that two credits of one line do not both see room.
    """
    name, head = line.name, invoice.name
    message = f"{name}: more is credited than the line says"
    others = (
        f"((SELECT COALESCE(SUM({{0}}), 0) FROM {name} WHERE credits_line_id = NEW.credits_line_id) + "
        f"(SELECT COALESCE(SUM(b.{{0}}), 0) FROM {name} c JOIN {name} b ON b.credits_line_id = c.line_id "
        f"WHERE c.credits_line_id = NEW.credits_line_id))"
    )
    net, tax = others.format("net_minor"), others.format("tax_minor")
    wrong = (
        f"NOT EXISTS (SELECT 1 FROM {name} o JOIN {head} oh ON oh.invoice_id = o.invoice_id "
        f"JOIN {head} nh ON nh.invoice_id = NEW.invoice_id "
        f"LEFT JOIN {name} oo ON oo.line_id = o.credits_line_id "
        f"WHERE o.line_id = NEW.credits_line_id AND oo.credits_line_id IS NULL "
        f"AND oh.account_id = nh.account_id AND oh.currency = nh.currency AND oh.invoice_id <> nh.invoice_id "
        f"AND {_within('o.net_minor', 'NEW.net_minor', net)} AND {_within('o.tax_minor', 'NEW.tax_minor', tax)})"
    )
    _on_sqlite(
        line,
        f"CREATE TRIGGER {name}_over_credit BEFORE INSERT ON {name} WHEN NEW.credits_line_id IS NOT NULL AND {wrong} "
        f"BEGIN SELECT RAISE(ABORT, '{message}'); END",
    )
    _on_postgresql(
        line,
        f"""
        CREATE FUNCTION {name}_over_credit() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          PERFORM 1 FROM {name} WHERE line_id = NEW.credits_line_id FOR UPDATE;
          IF {wrong} THEN
            RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = '{message}';
          END IF;
          RETURN NEW;
        END $$
        """,
    )
    _on_postgresql(
        line,
        f"CREATE TRIGGER {name}_over_credit BEFORE INSERT ON {name} FOR EACH ROW "
        f"WHEN (NEW.credits_line_id IS NOT NULL) EXECUTE FUNCTION {name}_over_credit()",
    )


def forbid_overspending(*, payment: Table, spends: Sequence[Table], credit_note: Table, settles: Table) -> None:
    """Refuse to spend more of a payment than it has, what it settles, went back and waits to go back taken together.

    And more of a credit note than it is over. What gives something back is never refused. On PostgreSQL the row of the
    credit is locked first, so that two do not both see room.
    """
    spent = " + ".join(f"(SELECT COALESCE(SUM(amount_minor), 0) FROM {t.name} WHERE {{0}} = NEW.{{0}})" for t in spends)
    used = f"(SELECT COALESCE(SUM(amount_minor), 0) FROM {settles.name} WHERE credit_note_id = NEW.credit_note_id)"
    has = f"SELECT amount_minor FROM {payment.name} WHERE payment_id = NEW.payment_id"
    owes = f"SELECT -total_minor FROM {credit_note.name} WHERE invoice_id = NEW.credit_note_id"
    for table in spends:
        _refuse_beyond(table, "payment_id", has, spent.format("payment_id"))
    _refuse_beyond(settles, "credit_note_id", owes, used)


def _refuse_beyond(table: Table, key: str, has: str, spent: str) -> None:
    """Before a row of `table` that spends: what was `spent`, and its amount, are within what the credit `has`."""
    name = f"{table.name}_{key.removesuffix('_id')}_overspent"
    message = f"{table.name}: more is spent than the {key.removesuffix('_id').replace('_', ' ')} has"
    asked, beyond = f"NEW.amount_minor > 0 AND NEW.{key} IS NOT NULL", f"({has}) < {spent} + NEW.amount_minor"
    _on_sqlite(
        table,
        f"CREATE TRIGGER {name} BEFORE INSERT ON {table.name} WHEN {asked} AND {beyond} "
        f"BEGIN SELECT RAISE(ABORT, '{message}'); END",
    )
    _on_postgresql(
        table,
        f"""
        CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          PERFORM {has.removeprefix("SELECT ")} FOR NO KEY UPDATE;
          IF {beyond} THEN
            RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = '{message}';
          END IF;
          RETURN NEW;
        END $$
        """,
    )
    _on_postgresql(
        table,
        f"CREATE TRIGGER {name} BEFORE INSERT ON {table.name} FOR EACH ROW WHEN ({asked}) EXECUTE FUNCTION {name}()",
    )


def _within(original: str, new: str, before: str) -> str:
    """`new` has not the sign of `original`, and with what was taken back `before` leaves something of it or nothing."""
    return (
        f"CASE WHEN {original} >= 0 THEN {new} <= 0 AND {original} + {before} + {new} >= 0 "
        f"ELSE {new} >= 0 AND {original} + {before} + {new} <= 0 END"
    )


def forbid_closed_period(*, journal_entry: Table, period_change: Table) -> None:
    """Refuse an entry booked before the day up to which its entity's books are closed.

    On PostgreSQL whoever closes waits for the entries that are being written, and they for whoever closes.
    """
    entry, change = journal_entry.name, period_change.name
    closed = f"SELECT closed_until FROM {change} WHERE entity_id = NEW.entity_id ORDER BY change_id DESC LIMIT 1"
    _on_sqlite(
        journal_entry,
        f"CREATE TRIGGER {entry}_open_period BEFORE INSERT ON {entry} WHEN NEW.booked_on < ({closed}) "
        f"BEGIN SELECT RAISE(ABORT, '{entry}: the period is closed'); END",
    )
    # By statement: the lock first, so that the entries' own days are looked at after whoever was closing has ended.
    _on_postgresql(
        journal_entry,
        f"""
        CREATE FUNCTION {entry}_open_period() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          PERFORM pg_advisory_xact_lock_shared({_PERIOD_LOCK});
          IF EXISTS (SELECT 1 FROM (SELECT entity_id, MIN(booked_on) AS booked_on FROM fresh GROUP BY entity_id) AS n
              WHERE n.booked_on < ({closed.replace("NEW.", "n.")})) THEN
            RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = '{entry}: the period is closed';
          END IF;
          RETURN NULL;
        END $$
        """,
    )
    _on_postgresql(
        journal_entry,
        f"CREATE TRIGGER {entry}_open_period AFTER INSERT ON {entry} REFERENCING NEW TABLE AS fresh "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {entry}_open_period()",
    )
    _on_postgresql(
        period_change,
        f"CREATE FUNCTION {change}_alone() RETURNS trigger LANGUAGE plpgsql AS $$ "
        f"BEGIN PERFORM pg_advisory_xact_lock({_PERIOD_LOCK}); RETURN NEW; END $$",
    )
    _on_postgresql(
        period_change,
        f"CREATE TRIGGER {change}_alone BEFORE INSERT ON {change} FOR EACH ROW EXECUTE FUNCTION {change}_alone()",
    )


def require_balance(*, journal_entry: Table, posting: Table, zero: Table, balance: Table) -> None:
    """Each entry sums to zero per currency and has exactly the postings it announced, or COMMIT fails."""
    _require_on_postgresql(journal_entry, posting)
    _require_on_sqlite(zero, balance, journal_entry, posting)


def _require_on_postgresql(journal_entry: Table, posting: Table) -> None:
    # The functions name tables which need not exist yet: plpgsql looks when it runs. Each entry is looked up by keys: a
    # session keeps the plan it once made, and one made for the few entries of that time reads whole tables, so that a
    # bill run's ten-thousandth entry costs more than its first.
    by_keys = "SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off"
    of_entry = f"FROM {posting.name} p WHERE p.entry_id = {{}}"
    _on_postgresql(
        journal_entry,
        f"""
        CREATE FUNCTION finance_entry_balances() RETURNS trigger LANGUAGE plpgsql {by_keys} AS $$
        DECLARE wrong text; found int;
        BEGIN
          SELECT COALESCE(SUM(n), 0), MIN(currency) FILTER (WHERE amount <> 0) INTO found, wrong
            FROM (SELECT p.currency, COUNT(*) AS n, SUM(p.amount_minor) AS amount
              {of_entry.format("NEW.entry_id")} GROUP BY p.currency) AS sums;
          IF wrong IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'check_violation',
              MESSAGE = 'journal entry ' || NEW.entry_id || ' does not balance in ' || wrong;
          END IF;
          IF found <> NEW.postings THEN
            RAISE EXCEPTION USING ERRCODE = 'check_violation',
              MESSAGE = 'journal entry ' || NEW.entry_id || ' has ' || found || ' postings instead of ' || NEW.postings;
          END IF;
          RETURN NULL;
        END $$
        """,
    )
    _on_postgresql(
        journal_entry,
        f"CREATE CONSTRAINT TRIGGER {journal_entry.name}_balances AFTER INSERT ON {journal_entry.name} "
        f"DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION finance_entry_balances()",
    )
    # An entry has all of its postings when its own transaction commits, so one that comes later is one too many. That
    # is seen by statement: with each posting of each entry of a bill run the check above cost more than the postings.
    _on_postgresql(
        posting,
        f"""
        CREATE FUNCTION {posting.name}_complete() RETURNS trigger LANGUAGE plpgsql {by_keys} AS $$
        DECLARE wrong record;
        BEGIN
          SELECT * INTO wrong FROM (
            SELECT f.entry_id, (SELECT COUNT(*) {of_entry.format("f.entry_id")}) AS there,
              COALESCE((SELECT e.postings FROM {journal_entry.name} e WHERE e.entry_id = f.entry_id), 0) AS expected
            FROM (SELECT DISTINCT entry_id FROM fresh) AS f) AS counted
            WHERE there > expected LIMIT 1;
          IF wrong.entry_id IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'check_violation',
              MESSAGE = 'journal entry ' || wrong.entry_id || ' has ' || wrong.there || ' postings instead of '
                || wrong.expected;
          END IF;
          RETURN NULL;
        END $$
        """,
    )
    _on_postgresql(
        posting,
        f"CREATE TRIGGER {posting.name}_complete AFTER INSERT ON {posting.name} REFERENCING NEW TABLE AS fresh "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {posting.name}_complete()",
    )


def _require_on_sqlite(zero: Table, balance: Table, journal_entry: Table, posting: Table) -> None:
    e, p, b, z = journal_entry.name, posting.name, balance.name, zero.name
    missing = (
        f"(SELECT postings FROM {e} WHERE entry_id = NEW.entry_id)"
        f" - (SELECT COUNT(*) FROM {p} WHERE entry_id = NEW.entry_id)"
    )
    total = f"(SELECT SUM(amount_minor) FROM {p} WHERE entry_id = NEW.entry_id AND currency = NEW.{{}})"
    # Foreign keys are off in a connection that does not ask for them, and with them what follows.
    for table in (journal_entry, posting):
        _on_sqlite(
            table,
            f"CREATE TRIGGER {table.name}_needs_keys BEFORE INSERT ON {table.name} "
            f"WHEN (SELECT foreign_keys FROM pragma_foreign_keys) = 0 "
            f"BEGIN SELECT RAISE(ABORT, '{table.name}: PRAGMA foreign_keys=ON first, the balance hangs on it'); END",
        )
    _on_sqlite(zero, f"INSERT INTO {z} (z) VALUES (0)")
    _on_sqlite(
        zero,
        f"CREATE TRIGGER {z}_stays BEFORE DELETE ON {z} BEGIN SELECT RAISE(ABORT, '{z}: the zero stays'); END",
    )
    _on_sqlite(
        journal_entry,
        f"CREATE TRIGGER {e}_opens AFTER INSERT ON {e} "
        f"BEGIN INSERT INTO {b} (entry_id, what, amount) VALUES (NEW.entry_id, '#', NEW.postings); END",
    )
    _on_sqlite(
        posting,
        f"CREATE TRIGGER {p}_counts AFTER INSERT ON {p} BEGIN "
        f"INSERT OR IGNORE INTO {b} (entry_id, what, amount) VALUES (NEW.entry_id, NEW.currency, NEW.amount_minor); "
        f"UPDATE {b} SET amount = {total.format('currency')} WHERE entry_id = NEW.entry_id AND what = NEW.currency; "
        f"UPDATE {b} SET amount = {missing} WHERE entry_id = NEW.entry_id AND what = '#'; END",
    )
    # Nobody writes the balance but these triggers: any other amount than the true one is refused.
    _on_sqlite(
        balance,
        f"CREATE TRIGGER {b}_true BEFORE UPDATE ON {b} WHEN NEW.entry_id <> OLD.entry_id OR NEW.what <> OLD.what "
        f"OR NEW.amount <> CASE NEW.what WHEN '#' THEN {missing} ELSE {total.format('what')} END "
        f"BEGIN SELECT RAISE(ABORT, '{b}: kept by triggers only'); END",
    )
    _on_sqlite(
        balance,
        f"CREATE TRIGGER {b}_stays BEFORE DELETE ON {b} BEGIN SELECT RAISE(ABORT, '{b}: kept by triggers only'); END",
    )


def _on_sqlite(table: Table, statement: str) -> None:
    _after_create(table, statement, "sqlite")


def _on_postgresql(table: Table, statement: str) -> None:
    _after_create(table, statement, "postgresql")


def _after_create(table: Table, statement: str, dialect: str) -> None:
    event.listen(table, "after_create", DDL(statement).execute_if(dialect=dialect))  # type: ignore[no-untyped-call]
