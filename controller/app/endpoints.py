"""The whole API, side by side: what is sold, the access network, charging, the books, the bills, dunning.

Each room lists its own endpoints; this says which services they are given, and in which order they stand.
"""

from __future__ import annotations

from billing_bridge import account_routes
from billing_bridge import routes as billing_routes
from billing_bridge.checks import routes as check_queue_routes
from billing_bridge.mrr import routes as mrr_routes
from billing_bridge.prepaid import routes as prepaid_routes
from billing_bridge.sources import routes as source_routes
from billing_bridge.suspense import routes as suspense_routes
from collectors import routes as collector_routes
from controller.app.charging import Assurance, Money, Prepaid
from controller.app.rooms import Collection, Erp, Foundation, Network
from controller.domain.clock import Clock
from controller.http.endpoint import Endpoint
from controller.provisioning import routes as provisioning_routes
from controller.workflows import (
    rerate,
    routes_assurance,
    routes_bill_runs,
    routes_billing,
    routes_catalog,
    routes_contract_notices,
    routes_customer_usage,
    routes_dunning,
    routes_orders,
    routes_prepaid,
    routes_prepaid_notices,
)
from controller.workflows.disputes import Disputes
from controller.workflows.dunning import DunningWork
from controller.workflows.order_fulfilment import OrderFulfilment
from erp.catalog import routes as catalog_routes
from erp.crm import entity_routes, hierarchy_routes, usage_link_routes
from erp.crm import routes as crm_routes
from erp.dunning import routes as dunning_routes
from erp.finance import (
    adjusting_routes,
    books_routes,
    control_routes,
    correction_routes,
    deposit_routes,
    note_routes,
    proposal_routes,
    resale_routes,
    revenue_routes,
    settlement_routes,
    tax_routes,
    voucher_routes,
)
from erp.finance import routes as finance_routes
from erp.finance.control import ControlAccounts
from erp.inventory import routes as inventory_routes
from erp.orders import contract_routes, item_routes, pause_routes
from erp.orders import routes as orders_routes
from erp.payments import cash_routes
from erp.payments import routes as payments_routes
from erp.payments.bank import routes as bank_routes
from erp.payments.sepa import routes as sepa_routes
from radius import access_routes, login_routes, member_routes, realms, session_speed_routes, trace_routes
from radius import routes as radius_routes
from radius.accounting import check_routes, quarantine_routes, whois_routes
from radius.accounting import routes as session_routes
from radius.dynamic import routes as change_routes
from radius.pools import routes as pool_routes
from radius.proxy import routes as proxy_routes
from radius.quota import routes as quota_routes


def sales(erp: Erp, fulfilment: OrderFulfilment, clock: Clock) -> list[Endpoint]:
    """Customers, what they can buy, what is in stock, and what they have ordered."""
    return [
        *crm_routes.endpoints(erp.crm),
        *entity_routes.endpoints(erp.entities, erp.crm),
        *hierarchy_routes.endpoints(erp.hierarchy),
        *usage_link_routes.endpoints(erp.usage_links),
        *catalog_routes.endpoints(erp.catalog),
        *inventory_routes.endpoints(erp.inventory),
        *orders_routes.endpoints(erp.orders, clock),
        *item_routes.endpoints(erp.items),
        *contract_routes.endpoints(erp.contracts),
        *routes_contract_notices.endpoints(erp.contract_notices),
        *pause_routes.endpoints(erp.pauses),
        *routes_orders.endpoints(fulfilment),
    ]


def access(network: Network, zone: str) -> list[Endpoint]:
    """Devices, logins, sessions and the addresses and allowances they have; periods begin in `zone`."""
    radius = network.radius
    return [
        *provisioning_routes.endpoints(network.provisioning),
        *radius_routes.endpoints(radius.nas, radius.sessions),
        *access_routes.endpoints(radius.access),
        *proxy_routes.endpoints(radius.transports.proxy),
        *realms.endpoints(radius.realms),
        *member_routes.endpoints(radius.follower.members),
        *trace_routes.endpoints(radius.traces),
        *session_speed_routes.endpoints(radius.speeds),
        *login_routes.endpoints(radius.passwords, radius.lines, radius.subscribers),
        *session_routes.endpoints(network.sessions),
        *pool_routes.endpoints(radius.pools),
        *quota_routes.endpoints(radius.quota, zone),
        *change_routes.endpoints(radius.sessions.changes),
        *quarantine_routes.endpoints(network.quarantine),
        *check_routes.endpoints(network.checks),
        *whois_routes.endpoints(network.whois),
    ]


def charging(
    base: Foundation, collection: Collection, money: Money, prepaid: Prepaid, assurance: Assurance
) -> list[Endpoint]:
    """Usage from wherever it comes, what it is charged, and what of it is carried and not billed."""
    return [
        *collector_routes.endpoints(base.series, collection.health),
        *billing_routes.endpoints(money.reader),
        *routes_customer_usage.endpoints(money.customer_usage),
        *account_routes.endpoints(money.accounts),
        *prepaid_routes.endpoints(prepaid.balances),
        *routes_prepaid.endpoints(prepaid.sales),
        *routes_prepaid_notices.endpoints(prepaid.notices),
        *suspense_routes.endpoints(money.suspense),
        *check_queue_routes.endpoints(money.checks, base.settings.entity_currency),
        *routes_assurance.endpoints(assurance.leakage, assurance.reconciliation),
        *source_routes.endpoints(money.sources, money.intake, money.suspense),
    ]


def books(erp: Erp, prepaid: Prepaid, control: ControlAccounts) -> list[Endpoint]:
    """Documents, payments and the journal."""
    return [
        *finance_routes.endpoints(erp.finance),
        *correction_routes.endpoints(erp.finance.corrections),
        *adjusting_routes.endpoints(erp.adjusting),
        *settlement_routes.endpoints(erp.finance),
        *note_routes.endpoints(erp.finance),
        *payments_routes.endpoints(erp.payments),
        *bank_routes.endpoints(erp.payments),
        *sepa_routes.endpoints(erp.payments),
        *cash_routes.endpoints(erp.payments),
        *deposit_routes.endpoints(erp.deposits),
        *voucher_routes.endpoints(prepaid.receipts),
        *resale_routes.endpoints(erp.resale),
        *books_routes.endpoints(erp.books),
        *control_routes.endpoints(control),
        *proposal_routes.endpoints(erp.proposals),
        *revenue_routes.endpoints(erp.revenue),
        *tax_routes.endpoints(erp.tax),
    ]


def bills(erp: Erp, money: Money) -> list[Endpoint]:
    """Bill runs, what they would come to, and the proof of what they came to."""
    return [
        *rerate.endpoints(erp.catalog, money.reratings, money.bill_runs),
        *routes_catalog.endpoints(erp.catalog, money.trials),
        *mrr_routes.endpoints(money.revenue),
        *routes_billing.endpoints(money.explainer),
        *routes_bill_runs.endpoints(money.bill_runs, money.billing, money.certifier, money.previews),
    ]


def dunning(erp: Erp, opening_disputes: Disputes, work: DunningWork) -> list[Endpoint]:
    """Arrears, and what is contested."""
    return [
        *dunning_routes.endpoints(erp.dunning, erp.board, erp.notices),
        *routes_dunning.endpoints(erp.disputes, opening_disputes, work),
    ]
