"""What import-linter cannot say of the architecture: the standard library alone, empty rooms' doors, keys at home."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from controller.app.schema import metadata

ROOT = Path(__file__).parents[2]
ROOMS = ("controller", "radius", "collectors", "drivers", "billing_bridge", "erp")
ERP_FLOORS = (
    ("crm",), ("catalog", "inventory"), ("orders", "support"), ("finance",), ("payments",), ("dunning",), ("insight",),
)  # fmt: skip
"""From below: a foreign key may point down, never up or sideways (architecture, Tables)."""


def top_level_imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module if node.module.startswith("controller") else node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "controller/domain").rglob("*.py")), ids=lambda path: path.name)
def test_the_shared_language_needs_the_standard_library_only(path: Path) -> None:
    foreign = {
        name
        for name in top_level_imports(path)
        if name not in sys.stdlib_module_names and not name.startswith("controller.domain")
    }
    assert foreign == set()
    assert top_level_imports(path) & {"asyncio", "socket", "logging"} == set()


def test_the_init_of_a_room_is_a_docstring_and_nothing_else() -> None:
    busy = []
    for room in ROOMS:
        for path in (ROOT / room).rglob("__init__.py"):
            match ast.parse(path.read_text()).body:
                case [ast.Expr(ast.Constant(str()))]:
                    pass
                case _:
                    busy.append(str(path.relative_to(ROOT)))
    assert busy == []


def owner(table: str) -> str:
    """The room, or the part of erp, that a table's name begins with."""
    known = (
        "billing_bridge",
        *(ROOMS[1:4]),
        "provisioning",
        "store",
        "app",
        *(p for floor in ERP_FLOORS for p in floor),
    )
    found = [prefix for prefix in known if table.startswith(f"{prefix}_")]
    assert len(found) == 1, f"{table} does not say whose it is"
    return found[0]


def test_foreign_keys_stay_in_their_room_and_in_erp_point_down() -> None:
    floor = {part: number for number, floor in enumerate(ERP_FLOORS) for part in floor}
    wrong = [
        f"{table.name} → {key.column.table.name}"
        for table in metadata.sorted_tables
        for key in table.foreign_keys
        if (here := owner(table.name)) != (there := owner(key.column.table.name))
        and not (here in floor and there in floor and floor[there] < floor[here])
    ]
    assert wrong == []
    assert any(table.foreign_keys for table in metadata.sorted_tables), "nothing was looked at"
