"""A site moves: what FreeRADIUS answered and counted from its SQL tables, we answer and know after one import."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from controller.app.freeradius import importer
from controller.domain.identity import ServiceId
from controller.domain.service import SpeedProfile
from controller.store import audit
from controller.store.engine import Database
from radius.accounting.views import SessionFilter
from radius.freeradius import report
from radius.freeradius.importer import Outcome
from radius.freeradius.source import Source
from tests.support.databases import PostgresServer
from tests.support.freeradius_sql import SCHEMAS, SqlRadius, sql_radius, why_not
from tests.support.radclient import MISSING, RADCLIENT, radclient
from tests.support.radius import EPHEMERAL, RecordingRoom, recording_room, secret_box

pytestmark = [
    pytest.mark.skipif(RADCLIENT is None, reason=MISSING),
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

SECRET = "correct-horse-battery-staple"
UNSHAPED = SpeedProfile("1g-1g", 10**9, 10**9)

ROWS = """
INSERT INTO nas (nasname, shortname, type, secret) VALUES
  ('127.0.0.1', 'bras-1', 'mikrotik', 'correct-horse-battery-staple'), ('10.0.0.2', 'bras-2', 'other', 'testing123'),
  ('bras3.example.net', 'bras-3', 'other', 'another-long-secret-here');
INSERT INTO radcheck (username, attribute, op, value) VALUES
  ('anna', 'Cleartext-Password', ':=', 'hunter2'), ('anna', 'Simultaneous-Use', ':=', '2'),
  ('berta', 'Cleartext-Password', ':=', 'p"ss w''rd'), ('berta', 'Calling-Station-Id', '==', '02-00-5E-10-00-01'),
  ('carla', 'NT-Password', ':=', '0x8846f7eaee8fb117ad06bdd830b7586c'),
  ('dora', 'Cleartext-Password', ':=', 'gone'), ('dora', 'Auth-Type', ':=', 'Reject'),
  ('emil', 'Crypt-Password', ':=', '$1$saltsalt$ZliGyAN3DciDHEkDboonh/'),
  ('lola', 'SSHA-Password', ':=', '80af9f145ba3aa7c1e4e9c0243b4a9d36810c42273616c74'),
  ('frida', 'Cleartext-Password', ':=', 'plain'),
  ('gerda', 'Cleartext-Password', '==', 'compared'),
  ('hugo', 'Cleartext-Password', '+=', 'first'), ('hugo', 'Cleartext-Password', ':=', 'second'),
  ('ida', 'Cleartext-Password', ':=', 'plain'), ('ida', 'Framed-Protocol', '==', 'PPP'),
  ('jan', 'Cleartext-Password', ':=', 'plain'), ('jan', 'NAS-IP-Address', '==', '10.0.0.1');
INSERT INTO radreply (username, attribute, op, value) VALUES
  ('anna', 'Framed-IP-Address', ':=', '100.64.9.7'), ('anna', 'Session-Timeout', ':=', '7200'),
  ('berta', 'Mikrotik-Rate-Limit', ':=', '5M/20M'), ('berta', 'Delegated-IPv6-Prefix', ':=', '2001:db8:7::/56'),
  ('frida', 'Framed-MTU', ':=', '1492'), ('frida', 'No-Such-Attribute', ':=', 'x'),
  ('hugo', 'Filter-Id', '=', 'own'), ('hugo', 'Framed-MTU', '+=', '1012'), ('hugo', 'Reply-Message', '=', 'one'),
  ('hugo', 'Reply-Message', ':=', 'two'), ('hugo', 'Fall-Through', '=', 'Yes'), ('gerda', 'Filter-Id', ':=', 'x'),
  ('karl', 'Filter-Id', ':=', 'not-read');
INSERT INTO radusergroup (username, groupname, priority) VALUES
  ('anna', 'gold', 1), ('anna', 'staff', 2), ('berta', 'gold', 1), ('carla', 'gold', 1), ('dora', 'gold', 1),
  ('hugo', 'mixed', 1), ('hugo', 'more', 2), ('ida', 'wired', 1), ('ida', 'gold', 2), ('karl', 'open', 1);
INSERT INTO radgroupcheck (groupname, attribute, op, value) VALUES
  ('wired', 'NAS-Port-Id', '==', 'ether1'), ('open', 'Cleartext-Password', ':=', 'of-a-group');
INSERT INTO radgroupreply (groupname, attribute, op, value) VALUES
  ('gold', 'Mikrotik-Rate-Limit', '=', '10M/50M'), ('gold', 'Session-Timeout', '=', '3600'),
  ('gold', 'Idle-Timeout', '=', '600'), ('gold', 'Acct-Interim-Interval', '=', '600'),
  ('gold', 'Service-Type', '=', 'Framed-User'), ('gold', 'Framed-Protocol', '=', 'PPP'),
  ('gold', 'Framed-Pool', '=', 'residential'), ('gold', 'Mikrotik-Address-List', '=', 'customers'),
  ('staff', 'Filter-Id', '=', 'never-reached'), ('wired', 'Filter-Id', '=', 'wired'),
  ('mixed', 'Framed-MTU', '=', '1032'), ('mixed', 'Framed-MTU', ':=', '1049'), ('mixed', 'Framed-MTU', '=', '1025'),
  ('mixed', 'Reply-Message', '==', 'two'), ('mixed', 'Fall-Through', '=', 'Yes'),
  ('more', 'Filter-Id', ':=', 'replaced'), ('more', 'Filter-Id', '+=', 'added'), ('more', 'Reply-Message', '=', 'no');
