"""The MQTT broker of the demo: the one the user names, else a mosquitto that is found and started, else none."""

from __future__ import annotations

import asyncio
import base64
import getpass
import hashlib
import os
import secrets
import shutil
import socket

from lab.settings import LOOPBACK, LabSettings, free_port
from lab.supervisor import die_with_parent
from lab.world import write_private

USERNAME = "headend"
START_S = 5.0


class Broker:
    """`url` is empty while there is no broker."""

    def __init__(self, settings: LabSettings) -> None:
        self._settings = settings
        self._child: asyncio.subprocess.Process | None = None
        self.url = settings.mqtt_url

    def describe(self) -> str:
        if not self.url:
            return "no broker found: customers' equipment stays silent (Debian package mosquitto, or HEADEND_MQTT_URL)"
        where = self.url.rpartition("@")[2].removeprefix("mqtt://")
        return f"broker {where}" + (" (mosquitto, started by the demo)" if self._child is not None else "")

    async def start(self) -> None:
        """Start mosquitto where no broker was named and one is installed."""
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
        if self.url or program is None:
            return
        directory = self._settings.lab_dir / "mqtt"
        directory.mkdir(exist_ok=True, mode=0o700)
        password, port = secrets.token_urlsafe(16), free_port(socket.SOCK_STREAM)
        write_private(directory / "passwords", f"{USERNAME}:{_hashed(password)}\n")
        write_private(
            directory / "mosquitto.conf",
            f"listener {port} {LOOPBACK}\nallow_anonymous false\npassword_file {directory / 'passwords'}\n"
            f"persistence false\nuser {getpass.getuser()}\nlog_dest file {directory / 'mosquitto.log'}\n",
        )
        self._child = await asyncio.create_subprocess_exec(
            program,
            "-c",
            str(directory / "mosquitto.conf"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        if await self._answers(port):
            self.url = f"mqtt://{USERNAME}:{password}@{LOOPBACK}:{port}"
        else:
            await self.stop()

    async def _answers(self, port: int) -> bool:
        """Whether it takes connections within START_S."""
        assert self._child is not None
        try:
            async with asyncio.timeout(START_S):
                while self._child.returncode is None:
                    try:
                        _, writer = await asyncio.open_connection(LOOPBACK, port)
                    except OSError:
                        await asyncio.sleep(0.05)
                    else:
                        writer.close()
                        return True
        except TimeoutError:
            return False
        return False

    async def stop(self) -> None:
        if self._child is not None and self._child.returncode is None:
            self._child.terminate()
            await self._child.wait()
        self._child = None


def _hashed(password: str) -> str:
    """A password as mosquitto's password file has it: PBKDF2-HMAC-SHA512, 101 rounds."""
    salt = os.urandom(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    return f"$7$101${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"
