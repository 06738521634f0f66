"""`python -m lab` as a user starts it, made small: first start, use, Ctrl-C, and a second start on the same data."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pyrad.client import Client
from pyrad.packet import AccessAccept

from lab.settings import free_port
from tests.support.radius_peer import DICTIONARY

Json = dict[str, Any]
ROOT = Path(__file__).parents[2]
FIRST_START_S = 150
GRACE_S = 9.0
SUBSCRIBERS, EXPERIMENTS = 8, 2


def environment(data_dir: Path) -> dict[str, str]:
    ports = {
        "HEADEND_HTTP_PORT": free_port(socket.SOCK_STREAM),
        "HEADEND_AUTH_PORT": free_port(socket.SOCK_DGRAM),
        "HEADEND_ACCT_PORT": free_port(socket.SOCK_DGRAM),
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADEND_")}
    small = {"HEADEND_LAB_SUBSCRIBERS": str(SUBSCRIBERS), "HEADEND_LAB_DAYS": "3", "PYTHONUNBUFFERED": "1"}
    return kept | small | {"HEADEND_DATA_DIR": str(data_dir)} | {name: str(port) for name, port in ports.items()}


class Demo:
    """A running lab and what its demo.json says."""

    def __init__(self, env: dict[str, str], process: subprocess.Popen[str], output: Path) -> None:
        self.env, self.process, self.output = env, process, output
        self.data_dir = Path(env["HEADEND_DATA_DIR"])
        self.url = f"http://127.0.0.1:{env['HEADEND_HTTP_PORT']}"
        self.json: Json = {}

    def wait_until_healthy(self) -> None:
        def healthy() -> bool:
            assert self.process.poll() is None, self.said()
            try:
                return httpx2.get(self.url + "/healthz", trust_env=False).status_code == 200
            except httpx2.TransportError:
                return False

        until(healthy, FIRST_START_S, self.said)
        self.json = json.loads((self.data_dir / "demo.json").read_text())

    def get(self, path: str) -> Json:
        headers = {"Authorization": f"Bearer {self.json['token']}"}
        answer = httpx2.get(f"{self.url}/api/v1{path}", headers=headers, timeout=20, trust_env=False)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def live_sessions(self) -> set[str]:
        return {session["session_id"] for session in self.get("/sessions?state=live&limit=100")["items"]}

    def stop(self) -> float:
        """Ctrl-C; the seconds it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(timeout=30) == 0, self.said()
        return time.monotonic() - began

    def said(self) -> str:
        log = self.data_dir / "lab" / "serve.log"
        return self.output.read_text() + (log.read_text()[-3000:] if log.exists() else "")


def until(condition: Callable[[], bool], timeout_s: float, said: Callable[[], str]) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, said()
        time.sleep(0.2)


@contextmanager
def lab(env: dict[str, str], output: Path) -> Iterator[Demo]:
    with output.open("w") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "lab"], env=env, cwd=ROOT, stdout=sink, stderr=subprocess.STDOUT, text=True
        )
    demo = Demo(env, process, output)
    try:
        yield demo
    finally:
        process.kill()
        process.wait()


def signs_in(demo: Demo, subscriber: Json) -> bool:
    client = Client(
        server="127.0.0.1", authport=demo.json["auth_port"], secret=demo.json["nas_secret"].encode(), dict=DICTIONARY
    )
    request = client.CreateAuthPacket(code=1, User_Name=subscriber["username"])
    request["User-Password"] = request.PwCrypt(subscriber["password"])
    request.add_message_authenticator()
    return bool(client.SendPacket(request).code == AccessAccept)


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path / "demo")


@pytest.mark.timeout(300)
def test_first_start_use_stop_and_second_start(env: dict[str, str], tmp_path: Path) -> None:
    with lab(env, tmp_path / "first.txt") as demo:
        demo.wait_until_healthy()
        assert demo.data_dir.stat().st_mode & 0o777 == 0o700
        assert (demo.data_dir / "demo.json").stat().st_mode & 0o777 == 0o600
        assert (demo.json["http"], demo.json["auth_port"]) == (demo.url, int(env["HEADEND_AUTH_PORT"]))
        offline = demo.json["subscribers"]
        assert len(offline) == EXPERIMENTS

        until(lambda: "Headend is running" in demo.output.read_text(), 30, demo.said)
        first_sessions = until_sessions(demo, SUBSCRIBERS - EXPERIMENTS - 1)
        states = sorted(order["state"] for order in demo.get("/orders?limit=100")["items"])
        assert states == ["completed"] * (SUBSCRIBERS - 1) + ["held"]
        assert not {s["username"] for s in offline} & usernames(demo)
        assert signs_in(demo, offline[0])

        line = subprocess.run(
            [sys.executable, "-m", "lab", "line"], env=env, cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        assert line.returncode == 0, line.stdout + line.stderr + demo.said()
        pdf = re.search(r"PDF: (\S+)", line.stdout)
        assert pdf is not None
        assert Path(pdf[1]).read_bytes().startswith(b"%PDF-")
        assert demo.stop() < GRACE_S

    with lab(env, tmp_path / "second.txt") as again:
        again.wait_until_healthy()
        assert again.json["token"] == demo.json["token"]
        assert again.json["subscribers"] == offline
        until(lambda: "Headend is running" in again.output.read_text(), 30, again.said)
        assert "History" not in again.output.read_text()
        assert len(until_sessions(again, SUBSCRIBERS - EXPERIMENTS - 1) & first_sessions) >= 2, again.said()
        again.stop()


def usernames(demo: Demo) -> set[str]:
    return {session["username"] for session in demo.get("/sessions?state=live&limit=100")["items"]}


def until_sessions(demo: Demo, at_least: int) -> set[str]:
    """Live sessions; one or two subscribers may just be dialling again."""
    until(lambda: len(demo.live_sessions()) >= at_least - 2, 60, demo.said)
    return demo.live_sessions()


def test_a_taken_port_ends_the_start_with_the_variable_to_change(env: dict[str, str], tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", int(env["HEADEND_ACCT_PORT"])))
        run = subprocess.run([sys.executable, "-m", "lab"], env=env, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 2
    assert "HEADEND_ACCT_PORT=" in run.stderr


def test_a_directory_that_holds_something_else_is_left_alone(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "thesis.txt").write_text("mine")
    run = subprocess.run([sys.executable, "-m", "lab"], env=env, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 2
    assert "HEADEND_DATA_DIR" in run.stderr
    assert [entry.name for entry in (tmp_path / "demo").iterdir()] == ["thesis.txt"]