"""

LOGINS = {
    "anna by PAP": 'User-Name = "anna"\nUser-Password = "hunter2"\n',
    "anna by CHAP": 'User-Name = "anna"\nCHAP-Password = "hunter2"\n',
    "anna by a wrong password": 'User-Name = "anna"\nUser-Password = "hunter3"\n',
    "berta from her station": (
        'User-Name = "berta"\nUser-Password = "p\\"ss w\'rd"\nCalling-Station-Id = "02-00-5E-10-00-01"\n'
    ),
    "berta from another": (
        'User-Name = "berta"\nUser-Password = "p\\"ss w\'rd"\nCalling-Station-Id = "02-00-5E-10-00-02"\n'
    ),
    "carla by PAP against her NT hash": 'User-Name = "carla"\nUser-Password = "password"\n',
    "dora, who is locked": 'User-Name = "dora"\nUser-Password = "gone"\n',
    "emil against what crypt made of his password": 'User-Name = "emil"\nUser-Password = "hunter2"\n',
    "lola against her salted SHA-1": 'User-Name = "lola"\nUser-Password = "hunter2"\n',
    "lola by a wrong password": 'User-Name = "lola"\nUser-Password = "hunter3"\n',
    "gerda, whose password is compared": 'User-Name = "gerda"\nUser-Password = "compared"\n',
    "hugo, with every operator": 'User-Name = "hugo"\nUser-Password = "first"\n',
    "hugo by the second of his passwords": 'User-Name = "hugo"\nUser-Password = "second"\n',
    "ida beside her first group": 'User-Name = "ida"\nUser-Password = "plain"\nFramed-Protocol = PPP\n',
    "jan at another NAS": 'User-Name = "jan"\nUser-Password = "plain"\n',
    "karl by his group's password": 'User-Name = "karl"\nUser-Password = "of-a-group"\n',
    "nobody": 'User-Name = "nobody"\nUser-Password = "x"\n',
}

RECORD = """User-Name = "anna"
Acct-Session-Id = "81e0{number}"
Acct-Status-Type = {status}
Acct-Session-Time = {seconds}
Acct-Input-Octets = 1000
Acct-Output-Octets = 5000
Acct-Output-Gigawords = 1
Framed-IP-Address = 100.64.9.7
Calling-Station-Id = "02-00-5E-10-00-09"
NAS-IP-Address = 127.0.0.1
NAS-Port-Id = "ether7"
Acct-Terminate-Cause = User-Request
"""


@dataclass(frozen=True)
class Site:
    """FreeRADIUS's own answers, and the address of its database."""

    url: str
    answers: dict[str, tuple[str, frozenset[str]]]


def answer(port: int, request: str) -> tuple[str, frozenset[str]]:
    """The kind of the reply and its attributes, as radclient prints them."""
    _, found, received = radclient(port, "auth", request, SECRET).partition("Received ")
    assert found, "there was an answer"
    lines = [line.strip() for line in received.split("\n")[1:] if line.startswith("\t")]
    return received.split(" ", 1)[0], frozenset(line for line in lines if not line.startswith("Message-Authenticator"))


def plain(attributes: frozenset[str]) -> set[str]:
    """Those that neither side makes of anything else."""
    return {line for line in attributes if line.startswith(("Filter-Id", "Framed-MTU", "Reply-Message"))}


