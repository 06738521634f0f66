"""FreeRADIUS's own client against our listener: it checks every authenticator of every answer itself."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from controller.domain.ports import Secret
from controller.store.engine import Database
from radius.nas_registry import NasChange
from tests.support import namespaces
from tests.support.radius import EPHEMERAL, RunningRoom, recording_room, register, running_room

pytestmark = pytest.mark.skipif(shutil.which("radclient") is None, reason="apt-get install freeradius-utils")


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    """SQLite alone: what the directory reads from either database is tested in tests/unit/radius/test_directory.py."""
    return sqlite_database


async def radclient(
    port: int, command: str, request: str, *, secret: str = "testing123", tries: int = 2, host: str = "127.0.0.1"
) -> str:
    """What `radclient -x` prints for one packet."""
    process = await asyncio.create_subprocess_exec(
        *("radclient", "-x", "-r", str(tries), "-t", "1", f"{host}:{port}", command, secret),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(request.encode()), 20)
    return output.decode()


async def test_pap_login_is_accepted_with_the_plan(database: Database, tmp_path: Path) -> None:
    async with running_room(database, tmp_path) as running:
        request = 'User-Name = "anna"\nUser-Password = "hunter2"\nMessage-Authenticator = 0x00\n'
        answer = await radclient(running.room.listener.auth_port, "auth", request)
        assert "Received Access-Accept" in answer
        assert 'Mikrotik-Rate-Limit = "20M/100M"' in answer, "the router receives what the subscriber sends: 20 up"
        assert "Framed-IP-Address = 100.64.0.7" in answer
        assert "Acct-Interim-Interval = 300" in answer
        first = answer.split("Received Access-Accept", 1)[1].splitlines()[1]
        assert "Message-Authenticator" in first, "first attribute: CVE-2024-3596"


async def test_pap_login_without_message_authenticator_is_served_by_default(database: Database, tmp_path: Path) -> None:
    async with running_room(database, tmp_path) as running:
        request = 'User-Name = "anna"\nUser-Password = "hunter2"\n'
        assert "Received Access-Accept" in await radclient(running.room.listener.auth_port, "auth", request)
        [nas] = await running.room.nas.list(after=None, limit=10)
        await running.room.nas.change(nas.nas_id, NasChange(require_message_authenticator=True), actor="user:test")
        if "Message-Authenticator" in (sent := await radclient(running.room.listener.auth_port, "auth", request)):
            # Newer radclients always sign; then the strict NAS is served too.
            assert "Received Access-Accept" in sent
        else:
            assert "No reply" in sent
            assert running.room.counters.total("message-authenticator-missing") >= 1


async def test_chap_login_is_accepted(database: Database, tmp_path: Path) -> None:
    async with running_room(database, tmp_path) as running:
        request = 'User-Name = "anna"\nCHAP-Password = "hunter2"\nMessage-Authenticator = 0x00\n'
        assert "Received Access-Accept" in await radclient(running.room.listener.auth_port, "auth", request)
        wrong = 'User-Name = "anna"\nCHAP-Password = "hunter3"\n'
        assert "Received Access-Reject" in await radclient(running.room.listener.auth_port, "auth", wrong)


async def test_wrong_password_is_rejected_and_signed(database: Database, tmp_path: Path) -> None:
    async with running_room(database, tmp_path) as running:
        request = 'User-Name = "anna"\nUser-Password = "wrong"\n'
        answer = await radclient(running.room.listener.auth_port, "auth", request)
        assert "Received Access-Reject" in answer
        assert "Message-Authenticator" in answer.split("Received Access-Reject", 1)[1]


async def test_wrong_secret_gets_silence(database: Database, tmp_path: Path) -> None:
    async with running_room(database, tmp_path) as running:
        request = 'User-Name = "anna"\nUser-Password = "hunter2"\nMessage-Authenticator = 0x00\n'
        answer = await radclient(running.room.listener.auth_port, "auth", request, secret="other", tries=1)
        assert "Received" not in answer
        assert running.room.counters.total("message-authenticator") == 1
        record = 'User-Name = "anna"\nAcct-Session-Id = "s1"\nAcct-Status-Type = Start\n'
        answer = await radclient(running.room.listener.acct_port, "acct", record, secret="other", tries=1)
        assert "Received" not in answer
        assert running.room.counters.total("authenticator") == 1
        assert running.recorder.packets == []


async def test_status_server_is_answered_on_both_ports(database: Database, tmp_path: Path) -> None:
    async with running_room(database, tmp_path) as running:
        status = "Message-Authenticator = 0x00\n"
        assert "Received Access-Accept" in await radclient(running.room.listener.auth_port, "status", status)
        assert "Received Accounting-Response" in await radclient(running.room.listener.acct_port, "status", status)


async def test_accounting_is_answered_when_recorded_with_proxy_state_in_order(
    database: Database, tmp_path: Path
) -> None:
    async with running_room(database, tmp_path) as running:
        record = (
            'User-Name = "anna"\nAcct-Session-Id = "s1"\nAcct-Status-Type = Start\n'
            "Proxy-State = 0x0102\nProxy-State = 0x00\nProxy-State = 0x0102\n"
        )
        answer = await radclient(running.room.listener.acct_port, "acct", record)
        received = answer.split("Received Accounting-Response", 1)[1]
        states = [line.split("= ")[1] for line in received.splitlines() if "Proxy-State" in line]
        assert states == ["0x0102", "0x00", "0x0102"]
        assert [packet.get(44) for packet in running.recorder.packets] == [b"s1"]


async def test_accounting_that_is_not_stored_is_not_answered(database: Database, tmp_path: Path) -> None:
    async with running_room(database, tmp_path) as running:
        running.recorder.at_once = False
        record = 'User-Name = "anna"\nAcct-Session-Id = "s1"\nAcct-Status-Type = Start\n'
        answer = await radclient(running.room.listener.acct_port, "acct", record, tries=3)
        assert "Received" not in answer
        assert len(running.recorder.packets) == 1, "its retransmissions are the same request"
        assert running.room.counters.total("in-flight") == 2


async def test_a_nas_added_while_running_is_served_at_once(database: Database, tmp_path: Path) -> None:
    async with running_room(database, tmp_path) as running:
        await _add_second_nas(running)
        request = 'User-Name = "anna"\nUser-Password = "hunter2"\nPacket-Src-IP-Address = 127.0.0.2\n'
        answer = await radclient(running.room.listener.auth_port, "auth", request, secret="other-secret")
        assert "Received Access-Accept" in answer
        assert "Mikrotik-Rate-Limit" not in answer.split("Received Access-Accept", 1)[1], "it is no MikroTik"


async def test_an_unknown_nas_gets_silence(database: Database, tmp_path: Path) -> None:
    async with running_room(database, tmp_path) as running:
        request = 'User-Name = "anna"\nUser-Password = "hunter2"\nPacket-Src-IP-Address = 127.0.0.3\n'
        answer = await radclient(running.room.listener.auth_port, "auth", request, tries=1)
        assert "Received" not in answer
        assert running.room.counters.total("unknown-nas") == 1


@pytest.mark.skipif(namespaces.why_not() is not None, reason=str(namespaces.why_not()))
async def test_every_address_of_both_families_is_served_when_bound_to_all(database: Database, tmp_path: Path) -> None:
    """An IPv4 NAS is known by its IPv4 address, not by ::ffff:127.0.0.1, and each is answered from where it asked."""
    with namespaces.network_namespace():
        async with running_room(database, tmp_path, replace(EPHEMERAL, host="::")) as running:
            await running.room.nas.register(
                name="six", address="::1", secret=Secret("other-secret"), vendor="rfc", actor="user:test"
            )
            login = 'User-Name = "anna"\nUser-Password = "hunter2"\n'
            record = 'User-Name = "anna"\nAcct-Session-Id = "s1"\nAcct-Status-Type = Start\n'
            for host, secret in (("127.0.0.1", "testing123"), ("[::1]", "other-secret")):
                answer = await radclient(running.room.listener.auth_port, "auth", login, secret=secret, host=host)
                assert "Received Access-Accept" in answer, answer
                answer = await radclient(running.room.listener.acct_port, "acct", record, secret=secret, host=host)
                assert "Received Accounting-Response" in answer, answer
            assert running.room.counters.total("unknown-nas") == 0


async def test_rfc5997_status_server_gets_silence_on_the_accounting_port_while_nothing_can_be_stored(
    database: Database, tmp_path: Path
) -> None:
    async with running_room(database, tmp_path) as running:
        running.recorder.can_commit = False
        status = "Message-Authenticator = 0x00\n"
        assert "Received" not in await radclient(running.room.listener.acct_port, "status", status, tries=1)
        assert "Received Access-Accept" in await radclient(running.room.listener.auth_port, "status", status)
        running.recorder.can_commit = True
        assert "Received Accounting-Response" in await radclient(running.room.listener.acct_port, "status", status)


async def test_rfc5997_a_locked_storage_is_silence_and_a_free_one_an_answer(database: Database, tmp_path: Path) -> None:
    async with recording_room(database, tmp_path) as running:
        await register(running.room, address="127.0.0.1")
        port, status = running.room.listener.acct_port, "Message-Authenticator = 0x00\n"
        assert "Received Accounting-Response" in await radclient(port, "status", status)
        other = sqlite3.connect(str(database.url.database), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert "Received" not in await radclient(port, "status", status, tries=1)
        assert "Received Access-Accept" in await radclient(running.room.listener.auth_port, "status", status)
        other.execute("ROLLBACK")
        other.close()
        assert "Received Accounting-Response" in await radclient(port, "status", status)


async def test_a_record_signed_by_freeradius_s_own_client_is_taken(database: Database, tmp_path: Path) -> None:
    async with running_room(database, tmp_path) as running:
        record = 'User-Name = "anna"\nAcct-Session-Id = "s1"\nAcct-Status-Type = Start\n'
        signed = record + "Message-Authenticator = 0x00\n"
        assert "Received Accounting-Response" in await radclient(running.room.listener.acct_port, "acct", signed)
        assert 80 in running.recorder.packets[0].offsets


async def _add_second_nas(running: RunningRoom) -> None:
    await running.room.nas.register(
        name="lab", address="127.0.0.2", secret=Secret("other-secret"), vendor="rfc", actor="user:test"
    )
