"""A real `headend serve` process for tests, on ephemeral ports of loopback, and its API."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2

from tests.support import zygote
from tests.support.ports import free_port

CLI = "controller.app.cli"
Json = dict[str, Any]


class Controller:
    """`start` waits until /healthz answers 200; `kill` is kill -9; a stopped one can be started again."""

    def __init__(self, data_dir: Path, *, database_url: str = "", demo_start: datetime | None = None) -> None:
        self.data_dir = data_dir
        self.token = secrets.token_urlsafe(32)
        self.admin_password = secrets.token_urlsafe(16)
        self.http_port, self.auth_port, self.acct_port = free_port(), free_port(), free_port()
        self.process: zygote.Running | None = None
        self.environment = os.environ | {
            "HEADEND_DATA_DIR": str(data_dir),
            "HEADEND_DATABASE_URL": database_url.replace("+psycopg", ""),
            "HEADEND_HTTP_PORT": str(self.http_port),
            "HEADEND_AUTH_PORT": str(self.auth_port),
            "HEADEND_ACCT_PORT": str(self.acct_port),
            "HEADEND_ADMIN_TOKEN": self.token,
            "HEADEND_ADMIN_PASSWORD": self.admin_password,
        }
        if demo_start is not None:
            self.environment |= {"HEADEND_CLOCK": "demo", "HEADEND_DEMO_START": demo_start.isoformat()}
        self.url = f"http://127.0.0.1:{self.http_port}"
        self.api = httpx2.Client(
            base_url=f"{self.url}/api/v1",
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=30,
        )

    @property
    def log(self) -> str:
        return (self.data_dir / "serve.log").read_text()

    def start(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.process = zygote.start(CLI, "serve", environment=self.environment, output=self.data_dir / "serve.log")
        try:
            self.until(self._is_ready, "the controller is ready", timeout_s=150)
        except BaseException:
            self.kill()
            raise

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        try:
            return self.api.get(f"{self.url}/healthz").status_code == 200
        except httpx2.TransportError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit status. Closes the API client too: call it last."""
        self.api.close()
        if self.process is None or self.process.poll() is not None:
            return 0
        self.process.terminate()
        return self.process.wait(60)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`headend …` on this data directory."""
        with tempfile.TemporaryDirectory() as directory:
            output, error = Path(directory, "output"), Path(directory, "error")
            running = zygote.start(CLI, *arguments, environment=self.environment, output=output, error=error)
            status = running.wait(60)
            return subprocess.CompletedProcess((CLI, *arguments), status, output.read_text(), error.read_text())

    def beside(self, data_dir: Path, name: str, *, same_radius_ports: bool = False) -> Controller:
        """Another process on the same database and key file, with a name of its own; this one has been started."""
        other = Controller(data_dir, database_url=self.environment["HEADEND_DATABASE_URL"])
        kept = {"HEADEND_ADMIN_TOKEN", "HEADEND_ADMIN_PASSWORD", "HEADEND_TAKEOVER_S"}
        if same_radius_ports:
            kept |= {"HEADEND_AUTH_PORT", "HEADEND_ACCT_PORT", "HEADEND_SHARE_RADIUS_PORTS"}
            other.auth_port, other.acct_port = self.auth_port, self.acct_port
        other.environment |= {key: value for key, value in self.environment.items() if key in kept}
        other.environment["HEADEND_EXECUTOR_ID"] = name
        other.token, other.admin_password = self.token, self.admin_password
        other.api.headers["Authorization"] = f"Bearer {self.token}"
        data_dir.mkdir(parents=True)
        shutil.copy(self.data_dir / "headend.key", data_dir)
        return other

    # --- API

    def get(self, path: str, **query: Any) -> Any:
        return self._answer(self.api.get(path, params=query))

    def post(self, path: str, body: Json | None = None) -> Any:
        return self._answer(self.api.post(path, json=body or {}))

    def put(self, path: str, body: Json) -> Any:
        return self._answer(self.api.put(path, json=body))

    def _answer(self, response: httpx2.Response) -> Any:
        assert response.is_success, f"{response.status_code} {response.text}\n{self.log[-3000:]}"
        return response.json() if response.content else None

    def until(self, condition: Callable[[], Any], what: str, *, timeout_s: float = 30) -> Any:
        """Ask again until the answer is truthy; fails with the log when it is not in time."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = condition()
            if found:
                return found
            assert time.monotonic() < deadline, f"not in {timeout_s} s: {what}\n{self.log[-4000:]}"
            time.sleep(0.05)
