"""FreeRADIUS 3.2 as the peer: configured for the same work as ours, started on free ports of 127.0.0.1.

Two set-ups: users in `files` for PAP or MS-CHAP, and `rlm_sql` into PostgreSQL's radacct for accounting. Both are lean
(no realm, EAP or detail modules) and reply with the attributes that ours replies with.
"""

from __future__ import annotations

import ipaddress
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psycopg

RADDB = Path("/etc/freeradius/3.0")
BINARY = shutil.which("freeradius") or shutil.which("radiusd")
SECRET = "testing123"

PROFILE = (
    "Service-Type = Framed-User",
    "Framed-Protocol = PPP",
    "Session-Timeout = 86400",
    "Idle-Timeout = 3600",
    "Acct-Interim-Interval = 300",
    "Class = 0x63313a676f6c642d313030",
    'Mikrotik-Rate-Limit = "100M/100M"',
)

_CONFIGURATION = """
prefix = /usr
logdir = {directory}/log
raddbdir = {raddb}
radacctdir = {directory}/log/radacct
confdir = {raddb}
modconfdir = {raddb}/mods-config
certdir = {raddb}/certs
cadir = {raddb}/certs
run_dir = {directory}
libdir = /usr/lib/freeradius
pidfile = {directory}/pid
name = bench
max_request_time = 30
cleanup_delay = 5
max_requests = 262144
hostname_lookups = no
log {{
  destination = files
  file = {directory}/log/radius.log
  auth = no
}}
security {{
  allow_core_dumps = no
  max_attributes = 200
  reject_delay = 0
  status_server = yes
}}
proxy_requests = no
client lo {{
  ipaddr = 127.0.0.0/8
  secret = {secret}
  require_message_authenticator = no
}}
thread pool {{
  start_servers = {threads}
  max_servers = {threads}
  min_spare_servers = 1
  max_spare_servers = {threads}
  max_requests_per_server = 0
}}
modules {{
  $INCLUDE {raddb}/mods-available/always
  $INCLUDE {raddb}/mods-available/preprocess
  $INCLUDE {raddb}/mods-available/chap
  $INCLUDE {raddb}/mods-available/pap
  $INCLUDE {raddb}/mods-available/expr
{modules}
}}
policy {{
  $INCLUDE {raddb}/policy.d/
}}
server default {{
  listen {{
    type = auth
    ipaddr = 127.0.0.1
    port = {auth_port}
    recv_buff = 4194304
  }}
  listen {{
    type = acct
    ipaddr = 127.0.0.1
    port = {acct_port}
    recv_buff = 4194304
  }}
{sections}
}}
"""

_FILES = """
  files {{
    usersfile = {directory}/users
    acctusersfile = {directory}/empty
    preproxy_usersfile = {directory}/empty
  }}
"""

_FILES_SECTIONS = """
  authorize {
    chap
    files
    pap
  }
  authenticate {
    Auth-Type PAP {
      pap
    }
    Auth-Type CHAP {
      chap
    }
  }
  post-auth {
    update reply {
      Message-Authenticator := 0x00
    }
  }
  preacct {
  }
  accounting {
    ok
  }
"""

_MS_CHAP = """
  $INCLUDE {raddb}/mods-available/mschap
"""
_MS_CHAP_SECTIONS = _FILES_SECTIONS.replace("    chap\n    files", "    mschap\n    files").replace(
    "Auth-Type CHAP {\n      chap", "Auth-Type MS-CHAP {\n      mschap"
)

_SQL = """
  sql {{
    dialect = "postgresql"
    driver = "rlm_sql_postgresql"
    server = "127.0.0.1"
    port = {pg_port}
    login = "postgres"
    password = ""
    radius_db = "{database}"
    acct_table1 = "radacct"
    acct_table2 = "radacct"
    postauth_table = "radpostauth"
    authcheck_table = "radcheck"
    groupcheck_table = "radgroupcheck"
    authreply_table = "radreply"
    groupreply_table = "radgroupreply"
    usergroup_table = "radusergroup"
    read_groups = yes
    read_profiles = no
    delete_stale_sessions = yes
    read_clients = no
    client_table = "nas"
    group_attribute = "SQL-Group"
    postgresql {{
      send_application_name = yes
    }}
    pool {{
      start = {connections}
      min = {connections}
      max = {connections}
      spare = 0
      uses = 0
      retry_delay = 30
      lifetime = 0
      idle_timeout = 0
    }}
    $INCLUDE {raddb}/mods-config/sql/main/postgresql/queries.conf
  }}
"""

