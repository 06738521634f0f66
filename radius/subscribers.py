"""Who may log in: the SubscriberDirectory of the other rooms.

Each use case is one transaction with its audit entry; afterwards this process's memory follows at once, so that the
next login is judged by what was just committed.
"""

from __future__ import annotations

import ipaddress
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.errors import Conflict, NotFound, RuleError
from controller.domain.identity import ServiceId
from controller.domain.ports import Secret
from controller.domain.service import SpeedProfile
from controller.store import audit
from controller.store.engine import Database
from controller.store.secrets import SecretBox
from radius import line_repository, passwords, repository
from radius.authorization import restriction
from radius.authorization.password import CLEAR
from radius.follower import Follower


class SubscriberService:
    """Who may log in: implements controller.domain.ports.SubscriberDirectory. Every call may be repeated."""

    def __init__(
        self, database: Database, clock: Clock, box: SecretBox, follower: Follower, *, password_form: str = CLEAR
    ) -> None:
        self._database = database
        self._clock = clock
        self._box = box
        self._follower = follower
        self._password_form = password_form

    async def put_subscriber(
        self,
        *,
        service_id: ServiceId,
        username: str,
        password: Secret,
        profile: SpeedProfile,
        framed_ipv4: str | None,
        enabled: bool,
        actor: str,
        known_as: str = CLEAR,
    ) -> None:
        """Write a service's login, new or changed. Raises Conflict when another service has the user name.

        `known_as` is the form of the password that is given (radius.authorization.password).
        """
        _check_login(username, framed_ipv4)
        if known_as == CLEAR:
            passwords.check_password(password)
        now = self._clock.now()
        values = {
            "service_id": service_id,
            "framed_ipv4": framed_ipv4,
            "enabled": enabled,
            "withdrawn": False,
            "updated_at": now,
        } | _profile_columns(profile)
        async with self._database.begin() as conn:
            await repository.take_turn(conn)
            before = await repository.get_subscriber(conn, service_id)
            holder = await repository.get_login(conn, username)
            if holder is not None and holder["service_id"] != service_id and not holder["withdrawn"]:
                raise Conflict(f"user name {username!r} belongs to service {holder['service_id']}")
            # What the service is given stays with it, and nothing of whoever had this user name before.
            values |= {name: None if before is None else before[name] for name in _KEPT}
            values["suspended"] = before is not None and before["suspended"]
            values |= await passwords.columns(self._box, before, password, service_id, self._password_form, known_as)
            if before is not None and before["username"] != username:
                await repository.update_subscriber(
                    conn, before["username"], withdrawn=True, enabled=False, updated_at=now
                )
                await line_repository.touch_lines(conn, service_id, now)
            if holder is None:
                await repository.insert_subscribers(conn, [values | {"username": username}])
            else:
                await repository.update_subscriber(conn, username, **values)
            await self._record(conn, now, actor, "subscriber.put", service_id, before, values | {"username": username})
        await self._follower.refresh_subscribers()
        await self._follower.refresh_lines()

    async def set_profile(self, *, service_id: ServiceId, profile: SpeedProfile, actor: str) -> None:
        """The speed of the next login; live sessions are changed by CoA. Raises NotFound."""
        await self._set(service_id, "subscriber.set-profile", actor, _profile_columns(profile))

    async def set_enabled(self, *, service_id: ServiceId, enabled: bool, actor: str) -> None:
        """Whether the next login is accepted; live sessions stay. Raises NotFound."""
        await self._set(service_id, "subscriber.set-enabled", actor, {"enabled": enabled})

    async def is_suspended(self, service_id: str) -> bool:
        """Whether the service is in the walled garden; False for a service without a login."""
        async with self._database.read() as conn:
            row = await repository.get_subscriber(conn, service_id)
        return row is not None and restriction.of_row(row).suspended

    async def is_throttled(self, service_id: str) -> bool:
        """Whether fair use or dunning has put another speed in place of the plan's."""
        async with self._database.read() as conn:
            row = await repository.get_subscriber(conn, service_id)
        return row is not None and restriction.of_row(row).throttle is not None

    async def withdraw_subscriber(self, *, service_id: ServiceId, actor: str) -> None:
        """The service's login is gone for every process, and its user name free; live sessions stay."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            await repository.take_turn(conn)
            before = await repository.get_subscriber(conn, service_id)
            if before is None:
                return
            gone = {"withdrawn": True, "enabled": False}
            await repository.update_subscriber(conn, before["username"], **gone, updated_at=now)
            lost = await line_repository.lines_of(conn, service_id)
            await line_repository.put_lines(conn, service_id, (), lost, now)
            await self._record(conn, now, actor, "subscriber.withdraw", service_id, before, before | gone)
        await self._follower.refresh_subscribers()
        await self._follower.refresh_lines()

    async def _set(self, service_id: ServiceId, action: str, actor: str, values: dict[str, Any]) -> None:
        now = self._clock.now()
        async with self._database.begin() as conn:
            await repository.take_turn(conn)
            before = await repository.get_subscriber(conn, service_id)
            if before is None:
                raise NotFound(f"service {service_id} has no RADIUS login")
            if all(before[name] == value for name, value in values.items()):
                return
            await repository.update_subscriber(conn, before["username"], **values, updated_at=now)
            await self._record(conn, now, actor, action, service_id, before, before | values)
        await self._follower.refresh_subscribers()

    @staticmethod
    async def _record(
        conn: AsyncConnection,
        now: datetime,
        actor: str,
        action: str,
        service_id: str,
        before: dict[str, Any] | None,
        after: dict[str, Any],
    ) -> None:
        await audit.record(
            conn,
            now=now,
            actor=actor,
            action=action,
            subject=f"service:{service_id}",
            before=None if before is None else _shown_login(before),
            after=_shown_login(after),
        )


_KEPT = ("ipv6_prefix", "delegated_prefix", "terms", "throttle", "restriction", "credit")


def _profile_columns(profile: SpeedProfile) -> dict[str, Any]:
    return {
        "profile_name": profile.name,
        "downstream_bps": profile.downstream_bps,
        "upstream_bps": profile.upstream_bps,
    }


def _shown_login(row: dict[str, Any]) -> dict[str, Any]:
    """What the audit log keeps of a login: never the password."""
    shown = ("username", "profile_name", "downstream_bps", "upstream_bps", "framed_ipv4", "enabled")
    return {name: row[name] for name in shown}


def _check_login(username: str, framed_ipv4: str | None) -> None:
    if not 0 < len(username.encode()) <= 253:
        raise RuleError("a user name has 1 to 253 octets (RFC 2865 §5.1)")
    if framed_ipv4 is not None:
        try:
            ipaddress.IPv4Address(framed_ipv4)
        except ValueError:
            raise RuleError(f"{framed_ipv4!r} is no IPv4 address") from None
