"""From the rows of a FreeRADIUS SQL schema to what we keep. Pure; whatever has no counterpart becomes a remark.

    radcheck, radgroupcheck   password, Auth-Type, Simultaneous-Use, stations and ports, hours
    radreply, radgroupreply   speed, addresses, pools, timers; any other attribute that the dictionaries know, verbatim
    radusergroup              groups by priority; after the first that matches only where it says Fall-Through

Operators are followed as rlm_sql follows them (`operators`); a password with == lets nobody in. What cannot be asked
here never opens a door: a login that depends on it comes disabled, and a group that does is given to nobody.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable
from operator import itemgetter
from typing import Any

from controller.domain.errors import RuleError
from controller.domain.ports import Secret
from controller.domain.service import SpeedProfile
from radius.authorization import foreign, terms
from radius.freeradius import speeds
from radius.freeradius.hours import hours
from radius.freeradius.model import Findings, Wanted, WantedLogin, WantedNas, why_weak
from radius.freeradius.operators import (
    ALWAYS_SENT,
    Lines,
    always_holds,
    falls_through,
    given,
    is_asked,
    set_by,
    without_control,
)  # fmt: skip
from radius.freeradius.source import Row, Tables
from radius.protocol.templates import encode_named

_VENDORS = {
    "mikrotik": "mikrotik", "cisco": "cisco-ios-xe", "juniper": "juniper", "huawei": "huawei", "alcatel": "nokia-sros",
    "nokia": "nokia-sros", "ubiquiti": "ubiquiti", "accel": "accel-ppp", "accel-ppp": "accel-ppp",
}  # fmt: skip
_HASHED = frozenset({*foreign.ATTRIBUTES, "LM-Password", "Password-With-Header", "Digest-HA1"})
_PASSWORDS = ("Cleartext-Password", "User-Password", "NT-Password")
_TERMS = {
    "Framed-Pool": "pool", "Framed-IPv6-Pool": "ipv6_pool", "Delegated-IPv6-Prefix-Pool": "delegated_pool",
}  # fmt: skip
_SECONDS = {"Session-Timeout": "session_timeout_s", "Idle-Timeout": "idle_timeout_s"}
_INTERIM = "interim_interval_s"
_PREFIXES = {"Framed-IPv6-Prefix": "ipv6_prefix", "Delegated-IPv6-Prefix": "delegated_prefix"}
_STATIONS = {"Calling-Station-Id": "calling_station_id", "NAS-Port-Id": "nas_port_id"}


def wanted(tables: Tables, unshaped: SpeedProfile) -> Wanted:
    """`unshaped` is the profile of logins that are told no speed: each of ours has one."""
    findings = Findings()
    users = _Users(tables, unshaped, findings)
    logins = [login for name in users.names() if (login := users.login(name)) is not None]
    interim_s = _interim_of_nas(logins, findings)
    return Wanted(_nas(tables["nas"], users, findings, interim_s), logins, findings)


def _interim_of_nas(logins: Iterable[WantedLogin], findings: Findings) -> int:
    """What most logins are told becomes the NAS's; the terms of the others keep their own."""
    told = Counter(login.terms[_INTERIM] for login in logins if _INTERIM in login.terms)
    usual = told.most_common(1)[0][0] if told else 300
    if told:
        findings.mapped["Acct-Interim-Interval → the NAS's"] += told.pop(usual)
    if told:
        findings.mapped["Acct-Interim-Interval → the login's own"] += told.total()
    for login in logins:
        if login.terms.get(_INTERIM) == usual:
            del login.terms[_INTERIM]
    return int(usual)


