"""PostgreSQL databases that tests use one after the other: emptying one costs a tenth of making another.

The template learns to note what a test does to its schema, and to become again what it was. A copy whose schema was
changed is not worth repairing and is made anew; tables that were added, such as the months of a partitioned one, go.
"""

from __future__ import annotations

import psycopg

MOST_USES = 50
"""Rows that were deleted stay in the files for a while, and would slow later tests down."""
MOST_ROWS = 20_000
"""So many rows in one test, and its database is given up at once."""

_PREPARE = """
CREATE SCHEMA clean;
CREATE TABLE clean.changed (tag text);
CREATE TABLE clean.sequence AS SELECT schemaname, sequencename, last_value, start_value FROM pg_sequences;
CREATE TABLE clean.relation AS
    SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name, false AS is_kept
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname !~ '^(pg_.*|information_schema|clean)$';

DO $$
DECLARE one record; filled boolean;
BEGIN
    FOR one IN SELECT * FROM clean.relation LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', one.name) INTO filled;
        IF filled THEN
            EXECUTE format('CREATE TABLE clean.rows_%s AS TABLE %s', one.oid, one.name);
            UPDATE clean.relation SET is_kept = true WHERE oid = one.oid;
        END IF;
    END LOOP;
END $$;

CREATE FUNCTION clean.note() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF tg_event = 'sql_drop' OR EXISTS (
        SELECT FROM pg_event_trigger_ddl_commands() AS command LEFT JOIN pg_class AS c ON c.oid = command.objid
        WHERE command.command_tag NOT IN ('CREATE TABLE', 'CREATE INDEX')
        AND NOT (command.command_tag = 'ALTER TABLE' AND c.relkind = 'p')
    ) THEN
        INSERT INTO clean.changed VALUES (tg_tag);
    END IF;
END $$;
CREATE EVENT TRIGGER clean_command ON ddl_command_end EXECUTE FUNCTION clean.note();
CREATE EVENT TRIGGER clean_drop ON sql_drop EXECUTE FUNCTION clean.note();
"""

_EMPTY = f"""
DO $$
DECLARE one record; filled boolean; gone bigint; rows bigint := 0;
BEGIN
    IF EXISTS (SELECT FROM clean.changed) THEN RAISE EXCEPTION 'the schema was changed'; END IF;
    -- Neither triggers nor foreign keys, nor the event triggers above, have a say in what follows.
    PERFORM set_config('session_replication_role', 'replica', true);
    FOR one IN
        SELECT c.oid::regclass AS name FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r' AND n.nspname !~ '^(pg_.*|information_schema|clean)$'
        AND c.oid NOT IN (SELECT oid FROM clean.relation)
    LOOP
        EXECUTE format('DROP TABLE %s', one.name);
    END LOOP;
    -- What no test has used yet has no file to speak of: most tables, each time.
    FOR one IN SELECT * FROM clean.relation WHERE is_kept OR pg_relation_size(oid) > 0 LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', one.name) INTO filled;
        IF filled THEN
            EXECUTE format('DELETE FROM ONLY %s', one.name);
            GET DIAGNOSTICS gone = ROW_COUNT;
            rows := rows + gone;
        END IF;
        IF one.is_kept THEN
            EXECUTE format('INSERT INTO %s SELECT * FROM clean.rows_%s', one.name, one.oid);
        END IF;
    END LOOP;
    IF rows > {MOST_ROWS} THEN RAISE EXCEPTION 'the files have grown'; END IF;
    PERFORM setval(
        format('%I.%I', now.schemaname, now.sequencename), coalesce(was.last_value, now.start_value),
        was.last_value IS NOT NULL
    )
    FROM pg_sequences AS now LEFT JOIN clean.sequence AS was USING (schemaname, sequencename)
    WHERE now.last_value IS DISTINCT FROM was.last_value;
END $$
"""

_LEAVE_ALONE = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def prepare(dsn: str) -> None:
    """Make a template of the database: from here on it knows what it was, and its copies do."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(_PREPARE)


def empty(dsn: str) -> bool:
    """Make a copy what its template was; False where that is not worth it. Whoever is still connected is thrown out."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(_LEAVE_ALONE)
        try:
            connection.execute(_EMPTY)
        except psycopg.errors.RaiseException:
            return False
    return True