_SQL_SECTIONS = """
  authorize {
    sql
    pap
  }
  authenticate {
    Auth-Type PAP {
      pap
    }
  }
  preacct {
    preprocess
    acct_unique
  }
  accounting {
    sql
  }
"""


@dataclass(frozen=True, slots=True)
class Ports:
    auth: int
    acct: int


def missing() -> str | None:
    """What keeps the peer from running here, in words; None when nothing does."""
    if BINARY is None or not RADDB.is_dir():
        return "freeradius is not installed: apt-get install freeradius freeradius-postgresql"
    if not (RADDB / "mods-config/sql/main/postgresql/schema.sql").exists():
        return "freeradius-postgresql is not installed: apt-get install freeradius-postgresql"
    return None


def version() -> str:
    """ "FreeRADIUS 3.2.1" """
    assert BINARY is not None
    words = subprocess.run([BINARY, "-v"], capture_output=True, text=True, check=True).stdout.split()
    return f"FreeRADIUS {words[words.index('Version') + 1].rstrip(',')}"


def write_files(directory: Path, ports: Ports, users: int, threads: int = 1, *, ms_chap: bool = False) -> None:
    """PAP and CHAP, or PAP and MS-CHAP, with users in a file: user000000 / pw000000 …"""
    directory.mkdir(parents=True)
    (directory / "empty").touch()
    base = int(ipaddress.ip_address("100.64.0.0"))
    with (directory / "users").open("w") as file:
        for number in range(users):
            file.write(f'user{number:06d} Cleartext-Password := "pw{number:06d}"\n')
            file.write(f"\tFramed-IP-Address = {ipaddress.ip_address(base + number)},\n\tFall-Through = Yes\n\n")
        file.write("DEFAULT\n\t" + ",\n\t".join(PROFILE) + "\n")
    modules, sections = _FILES.format(directory=directory), _FILES_SECTIONS
    if ms_chap:
        modules, sections = modules + _MS_CHAP.format(raddb=RADDB), _MS_CHAP_SECTIONS
    _write(directory, ports, threads, modules, sections)


def write_sql(directory: Path, ports: Ports, pg_port: int, database: str, connections: int = 16) -> None:
    """Accounting into radacct, one transaction per packet, over as many connections as threads."""
    directory.mkdir(parents=True)
    modules = _SQL.format(raddb=RADDB, pg_port=pg_port, database=database, connections=connections)
    _write(directory, ports, connections, modules, _SQL_SECTIONS)


def create_schema(dsn: str) -> None:
    """FreeRADIUS's own tables."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute((RADDB / "mods-config/sql/main/postgresql/schema.sql").read_text().encode())


def start(directory: Path) -> subprocess.Popen[bytes]:
    """Run it in the foreground; the caller waits until it answers, and stops it."""
    assert BINARY is not None
    return subprocess.Popen(
        [BINARY, "-f", "-d", str(directory)],
        stdout=(directory / "log" / "stdout").open("wb"),
        stderr=subprocess.STDOUT,
    )


def _write(directory: Path, ports: Ports, threads: int, modules: str, sections: str) -> None:
    (directory / "log").mkdir()
    (directory / "dictionary").write_text("$INCLUDE /usr/share/freeradius/dictionary\n")
    (directory / "radiusd.conf").write_text(
        _CONFIGURATION.format(
            directory=directory,
            raddb=RADDB,
            secret=SECRET,
            threads=threads,
            auth_port=ports.auth,
            acct_port=ports.acct,
            modules=modules,
            sections=sections,
        )
    )
