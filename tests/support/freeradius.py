"""Debian's FreeRADIUS as somebody else's home server, and as somebody else's proxy in front of us."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.pki import Authority
from tests.support.ports import free_port

FREERADIUS = shutil.which("freeradius")
MISSING = "apt-get install freeradius"
SECRET = "between-the-two-servers"
_RADDB = Path("/etc/freeradius/3.0")

_MAIN = """
prefix = /usr
logdir = {directory}
raddbdir = {raddb}
radacctdir = {directory}
confdir = {raddb}
modconfdir = {raddb}/mods-config
certdir = {directory}
cadir = {directory}
run_dir = {directory}
libdir = /usr/lib/freeradius
pidfile = {directory}/pid
log {{
  destination = stdout
  auth = yes
}}
security {{
  max_attributes = 200
  reject_delay = 0
  status_server = yes
}}
proxy_requests = {proxies}
client lo {{
  ipaddr = 127.0.0.0/8
  secret = {client_secret}
  require_message_authenticator = no
}}
thread pool {{
  start_servers = 2
  max_servers = 4
  min_spare_servers = 1
  max_spare_servers = 2
  max_requests_per_server = 0
}}
modules {{
  $INCLUDE {raddb}/mods-available/always
  $INCLUDE {raddb}/mods-available/chap
  $INCLUDE {raddb}/mods-available/pap
  $INCLUDE {raddb}/mods-available/mschap
  $INCLUDE {raddb}/mods-available/realm
  $INCLUDE {raddb}/mods-available/expr
  files {{
    usersfile = {directory}/users
    acctusersfile = {directory}/empty
    preproxy_usersfile = {directory}/empty
  }}
  detail {{
    filename = {directory}/detail
    permissions = 0600
  }}
{eap}
}}
policy {{
  $INCLUDE {raddb}/policy.d/
}}
{realms}
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
{authorize}
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
{authenticate}
  }}
  preacct {{
{preacct}
  }}
  accounting {{
    detail
    ok
  }}
}}
{inner}
"""

_EAP = """
  eap {
    default_eap_type = peap
    timer_expire = 60
    tls-config common {
      private_key_file = {directory}/server.key
      certificate_file = {directory}/server.pem
      ca_file = {directory}/ca.pem
      tls_max_version = "1.2"
      tls_min_version = "1.2"
      ecdh_curve = ""
    }
    peap {
      tls = common
      default_eap_type = mschapv2
      virtual_server = inner
      copy_request_to_tunnel = yes
      use_tunneled_reply = yes
    }
    mschapv2 {
    }
  }
