"""Starts programs of the product without importing it anew, which would take longer than most tests.

    running = start("controller.app.cli", "serve", environment=…, output=log)
    running.kill()

One server for each process of tests has imported everything that `headend serve` does. Each program is a fork of it,
made before any thread or socket of the program exists, and runs as `python -m MODULE ARGUMENTS` would. What is under
test is what comes after the imports; that those work in a new process is shown by the tests that start one.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parents[2]


class Zygote:
    """The server, as its clients see it: one request at a time, each a line of JSON and its answer another."""

    def __init__(self) -> None:
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._server = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(self.close)

    def ask(self, **request: Any) -> Any:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(json.dumps(request), file=self._server.stdin, flush=True)
        answer = self._server.stdout.readline()
        assert answer, "the zygote died"
        return json.loads(answer)

    def close(self) -> None:
        """Ends the server; it kills what it started."""
        self._server.communicate()


@cache
def _zygote() -> Zygote:
    return Zygote()


class Running:
    """A program that was started: as much of subprocess.Popen as tests use."""

    def __init__(self, pid: int, arguments: tuple[str, ...], output: Path) -> None:
        self.pid = pid
        self.output = output
        self.returncode: int | None = None
        self._arguments = arguments
        self._ended = os.pidfd_open(pid)

    def poll(self) -> int | None:
        return self._reaped(0.0)

    def wait(self, timeout: float | None = None) -> int:
        status = self._reaped(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(self._arguments, timeout or 0.0)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            signal.pidfd_send_signal(self._ended, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def until_printed(self, *lines: str, timeout_s: float = 60) -> None:
        """Return when one of these lines stands in its output."""
        deadline = time.monotonic() + timeout_s
        while True:
            has_ended = self.poll() is not None
            printed = self.output.read_text() if self.output.exists() else ""
            if any(line.strip() in lines for line in printed.splitlines()):
                return
            assert not has_ended, f"ended without {lines}: {printed}"
            assert time.monotonic() < deadline, f"not in {timeout_s} s: {lines}, but {printed}"
            time.sleep(0.005)

    def _reaped(self, timeout_s: float | None) -> int | None:
        if self.returncode is None and select.select([self._ended], [], [], timeout_s)[0]:
            self.returncode = int(_zygote().ask(status=self.pid))
            os.close(self._ended)
        return self.returncode


def start(
    module: str,
    *arguments: str,
    output: Path,
    error: Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Running:
    """`python -m module arguments`, with what it prints appended to `output`, and its errors to `error` where given."""
    pid = _zygote().ask(
        module=module,
        arguments=arguments,
        environment=dict(environment),
        output=str(output),
        error=str(error or output),
    )
    return Running(pid, (module, *arguments), output)


# --- The server


def _serve() -> None:
    import controller.app.process
    import controller.app.radius_cli  # noqa: F401

    assert threading.active_count() == 1, "a thread would not be there in the fork"
    gc.collect()
    gc.freeze()  # what is there by now is shared by all: looking through it again would copy it
    started: set[int] = set()
    for line in sys.stdin:
        request = json.loads(line)
        if "status" in request:
            pid, status = os.waitpid(request["status"], 0)
            started.discard(pid)
            print(os.waitstatus_to_exitcode(status), flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            _become(request)
        started.add(pid)
        print(pid, flush=True)
    for pid in started:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _become(request: dict[str, Any]) -> NoReturn:
    status = 1
    try:
        _redirect(os.devnull, os.O_RDONLY, 0)
        for path, number in ((request["output"], 1), (request["error"], 2)):
            _redirect(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, number)
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] - what a killed one said is known
        os.environ.clear()
        os.environ.update(request["environment"])
        time.tzset()
        sys.argv = [request["module"], *request["arguments"]]
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _redirect(path: str, flags: int, number: int) -> None:
    opened = os.open(path, flags, 0o600)
    os.dup2(opened, number)
    os.close(opened)


if __name__ == "__main__":
    _serve()
