"""CPE telemetry over MQTT."""
