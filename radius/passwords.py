"""Use cases of passwords: in which form one is kept, that it must be changed, and the site's move to another form.

A form is chosen for the site (settings) or for one service. Moving to a poorer form rewrites what is stored, at once
for a service and at the next start for the site; a richer one comes back only with a new password.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.errors import NotFound, RuleError
from controller.domain.ports import Secret
from controller.store import audit
from controller.store.engine import Database
from controller.store.secrets import SecretBox
from radius import repository
from radius.authorization.password import CLEAR, FOREIGN, FORMS, check_form, derived, opened, same
from radius.follower import Follower
from radius.repository import subscriber_context as context
from radius.tables import subscriber as table

log = structlog.get_logger()

MAX_PASSWORD_OCTETS = 128
"""What User-Password can carry (RFC 2865 §5.2)."""
SITE = "site"
"""In place of a form: as the site does."""
_RETRY_S = 5.0
_BATCH = 200
"""Rows per transaction of a move: argon2 takes 10 ms for each, and other writers wait meanwhile."""


class PasswordService:
    """`site_form` is the form of every service that has no choice of its own."""

    def __init__(self, database: Database, clock: Clock, box: SecretBox, follower: Follower, site_form: str) -> None:
        check_form(site_form)
        self._database = database
        self._clock = clock
        self._box = box
        self._follower = follower
        self._site_form = site_form

    async def choose_form(self, service_id: str, form: str | None, *, actor: str) -> str:
        """Keep this service's password as `form`; None follows the site. Returns the form it is kept in now.

        Raises NotFound, and RuleError for an unknown form or one that is richer than what is kept.
        """
        wanted = self._site_form if form is None else form
        async with self._database.begin() as conn:
            await repository.take_turn(conn)
            row = await _row(conn, service_id)
            values = await self._moved(row, wanted) | {"password_choice": form}
            await self._write(conn, row, values, actor, "subscriber.password-form")
        await self._follower.refresh_subscribers()
        return wanted

    async def changed_by_peer(self, service_id: str, password: Secret) -> None:
        """Keep what a subscriber chose in place of an expired password. Raises NotFound, and RuleError with why not."""
        check_password(password)
        async with self._database.begin() as conn:
            await repository.take_turn(conn)
            row = await _row(conn, service_id)
            if not row["password_expired"]:
                raise RuleError("it has been changed already")
            values = await columns(self._box, row, password, service_id, self._site_form)
            await self._write(conn, row, values, f"service:{service_id}", "subscriber.password-changed")
        await self._follower.refresh_subscribers()

    async def put(self, service_id: str, password: Secret, form: str | None = None, *, actor: str) -> None:
        """Set a new password, and with it any `form`; SITE follows the site, None keeps the service's choice.

        Raises NotFound, and RuleError.
        """
        check_password(password)
        if form not in (None, SITE):
            check_form(form or "")
        async with self._database.begin() as conn:
            await repository.take_turn(conn)
            row = await _row(conn, service_id)
            chosen = row if form is None else row | {"password_choice": None if form == SITE else form}
            values = await columns(self._box, chosen, password, service_id, self._site_form)
            await self._write(conn, row, values, actor, "subscriber.password-put")
        await self._follower.refresh_subscribers()

    async def expire(self, service_id: str, *, expired: bool, actor: str) -> None:
        """Refuse the password until it is changed (MS-CHAP error 648), or let it be again. Raises NotFound."""
        async with self._database.begin() as conn:
            await repository.take_turn(conn)
            row = await _row(conn, service_id)
            if row["password_expired"] != expired:
                await self._write(conn, row, {"password_expired": expired}, actor, "subscriber.password-expired")
        await self._follower.refresh_subscribers()

    async def move_all(self) -> int:
        """Bring every password that follows the site into the site's form, as far as one can be made; how many moved.

        Several processes may do it at once: each takes batches that the others have not moved yet.
        """
        richer = FORMS[: FORMS.index(self._site_form)]
        moved = 0
        while richer:
            async with self._database.begin() as conn:
                await repository.take_turn(conn)
                query = select(table).where(
                    table.c.password_choice.is_(None), table.c.password_form.in_(richer), table.c.withdrawn.is_(False)
                )
                rows = [dict(row._mapping) for row in await conn.execute(query.limit(_BATCH))]
                for row in rows:
                    values = await self._moved(row, self._site_form)
                    await repository.update_subscriber(conn, row["username"], **values, updated_at=self._clock.now())
                if rows:
                    await self._told(conn, len(rows))
            moved += len(rows)
            if len(rows) < _BATCH:
                break
        if moved:
            log.info("radius.passwords.moved", form=self._site_form, passwords=moved)
            await self._follower.refresh_subscribers()
        return moved

    async def run(self) -> None:
        """`move_all` at last: a database that is away is logged once and tried again."""
        told = False
        while True:
            try:
                await self.move_all()
                return
            except (SQLAlchemyError, OSError) as error:
                if not told:
                    log.warning("radius.passwords.waiting", form=self._site_form, error=str(error))
                told = True
            await asyncio.sleep(_RETRY_S)

    async def _moved(self, row: dict[str, Any], wanted: str) -> dict[str, Any]:
        kept = self._box.open(row["password"], context(row["service_id"])).reveal()
        kept = await asyncio.to_thread(derived, kept, row["password_form"], wanted)
        sealed = repository.seal_password(self._box, Secret(kept), row["service_id"])
        return {"password": sealed, "password_form": wanted}

    async def _told(self, conn: AsyncConnection, count: int) -> None:
        """One entry for a batch: it is the site that moved, not so many services."""
        await audit.record(
            conn,
            now=self._clock.now(),
            actor="system:radius",
            action="site.password-form",
            subject="radius:passwords",
            after={"form": self._site_form, "passwords": count},
        )

    async def _write(
        self, conn: AsyncConnection, row: dict[str, Any], values: dict[str, Any], actor: str, action: str
    ) -> None:
        now = self._clock.now()
        await repository.update_subscriber(conn, row["username"], **values, updated_at=now)
        told = [name for name in values if name != "password"]
        await audit.record(
            conn,
            now=now,
            actor=actor,
            action=action,
            subject=f"service:{row['service_id']}",
            before={name: row[name] for name in told},
            after={name: values[name] for name in told},
        )


def check_password(password: Secret) -> None:
    """Raises RuleError for what no User-Password can carry."""
    if not 0 < len(password.reveal().encode()) <= MAX_PASSWORD_OCTETS:
        raise RuleError(f"a password has 1 to {MAX_PASSWORD_OCTETS} octets (RFC 2865 §5.2)")
    if "\0" in password.reveal():
        raise RuleError("a password contains no NUL: RADIUS pads with it (RFC 2865 §5.2)")


async def columns(
    box: SecretBox,
    before: Mapping[str, Any] | None,
    password: Secret,
    service_id: str,
    site_form: str,
    known_as: str = CLEAR,
) -> dict[str, Any]:
    """What `radius_subscriber` keeps of a password that is set: `before` is the service's row, for its own choice.

    A new password lifts the demand for one; the same password written again does not. `known_as` is the form in which
    it is known, where another server kept no more: richer than that nothing can be kept. Raises RuleError for what is
    no password of that form.
    """
    choice = None if before is None else before["password_choice"]
    form = site_form if choice is None else choice
    if known_as != CLEAR:
        opened(known_as, password.reveal())
        if known_as == FOREIGN:
            form = FOREIGN
        elif FORMS.index(form) < FORMS.index(known_as):
            choice = form = known_as
    kept = password.reveal() if form == FOREIGN else await asyncio.to_thread(derived, password.reveal(), known_as, form)
    expired = before is not None and before["password_expired"]
    if before is not None and expired and known_as == CLEAR:
        former = opened(before["password_form"], box.open(before["password"], context(service_id)).reveal())
        expired = await asyncio.to_thread(same, former, password.reveal().encode())
    return {
        "password": repository.seal_password(box, Secret(kept), service_id),
        "password_form": form,
        "password_choice": choice,
        "password_expired": expired,
    }


async def _row(conn: AsyncConnection, service_id: str) -> dict[str, Any]:
    row = await repository.get_subscriber(conn, service_id)
    if row is None:
        raise NotFound(f"service {service_id} has no RADIUS login")
    return row
