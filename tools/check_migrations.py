"""Fails when migrating an empty database gives other tables or triggers than the code declares.

python -m tools.check_migrations                  check
python -m tools.check_migrations --write MESSAGE  write the missing migration
"""

from __future__ import annotations

import re
import sqlite3
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import create_engine

from controller.app.migration import differences, migrate, new_revision
from controller.app.schema import metadata


def objects(path: Path) -> dict[str, str]:
    """Triggers and partial indexes by name: what Alembic's comparison does not see."""
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    return {name: re.sub(r"\s+", " ", sql).strip() for name, sql in rows}


def main() -> int:
    with tempfile.TemporaryDirectory() as directory:
        migrated, declared = Path(directory, "migrated.db"), Path(directory, "declared.db")
        migrate(f"sqlite:///{migrated}", datetime.now(UTC))
        if "--write" in sys.argv:
            new_revision(f"sqlite:///{migrated}", sys.argv[-1])
            return 0
        engine = create_engine(f"sqlite:///{declared}")
        metadata.create_all(engine)
        engine.dispose()
        problems = differences(f"sqlite:///{migrated}")
        have, want = objects(migrated), objects(declared)
        problems += [f"trigger {name} differs or is missing" for name in sorted(want) if have.get(name) != want[name]]
        problems += [f"trigger {name} is no longer declared" for name in sorted(set(have) - set(want))]
    print("\n".join(problems) or "migrations: up to date")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
