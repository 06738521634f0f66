"""A NAS in a process of its own: sends accounting, repeats what is not answered, and journals every answer.

    python accounting_sender.py PORT SECRET JOURNAL SEED SESSIONS

Standard library only: it shares no code with what it tests. A line of the journal is on disk before the session goes
on, so it proves what was acknowledged. On SIGTERM it waits for what is outstanding and prints each session's totals.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import selectors
import signal
import socket
import struct
import sys
import time
from dataclasses import dataclass, field

RETRY_S = 0.25
START, STOP, INTERIM = 1, 2, 3


@dataclass
class Line:
    """One subscriber line: the session it carries now, and the request that is not answered yet."""

    sock: socket.socket
    number: int
    life: int = 0
    seconds: int = 0
    up: int = 0
    down: int = 0
    begun_at: int = 0
    kind: int = STOP
    identifier: int = 0
    request: bytes = b""
    sent_at: float = 0.0
    sessions: dict[str, list[object]] = field(default_factory=dict)

    @property
    def session_id(self) -> str:
        return f"{self.number:04x}/{self.life}"

    def advance(self, dice: random.Random, secret: bytes) -> None:
        """Make the next request: a new session, more of this one, or its end."""
        if self.kind == STOP:
            self.life += 1
            self.seconds = self.up = self.down = 0
            self.begun_at = int(time.time())
            self.kind = START
        else:
            self.kind = STOP if dice.random() < 0.05 else INTERIM
            self.seconds += 1
            self.up += dice.randrange(1 << 20)
            self.down += dice.randrange(1 << 31)
        self.identifier = (self.identifier + 1) % 256
        self.request = self._packet(secret)

    def _packet(self, secret: bytes) -> bytes:
        body = integer(40, self.kind) + octets(1, f"line{self.number:04}".encode())
        body += octets(44, self.session_id.encode()) + integer(55, self.begun_at + self.seconds)
        if self.kind != START:
            body += integer(46, self.seconds)
            body += integer(42, self.up & 0xFFFFFFFF) + integer(52, self.up >> 32)
            body += integer(43, self.down & 0xFFFFFFFF) + integer(53, self.down >> 32)
        head = struct.pack(">BBH", 4, self.identifier, 20 + len(body))
        return head + hashlib.md5(head + bytes(16) + body + secret).digest() + body

    def answers(self, reply: bytes, secret: bytes) -> bool:
        """Whether `reply` is the Accounting-Response to the outstanding request (RFC 2866 §3)."""
        if not self.request or len(reply) < 20 or reply[:2] != bytes((5, self.identifier)):
            return False
        return hashlib.md5(reply[:4] + self.request[4:20] + reply[20:] + secret).digest() == reply[4:20]

    def settle(self) -> dict[str, object]:
        """The outstanding request is answered: what the journal keeps of it."""
        entry: dict[str, object] = {
            "sha256": hashlib.sha256(self.request).hexdigest(),
            "session": self.session_id,
            "up": self.up,
            "down": self.down,
        }
        self.sessions[self.session_id] = [self.up, self.down, self.kind == STOP]
        self.request = b""
        return entry


def octets(kind: int, value: bytes) -> bytes:
    return bytes((kind, len(value) + 2)) + value


def integer(kind: int, value: int) -> bytes:
    return octets(kind, value.to_bytes(4, "big"))


def send(line: Line, port: int) -> None:
    line.sent_at = time.monotonic()
    try:
        line.sock.send(line.request)
    except ConnectionRefusedError:
        return  # nobody listens just now; it is sent again


def receive(line: Line, secret: bytes) -> dict[str, object] | None:
    try:
        reply = line.sock.recv(4096)
    except (ConnectionRefusedError, BlockingIOError):
        return None
    return line.settle() if line.answers(reply, secret) else None


def main() -> None:
    port, secret, path, seed, count = int(sys.argv[1]), sys.argv[2].encode(), sys.argv[3], sys.argv[4], int(sys.argv[5])
    dice = random.Random(seed)
    stopping = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    selector = selectors.DefaultSelector()
    lines = []
    for number in range(count):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect(("127.0.0.1", port))
        sock.setblocking(False)
        lines.append(Line(sock, number))
        selector.register(sock, selectors.EVENT_READ, lines[-1])
    with open(path, "a", encoding="ascii") as journal:
        while not stopping or any(line.request for line in lines):
            now = time.monotonic()
            for line in lines:
                if not line.request and not stopping:
                    line.advance(dice, secret)
                    send(line, port)
                elif line.request and now - line.sent_at > RETRY_S:
                    send(line, port)
            ready = selector.select(0.02)
            settled = [entry for key, _ in ready if (entry := receive(key.data, secret)) is not None]
            if settled:
                journal.writelines(json.dumps(entry) + "\n" for entry in settled)
                journal.flush()
                os.fsync(journal.fileno())
    totals: dict[str, list[object]] = {}
    for line in lines:
        totals |= line.sessions
    json.dump(totals, sys.stdout)


if __name__ == "__main__":
    main()
