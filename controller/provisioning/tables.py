"""Tables of provisioning: the device registry, services with the devices that carry them, and asked speed changes."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, Text, UniqueConstraint
from sqlalchemy.types import BigInteger

from controller.store.metadata import BigId, Id, Instant, metadata

device = Table(
    "provisioning_device",
    metadata,
    Column("device_id", Id, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("host", String(255), nullable=False),
    Column("driver", String(32)),
    Column("port", Integer, nullable=False),
    Column("username", String(64), nullable=False),
    # Sealed with the context "device:<device_id>:<column>": a row copied onto another one does not open.
    Column("secret", LargeBinary),
    Column("host_key_sha256", String(64)),
    Column("snmp_version", String(4)),
    Column("snmp_port", Integer),
    Column("snmp_user", String(64)),
    Column("snmp_auth_protocol", String(16)),
    Column("snmp_priv_protocol", String(16)),
    Column("snmp_community", LargeBinary),
    Column("snmp_auth_key", LargeBinary),
    Column("snmp_priv_key", LargeBinary),
    Column("created_at", Instant, nullable=False),
    # Who is changing the device now, and until when that counts without a sign of life.
    Column("lease_holder", String(64)),
    Column("lease_until", Instant),
)

service = Table(
    "provisioning_service",
    metadata,
    Column("service_id", Id, primary_key=True),
    Column("present", Boolean, nullable=False),
    Column("profile_name", String(32), nullable=False),
    Column("downstream_bps", BigInteger, nullable=False),
    Column("upstream_bps", BigInteger, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("desired_at", Instant, nullable=False),
    Column("desired_by", String(128), nullable=False),
    Column("standing", String(16), nullable=False, index=True),
    Column("verified_at", Instant),
    Column("differences", Text, nullable=False),
    Column("last_error", Text),
    Column("checked_at", Instant),
    # What dunning takes of it on its devices (JSON), and since when that was not seen on them yet.
    Column("restriction", Text),
    Column("restricting_since", Instant, index=True),
    Index("ix_provisioning_service_checked_at", "checked_at"),
)

attachment = Table(
    "provisioning_attachment",
    metadata,
    Column("service_id", Id, ForeignKey("provisioning_service.service_id"), primary_key=True),
    Column("device_id", Id, ForeignKey("provisioning_device.device_id"), primary_key=True),
    Column("position", Integer, nullable=False, comment="From the subscriber inwards."),
    Column("kind", String(8), nullable=False),
    Column("port", String(64), nullable=False, comment="PON port or interface."),
    Column("onu_serial", String(16)),
    Column("subscriber_vlan", Integer, nullable=False),
    # The serial and VLAN while they are taken: NULL again once the service was verified to be gone everywhere.
    Column("bound_serial", String(16), unique=True),
    Column("bound_vlan", Integer),
    Column("vlan_space", String(64), nullable=False),
    Column("observed", Text),
    Column("observed_at", Instant),
    UniqueConstraint("device_id", "vlan_space", "bound_vlan", name="uq_provisioning_attachment_vlan"),
)

session_change = Table(
    "provisioning_session_change",
    metadata,
    Column("change_id", BigId, primary_key=True, autoincrement=True),
    Column("service_id", Id, ForeignKey("provisioning_service.service_id"), nullable=False, index=True),
    Column("session_key", String(160), nullable=False),
    Column("profile_name", String(32), nullable=False),
    Column("requested_at", Instant, nullable=False),
    Column("result", String(16), nullable=False),
    Column("error_cause", Integer),
    Column("detail", Text, nullable=False),
    sqlite_autoincrement=True,
)
