"""The demo's people and things: who subscribes to what, where, with which ONU. Seeded, then kept in a file.

Names and addresses are invented from lists; passwords and shared secrets are random and differ on every machine.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import string
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab.bras.session import Line

_FIRST = """
Anna Ben Clara David Emma Felix Greta Hanna Ida Jonas Karl Lea Max Nele Oskar Paula Rosa Simon Thea Till Ute Viktor
Willi Yara Zoe Mila Nora Omar Selin Tarek
"""
_LAST = """
Schmidt Weber Wagner Becker Hoffmann Koch Richter Klein Wolf Neumann Schwarz Braun Zimmermann Hartmann Krause Lehmann
Werner Kaiser Fuchs Lang Peters Scholz Vogel Keller Frank Berger Winkler Roth Beck Lorenz
"""
_STREETS = "Kabelweg Lindenallee Hafenstrasse Gartenweg Marktplatz Bahnhofstrasse Seeufer Turmweg Ringstrasse"
FIRST, LAST, STREETS = _FIRST.split(), _LAST.split(), _STREETS.split()

PON_PORTS = ("pon-1", "pon-2", "pon-3", "pon-4")
MBPS = 1_000_000

ON_A_SERVER = "on a server"
"""The note that the demo was made in a database that HEADEND_DATABASE_URL named."""


@dataclass(frozen=True, slots=True)
class OfferingPlan:
    """An offering to create. Prices are net EUR; no fee is "", `included_gb` None is unmetered."""

    key: str
    name: str
    downstream_mbps: int
    upstream_mbps: int
    monthly_fee: str
    included_gb: int | None = None
    overage_price: str = "0"
    share: int = 1

    def body(self, effective_on: str) -> dict[str, Any]:
        prices: list[dict[str, Any]] = []
        if self.monthly_fee:
            prices.append({"model": "flat", "code": "fee", "amount": self.monthly_fee})
        if self.included_gb is not None:
            overage = {"model": "overage", "code": "data", "price": self.overage_price}
            prices.append({**overage, "included": self.included_gb * 10**9})
        return {
            "name": self.name,
            "description": f"{self.downstream_mbps}/{self.upstream_mbps} Mbit/s",
            "effective_on": effective_on,
            "currency": "EUR",
            "prices": prices,
            "tax_percent": "19",
            "downstream_bps": self.downstream_mbps * MBPS,
            "upstream_bps": self.upstream_mbps * MBPS,
        }


BUSINESS = OfferingPlan("business-500", "Business 500", 500, 250, "129.00", share=0)
"""Carried by the OLT and, with a policer of its own, by the router."""
BUSINESS_EVERY = 40
"""So many subscribers to one business."""

PREPAID_LINE = OfferingPlan("prepaid-line", "Prepaid line", 50, 10, "2.90", share=0)
"""By bill the line alone; what is used is paid in advance, by the prices of PREPAID_DATA."""
PREPAID_DATA = OfferingPlan("prepaid-data", "Prepaid data", 50, 10, "", 0, "0.10", share=0)
TOPPED_UP, RUNS_DRY = "topped-up", "runs-dry"
PREPAID = (TOPPED_UP, RUNS_DRY, TOPPED_UP)
"""What becomes of the balances of those who pay in advance."""
PREPAID_EVERY = 20
"""At least so many subscribers to one of them: a small demo has none."""

OFFERINGS = (
    OfferingPlan("fibre-100", "Fibre 100", 100, 20, "29.90", share=4),
    OfferingPlan("fibre-100-volume", "Fibre 100 Volume", 100, 20, "19.90", 150, "0.05", share=2),
    OfferingPlan("fibre-300", "Fibre 300", 300, 50, "39.90", share=3),
    OfferingPlan("fibre-1000", "Fibre 1000", 1000, 200, "59.90", share=1),
    BUSINESS,
    PREPAID_LINE,
    PREPAID_DATA,
)


@dataclass(slots=True)
class Subscriber:
    """One customer with one line. The ids are the controller's, filled in as they become known."""

    index: int
    name: str
    email: str
    address: str
    username: str
    password: str
    serial: str
    mac: str
    pon_port: str
    chap: bool
    offering: str
    ordered_on_day: int
    experiment: bool
    customer_id: str = ""
    account_id: str = ""
    order_id: str = ""
    service_id: str = ""
    subscription_id: str = ""
    active: bool = False
    prepaid: str = ""

    def line(self) -> Line:
        return Line(
            self.username, self.password, self.mac, self.index + 1, f"{self.pon_port}/onu-{self.index + 1}", self.chap
        )


