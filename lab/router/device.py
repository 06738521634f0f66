"""The emulated router: running and startup configuration, configuration sessions, commit, timer, abort, replace.

A start is a boot: the startup configuration becomes the running one and open sessions are gone, as on the device.
"""

from __future__ import annotations

import difflib
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.router.cli import CliError, Editor, Node, parse, show

VERSION = "4.31.2F"
MAX_OPEN_SESSIONS = 5

FACTORY = """hostname {name}
ip routing
!
interface Ethernet1
   description access
   no switchport
!
interface Ethernet8
   description core
   no switchport
!
end
"""


class ConnectionLost(Exception):
    """A test's fault: the device dies before it answers."""


@dataclass(slots=True)
class ConfigSession:
    candidate: Node
    state: str = "pending"
    before_commit: Node | None = None
    commit_by: float = 0.0


@dataclass(slots=True)
class Faults:
    """How tests make it fail. `before(command)` may raise ConnectionLost, or change the device behind the caller."""

    before: Callable[[str], None] = lambda _: None
    ignore_commit: bool = False
    after_commit: Callable[[], None] = lambda: None


@dataclass(slots=True)
class _Cli:
    """One request's command line: which session it edits, if any."""

    session: str | None = None
    editor: Editor | None = None


@dataclass(slots=True)
class Router:
    """`files` keeps running-config, startup-config and what was copied to flash."""

    files: Path
    name: str = "router-1"
    now: Callable[[], float] = time.monotonic
    running: Node = field(default_factory=Node)
    sessions: dict[str, ConfigSession] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    booted_at: float = 0.0

    def boot(self) -> None:
        """Load the startup configuration; a new device has the factory's."""
        self.files.mkdir(parents=True, exist_ok=True)
        if not self._file("startup-config").exists():
            self._write("startup-config", FACTORY.format(name=self.name))
        self.running = parse(self._file("startup-config").read_text())
        self.sessions.clear()
        self.booted_at = self.now() - 86_400
        self._write("running-config", show(self.running))

    def execute(self, commands: list[str], encoding: str) -> list[dict[str, Any]]:
        """Run one request's commands in order. Raises CliFailure with the results of those before the failing one."""
        self.expire()
        cli = _Cli()
        results: list[dict[str, Any]] = []
        for position, command in enumerate(commands, 1):
            self.faults.before(command)
            try:
                results.append(self._run(cli, " ".join(command.split()), encoding))
            except CliError as error:
                raise CliFailure(position, len(commands), command, error.detail, results) from error
        return results

    def alter(self, *commands: str) -> None:
        """Configuration commands that somebody else types at the device's own console, in force at once."""
        root = self.running.copy()
        editor = Editor(root)
        for command in commands:
            editor.run(command)
        self._set_running(root)

    def expire(self) -> None:
        """Roll back a commit whose timer ran out unconfirmed."""
        for name, session in list(self.sessions.items()):
            if session.state == "pendingCommitTimer" and self.now() >= session.commit_by:
                assert session.before_commit is not None
                self._set_running(session.before_commit)
                del self.sessions[name]

    def _run(self, cli: _Cli, command: str, encoding: str) -> dict[str, Any]:
        if cli.session is not None:
            return self._configure(cli, command)
        if command == "enable":
            return {}
        if command.startswith("show "):
            return self._show(command.removeprefix("show "), encoding)
        if command == "write memory":
            self._write("startup-config", show(self.running))
            return _said("Copy completed successfully.", encoding)
        if match := re.fullmatch(r"copy (startup|running)-config flash:([\w.-]+)", command):
            source = self._file("startup-config").read_text() if match[1] == "startup" else show(self.running)
            self._write(match[2], source)
            return _said("Copy completed successfully.", encoding)
        if match := re.fullmatch(r"configure replace flash:([\w.-]+)", command):
            if not self._file(match[1]).exists():
                raise CliError(f"Error: cannot open flash:{match[1]} (No such file or directory)")
            self._set_running(parse(self._file(match[1]).read_text()))
            return {}
        if match := re.fullmatch(
            r"configure session ([\w.-]+)(?: (commit|abort)(?: timer (\d\d):(\d\d):(\d\d))?)?", command
        ):
            return self._session_command(cli, match)
        raise CliError(f"Invalid input (at token 0: '{command.split(' ')[0]}')")

    def _session_command(self, cli: _Cli, match: re.Match[str]) -> dict[str, Any]:
        name, verb = match[1], match[2]
        if verb is None:
            self._enter(cli, name)
        elif name not in self.sessions:
            raise CliError(f"Cannot {verb} session {name}: session does not exist")
        elif verb == "abort":
            self._abort(name)
        elif match[3] is not None:
            self._commit(name, int(match[3]) * 3600 + int(match[4]) * 60 + int(match[5]))
        else:
            self._commit(name, None)
        return {}

    def _enter(self, cli: _Cli, name: str) -> None:
        if name not in self.sessions:
            if sum(s.state == "pending" for s in self.sessions.values()) >= MAX_OPEN_SESSIONS:
                raise CliError("Maximum number of pending sessions has been reached. Please commit or abort some.")
            self.sessions[name] = ConfigSession(self.running.copy())
        cli.session, cli.editor = name, Editor(self.sessions[name].candidate)

    def _configure(self, cli: _Cli, command: str) -> dict[str, Any]:
        assert cli.editor is not None
        if command == "end":
            cli.session = cli.editor = None
        elif command == "rollback clean-config":
            cli.editor.root.lines.clear()
        else:
            cli.editor.run(command)
        return {}

    def _commit(self, name: str, timer_s: int | None) -> None:
        session = self.sessions[name]
        if session.state == "pending" and not self.faults.ignore_commit:
            session.before_commit = self.running
            self._set_running(session.candidate.copy())
        if timer_s is None:
            del self.sessions[name]
        else:
            session.state, session.commit_by = "pendingCommitTimer", self.now() + timer_s
        self.faults.after_commit()

    def _abort(self, name: str) -> None:
        session = self.sessions.pop(name)
        if session.state == "pendingCommitTimer" and session.before_commit is not None:
            self._set_running(session.before_commit)

    def _show(self, what: str, encoding: str) -> dict[str, Any]:
        texts = {"running-config": lambda: show(self.running), "startup-config": self._file("startup-config").read_text}
        if what in texts:
            return _text_only(f"! Command: show {what}\n! device: {self.name}\n!\n" + texts[what](), encoding)
        if match := re.fullmatch(r"session-config named ([\w.-]+)( diffs)?", what):
            if match[1] not in self.sessions:
                raise CliError(f"Session {match[1]} does not exist")
            candidate = self.sessions[match[1]].candidate
            return _text_only(self._diff(match[1], candidate) if match[2] else show(candidate), encoding)
        facts: dict[str, Callable[[], dict[str, Any]]] = {
            "version": self._version,
            "hostname": lambda: {"hostname": self.name, "fqdn": f"{self.name}.lab.invalid"},
            "configuration sessions": self._session_list,
            "configuration sessions detail": self._session_list,
        }
        if what not in facts:
            raise CliError(f"Invalid input (at token 1: '{what.split(' ')[0]}')")
        return facts[what]()

    def _version(self) -> dict[str, Any]:
        return {
            "modelName": "Headend-Lab-Router",
            "version": VERSION,
            "internalVersion": VERSION + "-lab",
            "serialNumber": "LAB0000001",
            "uptime": self.now() - self.booted_at,
            "bootupTimestamp": time.time() - (self.now() - self.booted_at),
        }

    def _session_list(self) -> dict[str, Any]:
        uptime_at = self.booted_at
        return {
            "maxSavedSessions": 1,
            "maxOpenSessions": MAX_OPEN_SESSIONS,
            "sessions": {
                name: {"state": s.state, "commitUser": "", "description": "", "instances": {}}
                | ({"commitBy": s.commit_by - uptime_at} if s.state == "pendingCommitTimer" else {})
                for name, s in self.sessions.items()
            },
        }

    def _diff(self, name: str, candidate: Node) -> str:
        lines = difflib.unified_diff(
            show(self.running).splitlines(),
            show(candidate).splitlines(),
            "system:/running-config",
            f"session:/{name}-session-config",
            lineterm="",
        )
        return "\n".join(lines) + "\n"

    def _set_running(self, root: Node) -> None:
        self.running = root
        self._write("running-config", show(root))

    def _file(self, name: str) -> Path:
        return self.files / name

    def _write(self, name: str, text: str) -> None:
        draft = self._file(name + ".new")
        draft.write_text(text)
        os.replace(draft, self._file(name))


class CliFailure(Exception):
    """A request that failed at one command, with what the commands before it answered."""

    def __init__(self, position: int, total: int, command: str, detail: str, before: list[dict[str, Any]]) -> None:
        kind = "invalid command" if detail.startswith("Invalid input") else "could not run command"
        super().__init__(f"CLI command {position} of {total} '{command}' failed: {kind}")
        self.code = 1002 if kind == "invalid command" else 1000
        self.data = [*before, {"errors": [detail]}]


def _said(message: str, encoding: str) -> dict[str, Any]:
    return {"output": message + "\n"} if encoding == "text" else {"messages": [message]}


def _text_only(text: str, encoding: str) -> dict[str, Any]:
    if encoding != "text":
        raise CliError("This is an unconverted command")
    return {"output": text}
