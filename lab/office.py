"""The ISP's office: registering equipment, selling lines, billing and taking payments, all through the HTTP API."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from lab.api import Api, Json
from lab.settings import BRAS_ADDRESS, LOOPBACK
from lab.world import BUSINESS, OFFERINGS, PREPAID_DATA, OfferingPlan, Subscriber, World

ACCESS_INTERFACE = "Ethernet1"
"""Of the router, towards the OLT."""
OPEN_ORDER_STATES = ("acknowledged", "inProgress")
POLL_S = 0.4


@dataclass(slots=True)
class Office:
    """Office work against one controller. What it makes is noted in `world`."""

    api: Api
    world: World

    # -- equipment --------------------------------------------------------------------------------------------------

    async def register_nas(self, coa_port: int) -> None:
        """The lab's BRAS, and this machine itself as a NAS of its own for whoever experiments."""
        for key, body in (
            ("bras", self._nas("bras-1", BRAS_ADDRESS, self.world.bras_secret, "mikrotik", coa_port)),
            ("experiments", self._nas("experiments", LOOPBACK, self.world.nas_secret, "mikrotik", 3799)),
        ):
            self.world.nas[key] = (await self.api.post("/nas", body))["nas_id"]

    @staticmethod
    def _nas(name: str, address: str, secret: str, vendor: str, coa_port: int) -> Json:
        return {"name": name, "address": address, "secret": secret, "vendor": vendor, "coa_port": coa_port}

    async def move_coa(self, coa_port: int) -> None:
        """Tell the controller where the BRAS listens now, when that has changed."""
        known = await self.api.get(f"/nas/{self.world.nas['bras']}")
        if known["coa_port"] != coa_port:
            await self.api.patch(f"/nas/{self.world.nas['bras']}", {"coa_port": coa_port})

    async def register_device(self, key: str, body: Json) -> None:
        """Register a device under our `key`; one that is known is told its present ports when they have changed."""
        known = self.world.devices.get(key)
        if known is None:
            self.world.devices[key] = (await self.api.post("/devices", body))["device_id"]
            return
        now = await self.api.get(f"/devices/{known}")
        changes: Json = {}
        if "port" in body and now["port"] != body["port"]:
            changes["port"] = body["port"]
        if "snmp" in body and now["snmp_port"] != body["snmp"]["port"]:
            changes["snmp"] = body["snmp"]
        if changes:
            await self.api.patch(f"/devices/{known}", changes)

    # -- selling ----------------------------------------------------------------------------------------------------

    async def create_offerings(self, effective_on: str) -> None:
        for plan in OFFERINGS:
            self.world.offerings[plan.key] = await self._create_offering(plan, effective_on)

    async def _create_offering(self, plan: OfferingPlan, effective_on: str) -> str:
        made = await self.api.post("/offerings", plan.body(effective_on))
        return str(made["versions"][0]["version_id"])

    async def create_customer(self, subscriber: Subscriber) -> None:
        made = await self.api.post(
            "/customers",
            {"name": subscriber.name, "email": subscriber.email, "address": subscriber.address, "language": "de"},
        )
        subscriber.customer_id, subscriber.account_id = made["customer_id"], made["account_id"]

    async def receive_onu(self, subscriber: Subscriber) -> None:
        await self.api.post("/stock-items", {"kind": "onu", "serial": subscriber.serial, "model": "XGS-PON ONT"})

    async def order_line(self, subscriber: Subscriber) -> Json:
        """Order a line; returns the order. Raises ApiRefused."""
        order = await self.api.post("/orders", self.order_body(subscriber))
        subscriber.order_id, subscriber.service_id = order["order_id"], order["service_id"]
        subscriber.subscription_id = order["subscription_id"]
        return order

    def order_body(self, subscriber: Subscriber) -> Json:
        return {
            "action": "add",
            "account_id": subscriber.account_id,
            "version_id": self.world.offerings[subscriber.offering],
            "username": subscriber.username,
            "password": subscriber.password,
            "attachments": self._attachments(subscriber),
        }

    def _attachments(self, subscriber: Subscriber) -> list[Json]:
        """The ONU on the OLT; a business line has a policer of its own on the router besides."""
        onu = {
            "kind": "onu",
            "device_id": self.world.devices["olt"],
            "pon_port": subscriber.pon_port,
            "onu_serial": subscriber.serial,
        }
        router = {"kind": "router", "device_id": self.world.devices["router"], "interface": ACCESS_INTERFACE}
        return [onu, router] if subscriber.offering == BUSINESS.key else [onu]

    async def change_plan(self, subscriber: Subscriber, offering: str) -> Json:
        order = await self.api.post(
            "/orders",
            {
                "action": "modify",
                "subscription_id": subscriber.subscription_id,
                "version_id": self.world.offerings[offering],
            },
        )
        subscriber.offering = offering
        return order

    async def order(self, order_id: str) -> Json:
        return await self.api.get(f"/orders/{order_id}")

    async def settled(self, order_id: str, timeout_s: float = 60.0) -> Json:
        """The order once it is no longer being worked on. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while True:
                order = await self.order(order_id)
                if order["state"] not in OPEN_ORDER_STATES:
                    return order
                await asyncio.sleep(POLL_S)

    async def all_settled(self, order_ids: Collection[str], timeout_s: float = 180.0) -> list[Json]:
        """The same for many orders, in one question at a time. Raises TimeoutError."""
        waiting = set(order_ids)
        if not waiting:
            return []
        async with asyncio.timeout(timeout_s):
            while True:
                # Earlier states first: an order that moves on in between is then seen in one of them.
                for state in OPEN_ORDER_STATES:
                    still = {order["order_id"] async for order in self.api.all("/orders", state=state)}
                    if waiting & still:
                        break
                else:
                    break
                await asyncio.sleep(POLL_S)
        found: list[Json] = []
        async for order in self.api.all("/orders"):  # newest first, so that ours come soon
            if order["order_id"] in waiting:
                found.append(order)
                if len(found) == len(waiting):
                    break
        return found

    # -- money ------------------------------------------------------------------------------------------------------

    async def bill(self, body: Json | None = None, timeout_s: float = 120.0) -> Json:
        """Start a bill run and return it when it has ended. Raises TimeoutError."""
        run = await self.api.post("/bill-runs", body or {})
        async with asyncio.timeout(timeout_s):
            while run["state"] not in ("done", "failed"):
                await asyncio.sleep(POLL_S)
                run = await self.api.get(f"/bill-runs/{run['bill_run_id']}")
        return run

    async def invoices(self, **query: Any) -> list[Json]:
        return [invoice async for invoice in self.api.all("/invoices", **query)]

    async def pay(self, invoice: Json, reference: str) -> None:
        """A bank transfer of what is open on an invoice. Sent twice it is one payment: same method and reference."""
        await self.api.post(
            "/payments", {"account_id": invoice["account_id"], "amount": invoice["open"], "reference": reference}
        )

    async def make_prepaid(self, subscriber: Subscriber) -> None:
        """What is used of the line is paid in advance from now on; once it is used up, the walled garden."""
        body = {
            "account_id": subscriber.account_id, "unit": "money", "currency": "EUR",
            "version_id": self.world.offerings[PREPAID_DATA.key], "slice": 20 * 10**9, "validity_s": 86_400,
            "when_empty": "garden", "credit_days": 365,
        }  # fmt: skip
        await self.api.put(f"/services/{subscriber.service_id}/prepaid", body)

    async def top_up(self, subscriber: Subscriber, amount: str, reference: str) -> None:
        paid = {"amount": amount, "currency": "EUR"}
        body = {"paid": paid, "into": "cash", "reference": reference}
        await self.api.post(f"/services/{subscriber.service_id}/prepaid/top-ups", body)

    async def balances(self) -> dict[str, int]:
        """Of prepaid services, in cents, by service."""
        return {row["service_id"]: row["balance"] async for row in self.api.all("/prepaid")}

    async def usage_line(self) -> str | None:
        """A line that charges traffic, on one of the newest invoices: the best one to have explained."""
        for invoice in (await self.api.get("/invoices", limit=100))["items"]:
            for line in (await self.api.get(f"/invoices/{invoice['invoice_id']}"))["lines"]:
                if line["kind"] == "usage":
                    return str(line["line_id"])
        return None
