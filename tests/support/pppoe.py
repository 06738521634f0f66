"""A PPPoE BRAS that we did not write: pppoe-server and pppd with its RADIUS plugin, in a Linux kernel of their own.

The kernel is user-mode Linux on the machine's own files, with a tap device to us; subscriber and BRAS are two of its
network namespaces. Its init script dials as told, moves traffic, hangs up, and switches the kernel off.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

from tests.support.namespaces import run

HOST, BRAS, INSIDE = "10.7.0.1", "10.7.0.2", "10.6.0.1"
PINGS, PACKET_OCTETS = 50, 1000 + 28
OCTETS = PINGS * PACKET_OCTETS
"""Echo requests of 1000 octets, and what they are as IP packets."""

_HASTE = "lcp-restart 1 lcp-max-terminate 1"
"""The first packet of a call is always lost, and each side waits for the other when it ends: 3 s each by default."""
_MODULES = Path("/usr/lib/uml/modules")
_ATTRIBUTES = """
User-Name 1 string|User-Password 2 string|CHAP-Password 3 string|NAS-IP-Address 4 ipaddr|NAS-Port-Id 5 integer
Service-Type 6 integer|Framed-Protocol 7 integer|Framed-IP-Address 8 ipaddr|Class 25 string|Session-Timeout 27 integer
Idle-Timeout 28 integer|Calling-Station-Id 31 string|NAS-Identifier 32 string|Acct-Status-Type 40 integer
Acct-Delay-Time 41 integer|Acct-Input-Octets 42 integer|Acct-Output-Octets 43 integer|Acct-Session-Id 44 string
Acct-Authentic 45 integer|Acct-Session-Time 46 integer|Acct-Input-Packets 47 integer|Acct-Output-Packets 48 integer
Acct-Terminate-Cause 49 integer|CHAP-Challenge 60 string|NAS-Port-Type 61 integer|Acct-Interim-Interval 85 integer
MS-CHAP-Response 1 string Microsoft|MS-CHAP-Error 2 string Microsoft|MS-MPPE-Encryption-Policy 7 string Microsoft
MS-MPPE-Encryption-Type 8 string Microsoft|MS-CHAP-Challenge 11 string Microsoft|MS-CHAP-MPPE-Keys 12 string Microsoft
MS-MPPE-Send-Key 16 string Microsoft|MS-MPPE-Recv-Key 17 string Microsoft|MS-CHAP2-Response 25 string Microsoft
MS-CHAP2-Success 26 string Microsoft
"""
_METHODS = {
    "pap": "pap",
    "chap": "chap",
    "mschap": "mschap",
    "mschap-v2": "mschap-v2\nrequire-mppe-128\nnomppe-stateful",
}
"""What the BRAS requires; with version 2 of MS-CHAP traffic is encrypted under the keys that RADIUS brought it."""


def why_not() -> str | None:
    """Which package is missing; None when all are there."""
    for package, program in (
        ("user-mode-linux", "/usr/bin/linux.uml"),
        ("ppp", "/usr/sbin/pppd"),
        ("pppoe", "/usr/sbin/pppoe-server"),
        ("kmod", "/sbin/modprobe"),
        ("iputils-ping", "ping"),
    ):
        if shutil.which(program) is None:
            return f"apt-get install {package}"
    return None if Path("/dev/net/tun").exists() else "the kernel has no /dev/net/tun"


@dataclass(frozen=True, slots=True)
class Dial:
    """One attempt of a subscriber: `method` is "pap", "chap", "mschap" or "mschap-v2"."""

    method: str
    username: str
    password: str


def connect() -> None:
    """The wire to the kernel-to-be, in the network namespace where this thread is."""
    for command in ("tuntap add tap0 mode tap", f"addr add {HOST}/24 dev tap0", "link set tap0 up"):
        run("ip", *command.split())


async def dial(directory: Path, auth_port: int, acct_port: int, secret: str, dials: list[Dial]) -> str:
    """Boot the kernel, make the calls one after the other, and return its console when it has switched itself off."""
    _write(directory, auth_port, acct_port, secret, dials)
    with (directory / "kernel").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *("linux.uml", "mem=256M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw", "quiet"),
            *(f"init={directory}/init", "con=null", "con0=fd:0,fd:1", "vec0:transport=tap,ifname=tap0,depth=128"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={"PATH": os.environ["PATH"], "HOME": str(directory), "TMPDIR": str(directory)},
        )
    try:
        await asyncio.wait_for(process.wait(), 60)
    finally:
        if process.returncode is None:
            # The kernel's own processes are processes of this machine, in its group.
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return (directory / "console").read_text()


def _write(directory: Path, auth_port: int, acct_port: int, secret: str, dials: list[Dial]) -> None:
    directory.mkdir()
    release = next(_MODULES.iterdir()).name
    (directory / "lib/modules").mkdir(parents=True)
    (directory / "lib/modules" / release).symlink_to(_MODULES / release)
    lines = [line for row in _ATTRIBUTES.split("\n") for line in row.split("|") if line]
    files = {
        "dictionary": "VENDOR Microsoft 311\n" + "".join(f"ATTRIBUTE {line}\n" for line in lines),
        "servers": f"{HOST} {secret}\n",
        "map": "",
        "radiusclient.conf": _client(directory, auth_port, acct_port),
        "init": _init(directory, dials),
    }
    for method, required in _METHODS.items():
        files[method] = (
            f"require-{required}\nplugin radius.so\nradius-config-file {directory}/radiusclient.conf\n"
            f"nodefaultroute\nnoipv6\n{_HASTE}\nlogfile {directory}/server.log\n"
        )
    for name, text in files.items():
        (directory / name).write_text(text)
    (directory / "init").chmod(0o755)


def _client(directory: Path, auth_port: int, acct_port: int) -> str:
    return (
        "auth_order radius\nlogin_tries 1\nlogin_timeout 20\nnologin /etc/nologin\n"
        f"authserver {HOST}:{auth_port}\nacctserver {HOST}:{acct_port}\nservers {directory}/servers\n"
        f"dictionary {directory}/dictionary\nmapfile {directory}/map\nseqfile /run/radius.seq\n"
        "radius_timeout 5\nradius_retries 2\n"
    )


def _init(directory: Path, dials: list[Dial]) -> str:
    calls = "\n".join(f"call {dial.method} {dial.username} {dial.password}" for dial in dials)
    # pppd's RADIUS client resolves the machine's own name at start, and stops when it cannot.
    return f"""#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
