"""`python -m lab` as a user starts it, made small, in a process group of its own; and what its demo.json says."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from tests.support.ports import free_port

Json = dict[str, Any]
ROOT = Path(__file__).parents[2]
FIRST_START_S = 150
SUBSCRIBERS, EXPERIMENTS = 8, 2


def environment(data_dir: Path, subscribers: int = SUBSCRIBERS, days: int = 3) -> dict[str, str]:
    """So many days of so many subscribers below `data_dir`, on free ports."""
    ports = {
        "HEADEND_HTTP_PORT": free_port(),
        "HEADEND_AUTH_PORT": free_port(),
        "HEADEND_ACCT_PORT": free_port(),
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADEND_")}
    size = {"HEADEND_LAB_SUBSCRIBERS": str(subscribers), "HEADEND_LAB_DAYS": str(days), "PYTHONUNBUFFERED": "1"}
    return kept | size | {"HEADEND_DATA_DIR": str(data_dir)} | {name: str(port) for name, port in ports.items()}


class Demo:
    """One data directory of the lab, started as often as wanted; each start writes to an output file of its own."""

    def __init__(
        self, directory: Path, *, subscribers: int = SUBSCRIBERS, days: int = 3, first_start_s: float = FIRST_START_S
    ) -> None:
        self.env = environment(directory / "demo", subscribers, days)
        self._first_start_s = first_start_s
        self.data_dir = directory / "demo"
        self.url = f"http://127.0.0.1:{self.env['HEADEND_HTTP_PORT']}"
        self.json: Json = {}
        self.starts = 0
        self._directory = directory
        self._process: subprocess.Popen[str] | None = None

    @property
    def output(self) -> str:
        """What this start has printed so far."""
        return (self._directory / f"start-{self.starts}.txt").read_text()

    def said(self) -> str:
        """Output and the end of the controller's log, for messages."""
        log = self.data_dir / "lab" / "serve.log"
        return self.output + (log.read_text()[-3000:] if log.exists() else "")

    def start(self) -> None:
        """Start, and wait until the controller answers and the lab has said that it runs."""
        self.starts += 1
        with (self._directory / f"start-{self.starts}.txt").open("w") as sink:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "lab"], env=self.env, cwd=ROOT, stdout=sink, stderr=subprocess.STDOUT,
                text=True, start_new_session=True,
            )  # fmt: skip
        self.until(self._is_healthy, self._first_start_s)
        self.json = json.loads((self.data_dir / "demo.json").read_text())
        self.until(lambda: "Headend is running" in self.output, 60)

    def interrupt(self) -> float:
        """Ctrl-C; the seconds it took to end with status 0."""
        assert self._process is not None
        began = time.monotonic()
        self._process.send_signal(signal.SIGINT)
        assert self._process.wait(timeout=30) == 0, self.said()
        return time.monotonic() - began

    def kill(self) -> None:
        """kill -9 of the whole process group; returns when nothing of it holds a port any more."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.until(self._ports_are_free, 10)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`python -m lab …` in this data directory, until it ends by itself."""
        return subprocess.run(
            [sys.executable, "-m", "lab", *arguments], env=self.env, cwd=ROOT, capture_output=True, text=True,
            timeout=60,
        )  # fmt: skip

    def get(self, path: str, **query: object) -> Json:
        headers = {"Authorization": f"Bearer {self.json['token']}"}
        answer = httpx2.get(
            f"{self.url}/api/v1{path}", params=query, headers=headers, timeout=20, trust_env=False
        )  # fmt: skip
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def live_sessions(self) -> dict[str, Json]:
        """By session_key."""
        return {session["session_key"]: session for session in self.get("/sessions", state="live", limit=100)["items"]}

    def until(self, condition: Callable[[], object], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.1)

    def _is_healthy(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.said()
        try:
            return httpx2.get(self.url + "/healthz", trust_env=False).status_code == 200
        except httpx2.TransportError:
            return False

    def _ports_are_free(self) -> bool:
        for name, kind in (
            ("HEADEND_HTTP_PORT", socket.SOCK_STREAM),
            ("HEADEND_AUTH_PORT", socket.SOCK_DGRAM),
            ("HEADEND_ACCT_PORT", socket.SOCK_DGRAM),
        ):
            with socket.socket(socket.AF_INET, kind) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1 if kind == socket.SOCK_STREAM else 0)
                try:
                    sock.bind(("127.0.0.1", int(self.env[name])))
                except OSError:
                    return False
        return True
