"""What the network is asked about: SNMP, NETCONF, MQTT."""
