"""The closed-loop generator `radload.c`: compiled once, run pinned to its core, its JSON line read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from bench.results import OUT

SOURCE = Path(__file__).parent / "radload.c"


def build() -> Path:
    """The generator's binary. Raises SystemExit naming what is missing."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise SystemExit("no C compiler: apt-get install gcc libssl-dev")
    OUT.mkdir(exist_ok=True)
    binary = OUT / "radload"
    if not binary.exists() or binary.stat().st_mtime < SOURCE.stat().st_mtime:
        command = [compiler, "-O2", "-march=native", "-w", "-o", str(binary), str(SOURCE), "-lcrypto"]
        built = subprocess.run(command, capture_output=True, text=True)
        if built.returncode:
            raise SystemExit(f"radload.c does not compile (apt-get install libssl-dev?):\n{built.stderr}")
    return binary


def load(
    mode: str, port: int, *, seconds: float, outstanding: int, secret: str, cpu_of: dict[str, int], tag: int = 0,
    users: int = 100_000, sockets: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """One run: {"rps", "accept", "lost", "<name>_us" per name in `cpu_of` …}. `tag` makes session ids new.

    `sockets`: from so many source ports; 0 takes the generator's own number.
    """
    # The last core; servers have the first. On a machine with one core they share it.
    core = (os.cpu_count() or 1) - 1
    command = [
        *("taskset", "-c", str(core), str(build()), "-m", mode, "-w", str(outstanding), "-t", str(seconds)),
        *("-p", str(port), "-S", secret, "-r", str(tag), "-k", str(users)),
    ]
    if sockets:
        command += ["-s", str(sockets)]
    for name, pid in cpu_of.items():
        command += ["-G", f"{name}:{pid}"]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60).stdout
    result: dict[str, Any] = json.loads(output)
    if result["badauth"] or result["lost"]:
        raise SystemExit(f"the run is void: {result['badauth']} bad authenticators, {result['lost']} lost: {result}")
    return result