class _Users:
    def __init__(self, tables: Tables, unshaped: SpeedProfile, findings: Findings) -> None:
        self._check = _by(tables["radcheck"], "username")
        self._reply = _by(tables["radreply"], "username")
        self._group_check = _by(tables["radgroupcheck"], "groupname")
        self._group_reply = _by(tables["radgroupreply"], "groupname")
        self._groups: dict[str, list[tuple[int, str]]] = {}
        for row in tables["radusergroup"]:
            group = (_order(row.get("priority")), row.get("groupname") or "")
            self._groups.setdefault(row.get("username") or "", []).append(group)
        self._unshaped = unshaped
        self._findings = findings
        self.speed_attributes: set[str] = set()

    def names(self) -> list[str]:
        return sorted({*self._check, *self._reply, *self._groups} - {""})

    def login(self, name: str) -> WantedLogin | None:
        """None for one that cannot log in on ours; a remark says why."""
        if "\0" in name:
            self._findings.remark("there is a NUL in the user name: no login", name)
            return None
        sets, asks, reply = self._merged(name)
        password = self._password(name, sets, asks)
        if password is None:
            return None
        written: dict[str, Any] = {}
        open_there, asked = self._settings(name, sets, written), self._conditions(name, asks, written)
        items = self._single(name, reply)
        profile, by, lost = speeds.take(items)
        if by:
            self.speed_attributes.add(by)
        if lost:
            self._findings.remark(lost, name)
        if profile is None:
            self._findings.remark(f"told no speed: gets the profile {self._unshaped.name}", name)
        address = self._address(name, items)
        prefixes = {ours: self._prefix(name, theirs, items) for theirs, ours in _PREFIXES.items()}
        self._given(name, items, written)
        if not self._can_be(name, written):
            return None
        form, secret = password
        self._findings.mapped["radcheck → login"] += 1
        return WantedLogin(
            username=name,
            password=Secret(secret),
            form=form,
            profile=profile or self._unshaped,
            enabled=open_there and asked,
            framed_ipv4=address,
            terms=written,
            asks_more=open_there and not asked,
            **prefixes,
        )

    def _merged(self, name: str) -> tuple[Lines, Lines, Lines]:
        """What its checks set, what they ask, and its reply; of its own rows and of its groups'."""
        own = self._check.get(name, [])
        sets, asks = set_by([], own), [line for line in own if is_asked(line)]
        reply: Lines = []
        if own:
            reply = given([], self._reply.get(name, []))
        elif name in self._reply:
            self._findings.remark("radreply of a user who is not in radcheck is not read there", name)
        if falls_through(reply) is not False:
            sets, reply = self._of_groups(name, sets, reply)
        return sets, asks, without_control(reply)

    def _of_groups(self, name: str, sets: Lines, reply: Lines) -> tuple[Lines, Lines]:
        for _, group in sorted(self._groups.get(name, []), key=itemgetter(0)):
            group_check, group_reply = self._group_check.get(group, []), self._group_reply.get(group, [])
            asks = [line for line in group_check if is_asked(line) and not always_holds(line)]
            if asks:
                said = ", ".join(f"{attribute} {op} {value}" for attribute, op, value in asks)
                self._findings.remark(f"group {group} holds only for some requests ({said}): it is not given", name)
                continue
            self._findings.mapped["radusergroup → what its group gives"] += 1
            sets, reply = set_by(sets, group_check), given(reply, group_reply)
            if not falls_through(group_reply):
                break
        return sets, reply

    def _password(self, name: str, sets: Lines, asks: Lines) -> tuple[str, str] | None:
        compared = [f"{attribute} {op}" for attribute, op, _ in asks if attribute in {*_PASSWORDS, *_HASHED}]
        if compared:
            self._findings.remark(f"{compared[0]} lets nobody in there, only := would: no login", name)
            return None
        known = {attribute: value for attribute, _, value in reversed(sets)}  # of several the first is asked
        if "Password-With-Header" in known:
            meant, told = foreign.opened(known["Password-With-Header"])
            known.setdefault(meant, told)
        for attribute, form in zip(_PASSWORDS, ("clear", "clear", "nt"), strict=True):
            value = known.get(attribute)
            if not value:
                continue
            if form == "nt":
                value = value.removeprefix("0x").lower()
                if re.fullmatch(r"[0-9a-f]{32}", value) is None:
                    self._findings.remark("NT-Password is no NT hash of 32 hex digits: no login", name)
                    return None
            self._findings.passwords["in clear" if form == "clear" else "NT hash (no CHAP)"] += 1
            return form, value
        hashed = sorted(_HASHED & set(known))
        if hashed:
            return self._foreign(name, hashed, known)
        if known.get("Auth-Type", "").lower() == "accept":
            self._findings.remark("Auth-Type Accept lets everybody in without a password: no login", name)
        else:
            self._findings.remark("no password in radcheck (EAP-TLS, LDAP, a proxy?): no login", name)
        return None

    def _foreign(self, name: str, hashed: list[str], known: dict[str, str]) -> tuple[str, str] | None:
        """The first hash that can be verified here."""
        why = f"{hashed[0]}: a hash that we do not verify"
        for attribute in hashed:
            if attribute not in foreign.ATTRIBUTES:
                continue
            try:
                kept = foreign.kept(attribute, known[attribute])
            except RuleError as error:
                why = str(error)
                continue
            self._findings.passwords[f"{attribute} (PAP alone, until a new password is set)"] += 1
            return "foreign", kept
        self._findings.passwords[f"{hashed[0]} (cannot be taken over)"] += 1
        self._findings.remark(f"{why}; set a new password: no login", name)
        return None

    def _settings(self, name: str, sets: Lines, written: dict[str, Any]) -> bool:
        """Fills `written`; False where the login is locked."""
        enabled = True
        for attribute, op, value in sets:
            if attribute in _PASSWORDS or attribute in _HASHED:
                continue
            if attribute == "Auth-Type" and value.lower() == "reject":
                enabled = False
                self._findings.mapped["Auth-Type Reject → not enabled"] += 1
            elif attribute == "Auth-Type":
                self._findings.remark(f"Auth-Type {value}: the method follows from the request here", name)
            elif attribute == "Simultaneous-Use" and _is_number(value) and int(value) > 0:
                written["simultaneous_use"] = int(value)
            elif attribute == "Login-Time":
                enabled = self._hours(name, value, written) and enabled
            elif attribute != "Fall-Through":
                self._findings.remark(f"check {attribute} {op}: no counterpart", name)
        return enabled

    def _conditions(self, name: str, asks: Lines, written: dict[str, Any]) -> bool:
        """Fills `written`; False where something is asked that cannot be asked here."""
        enabled = True
        for attribute, op, value in asks:
            if always_holds((attribute, op, value)):
                continue
            if attribute in _STATIONS and op == "==" and written.get(_STATIONS[attribute], value) == value:
                written[_STATIONS[attribute]] = value
            else:
                enabled = False
                self._findings.remark(f"check {attribute} {op}: cannot be asked here: the login is not enabled", name)
        return enabled

    def _hours(self, name: str, value: str, written: dict[str, Any]) -> bool:
        windows = hours(value)
        if windows is None:
            self._findings.remark(f"Login-Time {value!r} cannot be said in our hours: the login is not enabled", name)
            return False
        if windows:
            written["hours"] = windows
        return True

    def _single(self, name: str, reply: Lines) -> dict[str, str]:
        """Attributes by name; of those that may stand several times the others go to `extra` lines."""
        items: dict[str, str] = {}
        for attribute, _, value in reply:
            if attribute in items and attribute in {*_TERMS, *_SECONDS, *_PREFIXES, "Framed-IP-Address"}:
                self._findings.remark(f"{attribute} stands several times: the first is taken", name)
                continue
            key = attribute
            while key in items:
                key += "\0"
            items[key] = value
        return items

    def _address(self, name: str, items: dict[str, str]) -> str | None:
        value = items.pop("Framed-IP-Address", None)
        if value in (None, "255.255.255.254"):
            return None  # "the NAS should select an address" (RFC 2865 §5.8)
        try:
            return str(ipaddress.IPv4Address(value))
        except ValueError:
            self._findings.remark(f"Framed-IP-Address {value!r} is none", name)
            return None

    def _prefix(self, name: str, attribute: str, items: dict[str, str]) -> str | None:
        value = items.pop(attribute, None)
        if value is None:
            return None
        try:
            return str(ipaddress.IPv6Network(value))
        except ValueError:
            self._findings.remark(f"{attribute} {value!r} is no prefix", name)
            return None

    def _given(self, name: str, items: dict[str, str], written: dict[str, Any]) -> None:
        """Timers, pools and every other attribute into `written`. A timer that is not sent there is not sent here."""
        written |= {"session_timeout_s": 0, "idle_timeout_s": 0}
        extra: list[dict[str, str]] = []
        for key, value in items.items():
            attribute = key.rstrip("\0")
            if (attribute, value.lower()) in ALWAYS_SENT:
                continue
            if attribute in _SECONDS and _is_number(value):
                written[_SECONDS[attribute]] = int(value)
            elif attribute == "Acct-Interim-Interval":
                if _is_number(value) and 60 <= int(value) <= 86_400:
                    written[_INTERIM] = int(value)
                else:
                    self._findings.remark("Acct-Interim-Interval is 60 to 86400 s (RFC 2869 §5.16): not told", name)
            elif attribute in _TERMS:
                written[_TERMS[attribute]] = value
            elif self._is_template(name, attribute, value):
                extra.append({"name": attribute, "value": value})
        if extra:
            written["reply_attributes"] = extra

    def _can_be(self, name: str, written: dict[str, Any]) -> bool:
        try:
            terms.read(written)
        except RuleError as error:
            self._findings.remark(f"what it is given cannot be: {error}: no login", name)
            return False
        return True

    def _is_template(self, name: str, attribute: str, value: str) -> bool:
        try:
            encode_named(attribute, value)
        except RuleError as error:
            self._findings.remark(f"reply {attribute}: {error}", name)
            return False
        self._findings.mapped[f"{attribute} → reply attribute, verbatim"] += 1
        return True


