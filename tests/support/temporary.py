"""Where tests keep their files: in memory where there is plenty of it.

Most of what a store test costs on a disk is fsync and the making of small files. What tests prove by killing is that a
process may die at any instant; that a disk keeps what it was told to is not theirs to prove. PYTEST_DEBUG_TEMPROOT
names another place.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

VARIABLE = "PYTEST_DEBUG_TEMPROOT"
"""pytest's own, for what it makes tmp_path in."""
_MEMORY = Path("/dev/shm")
_ENOUGH_OCTETS = 8 << 30


def choose() -> None:
    """Once, before any directory is made. Programs are run from there too, so it must be a place that lets them."""
    if VARIABLE not in os.environ and _is_fit():
        os.environ[VARIABLE] = str(_MEMORY)


def _is_fit() -> bool:
    try:
        may_execute = not os.statvfs(_MEMORY).f_flag & os.ST_NOEXEC
        free = min(shutil.disk_usage(_MEMORY).free, os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except OSError:
        return False
    return may_execute and os.access(_MEMORY, os.W_OK) and free > _ENOUGH_OCTETS


def root() -> Path:
    """With a short path: those of sockets are limited."""
    return Path(os.environ.get(VARIABLE) or tempfile.gettempdir())
