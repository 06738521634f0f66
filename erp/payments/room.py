"""The services of payments, put together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx2
import structlog

from controller.domain.clock import Clock
from controller.domain.errors import HeadendError
from controller.store.engine import Database
from controller.store.secrets import SecretBox
from erp.crm.service import CrmService
from erp.finance.service import FinanceService
from erp.payments.bank.identify import Identification
from erp.payments.bank.reading import StatementReader
from erp.payments.bank.service import BankService
from erp.payments.booking import CardBooking
from erp.payments.cards import CardCharges
from erp.payments.cash import CashDesk
from erp.payments.entity_settings import EntitySettings
from erp.payments.fees import GatewayFees
from erp.payments.gateway import PaymentGateway
from erp.payments.gateways import GatewayRegistry
from erp.payments.inbox import AWAY, GatewayInbox
from erp.payments.refunds import RefundService
from erp.payments.repository import Gateway
from erp.payments.sepa.mandates import MandateService
from erp.payments.sepa.service import SepaService
from erp.payments.sepa.transfers import RefundTransfers
from erp.payments.settings import PaymentsSettings
from erp.payments.stripe.client import StripeGateway

log = structlog.get_logger()


class PaymentsRoom:
    """What `app.rooms` makes one of. `run` is its task; `close` ends its connections."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        box: SecretBox,
        crm: CrmService,
        finance: FinanceService,
        settings: PaymentsSettings,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client: httpx2.AsyncClient | None = None
        self._sleep = sleep
        self.settings = settings
        self.finance = finance
        self.settlement = finance.settlement
        self.gateways = GatewayRegistry(database, clock, crm, box)
        self.booking = CardBooking(database, clock, crm, self.settlement)
        self.inbox = GatewayInbox(database, clock, self.gateways, self.booking, settings)
        self.refunds = RefundService(
            database, clock, self.settlement, self.booking, self.gateways, self._speaks, settings
        )
        self.fees = GatewayFees(database, clock, self.gateways, self.booking, self._speaks)
        self.cards = CardCharges(database, clock, finance, self.gateways, self._speaks)

        self.entity_settings = EntitySettings(database, clock, crm, settings)
        self.sepa = SepaService(
            database, clock, crm, self.settlement, finance.corrections, settings, self.entity_settings
        )
        self.mandates = MandateService(database, clock, crm)
        self.transfers = RefundTransfers(database, clock, crm, self.settlement)
        identify = Identification(clock, self.settlement, self.sepa)
        self.bank = BankService(database, clock, crm, self.settlement, identify)
        self.statements = StatementReader(database, clock, identify, self.sepa, settings)
        self.cash = CashDesk(database, clock, crm, self.settlement)

    async def run(self) -> None:
        """Handle what gateways tell, and ask again what they did not answer, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.inbox.run(), name="payments:inbox")
            tasks.create_task(self._ask_again(), name="payments:again")

    async def resume(self) -> None:
        """Go on with what an answer, or a process, was lost over: refunds, charges, bank lines not looked at yet."""
        again = (self.refunds.resume, self.refunds.expire, self.cards.resume, self.fees.resume, self.statements.look)
        for resumed in again:
            try:
                await resumed()
            except HeadendError as error:
                # A gateway without a key, or one that answers nonsense, keeps nothing else from being gone on with.
                log.warning("payments.not_gone_on_with", what=resumed.__qualname__, error=str(error))

    async def _ask_again(self) -> None:
        while True:
            try:
                await self.resume()
            except AWAY as error:
                log.warning("payments.database_away", error=type(error).__name__)
            await asyncio.sleep(self.settings.ask_again_s)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    def _speaks(self, gateway: Gateway) -> PaymentGateway:
        if self._client is None:
            self._client = httpx2.AsyncClient(timeout=self.settings.request_timeout_s, trust_env=False)
        return StripeGateway(
            self._client, gateway.api_base, self.gateways.api_key(gateway), sleep=self._sleep,
            patience_s=self.settings.request_timeout_s,
        )  # fmt: skip
