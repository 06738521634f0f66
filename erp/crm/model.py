"""Who the ISP is and whom it serves: legal entities, customers and their billing accounts.

A legal entity fixes the zone in which the days of its books are counted, their currency and the language of its papers.
A customer is a party of one entity; a billing account is what invoices are addressed to. What was sold to it is counted
by the days of its own zone, which is the entity's unless another one was said when it was opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from controller.domain.identity import AccountId, CustomerId, EntityId
from erp.crm.errors import NoZone


@dataclass(frozen=True, slots=True)
class Entity:
    """A legal entity of the ISP. `zone` is an IANA name, `locale` such as "de_DE".

    `country` is ISO 3166-1, or "" where its tax id and locale tell it. `iban` is what its customers pay to; of the
    first entity it is None, for it stands in the settings (HEADEND_IBAN).
    """

    entity_id: EntityId
    name: str
    zone: str
    currency: str
    locale: str
    address: str
    tax_id: str
    country: str = ""
    iban: str | None = None

    @property
    def zone_info(self) -> ZoneInfo:
        return ZoneInfo(self.zone)


@dataclass(frozen=True, slots=True)
class Contact:
    """What is known of a party. Empty text means not told; `language` is a BCP 47 tag."""

    name: str
    email: str = ""
    phone: str = ""
    address: str = ""
    language: str = ""
    tax_id: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    """A billing account: everything on it is in `currency`.

    What it has and uses is counted by the days of `zone`, for good; documents, payments and what is overdue are of the
    days of its legal entity.
    """

    account_id: AccountId
    customer_id: CustomerId
    entity_id: EntityId
    currency: str
    zone: str

    @property
    def zone_info(self) -> ZoneInfo:
        return ZoneInfo(self.zone)


@dataclass(frozen=True, slots=True)
class Customer:
    customer_id: CustomerId
    entity_id: EntityId
    account: Account
    contact: Contact
    created_at: datetime


def require_zone(name: str) -> None:
    """Raises NoZone for what is no name of the IANA database, or one that means another place on each machine."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = False
    else:
        known = name == "UTC" or "/" in name
    if not known:
        raise NoZone(f"{name!r} is no IANA time zone of a place, such as Europe/Berlin or Pacific/Apia")