"""

_INNER = """
server inner {
  authorize {
    files
    eap
    mschap
  }
  authenticate {
    Auth-Type MS-CHAP {
      mschap
    }
    eap
  }
}
"""

_REALMS = """
home_server headend_acct {
  type = acct
  ipaddr = 127.0.0.1
  port = {acct_port}
  secret = {secret}
  response_window = 5
}
home_server headend_auth {
  type = auth
  ipaddr = 127.0.0.1
  port = {auth_port}
  secret = {secret}
  response_window = 5
}
home_server_pool headend_auth {
  home_server = headend_auth
}
home_server_pool headend_acct {
  home_server = headend_acct
}
realm headend.example {
  auth_pool = headend_auth
  acct_pool = headend_acct
  nostrip
}
"""


_OVER_TLS = """
proxy server {
}
home_server headend {
  type = auth+coa
  ipaddr = 127.0.0.1
  port = {port}
  proto = tcp
  secret = radsec
  status_check = none
  tls {
    private_key_file = {directory}/server.key
    certificate_file = {directory}/server.pem
    ca_file = {directory}/ca.pem
    tls_min_version = "1.2"
    tls_max_version = "1.2"
  }
  recv_coa {
    virtual_server = changes
  }
}
home_server_pool headend {
  home_server = headend
}
realm NULL {
  auth_pool = headend
}
"""

_CHANGES = """
server changes {
  recv-coa {
    if (&Acct-Session-Id == "unknown") {
      update reply {
        Error-Cause := 503
      }
      reject
    }
    ok
  }
  send-coa {
    ok
  }
}
"""
"""What a NAS would do with CoA and Disconnect that come down its connection: it knows every session but one."""


@dataclass(frozen=True)
class FreeRadius:
    directory: Path
    auth_port: int
    acct_port: int

    @property
    def detail(self) -> str:
        """The accounting that it has written down."""
        path = self.directory / "detail"
        return path.read_text() if path.exists() else ""

    @property
    def log(self) -> str:
        return (self.directory / "stdout").read_text()


@asynccontextmanager
async def home_server(
    directory: Path, users: str, *, ports: tuple[int, int] | None = None
) -> AsyncIterator[FreeRadius]:
    """It knows `users` (in its own format), by PAP, CHAP, MS-CHAP and PEAP."""
    _certify(directory)
    text = _MAIN.format(
        **_base(directory, ports),
        proxies="no",
        client_secret=SECRET,
        eap=_EAP.replace("{directory}", str(directory)),
        realms="",
        authorize="    chap\n    mschap\n    eap {\n      ok = return\n    }\n    files\n    pap",
        authenticate="    eap",
        preacct="",
        inner=_INNER,
    )
    async with _running(directory, text, users, ports_of(text)) as made:
        yield made


@asynccontextmanager
async def proxy(directory: Path, auth_port: int, acct_port: int, *, client_secret: str) -> AsyncIterator[FreeRadius]:
    """It sends users of headend.example to our ports, and knows nobody."""
    realms = _REALMS.replace("{auth_port}", str(auth_port)).replace("{acct_port}", str(acct_port))
    text = _MAIN.format(
        **_base(directory, None),
        proxies="yes",
        client_secret=client_secret,
        eap="",
        realms="proxy server {\n}\n" + realms.replace("{secret}", SECRET),
        authorize="    suffix",
        authenticate="",
        preacct="    suffix",
        inner="",
    )
    _certify(directory)
    async with _running(directory, text, "", ports_of(text)) as made:
        yield made


@asynccontextmanager
async def over_tls(directory: Path, port: int, *, client_secret: str) -> AsyncIterator[FreeRadius]:
    """It sends every login over TLS to our `port`, and takes CoA down that connection.

    `directory` holds server.pem, server.key and ca.pem.
    """
    text = _MAIN.format(
        **_base(directory, None),
        proxies="yes",
        client_secret=client_secret,
        eap="",
        realms=_OVER_TLS.replace("{directory}", str(directory)).replace("{port}", str(port)),
        authorize="    suffix",
        authenticate="",
        preacct="",
        inner=_CHANGES,
    )
    async with _running(directory, text, "", ports_of(text)) as made:
        yield made


def _certify(directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    authority = Authority()
    authority.issue("home.example", server=True).write(directory, "server")
    (directory / "ca.pem").write_bytes(authority.pem)


def ports_of(text: str) -> tuple[int, int]:
    """The authentication and the accounting port of a configuration."""
    server = text.partition("server default {")[2].split("port = ")
    return int(server[1].split()[0]), int(server[2].split()[0])


def _base(directory: Path, ports: tuple[int, int] | None) -> dict[str, object]:
    auth_port, acct_port = ports or (free_port(), free_port())
    return {"directory": directory, "raddb": _RADDB, "auth_port": auth_port, "acct_port": acct_port}


@asynccontextmanager
async def _running(directory: Path, text: str, users: str, ports: tuple[int, int]) -> AsyncIterator[FreeRadius]:
    assert FREERADIUS is not None, MISSING
    (directory / "radiusd.conf").write_text(text)
    (directory / "users").write_text(users)
    (directory / "empty").write_text("")
    (directory / "dictionary").write_text("$INCLUDE /usr/share/freeradius/dictionary\n")
    with (directory / "stdout").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            FREERADIUS, "-fx", "-l", "stdout", "-d", str(directory), stdout=output, stderr=output
        )
    made = FreeRadius(directory, *ports)
    try:
        async with asyncio.timeout(20):
            while "Ready to process requests" not in made.log:
                assert process.returncode is None, made.log[-3000:]
                await asyncio.sleep(0.05)
        yield made
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