def _nas(rows: Iterable[Row], users: _Users, findings: Findings, interim_s: int) -> list[WantedNas]:
    found: dict[str, WantedNas] = {}
    for row in rows:
        address, secret = row.get("nasname") or "", row.get("secret") or ""
        name = (row.get("shortname") or address)[:64]
        try:
            place = (
                str(ipaddress.ip_network(address, strict=False))
                if "/" in address
                else str(ipaddress.ip_address(address))
            )
        except ValueError:
            findings.remark("the NAS is named by a host name: give its address", address)
            continue
        if not secret:
            findings.remark("the NAS has no secret", address)
            continue
        weak = why_weak(secret)
        if weak is not None:
            findings.remark(f"weak: {weak}", name)
        if name in (other.name for other in found.values()):
            name = f"{name[:40]}-{address}"[:64]
        vendor = _vendor(row.get("type") or "other", users.speed_attributes)
        found[place] = WantedNas(name, place, Secret(secret), vendor, interim_s)
        findings.mapped[f"nas → NAS of vendor {vendor}"] += 1
    return list(found.values())


def _vendor(kind: str, speed_attributes: set[str]) -> str:
    """By its type, else by whose attributes its users are told their speed in, where that is one vendor's."""
    known = _VENDORS.get(kind.lower())
    told = {speeds.VENDOR_OF[name] for name in speed_attributes if name in speeds.VENDOR_OF}
    return known or (next(iter(told)) if len(told) == 1 else "rfc")


def _by(rows: Iterable[Row], column: str) -> dict[str, Lines]:
    found: dict[str, Lines] = {}
    ordered = sorted(rows, key=lambda row: _order(row.get("id")))
    for row in ordered:
        line = (row.get("attribute") or "", (row.get("op") or "=").strip(), row.get("value") or "")
        found.setdefault(row.get(column) or "", []).append(line)
    return found


def _order(text: str | None) -> int:
    return int(text) if text is not None and _is_number(text.removeprefix("-")) else 0


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18
