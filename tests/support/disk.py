"""A directory on a disk, for programs that cannot do with one in memory (tests.support.temporary)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def on_disk() -> Iterator[Path]:
    """Another kernel has a /dev of its own, and FreeRADIUS writes no detail file into /dev/shm."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        yield Path(directory)