@dataclass(slots=True)
class World:
    """Everything the lab must remember between two starts. `history_until` is empty until history is complete."""

    seed: int
    admin_password: str
    token: str
    nas_secret: str
    bras_secret: str
    olt_password: str
    router_password: str
    snmp_community: str
    snmp_auth_key: str
    snmp_priv_key: str
    subscribers: list[Subscriber]
    offerings: dict[str, str] = field(default_factory=dict)
    """Offering version id by our key."""
    devices: dict[str, str] = field(default_factory=dict)
    nas: dict[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    """Last port of each emulated device, so that the next start finds it free and needs to change nothing."""
    history_until: str = ""
    notes: dict[str, str] = field(default_factory=dict)

    def experiments(self) -> list[Subscriber]:
        return [s for s in self.subscribers if s.experiment and s.active]

    def save(self, path: Path) -> None:
        """Write the file, mode 0600, whole or not at all."""
        write_private(path, json.dumps(asdict(self), indent=1))

    @classmethod
    def load(cls, path: Path) -> World:
        saved = json.loads(path.read_text())
        saved["subscribers"] = [Subscriber(**one) for one in saved["subscribers"]]
        return cls(**saved)


def write_private(path: Path, text: str) -> None:
    """Replace `path` by a file of mode 0600."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)


def random_word(length: int) -> str:
    """Letters and digits, nothing that a shell or an option parser could take for its own; 5.7 bits each."""
    return "".join(secrets.choice(_LETTERS) for _ in range(length))


_LETTERS = string.ascii_letters.translate({ord(c): None for c in "IlOo"}) + "23456789"

FIRST_DAY_SHARE = 0.35
DAYS_BETWEEN_INSTALLATIONS = 3
"""Technicians go out in tours: a day of several installations, then none for a while."""

UNKNOWN_PORT = "pon-9"
"""Where the order that must fall out is to be attached: the OLT has no such port."""


def make_world(subscribers: int, experiments: int, history_days: int, seed: int = 2026) -> World:
    """A new world of `subscribers`, the last `experiments` of whom stay offline.

    A third of the others come on the first days, the rest over the whole time; the last of them orders a line on a
    port that the OLT does not have. Some of the first ones pay in advance.
    """
    chance = random.Random(seed)
    offerings = [offering.key for offering in OFFERINGS for _ in range(offering.share)]
    people = []
    for index in range(subscribers):
        first, last = chance.choice(FIRST), chance.choice(LAST)
        day = 0 if chance.random() < FIRST_DAY_SHARE else int(chance.uniform(0, max(1, history_days - 2)))
        experiment = index >= subscribers - experiments
        people.append(
            Subscriber(
                index=index,
                name=f"{first} {last}",
                email=f"{first}.{last}.{index}@example.net".lower(),
                address=f"{chance.choice(STREETS)} {chance.randint(1, 120)}\n10115 Berlin",
                username=f"{first}.{last}.{index:03d}".lower(),
                password=random_word(12),
                serial=f"LABX{0x00A00000 + index:08X}",
                mac=f"02:4c:41:42:{index >> 8:02x}:{index & 255:02x}",
                pon_port=PON_PORTS[index % len(PON_PORTS)],
                chap=chance.random() < 0.3,
                offering=chance.choice(offerings) if index % BUSINESS_EVERY != 7 else BUSINESS.key,
                ordered_on_day=0 if experiment else day - day % DAYS_BETWEEN_INSTALLATIONS,
                experiment=experiment,
            )
        )
    usual = [person for person in people[: -experiments - 1] if person.offering != BUSINESS.key]
    for person, what in zip(usual[: len(usual) // PREPAID_EVERY], PREPAID, strict=False):
        person.offering, person.prepaid, person.ordered_on_day = PREPAID_LINE.key, what, 0
    unlucky = people[subscribers - experiments - 1]
    unlucky.pon_port, unlucky.ordered_on_day = UNKNOWN_PORT, max(0, history_days - 3)
    return World(
        seed=seed,
        admin_password=random_word(16),
        token="hd_" + secrets.token_urlsafe(32),
        nas_secret=random_word(22),
        bras_secret=secrets.token_urlsafe(16),
        olt_password=secrets.token_urlsafe(16),
        router_password=secrets.token_urlsafe(16),
        snmp_community=secrets.token_urlsafe(12),
        snmp_auth_key=secrets.token_urlsafe(16),
        snmp_priv_key=secrets.token_urlsafe(16),
        subscribers=people,
    )
