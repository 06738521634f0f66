"""Sources of an import beside PostgreSQL: a dump of MySQL, an SQLite file; and what is refused with a reason."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from controller.app import freeradius
from controller.app.settings import Settings
from controller.domain.clock import MovableClock
from controller.domain.errors import RuleError
from controller.domain.service import SpeedProfile
from controller.store.engine import Database
from controller.store.metadata import from_micros
from controller.store.usage_reader import UsageLogReader
from radius.accounting.tables import history
from radius.accounting.whois import Whois
from radius.freeradius import mapping, mysql_dump, sessions, speeds
from radius.freeradius.hours import hours
from radius.freeradius.model import why_weak
from radius.freeradius.source import Row, Source, Tables

UNSHAPED = SpeedProfile("1g-1g", 10**9, 10**9)
DUMP = r"""-- MySQL dump 10.19  Distrib 10.11
/*!40101 SET NAMES utf8mb4 */;
DROP TABLE IF EXISTS `radcheck`;
CREATE TABLE `radcheck` (
  `id` int(11) unsigned NOT NULL AUTO_INCREMENT,
  `username` varchar(64) NOT NULL DEFAULT '',
  `attribute` varchar(64) NOT NULL DEFAULT '',
  `op` char(2) NOT NULL DEFAULT '==',
  `value` varchar(253) NOT NULL DEFAULT '',
  PRIMARY KEY (`id`),
  KEY `username` (`username`(32))
) ENGINE=InnoDB DEFAULT CHARSET=latin1;
INSERT INTO `radcheck` VALUES (1,'anna','Cleartext-Password',':=','it\'s \\ (so), ok;\n'),(2,'berta','Cleartext-Password',':=','b''b');
INSERT INTO `radreply` (`id`, `username`, `attribute`, `op`, `value`) VALUES (7,'anna','Mikrotik-Rate-Limit',':=','10M/50M 20M/100M');
INSERT INTO `radacct` (`radacctid`,`acctsessionid`,`acctstoptime`,`acctinputoctets`) VALUES (1,'s1',NULL,-1),(2,'s2','2026-10-01 10:00:00',17);
"""  # noqa: E501 - as mysqldump writes it


def test_a_dump_of_mysql_is_read_with_its_escapes_and_the_columns_that_its_tables_named(tmp_path: Path) -> None:
    (tmp_path / "radius.sql").write_text(DUMP)
    source = Source(str(tmp_path / "radius.sql"))
    tables = source.tables()
    assert [row["value"] for row in tables["radcheck"]] == ["it's \\ (so), ok;\n", "b'b"]
    assert tables["radreply"][0]["attribute"] == "Mikrotik-Rate-Limit"
    assert [(row["acctsessionid"], row["acctstoptime"]) for row in source.sessions()] == [
        ("s1", None),
        ("s2", "2026-10-01 10:00:00"),
    ]


def test_rows_are_read_however_the_dump_was_made() -> None:
    replaced = ["REPLACE INTO `nas` (`id`,`secret`) VALUES\n", "(1,0x613b62),\n", "(2,NULL);\n"]
    assert [row for _, row in mysql_dump.rows(replaced, ("nas",))] == [
        {"id": "1", "secret": "a;b"}, {"id": "2", "secret": None},
    ]  # fmt: skip
    with pytest.raises(RuleError, match="no columns of nas are named: dump with its CREATE TABLE statements"):
        list(mysql_dump.rows(["INSERT INTO `nas` VALUES (1);\n"], ("nas",)))


def test_a_file_without_a_row_of_the_schema_is_no_empty_site(tmp_path: Path) -> None:
    (tmp_path / "radius.sql.gz").write_bytes(b"\x1f\x8b\x08packed")
    with pytest.raises(RuleError, match="give what mysqldump wrote, unpacked"):
        Source(str(tmp_path / "radius.sql.gz")).tables()


def test_a_row_that_does_not_fit_its_columns_is_refused_with_its_line() -> None:
    lines = ["INSERT INTO `nas` (`id`,`nasname`) VALUES (1);\n"]
    with pytest.raises(RuleError, match="line 1: nas has 2 columns, and a row 1 values"):
        list(mysql_dump.rows(lines, ("nas",)))
    with pytest.raises(RuleError, match="line 1: a value of this INSERT cannot be read"):
        list(mysql_dump.rows(["INSERT INTO `nas` (`id`) VALUES (NOW());\n"], ("nas",)))


@given(st.text(alphabet="INSERTO `nas`()',\\;0x12\n -VALUE"), st.text(max_size=40))
def test_no_dump_makes_it_raise_anything_else(middle: str, end: str) -> None:
    lines = ["INSERT INTO `nas` (`id`) VALUES " + middle + "\n", end + ";\n"]
    refused, found = "", list[tuple[str, object]]()
    try:
        found += mysql_dump.rows(lines, ("nas",))
    except RuleError as error:
        refused = str(error)
    assert not refused or "line " in refused
    assert all(table == "nas" for table, _ in found)


def test_an_sqlite_file_of_the_schema_is_read(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "radius.db")) as made:
        for table in ("radcheck", "radreply"):
            made.execute(f"CREATE TABLE {table} (id INTEGER, UserName TEXT, Attribute TEXT, op TEXT, Value TEXT)")
        for table in ("radgroupcheck", "radgroupreply"):
            made.execute(f"CREATE TABLE {table} (id INTEGER, GroupName TEXT, Attribute TEXT, op TEXT, Value TEXT)")
        made.execute("CREATE TABLE radusergroup (UserName TEXT, GroupName TEXT, priority INTEGER)")
        made.execute("CREATE TABLE nas (id INTEGER, nasname TEXT, shortname TEXT, type TEXT, secret TEXT)")
        made.execute("CREATE TABLE radacct (RadAcctId INTEGER, AcctSessionId TEXT)")
        made.execute("INSERT INTO radcheck VALUES (1, 'anna', 'Cleartext-Password', ':=', 'hunter2')")
        made.commit()
    found = mapping.wanted(Source(f"sqlite://{tmp_path}/radius.db").tables(), UNSHAPED)
    assert [(one.username, one.profile) for one in found.logins] == [("anna", UNSHAPED)]


def test_a_source_that_is_none_says_so(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="mysql:// is not read"):
        Source("mysql://root@localhost/radius")
    with pytest.raises(RuleError, match="is no file"):
        Source(str(tmp_path / "nothing.sql"))
    with closing(sqlite3.connect(tmp_path / "other.db")) as made:
        made.execute("CREATE TABLE x (y)")
    with pytest.raises(RuleError, match="is no FreeRADIUS schema"):
        Source(str(tmp_path / "other.db")).tables()
    assert "s3cret" not in Source("postgresql://radius:s3cret@db.example/radius").shown


def tables(**rows: Sequence[tuple[str, ...]]) -> Tables:
    """radcheck and the like as (whose, attribute, op, value); radusergroup as (user, group, priority)."""
    made = Tables()
    for table, lines in rows.items():
        key = "groupname" if table.startswith("radgroup") else "username"
        names = ("username", "groupname", "priority") if table == "radusergroup" else (key, "attribute", "op", "value")
        made.rows[table] = [dict(zip(names, line, strict=True)) for line in lines]
    return made


PASSWORD = ("anna", "Cleartext-Password", ":=", "x")


def test_a_second_group_is_given_only_where_the_first_falls_through() -> None:
    groups = [("anna", "a", "1"), ("anna", "b", "2")]
    given = [("a", "Framed-Pool", "=", "one"), ("b", "Framed-Pool", ":=", "two"), ("b", "Filter-Id", "=", "f")]
    stops = mapping.wanted(tables(radcheck=[PASSWORD], radusergroup=groups, radgroupreply=given), UNSHAPED)
    assert stops.logins[0].terms["pool"] == "one"
    assert "reply_attributes" not in stops.logins[0].terms
    falls = [*given, ("a", "Fall-Through", "=", "Yes")]
    goes_on = mapping.wanted(tables(radcheck=[PASSWORD], radusergroup=groups, radgroupreply=falls), UNSHAPED)
    assert goes_on.logins[0].terms["pool"] == "two"
    assert goes_on.logins[0].terms["reply_attributes"] == [{"name": "Filter-Id", "value": "f"}]


def test_a_group_that_depends_on_the_request_is_given_to_nobody_and_said() -> None:
    found = mapping.wanted(
        tables(
            radcheck=[PASSWORD],
            radusergroup=[("anna", "wifi", "1")],
            radgroupcheck=[("wifi", "NAS-IP-Address", "==", "10.0.0.1")],
            radgroupreply=[("wifi", "Framed-Pool", "=", "one")],
        ),
        UNSHAPED,
    )
    assert "pool" not in found.logins[0].terms
    assert any("group wifi holds only for some requests" in remark for remark in found.findings.remarks)


def test_a_binding_of_a_group_binds_nobody() -> None:
    """There it says when the group is given, and everybody else is let in without it."""
    found = mapping.wanted(
        tables(
            radcheck=[PASSWORD],
            radusergroup=[("anna", "wired", "1")],
            radgroupcheck=[("wired", "NAS-Port-Id", "==", "ether1")],
        ),
        UNSHAPED,
    )
    assert found.logins[0].enabled
    assert "nas_port_id" not in found.logins[0].terms


@pytest.mark.parametrize(
    ("line", "enabled"),
    [
        (("Service-Type", "==", "Framed-User"), True),
        (("Calling-Station-Id", "==", "02-00-5E-10-00-01"), True),
        (("Calling-Station-Id", "=~", "^02"), False),
        (("Huntgroup-Name", "==", "north"), False),
        (("Simultaneous-Use", "=", "2"), False),
        (("Login-Time", ":=", "Never"), False),
        (("Auth-Type", "=", "Reject"), False),
        (("Auth-Type", ":=", "PAP"), True),
    ],
)
def test_what_cannot_be_asked_here_never_opens_a_door(line: tuple[str, str, str], enabled: bool) -> None:
    found = mapping.wanted(tables(radcheck=[PASSWORD, ("anna", *line)]), UNSHAPED)
    assert [login.enabled for login in found.logins] == [enabled]


def test_terms_that_cannot_be_leave_the_login_out_and_not_its_conditions() -> None:
    bound = ("anna", "Calling-Station-Id", "==", "02-00-5E-10-00-01")
    timer = ("anna", "Session-Timeout", ":=", "99999999999")
    found = mapping.wanted(tables(radcheck=[PASSWORD, bound], radreply=[timer]), UNSHAPED)
    assert found.logins == []
    assert any("no login" in remark for remark in found.findings.remarks)


OPERATORS = st.sampled_from([":=", "=", "+=", "==", "!=", "=~", "", "?"])
VALUES = st.text(max_size=12) | st.sampled_from(
    ["²", "٣", "-1", "9" * 30, "1.2.3.4", "2001:db8::/56", "10M/50M", "0x", "Yes"]
)
ATTRIBUTES = st.sampled_from(
    [
        "Cleartext-Password", "NT-Password", "Crypt-Password", "Auth-Type", "Simultaneous-Use", "Login-Time",
        "Calling-Station-Id", "Framed-IP-Address", "Framed-IPv6-Prefix", "Session-Timeout", "Acct-Interim-Interval",
        "Mikrotik-Rate-Limit", "WISPr-Bandwidth-Max-Down", "Framed-Pool", "Fall-Through", "Filter-Id", "Class", "\0",
    ]
)  # fmt: skip
LINES = st.lists(st.tuples(st.sampled_from(["anna", "b\0", ""]), ATTRIBUTES, OPERATORS, VALUES), max_size=5)


@settings(max_examples=50)
@given(LINES, LINES, LINES, VALUES, st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=3))
def test_no_rows_make_the_mapping_raise(
    check: list[tuple[str, str, str, str]],
    reply: list[tuple[str, str, str, str]],
    group_reply: list[tuple[str, str, str, str]],
    priority: str,
    nas: list[tuple[str, str, str]],
) -> None:
    groups = [("anna", "anna", priority)]
    made = tables(radcheck=check, radreply=reply, radusergroup=groups, radgroupreply=group_reply, radgroupcheck=check)
    made.rows["nas"] = [{"nasname": name, "secret": secret, "type": kind} for name, secret, kind in nas]
    for row in made.rows["radcheck"]:
        row["id"] = priority
    found = mapping.wanted(made, UNSHAPED)
    assert all(login.username and login.password.reveal() for login in found.logins)


def test_speeds_are_read_in_the_attributes_of_several_vendors() -> None:
    assert speeds.take({"WISPr-Bandwidth-Max-Down": "50000000", "WISPr-Bandwidth-Max-Up": "10000000"})[0] == (
        SpeedProfile("50m-10m", 50_000_000, 10_000_000)
    )
    made, _, lost = speeds.take({"Mikrotik-Rate-Limit": "512k/2M 1M/4M"})
    assert made == SpeedProfile("2m-512k", 2_000_000, 512_000)
    assert "burst" in lost
    assert speeds.take({"Mikrotik-Rate-Limit": "fast"})[0] is None
    assert speeds.take({"Mikrotik-Rate-Limit": f"{'9' * 20}G/1G"})[0] is None


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Wk0800-1800,Sa0900-1200", ["mo-fr 08:00-18:00", "sa 09:00-12:00"]),
        ("Al", []),
        ("Mo-We2200-0600", ["mo-we 22:00-06:00"]),
        ("Never", None),
        ("Wk0800-2560", None),
    ],
)
def test_login_time_becomes_hours(written: str, meant: list[str] | None) -> None:
    assert hours(written) == meant


def test_weak_secrets_are_known() -> None:
    assert why_weak("testing123") == "a secret that everybody tries first"
    assert why_weak("short-one") == "a secret of fewer than 16 octets (RFC 2865 §3)"
    assert why_weak("correct-horse-battery-staple") is None


HOSTILE: Row = {
    "acctsessionid": "s1", "acctuniqueid": "u1", "username": "anna", "nasipaddress": "10.0.0.1",
    "acctstarttime": "2026-07-01 12:00:00", "acctstoptime": "2026-07-01 13:00:00", "acctsessiontime": "3600",
    "acctinputoctets": "17", "acctoutputoctets": "99999999999",
}  # fmt: skip


def nobody(_username: str) -> str | None:
    return None


async def test_times_of_mysql_are_of_its_hosts_zone(database: Database) -> None:
    zone = ZoneInfo("Europe/Berlin")
    rows = [HOSTILE, HOSTILE | {"acctuniqueid": "u2", "acctstoptime": "2026-07-01 13:00:00+00:00"}]
    counts = await sessions.bring(database, rows, lambda _: "n" * 32, nobody, zone=zone, dry_run=False)
    assert counts.imported == 2
    async with database.read() as conn:
        ends = (await conn.execute(select(history.c.ended_us).order_by(history.c.ended_us))).scalars().all()
    assert [from_micros(end) for end in ends] == [
        datetime(2026, 7, 1, 11, tzinfo=UTC), datetime(2026, 7, 1, 13, tzinfo=UTC),
    ]  # fmt: skip


async def test_rows_that_were_read_in_another_zone_are_put_right_and_not_doubled(database: Database) -> None:
    rows = [HOSTILE, HOSTILE | {"acctuniqueid": ""}, HOSTILE | {"acctuniqueid": "u3", "acctsessionid": "s2"}]
    for zone, (imported, known, moved) in ((UTC, (3, 0, 0)), (UTC, (0, 3, 0)), (ZoneInfo("Asia/Tokyo"), (0, 0, 3))):
        counts = await sessions.bring(database, rows, lambda _: "n" * 32, nobody, zone=zone, dry_run=False)
        assert (counts.imported, counts.known, counts.moved) == (imported, known, moved)
    async with database.read() as conn:
        starts = (await conn.execute(select(history.c.started_us))).scalars().all()
    assert [from_micros(start) for start in starts] == [datetime(2026, 7, 1, 3, tzinfo=UTC)] * 3


async def test_prefixes_of_imported_sessions_are_found_by_whois(database: Database) -> None:
    told = {"framedipv6prefix": "2001:db8:1::/64", "delegatedipv6prefix": "2001:db8:ab00::/56", "framedipv6address": ""}
    for zone in (ZoneInfo("Asia/Tokyo"), UTC):
        await sessions.bring(database, [HOSTILE | told], lambda _: "n" * 32, nobody, zone=zone, dry_run=False)
    whois = Whois(database, MovableClock(datetime(2026, 8, 1, tzinfo=UTC)), UsageLogReader(database))
    for address, hour, kinds in (
        ("2001:db8:1::7", 12, ["framed-prefix"]), ("2001:db8:ab00:17::1", 12, ["delegated-prefix"]),
        ("2001:db8:1::7", 13, []), ("2001:db8:1::7", 3, []),
    ):  # fmt: skip
        found = await whois.ask(address, None, datetime(2026, 7, 1, hour, 0, tzinfo=UTC), actor="user:test")
        assert [one.kind for one in found] == kinds, (address, hour)


def test_a_schema_without_radacct_has_no_sessions(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "radius.db")) as made:
        made.execute("CREATE TABLE radcheck (id INTEGER, username TEXT, attribute TEXT, op TEXT, value TEXT)")
    assert list(Source(str(tmp_path / "radius.db")).sessions()) == []


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(sorted(HOSTILE)), VALUES | st.just("x" * 300) | st.none()), max_size=3))
async def test_no_row_of_radacct_makes_an_import_fail(
    database: Database, changes: list[tuple[str, str | None]]
) -> None:
    row = HOSTILE | dict(changes)
    counts = await sessions.bring(database, [row], lambda _: "n" * 32, nobody, zone=UTC, dry_run=False)
    assert counts.imported + counts.known + counts.moved + counts.still_open + sum(counts.left.values()) == 1


async def test_a_data_directory_that_is_not_there_or_not_migrated_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "radius.sql").write_text(DUMP)
    settings = Settings(data_dir=tmp_path / "data")
    with pytest.raises(RuleError, match="headend migrate, or headend serve, makes it"):
        await freeradius.bring(settings, str(tmp_path / "radius.sql"), "1G/1G", "user:test", dry_run=True)
    (tmp_path / "data").mkdir(mode=0o700)
    with pytest.raises(RuleError, match="headend migrate brings it up to date"):
        await freeradius.bring(settings, str(tmp_path / "radius.sql"), "1G/1G", "user:test", dry_run=True)
