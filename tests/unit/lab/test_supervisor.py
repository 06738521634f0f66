"""The supervisor against small children: clean stop, sudden death, refusal to start, death of the parent."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from lab import live, supervisor
from lab.settings import LabSettings, Unusable, check_ports, free_port, load
from lab.supervisor import ServerFailed, Supervisor

CHILD = """
import http.server, signal, sys
class Ok(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *a): pass
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Ok)
signal.signal(signal.SIGTERM, STOP)
server.serve_forever()
"""
OBEDIENT = CHILD.replace("STOP", "lambda *_: sys.exit(0)")
STUBBORN = CHILD.replace("STOP", "signal.SIG_IGN")


def make(tmp_path: Path, source: str, said: list[str]) -> Supervisor:
    port = free_port(socket.SOCK_STREAM)
    return Supervisor(
        {},
        f"http://127.0.0.1:{port}/healthz",
        tmp_path / "serve.log",
        said.append,
        [sys.executable, "-c", source, str(port)],
    )


@pytest.fixture
async def child(tmp_path: Path) -> AsyncIterator[tuple[Supervisor, list[str]]]:
    said: list[str] = []
    child = make(tmp_path, OBEDIENT, said)
    await child.start()
    yield child, said
    await child.stop(0.1)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until(condition: Callable[[], bool], timeout_s: float = 15) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - the condition is another process's
            await asyncio.sleep(0.02)


async def test_a_child_that_obeys_is_stopped_cleanly(child: tuple[Supervisor, list[str]]) -> None:
    pid = child[0].pid
    assert pid is not None
    assert await child[0].stop() is True
    assert not is_alive(pid)
    assert child[1] == []


async def test_a_child_that_does_not_stop_is_killed_after_the_grace_time(tmp_path: Path) -> None:
    said: list[str] = []
    child = make(tmp_path, STUBBORN, said)
    await child.start()
    began = time.monotonic()
    assert await child.stop(0.3) is False
    assert time.monotonic() - began < 3
    assert "did not stop within" in said[0]


async def test_a_child_that_dies_is_started_again_and_said_so(child: tuple[Supervisor, list[str]]) -> None:
    watch = asyncio.create_task(child[0].watch())
    first = child[0].pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: len(child[1]) == 2)
    assert "SIGKILL" in child[1][0]
    assert child[1][1] == "The controller is back."
    assert child[0].pid not in (None, first)
    await child[0].stop()
    await watch


async def test_a_child_that_cannot_start_is_reported_with_its_last_words(tmp_path: Path) -> None:
    child = make(tmp_path, "raise SystemExit('port 8080 is taken')", [])
    with pytest.raises(ServerFailed, match=r"exit status 1\)\.\nport 8080 is taken"):
        await child.start()


async def test_a_child_that_keeps_dying_is_given_up(
    child: tuple[Supervisor, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "MAX_RESTARTS", 1)
    watch = asyncio.create_task(child[0].watch())
    for seen in (2, 3):
        pid = child[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(lambda seen=seen: len(child[1]) >= seen or watch.done())  # type: ignore[misc]
    with pytest.raises(ServerFailed, match="2 times in a minute"):
        await watch


def test_the_child_dies_with_its_parent_however_that_dies(tmp_path: Path) -> None:
    port = free_port(socket.SOCK_STREAM)
    parent = f"""
import asyncio, sys
from pathlib import Path
from lab.supervisor import Supervisor
async def main():
    child = Supervisor({{}}, "http://127.0.0.1:{port}/healthz", Path({str(tmp_path / "log")!r}), print,
                       [sys.executable, "-c", {OBEDIENT!r}, "{port}"])
    await child.start()
    print(child.pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        pid = int(process.stdout.readline())
        assert is_alive(pid)
        process.kill()
        process.wait()
    deadline = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(pid)


def settings(tmp_path: Path, **ports: str) -> LabSettings:
    return load({"HEADEND_DATA_DIR": str(tmp_path), **ports})


@pytest.mark.parametrize(
    ("variable", "kind"),
    [
        ("HEADEND_HTTP_PORT", socket.SOCK_STREAM),
        ("HEADEND_AUTH_PORT", socket.SOCK_DGRAM),
        ("HEADEND_ACCT_PORT", socket.SOCK_DGRAM),
    ],
)
def test_a_taken_port_is_named_with_its_variable(tmp_path: Path, variable: str, kind: socket.SocketKind) -> None:
    free = {"HEADEND_HTTP_PORT": "0", "HEADEND_AUTH_PORT": "0", "HEADEND_ACCT_PORT": "0"}
    check_ports(settings(tmp_path, **free))
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
        with pytest.raises(Unusable, match=f"port {port} .*in use.*{variable}="):
            check_ports(settings(tmp_path, **{**free, variable: port}))


@pytest.mark.parametrize("text", ["-1", "70000", "web"])
def test_a_port_that_is_none_is_named_with_its_variable(tmp_path: Path, text: str) -> None:
    with pytest.raises(Unusable, match="HEADEND_HTTP_PORT"):
        settings(tmp_path, HEADEND_HTTP_PORT=text)


async def test_work_that_swallows_a_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "INSIST_S", 0.01)
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while swallowed < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1

    task = asyncio.create_task(live.until_cancelled(stubborn()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert swallowed == 2
