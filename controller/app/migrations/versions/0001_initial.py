"""Every table and trigger of the first version.

The statements stand beside this file as the database gets them, one file per dialect, separated by lines of ";;":
triggers differ between the two, and neither is created through SQLAlchemy's operations.

Revision: 0001
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    script = Path(__file__).with_name(f"initial.{connection.dialect.name}.sql").read_text()
    for statement in script.split("\n;;\n"):
        connection.exec_driver_sql(statement.strip())
