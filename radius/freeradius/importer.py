"""One import: read, map, and put what is not there yet, through the services and so with their audit entries.

Importing again changes only what changed there. A login that exists here keeps its service; a new one gets a service
id that follows from its user name.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Any

from controller.domain.errors import Conflict, RuleError
from controller.domain.identity import ServiceId
from controller.domain.service import SpeedProfile
from controller.store.engine import Database
from controller.store.secrets import SecretBox
from radius import repository
from radius.access import AccessService
from radius.follower import Registry
from radius.freeradius import mapping, sessions
from radius.freeradius.model import Wanted, WantedLogin, WantedNas
from radius.freeradius.sessions import SessionCounts
from radius.freeradius.source import Source
from radius.nas_registry import NasChange, NasService
from radius.subscribers import SubscriberService


@dataclass
class Outcome:
    """What an import did, or would do."""

    wanted: Wanted
    sessions: SessionCounts
    done: dict[str, int] = field(default_factory=dict)
    """"NAS new", "login unchanged" … → how many."""

    def count(self, what: str) -> None:
        self.done[what] = self.done.get(what, 0) + 1


@dataclass(frozen=True)
class Importer:
    database: Database
    box: SecretBox
    registry: Registry
    nas: NasService
    subscribers: SubscriberService
    access: AccessService
    zone: tzinfo = UTC
    """Of times in radacct that are written without one."""

    async def run(self, source: Source, unshaped: SpeedProfile, *, actor: str, dry_run: bool) -> Outcome:
        """Raises RuleError for a source that cannot be read; what single rows lack is in the outcome."""
        outcome = Outcome(mapping.wanted(source.tables(), unshaped), SessionCounts())
        planned: dict[str, str] = {}
        for nas in outcome.wanted.nas:
            outcome.count(f"NAS {await self._nas(nas, outcome, actor, dry_run)}")
            planned[nas.address] = "new"
        services: dict[str, str] = {}
        for login in outcome.wanted.logins:
            service_id, what = await self._login(login, outcome, actor, dry_run)
            services[login.username] = service_id
            outcome.count(f"login {what}")

        def nas_at(address: str) -> str | None:
            known = self.registry.find(address)
            return known.nas_id if known is not None else planned.get(address) if dry_run else None

        outcome.sessions = await sessions.bring(
            self.database, source.sessions(), nas_at, services.get, zone=self.zone, dry_run=dry_run
        )
        return outcome

    async def _nas(self, nas: WantedNas, outcome: Outcome, actor: str, dry_run: bool) -> str:
        known = next((one for one in self.registry.by_id.values() if one.address == nas.address), None)
        try:
            if known is None:
                if not dry_run:
                    await self.nas.register(
                        name=nas.name,
                        address=nas.address,
                        secret=nas.secret,
                        vendor=nas.vendor,
                        interim_interval_s=nas.interim_interval_s,
                        actor=actor,
                    )
                return "new"
            # Everything but the secret may have been set right here meanwhile, and stays.
            if known.secret.value == nas.secret.reveal().encode():
                return "unchanged"
            if not dry_run:
                await self.nas.change(known.nas_id, NasChange(secret=nas.secret), actor=actor)
            return "changed"
        except RuleError as error:
            outcome.wanted.findings.remark(f"the NAS is refused: {error}", nas.name)
            return "refused"

    async def _login(self, login: WantedLogin, outcome: Outcome, actor: str, dry_run: bool) -> tuple[str, str]:
        async with self.database.read() as conn:
            row = await repository.get_login(conn, login.username)
        before = None if row is None or row["withdrawn"] else row
        service_id = ServiceId(_service_id(login.username) if before is None else before["service_id"])
        # What cannot be asked here locks a new login; whoever opened it since has looked at it.
        enabled = login.enabled if before is None or not login.asks_more else bool(before["enabled"])
        try:
            same_login = before is not None and self._is_same(before, login, enabled=enabled)
            same_terms = before is not None and await self._has_terms(service_id, login)
            if same_login and same_terms:
                return service_id, "unchanged"
            if not dry_run:
                if not same_login:
                    await self._put(service_id, login, actor, enabled=enabled)
                if not same_terms:
                    await self.access.put_terms(
                        service_id,
                        login.terms,
                        ipv6_prefix=login.ipv6_prefix,
                        delegated_prefix=login.delegated_prefix,
                        actor=actor,
                    )
        except (RuleError, Conflict) as error:
            outcome.wanted.findings.remark(f"the login is refused: {error}", login.username)
            return service_id, "refused"
        return service_id, "new" if before is None else "changed"

    async def _put(self, service_id: ServiceId, login: WantedLogin, actor: str, *, enabled: bool) -> None:
        await self.subscribers.put_subscriber(
            service_id=service_id,
            username=login.username,
            password=login.password,
            profile=login.profile,
            framed_ipv4=login.framed_ipv4,
            enabled=enabled,
            actor=actor,
            known_as=login.form,
        )

    def _is_same(self, row: dict[str, Any], login: WantedLogin, *, enabled: bool) -> bool:
        kept = self.box.open(row["password"], repository.subscriber_context(row["service_id"])).reveal()
        profile = SpeedProfile(row["profile_name"], row["downstream_bps"], row["upstream_bps"])
        # A password that is kept in a poorer form here cannot be compared, and is not overwritten.
        is_kept = row["password_form"] != login.form or kept == login.password.reveal()
        return is_kept and (profile, row["framed_ipv4"], bool(row["enabled"])) == (
            login.profile, login.framed_ipv4, enabled,
        )  # fmt: skip

    async def _has_terms(self, service_id: str, login: WantedLogin) -> bool:
        access = await self.access.show(service_id)
        return (dict(access.terms), access.ipv6_prefix, access.delegated_prefix) == (
            login.terms, login.ipv6_prefix, login.delegated_prefix,
        )  # fmt: skip


def _service_id(username: str) -> str:
    return hashlib.blake2b(f"freeradius:{username}".encode(), digest_size=16).hexdigest()
