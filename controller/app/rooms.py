"""The rooms of the program, each with the services it is made of and what it is given of the others.

Nothing here decides anything: a rule belongs into a room's `model`.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from collectors.health import HealthStore
from collectors.ipfix.collector import IpfixCollector
from collectors.ipfix.flows import networks
from collectors.mqtt.subscriber import MqttSubscriber
from collectors.onus import OnuSightings
from collectors.poller import Poller
from collectors.session_usage import SessionUsage
from collectors.settings import MqttSettings
from collectors.usage_feed import UsageFeed
from collectors.usage_journal import UsageJournal
from controller.app.settings import Settings
from controller.domain.clock import Clock
from controller.domain.ports import DeviceHealth, Secret, UsageIntake
from controller.domain.service import SpeedProfile
from controller.domain.units import KBPS
from controller.provisioning.devices import DeviceRegistry
from controller.provisioning.reconcile import Reconciler
from controller.provisioning.service import ProvisioningService
from controller.provisioning.settings import ProvisioningSettings
from controller.store.engine import Database
from controller.store.executors import Executors
from controller.store.jobs import Jobs
from controller.store.secrets import SecretBox
from controller.store.stream import Stream
from controller.store.timeseries import KeptTimeSeries
from controller.store.usage_log import UsageLog
from controller.store.usage_reader import UsageLogReader
from controller.workflows.contract_notices import ContractNotices
from drivers.napalm_router.driver import NapalmRouter
from drivers.registry import DRIVER_NAMES, DriverSettings, service_drivers
from drivers.transport.netconf import NetconfTransport
from erp.catalog.service import CatalogService
from erp.crm.entities import EntityService
from erp.crm.hierarchy import HierarchyService
from erp.crm.service import CrmService
from erp.crm.usage_links import UsageLinks
from erp.dunning.board import BoardService
from erp.dunning.disputes import DisputeService
from erp.dunning.mail import SmtpMailer, SmtpSettings
from erp.dunning.notices import NoticeService
from erp.dunning.service import DunningService
from erp.finance.adjusting import Adjusting
from erp.finance.agreements import Agreements
from erp.finance.books import BooksService
from erp.finance.deposits import DepositService
from erp.finance.late_fees import LateFees
from erp.finance.levies import LevyAdapter
from erp.finance.levy_adapters import HttpLevies
from erp.finance.proposals import ProposalService
from erp.finance.recognising import Recogniser
from erp.finance.resale import ResaleService
from erp.finance.revenue import RevenueService
from erp.finance.service import FinanceService
from erp.finance.settings import FinanceSettings
from erp.finance.taxes import TaxService
from erp.inventory.service import InventoryService
from erp.orders.contracts import ContractService
from erp.orders.items import ItemService
from erp.orders.pauses import PauseService
from erp.orders.placement import OrderPlacement
from erp.orders.service import OrderService
from erp.orders.suspensions import Suspensions
from erp.payments.room import PaymentsRoom
from erp.payments.settings import PaymentsSettings
from radius.accounting.checks import NasChecks
from radius.accounting.quarantine import QuarantineService
from radius.accounting.recorder import AccountingRecorder
from radius.accounting.settings import AccountingSettings
from radius.accounting.views import SessionRepository
from radius.accounting.whois import Whois
from radius.radsec.settings import RadsecSettings
from radius.room import RadiusRoom
from radius.settings import RadiusSettings
from radius.vendors.terms import GARDEN_PROFILE, Garden


@dataclass(frozen=True)
class Foundation:
    """What every room stands on."""

    settings: Settings
    database: Database
    clock: Clock
    box: SecretBox
    series: KeptTimeSeries
    usage: UsageLogReader
    executors: Executors
    jobs: Jobs
    stream: Stream

    @property
    def data_dir(self) -> Path:
        return self.settings.data_dir


def _levies(settings: Settings) -> LevyAdapter | None:
    """The tax service, where one is named; else finance's own table decides."""
    if settings.levy_url is None:
        return None
    token = settings.levy_token
    return HttpLevies(settings.levy_url, None if token is None else Secret(token.get_secret_value()))


