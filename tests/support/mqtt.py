"""A real mosquitto for tests, with a password file, on a free port of 127.0.0.1."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.databases import free_port

USERS = {"collector": "collector-password", "cpe": "cpe-password"}

_CONFIG = """
listener {port} 127.0.0.1
allow_anonymous false
password_file {directory}/passwords
persistence true
persistence_location {directory}/
log_dest file {directory}/log
"""


class Broker:
    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = free_port()
        (directory / "mosquitto.conf").write_text(_CONFIG.format(port=self.port, directory=directory))
        passwords = directory / "passwords"
        passwords.touch(mode=0o600)
        for user, password in USERS.items():
            subprocess.run(["mosquitto_passwd", "-b", str(passwords), user, password], check=True, capture_output=True)
        if os.geteuid() == 0:  # started by root it becomes this user, who must reach every directory above
            for path in (directory, passwords):
                shutil.chown(path, "mosquitto", "mosquitto")
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        binary = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        self.process = subprocess.Popen(
            [binary, "-c", str(self.directory / "mosquitto.conf")],
            stdout=subprocess.DEVNULL,
            stderr=(self.directory / "stderr").open("wb"),
        )
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self.directory / "stderr").read_text()) from None
                time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None


@pytest.fixture
def broker() -> Iterator[Broker]:
    if shutil.which("mosquitto") is None and not Path("/usr/sbin/mosquitto").exists():
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    # Not below pytest's own directory, which only its owner may enter.
    directory = Path("/tmp") / f"headend-mqtt-{os.getpid()}-{time.monotonic_ns()}"
    running = Broker(directory)
    try:
        yield running
    finally:
        running.stop()
        shutil.rmtree(directory, ignore_errors=True)
