"""A real mosquitto for tests, with a password file, on a free port of 127.0.0.1."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.ports import free_port

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
    def __init__(self, directory: Path, *, tls: bool = False) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = free_port()
        config = _CONFIG.format(port=self.port, directory=directory)
        (directory / "mosquitto.conf").write_text(config + self._tls(directory) if tls else config)
        passwords = directory / "passwords"
        passwords.touch(mode=0o600)
        for user, password in USERS.items():
            subprocess.run(["mosquitto_passwd", "-b", str(passwords), user, password], check=True, capture_output=True)
        if os.geteuid() == 0:  # started by root it becomes this user, who must reach every directory above
            for path in (directory, passwords):
                shutil.chown(path, "mosquitto", "mosquitto")
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def _tls(self, directory: Path) -> str:
        """A self-signed certificate for localhost; clients trust `directory/certificate.pem`."""
        key, certificate = directory / "key.pem", directory / "certificate.pem"
        subprocess.run(
            [
                "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=localhost",
                "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
            ],
            check=True,
            capture_output=True,
        )  # fmt: skip
        key.chmod(0o644)  # a throw-away key, read by the user the broker becomes
        return f"certfile {certificate}\nkeyfile {key}\n"

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


@contextmanager
def running_broker(*, tls: bool = False) -> Iterator[Broker]:
    if shutil.which("mosquitto") is None and not Path("/usr/sbin/mosquitto").exists():
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    # Not below pytest's own directory, which only its owner may enter.
    directory = Path("/tmp") / f"headend-mqtt-{os.getpid()}-{time.monotonic_ns()}"
    running = Broker(directory, tls=tls)
    try:
        yield running
    finally:
        running.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def broker() -> Iterator[Broker]:
    with running_broker() as running:
        yield running


@pytest.fixture
def tls_broker() -> Iterator[Broker]:
    with running_broker(tls=True) as running:
        yield running
