"""The pages that are served, in the order of the navigation. Wiring gives what `web_site` returns to `build_app`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from starlette.routing import BaseRoute

from controller.domain.clock import Clock
from controller.http.browser import SignIn
from controller.http.dispatch import Authenticator
from controller.http.endpoint import Endpoint
from controller.store.stream import Stream
from controller.web import login, my_usage
from controller.web.api import Api
from controller.web.noc import pages as noc_pages
from controller.web.noc.data import NocData
from controller.web.noc.feed import NocFeed
from controller.web.office import pages as office_pages
from controller.web.radius import pages as radius_pages
from controller.web.site import NavItem, Site

_SESSIONS = (
    NavItem("Sessions", "/sessions", "radius:read"),
    NavItem("Pools", "/pools", "radius:read", needs="/radius/pools"),
    NavItem("Fair use", "/fair-use", "radius:read", needs="/radius/fair-use-steps"),
    NavItem("Quarantine", "/quarantine", "radius:read", needs="/quarantine"),
    NavItem("Trace", "/trace", "radius:read", needs="/radius/trace"),
    NavItem("Whois", "/whois", "radius:whois", needs="/whois"),
)
_ORDERS = (
    NavItem("Orders", "/orders", "orders:read"),
    NavItem("Contract notices", "/contract-notices", "orders:read", needs="/contract-notices"),
)
_CUSTOMERS = (
    NavItem("Customers", "/customers", "crm:read"),
    NavItem("Resellers", "/resellers", "finance:read", needs="/resellers"),
)
_PAYMENTS = (
    NavItem("To allocate", "/payments", "finance:read"),
    NavItem("Bank", "/bank", "finance:read", needs="/bank-lines"),
    NavItem("Payouts", "/payouts", "finance:read", needs="/payouts"),
    NavItem("Direct debits", "/direct-debits", "finance:read", needs="/direct-debits"),
    NavItem("Mandates", "/mandates", "finance:read", needs="/mandates"),
    NavItem("Cash desk", "/cash", "finance:read", needs="/tills"),
    NavItem("Refunds", "/refunds", "finance:read", needs="/refunds"),
    NavItem("Unknown payers", "/payments/unknown", "finance:read", needs="/unknown-card-payments"),
    NavItem("Card charges", "/payments/charges", "finance:read", needs="/card-charges"),
    NavItem("Card events", "/payments/events", "finance:read", needs="/payment-events"),
    NavItem("Chargebacks", "/payments/chargebacks", "finance:read", needs="/payment-disputes"),
    NavItem("Gateways", "/payments/gateways", "finance:read", needs="/payment-gateways"),
)
_BILL_RUNS = (
    NavItem("Bill runs", "/bill-runs", "billing:read"),
    NavItem("Recurring revenue", "/recurring-revenue", "billing:read", needs="/recurring-revenue"),
    NavItem("Rated again", "/reratings", "billing:read", needs="/reratings"),
    NavItem("Waiting adjustments", "/adjustments", "finance:read", needs="/adjustments/waiting"),
)
_DUNNING = (
    NavItem("Board", "/dunning", "finance:read"),
    NavItem("Notices", "/dunning/notices", "finance:read", needs="/dunning/notices"),
    NavItem("Disputes", "/disputes", "finance:read", needs="/disputes"),
    NavItem("Policies", "/dunning/policies", "finance:read", needs="/dunning/policies"),
)
_DAY_AND_ENTITY = ("as_of", "entity_id")
_LEDGER = (
    NavItem("Trial balance", "/ledger", "finance:read", keeps=_DAY_AND_ENTITY, also=("/ledger/accounts",)),
    NavItem("Profit and loss", "/ledger/income", "finance:read", keeps=_DAY_AND_ENTITY),
    NavItem("Balance sheet", "/ledger/balance-sheet", "finance:read", keeps=_DAY_AND_ENTITY),
    NavItem("Cash flow", "/ledger/cash-flow", "finance:read", keeps=_DAY_AND_ENTITY),
    NavItem("Receivables", "/ledger/receivables", "finance:read", keeps=_DAY_AND_ENTITY),
    NavItem("Control accounts", "/ledger/controls", "finance:read", needs="/control-accounts"),
    NavItem("Revenue to come", "/ledger/revenue", "finance:read", keeps=("entity_id",)),
    NavItem("Contracts", "/ledger/contracts", "finance:read", needs="/revenue-contracts"),
    NavItem("Journal", "/ledger/entries", "finance:read", keeps=_DAY_AND_ENTITY),
    NavItem("Entries by hand", "/ledger/proposals", "finance:read", needs="/entry-proposals"),
    NavItem("Periods", "/ledger/periods", "finance:read", keeps=("entity_id",)),
    NavItem("Legal entities", "/legal-entities", "crm:read", needs="/legal-entities"),
)
_USAGE = (
    NavItem("By the hour", "/usage", "usage:read"),
    NavItem("Sources", "/usage/sources", "billing:read", needs="/usage-sources"),
    NavItem("Identifiers", "/usage/identifiers", "billing:read", needs="/usage-identifiers"),
    NavItem("Prepaid", "/prepaid", "billing:read", needs="/prepaid"),
    NavItem("Prepaid notices", "/prepaid-notices", "billing:read", needs="/prepaid-notices"),
)
_CHECKS = (
    NavItem("Bills that wait", "/exceptions", "billing:read"),
    NavItem("Limits", "/check-limits", "billing:read", needs="/check-limits"),
    NavItem("Leakage", "/leakage", "billing:read", needs="/leakage"),
    NavItem("Reconciliation", "/reconciliation", "billing:read", needs="/reconciliation"),
)
_OFFERINGS = (
    NavItem("Offerings", "/offerings", "catalog:read"),
    NavItem("Tax rates", "/taxes", "finance:read", needs="/tax-rates"),
    NavItem("Communications taxes", "/taxes/levies", "finance:read", needs="/levy-rules"),
)
_DEVICES = (
    NavItem("Devices", "/devices", "devices:read"),
    NavItem("NAS", "/nas", "radius:read", needs="/nas"),
    NavItem("Checks", "/nas/checks", "radius:read", needs="/nas-checks"),
    NavItem("Weak", "/nas/weak", "radius:read", needs="/nas/weak"),
)
NAVIGATION = (
    NavItem("Network", "/noc", noc_pages.SCOPE),
    NavItem("Sessions", "/sessions", "radius:read", _SESSIONS, also=("/services",)),
    NavItem("Orders", "/orders", "orders:read", _ORDERS),
    NavItem("Customers", "/customers", "crm:read", _CUSTOMERS, also=("/items",)),
    NavItem("Invoices", "/invoices", "finance:read", also=("/invoice-lines",)),
    NavItem("Payments", "/payments", "finance:read", _PAYMENTS, also=("/allocations",)),
    NavItem("Bill runs", "/bill-runs", "billing:read", _BILL_RUNS),
    NavItem("Dunning", "/dunning", "finance:read", _DUNNING),
    NavItem("Ledger", "/ledger", "finance:read", _LEDGER),
    NavItem("Usage", "/usage", "usage:read", _USAGE),
    NavItem("Suspense", "/suspense", "billing:read"),
    NavItem("Checks", "/exceptions", "billing:read", _CHECKS),
    NavItem("Offerings", "/offerings", "catalog:read", _OFFERINGS),
    NavItem("Stock", "/stock", "inventory:read"),
    NavItem("Devices", "/devices", "devices:read", _DEVICES),
    NavItem("Audit", "/audit", "admin:read"),
)


def navigation(api: Api) -> list[NavItem]:
    """NAVIGATION with the tabs whose pages this process serves."""
    return [
        replace(item, tabs=[tab for tab in item.tabs if not tab.needs or api.has("GET", tab.needs)])
        for item in NAVIGATION
    ]


def web_site(
    *,
    endpoints: Sequence[Endpoint],
    authenticator: Authenticator,
    sign_in: SignIn,
    clock: Clock,
    noc: NocData,
    feed: NocFeed,
    stream: Stream,
    isp_name: str,
    locale: str,
) -> tuple[Site, list[BaseRoute]]:
    """The site (its `on_error` is build_app's `on_page_error`) and its routes."""
    api = Api(endpoints)
    site = Site(authenticator, clock, navigation(api), isp_name, locale)
    declared = [
        *login.pages(site, sign_in),
        *my_usage.pages(site, api),
        *noc_pages.pages(site, noc, feed, stream, authenticator),
        *radius_pages.pages(site, api),
        *office_pages.pages(site, api),
    ]
    return site, site.routes(declared)
