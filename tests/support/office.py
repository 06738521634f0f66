"""An office that sells and bills on while its controller is killed: a thread that repeats what is not answered.

An order is repeated with its Idempotency-Key until it is accepted, so whatever `orders` holds was promised to somebody.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import httpx2

from tests.support.plans import volume_prices

Json = dict[str, Any]
_BETWEEN_S = 0.15


class Office(threading.Thread):
    """Sells lines on one OLT, one after the other, and runs billing after every third. `finish` ends it."""

    def __init__(self, url: str, token: str, olt_port: int, olt_password: str, pon_ports: list[str], most: int) -> None:
        super().__init__(daemon=True)
        self.orders: dict[str, Json] = {}
        """What was accepted, by order_id."""
        self.bill_runs: set[str] = set()
        self.repeated = 0
        """Requests that had to be sent again: the controller was away, or died over them."""
        self._api = httpx2.Client(
            base_url=f"{url}/api/v1", headers={"Authorization": f"Bearer {token}"}, timeout=10, trust_env=False
        )
        self._olt = {
            "name": "olt-1", "driver": "bbf-olt", "host": "127.0.0.1", "port": olt_port, "username": "headend",
            "password": olt_password,
        }  # fmt: skip
        self._pon_ports = pon_ports
        self._most = most
        self._ending = threading.Event()
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self.failure = error
            raise

    def finish(self) -> None:
        """Let it end what it has begun."""
        self._ending.set()
        self.join(60)
        assert not self.is_alive(), "the office is stuck"
        assert self.failure is None, self.failure

    def get(self, path: str, **query: object) -> Json:
        return self._answer("GET", path, params=query)

    def start_bill_run(self) -> str:
        """The run that was answered for. One whose answer was lost may run besides."""
        run_id = str(self._answer("POST", "/bill-runs", json={})["bill_run_id"])
        self.bill_runs.add(run_id)
        return run_id

    def everything(self, path: str) -> list[Json]:
        """All pages of a list."""
        found: list[Json] = []
        query: Json = {"limit": 100}
        while True:
            page = self._answer("GET", path, params=query)
            found += page["items"]
            if page["next"] is None:
                return found
            query["after"] = page["next"]

    def _work(self) -> None:
        olt_id = self._made("/devices", self._olt)["device_id"]
        plan = {
            "name": "Fibre 100", "effective_on": "2026-01-01", "prices": volume_prices("30.00"),
            "tax_percent": "19", "downstream_bps": 100_000_000,
            "upstream_bps": 50_000_000,
        }  # fmt: skip
        offering_id = self._answer("POST", "/offerings", json=plan)["offering_id"]
        while not self._ending.is_set() and len(self.orders) < self._most:
            self._sell(len(self.orders), offering_id, olt_id)
            if len(self.orders) % 3 == 0:
                self.start_bill_run()
            time.sleep(_BETWEEN_S)  # a customer is not a load generator

    def _sell(self, number: int, offering_id: str, olt_id: str) -> None:
        customer = self._answer("POST", "/customers", json={"name": f"Customer {number}", "address": "Ring 1\nBerlin"})
        serial = f"HWTC{number:08X}"
        self._made("/stock-items", {"serial": serial})
        body = {
            "action": "add", "account_id": customer["account_id"], "offering_id": offering_id,
            "username": f"sold{number}@lab", "password": f"password-{number}",
            "attachments": [{
                "kind": "onu", "device_id": olt_id, "pon_port": self._pon_ports[number % len(self._pon_ports)],
                "onu_serial": serial,
            }],
        }  # fmt: skip
        order = self._answer("POST", "/orders", json=body, headers={"Idempotency-Key": f"order-{number}"})
        self.orders[order["order_id"]] = order | {"onu_serial": serial}

    def _made(self, path: str, body: Json) -> Json:
        """Post what may stand there once: a lost answer is told by the refusal of its repetition."""
        return self._answer("POST", path, json=body, exists_is_fine=True)

    def _answer(self, method: str, path: str, *, exists_is_fine: bool = False, **request: Any) -> Json:
        deadline = time.monotonic() + 60
        while True:
            try:
                answer = self._api.request(method, path, **request)
            except httpx2.TransportError:
                answer = None
            if answer is not None and answer.is_success:
                return dict(answer.json())
            if answer is not None and answer.status_code == 409 and exists_is_fine:
                return self._found(path)
            assert answer is None or answer.status_code >= 500, f"{method} {path}: {answer.status_code} {answer.text}"
            assert time.monotonic() < deadline, f"{method} {path}: no answer for a minute"
            self.repeated += 1
            time.sleep(0.05)

    def _found(self, path: str) -> Json:
        """The only one there is, or nothing that matters."""
        items = self._answer("GET", path)["items"]
        return dict(items[0])
