"""Puts the program together: who hears which event, what runs, and in which order it starts.

Reading `subscriptions` is reading the system.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import structlog
from prometheus_client import REGISTRY
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.app import auth_routes, demo_routes, endpoints, record_routes
from controller.app.auth import AuthService
from controller.app.bus import Bus, Subscriptions
from controller.app.charging import Assurance, Money, Prepaid
from controller.app.noc_data import NocGatherer
from controller.app.rooms import Collection, Erp, Foundation, Network
from controller.app.server import Health, HttpServer, build_app
from controller.app.settings import Settings
from controller.app.site import web_site
from controller.domain.clock import Clock, MovableClock, SystemClock
from controller.domain.errors import RuleError
from controller.domain.events import (
    AccountParentSet,
    CustomerCreated,
    DunningChanged,
    DunningStepTold,
    InvoiceIssued,
    ItemHeld,
    PaymentReceived,
    PaymentReversed,
    ReceivablesChanged,
    ServiceActivated,
    ServiceChanged,
    ServiceOrdered,
    ServicePaused,
    ServiceTerminated,
)
from controller.domain.ports import Secret
from controller.http.endpoint import Endpoint
from controller.provisioning import leases
from controller.store import secrets
from controller.store.engine import Database
from controller.store.executors import Executors, ExecutorSettings
from controller.store.jobs import Jobs, stable_executor_id
from controller.store.stream import Stream
from controller.store.timeseries import TimeSeriesSettings, keep_within_retention, open_time_series
from controller.store.usage_reader import UsageLogReader
from controller.web.noc.feed import NocFeed
from controller.workflows.device_measures import DeviceMeasures, Reach
from controller.workflows.disputes import Disputes
from controller.workflows.dunning import DunningWork
from controller.workflows.line_pauses import LinePauses
from controller.workflows.order_fulfilment import OrderFulfilment
from radius.accounting.counters import RecorderCollector

log = structlog.get_logger()

Run = Callable[[], Coroutine[Any, Any, None]]


def subscriptions(money: Money, erp: Erp, prepaid: Prepaid, dunning: DunningWork) -> Subscriptions:
    """Who hears what."""
    return {
        "billing": {
            CustomerCreated: money.billing.on_customer_created,
            ServiceOrdered: money.billing.on_service_ordered,
            ServiceActivated: money.billing.on_service_activated,
            ServiceChanged: money.billing.on_service_changed,
            ServiceTerminated: money.billing.on_service_terminated,
            ServicePaused: money.billing.on_service_paused,
            AccountParentSet: money.billing.on_account_parent_set,
            ItemHeld: money.billing.on_item_held,
        },
        "prepaid": {
            ServiceActivated: prepaid.sales.on_service_activated,
            ServiceTerminated: prepaid.sales.on_service_terminated,
        },
        "items": {ServiceTerminated: erp.items.on_service_terminated},
        "agreements": {
            ItemHeld: erp.agreements.on_item_held,
            ServiceTerminated: erp.agreements.on_service_terminated,
        },
        "late-fees": {DunningStepTold: erp.late_fees.on_step_told},
        "deposits": {
            ServiceTerminated: erp.deposits.on_service_terminated,
            ItemHeld: erp.deposits.on_item_held,
        },
        "dunning": {
            PaymentReceived: dunning.on_account_changed,
            PaymentReversed: dunning.on_account_changed,
            ReceivablesChanged: dunning.on_account_changed,
            DunningChanged: dunning.on_account_changed,
            AccountParentSet: dunning.on_account_changed,
            ServiceActivated: dunning.on_account_changed,
            InvoiceIssued: dunning.on_invoice_issued,
        },
        # By itself: who is to be freed does not wait behind a hundred thousand items that are taken over.
        "dunning-items": {ItemHeld: dunning.on_item_held},
    }


class PortTaken(RuleError):
    code = "port-taken"


class Program:
    """Everything, put together. `start`, run the `tasks`, `stop_taking_work`, cancel the tasks, `close`."""

    def __init__(self, base: Foundation) -> None:
        self.base = base
        settings = base.settings
        self.erp = Erp(base)
        self.network = Network(base)
        self.money = Money(base, self.erp)
        self.prepaid = Prepaid(base, self.erp, self.network)
        self.collection = Collection(base, self.network, self.money.measured)
        self.assurance = Assurance(base, self.erp, self.network, self.collection, self.money)
        self.auth = AuthService(base.database, base.clock)
        self.fulfilment = OrderFulfilment(
            base.clock,
            base.jobs,
            placement=self.erp.placement,
            orders=self.erp.orders,
            provisioning=self.network.provisioning,
            directory=self.network.radius.subscribers,
            sessions=self.network.radius.sessions,
            is_off=self.erp.pauses.is_off,
        )
        self.pauses = LinePauses(self.erp.pauses, self.network.radius.subscribers, self.network.radius.sessions)
        self.measures = DeviceMeasures(
            base.clock, self.network.provisioning, self.network.radius.restricting, Reach(settings.dunning_devices)
        )
        self.dunning = DunningWork(
            base.database,
            base.clock,
            base.jobs,
            dunning=self.erp.dunning,
            restricting=self.network.radius.restricting,
            orders=self.erp.orders,
            pauses=self.erp.pauses,
            suspensions=self.erp.suspensions,
            zone=ZoneInfo(settings.entity_zone),
            hour=settings.dunning_hour,
            devices=self.measures,
        )
        self.dunning.register()
        self.opening_disputes = Disputes(self.erp.disputes, self.erp.finance, self.money.explainer)
        self.bus = Bus(base.database, base.clock, subscriptions(self.money, self.erp, self.prepaid, self.dunning))
        self.is_ready = False
        served, noc = self._endpoints(), self._noc()
        self.feed = NocFeed(noc, base.stream)
        site, pages = web_site(
            endpoints=served,
            authenticator=self.auth,
            sign_in=self.auth,
            clock=base.clock,
            noc=noc,
            feed=self.feed,
            stream=base.stream,
            isp_name=settings.entity_name,
            locale=settings.entity_locale,
        )
        app = build_app(
            endpoints=served,
            pages=pages,
            authenticator=self.auth,
            clock=base.clock,
            health=self.health,
            on_page_error=site.on_error,
            https=settings.https,
        )
        try:
            self.http = HttpServer(
                app, host=settings.bind, port=settings.http_port, https=settings.https, on_stop=base.stream.close
            )
        except OSError as error:
            raise PortTaken(f"HTTP port {settings.http_port}: {error.strerror}; set HEADEND_HTTP_PORT") from None

    def _endpoints(self) -> list[Endpoint]:
        base, erp, money = self.base, self.erp, self.money
        found = [
            *endpoints.sales(erp, self.fulfilment, base.clock),
            *endpoints.access(self.network, base.settings.entity_zone),
            *endpoints.charging(base, self.collection, money, self.prepaid, self.assurance),
            *endpoints.books(erp, self.prepaid, self.assurance.control),
            *endpoints.bills(erp, money),
            *endpoints.dunning(erp, self.opening_disputes, self.dunning),
            *auth_routes.endpoints(self.auth),
            *record_routes.endpoints(base.database, self.bus),
        ]
        if isinstance(base.clock, MovableClock):
            found += demo_routes.endpoints(base.clock)
        return found

    def _noc(self) -> NocGatherer:
        base, radius = self.base, self.network.radius
        return NocGatherer(
            database=base.database,
            clock=base.clock,
            sessions=self.network.sessions,
            counters=radius.counters,
            recorded=self.network.recorder.counters,
            subscribers=lambda: len(radius.directory),
            orders=self.erp.orders,
            crm=self.erp.crm,
            devices=self.network.devices,
            health=self.collection.device_health,
            series=base.series,
            components=self._components,
            checks=self.network.checks,
            quarantine=self.network.quarantine,
        )

    def _components(self) -> dict[str, tuple[str, str]]:
        """What the controller stands on and talks to, for the NOC page."""
        settings = self.base.settings
        return {
            "RADIUS": self._radius_state(),
            "Database": ("ok", "SQLite" if self.base.database.is_sqlite else "PostgreSQL"),
            "Time series": ("ok", settings.timeseries_url or "embedded"),
            "MQTT broker": self.collection.broker,
        }

    def _radius_state(self) -> tuple[str, str]:
        listener = self.network.radius.listener
        if not self.base.settings.has_role("radius"):
            return "absent", "another process answers"
        ports = f"{self.base.settings.bind}, ports {listener.auth_port} and {listener.acct_port}"
        return ("ok", ports) if self.is_ready else ("down", ports)

    @property
    def tasks(self) -> list[tuple[str, Run]]:
        """Background work by the role that wants it; HTTP is always there, for health, metrics and who asks."""
        settings = self.base.settings
        always: list[tuple[str, Run]] = [
            ("http", self.http.run),
            ("executor", self._stay_alive),
            # An operator may ask any process for a trace.
            ("traces", self.network.radius.traces.sharing.run),
        ]
        wanted: list[tuple[str, str, Run]] = [
            ("radius", "recorder", self.network.recorder.run),
            ("radius", "radius", self.network.radius.run),
            ("provision", "orders", self.fulfilment.run),
            ("provision", "pauses", self.pauses.run),
            ("provision", "measures", self.measures.run),
            ("bill", "mediation", self.money.mediation.run),
            ("bill", "prepaid", self.prepaid.counter.run),
            ("bill", "prepayments", self.prepaid.sales.run),
            ("bill", "suspense", self.money.suspense.watch),
            ("bill", "exceptions", self.money.checks.watch),
            ("bill", "assurance", self.assurance.nights.run),
            ("bill", "usage-ledger", self.money.sources.watch),
            ("bill", "bus", self.bus.run),
            ("bill", "notices", self.erp.notices.run),
            ("bill", "contract-notices", self.erp.contract_notices.run),
            ("bill", "prepaid-notices", self.prepaid.notices.run),
            ("bill", "recognition", self.erp.recogniser.run),
            ("bill", "adjustments", self.erp.adjusting.run),
            ("bill", "payments", self.erp.payments.run),
            ("collect", "session-usage", self.collection.sessions.run),
            ("collect", "usage-feed", self.collection.feed.run),
            ("collect", "retention", self._keep_series),
            ("api", "noc", self.feed.run),
        ]
        if not isinstance(self.base.clock, MovableClock):
            # Polls and drift checks are due by the clock: one that leaps by hours would make everything due at once.
            wanted += [
                ("provision", "reconciler", self.network.reconciler.run),
                ("collect", "poller", self._poll),
                ("bill", "dunning", self.dunning.run),
            ]
        if self.collection.telemetry is not None:
            wanted.append(("collect", "telemetry", self.collection.telemetry.run))
        return [*always, *((name, run) for role, name, run in wanted if settings.has_role(role))]

    async def _stay_alive(self) -> None:
        await self.base.executors.run(self._take_over if self.base.jobs.is_open else None)

    async def _take_over(self, conn: AsyncConnection, lost: Sequence[str]) -> None:
        """What processes that are gone held and had begun is free for us, and for every other that works."""
        await leases.free(conn, lost)
        await self.base.jobs.take_over(lost)

    async def _poll(self) -> None:
        await self.collection.poller.run()

    async def _keep_series(self) -> None:
        await keep_within_retention(self.base.series, self.base.clock)

    async def start(self) -> None:
        """First data, then workers, then ports: nobody is answered by something half there."""
        settings = self.base.settings
        await self.base.jobs.hold_name()
        await self.base.executors.claim()
        await self.erp.crm.ensure_entity(
            name=settings.entity_name,
            zone=settings.entity_zone,
            currency=settings.entity_currency,
            locale=settings.entity_locale,
            address=settings.entity_address,
            tax_id=settings.entity_tax_id,
        )
        password, token = settings.admin_password, settings.admin_token
        await self.auth.ensure_first_admin(
            Secret(password.get_secret_value()) if password else None,
            Secret(token.get_secret_value()) if token else None,
        )
        if settings.has_role("provision") or settings.has_role("bill"):
            await self.base.jobs.launch()
            await self.money.bill_runs.resume()
        if settings.has_role("radius"):
            self.network.radius.register_metrics(REGISTRY)
            recorder = self.network.recorder
            REGISTRY.register(
                RecorderCollector(recorder.counters, lambda: recorder.depth, lambda: recorder.sessions_in_memory)
            )
            try:
                await self.network.radius.start()
            except OSError as error:
                raise PortTaken(
                    f"{error.strerror}; set HEADEND_AUTH_PORT, HEADEND_ACCT_PORT or HEADEND_RADSEC_PORT"
                ) from None
        if self.collection.ipfix is not None and settings.has_role("collect"):
            try:
                await self.collection.ipfix.open(settings.bind, settings.ipfix_port or 0)
            except OSError as error:
                raise PortTaken(f"{error.strerror}; set HEADEND_IPFIX_PORT") from None
        self.is_ready = True

    async def health(self) -> Health:
        """Ready when the store answers, the ports are bound and workers run."""
        try:
            await self.base.database.check()
        except SQLAlchemyError as error:
            return Health(False, {"store": type(error).__name__})
        return Health(self.is_ready, {"store": "ok", "radius": "ok" if self.is_ready else "starting"})

    def stop_taking_work(self) -> None:
        """Close the RADIUS ports: what was not answered the NAS sends again, to whoever is next."""
        self.is_ready = False
        self.network.radius.close()
        if self.collection.ipfix is not None:
            self.collection.ipfix.close()

    async def close(self) -> None:
        self.stop_taking_work()
        await self.base.jobs.close()
        await self.collection.feed.stop()
        await self._leave()
        await self.erp.payments.close()
        await self.network.close()
        await self.base.series.close()
        await self.base.database.close()

    async def _leave(self) -> None:
        """Tell the others that what we leave unfinished is theirs; without a database our silence tells them."""
        try:
            await self.base.executors.release()
        except SQLAlchemyError as error:
            log.warning("executor.not_released", error=type(error).__name__)


async def build(settings: Settings) -> Program:
    """Open the stores and make the program. Raises RuleError or OSError for what cannot be opened."""
    clock: Clock = SystemClock()
    if settings.clock == "demo":
        clock = MovableClock(datetime.fromisoformat(settings.demo_start))
    database = Database(settings.url)
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    executors = Executors(
        database,
        settings.executor_id,
        data_dir_id=stable_executor_id(settings.data_dir),
        life=uuid.uuid4().hex,
        settings=ExecutorSettings(dead_after_s=settings.takeover_s),
    )
    base = Foundation(
        settings=settings,
        database=database,
        clock=clock,
        box=secrets.load_or_create(settings.data_dir / "headend.key"),
        series=open_time_series(TimeSeriesSettings(url=settings.timeseries_url), settings.data_dir),
        usage=UsageLogReader(database),
        executors=executors,
        jobs=Jobs(database.url, settings.data_dir, executor_id=settings.executor_id, ready=executors.ready),
        stream=Stream(),
    )
    return Program(base)
