"""The device registry: what there is, how it is reached, its secrets sealed and its host key pinned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.identity import DeviceId, new_id
from controller.domain.ports import DeviceEndpoint, Secret, SnmpTarget
from controller.provisioning.errors import BadIntent, DeviceNameTaken, UnknownDevice
from controller.provisioning.model import Device, NewDevice, SnmpAccess
from controller.provisioning.tables import device
from controller.store import audit
from controller.store.engine import Database
from controller.store.secrets import SecretBox

_SEALED = ("secret", "snmp_community", "snmp_auth_key", "snmp_priv_key")


class DeviceRegistry:
    """Implements PollTargets and HostKeyStore (controller.domain.ports)."""

    def __init__(self, database: Database, clock: Clock, box: SecretBox, drivers: Sequence[str]) -> None:
        self._database = database
        self._clock = clock
        self._box = box
        self._drivers = frozenset(drivers)

    async def register(self, new: NewDevice, *, actor: str) -> DeviceId:
        """Add a device. Raises DeviceNameTaken, or BadIntent for an unknown driver."""
        now = self._clock.now()
        device_id = DeviceId(new_id(now))
        if new.driver is None and new.snmp is None:
            raise BadIntent(f"device {new.name!r} has neither a driver nor SNMP: nothing could be done with it")
        self._check_driver(new.driver)
        row = {
            "device_id": device_id,
            "name": new.name,
            "host": new.host,
            "driver": new.driver,
            "port": new.port,
            "username": new.username,
            "host_key_sha256": new.host_key_sha256,
            "created_at": now,
            **self._sealed(device_id, {"secret": new.secret}),
            **self._snmp_columns(device_id, new.snmp),
        }
        try:
            async with self._database.begin() as conn:
                await conn.execute(insert(device).values(row))
                await self._audit(conn, actor, "device.register", device_id, None, _visible(row))
        except IntegrityError as error:
            raise DeviceNameTaken(f"there is a device named {new.name!r} already") from error
        return device_id

    async def change(
        self, device_id: DeviceId, changes: Mapping[str, Any], *, snmp: SnmpAccess | None = None, actor: str
    ) -> Device:
        """Change columns of a device: host, port, username, secret (a Secret), host_key_sha256 (None forgets it)."""
        values = {name: value for name, value in changes.items() if name != "secret"}
        values |= self._sealed(device_id, {"secret": changes.get("secret")})
        if snmp is not None:
            values |= self._snmp_columns(device_id, snmp)
        async with self._database.begin() as conn:
            before = await _row(conn, device_id)
            if values:
                await conn.execute(update(device).where(device.c.device_id == device_id).values(values))
                await self._audit(
                    conn, actor, "device.change", device_id, _visible(dict(before._mapping)), _visible(values)
                )
            return _device(await _row(conn, device_id))

    async def get(self, device_id: DeviceId) -> Device:
        """Raises UnknownDevice."""
        async with self._database.read() as conn:
            return _device(await _row(conn, device_id))

    async def page(self, after: str | None, limit: int) -> list[Device]:
        """Devices by name, from the one after the name `after`."""
        query = select(device).order_by(device.c.name).limit(limit)
        if after is not None:
            query = query.where(device.c.name > after)
        async with self._database.read() as conn:
            return [_device(row) for row in await conn.execute(query)]

    async def endpoint(self, device_id: DeviceId) -> DeviceEndpoint:
        """How to open a session; holds the secret in clear. Raises UnknownDevice, or BadIntent without a driver."""
        async with self._database.read() as conn:
            row = await _row(conn, device_id)
        if row.driver is None:
            raise BadIntent(f"device {row.name!r} has no driver: it is only polled")
        return self._endpoint(row)

    async def netconf_targets(self) -> Sequence[DeviceEndpoint]:
        """Devices whose driver speaks NETCONF."""
        query = select(device).where(device.c.driver == "bbf-olt").order_by(device.c.name)
        async with self._database.read() as conn:
            return [self._endpoint(row) for row in await conn.execute(query)]

    async def snmp_targets(self) -> Sequence[SnmpTarget]:
        query = select(device).where(device.c.snmp_version.is_not(None)).order_by(device.c.name)
        async with self._database.read() as conn:
            rows = (await conn.execute(query)).all()
        return [
            SnmpTarget(
                device_id=row.device_id,
                name=row.name,
                host=row.host,
                port=row.snmp_port,
                version=row.snmp_version,
                community=self._open(row, "snmp_community"),
                user=row.snmp_user,
                auth_protocol=row.snmp_auth_protocol,
                auth_key=self._open(row, "snmp_auth_key"),
                priv_protocol=row.snmp_priv_protocol,
                priv_key=self._open(row, "snmp_priv_key"),
            )
            for row in rows
        ]

    async def pin(self, device_id: DeviceId, host_key_sha256: str) -> str:
        """HostKeyStore: the first key seen is the one that counts, also between two processes that see it at once."""
        statement = (
            update(device)
            .where(device.c.device_id == device_id, device.c.host_key_sha256.is_(None))
            .values(host_key_sha256=host_key_sha256)
        )
        async with self._database.begin() as conn:
            if (await conn.execute(statement)).rowcount:
                await self._audit(
                    conn,
                    "system:provisioning",
                    "device.pin-host-key",
                    device_id,
                    None,
                    {"host_key_sha256": host_key_sha256},
                )
            pinned: str = (await _row(conn, device_id)).host_key_sha256
            return pinned

    def _check_driver(self, driver: str | None) -> None:
        if driver is not None and driver not in self._drivers:
            raise BadIntent(f"no driver {driver!r}; there are {', '.join(sorted(self._drivers))}")

    def _endpoint(self, row: Row[Any]) -> DeviceEndpoint:
        return DeviceEndpoint(
            device_id=row.device_id,
            name=row.name,
            driver=row.driver,
            host=row.host,
            port=row.port,
            username=row.username,
            secret=self._open(row, "secret") or Secret(""),
            host_key_sha256=row.host_key_sha256,
        )

    def _snmp_columns(self, device_id: DeviceId, snmp: SnmpAccess | None) -> dict[str, Any]:
        if snmp is None:
            return {}
        sealed = self._sealed(
            device_id,
            {"snmp_community": snmp.community, "snmp_auth_key": snmp.auth_key, "snmp_priv_key": snmp.priv_key},
        )
        return {
            "snmp_version": snmp.version,
            "snmp_port": snmp.port,
            "snmp_user": snmp.user,
            "snmp_auth_protocol": snmp.auth_protocol,
            "snmp_priv_protocol": snmp.priv_protocol,
            **sealed,
        }

    def _sealed(self, device_id: DeviceId, secrets: Mapping[str, Secret | None]) -> dict[str, bytes]:
        return {
            column: self._box.seal(secret, _context(device_id, column))
            for column, secret in secrets.items()
            if secret is not None
        }

    def _open(self, row: Row[Any], column: str) -> Secret | None:
        sealed = row._mapping[column]
        return None if sealed is None else self._box.open(sealed, _context(row.device_id, column))

    async def _audit(
        self,
        conn: AsyncConnection,
        actor: str,
        action: str,
        device_id: DeviceId,
        before: dict[str, Any] | None,
        after: dict[str, Any] | None,
    ) -> None:
        await audit.record(
            conn,
            now=self._clock.now(),
            actor=actor,
            action=action,
            subject=f"device:{device_id}",
            before=before,
            after=after,
        )


def _context(device_id: str, column: str) -> str:
    return f"device:{device_id}:{column}"


def _visible(row: Mapping[str, Any]) -> dict[str, Any]:
    """What of a row may be read by anyone: secrets show only that they are set."""
    hidden = {column: "***" for column in _SEALED if row.get(column) is not None}
    shown = ("name", "host", "driver", "port", "username", "host_key_sha256", "snmp_version", "snmp_port")
    return {**{k: row[k] for k in shown if k in row}, **hidden}


async def _row(conn: AsyncConnection, device_id: DeviceId) -> Row[Any]:
    row = (await conn.execute(select(device).where(device.c.device_id == device_id))).one_or_none()
    if row is None:
        raise UnknownDevice(f"no device {device_id!r}")
    return row


def _device(row: Row[Any]) -> Device:
    return Device(
        device_id=row.device_id,
        name=row.name,
        host=row.host,
        driver=row.driver,
        port=row.port,
        username=row.username,
        host_key_sha256=row.host_key_sha256,
        snmp_version=row.snmp_version,
        snmp_port=row.snmp_port,
        created_at=row.created_at,
    )