class Erp:
    """Customers, catalogue, stock, orders and the ledger."""

    def __init__(self, base: Foundation) -> None:
        self.crm = CrmService(base.database, base.clock)
        self.entities = EntityService(base.database, base.clock)
        self.hierarchy = HierarchyService(base.database, base.clock)
        self.usage_links = UsageLinks(base.database, base.clock)
        self.catalog = CatalogService(base.database, base.clock)
        self.inventory = InventoryService(base.database, base.clock)
        self.orders = OrderService(base.database, base.clock, base.box, catalog=self.catalog, inventory=self.inventory)
        self.items = ItemService(base.database, base.clock, crm=self.crm, catalog=self.catalog)
        self.pauses = PauseService(base.database, base.clock, crm=self.crm)
        self.suspensions = Suspensions(base.clock)
        self.contracts = ContractService(
            base.database, base.clock, crm=self.crm, catalog=self.catalog, items=self.items
        )
        self.placement = OrderPlacement(
            base.database, base.clock, base.box, crm=self.crm, catalog=self.catalog, inventory=self.inventory
        )
        self.finance = FinanceService(
            base.database,
            base.clock,
            self.crm,
            FinanceSettings(
                iban=base.settings.iban,
                debit_note_series=base.settings.debit_note_series,
                tax_each_line=base.settings.tax_rounding == "line",
            ),
            _levies(base.settings),
        )
        self.resale = ResaleService(base.database, base.clock, self.crm, FinanceSettings())
        self.adjusting = Adjusting(base.database, base.clock, self.finance.corrections)
        self.late_fees = LateFees(self.finance.corrections)
        self.deposits = DepositService(base.database, base.clock, self.crm, self.finance.settlement)
        self.books = BooksService(base.database, base.clock, self.crm)
        self.proposals = ProposalService(base.database, base.clock, self.books)
        self.revenue = RevenueService(base.database, base.clock, self.crm)
        self.recogniser = Recogniser(base.clock, self.crm, self.revenue)
        self.tax = TaxService(base.database, base.clock, self.crm)
        self.agreements = Agreements(
            crm=self.crm,
            catalog=self.catalog,
            contracts=self.contracts,
            corrections=self.finance.corrections,
            revenue=self.revenue,
        )
        self.dunning = DunningService(base.database, base.clock, self.crm)
        self.disputes = DisputeService(base.database, base.clock, self.dunning, self.finance, self.finance.corrections)
        smtp_url, settings = base.settings.smtp_url, base.settings
        mailer = None if smtp_url is None else SmtpMailer(SmtpSettings.of_url(smtp_url.get_secret_value()))
        self.mailer = mailer
        self.contract_notices = ContractNotices(
            base.database,
            base.clock,
            self.crm,
            mailer=mailer,
            sender=settings.mail_from,
            process=settings.executor_id,
        )
        self.notices = NoticeService(
            base.database,
            base.clock,
            self.crm,
            self.dunning,
            mailer=mailer,
            sender=settings.mail_from,
            iban=settings.iban,
            process=settings.executor_id,
        )
        self.board = BoardService(self.dunning, self.notices.counts)
        self.payments = PaymentsRoom(base.database, base.clock, base.box, self.crm, self.finance, PaymentsSettings())


