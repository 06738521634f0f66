"""What the command line asks of the data on this machine, without a running server."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from billing_bridge.billing.service import BillingService
from billing_bridge.settings import BillingSettings
from billing_bridge.suspense.service import SuspenseService
from controller.app.settings import Settings
from controller.domain.clock import SystemClock
from controller.domain.errors import RuleError
from controller.domain.units import human_octets
from controller.store.engine import Database
from controller.store.usage_reader import UsageLogReader
from controller.workflows.explain import Explainer, Explanation
from controller.workflows.explain_text import render
from erp.catalog.service import CatalogService
from erp.crm.service import CrmService
from erp.finance.service import FinanceService
from erp.finance.settings import FinanceSettings
from radius.accounting import whois_text
from radius.accounting.whois import Whois
from radius.authorization.eap import certificates
from radius.protocol import lookup


async def explain(settings: Settings, line_id: str) -> tuple[Explanation, str]:
    """The explanation of an invoice line, and its text. Raises UnknownInvoiceLine."""
    database, clock = Database(settings.url), SystemClock()
    try:
        entity = await CrmService(database, clock).entity()
        zone = ZoneInfo(entity.zone)
        billing = BillingService(database, clock, CatalogService(database, clock), BillingSettings(zone=zone))
        finance = FinanceService(database, clock, CrmService(database, clock), FinanceSettings())
        found = await Explainer(finance, billing, UsageLogReader(database)).explain(line_id)
    finally:
        await database.close()
    return found, render(found)


def dictionary(wanted: str) -> str:
    """Attributes of the RADIUS dictionaries by name or number, one line each, their named values below."""
    lines = []
    for found in lookup.find(wanted):
        space = f"{found.vendor} {found.vendor_id}." if found.vendor_id else ""
        lines.append(f"{found.name:<36} {space}{found.number}  {found.type}{' tagged' if found.tagged else ''}")
        lines += [f"    {number:>6}  {value}" for value, number in sorted(found.values.items(), key=lambda one: one[1])]
    return "\n".join(lines)


def place_and_instant(address: str, instant: str) -> tuple[tuple[str, int | None], datetime]:
    """`203.0.113.7:41022`, `203.0.113.7`, `2001:db8::1` or `[2001:db8::1]:443`, and the instant. Raises RuleError."""
    try:
        at = datetime.fromisoformat(instant)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise RuleError(f"{instant!r} is no instant with a zone, such as 2026-05-03T10:15:07Z")
    host, separator, port = address.rpartition(":")
    if not separator or (":" in host and not host.endswith("]")):
        return (address.strip("[]"), None), at
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise RuleError(f"{port!r} is no port")
    return (host.strip("[]"), int(port)), at


async def whois(settings: Settings, address: str, port: int | None, at: datetime, *, actor: str, reason: str) -> str:
    """Who held an address at an instant, a paragraph for each holder. Raises RuleError for what is no address."""
    database = Database(settings.url)
    try:
        asked = Whois(database, SystemClock(), UsageLogReader(database))
        holders = await asked.ask(address, port, at, actor=actor, reason=reason or None)
    finally:
        await database.close()
    return whois_text.render(holders)


async def suspense(settings: Settings) -> str:
    """What waits in suspense, one line per reason."""
    database, clock = Database(settings.url), SystemClock()
    try:
        totals = await SuspenseService(database, clock, BillingSettings()).totals()
    finally:
        await database.close()
    lines = []
    for total in totals:
        octets = human_octets(total.upstream_octets + total.downstream_octets)
        oldest = f"  since {total.oldest_at.isoformat()}" if total.oldest_at else ""
        values = "".join(f"  at most {value}" for value in total.values)
        lines.append(f"{total.reason:<18} {total.items:>8} items  {octets:>12}{values}{oldest}")
    return "\n".join(lines)


def eap(settings: Settings, now: datetime) -> tuple[str, bool]:
    """What the certificates in HEADEND_EAP_DIR are good for, and whether no warning is among it.

    Raises RuleError when there are none, or none that can be used.
    """
    if settings.eap_dir is None:
        raise RuleError(
            f"HEADEND_EAP_DIR is not set: name a directory with {certificates.SERVER}, {certificates.KEY} and, for "
            f"EAP-TLS, {certificates.CA}; docs/eap.md says how they are made"
        )
    found = certificates.load(settings.eap_dir, settings.eap_tls_minimum)
    return "\n".join(found.describe(now)), not found.warnings(now)
