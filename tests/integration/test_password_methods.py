"""Methods that prove a password against real clients: eapol_test, radclient, radeapclient."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from controller.store.engine import Database
from tests.support.eapol import EAPOL_TEST, MISSING, eapol_test, network
from tests.support.radius import EPHEMERAL, RunningRoom, running_room

needs_eapol = pytest.mark.skipif(EAPOL_TEST is None, reason=MISSING)
needs_freeradius = pytest.mark.skipif(shutil.which("radclient") is None, reason="apt-get install freeradius-utils")


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    return sqlite_database


async def output_of(*command: str, request: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(request.encode()), 20)
    return output.decode(errors="replace")


def address(running: RunningRoom) -> str:
    return f"127.0.0.1:{running.room.listener.auth_port}"


@needs_eapol
@pytest.mark.parametrize("method", ["MSCHAPV2", "MD5"])
async def test_eapol_test_logs_in_and_a_wrong_password_does_not(
    database: Database, tmp_path: Path, method: str
) -> None:
    more = ["-n"] if method == "MD5" else []
    async with running_room(database, tmp_path) as running:
        port = running.room.listener.auth_port
        right = await eapol_test(tmp_path, port, network(method, "anna", password="hunter2"), *more)
        assert right.accepted, right.output
        assert right.keys_match == (method == "MSCHAPV2"), right.output
        wrong = await eapol_test(tmp_path, port, network(method, "anna", password="hunter3"), *more)
        assert not wrong.accepted
        assert "Access-Reject" in wrong.output
        nobody = await eapol_test(tmp_path, port, network(method, "nobody", password="hunter2"), *more)
        assert not nobody.accepted
        assert "Access-Reject" in nobody.output


@needs_eapol
async def test_eapol_test_with_another_shared_secret_gets_no_answer(database: Database, tmp_path: Path) -> None:
    async with running_room(database, tmp_path) as running:
        block = network("MSCHAPV2", "anna", password="hunter2")
        outcome = await eapol_test(tmp_path, running.room.listener.auth_port, block, secret="wrong", timeout_s=1)
        assert not outcome.accepted
        assert "Received RADIUS message" not in outcome.output
        assert running.room.counters.total("message-authenticator") > 0


@needs_freeradius
async def test_radclient_logs_in_by_ms_chap_version_1(database: Database, tmp_path: Path) -> None:
    async with running_room(database, tmp_path) as running:
        command = ("radclient", "-x", "-r", "1", "-t", "2", address(running), "auth", "testing123")
        answer = await output_of(*command, request='User-Name = "anna"\nMS-CHAP-Password = "hunter2"\n')
        assert "Received Access-Accept" in answer
        assert "MS-CHAP-MPPE-Keys = 0x" in answer
        refused = await output_of(*command, request='User-Name = "anna"\nMS-CHAP-Password = "wrong"\n')
        assert "Received Access-Reject" in refused
        assert "E=691 R=1 C=" in refused


@needs_freeradius
async def test_radeapclient_logs_in_by_eap_md5(database: Database, tmp_path: Path) -> None:
    # It knows no Nak: what it is offered first must be EAP-MD5.
    async with running_room(database, tmp_path, replace(EPHEMERAL, eap_methods=("md5",))) as running:
        command = ("radeapclient", "-x", address(running), "auth", "testing123")
        request = (
            'User-Name = "anna"\nCleartext-Password = "hunter2"\nEAP-Code = Response\nEAP-Id = 210\n'
            'EAP-Type-Identity = "anna"\nMessage-Authenticator = 0x00\n'
        )
        answer = await output_of(*command, request=request)
        assert "Received Access-Accept" in answer, answer
        refused = await output_of(*command, request=request.replace("hunter2", "wrong"))
        assert "Received Access-Accept" not in refused
        assert "Received Access-Reject" in refused, refused
