"""Endpoints that answer like the rooms' do, from plain data: for tests of pages, which read only the API."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ConfigDict
from starlette.responses import Response

from billing_bridge.suspense.routes import ReleaseIn
from controller.domain.errors import NotFound
from controller.http.endpoint import Call, Endpoint, PageQuery
from controller.http.models import In
from controller.workflows.routes_orders import ModifyIn, OrderIn
from erp.crm.routes import CustomerIn

AT = "2026-11-20T18:05:12Z"

SESSIONS = [
    {
        "session_key": f"n1:{n:04x}:1", "session_id": f"8a3f{n:04x}", "nas_id": "n" * 32,
        "username": f"sub{n:03d}@isp.example",
        "service_id": f"{n:032x}", "state": "live" if n % 4 else "ended", "started_at": AT, "last_event_at": AT,
        "ended_at": None if n % 4 else AT, "end_cause": None if n % 4 else "User-Request",
        "upstream_octets": 12_345_678 * n, "downstream_octets": 987_654_321 * n, "framed_ipv4": f"100.64.0.{n}",
    }
    for n in range(1, 25)
]  # fmt: skip
ORDERS = [
    {
        "order_id": "0" * 31 + "1", "action": "modify", "state": "held", "account_id": "a" * 32,
        "subscription_id": "b" * 32,
        "service_id": "c" * 32, "step": "verify", "waiting": False, "cause": "OLT shows 100 Mbit/s, 300 wanted",
        "owner_team": "network", "cancelled_by": None, "attempt": 1,
        "requested_by": "user:anna", "created_at": AT, "changed_at": AT,
        "username": "sub001@isp.example",
        "attachments": [
            {
                "kind": "onu", "device_id": "e" * 32, "pon_port": "pon-1", "onu_serial": "LABX00000001",
                "interface": None, "subscriber_vlan": None,
            },
            {
                "kind": "router", "device_id": "f" * 32, "pon_port": None, "onu_serial": None,
                "interface": "Ethernet1", "subscriber_vlan": None,
            },
        ],
        "history": [{"state": "acknowledged", "at": AT, "actor": "user:anna", "cause": None, "seconds_in_state": 1.0}],
        "steps": [
            {"name": "converge", "state": "completed", "started_at": AT, "ended_at": AT, "tries": 1, "cause": None}
        ],
    },
    {
        "order_id": "0" * 31 + "2", "action": "add", "state": "completed", "account_id": "a" * 32,
        "subscription_id": "b" * 32,
        "service_id": "c" * 32, "step": None, "waiting": False, "cause": None, "owner_team": None, "attempt": 1,
        "cancelled_by": None, "attachments": [], "requested_by": "token:demo", "created_at": AT, "changed_at": AT,
        "username": "sub002@isp.example", "history": [], "steps": [],
    },
]  # fmt: skip
CUSTOMERS = [
    {
        "customer_id": "d" * 32, "account_id": "a" * 32, "name": "Bäckerei Krüger & <Söhne>",
        "email": "info@krueger.example",
        "address": "Hauptstr. 1, 10115 Berlin", "phone": "", "tax_id": "", "currency": "EUR", "created_at": AT,
    }
]  # fmt: skip
INVOICES = [
    {
        "invoice_id": "1" * 32, "number": "INV-2026-000001", "kind": "invoice", "account_id": "a" * 32,
        "customer_id": "d" * 32, "bill_run_id": "2" * 32, "issued_at": AT, "issued_on": "2026-01-01",
        "due_on": "2026-01-15", "net": {"amount": "2100.84", "currency": "EUR"},
        "tax": {"amount": "399.16", "currency": "EUR"}, "total": {"amount": "2500.00", "currency": "EUR"},
        "open": {"amount": "2500.00", "currency": "EUR"}, "content_sha256": "00",
    }
]  # fmt: skip
SUSPENSE = [
    {
        "suspense_id": 1, "reason": "unknown-service", "state": "waiting", "detail": None, "since": AT, "until": AT,
        "upstream_octets": 10**9, "downstream_octets": 10**10, "value": {"amount": "1.50", "currency": "EUR"},
        "entered_at": AT, "age_s": 3 * 86_400, "username": "gone@isp.example", "service_id": None, "source": None,
        "duration_s": None,
    }
]  # fmt: skip
DEVICES = [
    {
        "device_id": "e" * 32, "name": "olt-1.ber", "driver": "bbf-olt", "host": "127.0.0.1", "port": 830,
        "username": "headend",
        "host_key_sha256": "SHA256:abc", "snmp_version": "2c", "snmp_port": 161, "created_at": AT,
    }
]  # fmt: skip


SUBSCRIPTIONS = [
    {
        "subscription_id": "b" * 32, "account_id": "a" * 32, "service_id": "c" * 32, "version_id": "8" * 32,
        "state": "active", "username": "sub001@isp.example", "framed_ipv4": None, "attachments": [], "ordered_at": AT,
        "activated_at": AT, "ended_at": None,
    }
]  # fmt: skip
EUROS = {"amount": "1300.00", "currency": "EUR"}
OFFERINGS = [
    {
        "offering_id": "9" * 32, "name": "Fibre 10000",
        "kind": "internet",
        "versions": [{"monthly_fee": EUROS, "downstream_bps": 10**10, "upstream_bps": 10**10}],
    }
]  # fmt: skip
DRY_RUN = {
    "action": "modify", "plans": [],
    "price": {
        "offering": "Fibre 10000", "monthly_fee": EUROS, "monthly_fee_before": EUROS, "monthly_difference": EUROS,
        "tax_percent": "19", "beyond": "flat rate", "downstream_bps": 10**10, "upstream_bps": 10**10,
    },
}  # fmt: skip


class Anything(PageQuery):
    model_config = ConfigDict(extra="allow")


class ReasonIn(In):
    reason: str | None = None


def _page(path: str, scope: str, rows: list[dict[str, Any]]) -> Endpoint:
    async def index(call: Call) -> Response:
        asked = {k: v for k, v in call.query_as(Anything).model_dump().items() if v and k not in ("limit", "after")}
        text = str(asked.pop("q", "")).casefold()
        found = [row for row in rows if all(row.get(k) == v for k, v in asked.items())]
        found = [row for row in found if any(text in str(value).casefold() for value in row.values())]
        return _json({"items": found, "next": None})

    return Endpoint("GET", path, scope, index, "List", query=Anything)


def _one(path: str, scope: str, rows: list[dict[str, Any]], key: str) -> Endpoint:
    async def show(call: Call) -> Response:
        found = [row for row in rows if row[key] == call.path[key]]
        if not found:
            raise NotFound("no such thing")
        return _json(found[0])

    return Endpoint("GET", path, scope, show, "Show")


def endpoints(log: list[str]) -> list[Endpoint]:
    """`log` receives what was asked to change."""

    async def disconnect(call: Call) -> Response:
        log.append(f"disconnect {call.path['key']} by {call.actor}")
        return _json({"result": "ack", "error_cause": None, "detail": ""})

    async def redrive(call: Call) -> Response:
        log.append(f"redrive {call.path['order_id']} by {call.actor}")
        return _json({})

    async def cancel(call: Call) -> Response:
        log.append(f"cancel {call.path['order_id']} by {call.actor}")
        return _json({})

    async def totals(_call: Call) -> Response:
        return _json({"totals": [{"count": 1, "total": INVOICES[0]["total"], "open": INVOICES[0]["open"]}]})

    async def suspense_totals(_call: Call) -> Response:
        values = [{"amount": "7.25", "currency": "EUR"}]
        counts = {"items": 1, "upstream_octets": 10**9, "downstream_octets": 10**10, "values": values}
        return _json({"totals": [{"reason": "unknown-service", **counts}]})

    async def suspense_item(_call: Call) -> Response:
        return _json(SUSPENSE[0] | {"session_key": "n1:1:1", "day": None, "counted_on": None, "decided_at": None})

    async def release(call: Call) -> Response:
        body = call.body_as(ReleaseIn)
        log.append(f"{body.action} {call.path['suspense_id']}: {body.reason}")
        return _json({})

    async def dry_run(_call: Call) -> Response:
        return _json(DRY_RUN)

    async def order(call: Call) -> Response:
        placed = call.body_as(OrderIn).root
        offering = f" to {placed.offering_id}" if isinstance(placed, ModifyIn) else ""
        log.append(f"{placed.action} {getattr(placed, 'subscription_id', '')}{offering}")
        return _json({"order_id": ORDERS[0]["order_id"]})

    async def new_customer(call: Call) -> Response:
        log.append(f"customer {call.body_as(CustomerIn).name}")
        return _json(CUSTOMERS[0])

    return [
        _page("/sessions", "radius:read", SESSIONS),
        Endpoint("POST", "/sessions/{key}/disconnect", "radius:write", disconnect, "End", body=ReasonIn),
        _page("/orders", "orders:read", ORDERS),
        _one("/orders/{order_id}", "orders:read", ORDERS, "order_id"),
        Endpoint("POST", "/orders/{order_id}/redrive", "orders:write", redrive, "Drive on"),
        Endpoint("POST", "/orders/{order_id}/cancel", "orders:write", cancel, "Cancel"),
        _page("/customers", "crm:read", CUSTOMERS),
        _one("/customers/{customer_id}", "crm:read", CUSTOMERS, "customer_id"),
        _page("/devices", "devices:read", DEVICES),
        _one("/devices/{device_id}", "devices:read", DEVICES, "device_id"),
        _page("/invoices", "finance:read", INVOICES),
        Endpoint("GET", "/invoice-totals", "finance:read", totals, "Totals", query=Anything),
        _page("/suspense", "billing:read", SUSPENSE),
        Endpoint("GET", "/suspense/totals", "billing:read", suspense_totals, "Totals"),
        Endpoint("GET", "/suspense/{suspense_id}", "billing:read", suspense_item, "Show"),
        Endpoint("POST", "/suspense/{suspense_id}/release", "billing:write", release, "Release", body=ReleaseIn),
        _page("/subscriptions", "orders:read", SUBSCRIPTIONS),
        _page("/offerings", "catalog:read", OFFERINGS),
        Endpoint("POST", "/orders/dry-run", "orders:write", dry_run, "Preview", body=OrderIn),
        Endpoint("POST", "/orders", "orders:write", order, "Order", body=OrderIn),
        Endpoint("POST", "/customers", "crm:write", new_customer, "Create", body=CustomerIn),
    ]


def _json(content: object) -> Response:
    return Response(json.dumps(content), media_type="application/json")
