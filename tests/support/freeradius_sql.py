"""FreeRADIUS with its SQL module on a PostgreSQL database of its own schema, as sites run it that move to us."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import free_port

RADDB = Path("/etc/freeradius/3.0")
SCHEMAS = RADDB / "mods-config/sql/main"
BINARY = shutil.which("freeradius")
LIBRARY = Path("/usr/lib/freeradius/rlm_sql_postgresql.so")

_CONFIGURATION = """
prefix = /usr
logdir = {directory}
raddbdir = {raddb}
confdir = {raddb}
modconfdir = {raddb}/mods-config
run_dir = {directory}
libdir = /usr/lib/freeradius
pidfile = {directory}/pid
hostname_lookups = no
log {{
  destination = files
  file = {directory}/radius.log
}}
security {{
  allow_core_dumps = no
  reject_delay = 0
  status_server = yes
}}
proxy_requests = no
thread pool {{
  start_servers = 2
  max_servers = 2
  min_spare_servers = 1
  max_spare_servers = 2
}}
modules {{
  $INCLUDE {raddb}/mods-available/always
  $INCLUDE {raddb}/mods-available/preprocess
  $INCLUDE {raddb}/mods-available/chap
  $INCLUDE {raddb}/mods-available/mschap
  $INCLUDE {raddb}/mods-available/pap
  $INCLUDE {raddb}/mods-available/expr
  sql {{
    dialect = "postgresql"
    driver = "rlm_sql_postgresql"
    server = "127.0.0.1"
    port = {pg_port}
    login = "postgres"
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
    delete_stale_sessions = yes
    read_clients = yes
    client_table = "nas"
    group_attribute = "SQL-Group"
    pool {{
      start = 1
      min = 1
      max = 2
      spare = 1
    }}
    $INCLUDE {raddb}/mods-config/sql/main/postgresql/queries.conf
  }}
}}
policy {{
  $INCLUDE {raddb}/policy.d/
}}
server default {{
  listen {{
    type = auth
    ipaddr = 127.0.0.1
    port = {auth_port}
  }}
  listen {{
    type = acct
    ipaddr = 127.0.0.1
    port = {acct_port}
  }}
  authorize {{
    chap
    mschap
    sql
    pap
  }}
  authenticate {{
    Auth-Type PAP {{
      pap
    }}
    Auth-Type CHAP {{
      chap
    }}
    Auth-Type MS-CHAP {{
      mschap
    }}
  }}
  preacct {{
    preprocess
    acct_unique
  }}
  accounting {{
    sql
  }}
}}
"""


def why_not() -> str | None:
    if BINARY is None or not LIBRARY.exists():
        return "freeradius-postgresql is not installed: apt-get install freeradius freeradius-postgresql"
    return None


@dataclass(frozen=True)
class SqlRadius:
    auth_port: int
    acct_port: int


@contextmanager
def sql_radius(directory: Path, pg_port: int, database: str) -> Iterator[SqlRadius]:
    """It answers when this yields."""
    assert BINARY is not None
    directory.mkdir()
    running = SqlRadius(free_port(), free_port())
    (directory / "dictionary").write_text("$INCLUDE /usr/share/freeradius/dictionary\n")
    (directory / "radiusd.conf").write_text(
        _CONFIGURATION.format(
            directory=directory, raddb=RADDB, pg_port=pg_port, database=database,
            auth_port=running.auth_port, acct_port=running.acct_port,
        )
    )  # fmt: skip
    log = directory / "stdout"
    with log.open("wb") as output:
        process = subprocess.Popen([BINARY, "-f", "-d", str(directory)], stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 20
        while "Ready to process requests" not in _text(directory / "radius.log"):
            told = _text(log) + _text(directory / "radius.log")
            assert process.poll() is None, told
            assert time.monotonic() < deadline, told
            time.sleep(0.05)
        yield running
    finally:
        process.terminate()
        process.wait(10)


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
