"""Accounts with payment services: which there are, under which secrets they speak to us and we to them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.errors import RuleError
from controller.domain.identity import EntityId
from controller.domain.ports import Secret
from controller.store import audit
from controller.store.engine import Database
from controller.store.secrets import SecretBox
from erp.crm.service import CrmService
from erp.payments import repository
from erp.payments.errors import NoGateway
from erp.payments.repository import Gateway

FORMER_HOLDS = timedelta(hours=24)
"""As at Stripe: after a secret was rolled, the one before it signs beside it for up to a day."""
STRIPE_API = "https://api.stripe.com"


class GatewayRegistry:
    """The one writer of gateways. Secrets are written, never read back but to be used."""

    def __init__(self, database: Database, clock: Clock, crm: CrmService, box: SecretBox) -> None:
        self._database = database
        self._clock = clock
        self._crm = crm
        self._box = box

    async def put(
        self,
        name: str,
        *,
        webhook_secret: Secret,
        api_key: Secret | None,
        api_base: str,
        actor: str,
        entity_id: EntityId | None = None,
    ) -> Gateway:
        """Add a gateway, or change its secrets: the former webhook secret holds for another day.

        Without `api_key` the one that is known stays.
        """
        entity = await self._crm.entity(entity_id)
        now = self._clock.now()
        async with self._database.begin() as conn:
            known = await self._find(conn, name)
            if known is not None and entity_id not in (None, known.entity_id):
                raise RuleError(f"gateway {name} is another legal entity's: what it told is in those books")
            former, until = self._former(known, webhook_secret, now)
            key = self._box.seal(api_key, f"gateway-key:{name}") if api_key else (known.api_key if known else None)
            sealed = self._box.seal(webhook_secret, f"gateway-webhook:{name}")
            whose = known.entity_id if known else entity.entity_id
            made = Gateway(name, whose, "stripe", api_base, key, sealed, former, until, now)
            await repository.put_gateway(conn, made, actor)
            await audit.record(
                conn,
                now=now,
                actor=actor,
                action="payment-gateway.put",
                subject=f"payment-gateway:{name}",
                after={"api_base": api_base, "rotated": former is not None},
            )
        return made

    async def all(self) -> list[Gateway]:
        async with self._database.read() as conn:
            return await repository.gateways(conn)

    async def get(self, name: str) -> Gateway:
        """Raises NoGateway."""
        async with self._database.read() as conn:
            found = await self._find(conn, name)
        if found is None:
            raise NoGateway(f"no payment gateway {name}")
        return found

    def webhook_secrets(self, of: Gateway) -> Sequence[str]:
        """Those that hold now, the newest first."""
        found = [self._box.open(of.webhook_secret, f"gateway-webhook:{of.name}").reveal()]
        if of.former_secret is not None and of.former_until is not None and self._clock.now() < of.former_until:
            found.append(self._box.open(of.former_secret, f"gateway-webhook:{of.name}").reveal())
        return found

    def api_key(self, of: Gateway) -> Secret:
        """Raises NoGateway where none was given: such a gateway only tells us."""
        if of.api_key is None:
            raise NoGateway(f"gateway {of.name} has no API key: nothing can be asked of it")
        return self._box.open(of.api_key, f"gateway-key:{of.name}")

    def _former(
        self, known: Gateway | None, webhook_secret: Secret, now: datetime
    ) -> tuple[bytes | None, datetime | None]:
        if known is None:
            return None, None
        before = self._box.open(known.webhook_secret, f"gateway-webhook:{known.name}")
        if before.reveal() == webhook_secret.reveal():
            return known.former_secret, known.former_until
        return known.webhook_secret, now + FORMER_HOLDS

    async def _find(self, conn: AsyncConnection, name: str) -> Gateway | None:
        found = await repository.gateways(conn, name)
        return found[0] if found else None
