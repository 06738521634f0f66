"""FreeRADIUS's own client as a process: it checks every authenticator of every answer itself."""

from __future__ import annotations

import shutil
import subprocess

RADCLIENT = shutil.which("radclient")
MISSING = "radclient is not installed: apt-get install freeradius-utils"


def radclient(port: int, command: str, request: str, secret: str) -> str:
    """What `radclient -x` prints for one packet sent from 127.0.0.1; an unanswered one is repeated once."""
    assert RADCLIENT is not None, MISSING
    done = subprocess.run(
        [RADCLIENT, "-x", "-r", "2", "-t", "3", f"127.0.0.1:{port}", command, secret],
        input=request,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30,
    )
    return done.stdout
