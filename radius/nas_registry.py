"""The registry of NAS: which boxes may ask, with which secrets, and what each of them can do.

Each use case is one transaction with its audit entry; afterwards this process's memory follows at once, so that the
next packet is judged by what was just committed. No restart is ever needed.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.errors import Conflict, NotFound, RuleError
from controller.domain.identity import NasId, new_id
from controller.domain.ports import Secret
from controller.store import audit
from controller.store.engine import Database
from controller.store.secrets import SecretBox
from radius import repository, weakness
from radius.authorization import line
from radius.follower import Follower
from radius.protocol.nas import COA_TAKES
from radius.protocol.sources import network_of
from radius.protocol.templates import encode_template
from radius.radsec import identity as tls_identities
from radius.repository import NasRow
from radius.vendors import reply
from radius.weakness import WeakNas

MAX_OVERLAP_S = 30 * 86_400
"""A rotation that takes longer than a month is none."""


@dataclass(frozen=True, slots=True)
class NasChange:
    """Fields of a NAS to set; None leaves one as it is, and "" for `tls_identity` and `coa_…` takes it away.

    A former secret is accepted for `secret_overlap_s` beside a new one; 0 ends it at once.
    """

    name: str | None = None
    address: str | None = None
    secret: Secret | None = None
    secret_overlap_s: int = 3_600
    vendor: str | None = None
    coa_port: int | None = None
    interim_interval_s: int | None = None
    missed_interims: int | None = None
    require_message_authenticator: bool | None = None
    limit_proxy_state: bool | None = None
    tls_identity: str | None = None
    coa_over: str | None = None
    coa_address: str | None = None
    coa_secret: Secret | None = None
    coa_takes: Sequence[str] | None = None
    sign_dynamic_requests: bool | None = None
    class_proves_speed: bool | None = None
    disconnect_when_refused: bool | None = None
    swaps_octets: bool | None = None
    adds_ipv6_octets: bool | None = None
    port_speed_bps: int | None = None
    reply_attributes: Sequence[Mapping[str, str]] | None = None
    line_logins: Sequence[str] | None = None
    enabled: bool | None = None


class NasService:
    """The registry of NAS. A NAS is known by the source address of its datagrams."""

    def __init__(self, database: Database, clock: Clock, box: SecretBox, follower: Follower) -> None:
        self._database = database
        self._clock = clock
        self._box = box
        self._follower = follower

    async def register(
        self,
        *,
        name: str,
        address: str,
        secret: Secret,
        vendor: str = "rfc",
        coa_port: int = 3799,
        interim_interval_s: int = 300,
        missed_interims: int | None = None,
        require_message_authenticator: bool = False,
        limit_proxy_state: bool = False,
        tls_identity: str | None = None,
        coa_over: str | None = None,
        coa_address: str | None = None,
        coa_secret: Secret | None = None,
        coa_takes: Sequence[str] = tuple(COA_TAKES),
        sign_dynamic_requests: bool = False,
        class_proves_speed: bool | None = None,
        disconnect_when_refused: bool = False,
        swaps_octets: bool = False,
        adds_ipv6_octets: bool = False,
        port_speed_bps: int = 10_000_000_000,
        reply_attributes: Sequence[Mapping[str, str]] = (),
        line_logins: Sequence[str] = (),
        enabled: bool = True,
        actor: str,
    ) -> NasRow:
        """`class_proves_speed` None takes what is known of the vendor.

        Raises Conflict when the name or the address is taken, RuleError for a value that cannot be.
        """
        now = self._clock.now()
        row = NasRow(
            nas_id=NasId(new_id(now)),
            name=name,
            address=address,
            vendor=vendor,
            coa_port=coa_port,
            interim_interval_s=interim_interval_s,
            missed_interims=missed_interims,
            require_message_authenticator=require_message_authenticator,
            limit_proxy_state=limit_proxy_state,
            tls_identity=tls_identity,
            coa_over=coa_over,
            coa_address=coa_address,
            coa_takes=_takes(coa_takes),
            sign_dynamic_requests=sign_dynamic_requests,
            class_proves_speed=(
                reply.vendor(vendor).class_proves_speed if class_proves_speed is None else class_proves_speed
            ),
            disconnect_when_refused=disconnect_when_refused,
            swaps_octets=swaps_octets,
            adds_ipv6_octets=adds_ipv6_octets,
            port_speed_bps=port_speed_bps,
            reply_attributes=_template(reply_attributes),
            line_logins=_kinds(line_logins),
            enabled=enabled,
            created_at=now,
            updated_at=now,
        )
        row = _checked(row)
        await self._insert(row, secret, coa_secret, actor)
        await self._follower.refresh_nas()
        return row

    async def change(self, nas_id: str, change: NasChange, *, actor: str) -> NasRow:
        """Raises NotFound, and what `register` raises."""
        now = self._clock.now()
        values = {
            field.name: getattr(change, field.name)
            for field in dataclasses.fields(change)
            if field.name not in ("secret", "secret_overlap_s", "coa_secret")
            and getattr(change, field.name) is not None
        }
        if change.reply_attributes is not None:
            values["reply_attributes"] = _template(change.reply_attributes)
        if change.line_logins is not None:
            values["line_logins"] = _kinds(change.line_logins)
        if change.coa_takes is not None:
            values["coa_takes"] = _takes(change.coa_takes)
        async with self._database.begin() as conn:
            await repository.take_turn(conn)
            before = await repository.get_nas(conn, nas_id)
            if before is None:
                raise NotFound(f"no NAS {nas_id}")
            if change.secret is not None:
                values["former_until"] = _overlap_end(now, change.secret_overlap_s)
            row = _checked(dataclasses.replace(before, **values, updated_at=now))
            await self._refuse_twins(conn, row)
            sealed = None if change.secret is None else self._seal(row.nas_id, change.secret)
            await repository.update_nas(conn, row, sealed)
            await self._set_coa_secret(conn, row.nas_id, change.coa_secret)
            after = _shown(row) | ({"secret": "changed"} if sealed else {})
            after |= {"coa_secret": "changed"} if change.coa_secret is not None else {}
            await audit.record(
                conn,
                now=now,
                actor=actor,
                action="nas.change",
                subject=f"nas:{nas_id}",
                before=_shown(before),
                after=after,
            )
        await self._follower.refresh_nas()
        return row

    async def _insert(self, row: NasRow, secret: Secret, coa_secret: Secret | None, actor: str) -> None:
        async with self._database.begin() as conn:
            await repository.take_turn(conn)
            await self._refuse_twins(conn, row)
            await repository.insert_nas(conn, row, self._seal(row.nas_id, secret))
            await self._set_coa_secret(conn, row.nas_id, coa_secret)
            await audit.record(
                conn,
                now=row.created_at,
                actor=actor,
                action="nas.register",
                subject=f"nas:{row.nas_id}",
                after=_shown(row),
            )

    async def show(self, nas_id: str) -> NasRow:
        """Raises NotFound."""
        async with self._database.read() as conn:
            row = await repository.get_nas(conn, nas_id)
        if row is None:
            raise NotFound(f"no NAS {nas_id}")
        return row

    async def list(self, *, after: str | None, limit: int) -> list[NasRow]:
        async with self._database.read() as conn:
            return await repository.list_nas(conn, after=after, limit=limit)

    async def weak(self) -> Sequence[WeakNas]:
        """Those that accept what an attacker on the way could forge."""
        return await weakness.weak(self._follower)

    def _seal(self, nas_id: str, secret: Secret) -> bytes:
        if not secret.reveal():
            raise RuleError("a shared secret must not be empty (RFC 2865 §3)")
        return self._box.seal(secret, repository.nas_context(nas_id))

    async def _set_coa_secret(self, conn: AsyncConnection, nas_id: NasId, secret: Secret | None) -> None:
        """None leaves it as it is, an empty one takes it away."""
        if secret is not None:
            sealed = self._box.seal(secret, repository.coa_context(nas_id)) if secret.reveal() else None
            await repository.set_coa_secret(conn, nas_id, sealed)

    @staticmethod
    async def _refuse_twins(conn: AsyncConnection, row: NasRow) -> None:
        found = await repository.find_nas(conn, name=row.name, address=row.address, tls_identity=row.tls_identity)
        for other in found:
            if other.nas_id != row.nas_id:
                taken = f"identity {row.tls_identity}"
                if other.name == row.name or other.address == row.address:
                    taken = f"name {row.name!r}" if other.name == row.name else f"address {row.address}"
                raise Conflict(f"the {taken} belongs to NAS {other.nas_id} already")


def _template(lines: Sequence[Mapping[str, str]]) -> str | None:
    """As stored. Raises RuleError for an attribute that no dictionary knows, or a value that is not of its type."""
    encode_template(lines)
    return json.dumps(list(lines)) if lines else None


def _kinds(names: Sequence[str]) -> str:
    """As stored. Raises RuleError for a kind of line that there is not."""
    unknown = set(names) - set(line.KINDS)
    if unknown:
        raise RuleError(f"no kind of line {', '.join(sorted(unknown))}; known: {', '.join(line.KINDS)}")
    return " ".join(kind for kind in line.KINDS if kind in names)


def _takes(names: Sequence[str]) -> str:
    """As stored. Raises RuleError for what no NAS can be asked for."""
    unknown = set(names) - COA_TAKES
    if unknown:
        raise RuleError(f"coa_takes knows {', '.join(sorted(COA_TAKES))}, not {', '.join(sorted(unknown))}")
    return " ".join(sorted(set(names)))


def _asked_at(row: NasRow) -> str | None:
    """`coa_address` in canonical form. Raises RuleError."""
    if not row.coa_address:
        return None
    if network_of(row.address) is not None:
        raise RuleError("coa_address: each box of a network is asked at its own address")
    try:
        return str(ipaddress.ip_address(row.coa_address))
    except ValueError:
        raise RuleError(f"coa_address {row.coa_address!r} is no IP address") from None


def _checked(row: NasRow) -> NasRow:
    """The row with its address in canonical form. Raises RuleError for values that cannot be."""
    address = _canonical(row.address)
    reply.vendor(row.vendor)
    if not 1 <= row.coa_port <= 65_535:
        raise RuleError(f"coa_port {row.coa_port} is no UDP port")
    if row.interim_interval_s < 60:
        # "the value MUST NOT be smaller than 60" seconds (RFC 2869 §5.16)
        raise RuleError(f"interim_interval_s {row.interim_interval_s}: RFC 2869 §5.16 allows no less than 60")
    if row.missed_interims is not None and not 0 <= row.missed_interims <= 1_000:
        raise RuleError(f"missed_interims {row.missed_interims} is not 0 to 1000")
    if row.port_speed_bps < 1_000_000:
        raise RuleError(f"port_speed_bps {row.port_speed_bps} is in bit/s: no port is slower than 1,000,000")
    identity = tls_identities.canonical(row.tls_identity) if row.tls_identity else None
    if row.coa_over == "tls" and identity is None:
        raise RuleError("coa_over tls needs a tls_identity: by its certificate the NAS's connection is known")
    return dataclasses.replace(
        row, address=address, tls_identity=identity, coa_over=row.coa_over or None, coa_address=_asked_at(row)
    )


def _canonical(address: str) -> str:
    """An address, or a network in CIDR. Raises RuleError."""
    try:
        network = network_of(address)
        if network is not None:
            return str(network)
        found = ipaddress.ip_address(address.partition("/")[0])
    except ValueError as error:
        said = str(error) if "/" in address else f"{address!r} is no IP address"
        raise RuleError(said) from None
    # An IPv4 NAS is seen under its IPv4 address, whatever we listen on.
    return str(getattr(found, "ipv4_mapped", None) or found)


def _overlap_end(now: datetime, overlap_s: int) -> datetime | None:
    """When the secret that is replaced now stops being valid; None for at once. Raises RuleError."""
    if not 0 <= overlap_s <= MAX_OVERLAP_S:
        raise RuleError(f"secret_overlap_s is 0 to {MAX_OVERLAP_S}, not {overlap_s}")
    return now + timedelta(seconds=overlap_s) if overlap_s else None


def _shown(row: NasRow) -> dict[str, Any]:
    """What the audit log keeps of a NAS."""
    shown = {
        name: getattr(row, name) for name in NasRow.__dataclass_fields__ if name not in ("created_at", "updated_at")
    }
    return shown | {"former_until": None if row.former_until is None else row.former_until.isoformat()}
