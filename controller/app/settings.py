"""What an operator may set, from the environment (HEADEND_…) or a file named by HEADEND_ENV_FILE.

Everything has a default that works on one machine with no server. All problems are reported together, at start.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import Locale, UnknownLocaleError
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

ROLES = ("radius", "collect", "provision", "bill", "api")

_DRIVERS = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
}
"""The driver by the scheme of HEADEND_DATABASE_URL."""


def default_data_dir() -> Path:
    """`headend` below the user's data directory (XDG Base Directory specification)."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "headend"


class Settings(BaseSettings):
    """Read once, at start; frozen afterwards."""

    model_config = SettingsConfigDict(env_prefix="HEADEND_", frozen=True, extra="ignore")

    data_dir: Path = Field(default_factory=default_data_dir)
    """Key file, SQLite files and documents live here; made with mode 0700."""
    database_url: str = ""
    """Empty: SQLite in the data directory. Else postgresql://user:password@host/name."""
    timeseries_url: str = ""
    """Empty: SQLite in the data directory. Else http(s)://host:8428 of VictoriaMetrics or InfluxDB."""
    mqtt_url: str = ""
    """mqtt://user:password@host:1883 of the broker CPE report to; empty: no MQTT."""
    ipfix_port: int | None = Field(default=None, ge=0, le=65535)
    """UDP port for flows over IPFIX (4739 is registered); None: no flows are collected."""
    ipfix_exporters: str = Field(default="127.0.0.0/8", max_length=2000)
    """Networks whose exporters are heard, separated by commas: nothing but its source vouches for a datagram."""
    ipfix_subscribers: str = Field(default="", max_length=2000)
    """Networks of subscribers' addresses, separated by commas: flows from and to them are usage."""
    bind: str = "127.0.0.1"
    """Address of every listening socket. Loopback until an operator says otherwise."""
    http_port: int = Field(default=8080, ge=0, le=65535)
    auth_port: int = Field(default=1812, ge=0, le=65535)
    acct_port: int = Field(default=1813, ge=0, le=65535)
    share_radius_ports: bool = False
    """Several processes of this machine answer on the same RADIUS ports (SO_REUSEPORT); set it for each of them."""
    dynamic_port: int | None = Field(default=None, ge=0, le=65535)
    """Where home servers of other realms ask for CoA and Disconnect of their users (RFC 8559); 3799 is registered."""
    operator_name: str = Field(default="", max_length=250)
    """The realm by which other networks know ours: what is sent to home servers carries it as Operator-Name."""
    radsec_dir: Path | None = None
    """Directory with server.pem, server.key, ca.pem and crl.pem: serves RADIUS over TLS (docs/radius-transports.md)."""
    radsec_port: int = Field(default=2083, ge=0, le=65535)
    radsec_versions: str = Field(default="1.1,1.0", pattern=r"^1\.[01](, ?1\.[01])?$")
    """Versions of RADIUS spoken over TLS, as server and as client; 1.1 alone refuses who does not negotiate it."""
    eap_dir: Path | None = None
    """Directory with server.pem, server.key, ca.pem and crl.pem: offers PEAP, EAP-TTLS and EAP-TLS (docs/eap.md)."""
    eap_methods: str = "peap,ttls,tls,mschapv2,md5"
    """EAP methods in the order in which they are proposed; the first three are left out without HEADEND_EAP_DIR."""
    eap_tls_minimum: Literal["1.2", "1.3"] = "1.2"
    """Least version of TLS that EAP devices must speak."""
    peap_needs_binding: bool = False
    """Refuse PEAP devices that do not bind the password to the tunnel (crypto binding); many leave it out."""
    password_form: Literal["clear", "nt", "argon2"] = "clear"  # noqa: S105 - the name of a form
    """What is kept of subscribers' passwords: clear for CHAP and EAP-MD5, nt for MS-CHAP, argon2 for PAP alone."""
    plan_margin: float = Field(default=1.5, ge=1, le=100)
    """How many times the speed of its plan a session is believed to have had, when its counters are judged."""
    hold_above_plan: bool = False
    """Quarantine usage above the plan and its margin, not only what no port can have carried (docs/accounting.md)."""
    keep_history_days: int | None = Field(default=None, ge=31, le=36_500)
    """Give up sessions and addresses that nothing was heard of for longer; empty keeps them for ever. At least a month:
    a late record must find its session, or it would count as a new one."""
    garden: bool = True
    """Suspended services are sent to the walled garden (docs/access.md); off, their logins are rejected."""
    garden_name: str = Field(default="garden", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """What NAS call the filter, address list, service or profile of the garden."""
    garden_url: str = Field(default="", max_length=200)
    """Page to which a NAS that can do so turns web requests from the garden; empty: none."""
    garden_kbps: int = Field(default=1_000, ge=8, le=1_000_000)
    """Speed in the garden, in both directions, in kbit/s."""
    https: bool = False
    """Say that a TLS proxy stands in front: HSTS is sent and links are https."""
    roles: str = ",".join(ROLES)
    """Comma-separated roles of this process."""
    clock: Literal["system", "demo"] = "system"
    """demo: the clock stands and is moved by PUT /api/v1/demo/clock. Never for a real ISP."""
    demo_start: str = ""
    """ISO 8601 instant at which the demo's clock starts; needed with clock=demo."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    executor_id: str = "headend-1"
    """Stable name of this process among those that share the database: it takes up its own unfinished work."""
    takeover_s: float = Field(default=30.0, ge=2, le=3600)
    """A process silent for so many seconds is taken for dead: others that share the database go on with its work."""
    admin_password: SecretStr | None = None
    """Makes the user "admin" at first start. Without it, `headend user add` does."""
    admin_token: SecretStr | None = None
    """Makes an API token with every scope at first start."""
    entity_name: str = "Headend Demo Net GmbH"
    entity_zone: str = "Europe/Berlin"
    entity_currency: str = Field(default="EUR", pattern="^[A-Z]{3}$")
    entity_locale: str = "de_DE"
    entity_address: str = "Kabelweg 1\n10115 Berlin"
    entity_tax_id: str = "DE123456788"
    iban: str = ""
    """Account that customers are asked to pay to, on invoices and in reminders."""
    debit_note_series: str = ""
    """Prefix of the numbers of debit notes; empty: they are numbered with the invoices."""
    tax_rounding: Literal["document", "line"] = "document"
    """What tax is rounded for: each rate of a document, as EN 16931 has it, or each line (docs/finance.md)."""
    levy_url: str | None = None
    """Tax service that is asked for communications taxes (docs/finance.md); without one the table of rules decides."""
    levy_token: SecretStr | None = None
    """Bearer token for it."""
    smtp_url: SecretStr | None = None
    """Mail server of notices to customers, such as smtp+starttls://user:password@mail.example.net:587; smtps:// is
    encrypted from the start, smtp:// where the server offers it. Without one every notice is a letter."""
    mail_from: str = "billing@localhost"
    """Address that notices come from."""
    dunning_hour: int = Field(default=6, ge=0, le=23)
    """From which hour of the day on, in the entity's zone, reminders are sent and lines restricted."""

    dunning_devices: Literal["unseen", "all", "none"] = "unseen"
    """Whose devices dunning restricts besides their logins: of services that never had a session, of all, of none."""

    @field_validator("data_dir", mode="before")
    @classmethod
    def _empty_is_the_default(cls, value: object) -> object:
        return default_data_dir() if value == "" else value

    @field_validator("levy_url", mode="after")
    @classmethod
    def _levy_url_is_http(cls, value: str | None) -> str | None:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("HEADEND_LEVY_URL is an http:// or https:// address")
        return value or None

    @field_validator("eap_dir", "radsec_dir", "dynamic_port", "ipfix_port", "keep_history_days", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        scheme, separator, _ = value.partition("://")
        if value and (not separator or scheme not in _DRIVERS):
            told = repr(scheme) if separator else "what has no scheme"
            raise ValueError(f"{told} is no database this program knows: postgresql://user:password@host/name")
        try:
            make_url(value or "sqlite://")
        except (ArgumentError, ValueError):
            raise ValueError("this is no URL such as postgresql://user:password@host:5432/name") from None
        return value

    @field_validator("ipfix_exporters", "ipfix_subscribers")
    @classmethod
    def _networks(cls, text: str) -> str:
        for part in text.split(","):
            if part.strip():
                ip_network(part.strip())  # raises ValueError, which names what is no network
        return text

    @field_validator("entity_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"{value!r} is no IANA time zone such as Europe/Berlin") from None
        return value

    @field_validator("entity_locale")
    @classmethod
    def _known_locale(cls, value: str) -> str:
        try:
            Locale.parse(value)
        except (UnknownLocaleError, ValueError):
            raise ValueError(f"{value!r} is no locale such as de_DE") from None
        return value

    @field_validator("roles")
    @classmethod
    def _known_roles(cls, value: str) -> str:
        unknown = {role.strip() for role in value.split(",")} - set(ROLES)
        if unknown:
            raise ValueError(f"unknown roles {', '.join(sorted(unknown))}; known: {', '.join(ROLES)}")
        return value

    @model_validator(mode="after")
    def _demo_has_a_start(self) -> Self:
        if self.clock == "demo":
            try:
                datetime.fromisoformat(self.demo_start).astimezone(UTC)
            except ValueError:
                raise ValueError("HEADEND_CLOCK=demo needs HEADEND_DEMO_START, an ISO 8601 instant with zone") from None
        return self

    def has_role(self, role: str) -> bool:
        return role in {r.strip() for r in self.roles.split(",")}

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the database."""
        if not self.database_url:
            # Not glued together: a directory may be called what would mean something in a URL, such as "lab?".
            file = URL.create("sqlite+aiosqlite", database=str(self.data_dir / "headend.db"))
            return file.render_as_string(hide_password=False)
        scheme, _, rest = self.database_url.partition("://")
        return f"{_DRIVERS[scheme]}://{rest}"


def masked(value: object) -> str:
    """A setting as it may be shown: the password of a URL is left out."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", str(value))


def _said(error: ErrorDetails) -> str:
    """Our own words without pydantic's preamble."""
    return error["msg"].removeprefix("Value error, ")


def load(**given: Any) -> Settings:
    """Settings from the environment; what is `given` goes before it. Raises SystemExit naming every problem at once."""
    try:
        return Settings(_env_file=os.environ.get("HEADEND_ENV_FILE"), **given)
    except ValidationError as error:
        lines = [f"  HEADEND_{str(e['loc'][0]).upper()}: {_said(e)}" if e["loc"] else _said(e) for e in error.errors()]
        raise SystemExit("These settings cannot be used:\n" + "\n".join(lines)) from None