@pytest.fixture(scope="module")
def site(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    postgres.create("radius")
    url = postgres.dsn("radius")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute((SCHEMAS / "postgresql/schema.sql").read_text().encode())
        connection.execute(ROWS.encode())
    with sql_radius(tmp_path_factory.mktemp("radius") / "etc", postgres.port, "radius") as running:
        answers = {name: answer(running.auth_port, request) for name, request in LOGINS.items()}
        _account(running)
        yield Site(url, answers)


def _account(running: SqlRadius) -> None:
    """Two that ended and one that is open still, in radacct."""
    for number, statuses in (("1", ("Start", "Stop")), ("2", ("Start", "Interim-Update", "Stop")), ("3", ("Start",))):
        for seconds, status in enumerate(statuses):
            record = RECORD.format(number=number, status=status, seconds=seconds * 60)
            assert "Received Accounting-Response" in radclient(running.acct_port, "acct", record, SECRET)


async def bring(running: RecordingRoom, database: Database, directory: Path, url: str, *, dry_run: bool) -> Outcome:
    imports = importer(database, secret_box(directory), running.room)
    return await imports.run(Source(url), UNSHAPED, actor="user:test", dry_run=dry_run)


async def test_users_are_answered_as_before_and_sessions_are_known_but_not_billed(
    site: Site, database: Database, tmp_path: Path
) -> None:
    async with recording_room(database, tmp_path, EPHEMERAL) as running:
        await bring(running, database, tmp_path, site.url, dry_run=False)
        port = running.room.listener.auth_port
        for name, request in LOGINS.items():
            kind, attributes = await _ask(port, request)
            assert kind == site.answers[name][0], name
            if kind == "Access-Accept":
                assert site.answers[name][1] <= attributes, name
                assert plain(attributes) == plain(site.answers[name][1]), name
        assert {name for name, (kind, _) in site.answers.items() if kind == "Access-Accept"} == {
            "anna by PAP", "anna by CHAP", "berta from her station", "carla by PAP against her NT hash",
            "emil against what crypt made of his password", "lola against her salted SHA-1",
            "hugo, with every operator", "ida beside her first group", "karl by his group's password",
        }  # fmt: skip
        known = await running.sessions.find(SessionFilter(username="anna"), before=None, limit=10)
        assert {(one.acct_session_id, one.upstream_octets, one.downstream_octets) for one in known} == {
            (b"81e01", 1_000, 5_000 + 2**32),
            (b"81e02", 1_000, 5_000 + 2**32),
        }
        assert {one.framed_ipv4 for one in known} == {"100.64.9.7"}
        assert all(one.service_id == running.room.directory.service_of(b"anna") for one in known)
        async with database.read() as conn:
            assert (await conn.exec_driver_sql("SELECT COUNT(*) FROM store_usage_record")).scalar() == 0


async def _ask(port: int, request: str) -> tuple[str, frozenset[str]]:
    return await asyncio.to_thread(answer, port, request)


async def test_a_dry_run_tells_everything_and_writes_nothing(site: Site, database: Database, tmp_path: Path) -> None:
    async with recording_room(database, tmp_path, EPHEMERAL) as running:
        outcome = await bring(running, database, tmp_path, site.url, dry_run=True)
        told = report.text(outcome, Source(site.url).shown, dry_run=True)
        async with database.read() as conn:
            assert await audit.entries(conn, before=None, limit=10) == []
    for sentence in (
        "         2  NAS new",
        "        11  login new",
        "         2  sessions of the past, 8589946592 octets; they are not billed",
        "         1  sessions still open there: their next record opens them here",
        "         8  in clear",
        "         1  NT hash (no CHAP)",
        "         1  Crypt-Password (PAP alone, until a new password is set)",
        "         1  SSHA-Password (PAP alone, until a new password is set)",
        "weak: a secret that everybody tries first: bras-2",
        "the NAS is named by a host name: give its address: bras3.example.net",
        "reply No-Such-Attribute: no attribute 'No-Such-Attribute' in the dictionaries",
        "told no speed: gets the profile 1g-1g: emil, frida, hugo, jan, karl and 1 more",
        "Cleartext-Password == lets nobody in there, only := would: no login: gerda",
        "check NAS-IP-Address ==: cannot be asked here: the login is not enabled: jan",
        "group wired holds only for some requests (NAS-Port-Id == ether1): it is not given: ida",
        "radreply of a user who is not in radcheck is not read there: karl",
        "Nothing was written.",
    ):
        assert sentence in told, told
    assert "hunter2" not in told
    assert SECRET not in told


async def test_importing_again_changes_nothing_but_what_changed(site: Site, database: Database, tmp_path: Path) -> None:
    async with recording_room(database, tmp_path, EPHEMERAL) as running:
        first = await bring(running, database, tmp_path, site.url, dry_run=False)
        assert first.done == {"NAS new": 2, "login new": 11}
        assert (first.sessions.imported, first.sessions.known) == (2, 0)
        async with database.read() as conn:
            entries = len(await audit.entries(conn, before=None, limit=100))
        assert entries >= 2 + 11 + 11
        again = await bring(running, database, tmp_path, site.url, dry_run=False)
        assert again.done == {"NAS unchanged": 2, "login unchanged": 11}
        assert (again.sessions.imported, again.sessions.known) == (0, 2)
        async with database.read() as conn:
            assert len(await audit.entries(conn, before=None, limit=100)) == entries
        with psycopg.connect(site.url, autocommit=True) as connection:
            connection.execute("UPDATE radcheck SET value = 'new' WHERE username = 'frida'")
        third = await bring(running, database, tmp_path, site.url, dry_run=False)
        with psycopg.connect(site.url, autocommit=True) as connection:
            connection.execute("UPDATE radcheck SET value = 'plain' WHERE username = 'frida'")
        assert third.done == {"NAS unchanged": 2, "login unchanged": 10, "login changed": 1}
        jan = running.room.directory.service_of(b"jan")
        assert jan is not None
        await running.room.subscribers.set_enabled(service_id=ServiceId(jan), enabled=True, actor="user:test")
        await bring(running, database, tmp_path, site.url, dry_run=False)
        opened = running.room.directory.find(b"jan")
        assert opened is not None
        assert opened.enabled, "whoever looked at it and opened it has decided"
