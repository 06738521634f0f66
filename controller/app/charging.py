"""The rooms that charge, each with its services: billing and its runs, prepaid balances, what is carried unbilled.

They stand on those of `app.rooms`, which never need them.
"""

from __future__ import annotations

from zoneinfo import ZoneInfo

from billing_bridge.billing.accounts import AccountBilling
from billing_bridge.billing.holds import CHECK
from billing_bridge.billing.rerating import Reratings
from billing_bridge.billing.run_book import RunBook
from billing_bridge.billing.service import BillingService
from billing_bridge.billing.trial import PriceTrials
from billing_bridge.checks.billed import BilledLines
from billing_bridge.checks.recount import Recount
from billing_bridge.checks.service import ChecksService
from billing_bridge.mediation.service import MediationService
from billing_bridge.mrr.service import RecurringRevenue
from billing_bridge.prepaid.closing import PrepaidClosing
from billing_bridge.prepaid.counter import PrepaidCounter
from billing_bridge.prepaid.service import PrepaidService
from billing_bridge.prepaid.telling import PrepaidTelling
from billing_bridge.reading import BillingReader
from billing_bridge.settings import BillingSettings
from billing_bridge.sources.intake import Intake
from billing_bridge.sources.measured import MeasuredIntake
from billing_bridge.sources.service import SourceService
from billing_bridge.suspense.service import SuspenseService
from controller.app.rooms import Collection, Erp, Foundation, Network
from controller.domain.identity import AccountId, BillRunId
from controller.workflows.assurance_nights import AssuranceNights
from controller.workflows.bill_run import BillRuns
from controller.workflows.certify import Certifier
from controller.workflows.customer_usage import CustomerUsage
from controller.workflows.explain import Explainer
from controller.workflows.leakage import Leakage
from controller.workflows.prepaid import PrepaidSales
from controller.workflows.prepaid_notices import PrepaidNotices
from controller.workflows.prepaid_subledger import prepaid_subledger
from controller.workflows.preview import Previews
from controller.workflows.reconciliation import Reconciliation
from erp.finance.control import ControlAccounts
from erp.finance.prepayments import Prepayments
from erp.finance.vouchers import Receipts
from erp.orders.repository import versions_of_service as ordered_versions
from erp.orders.sales import OrderedSales
from erp.payments import subledgers
from radius.accounting.holders import SessionHolders
from radius.live import LiveAccess


class Money:
    """Mediation, rating, billing, and the bill run that joins them with finance."""

    def __init__(self, base: Foundation, erp: Erp) -> None:
        settings = BillingSettings(zone=ZoneInfo(base.settings.entity_zone))
        self.mediation = MediationService(base.database, base.clock, base.usage, settings)
        self.billing = BillingService(base.database, base.clock, erp.catalog, settings)
        holders = SessionHolders()
        self.suspense = SuspenseService(base.database, base.clock, settings, holders)
        self.sources = SourceService(base.database, base.clock, settings)
        self.intake = Intake(base.database, base.clock, settings, holders)
        self.measured = MeasuredIntake(base.database, base.clock, self.sources, self.intake)
        self.accounts = AccountBilling(base.database, base.clock, erp.crm, settings)
        self.reratings = Reratings(base.database, base.clock, settings)
        self.trials = PriceTrials(base.database, base.clock, settings)
        self.revenue = RecurringRevenue(base.database, base.clock, settings)
        self.reader = BillingReader(base.database)
        self.customer_usage = CustomerUsage(erp.usage_links, erp.crm, self.accounts, self.reader, erp.finance)
        self.explainer = Explainer(erp.finance, self.billing, base.usage)
        self.checks = ChecksService(base.database, base.clock, settings, catalog=erp.catalog, sales=OrderedSales())
        book = RunBook(base.database, base.clock)
        self.certifier = Certifier(base.database, base.clock, base.box, book, erp.finance, base.usage)
        self.previews = Previews(self.billing, book, erp.finance)
        self.bill_runs = BillRuns(
            base.database,
            base.clock,
            base.jobs,
            self.billing,
            self.mediation,
            erp.finance,
            base.usage,
            certifier=self.certifier,
            checker=self.checks,
            sources=self.sources,
        )
        self._jobs = base.jobs
        self.checks.let_go = self._let_go
        self.bill_runs.register()

    async def _let_go(self, bill_run_id: BillRunId, account_id: AccountId, actor: str, reason: str) -> None:
        if not self._jobs.is_open:
            return  # a process that runs no jobs decides all the same; one that does carries it out
        await self.bill_runs.release(bill_run_id, account_id, CHECK, reason=reason, actor=actor)


class Prepaid:
    """Balances: RADIUS asks for slices of them, the usage log debits them, finance keeps the money."""

    def __init__(self, base: Foundation, erp: Erp, network: Network) -> None:
        settings = BillingSettings(zone=ZoneInfo(base.settings.entity_zone))
        self.balances = PrepaidService(
            base.database, base.clock, base.usage, erp.catalog, network.radius.crediting, settings
        )
        self.balances.plans.ordered = ordered_versions
        self.balances.barring.reason = erp.suspensions.barred_in
        erp.placement.refuse_tariff = self.balances.plans.refuse
        closing = PrepaidClosing(base.database, base.clock, self.balances)
        self.counter = PrepaidCounter(base.database, base.clock, base.usage, self.balances, closing)
        prepayments = Prepayments(base.clock, erp.crm, erp.finance.settlement)
        self.sales = PrepaidSales(base.database, self.balances, closing, prepayments, erp.crm)
        self.receipts = Receipts(base.database)
        self.notices = PrepaidNotices(
            base.database,
            base.clock,
            erp.crm,
            PrepaidTelling(base.clock, self.balances),
            mailer=erp.mailer,
            sender=base.settings.mail_from,
            process=base.settings.executor_id,
        )
        network.radius.use_credit(self.balances, self.balances.without_credit, self.balances.told_limit)


class Assurance:
    """What is carried beside what is billed: leakage and reconciliation."""

    def __init__(self, base: Foundation, erp: Erp, network: Network, collection: Collection, money: Money) -> None:
        zone = ZoneInfo(base.settings.entity_zone)
        self.leakage = Leakage(
            base.database,
            base.clock,
            zone,
            base.settings.entity_currency,
            billed=BilledLines(base.database),
            catalog=erp.catalog,
            inventory=erp.inventory,
            radius=LiveAccess(base.database),
            onus=collection.onus,
            access=network.provisioning,
        )
        self.reconciliation = Reconciliation(
            base.database,
            base.clock,
            zone,
            recount=Recount(base.database, base.usage, BillingSettings(zone=zone)),
            mediation=money.mediation,
            usage=base.usage,
            series=base.series,
            access=network.provisioning,
        )
        self.control = ControlAccounts(
            base.database,
            base.clock,
            erp.crm,
            erp.books,
            [*subledgers.SUBLEDGERS, prepaid_subledger(erp.crm)],
            [subledgers.by_hand],
        )
        self.nights = AssuranceNights(base.clock, zone, self.leakage, self.reconciliation, self.control.nightly)
