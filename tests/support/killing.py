"""A controller that is killed again and again, the NAS that journals its answers, and the proof that nothing was lost.

The controller is `headend serve` in a process of its own, the NAS another one. Used by the tests that kill -9.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from controller.store.engine import Database
from controller.store.usage_reader import UsageLogReader
from radius.accounting.views import SessionFilter, SessionRepository, SessionView
from tests.support import zygote
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
SUPPORT = ROOT / "tests" / "support"
SECRET = "kill-test-secret"
TOKEN = "kill-test-token-of-enough-length"
KILLS = 10
"""How often the long tests kill."""
FEW_KILLS = 5
LINES = 48


def seed_of_this_run() -> int:
    """HEADEND_TEST_SEED, a new one where that is "random" (`make test-random`); else always the same, so that what
    passed once lands. Printed, so that it can be set.
    """
    asked = os.environ.get("HEADEND_TEST_SEED") or "1"
    seed = random.SystemRandom().randrange(10**6) if asked == "random" else int(asked)
    print(f"HEADEND_TEST_SEED={seed}")
    return seed


class Controller:
    """`headend serve` on ports of our own, started as often as wanted."""

    def __init__(self, directory: Path, database_url: str) -> None:
        self.http_port, self.auth_port, self.acct_port = free_port(), free_port(), free_port()
        self.log = directory / "serve.log"
        self._environment = os.environ | {
            "HEADEND_DATA_DIR": str(directory / "data"),
            "HEADEND_DATABASE_URL": database_url,
            "HEADEND_HTTP_PORT": str(self.http_port),
            "HEADEND_AUTH_PORT": str(self.auth_port),
            "HEADEND_ACCT_PORT": str(self.acct_port),
            "HEADEND_ADMIN_TOKEN": TOKEN,
        }
        self._process: zygote.Running | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        self._process = zygote.start("controller.app.cli", "serve", environment=self._environment, output=self.log)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(30)

    def close(self) -> None:
        if self._process is not None:
            self.kill()


class Sender:
    """The NAS: a process that repeats what is not answered and journals what is."""

    def __init__(self, directory: Path, port: int, seed: int, lines: int = LINES) -> None:
        self.journal = directory / "acknowledged.jsonl"
        self.journal.touch()
        self._process = subprocess.Popen(
            [sys.executable, SUPPORT / "accounting_sender.py", str(port), SECRET, self.journal, str(seed), str(lines)],
            stdout=subprocess.PIPE,
            text=True,
        )

    def answered_octets(self) -> int:
        """How long the journal is: it grows with every answer."""
        assert self._process.poll() is None, "the sender died"
        return self.journal.stat().st_size

    def finish(self) -> dict[str, tuple[int, int, bool]]:
        """Have it wait for its last answers: session → (up, down, stopped) as it counted them."""
        self._process.terminate()
        output, _ = self._process.communicate(timeout=30)
        return {session: (up, down, stopped) for session, (up, down, stopped) in json.loads(output).items()}

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate(timeout=10)


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s in vain until {what}"
        time.sleep(0.01)


def register_nas(http_port: int, token: str = TOKEN) -> None:
    """As an operator does, once the controller answers."""
    of_admin = {"Authorization": f"Bearer {token}"}
    with httpx2.Client(base_url=f"http://127.0.0.1:{http_port}", headers=of_admin, timeout=30) as api:

        def healthy() -> bool:
            try:
                return api.get("/healthz").status_code == 200
            except httpx2.TransportError:
                return False

        wait_for(healthy, "the controller is ready")
        answer = api.post("/api/v1/nas", json={"name": "sender", "address": "127.0.0.1", "secret": SECRET})
        assert answer.status_code == 201, answer.text


@contextmanager
def running(directory: Path, database_url: str, seed: int, lines: int = LINES) -> Iterator[tuple[Controller, Sender]]:
    controller = Controller(directory, database_url)
    try:
        controller.start()
        register_nas(controller.http_port)
        sender = Sender(directory, controller.acct_port, seed, lines)
        try:
            yield controller, sender
        finally:
            sender.close()
    except BaseException:
        print(*controller.log.read_text(errors="replace").splitlines()[-60:], sep="\n")  # what it said at the end
        raise
    finally:
        controller.close()


def kill_again_and_again(
    controller: Controller, sender: Sender, dice: random.Random, longest_s: float = 0.6, kills: int = KILLS
) -> list[float]:
    """So many times: wait until it answers, let it work for a random while, kill it. Returns the whiles."""
    whiles = []
    for _ in range(kills):
        before = sender.answered_octets()
        wait_for(lambda before=before: sender.answered_octets() > before, "a record is acknowledged")  # type: ignore[misc]
        whiles.append(dice.uniform(0.0, longest_s))
        time.sleep(whiles[-1])  # the random instant itself: nothing is waited for
        controller.kill()
        controller.start()
    before = sender.answered_octets()
    wait_for(lambda: sender.answered_octets() > before, "the last controller acknowledges")
    return whiles


def read_journal(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


async def read_sessions(database: Database) -> dict[str, list[SessionView]]:
    found: dict[str, list[SessionView]] = {}
    for view in await SessionRepository(database).find(SessionFilter(), before=None, limit=1_000_000):
        found.setdefault(view.acct_session_id.decode(), []).append(view)
    return found


async def prove_accounting(
    database: Database, journal: list[dict[str, Any]], totals: dict[str, tuple[int, int, bool]], at_least: int
) -> dict[str, int]:
    """Every acknowledged record is there once, the sums are the sender's, and open sessions are one and live.

    What is stored is returned: how often each packet, by its digest.
    """
    reader = UsageLogReader(database)
    stored: Counter[str] = Counter()
    async for record in reader.records_after(0, await reader.watermark(), 10_000_000):
        assert record.intact
        stored[record.packet_sha256.hex()] += 1
    acknowledged = [entry["sha256"] for entry in journal]
    print(f"{len(acknowledged)} acknowledged, {sum(stored.values())} stored, {len(totals)} sessions")
    assert len(acknowledged) > at_least, "too little happened to prove anything"
    assert len(set(acknowledged)) == len(acknowledged)
    assert [digest for digest in acknowledged if stored[digest] != 1] == []
    assert sum(stored.values()) == len(acknowledged), "everything that was sent was acknowledged in the end"
    assert await reader.verify_all() == []
    sessions = await read_sessions(database)
    assert sessions.keys() == totals.keys()
    for session_id, (up, down, stopped) in totals.items():
        (view,) = sessions[session_id]
        assert (view.upstream_octets, view.downstream_octets, view.is_live) == (up, down, not stopped), session_id
    assert sum(not stopped for _, _, stopped in totals.values()) > 0
    return dict(stored)
