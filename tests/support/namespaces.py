"""Network namespaces of Linux: a test's own loopback, addresses and ports, which nobody else on the machine sees."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

_CLONE_NEWNET = 0x4000_0000


def why_not() -> str | None:
    """What keeps this machine from giving us a namespace; None when nothing does."""
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        return "apt-get install iproute2 util-linux"
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode:
        return "network namespaces need root"
    return None


@contextmanager
def network_namespace() -> Iterator[None]:
    """This thread in a network namespace of its own, with what it opens and starts there; `lo` is up."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(_CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        try:
            run("ip", "link", "set", "lo", "up")
            yield
        finally:
            if libc.setns(home, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(home)


def run(*command: str) -> str:
    """Run a short command where this thread is. Raises AssertionError with its output when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout
