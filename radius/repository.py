"""Rows of radius_nas and radius_subscriber, in and out. Revisions grow in the order of commits."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Table, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.errors import RuleError
from controller.domain.identity import NasId
from controller.domain.ports import Secret
from controller.domain.service import SpeedProfile
from controller.store.secrets import SecretBox
from radius.authorization import restriction, terms, throttle
from radius.authorization.directory import SubscriberRow
from radius.authorization.plan import ServiceTerms
from radius.protocol.authenticator import SharedSecret
from radius.protocol.nas import Nas, Rotation
from radius.protocol.templates import encode_template
from radius.tables import nas as nas_table
from radius.tables import offering as offering_table
from radius.tables import subscriber as subscriber_table

_REVISION_LOCK = 0x4845_4144_0101


async def take_turn(conn: AsyncConnection) -> None:
    """Wait for other writers of these tables: what is read after this holds until the transaction ends."""
    if conn.dialect.name == "postgresql":
        await conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _REVISION_LOCK})


async def next_revision(conn: AsyncConnection, table: Table) -> int:
    """The revision for this transaction's changes to `table`.

    Writers take turns, so that a reader who has seen revision n has seen everything below it.
    """
    await take_turn(conn)
    return int(await conn.scalar(select(func.coalesce(func.max(table.c.revision), 0))) or 0) + 1


# --- NAS ---


@dataclass(frozen=True, slots=True)
class NasRow:
    """A registered NAS as the API shows it: everything but the secret."""

    nas_id: NasId
    name: str
    address: str
    vendor: str
    coa_port: int
    interim_interval_s: int
    require_message_authenticator: bool
    enabled: bool
    created_at: datetime
    updated_at: datetime
    sign_dynamic_requests: bool = False
    class_proves_speed: bool = True
    disconnect_when_refused: bool = False
    swaps_octets: bool = False
    adds_ipv6_octets: bool = False
    port_speed_bps: int = 10_000_000_000
    reply_attributes: str | None = None
    line_logins: str = ""
    limit_proxy_state: bool = False
    tls_identity: str | None = None
    coa_over: str | None = None
    coa_address: str | None = None
    coa_takes: str = "rate filter disconnect"
    missed_interims: int | None = None
    former_until: datetime | None = None


_NAS_COLUMNS = [nas_table.c[name] for name in NasRow.__dataclass_fields__]


def nas_context(nas_id: str) -> str:
    """What a sealed NAS secret is bound to."""
    return f"nas:{nas_id}"


def coa_context(nas_id: str) -> str:
    """What a sealed secret for CoA is bound to."""
    return f"nas-coa:{nas_id}"


async def set_coa_secret(conn: AsyncConnection, nas_id: str, sealed: bytes | None) -> None:
    """Beside `insert_nas` or `update_nas` in one transaction; None: it is asked under its own secret again."""
    await conn.execute(update(nas_table).where(nas_table.c.nas_id == nas_id).values(coa_secret=sealed))


async def insert_nas(conn: AsyncConnection, row: NasRow, sealed: bytes) -> None:
    revision = await next_revision(conn, nas_table)
    await conn.execute(insert(nas_table).values(**_nas_values(row), secret=sealed, revision=revision))


async def update_nas(conn: AsyncConnection, row: NasRow, sealed: bytes | None) -> None:
    """Write every column; the secret only when a new one is given. It becomes the former one, until `former_until`."""
    values = _nas_values(row) | {"revision": await next_revision(conn, nas_table)}
    if row.former_until is None:
        values["former_secret"] = None
    if sealed is not None:
        values["secret"] = sealed
        if row.former_until is not None:
            values["former_secret"] = nas_table.c.secret
    await conn.execute(update(nas_table).where(nas_table.c.nas_id == row.nas_id).values(**values))


async def get_nas(conn: AsyncConnection, nas_id: str) -> NasRow | None:
    row = (await conn.execute(select(*_NAS_COLUMNS).where(nas_table.c.nas_id == nas_id))).one_or_none()
    return None if row is None else NasRow(*row)


async def find_nas(conn: AsyncConnection, *, name: str, address: str, tls_identity: str | None) -> list[NasRow]:
    """Those that bear this name, this address or this identity of a certificate."""
    columns = nas_table.c
    wanted = (columns.name == name) | (columns.address == address)
    if tls_identity is not None:
        wanted |= columns.tls_identity == tls_identity
    query = select(*_NAS_COLUMNS).where(wanted)
    return [NasRow(*row) for row in await conn.execute(query)]


async def list_nas(conn: AsyncConnection, *, after: str | None, limit: int) -> list[NasRow]:
    """By id, those after `after`."""
    query = select(*_NAS_COLUMNS).order_by(nas_table.c.nas_id).limit(limit)
    if after is not None:
        query = query.where(nas_table.c.nas_id > after)
    return [NasRow(*row) for row in await conn.execute(query)]


async def nas_after(conn: AsyncConnection, revision: int, box: SecretBox) -> list[tuple[int, Nas]]:
    """Every NAS changed after `revision`, with its secret opened. Raises RuleError when a secret does not open."""
    query = select(nas_table).where(nas_table.c.revision > revision).order_by(nas_table.c.revision)
    return [(row.revision, _nas(row, box)) for row in await conn.execute(query)]


def _nas(row: Any, box: SecretBox) -> Nas:
    secret = box.open(row.secret, nas_context(row.nas_id)).reveal().encode()
    nas = Nas(
        nas_id=NasId(row.nas_id),
        name=row.name,
        address=row.address,
        secret=SharedSecret(secret),
        vendor=row.vendor,
        coa_port=row.coa_port,
        interim_interval_s=row.interim_interval_s,
        require_message_authenticator=row.require_message_authenticator,
        sign_dynamic_requests=row.sign_dynamic_requests,
        class_proves_speed=row.class_proves_speed,
        disconnect_when_refused=row.disconnect_when_refused,
        swaps_octets=row.swaps_octets,
        adds_ipv6_octets=row.adds_ipv6_octets,
        port_speed_bps=row.port_speed_bps,
        reply_attributes=encode_template(json.loads(row.reply_attributes or "[]")),
        line_logins=tuple(row.line_logins.split()),
        enabled=row.enabled,
        limit_proxy_state=row.limit_proxy_state,
        tls_identity=row.tls_identity or "",
        coa_over=row.coa_over or "",
        coa_address=row.coa_address or "",
        coa_secret=None if row.coa_secret is None else _opened(box, row.coa_secret, coa_context(row.nas_id)),
        coa_takes=frozenset(row.coa_takes.split()),
    )
    if row.former_secret is None or row.former_until is None:
        return nas
    former = box.open(row.former_secret, nas_context(row.nas_id)).reveal().encode()
    return Rotation.between(nas, SharedSecret(former), row.former_until)


def _opened(box: SecretBox, sealed: bytes, context: str) -> SharedSecret:
    return SharedSecret(box.open(sealed, context).reveal().encode())


def _nas_values(row: NasRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in NasRow.__dataclass_fields__}


# --- subscribers ---


def subscriber_context(service_id: str) -> str:
    """What a sealed password is bound to."""
    return f"subscriber:{service_id}"


async def get_subscriber(conn: AsyncConnection, service_id: str) -> dict[str, Any] | None:
    """The live row of a service, its password sealed."""
    query = select(subscriber_table).where(
        subscriber_table.c.service_id == service_id, subscriber_table.c.withdrawn.is_(False)
    )
    row = (await conn.execute(query)).one_or_none()
    return None if row is None else dict(row._mapping)


async def get_login(conn: AsyncConnection, username: str) -> dict[str, Any] | None:
    """The row of a user name, withdrawn or not."""
    row = (await conn.execute(select(subscriber_table).where(subscriber_table.c.username == username))).one_or_none()
    return None if row is None else dict(row._mapping)


async def holder_of(conn: AsyncConnection, column: str, value: str | None) -> str | None:
    """The service whose login has this value in a column of addresses; None for nobody, and for no value."""
    if value is None:
        return None
    return await conn.scalar(
        select(subscriber_table.c.service_id)
        .where(subscriber_table.c[column] == value, subscriber_table.c.withdrawn.is_(False))
        .limit(1)
    )


async def restricted(conn: AsyncConnection, service_ids: Collection[str] | None) -> dict[str, str]:
    """Service → what dunning has taken from it, of these services or of all; those with nothing taken are absent."""
    columns = subscriber_table.c
    query = select(columns.service_id, columns.restriction).where(
        columns.restriction.is_not(None), columns.withdrawn.is_(False)
    )
    if service_ids is not None:
        query = query.where(columns.service_id.in_(service_ids))
    return {row.service_id: row.restriction for row in await conn.execute(query)}


async def insert_subscribers(conn: AsyncConnection, rows: list[dict[str, Any]]) -> None:
    """Insert complete rows, all of one revision."""
    revision = await next_revision(conn, subscriber_table)
    await conn.execute(insert(subscriber_table), [row | {"revision": revision} for row in rows])


async def update_subscriber(conn: AsyncConnection, username: str, **values: Any) -> None:
    revision = await next_revision(conn, subscriber_table)
    await conn.execute(
        update(subscriber_table).where(subscriber_table.c.username == username).values(**values, revision=revision)
    )


_MADE = ("profile", "barred", "prepaid")
"""Of what stands in the columns behind the others."""
_BEHIND = ("profile_name", "downstream_bps", "upstream_bps", "restriction", "credit")
_LOADED = [subscriber_table.c[n] for n in (*(n for n in SubscriberRow._fields if n not in _MADE), *_BEHIND)]


async def subscribers_after(conn: AsyncConnection, revision: int, *, chunk: int = 5_000) -> AsyncIterator[list[Any]]:
    """Rows changed after `revision`, in chunks, passwords still sealed; `open_rows` opens them in a thread."""
    query = select(*_LOADED).where(subscriber_table.c.revision > revision).order_by(subscriber_table.c.revision)
    result = await conn.stream(query.execution_options(yield_per=chunk))
    async for rows in result.partitions(chunk):
        yield list(rows)


def open_rows(rows: list[Any], box: SecretBox) -> tuple[list[SubscriberRow], list[str]]:
    """Open the passwords of a chunk: the rows, and the user names whose password no key opens.

    Such a one is let in by nobody, and is no reason to let nobody in.

    Written for a million rows: cut by position in the order of _LOADED, and profiles that are equal are one object.
    """
    profiles: dict[tuple[str, int, int], SpeedProfile] = {}
    opened, unopened = [], []
    for row in rows:
        (
            username, service_id, sealed, framed_ipv4, enabled, withdrawn, revision, form, expired, suspended,
            ipv6_prefix, delegated_prefix, terms_text, throttle_text, *rest,
        ) = row  # fmt: skip
        speed = (rest[0], rest[1], rest[2])
        profile = profiles.get(speed)
        if profile is None:
            profile = profiles[speed] = SpeedProfile(*speed)
        password = ""
        if not withdrawn:
            try:
                password = box.open(sealed, f"subscriber:{service_id}").reveal()
            except (RuleError, ValueError):  # ValueError: a row that was cut, or holds no text
                unopened.append(username)
                enabled = False
        barred, held = False, throttle.stored(throttle_text)
        if rest[3] is not None:
            taken = restriction.combined(suspended, held, restriction.stored(rest[3]))
            suspended, barred, held = taken.suspended, taken.barred, taken.throttle
        opened.append(
            SubscriberRow(
                username, service_id, password, profile, framed_ipv4, enabled, withdrawn, revision, form, expired,
                suspended, ipv6_prefix, delegated_prefix, terms.stored(terms_text), held, barred, rest[4] is not None,
            )
        )  # fmt: skip
    return opened, unopened


def seal_password(box: SecretBox, password: Secret, service_id: str) -> bytes:
    return box.seal(password, subscriber_context(service_id))


# --- offerings ---


async def put_offering(conn: AsyncConnection, profile_name: str, written: str | None, now: datetime) -> None:
    """`written` None takes the terms back; the row stays, so that who follows by revision learns of it."""
    values = {"terms": written, "updated_at": now, "revision": await next_revision(conn, offering_table)}
    changed = await conn.execute(
        update(offering_table).where(offering_table.c.profile_name == profile_name).values(**values)
    )
    if not changed.rowcount:
        await conn.execute(insert(offering_table).values(profile_name=profile_name, **values))


async def get_offering(conn: AsyncConnection, profile_name: str) -> str | None:
    return await conn.scalar(select(offering_table.c.terms).where(offering_table.c.profile_name == profile_name))


async def list_offerings(conn: AsyncConnection, *, after: str | None, limit: int) -> list[tuple[str, str]]:
    """(profile name, terms as written) by name, those after `after`, without those taken back."""
    columns = offering_table.c
    query = select(columns.profile_name, columns.terms).where(columns.terms.is_not(None))
    if after is not None:
        query = query.where(columns.profile_name > after)
    rows = await conn.execute(query.order_by(columns.profile_name).limit(limit))
    return [(row.profile_name, row.terms) for row in rows]


async def offerings_after(conn: AsyncConnection, revision: int) -> list[tuple[int, str, ServiceTerms]]:
    """(revision, profile name, terms) of every offering changed after `revision`."""
    columns = offering_table.c
    query = select(offering_table).where(columns.revision > revision).order_by(columns.revision)
    return [(row.revision, row.profile_name, terms.stored(row.terms)) for row in await conn.execute(query)]
