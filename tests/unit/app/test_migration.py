import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from controller.app import migration
from controller.app.migration import (
    DatabaseAway,
    SchemaIsNewer,
    SchemaUnknown,
    back_up_sqlite,
    differences,
    migrate,
)
from controller.app.schema import metadata
from tests.support.databases import PostgresServer

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)

_TRIGGERS = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger' ORDER BY name",
    "postgresql": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal ORDER BY tgname",
}


def triggers(url: str) -> list[str]:
    engine = create_engine(url.replace("+aiosqlite", ""))
    with engine.connect() as connection:
        found = [row[0] for row in connection.execute(text(_TRIGGERS[engine.dialect.name]))]
    engine.dispose()
    return found


@pytest.fixture(params=["sqlite", "postgresql"])
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Two empty databases: one to migrate, one to create from the tables in the code."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/a.db", f"sqlite+aiosqlite:///{tmp_path}/b.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    name = f"m{tmp_path.name.lower().replace('-', '_')}{id(request):x}"
    return server.create(f"{name}a"), server.create(f"{name}b")


def test_an_empty_database_is_migrated_to_what_the_code_declares(urls: tuple[str, str]) -> None:
    migrated, declared = urls
    assert migrate(migrated, NOW) == "schema empty → 0001"
    assert differences(migrated) == []
    engine = create_engine(declared.replace("+aiosqlite", ""))
    metadata.create_all(engine)
    engine.dispose()
    assert triggers(migrated) == triggers(declared) != []


def test_a_second_migration_changes_nothing(urls: tuple[str, str]) -> None:
    migrate(urls[0], NOW)
    assert migrate(urls[0], NOW) == "schema 0001: up to date"


def test_a_migration_cut_short_leaves_nothing_and_is_made_again(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As kill -9 in the midst of the first start does: half of the tables must not stand in the way of the next one."""
    versions = tmp_path / "migrations"
    shutil.copytree(migration.MIGRATIONS, versions)
    for script in versions.glob("versions/initial.*.sql"):
        script.write_text(script.read_text() + "\n;;\nTHE END OF THE PROCESS")
    with monkeypatch.context() as broken:
        broken.setattr(migration, "MIGRATIONS", versions)
        with pytest.raises(SQLAlchemyError, match="THE END"):
            migrate(urls[0], NOW)
    assert triggers(urls[0]) == []
    assert migrate(urls[0], NOW) == "schema empty → 0001"
    assert differences(urls[0]) == []


def test_a_newer_schema_is_refused_and_left_alone(urls: tuple[str, str]) -> None:
    migrate(urls[0], NOW)
    engine = create_engine(urls[0].replace("+aiosqlite", ""))
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaIsNewer, match="9999"):
        migrate(urls[0], NOW)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "9999"
    engine.dispose()


def test_our_tables_without_a_version_are_refused_and_left_alone(urls: tuple[str, str]) -> None:
    migrate(urls[0], NOW)
    engine = create_engine(urls[0].replace("+aiosqlite", ""))
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM alembic_version"))
    engine.dispose()
    with pytest.raises(SchemaUnknown, match="no schema version"):
        migrate(urls[0], NOW)
    assert differences(urls[0]) == []


def test_a_file_that_is_no_database_is_said_in_words(tmp_path: Path) -> None:
    path = tmp_path / "headend.db"
    path.write_bytes(b"not a database, whatever its name says" * 100)
    with pytest.raises(DatabaseAway, match=r"headend\.db cannot be used: file is not a database"):
        migrate(f"sqlite+aiosqlite:///{path}", NOW)


def test_sqlite_is_backed_up_whole_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "headend.db"
    migrate(f"sqlite+aiosqlite:///{path}", NOW)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS x")
    copy = back_up_sqlite(path, NOW)
    assert copy.name == "headend.db.before-20260501T120000000000Z"
    assert copy.stat().st_mode & 0o077 == 0
    with sqlite3.connect(copy) as connection:
        assert connection.execute("SELECT x FROM kept").fetchall() == [(7,)]


def test_a_database_of_an_older_program_is_backed_up_and_then_migrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second migration is put behind the real first one, as the next release will."""
    versions = tmp_path / "migrations"
    shutil.copytree(migration.MIGRATIONS, versions)
    path = tmp_path / "headend.db"
    migrate(f"sqlite+aiosqlite:///{path}", NOW)
    (versions / "versions" / "0002_next.py").write_text(
        "from alembic import op\nrevision, down_revision = '0002', '0001'\n"
        "def upgrade():\n    op.execute('CREATE TABLE next (x INTEGER)')\n"
    )
    monkeypatch.setattr(migration, "MIGRATIONS", versions)
    said = migrate(f"sqlite+aiosqlite:///{path}", NOW)
    assert said == "schema 0001 → 0002, backup in headend.db.before-20260501T120000000000Z"
    with sqlite3.connect(tmp_path / "headend.db.before-20260501T120000000000Z") as backup:
        assert backup.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]
    with sqlite3.connect(path) as migrated:
        assert migrated.execute("SELECT version_num FROM alembic_version").fetchall() == [("0002",)]
