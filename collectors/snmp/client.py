"""Asks one agent for its interfaces with gufo-snmp: v2c, or v3 with authentication and privacy.

A wrong community, an unknown address and a dead device are all silence; v3 says when user or keys are wrong. Each
column is walked by GetBulk with rows + 1 repetitions, so that a column is one question and one answer where it fits.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from datetime import datetime

from gufo.snmp import (
    Aes128Key,
    Aes256Key,
    BaseAuthKey,
    BasePrivKey,
    Md5Key,
    NoSuchInstance,
    Sha1Key,
    Sha256Key,
    Sha512Key,
    SnmpAuthError,
    SnmpError,
    SnmpVersion,
    User,
)
from gufo.snmp.aio import SnmpSession

from collectors.errors import DeviceRefusedKeys, DeviceSilent, MalformedAnswer
from collectors.settings import SnmpSettings
from collectors.snmp import names
from collectors.snmp.interfaces import DevicePoll, interfaces
from controller.domain.errors import RuleError
from controller.domain.ports import SnmpTarget

_WIDE = (names.IF_NAME, names.IF_HIGH_SPEED, names.IF_DISCONTINUITY, names.IF_HC_IN_OCTETS, names.IF_HC_OUT_OCTETS)
_NARROW = (names.IF_IN_OCTETS, names.IF_OUT_OCTETS)
_COMMON = (names.IF_TYPE, names.IF_OPER_STATUS)

_AUTH: dict[str, type[BaseAuthKey]] = {"MD5": Md5Key, "SHA": Sha1Key, "SHA256": Sha256Key, "SHA512": Sha512Key}
_PRIV: dict[str, type[BasePrivKey]] = {"AES": Aes128Key, "AES128": Aes128Key, "AES256": Aes256Key}


async def poll(target: SnmpTarget, settings: SnmpSettings, now: Callable[[], datetime]) -> DevicePoll:
    """Read sysUpTime, ifTable and ifXTable.

    Raises DeviceSilent, DeviceRefusedKeys, MalformedAnswer, or RuleError for a target that cannot be asked.
    """
    for attempt in range(1, settings.attempts + 1):
        try:
            async with _session(target, await _address(target), settings) as session:
                return await _read(session, settings, now)
        except TimeoutError:
            if attempt == settings.attempts:
                break
        except SnmpAuthError as error:
            raise DeviceRefusedKeys(f"{target.name}: SNMPv3 user {target.user!r} or its keys refused") from error
        except (SnmpError, ValueError) as error:
            raise MalformedAnswer("snmp", f"{target.name}: {error}") from error
        except OSError as error:
            raise DeviceSilent(f"{target.name} ({target.host}:{target.port}): {error}") from error
        except BaseException as error:
            # gufo-snmp's decoder panics on some cut-off answers, and a Rust panic is no Exception (seen with 0.13.0).
            if type(error).__module__ != "pyo3_runtime":
                raise
            raise MalformedAnswer("snmp", f"{target.name}: {error}") from None
    secret = "user or privacy key" if target.version == "3" else "community"
    where = f"{target.host}:{target.port}"
    raise DeviceSilent(f"{target.name} ({where}): no SNMP answer; unreachable, or the {secret} is wrong")


async def _address(target: SnmpTarget) -> str:
    """gufo-snmp wants an address; a name is looked up for every poll: it may move. IPv4 first. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(target.host, target.port, type=socket.SOCK_DGRAM)
    return str(min(found, key=lambda one: one[0] != socket.AF_INET)[4][0])


def _session(target: SnmpTarget, host: str, settings: SnmpSettings) -> SnmpSession:
    common = {"timeout": settings.timeout_s, "recv_buffer": settings.receive_buffer}
    if target.version == "2c" and target.community is not None:
        community = target.community.reveal()
        return SnmpSession(host, target.port, community=community, version=SnmpVersion.v2c, **common)  # type: ignore[arg-type]
    if target.version == "3" and target.user is not None:
        return SnmpSession(host, target.port, user=_user(target), version=SnmpVersion.v3, **common)  # type: ignore[arg-type]
    raise RuleError(f"{target.name}: SNMP version {target.version!r} needs a community (2c) or a user (3)", code="snmp")


def _user(target: SnmpTarget) -> User:
    """Raises RuleError for a protocol we do not speak."""
    assert target.user is not None
    auth = priv = None
    try:
        if target.auth_key is not None:
            auth = _AUTH[_protocol(target.auth_protocol or "SHA")](target.auth_key.reveal().encode())
        if target.priv_key is not None:
            priv = _PRIV[_protocol(target.priv_protocol or "AES")](target.priv_key.reveal().encode())
    except KeyError as error:
        known = ", ".join((*_AUTH, *_PRIV))
        raise RuleError(
            f"{target.name}: SNMPv3 protocol {error.args[0]!r} is not one of {known}", code="snmp"
        ) from None
    return User(target.user, auth_key=auth, priv_key=priv)


def _protocol(name: str) -> str:
    """ "SHA-256", "sha256" and "SHA256" are one."""
    return name.upper().replace("-", "")


async def _read(session: SnmpSession, settings: SnmpSettings, now: Callable[[], datetime]) -> DevicePoll:
    scalars = await session.get_many([names.SYS_UPTIME, names.IF_NUMBER])
    at, uptime = now(), scalars.get(names.SYS_UPTIME)
    if not isinstance(uptime, int):
        raise MalformedAnswer("snmp", "the agent has no sysUpTime")
    rows = scalars.get(names.IF_NUMBER)
    repetitions = rows + 1 if isinstance(rows, int) and 0 < rows < settings.max_interfaces else settings.max_repetitions
    columns = {}
    for column in (*_WIDE, *_COMMON):
        columns[column] = await _column(session, column, repetitions, settings.max_interfaces)
    if set(columns[names.IF_HC_IN_OCTETS]) != set(columns[names.IF_TYPE]):  # some rows have 32-bit counters only
        for column in _NARROW:
            columns[column] = await _column(session, column, repetitions, settings.max_interfaces)
    return DevicePoll(at, uptime, interfaces(columns, at, uptime))


async def _column(session: SnmpSession, column: str, repetitions: int, limit: int) -> dict[int, object]:
    """ifIndex → value. An agent without the column answers with what comes after it, and the walk ends."""
    values: dict[int, object] = {}
    try:
        async for oid, value in session.getbulk(column, max_repetitions=repetitions):
            index = oid.removeprefix(column + ".")
            if not index.isdigit() or int(index) in values:
                raise MalformedAnswer("snmp", f"the walk of {column} came to {oid}")
            values[int(index)] = value
            if len(values) > limit:
                raise MalformedAnswer("snmp", f"more than {limit} rows in {column}")
    except NoSuchInstance:
        return values
    return values