exec >{directory}/console 2>&1
for kind in proc:/proc sysfs:/sys tmpfs:/run; do mount -t ${{kind%%:*}} none ${{kind#*:}}; done
mkdir -p /dev/pts && mount -t devpts none /dev/pts
hostname localhost
for module in veth ppp_generic ppp_async ppp_synctty ppp_mppe pppoe; do modprobe -d {directory} $module; done
ip link set lo up; ip addr add {BRAS}/24 dev vec0; ip link set vec0 up
ip netns add home; ip link add wire0 type veth peer name wire1 netns home
ip link set wire0 up; ip -n home link set lo up; ip -n home link set wire1 up

gone() {{ for _ in $(seq 100); do pidof $1 >/dev/null || return 0; sleep 0.1; done; }}

call() {{
  case $1 in mschap-v2) mppe="require-mppe-128 nomppe-stateful";; *) mppe=;; esac
  pppoe-server -I wire0 -L {INSIDE} -R 10.6.0.100 -O {directory}/$1
  if ip netns exec home pppd plugin rp-pppoe.so wire1 user $2 password $3 noauth nodefaultroute noipv6 {_HASTE} \\
      $mppe maxfail 1 logfile {directory}/client.log updetach linkname call; then
    echo "in: $1 $2"; ip -n home -4 -o addr show dev ppp0
    ip netns exec home ping -q -c {PINGS} -i 0.002 -s 1000 {INSIDE}
    kill $(head -1 /run/ppp-call.pid)
  else
    echo "refused: $1 $2"
  fi
  gone pppd
  kill $(pidof pppoe-server); gone pppoe-server
}}

{calls}
echo o >/proc/sysrq-trigger
exec sleep 60
"""
