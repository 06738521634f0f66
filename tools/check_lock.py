"""Fails when a committed file names a package registry, or a lock does not hold what pyproject.toml asks for."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

REGISTRY = re.compile(r"https?://[^\s\"']*(pypi|pythonhosted|npmjs|yarnpkg|debian\.org/debian)", re.IGNORECASE)


def names(requirements: list[object]) -> set[str]:
    return {re.split(r"[\[<>=!~; ]", r)[0].lower() for r in requirements if isinstance(r, str)}


def main() -> int:
    problems = []
    tracked = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, check=True).stdout
    for name in filter(None, tracked.split("\0")):
        path = Path(name)
        if path.is_file() and path.suffix not in {".png", ".bin"}:
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
                if REGISTRY.search(line):
                    problems.append(f"{name}:{number}: names a package registry's host")
    project = tomllib.loads(Path("pyproject.toml").read_text())
    wanted = {
        "serve": names(project["project"]["dependencies"]),
        "lab": names(project["dependency-groups"]["lab"]),
        "dev": names(project["dependency-groups"]["dev"]),
    }
    for lock, packages in wanted.items():
        held = set(re.findall(r"(?m)^([a-z0-9._-]+)(?:\[[^\]]*\])?==", Path(f"requirements/{lock}.txt").read_text()))
        problems += [f"requirements/{lock}.txt lacks {package}: run make lock" for package in sorted(packages - held)]
    print("\n".join(problems) or "lock: holds what pyproject.toml asks for, names no registry")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
