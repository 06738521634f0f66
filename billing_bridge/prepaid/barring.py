"""Services that are kept from their customers for something else that is owed: none of their calls begins, or goes on
beyond what was granted. Who keeps them so is asked within the transaction of the call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.errors import Suspended

BARRED = Counter("headend_prepaid_calls_barred", "Calls that were not let begin or go on, of suspended services.")
Reason = Callable[[AsyncConnection, str], Awaitable[str | None]]
"""Why a service is not to be used now; None where nothing is in its way."""


class Barring:
    def __init__(self) -> None:
        self.reason: Reason | None = None
        """None where nobody suspends any."""

    async def check(self, conn: AsyncConnection, service_id: str) -> None:
        """Raises Suspended."""
        reason = None if self.reason is None else await self.reason(conn, service_id)
        if reason is not None:
            BARRED.inc()
            raise Suspended(
                f"service {service_id} is suspended ({reason}): put calls for help through without asking, and no other"
            )
