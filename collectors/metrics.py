"""What the collectors count about themselves."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

POLLS = Counter("headend_collectors_polls_total", "Polls of devices", ["source", "result"])
POLL_SECONDS = Histogram(
    "headend_collectors_poll_seconds",
    "Time a poll took",
    ["source"],
    buckets=(0.005, 0.02, 0.05, 0.1, 0.3, 1, 3, 10, 30),
)
READINGS = Counter("headend_collectors_readings_total", "Counter readings by what they were", ["source", "seen"])
SAMPLES = Counter("headend_collectors_samples_total", "Samples written to the time series", ["measurement"])
TARGETS = Gauge("headend_collectors_targets", "Devices that are polled", ["source"])
MQTT_MESSAGES = Counter("headend_collectors_mqtt_messages_total", "Telemetry messages", ["result"])
MQTT_CONNECTED = Gauge("headend_collectors_mqtt_connected", "1 while subscribed at the broker")
USAGE_LAG = Gauge("headend_collectors_usage_lag_records", "Usage records not yet in the time series")
USAGE_DROPPED = Counter(
    "headend_collectors_usage_dropped_total", "Usage that billing could not take in time", ["source"]
)
IPFIX_MESSAGES = Counter("headend_collectors_ipfix_messages_total", "IPFIX messages by what they were", ["result"])
IPFIX_UNREADABLE = Counter(
    "headend_collectors_ipfix_unreadable_sets_total", "Data sets that came before their template"
)
IPFIX_LOST = Counter("headend_collectors_ipfix_lost_records_total", "Records that a gap in sequence numbers tells of")
IPFIX_UNTOLD = Counter(
    "headend_collectors_ipfix_untold_records_total",
    "Flow records whose octets were not taken: absurd, without a count since the last record, of a sampler that nobody "
    "told of, or of a sampling that cannot be",
    ["reason"],
)
IPFIX_SAMPLED = Counter(
    "headend_collectors_ipfix_sampled_records_total",
    "Flow records of sampled packets: their octets were multiplied, and are an estimate",
)
