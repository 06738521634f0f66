"""Pages of payments: what is to be allocated, a payment with its matches, refunds and approval, unknown payers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.web.api import Api
from controller.web.office import matches, write_offs
from controller.web.office.form import Choice, Field, Filled, Form, account, decimal, sent, show
from controller.web.office.forms import both
from controller.web.office.names import with_customers
from controller.web.office.table import Column
from controller.web.office.view import Action, Filter, Link, Part, detail_page, list_page
from controller.web.site import Site, Visit, WebPage

READ, WRITE = "finance:read", "finance:write"
PAYMENTS = (
    Column("Received", "received_at", "instant", link="/payments/{payment_id}"),
    Column("Customer", "customer", sub="method"),
    Column("Reference", "reference", "mono"),
    Column("Amount", "amount", "money"),
    Column("Not applied", "unapplied", "money"),
)
PAYMENT = (
    Column("Customer", "customer", link="/customers/{customer_id}"),
    Column("Amount", "amount", "money"),
    Column("Not applied", "unapplied", "money"),
    Column("Waits to go back", "reserved", "money"),
    Column("Went back", "reversed", "money"),
    Column("Kind", "kind"),
    Column("Method", "method", sub="reference"),
    Column("Received", "received_at", "instant"),
)
BACK = (
    Column("What", "kind", sub="reason"),
    Column("Amount", "amount", "money"),
    Column("When", "at", "instant"),
    Column("Reference", "reference", "mono"),
    Column("By", "actor"),
)
REFUNDS = (
    Column("Asked", "requested_at", "instant", link="/payments/{payment_id}"),
    Column("Customer", "customer", sub="reason"),
    Column("State", "state", "state", sub="detail"),
    Column("By", "way", sub="iban"),
    Column("Amount", "amount", "money"),
    Column("Asked by", "requested_by"),
    Column("Approved by", "approved_by"),
    Column("", "refuse", link="/refunds/{refund_id}/refuse"),
)
UNKNOWN = (
    Column("Paid", "paid_at", "instant", link="/payments/unknown/{gateway}/{intent_id}"),
    Column("Payer", "payer", sub="customer"),
    Column("Gateway", "gateway", sub="intent_id"),
    Column("Amount", "amount", "money"),
)
_VOID, _TAKE_BACK = "/payments/{payment_id}/void", "/allocations/{allocation_id}/reverse"
REFUND_STATES = ("requested", "approved", "sent", "done", "refused")
WHY = Field("reason", "Why", required=True, hint="for the audit log")
REFUND = (
    Field("amount.amount", "Amount", "decimal", required=True, convert=decimal),
    Field("way", "Way", required=True, choices=(
        Choice("bank", "Bank transfer"), Choice("gateway", "Back to the card"), Choice("cash", "Cash, at the desk"),
    )),
    Field("creditor", "Holder of the account", hint="by bank only"),
    Field("iban", "IBAN", hint="by bank only"),
    WHY,
)  # fmt: skip


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", "/payments/{payment_id}"):
        return []
    found = [*_payments(site, api), *_allocating(site, api)]
    if api.has("GET", "/refunds"):
        found = [*_unknown(site, api), *_refunds(site, api), *found]
    return found


def _payments(site: Site, api: Api) -> list[WebPage]:
    async def payments(visit: Visit) -> Response:
        all_of_them = visit.query("show") == "all"
        query = {"unapplied": "" if all_of_them else "true", "after": visit.query("after")}
        page = await api.get(visit, "/payments", query=query)
        rows = await with_customers(api, visit, page["items"])
        return list_page(
            site, visit, "Payments", page | {"items": rows}, PAYMENTS,
            intro="Money that settles nothing yet; what nobody allocates settles the next invoice.",
            filters=(Filter("show", "Show", choices=("all",), anything="to allocate"),),
            nothing="Every payment is applied." if not all_of_them else "Nothing was paid yet.",
        )  # fmt: skip

    async def payment(visit: Visit) -> Response:
        payment_id = visit.path["payment_id"]
        found = await api.get(visit, "/payments/{payment_id}", payment_id=payment_id)
        (row,) = await with_customers(api, visit, [found])
        may = visit.principal.may(WRITE)
        rest = may and found["unapplied"]["amount"].strip("-0.")
        links = [Link("Allocate", f"/payments/{payment_id}/allocate")] if rest else []
        if may and found["kind"] == "payment" and api.has("GET", "/refunds"):
            links.append(Link("Refund", f"/payments/{payment_id}/refund"))
        if may and _may_be_void(found) and api.has("POST", _VOID):
            links.append(Link("Void", f"/payments/{payment_id}/void"))
        links += write_offs.back_link(api, visit, found)
        # A loss taken back by its match would be money that nobody has paid.
        may_take_back = may and found["kind"] == "payment"
        kind = "Write-off for" if found["kind"] == "write-off" else "Payment of"
        return detail_page(
            site, visit, f"{kind} {row['customer']}", row, PAYMENT,
            back=Link("Payments", "/payments"), links=links,
            parts=[
                matches.part(found["allocations"], may_take_back, _TAKE_BACK, "It settles nothing."),
                *([Part("Went back", found["reversals"], BACK)] if found["reversals"] else []),
            ],
        )  # fmt: skip

    return [
        WebPage("GET", "/payments", READ, payments),
        WebPage("GET", "/payments/{payment_id}", READ, payment),
    ]


def _may_be_void(row: Mapping[str, Any]) -> bool:
    """What was told by a statement, a desk or a file is undone there; the API knows of gateways."""
    told = ("bank-statement", "direct-debit", "cash", "deposit", "prepaid")
    return row["kind"] == "payment" and row["method"] not in told and row["amount"] != row["reversed"]


def _allocating(site: Site, api: Api) -> list[WebPage]:
    async def form(visit: Visit) -> tuple[Form, Mapping[str, Any]]:
        found = await api.get(visit, "/payments/{payment_id}", payment_id=visit.path["payment_id"])
        fields = await matches.fields(api, visit, found["account_id"], found["unapplied"])
        back = Link("Payment", f"/payments/{found['payment_id']}")
        return Form("Allocate a payment", fields, back, (("apply", "Allocate"),)), found

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, (await form(visit))[0])

    async def allocate(visit: Visit) -> Response:
        known, found = await form(visit)

        async def send(filled: Filled) -> Response:
            filled.body["amount"]["currency"] = found["amount"]["currency"]
            path = "/payments/{payment_id}/allocations"
            await api.post(visit, path, body=filled.body, payment_id=found["payment_id"])
            return RedirectResponse(known.back.href, status_code=303)

        return await sent(site, visit, known, send)

    def back_form(visit: Visit) -> Form:
        intro = "The invoice is open again, the money unapplied. Both rows stay."
        return Form("Take back a match", (WHY,), Link("Payments", "/payments"), (("do", "Take back"),), intro)

    async def fresh_back(visit: Visit) -> Response:
        return show(site, visit, back_form(visit))

    async def take_back(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            found = await api.post(visit, _TAKE_BACK, body=filled.body, allocation_id=visit.path["allocation_id"])
            return RedirectResponse(f"/payments/{found['payment_id']}", status_code=303)

        return await sent(site, visit, back_form(visit), send)

    def void_form(visit: Visit) -> Form:
        intro = "For a payment that was booked by hand and never came: what it settled is owed again. Both rows stay."
        back = Link("Payment", f"/payments/{visit.path['payment_id']}")
        return Form("Void a payment", (WHY,), back, (("do", "Void"),), intro)

    async def fresh_void(visit: Visit) -> Response:
        return show(site, visit, void_form(visit))

    async def void(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            found = await api.post(visit, _VOID, body=filled.body, payment_id=visit.path["payment_id"])
            return RedirectResponse(f"/payments/{found['payment_id']}", status_code=303)

        return await sent(site, visit, void_form(visit), send)

    return [
        *(both(_VOID, WRITE, fresh_void, void) if api.has("POST", _VOID) else []),
        *both("/payments/{payment_id}/allocate", WRITE, fresh, allocate),
        *both(_TAKE_BACK, WRITE, fresh_back, take_back),
    ]


def _refunds(site: Site, api: Api) -> list[WebPage]:
    async def refunds(visit: Visit) -> Response:
        state = visit.query("state")
        query = {"state": state if state in REFUND_STATES else "", "after": visit.query("after")}
        page = await api.get(visit, "/refunds", query=query)
        rows = await with_customers(api, visit, page["items"])
        for row in rows:
            may_refuse = row["state"] in ("requested", "approved") and visit.principal.may(WRITE)
            row["refuse"] = "Refuse" if may_refuse else None

        def approve(row: Mapping[str, Any]) -> Action | None:
            may = row["state"] == "requested" and visit.principal.may(WRITE)
            question = f"Give back {row['amount']['amount']} {row['amount']['currency']} by {row['way']}?"
            return Action("Approve", f"/refunds/{row['refund_id']}/approve", question) if may else None

        return list_page(
            site, visit, "Refunds", page | {"items": rows}, REFUNDS, actions=approve,
            filters=(Filter("state", "State", choices=REFUND_STATES),),
            nothing="Nobody asked for a refund.",
        )  # fmt: skip

    async def approve(visit: Visit) -> Response:
        await api.post(visit, "/refunds/{refund_id}/approve", refund_id=visit.path["refund_id"])
        return RedirectResponse("/refunds", status_code=303)

    refusing = Form("Refuse a refund", (WHY,), Link("Refunds", "/refunds"), (("refuse", "Refuse"),))

    async def fresh_refusal(visit: Visit) -> Response:
        return show(site, visit, refusing)

    async def refuse(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            await api.post(visit, "/refunds/{refund_id}/refuse", body=filled.body, refund_id=visit.path["refund_id"])
            return RedirectResponse("/refunds", status_code=303)

        return await sent(site, visit, refusing, send)

    def form(visit: Visit) -> Form:
        back = Link("Payment", f"/payments/{visit.path['payment_id']}")
        intro = "What settles an invoice is not given back: credit the invoice first."
        return Form("Refund a payment", REFUND, back, (("ask", "Ask for the refund"),), intro)

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, form(visit))

    async def ask(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            payment_id = visit.path["payment_id"]
            found = await api.get(visit, "/payments/{payment_id}", payment_id=payment_id)
            filled.body["payment_id"] = payment_id
            filled.body["amount"]["currency"] = found["amount"]["currency"]
            await api.post(visit, "/refunds", body=filled.body)
            return RedirectResponse("/refunds", status_code=303)

        return await sent(site, visit, form(visit), send)

    return [
        WebPage("GET", "/refunds", READ, refunds),
        WebPage("POST", "/refunds/{refund_id}/approve", WRITE, approve),
        *both("/refunds/{refund_id}/refuse", WRITE, fresh_refusal, refuse),
        *both("/payments/{payment_id}/refund", WRITE, fresh, ask),
    ]


def _unknown(site: Site, api: Api) -> list[WebPage]:
    async def unknown(visit: Visit) -> Response:
        found = await api.get(visit, "/unknown-card-payments", query={"after": visit.query("after")})
        return list_page(
            site, visit, "Unknown payers", found, UNKNOWN,
            intro="Card payments that nobody is known to have made; they stand in the ledger by themselves.",
            nothing="Every card payment is somebody's.",
        )  # fmt: skip

    async def form(visit: Visit) -> Form:
        return Form(
            "Whose payment is it?", (account(),), Link("Unknown payers", "/payments/unknown"), (("do", "Assign"),)
        )

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, await form(visit))

    async def assign(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            path = "/unknown-card-payments/{gateway}/{intent_id}/assign"
            parts = {name: visit.path[name] for name in ("gateway", "intent_id")}
            found = await api.post(visit, path, body=filled.body, **parts)
            return RedirectResponse(f"/payments/{found['payment_id']}", status_code=303)

        return await sent(site, visit, await form(visit), send)

    return [
        WebPage("GET", "/payments/unknown", READ, unknown),
        *both("/payments/unknown/{gateway}/{intent_id}", WRITE, fresh, assign),
    ]