class Network:
    """RADIUS and provisioning, which meet here as SessionControl."""

    def __init__(self, base: Foundation) -> None:
        settings = base.settings
        self.usage_log = UsageLog(base.database, writer=settings.executor_id)
        self.recorder = AccountingRecorder(
            base.database,
            base.clock,
            self.usage_log,
            self._service_of,
            AccountingSettings(
                plan_margin=settings.plan_margin,
                hold_above_plan=settings.hold_above_plan,
                keep_history_days=settings.keep_history_days,
            ),
            rates_of=self._rates_of,
            interim_of=lambda username: self.radius.directory.interim_of(username),
            prefixes_of=lambda username: self.radius.directory.prefixes_of(username),
        )
        self.quarantine = QuarantineService(base.database, base.clock)
        self.checks = NasChecks(base.database, base.clock)
        self.whois = Whois(base.database, base.clock, base.usage)
        self.sessions = SessionRepository(base.database)
        self.radius = RadiusRoom(
            base.database,
            base.clock,
            base.box,
            RadiusSettings(
                host=settings.bind,
                auth_port=settings.auth_port,
                acct_port=settings.acct_port,
                reuse_port=settings.share_radius_ports,
                process=settings.executor_id,
                dynamic_port=settings.dynamic_port if settings.has_role("radius") else None,
                operator_name=settings.operator_name,
                entity_zone=ZoneInfo(settings.entity_zone),
                garden=_garden(settings),
                password_form=settings.password_form,
                radsec=RadsecSettings(
                    directory=settings.radsec_dir if settings.has_role("radius") else None,
                    host=settings.bind,
                    port=settings.radsec_port,
                    versions=tuple(f"radius/{name.strip()}" for name in settings.radsec_versions.split(",")),
                    reuse_port=settings.share_radius_ports,
                ),
                eap_dir=settings.eap_dir if settings.has_role("radius") else None,
                eap_methods=tuple(name.strip() for name in settings.eap_methods.split(",") if name.strip()),
                eap_tls_minimum=settings.eap_tls_minimum,
                peap_needs_binding=settings.peap_needs_binding,
            ),
            recorder=self.recorder,
            sessions=self.sessions,
        )
        self.recorder.on_turned = self.radius.leases.turned
        self.devices = DeviceRegistry(base.database, base.clock, base.box, list(DRIVER_NAMES))
        driver_settings = DriverSettings()
        self.netconf = NetconfTransport(driver_settings.netconf, self.devices)
        self.drivers = service_drivers(driver_settings, self.netconf, self.devices)
        # Devices are changed by workflows alone, and `jobs` refuses a second process of this executor id.
        provisioning_settings = ProvisioningSettings(lease_holder=settings.executor_id)
        self.provisioning = ProvisioningService(
            base.database, base.clock, self.devices, self.drivers, self.radius.sessions, provisioning_settings
        )
        self.reconciler = Reconciler(self.provisioning, base.clock, provisioning_settings)

    async def close(self) -> None:
        """After the tasks have ended: hang up on devices, give back the log's connection."""
        await self.netconf.close()
        for driver in self.drivers.values():
            if isinstance(driver, NapalmRouter):
                driver.close()
        await self.usage_log.close()

    def _service_of(self, username: bytes) -> str | None:
        return self.radius.directory.service_of(username)

    def _rates_of(self, username: bytes) -> tuple[int, int] | None:
        return self.radius.directory.rates_of(username)


def _garden(settings: Settings) -> Garden | None:
    if not settings.garden:
        return None
    rate_bps = settings.garden_kbps * KBPS
    return Garden(
        name=settings.garden_name,
        redirect_url=settings.garden_url or None,
        profile=SpeedProfile(GARDEN_PROFILE, rate_bps, rate_bps),
    )


class Collection:
    """What is measured: polls, telemetry and the usage log, into the time series."""

    def __init__(self, base: Foundation, network: Network, intake: UsageIntake) -> None:
        settings = base.settings
        life = uuid.uuid4().hex
        self.feed = UsageFeed(intake, base.clock, life, journal=UsageJournal(base.database, life))
        self.ipfix: IpfixCollector | None = None
        if settings.ipfix_port is not None:
            exporters, ours = networks(settings.ipfix_exporters), networks(settings.ipfix_subscribers)
            self.ipfix = IpfixCollector(self.feed.flows, base.clock, exporters=exporters, ours=ours)
        self.health = HealthStore(base.database)
        self.onus = OnuSightings(base.database)
        self.poller = Poller(
            network.provisioning,
            base.series,
            self.health,
            base.clock,
            netconf=network.netconf,
            access=network.provisioning,
            sightings=self.onus,
            feed=self.feed.counters,
        )
        self.sessions = SessionUsage(base.database, base.usage, base.series)
        self.telemetry: MqttSubscriber | None = None
        if base.settings.mqtt_url:
            mqtt = MqttSettings.from_url(base.settings.mqtt_url, client_id=f"headend-{base.settings.executor_id}")
            self.telemetry = MqttSubscriber(mqtt, base.series, base.clock, network.provisioning)

    async def device_health(self) -> list[DeviceHealth]:
        return [source.health for source in await self.health.all()]

    @property
    def broker(self) -> tuple[str, str]:
        """State and detail of the broker, for people."""
        if self.telemetry is None:
            return "absent", "no broker is configured"
        return ("ok", "connected") if self.telemetry.problem is None else ("down", self.telemetry.problem)
