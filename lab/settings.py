"""What may be set about the demo, from the environment. Every problem names the variable to change."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

LOOPBACK = "127.0.0.1"
BRAS_ADDRESS = "127.0.0.2"


class Unusable(Exception):
    """The demo cannot start; the message says what to do."""


@dataclass(frozen=True, slots=True)
class LabSettings:
    """`history_days` before today are made at the first start; the rest is where things listen and are kept."""

    data_dir: Path
    http_port: int
    auth_port: int
    acct_port: int
    subscribers: int
    experiments: int
    history_days: int
    database_url: str
    mqtt_url: str

    @property
    def lab_dir(self) -> Path:
        return self.data_dir / "lab"

    @property
    def demo_json(self) -> Path:
        return self.data_dir / "demo.json"


def load(environment: dict[str, str] | None = None) -> LabSettings:
    """Settings from the environment. Raises Unusable naming the variable."""
    env = dict(os.environ if environment is None else environment)
    home = Path(env.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    subscribers = _number(env, "HEADEND_LAB_SUBSCRIBERS", 200, 4, 480)
    return LabSettings(
        data_dir=Path(env.get("HEADEND_DATA_DIR") or home / "headend-demo").absolute(),
        http_port=_number(env, "HEADEND_HTTP_PORT", 8080, 0, 65535) or free_port(socket.SOCK_STREAM),
        auth_port=_number(env, "HEADEND_AUTH_PORT", 1812, 0, 65535) or free_port(socket.SOCK_DGRAM),
        acct_port=_number(env, "HEADEND_ACCT_PORT", 1813, 0, 65535) or free_port(socket.SOCK_DGRAM),
        subscribers=subscribers,
        experiments=max(2, min(10, subscribers // 10)),
        history_days=_number(env, "HEADEND_LAB_DAYS", 61, 1, 400),
        database_url=env.get("HEADEND_DATABASE_URL", ""),
        mqtt_url=env.get("HEADEND_MQTT_URL", ""),
    )


def _number(env: dict[str, str], name: str, default: int, least: int, most: int) -> int:
    text = env.get(name) or str(default)
    if not text.isdecimal() or not least <= int(text) <= most:
        raise Unusable(f"{name}={text!r}: a whole number from {least} to {most}")
    return int(text)


def free_port(kind: socket.SocketKind) -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind((LOOPBACK, 0))
        return int(sock.getsockname()[1])


def check_ports(settings: LabSettings) -> None:
    """Raises Unusable when a port that the controller is to open is taken, naming the variable that moves it."""
    wanted = (
        ("HEADEND_HTTP_PORT", settings.http_port, socket.SOCK_STREAM, "web page and API"),
        ("HEADEND_AUTH_PORT", settings.auth_port, socket.SOCK_DGRAM, "RADIUS authentication"),
        ("HEADEND_ACCT_PORT", settings.acct_port, socket.SOCK_DGRAM, "RADIUS accounting"),
    )
    problems = []
    for name, port, kind, purpose in wanted:
        with socket.socket(socket.AF_INET, kind) as sock:
            if kind == socket.SOCK_STREAM:
                # A port in TIME_WAIT after the last run is free for the server too.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind((LOOPBACK, port))
            except OSError as error:
                problems.append(
                    f"port {port} of {LOOPBACK} ({purpose}) cannot be used: {error.strerror}. "
                    f"Choose another one: {name}={port + 10000 if port < 50000 else port - 10000} make run"
                )
    if problems:
        raise Unusable("\n".join(problems))
