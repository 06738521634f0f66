"""Settings of the collectors. Every duration is in seconds."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from controller.domain.errors import RuleError
from controller.domain.ports import Secret


@dataclass(frozen=True, slots=True)
class SnmpSettings:
    timeout_s: float = 2.0
    """Longest wait for one answer."""
    attempts: int = 2
    """How often a whole poll is tried before the device counts as silent: one lost datagram is no outage."""
    max_repetitions: int = 50
    """Rows asked for at once while the number of interfaces is not known; then rows + 1, one request per column."""
    max_interfaces: int = 20_000
    """Rows after which a walk is given up: an agent that never ends its table must not hold a poller for ever."""
    receive_buffer: int = 4 * 2**20
    """Octets of the socket's receive buffer."""


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """The broker that customer equipment reports to."""

    host: str
    port: int = 1883
    username: str | None = None
    password: Secret | None = None
    tls: ssl.SSLContext | None = None
    """None speaks plain TCP; make it with ssl.create_default_context()."""
    client_id: str = "headend-collector"
    """The broker keeps the session, and what arrived meanwhile, under this name. One per process."""
    topic: str = "headend/cpe/+/telemetry"
    """The third level is the serial number."""
    session_expiry_s: int = 86_400
    """How long the broker keeps messages for us while we are away."""
    keepalive_s: int = 30
    """A broker that is silent for one and a half times as long counts as gone."""
    in_flight: int = 500
    """Messages the broker may send before we have stored and acknowledged earlier ones."""
    gather_s: float = 0.1
    """Pause before messages are stored: one commit for many of them."""
    retry_first_s: float = 1.0
    retry_most_s: float = 60.0
    """Wait before connecting again; doubles from first to most."""
    message_octets: int = 16_384
    """A larger message is malformed."""
    late_s: int = 7 * 86_400
    """Telemetry may be this old: the broker may have kept it."""
    early_s: int = 300
    """Telemetry may be this far in the future: clocks of CPE drift."""

    @classmethod
    def from_url(cls, url: str, *, client_id: str = "headend-collector") -> MqttSettings:
        """From mqtt://user:password@host:port, or mqtts:// for TLS by the system's authorities.

        Raises RuleError for anything else; the message does not repeat the password.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise RuleError("MQTT URL: no such port", code="settings") from None
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise RuleError("MQTT URL: mqtt://user:password@host:1883, or mqtts://", code="settings")
        tls = ssl.create_default_context() if parts.scheme == "mqtts" else None
        return cls(
            parts.hostname,
            port or (8883 if tls else 1883),
            username=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else Secret(unquote(parts.password)),
            tls=tls,
            client_id=client_id,
        )


@dataclass(frozen=True, slots=True)
class CollectorSettings:
    snmp_interval_s: float = 30.0
    """Between two polls of one device. A 32-bit counter at 1 Gbit/s wraps in 34 s."""
    netconf_interval_s: float = 60.0
    """Between two reads of an OLT's operational state: a session each, so less often."""
    poll_timeout_s: float = 20.0
    """A poll that takes longer is given up."""
    concurrency: int = 64
    """Polls under way at the same time."""
    netconf_concurrency: int = 8
    """NETCONF reads among them: each takes a thread and an SSH key exchange."""
    targets_every_s: float = 10.0
    """How often the device registry is read again."""
    health_factor: float = 2.5
    """What is known of a device holds this many intervals, then it is unknown: presence has an expiry."""
    snmp: SnmpSettings = field(default_factory=SnmpSettings)


@dataclass(frozen=True, slots=True)
class UsageFollowerSettings:
    batch: int = 1_500
    """Records of the usage log taken at once."""
    share: float = 0.01
    """Share of the time that following may take while accounting uses all of a processor (store.courtesy)."""
    idle_s: float = 2.0
    """Wait for new records where no commit of ours woke the follower: another process may write them."""
    gather_s: float = 0.25
    """Pause after being woken: one batch of many records costs less than many of one."""
    retry_most_s: float = 30.0
    """Longest wait before trying again while the time series cannot be written."""
    session_memory_days: int = 100
    """Days after which a session that nothing was heard of is forgotten: the first report after that adds nothing."""
    prune_every_s: float = 3600.0
    """Seconds between deletions of forgotten sessions."""
